// SPDX-License-Identifier: Apache-2.0
#include "svg_chart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "gradcheck_report.hpp"

namespace chainrule::tools {
namespace {

constexpr double kWidth = 860, kHeight = 300, kLeft = 78, kRight = 14, kTop = 30, kBottom = 30;

// Round numbers in a range, about `count` of them.
std::vector<double> round_numbers(double low, double high, int count) {
  const double rough = (high - low) / count;
  double step = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {2.0, 2.5, 2.0}) {
    if (step < rough) step *= factor;
  }
  std::vector<double> numbers;
  for (double k = std::ceil(low / step); k * step <= high + 1e-9 * step; ++k) {
    numbers.push_back(k * step + 0.0);
  }
  return numbers;
}

std::string text_at(double x, double y, std::string_view anchor, std::string_view text) {
  return fmt::format(
      "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" style=\"fill:var(--soft);"
      "font-size:12px\">{}</text>\n",
      x, y, anchor, escape_markup(text));
}

// Maps data to the drawing.
struct Frame {
  double x_low, x_high, y_low, y_high;

  double x(double value) const {
    return kLeft + (value - x_low) / (x_high - x_low) * (kWidth - kLeft - kRight);
  }
  double y(double value) const {
    return kHeight - kBottom - (value - y_low) / (y_high - y_low) * (kHeight - kTop - kBottom);
  }
};

Frame frame_of(const LineChart& chart) {
  Frame frame{chart.x_range.first, chart.x_range.second, std::numeric_limits<double>::infinity(),
              -std::numeric_limits<double>::infinity()};
  const auto include = [&](double y) {
    frame.y_low = std::min(frame.y_low, y);
    frame.y_high = std::max(frame.y_high, y);
  };
  for (const ChartLine& line : chart.lines) {
    for (const auto& point : line.points) include(point.second);
  }
  for (const ChartBand& band : chart.bands) {
    for (const auto& point : band.points) {
      include(point.low);
      include(point.high);
    }
  }
  for (const ChartDots& dots : chart.dots) {
    for (const auto& point : dots.points) include(point.second);
  }
  for (const auto& level : chart.levels) include(level.first);
  double margin = 0.06 * (frame.y_high - frame.y_low);
  if (!(margin > 0)) margin = std::max(1e-300, 0.1 * std::abs(frame.y_high) + 1e-12);
  frame.y_low -= margin;
  frame.y_high += margin;
  return frame;
}

std::string axes(const LineChart& chart, const Frame& frame) {
  std::string text;
  const auto line = [&](double x1, double y1, double x2, double y2, std::string_view style) {
    text += fmt::format(
        "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" style=\"{}\"/>\n", x1, y1,
        x2, y2, style);
  };
  for (const double y : round_numbers(frame.y_low, frame.y_high, 5)) {
    line(kLeft, frame.y(y), kWidth - kRight, frame.y(y), "stroke:var(--line)");
    text += text_at(kLeft - 6, frame.y(y) + 4, "end", fmt::format("{:.4g}", y));
  }
  for (const double x : round_numbers(frame.x_low, frame.x_high, 9)) {
    line(frame.x(x), kTop, frame.x(x), kHeight - kBottom, "stroke:var(--line)");
    text += text_at(frame.x(x), kHeight - kBottom + 18, "middle", fmt::format("{:.6g}", x));
  }
  for (const double x : chart.ticks) {
    line(frame.x(x), kHeight - kBottom - 6, frame.x(x), kHeight - kBottom, "stroke:var(--soft)");
  }
  for (const auto& [y, name] : chart.levels) {
    line(kLeft, frame.y(y), kWidth - kRight, frame.y(y), "stroke:var(--bad);stroke-dasharray:5 4");
    text += text_at(kWidth - kRight - 4, frame.y(y) - 4, "end", name);
  }
  return text;
}

// From the right, each with a sample of what it names.
class Legend {
 public:
  /// `sample(x)` draws at [x - 26, x].
  template <class Sample>
  void add(const std::string& name, const Sample& sample) {
    if (name.empty()) return;
    text_ += text_at(x_, 18, "end", name);
    x_ -= 7.0 * static_cast<double>(name.size()) + 10;
    text_ += sample(x_);
    x_ -= 44;
  }
  const std::string& text() const { return text_; }

 private:
  double x_ = kWidth - kRight;
  std::string text_;
};

std::string circle(double x, double y, std::string_view style) {
  return fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.2\" style=\"{}\"/>\n", x, y, style);
}

std::string legend(const LineChart& chart) {
  Legend legend;
  for (auto dots = chart.dots.rbegin(); dots != chart.dots.rend(); ++dots) {
    legend.add(dots->name, [&](double x) { return circle(x - 8, 14, dots->style); });
  }
  for (auto line = chart.lines.rbegin(); line != chart.lines.rend(); ++line) {
    legend.add(line->name, [&](double x) {
      return fmt::format("<line x1=\"{:.1f}\" y1=\"14\" x2=\"{:.1f}\" y2=\"14\" style=\"{}\"/>\n",
                         x - 26, x, line->style);
    });
  }
  for (auto band = chart.bands.rbegin(); band != chart.bands.rend(); ++band) {
    legend.add(band->name, [&](double x) {
      return fmt::format("<rect x=\"{:.1f}\" y=\"8\" width=\"26\" height=\"12\" style=\"{}\"/>\n",
                         x - 26, band->style);
    });
  }
  return legend.text();
}

