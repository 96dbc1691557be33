// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/schedule.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <vector>

#include "chainrule/core/error.hpp"
#include "overloaded.hpp"

namespace chainrule {
namespace {

using internal::Overloaded;

void require(bool holds, std::string_view schedule, std::string_view number, double value,
             std::string_view expected) {
  if (holds) return;
  throw ArgumentError(
      fmt::format("schedule {}: {} is {}, expected {}", schedule, number, value, expected));
}

double cosine(const CosineDecay& decay, double base, StepPosition position) {
  const auto total = static_cast<double>(std::max<Index>(position.total_steps, 1));
  const double warmup = std::floor(decay.warmup * total);
  const auto done = static_cast<double>(position.step - 1);
  if (done < warmup) return base * (done + 1) / warmup;
  const double share = std::min(1.0, (done - warmup) / std::max(1.0, total - warmup));
  const double wave = 0.5 * (1 + std::cos(std::numbers::pi * share));
  return base * (decay.final_factor + (1 - decay.final_factor) * wave);
}

std::vector<double> parse_numbers(std::string_view schedule, std::string_view text) {
  std::vector<double> numbers;
  while (true) {
    const auto comma = text.find(',');
    const std::string_view one = text.substr(0, comma);
    double number = 0;
    const auto parsed = std::from_chars(one.data(), one.data() + one.size(), number);
    if (parsed.ec != std::errc() || parsed.ptr != one.data() + one.size()) {
      throw ArgumentError(fmt::format("schedule '{}': '{}' is not a number", schedule, one));
    }
    numbers.push_back(number);
    if (comma == std::string_view::npos) return numbers;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

void validate(const Schedule& schedule) {
  std::visit(Overloaded{[](const ConstantRate&) {},
                        [](const StepDecay& s) {
                          require(s.epochs >= 1, "step", "epochs", static_cast<double>(s.epochs),
                                  ">= 1");
                          require(s.factor > 0 && s.factor <= 1, "step", "factor", s.factor,
                                  "0 < factor <= 1");
                        },
                        [](const CosineDecay& s) {
                          require(s.warmup >= 0 && s.warmup < 1, "cosine", "warmup", s.warmup,
                                  "0 <= warmup < 1, the share of all steps");
                          require(s.final_factor >= 0 && s.final_factor <= 1, "cosine",
                                  "final_factor", s.final_factor, "0 <= final_factor <= 1");
                        },
                        [](const RobbinsMonro& s) {
                          require(s.a > 0 && std::isfinite(s.a), "robbins-monro", "a", s.a,
                                  "a finite number > 0");
                          require(s.t0 >= 0 && std::isfinite(s.t0), "robbins-monro", "t0", s.t0,
                                  "a finite number >= 0");
                        }},
             schedule);
}

double learning_rate_at(const Schedule& schedule, double base, StepPosition position) {
  return std::visit(
      Overloaded{
          [&](const ConstantRate&) { return base; },
          [&](const StepDecay& s) {
            const Index epoch = (position.step - 1) / std::max<Index>(position.steps_per_epoch, 1);
            return base * std::pow(s.factor, static_cast<double>(epoch / s.epochs));
          },
          [&](const CosineDecay& s) { return cosine(s, base, position); },
          [&](const RobbinsMonro& s) { return s.a / (static_cast<double>(position.step) + s.t0); }},
      schedule);
}

Schedule parse_schedule(std::string_view text) {
  const auto colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  std::vector<double> numbers;
  if (colon != std::string_view::npos) numbers = parse_numbers(text, text.substr(colon + 1));
  const auto number = [&](std::size_t i, double fallback) {
    return i < numbers.size() ? numbers[i] : fallback;
  };
  Schedule schedule;
  std::size_t allowed = 2;
  if (name == "constant") {
    allowed = 0;
  } else if (name == "step") {
    const double epochs = number(0, 10);
    require(epochs >= 1 && epochs <= 1e9 && epochs == std::floor(epochs), "step", "epochs", epochs,
            "a whole number >= 1");
    schedule = StepDecay{.epochs = static_cast<Index>(epochs), .factor = number(1, 0.1)};
  } else if (name == "cosine") {
    schedule = CosineDecay{.warmup = number(0, 0), .final_factor = number(1, 0)};
  } else if (name == "robbins-monro") {
    schedule = RobbinsMonro{.a = number(0, 1), .t0 = number(1, 0)};
  } else {
    throw ArgumentError(fmt::format(
        "unknown schedule '{}', expected constant, step, cosine or robbins-monro", name));
  }
  if (numbers.size() > allowed) {
    throw ArgumentError(fmt::format("schedule '{}' has {} numbers, expected at most {}", text,
                                    numbers.size(), allowed));
  }
  validate(schedule);
  return schedule;
}

}  // namespace chainrule
