// SPDX-License-Identifier: Apache-2.0
#include "kernel_plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "chainrule/core/version.hpp"
#include "chainrule/learn/kernel_text.hpp"
#include "gradcheck_report.hpp"
#include "html_page.hpp"
#include "svg_chart.hpp"

namespace chainrule::tools {
namespace {

constexpr Index kCurvePoints = 500;
constexpr Index kMostDots = 2000;  // more would only make the page heavy
constexpr double kMargin = 0.05;   // of the range, on either side

// Of rows [first_row, last_row] and columns alike, ends included.
double block_mean(MatrixView<const double> k, Index first_row, Index last_row, Index first_column,
                  Index last_column) {
  double sum = 0;
  for (Index i = first_row; i <= last_row; ++i) {
    for (Index j = first_column; j <= last_column; ++j) sum += k(i, j);
  }
  return sum / static_cast<double>((last_row - first_row + 1) * (last_column - first_column + 1));
}

// The indices that a cell around `at` covers, of `count` in all.
std::pair<Index, Index> covered(double at, Index count) {
  const double half = static_cast<double>(count) / kHeatMapCells / 2;
  const auto index = [&](double value) {
    return std::clamp(static_cast<Index>(std::floor(value)), Index{0}, count - 1);
  };
  if (count <= kHeatMapCells) return {index(at), index(at)};
  const Index first = index(at - half + 1e-9), last = index(at + half - 1e-9);
  return {first, std::max(first, last)};
}

// Where a process knows something: its data, or its inducing points. Raw inputs [n, 1].
Tensor known_inputs(const FittedProcess& process) {
  const Tensor& inputs = process.exact() ? process.exact()->x() : process.sparse()->inducing();
  Tensor raw = inputs.to(DType::kFloat64);
  if (const auto& standardizer = process.schema().standardizer) {
    for (Index i = 0; i < raw.rows(); ++i) {
      double& x = raw.as<double>()(i, 0);
      x = x * standardizer->scale[0] + standardizer->mean[0];
    }
  }
  return raw;
}

Tensor grid(const Tensor& known, const Tensor& x) {
  std::vector<double> inputs;
  for (Index i = 0; i < known.rows(); ++i) inputs.push_back(element(known, i, 0));
  for (Index i = 0; i < x.rows(); ++i) inputs.push_back(element(x, i, 0));
  auto [least, most] = std::ranges::minmax(inputs);
  const double margin = most > least ? kMargin * (most - least) : 1;
  least -= margin;
  most += margin;
  Tensor points({kCurvePoints, 1}, DType::kFloat64);
  for (Index i = 0; i < kCurvePoints; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(kCurvePoints - 1);
    points.as<double>()(i, 0) = least + share * (most - least);
  }
  return points;
}

// Points (x, a column of y).
ChartDots dots_of(const std::string& name, const Tensor& x, const Tensor& y, Index column) {
  ChartDots dots{.name = name, .points = {}, .style = "fill:var(--text);fill-opacity:0.6"};
  const Index stride = (x.rows() + kMostDots - 1) / kMostDots;
  for (Index i = 0; i < x.rows(); i += stride) {
    dots.points.emplace_back(element(x, i, 0), element(y, i, column));
  }
  return dots;
}

LineChart chart_of(const Tensor& points, const GaussianProcessPrediction& at, Index column,
                   const std::string& title) {
  LineChart chart{.title = title,
                  .x_range = {element(points, 0, 0), element(points, points.rows() - 1, 0)}};
  ChartLine mean{.name = "mean", .points = {}, .style = "stroke:var(--text);stroke-width:1.5"};
  ChartBand band{.name = "2 sigma", .points = {}, .style = "fill:var(--bar);fill-opacity:0.3"};
  for (Index i = 0; i < points.rows(); ++i) {
    const double x = element(points, i, 0), y = element(at.mean, i, column);
    const double sigma = std::sqrt(std::max(0.0, element(at.variance, i, 0)));
    mean.points.emplace_back(x, y);
    band.points.push_back({x, y - 2 * sigma, y + 2 * sigma});
  }
  chart.lines.push_back(std::move(mean));
  chart.bands.push_back(std::move(band));
  return chart;
}

}  // namespace

std::string gram_html(const Tensor& gram, const std::string& name) {
  const MatrixView<const double> k = gram.as<double>();
  const auto [rows, columns] = std::pair(k.rows, k.columns);
  HeatMap map{.title = "k(x, z)",
              .x_range = {0, static_cast<double>(columns)},
              .y_range = {static_cast<double>(rows), 0},
              .value =
                  [&](double x, double y) {
                    const auto [first_row, last_row] = covered(y, rows);
                    const auto [first_column, last_column] = covered(x, columns);
                    return block_mean(k, first_row, last_row, first_column, last_column);
                  },
              .around_zero = false,
              .x_cells = static_cast<int>(std::min<Index>(columns, kHeatMapCells)),
              .y_cells = static_cast<int>(std::min<Index>(rows, kHeatMapCells)),
              .x_name = "columns",
              .y_name = "rows"};
  std::string body = fmt::format("<h1>{}</h1>\n", escape_markup(name));
  body += html_facts(
      {{"matrix", fmt::format("{} x {}", rows, columns)}, {"version", CHAINRULE_VERSION_STRING}});
  body +=
      "<p class=\"soft\">A row of --data downwards, a row of --other (or --data) to the "
      "right.</p>\n";
  return html_page("chainrule kernel: " + name, body + svg_heat_map(map));
}

std::string process_html(const FittedProcess& process, const Tensor& x, const std::string& name) {
  const Tensor known = known_inputs(process), points = grid(known, x);
  const GaussianProcessPrediction at = process.predict(points);
  const GaussianProcess* const exact = process.exact();
  const Tensor levels = exact ? exact->y() : process.predict(known).mean;
  const auto [likelihood_name, likelihood] = process.likelihood();
  std::string body = fmt::format("<h1>{}</h1>\n", escape_markup(name));
  body += html_facts({{"kernel", to_text(process.kernel())},
                      {"noise", fmt::format("{:.6g}", process.noise())},
                      {likelihood_name, fmt::format("{:.6f}", likelihood)},
                      {"rows", fmt::format("{}", process.rows())},
                      {"version", CHAINRULE_VERSION_STRING}});
  for (Index column = 0; column < at.mean.columns(); ++column) {
    const std::vector<std::string>& classes = process.schema().class_names;
    const auto c = static_cast<std::size_t>(column);
    const std::string title = c < classes.size() ? classes[c] : process.schema().target_name;
    LineChart chart = chart_of(points, at, column, title);
    chart.dots.push_back(dots_of(exact ? "data" : "inducing points", known, levels, column));
    body += svg_line_chart(chart);
  }
  body += "<p class=\"soft\">The band is that of the function, without the noise.</p>\n";
  return html_page("chainrule gp: " + name, body);
}

}  // namespace chainrule::tools
