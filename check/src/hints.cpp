// SPDX-License-Identifier: Apache-2.0
#include "chainrule/check/hints.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>
#include <utility>
#include <vector>

namespace chainrule {
namespace {

using Pattern = GradientPattern;
using Hint = std::optional<GradientHint>;

// How exactly a measured factor must be that of a mean to be called so.
constexpr double kSameFactor = 1e-3;

bool significant(const ElementCheck& e) { return std::abs(e.numeric) > 2 * e.tolerance; }

// The elements that say something, with a way to their neighbours.
class ComparedElements {
 public:
  ComparedElements(std::span<const ElementCheck> elements, const GradientLayout& layout)
      : layout_(layout) {
    for (const ElementCheck& e : elements) {
      const bool says = e.verdict == Verdict::kAgree || e.verdict == Verdict::kDisagree;
      if (!says) continue;
      if (e.row < 0) {
        direction_disagrees_ = direction_disagrees_ || e.verdict == Verdict::kDisagree;
        continue;
      }
      at_.emplace(e.row * layout.columns + e.column, elements_.size());
      elements_.push_back(e);
      if (e.verdict == Verdict::kDisagree) wrong_.push_back(e);
    }
  }

  const GradientLayout& layout() const { return layout_; }
  const std::vector<ElementCheck>& elements() const { return elements_; }
  const std::vector<ElementCheck>& wrong() const { return wrong_; }
  bool direction_disagrees() const { return direction_disagrees_; }

  // Null outside the gradient and where nothing was compared.
  const ElementCheck* at(Index row, Index column) const {
    if (row < 0 || column < 0 || row >= layout_.rows || column >= layout_.columns) return nullptr;
    const auto found = at_.find(row * layout_.columns + column);
    return found == at_.end() ? nullptr : &elements_[found->second];
  }

