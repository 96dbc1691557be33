// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace chainrule::tools {

/// A line of a chart.
struct ChartLine {
  std::string name;
  std::vector<std::pair<double, double>> points;
  std::string style;  ///< of SVG: stroke, stroke-dasharray, ...
};

/// What lies between two curves.
struct ChartBand {
  struct Point {
    double x, low, high;
  };
  std::string name;
  std::vector<Point> points;
  std::string style;  ///< fill, ...
};

/// Points by themselves.
struct ChartDots {
  std::string name;
  std::vector<std::pair<double, double>> points;
  std::string style;  ///< fill, ...
};

struct LineChart {
  std::string title;
  std::vector<ChartBand> bands{};
  std::vector<ChartLine> lines{};
  std::vector<ChartDots> dots{};
  std::vector<std::pair<double, std::string>> levels{};  ///< horizontal lines and what they are
  std::vector<double> ticks{};                           ///< small marks on the axis of x
  std::pair<double, double> x_range;
};

/// Lines and the rest with axes and a legend; as SVG for html_page(), in its colours.
std::string svg_line_chart(const LineChart& chart);

inline constexpr int kHeatMapCells = 56;  ///< in each direction, at most

struct HeatMap {
  std::string title;
  std::pair<double, double> x_range;
  std::pair<double, double> y_range;
  std::function<double(double x, double y)> value;
  bool around_zero = false;  ///< a scale that is white at 0, else from the least to the most
  int x_cells = kHeatMapCells;
  int y_cells = kHeatMapCells;
  std::string x_name = "x";
  std::string y_name = "y";
};

/// Colours on a grid, with a scale.
std::string svg_heat_map(const HeatMap& map);

}  // namespace chainrule::tools
