// SPDX-License-Identifier: Apache-2.0
#include "chainrule/check/hints.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "chainrule/check/failure_text.hpp"
#include "chainrule/core/random.hpp"

namespace chainrule {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Pattern = GradientPattern;
// A gradient as a function of row and column.
using Gradient = std::function<double(Index, Index)>;

constexpr double kTolerance = 1e-9;

// Right gradients without structure: all different, none near zero.
double right(Index i, Index j) {
  const double u = random_uniform({.seed = 9}, static_cast<std::uint64_t>(64 * i + j));
  return u < 0.5 ? u - 1.5 : u + 0.5;
}

// As the checker would report them.
std::vector<ElementCheck> compare(Index rows, Index columns, const Gradient& analytic,
                                  const Gradient& numeric, double tolerance = kTolerance) {
  std::vector<ElementCheck> checks;
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < columns; ++j) {
      ElementCheck check{.row = i,
                         .column = j,
                         .analytic = analytic(i, j),
                         .numeric = numeric(i, j),
                         .tolerance = tolerance};
      check.error = std::abs(check.analytic - check.numeric);
      check.verdict = check.error <= tolerance ? Verdict::kAgree : Verdict::kDisagree;
      checks.push_back(check);
    }
  }
  return checks;
}

// The hint for a wrong gradient of a 5 x 4 value in a batch of 5 rows.
std::optional<GradientHint> hint_for(const Gradient& analytic, const Gradient& numeric = right) {
  return gradient_hint(compare(5, 4, analytic, numeric), {5, 4, 5});
}

void expect(const std::optional<GradientHint>& hint, Pattern pattern, const std::string& text) {
  ASSERT_TRUE(hint.has_value()) << text;
  EXPECT_EQ(hint->pattern, pattern) << hint->text;
  EXPECT_THAT(hint->text, HasSubstr(text));
}

TEST(Hints, RightGradientsGetNone) {
  EXPECT_FALSE(hint_for(right));
  EXPECT_FALSE(hint_for([](Index i, Index j) { return right(i, j) + 0.5e-9; }));
  EXPECT_FALSE(gradient_hint({}, {}));
}

TEST(Hints, WrongOnesWithoutAPatternGetNone) {
  EXPECT_FALSE(hint_for([](Index i, Index j) { return right(i + 7, j + 9); }));
  EXPECT_FALSE(hint_for([](Index i, Index j) { return std::sin(right(i, j)); }));
}

TEST(Hints, Factors) {
  const auto scaled = [](double factor) {
    return hint_for([=](Index i, Index j) { return factor * right(i, j); });
  };
  expect(scaled(2), Pattern::kFactor, "backward is 2 x too large");
  expect(scaled(1.0 / 3), Pattern::kFactor, "backward is 1/3 x what it should be");
  expect(scaled(0.75), Pattern::kFactor, "backward is 0.75 x what it should be");
  expect(scaled(1 + 1e-6), Pattern::kFactor, "backward is 1.000001 x too large");
  expect(scaled(-3), Pattern::kFactor, "backward is -3 x what it should be: the sign");
  EXPECT_NEAR(scaled(0.75)->factor, 0.75, 1e-9);
}

TEST(Hints, Sign) {
  const auto hint = hint_for([](Index i, Index j) { return -right(i, j); });
  expect(hint, Pattern::kSign, "backward has the wrong sign");
  EXPECT_NEAR(hint->factor, -1, 1e-9);
}

TEST(Hints, Means) {
  const auto scaled = [](double factor) {
    return hint_for([=](Index i, Index j) { return factor * right(i, j); });
  };
  expect(scaled(5), Pattern::kMissingMean,
         "5 is the length of the batch: is 1/5 of a mean missing?");
  expect(scaled(4), Pattern::kMissingMean, "4 is the length of the columns");
  expect(scaled(20), Pattern::kMissingMean, "20 is the length of batch times columns");
  expect(scaled(1.0 / 5), Pattern::kExtraMean,
         "5 is the length of the batch: is it divided by that once");
  expect(scaled(1.0 / 20), Pattern::kExtraMean, "1/20 x what it should be");
}

