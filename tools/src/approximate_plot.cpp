// SPDX-License-Identifier: Apache-2.0
#include "approximate_plot.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "chainrule/core/version.hpp"
#include "chainrule/learn/evaluate.hpp"
#include "gradcheck_report.hpp"
#include "html_page.hpp"
#include "svg_chart.hpp"

namespace chainrule::tools {
namespace {

constexpr int kColumns = 760;       // of the chart, each with the least and the most of ...
constexpr int kPointsAColumn = 24;  // ... so many points, since errors change sign often

struct Curves {
  std::vector<std::pair<double, double>> function;
  std::vector<std::pair<double, double>> network;
  std::vector<std::pair<double, double>> error;
};

// Adds the least and the most of y over one column, at its ends.
void add_column(std::vector<std::pair<double, double>>& line, std::pair<double, double> ends,
                std::span<const double> y) {
  const auto [least, most] = std::minmax_element(y.begin(), y.end());
  const bool rises = least < most;
  line.emplace_back(ends.first, rises ? *least : *most);
  line.emplace_back(ends.second, rises ? *most : *least);
}

Curves curves_of(const Model& model, const ScalarFunction& f, Interval side) {
  constexpr Index kPoints = Index{kColumns} * kPointsAColumn;
  Tensor x({kPoints, 1}, DType::kFloat64);
  for (Index i = 0; i < kPoints; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(kPoints - 1);
    x.as<double>()(i, 0) =
        std::clamp(side.low + share * (side.high - side.low), side.low, side.high);
  }
  const Tensor y = Predictor(model).predict(x);
  Curves curves;
  std::vector<double> exact(kPointsAColumn), found(kPointsAColumn), error(kPointsAColumn);
  for (Index first = 0; first < kPoints; first += kPointsAColumn) {
    for (Index i = 0; i < kPointsAColumn; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const double point = x.as<double>()(first + i, 0);
      exact[at] = f({&point, 1});
      found[at] = y.as<double>()(first + i, 0);
      error[at] = found[at] - exact[at];
    }
    const std::pair ends(x.as<double>()(first, 0), x.as<double>()(first + kPointsAColumn - 1, 0));
    add_column(curves.function, ends, exact);
    add_column(curves.network, ends, found);
    add_column(curves.error, ends, error);
  }
  return curves;
}

// Where hidden units have their kinks or centres.
std::vector<double> knots_of(const Model& model, Interval side) {
  const auto weight = model.parameters().view(Index{0}).as<double>();
  const auto bias = model.parameters().view(Index{1}).as<double>();
  std::vector<double> knots;
  for (Index j = 0; j < weight.columns; ++j) {
    const double knot = -bias.data[j] / weight(0, j);
    if (knot >= side.low && knot <= side.high) knots.push_back(knot);
  }
  return knots;
}

std::string line_charts(const Approximation& approximation, const ScalarFunction& f,
                        const Domain& domain) {
  const std::pair range(domain[0].low, domain[0].high);
  Curves curves = curves_of(approximation.model, f, domain[0]);
  const std::vector<double> knots = knots_of(approximation.model, domain[0]);
  const LineChart values{
      .title = "Function and network",
      .lines = {{"function", std::move(curves.function), "stroke:var(--bar);stroke-width:4"},
                {"network", std::move(curves.network), "stroke:var(--text);stroke-width:1.3"}},
      .levels = {},
      .ticks = knots,
      .x_range = range};
  std::vector<std::pair<double, std::string>> levels;
  if (approximation.epsilon < 20 * approximation.sup_error) {
    levels = {{approximation.epsilon, "epsilon"}, {-approximation.epsilon, "-epsilon"}};
  }
  const LineChart error{
      .title = "Error: network minus function",
      .lines = {{"", std::move(curves.error), "stroke:var(--bar);stroke-width:1.2"}},
      .levels = std::move(levels),
      .ticks = knots,
      .x_range = range};
  return svg_line_chart(values) + svg_line_chart(error) +
         "<p class=\"soft\">Marks on the axis: kinks or centres of hidden units.</p>\n";
}

std::string heat_maps(const Approximation& approximation, const ScalarFunction& f,
                      const Domain& domain) {
  Predictor predictor(approximation.model);
  const auto exact = [&](double x, double y) {
    const double point[] = {x, y};
    return f(point);
  };
  const auto found = [&](double x, double y) {
    const double point[] = {x, y};
    return element(predictor.predict(Tensor::from<double>({1, 2}, point)), 0, 0);
  };
  HeatMap map{.title = "Function",
              .x_range = {domain[0].low, domain[0].high},
              .y_range = {domain[1].low, domain[1].high},
              .value = exact,
              .around_zero = false};
  std::string text = "<div style=\"display:flex;flex-wrap:wrap;gap:1.5rem\">\n<div>";
  text += svg_heat_map(map) + "</div>\n<div>";
  map.title = "Network";
  map.value = found;
  text += svg_heat_map(map) + "</div>\n<div>";
  map.title = "Error: network minus function";
  map.value = [&](double x, double y) { return found(x, y) - exact(x, y); };
  map.around_zero = true;
  return text + svg_heat_map(map) + "</div>\n</div>\n";
}

}  // namespace

std::string approximation_html(const Approximation& approximation, const ScalarFunction& f,
                               const Domain& domain, const std::string& name) {
  const bool relu = std::holds_alternative<Relu>(approximation.model.layers()[1]);
  std::string body = fmt::format("<h1>{}</h1>\n", escape_markup(name));
  body += html_verdict(
      approximation.reached,
      fmt::format("{} hidden {} unit{} {} {:.3g} everywhere it was looked; {:.3g} was asked for.",
                  approximation.units, relu ? "ReLU" : "tanh", approximation.units == 1 ? "" : "s",
                  approximation.units == 1 ? "comes within" : "come within",
                  approximation.sup_error, approximation.epsilon));
  std::vector<std::string> sides;
  for (const Interval& side : domain) sides.push_back(fmt::format("[{}, {}]", side.low, side.high));
  body += html_facts({{"domain", fmt::format("{}", fmt::join(sides, " x "))},
                      {"largest error", fmt::format("{:.6g} at {:.17g}", approximation.sup_error,
                                                    fmt::join(approximation.worst_point, ", "))},
                      {"certificate", fmt::format("{} points", approximation.certificate_points)},
                      {"rounding", fmt::format("{:.2g} = 2^-52 |c|_1, c the output layer",
                                               approximation.rounding_floor)},
                      {"method", approximation.method},
                      {"version", CHAINRULE_VERSION_STRING}});
  body += domain.size() == 1 ? line_charts(approximation, f, domain)
                             : heat_maps(approximation, f, domain);
  return html_page("chainrule approximate: " + name, body);
}

}  // namespace chainrule::tools