 private:
  GradientLayout layout_;
  std::vector<ElementCheck> elements_;
  std::vector<ElementCheck> wrong_;
  std::unordered_map<Index, std::size_t> at_;
  bool direction_disagrees_ = false;
};

Hint hint(Pattern pattern, std::string text, double factor = 1, Index place = -1) {
  return GradientHint{pattern, factor, place, std::move(text)};
}

// "2", "1/3", "1.000001".
std::string factor_text(double factor) {
  const double inverse = std::round(1 / factor);
  const bool unit_fraction =
      std::abs(factor) < 0.75 && std::abs(inverse) < 1e6 && std::abs(factor * inverse - 1) < 1e-9;
  return unit_fraction ? fmt::format("{}1/{:.0f}", factor < 0 ? "-" : "", std::abs(inverse))
                       : fmt::format("{:.8g}", factor);
}

struct Factor {
  double value = 0;
  int support = 0;  // elements that are not zero
};

// The factor c with analytic = c numeric, if there is one.
std::optional<Factor> common_factor(std::span<const ElementCheck> elements) {
  long double product = 0, square = 0;
  Factor factor;
  for (const ElementCheck& e : elements) {
    if (!significant(e)) continue;
    product += static_cast<long double>(e.analytic) * e.numeric;
    square += static_cast<long double>(e.numeric) * e.numeric;
    ++factor.support;
  }
  if (factor.support == 0) return std::nullopt;
  factor.value = static_cast<double>(product / square);
  const double slack = 1 + std::abs(factor.value);
  for (const ElementCheck& e : elements) {
    if (!(std::abs(e.analytic - factor.value * e.numeric) <= slack * e.tolerance)) {
      return std::nullopt;
    }
  }
  return factor;
}

// A single element fits any factor: only those that are easily made count then.
bool believable(const Factor& factor, const GradientLayout& layout) {
  if (factor.support >= 2) return true;
  const auto batch = static_cast<double>(std::max<Index>(2, layout.batch_rows));
  for (const double usual : {-1.0, 2.0, 0.5, batch, 1 / batch}) {
    if (std::abs(factor.value - usual) < 1e-6 * std::abs(usual)) return true;
  }
  return false;
}

// "the sign is wrong", "2 x too large", "1/2 x what it should be".
std::string factor_phrase(double factor) {
  if (std::abs(factor + 1) < kSameFactor) return "has the wrong sign";
  if (factor < 0) return fmt::format("is {} x what it should be: the sign", factor_text(factor));
  return fmt::format("is {} x {}", factor_text(factor),
                     factor > 1 ? "too large" : "what it should be");
}

// A factor that is the length of a mean, or 1 over it.
Hint mean_hint(double factor, const GradientLayout& layout) {
  const auto batch = static_cast<double>(layout.batch_rows);
  const auto columns = static_cast<double>(layout.columns);
  const std::array<std::pair<double, const char*>, 3> lengths{
      {{batch, "the batch"}, {columns, "the columns"}, {batch * columns, "batch times columns"}}};
  for (const auto& [length, what] : lengths) {
    if (length < 2) continue;
    if (std::abs(factor - length) < kSameFactor * length) {
      return hint(Pattern::kMissingMean,
                  fmt::format("backward is {0} x too large, and {0} is the length of {1}: is 1/{0} "
                              "of a mean missing?",
                              length, what),
                  factor);
    }
    if (std::abs(factor * length - 1) < kSameFactor) {
      return hint(Pattern::kExtraMean,
                  fmt::format("backward is 1/{0} x what it should be, and {0} is the length of "
                              "{1}: is it divided by that once too often?",
                              length, what),
                  factor);
    }
  }
  return std::nullopt;
}

Hint find_not_finite(const ComparedElements& c) {
  const auto count = std::count_if(c.wrong().begin(), c.wrong().end(), [](const ElementCheck& e) {
    return !std::isfinite(e.analytic);
  });
  if (count == 0) return std::nullopt;
  return hint(Pattern::kNotFinite,
              fmt::format("backward gives NaN or infinity at {} of {} elements", count,
                          c.elements().size()));
}

Hint find_zero_everywhere(const ComparedElements& c) {
  const bool zero = std::all_of(c.elements().begin(), c.elements().end(),
                                [](const ElementCheck& e) { return e.analytic == 0; });
  if (!zero) return std::nullopt;
  return hint(Pattern::kZeroEverywhere,
              "backward gives zero everywhere: is this gradient written at all?", 0);
}

Hint find_factor(const ComparedElements& c) {
  const std::optional<Factor> factor = common_factor(c.elements());
  if (!factor || !believable(*factor, c.layout())) return std::nullopt;
  if (Hint mean = mean_hint(factor->value, c.layout())) return mean;
  const bool sign = std::abs(factor->value + 1) < kSameFactor;
  return hint(sign ? Pattern::kSign : Pattern::kFactor, "backward " + factor_phrase(factor->value),
              factor->value);
}

// Whether analytic(i, j) = numeric(source(i, j)) wherever both are known, which must be often
// enough; sources outside the gradient explain anything.
template <class Source>
bool comes_from(const ComparedElements& c, Source&& source) {
  std::size_t known = 0, support = 0;
  for (const ElementCheck& e : c.elements()) {
    const auto [row, column, inside] = source(e.row, e.column);
    if (!inside) continue;
    const ElementCheck* const from = c.at(row, column);
    if (from == nullptr) continue;
    if (!(std::abs(e.analytic - from->numeric) <= e.tolerance + from->tolerance)) return false;
    ++known;
    support += significant(*from) && e.verdict == Verdict::kDisagree ? 1U : 0U;
  }
  return support >= 2 && 4 * known >= c.elements().size();
}

struct Place {
  Index row;
  Index column;
  bool inside;
};

Hint find_transpose(const ComparedElements& c) {
  const Index rows = c.layout().rows, columns = c.layout().columns;
  if (rows < 2 || columns < 2) return std::nullopt;
  // The elements of the transpose [columns, rows], read in row-major order.
  const auto source = [&](Index i, Index j) {
    const Index k = i * columns + j;
    return Place{k % rows, k / rows, true};
  };
  if (!comes_from(c, source)) return std::nullopt;
  return hint(Pattern::kTranspose, "backward gives the transpose");
}

Hint find_shift(const ComparedElements& c) {
  const Index rows = c.layout().rows, columns = c.layout().columns;
  for (const Index shift : {Index{-1}, Index{1}}) {
    const char* const which = shift < 0 ? "before" : "after";
    const auto in_rows = [&](Index i, Index j) {
      return Place{i + shift, j, i + shift >= 0 && i + shift < rows};
    };
    if (rows > 1 && comes_from(c, in_rows)) {
      return hint(Pattern::kRowShift,
                  fmt::format("off by one row: each row holds the gradient of the one {}", which),
                  1, shift);
    }
    const auto in_columns = [&](Index i, Index j) {
      return Place{i, j + shift, j + shift >= 0 && j + shift < columns};
    };
    if (columns > 1 && comes_from(c, in_columns)) {
      return hint(
          Pattern::kColumnShift,
          fmt::format("off by one column: each column holds the gradient of the one {}", which), 1,
          shift);
    }
  }
  return std::nullopt;
}

// ": 2 x too large there", or nothing.
std::string local_phrase(const ComparedElements& c) {
  const bool zero = std::all_of(c.wrong().begin(), c.wrong().end(),
                                [](const ElementCheck& e) { return e.analytic == 0; });
  if (zero) return ", where backward gives zero";
  const std::optional<Factor> factor = common_factor(c.wrong());
  if (!factor || !believable(*factor, c.layout())) return "";
  return ", where backward " + factor_phrase(factor->value);
}

Hint find_element(const ComparedElements& c) {
  if (c.wrong().size() != 1 || c.elements().size() < 2) return std::nullopt;
  const ElementCheck& e = c.wrong().front();
  const bool last = e.row + 1 == c.layout().rows && e.column + 1 == c.layout().columns;
  return hint(Pattern::kElement,
              fmt::format("only the {}element ({}, {}) is wrong{}", last ? "last " : "", e.row,
                          e.column, local_phrase(c)));
}

// One line (row or column), or all from one in the second half on, are wrong, the others right.
Hint find_lines(const ComparedElements& c, Pattern pattern, const char* name, Index count,
                Index ElementCheck::*line) {
  Index first = count, last = -1;
  for (const ElementCheck& e : c.wrong()) {
    first = std::min(first, e.*line);
    last = std::max(last, e.*line);
  }
  const bool single = first == last;
  const bool tail = 2 * first >= count && last == count - 1;
  if (count < 2 || !(single || tail)) return std::nullopt;
  std::size_t inside = 0, outside = 0;
  for (const ElementCheck& e : c.elements()) {
    const bool in = e.*line >= first && e.*line <= last;
    (in ? inside : outside) += significant(e) || e.verdict == Verdict::kDisagree ? 1U : 0U;
  }
  // Most of what is inside must be wrong, and something right must be left.
  if (outside == 0 || 2 * c.wrong().size() < inside) return std::nullopt;
  const std::string where = single ? fmt::format("only {} {}{} is wrong", name, first,
                                                 last == count - 1 ? ", the last,"
                                                 : first == 0      ? ", the first,"
                                                                   : "")
                                   : fmt::format("the {}s from {} on are wrong", name, first);
  const char* const why = last == count - 1 ? ": does a loop end too early?" : "";
  return hint(pattern, where + local_phrase(c) + why, 1, first);
}

Hint find_row(const ComparedElements& c) {
  return find_lines(c, Pattern::kRow, "row", c.layout().rows, &ElementCheck::row);
}

Hint find_column(const ComparedElements& c) {
  return find_lines(c, Pattern::kColumn, "column", c.layout().columns, &ElementCheck::column);
}

Hint find_zeros(const ComparedElements& c) {
  const auto all = [&](auto&& holds) {
    return std::all_of(c.wrong().begin(), c.wrong().end(), holds);
  };
  if (all([](const ElementCheck& e) { return e.analytic == 0; })) {
    return hint(Pattern::kZeros,
                fmt::format("backward gives zero at {} of {} elements where it should not",
                            c.wrong().size(), c.elements().size()),
                0);
  }
  if (all([](const ElementCheck& e) { return std::abs(e.numeric) <= e.tolerance; })) {
    return hint(Pattern::kNotZero,
                fmt::format("backward is not zero at {} of {} elements that nothing depends on",
                            c.wrong().size(), c.elements().size()));
  }
  return std::nullopt;
}

using Lines = std::unordered_map<Index, std::vector<ElementCheck>>;

Lines by_line(const ComparedElements& c, Index ElementCheck::*line) {
  Lines lines;
  for (const ElementCheck& e : c.elements()) lines[e.*line].push_back(e);
  return lines;
}

bool has_factors(const ComparedElements& c, Index ElementCheck::*line) {
  const Lines lines = by_line(c, line);
  std::size_t supported = 0;
  for (const auto& [place, elements] : lines) {
    const std::optional<Factor> factor = common_factor(elements);
    const auto right = [](const ElementCheck& e) { return e.verdict == Verdict::kAgree; };
    if (!factor && !std::all_of(elements.begin(), elements.end(), right)) return false;
    supported += factor && factor->support >= 2 ? 1U : 0U;
  }
  return supported >= 2;
}

bool has_constants(std::span<const ElementCheck> elements) {
  if (elements.size() < 2) return false;
  // The middle of what each element allows; the common number must be allowed by all.
  double low = -HUGE_VAL, high = HUGE_VAL;
  for (const ElementCheck& e : elements) {
    low = std::max(low, e.analytic - e.numeric - e.tolerance);
    high = std::min(high, e.analytic - e.numeric + e.tolerance);
  }
  return low <= high;
}

bool has_constants(const ComparedElements& c, Index ElementCheck::*line) {
  const Lines lines = by_line(c, line);
  return lines.size() >= 2 && std::all_of(lines.begin(), lines.end(), [](const auto& entry) {
           return has_constants(entry.second);
         });
}

Hint find_line_factors(const ComparedElements& c) {
  if (has_factors(c, &ElementCheck::row)) {
    return hint(Pattern::kRowFactors,
                "each row is off by a factor of its own: a weight or sum of the row?");
  }
  if (has_factors(c, &ElementCheck::column)) {
    return hint(Pattern::kColumnFactors,
                "each column is off by a factor of its own: a scale of the column?");
  }
  return std::nullopt;
}

Hint find_constants(const ComparedElements& c) {
  if (c.elements().size() > 2 && has_constants(c.elements())) {
    const ElementCheck& e = c.wrong().front();
    const double added = e.analytic - e.numeric;
    return hint(Pattern::kConstant,
                fmt::format("backward is off by {:.6g} everywhere: a term is missing", added),
                added);
  }
  if (has_constants(c, &ElementCheck::row)) {
    return hint(Pattern::kRowConstants,
                "backward is off by a number for each row: a term summed over the row is missing");
  }
  if (has_constants(c, &ElementCheck::column)) {
    return hint(
        Pattern::kColumnConstants,
        "backward is off by a number for each column: a term summed over the batch is missing");
  }
  return std::nullopt;
}

}  // namespace

std::optional<GradientHint> gradient_hint(std::span<const ElementCheck> elements,
                                          const GradientLayout& layout) {
  const ComparedElements comparison(elements, layout);
  if (comparison.wrong().empty()) {
    if (!comparison.direction_disagrees() || comparison.elements().empty()) return std::nullopt;
    return hint(
        Pattern::kElsewhere,
        fmt::format("the {} elements that were compared agree, a random direction does not: "
                    "the error is in others; compare more",
                    comparison.elements().size()));
  }
  for (const auto find :
       {find_not_finite, find_zero_everywhere, find_factor, find_transpose, find_shift,
        find_element, find_row, find_column, find_zeros, find_line_factors, find_constants}) {
    if (Hint found = find(comparison)) return found;
  }
  return std::nullopt;
}

}  // namespace chainrule