TEST(Hints, OneElementIsBelievedOnlyForUsualFactors) {
  const auto of_one = [](double factor) {
    return gradient_hint(
        compare(
            1, 1, [=](Index, Index) { return factor * 0.7; }, [](Index, Index) { return 0.7; }),
        {1, 1, 3});
  };
  expect(of_one(2), Pattern::kFactor, "2 x too large");
  expect(of_one(-1), Pattern::kSign, "wrong sign");
  expect(of_one(3), Pattern::kMissingMean, "the batch");
  EXPECT_FALSE(of_one(1.37));
}

TEST(Hints, NaNAndZero) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  expect(hint_for([=](Index i, Index j) { return i == 2 ? nan : right(i, j); }),
         Pattern::kNotFinite, "NaN or infinity at 4 of 20 elements");
  expect(hint_for([](Index, Index) { return 0.0; }), Pattern::kZeroEverywhere, "zero everywhere");
  expect(hint_for([](Index i, Index j) { return (i + j) % 2 == 0 ? 0 : right(i, j); }),
         Pattern::kZeros, "zero at 10 of 20 elements where it should not");
  const Gradient sparse = [](Index i, Index j) { return (i + j) % 2 == 0 ? 0 : right(i, j); };
  expect(hint_for(right, sparse), Pattern::kNotZero, "not zero at 10 of 20 elements");
}

TEST(Hints, Transpose) {
  // [5, 4] numbers that hold the row-major elements of the transpose, [4, 5].
  expect(hint_for([](Index i, Index j) { return right((4 * i + j) % 5, (4 * i + j) / 5); }),
         Pattern::kTranspose, "backward gives the transpose");
  const Gradient square = [](Index i, Index j) { return right(j, i); };
  expect(gradient_hint(compare(6, 6, square, right), {6, 6, 0}), Pattern::kTranspose, "transpose");
}

TEST(Hints, OffByOne) {
  const auto row_before = hint_for([](Index i, Index j) { return right(i > 0 ? i - 1 : 60, j); });
  expect(row_before, Pattern::kRowShift,
         "off by one row: each row holds the gradient of the one before");
  EXPECT_EQ(row_before->place, -1);
  const auto row_after = hint_for([](Index i, Index j) { return i < 4 ? right(i + 1, j) : 0; });
  expect(row_after, Pattern::kRowShift, "the one after");
  EXPECT_EQ(row_after->place, 1);
  expect(hint_for([](Index i, Index j) { return j > 0 ? right(i, j - 1) : 0; }),
         Pattern::kColumnShift,
         "off by one column: each column holds the gradient of the one before");
}

TEST(Hints, SingleRowsColumnsAndElements) {
  const auto damaged_where = [](auto&& where, double factor) {
    return hint_for(
        [=](Index i, Index j) { return where(i, j) ? factor * right(i, j) : right(i, j); });
  };
  const auto last_row = damaged_where([](Index i, Index) { return i == 4; }, 0);
  expect(last_row, Pattern::kRow,
         "only row 4, the last, is wrong, where backward gives zero: does a loop end too early?");
  EXPECT_EQ(last_row->place, 4);
  expect(damaged_where([](Index i, Index) { return i == 0; }, 2), Pattern::kRow,
         "only row 0, the first, is wrong, where backward is 2 x too large");
  expect(damaged_where([](Index i, Index) { return i >= 3; }, 0), Pattern::kRow,
         "the rows from 3 on are wrong");
  expect(damaged_where([](Index, Index j) { return j == 1; }, -1), Pattern::kColumn,
         "only column 1 is wrong, where backward has the wrong sign");
  expect(damaged_where([](Index, Index j) { return j == 3; }, 0.3), Pattern::kColumn,
         "only column 3, the last,");
  expect(damaged_where([](Index i, Index j) { return i == 1 && j == 2; }, 1.01), Pattern::kElement,
         "only the element (1, 2) is wrong");
  expect(damaged_where([](Index i, Index j) { return i == 4 && j == 3; }, 1.01), Pattern::kElement,
         "only the last element (4, 3) is wrong");
}