std::string polygon(const ChartBand& band, const Frame& frame) {
  std::string text = fmt::format("<polygon style=\"{}\" points=\"", band.style);
  for (const auto& point : band.points) {
    text += fmt::format("{:.1f},{:.1f} ", frame.x(point.x), frame.y(point.high));
  }
  for (auto point = band.points.rbegin(); point != band.points.rend(); ++point) {
    text += fmt::format("{:.1f},{:.1f} ", frame.x(point->x), frame.y(point->low));
  }
  return text + "\"/>\n";
}

std::string open_svg(double width, double height, std::string_view title) {
  return fmt::format(
      "<svg viewBox=\"0 0 {0:.0f} {1:.0f}\" "
      "style=\"width:100%;max-width:{0:.0f}px;height:auto\" role=\"img\">\n<title>{2}</title>\n"
      "<text x=\"0\" y=\"18\" "
      "style=\"fill:var(--text);font-weight:600;font-size:14px\">{2}</text>\n",
      width, height, escape_markup(title));
}

// From blue over white to red; t in [-1, 1]. Or from dark to light; t in [0, 1].
std::string colour(double t, bool around_zero) {
  const auto mix = [](std::array<int, 3> a, std::array<int, 3> b, double share) {
    const auto part = [&](std::size_t i) {
      return static_cast<int>(std::lround(a[i] + share * (b[i] - a[i])));
    };
    return fmt::format("#{:02x}{:02x}{:02x}", part(0), part(1), part(2));
  };
  if (around_zero) {
    return mix({255, 255, 255}, t < 0 ? std::array{40, 90, 180} : std::array{190, 40, 45},
               std::min(1.0, std::abs(t)));
  }
  return t < 0.5 ? mix({52, 28, 92}, {38, 130, 142}, 2 * t)
                 : mix({38, 130, 142}, {246, 230, 90}, 2 * t - 1);
}

}  // namespace

std::string svg_line_chart(const LineChart& chart) {
  const Frame frame = frame_of(chart);
  std::string text = open_svg(kWidth, kHeight, chart.title) + axes(chart, frame);
  for (const ChartBand& band : chart.bands) text += polygon(band, frame);
  for (const ChartLine& line : chart.lines) {
    text += fmt::format("<polyline style=\"fill:none;{}\" points=\"", line.style);
    for (const auto& [x, y] : line.points) {
      text += fmt::format("{:.1f},{:.1f} ", frame.x(x), frame.y(y));
    }
    text += "\"/>\n";
  }
  for (const ChartDots& dots : chart.dots) {
    for (const auto& [x, y] : dots.points) text += circle(frame.x(x), frame.y(y), dots.style);
  }
  return text + legend(chart) + "</svg>\n";
}

std::string svg_heat_map(const HeatMap& map) {
  constexpr double kSide = 280, kTopOfMap = 28, kScaleHeight = 10;
  constexpr int kScaleCells = 40;
  const auto [x_low, x_high] = map.x_range;
  const auto [y_low, y_high] = map.y_range;
  std::vector<double> values;
  for (int j = 0; j < map.y_cells; ++j) {
    for (int i = 0; i < map.x_cells; ++i) {
      values.push_back(map.value(x_low + (x_high - x_low) * (i + 0.5) / map.x_cells,
                                 y_low + (y_high - y_low) * (j + 0.5) / map.y_cells));
    }
  }
  auto [least, most] = std::minmax_element(values.begin(), values.end());
  double low = *least, high = *most;
  if (map.around_zero) {
    high = std::max(std::abs(low), std::abs(high));
    low = -high;
  }
  const double span = high > low ? high - low : 1;
  const auto cell = [&](double x, double y, double width, double height, double value) {
    double t = (value - low) / span;
    if (map.around_zero) t = 2 * t - 1;
    return fmt::format("<rect x=\"{:g}\" y=\"{:g}\" width=\"{:g}\" height=\"{:g}\" fill=\"{}\"/>\n",
                       x, y, width + 0.3, height + 0.3, colour(t, map.around_zero));
  };
  std::string text = open_svg(kSide + 20, kSide + 90, map.title);
  const double width = kSide / map.x_cells, height = kSide / map.y_cells;
  for (int j = 0; j < map.y_cells; ++j) {
    for (int i = 0; i < map.x_cells; ++i) {
      text += cell(width * i, kTopOfMap + height * (map.y_cells - 1 - j), width, height,
                   values[static_cast<std::size_t>(j * map.x_cells + i)]);
    }
  }
  const double below = kTopOfMap + kSide;
  text += text_at(0, below + 18, "start",
                  fmt::format("{} {:.4g} to {:.4g}", map.x_name, x_low, x_high));
  text += text_at(kSide, below + 18, "end",
                  fmt::format("{} {:.4g} to {:.4g}", map.y_name, y_low, y_high));
  for (int i = 0; i < kScaleCells; ++i) {
    text += cell(kSide / kScaleCells * i, below + 30, kSide / kScaleCells, kScaleHeight,
                 low + span * (i + 0.5) / kScaleCells);
  }
  text += text_at(0, below + 56, "start", fmt::format("colours {:.3g} to {:.3g}", low, high));
  return text + "</svg>\n";
}

}  // namespace chainrule::tools
