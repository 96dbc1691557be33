// SPDX-License-Identifier: Apache-2.0
//
// An SVG page of horizontal bars: for each workload and peer, how many times our time it takes.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

#include "report.hpp"

namespace chainrule::bench {
namespace {

constexpr double kLeft = 130, kRight = 70, kTop = 84, kBottom = 30;
constexpr double kPlotWidth = 620, kBarHeight = 11, kGroupGap = 12;
constexpr std::array<const char*, 6> kColours = {"#4477aa", "#ee6677", "#228833",
                                                 "#ccbb44", "#aa3377", "#66ccee"};

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

// Ratios on a logarithmic axis of whole decades around 1.
class Axis {
 public:
  explicit Axis(const Report& report) {
    double least = 1, most = 10;
    for (const Outcome& outcome : report.outcomes) {
      for (const Entry& entry : outcome.entries) {
        const double ratio = outcome.ratio(entry);
        if (ratio <= 0) continue;
        least = std::min(least, ratio);
        most = std::max(most, ratio);
      }
    }
    first_ = least < 1 ? std::floor(std::log10(least) * 2) / 2 : 0;
    last_ = std::ceil(std::log10(most));
  }

  double position(double ratio) const {
    return kLeft + kPlotWidth * (std::log10(ratio) - first_) / (last_ - first_);
  }
  std::vector<double> ticks() const {
    std::vector<double> values;
    for (int decade = static_cast<int>(std::floor(first_)); decade <= static_cast<int>(last_);
         ++decade) {
      for (const double digit : {1.0, 2.0, 5.0}) {
        const double value = digit * std::pow(10.0, decade);
        const double exponent = std::log10(value);
        if (exponent >= first_ - 1e-9 && exponent <= last_ + 1e-9) values.push_back(value);
      }
    }
    return values;
  }

 private:
  double first_ = 0;
  double last_ = 1;
};

class Chart {
 public:
  explicit Chart(const Report& report) : report_(report), axis_(report) {}

  std::string draw() {
    double y = kTop;
    std::string bars;
    for (const Outcome& outcome : report_.outcomes) {
      const double start = y;
      std::string group;
      for (std::size_t i = 1; i < outcome.entries.size(); ++i) {
        if (outcome.ratio(outcome.entries[i]) > 0) group += bar(outcome, i, y);
      }
      y = std::max(y, start + kBarHeight);
      bars += text(kLeft - 8, (start + y) / 2 + 4, "end", outcome.workload->name) + group;
      y += kGroupGap;
    }
    const double height = y + kBottom;
    return head(height) + grid(y) + legend() + bars + "</svg>\n";
  }

 private:
  static std::string text(double x, double y, const char* anchor, const std::string& words,
                          const char* more = "") {
    return fmt::format("<text x='{:.1f}' y='{:.1f}' text-anchor='{}'{}>{}</text>\n", x, y, anchor,
                       more, escaped(words));
  }

  static const char* colour(std::size_t i) { return kColours.at((i - 1) % kColours.size()); }

  std::string bar(const Outcome& outcome, std::size_t i, double& y) const {
    const double ratio = outcome.ratio(outcome.entries[i]);
    const double at = axis_.position(ratio), one = axis_.position(1);
    std::string result = fmt::format(
        "<rect x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}' fill='{}'>"
        "<title>{}, {}: {} against {}</title></rect>\n",
        std::min(at, one), y, std::max(1.0, std::abs(at - one)), kBarHeight - 1, colour(i),
        outcome.workload->name, escaped(outcome.entries[i].name),
        format_seconds(outcome.entries[i].best().seconds),
        format_seconds(outcome.entries.front().best().seconds));
    result += text(std::max(at, one) + 4, y + kBarHeight - 2, "start",
                   fmt::format("{:.{}f}", ratio, ratio < 10 ? 2 : 0), " font-size='10'");
    y += kBarHeight;
    return result;
  }

  std::string head(double height) const {
    const double width = kLeft + kPlotWidth + kRight;
    std::string result = fmt::format(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {0:.0f} {1:.0f}' width='{0:.0f}' "
        "height='{1:.0f}' font-family='sans-serif' font-size='12' fill='#222222'>\n"
        "<rect width='100%' height='100%' fill='#ffffff'/>\n",
        width, height);
    result += text(12, 24, "start", "Time of a run, as a multiple of chainrule's",
                   " font-size='16' font-weight='bold'");
    const std::string commit = report_.commit.empty() ? "" : ", commit " + report_.commit;
    return result +
           text(12, 42, "start",
                fmt::format("each at its best of {}; to the right of 1 chainrule is faster; {}{}",
                            format_threads(report_.settings.threads), report_.cpu, commit),
                " fill='#666666'");
  }

  std::string grid(double bottom) const {
    std::string result;
    for (const double value : axis_.ticks()) {
      const double x = axis_.position(value);
      result +=
          fmt::format("<line x1='{0:.1f}' y1='{1:.1f}' x2='{0:.1f}' y2='{2:.1f}' stroke='{3}'/>\n",
                      x, kTop - 6, bottom, value == 1 ? "#222222" : "#dddddd");
      result += text(x, bottom + 16, "middle", fmt::format("{:g}", value));
    }
    return result;
  }

  std::string legend() const {
    std::string result;
    double x = kLeft;
    for (std::size_t i = 1; i < report_.names.size(); ++i) {
      result +=
          fmt::format("<rect x='{:.1f}' y='56' width='11' height='11' fill='{}'/>\n", x, colour(i));
      result += text(x + 16, 66, "start", report_.names[i]);
      x += 34 + 7 * static_cast<double>(report_.names[i].size());
    }
    return result;
  }

  const Report& report_;
  Axis axis_;
};

}  // namespace

std::string as_svg(const Report& report) { return Chart(report).draw(); }

}  // namespace chainrule::bench