TEST(Hints, FactorsAndTermsOfLines) {
  expect(
      hint_for([](Index i, Index j) { return (1 + 0.1 * static_cast<double>(i)) * right(i, j); }),
      Pattern::kRowFactors, "each row is off by a factor of its own");
  expect(
      hint_for([](Index i, Index j) { return (1 + 0.1 * static_cast<double>(j)) * right(i, j); }),
      Pattern::kColumnFactors, "each column is off by a factor of its own");
  const auto constant = hint_for([](Index i, Index j) { return right(i, j) + 0.25; });
  expect(constant, Pattern::kConstant, "off by 0.25 everywhere");
  EXPECT_NEAR(constant->factor, 0.25, 1e-9);
  expect(hint_for([](Index i, Index j) { return right(i, j) + right(i, 50); }),
         Pattern::kRowConstants, "a term summed over the row is missing");
  expect(hint_for([](Index i, Index j) { return right(i, j) - right(50, j); }),
         Pattern::kColumnConstants, "a term summed over the batch is missing");
}

// float32 backward: what agrees is off by more than the factor's own rounding.
TEST(Hints, SeePatternsThroughRounding) {
  const double rounding = 1e-6;
  const auto noisy = [=](Index i, Index j) {
    return 2 * (right(i, j) + rounding * (right(j, i + 20) > 0 ? 0.9 : -0.9));
  };
  const auto hint = gradient_hint(compare(5, 4, noisy, right, rounding), {5, 4, 5});
  expect(hint, Pattern::kFactor, "x too large");
  EXPECT_NEAR(hint->factor, 2, 1e-5);
}

TEST(Hints, KinksAndUnresolvedElementsSayNothing) {
  std::vector<ElementCheck> checks = compare(
      5, 4, [](Index i, Index j) { return 2 * right(i, j); }, right);
  checks[3].numeric = 17;
  checks[3].verdict = Verdict::kUnresolved;
  checks[8].numeric = -17;
  checks[8].verdict = Verdict::kKink;
  expect(gradient_hint(checks, {5, 4, 5}), Pattern::kFactor, "2 x too large");
}

TEST(Hints, APartOfALargeGradientIsEnough) {
  std::vector<ElementCheck> checks = compare(
      40, 30, [](Index i, Index j) { return -right(i, j); }, right);
  std::erase_if(checks, [](const ElementCheck& e) { return (7 * e.row + e.column) % 19 != 0; });
  expect(gradient_hint(checks, {40, 30, 40}), Pattern::kSign, "wrong sign");
}

TEST(Hints, ADirectionThatDisagreesAlonePointsElsewhere) {
  std::vector<ElementCheck> checks = compare(5, 4, right, right);
  checks.push_back({.verdict = Verdict::kDisagree, .analytic = 3, .numeric = 2, .error = 1});
  expect(gradient_hint(checks, {5, 4, 5}), Pattern::kElsewhere, "the 20 elements");
}

TEST(FailureText, ListsWorstElementsAndHint) {
  GradientReport report;
  ValueCheck value;
  value.name = "w";
  value.failures = {{.verdict = Verdict::kDisagree,
                     .row = 3,
                     .column = 1,
                     .analytic = 1.5,
                     .numeric = 0.75,
                     .error = 0.75,
                     .tolerance = 1e-10,
                     .step = 0.03125},
                    {.verdict = Verdict::kUnresolved, .analytic = 2, .numeric = 4}};
  value.hint = "backward is 2 x too large";
  report.values.push_back(value);
  report.failures.push_back("gradient of w [4, 2]: 1 of 8 disagree");
  EXPECT_THAT(failure_text(report),
              AllOf(HasSubstr("gradient of w [4, 2]: 1 of 8 disagree\n"), HasSubstr("(3, 1)"),
                    HasSubstr("0.75"), HasSubstr("0.0312"), HasSubstr("random direction"),
                    HasSubstr("hint: backward is 2 x too large\n")));
  EXPECT_THAT(failure_text(GradientReport{}), HasSubstr("nothing was compared"));
  report.failures.clear();
  EXPECT_THAT(failure_text(report), IsEmpty());
}

}  // namespace
}  // namespace chainrule
