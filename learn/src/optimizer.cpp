// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/optimizer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "chainrule/core/error.hpp"
#include "chainrule/kernels/kernel_table.hpp"
#include "overloaded.hpp"

namespace chainrule {
namespace {

using internal::Overloaded;

template <class T>
MatrixView<T> state_view(const TensorView& view) {
  return view.data == nullptr ? MatrixView<T>{} : view.as<T>();
}

template <UpdateKernel kKernel, class T>
PreparedCall prepare(const UpdateContext& context) noexcept {
  return [update = context.kernels->get<T>().update[static_cast<std::size_t>(kKernel)],
          parameter = context.parameter.as<T>(), gradient = context.gradient.as<T>(),
          state0 = state_view<T>(context.state[0]), state1 = state_view<T>(context.state[1]),
          scalars = context.scalars] { update(parameter, gradient, state0, state1, scalars); };
}

template <UpdateKernel kKernel, class T>
void apply(const UpdateContext& context) noexcept {
  prepare<kKernel, T>(context)();
}

template <UpdateKernel kKernel>
constexpr UpdateDef define_update(std::string_view name, int state_slots) {
  return {.name = name,
          .state_slots = state_slots,
          .apply = {&apply<kKernel, float>, &apply<kKernel, double>},
          .prepare = {&prepare<kKernel, float>, &prepare<kKernel, double>},
          .is_plain_sgd = kKernel == UpdateKernel::kSgd};
}

constexpr UpdateDef kSgdUpdate = define_update<UpdateKernel::kSgd>("sgd", 0);
constexpr UpdateDef kMomentumUpdate = define_update<UpdateKernel::kMomentum>("momentum", 1);
constexpr UpdateDef kAdamUpdate = define_update<UpdateKernel::kAdam>("adam", 2);

void require(std::string_view optimizer, std::string_view number, double value, bool holds,
             std::string_view expected) {
  if (holds) return;
  throw ArgumentError(fmt::format("{}: {} is {}, expected {}", optimizer, number, value, expected));
}

template <class AnyAdam>
void validate_adam(std::string_view name, const AnyAdam& adam) {
  require(name, "learning_rate", adam.learning_rate,
          adam.learning_rate >= 0 && std::isfinite(adam.learning_rate), "a finite number >= 0");
  require(name, "beta1", adam.beta1, adam.beta1 >= 0 && adam.beta1 < 1, "0 <= beta1 < 1");
  require(name, "beta2", adam.beta2, adam.beta2 >= 0 && adam.beta2 < 1, "0 <= beta2 < 1");
  require(name, "epsilon", adam.epsilon, adam.epsilon > 0 && std::isfinite(adam.epsilon),
          "a finite number > 0");
  require(name, "weight_decay", adam.weight_decay,
          adam.weight_decay >= 0 && std::isfinite(adam.weight_decay), "a finite number >= 0");
}

template <class AnyAdam>
std::array<double, 5> adam_scalars(const AnyAdam& adam, double learning_rate, Index step) {
  const auto t = static_cast<double>(step);
  return {learning_rate / (1 - std::pow(adam.beta1, t)), adam.beta1, adam.beta2, adam.epsilon,
          1 / std::sqrt(1 - std::pow(adam.beta2, t))};
}

}  // namespace

void validate(const Optimizer& optimizer) {
  std::visit(Overloaded{[](const Sgd& sgd) {
                          require("sgd", "learning_rate", sgd.learning_rate,
                                  sgd.learning_rate >= 0 && std::isfinite(sgd.learning_rate),
                                  "a finite number >= 0");
                          require("sgd", "momentum", sgd.momentum,
                                  sgd.momentum >= 0 && sgd.momentum < 1, "0 <= momentum < 1");
                          require("sgd", "weight_decay", sgd.weight_decay,
                                  sgd.weight_decay >= 0 && std::isfinite(sgd.weight_decay),
                                  "a finite number >= 0");
                          require("sgd", "momentum", sgd.momentum,
                                  !sgd.nesterov || sgd.momentum > 0, "momentum > 0 with nesterov");
                        },
                        [](const Adam& adam) { validate_adam("adam", adam); },
                        [](const AdamW& adam) { validate_adam("adamw", adam); }},
             optimizer);
}

double base_learning_rate(const Optimizer& optimizer) noexcept {
  return std::visit([](const auto& o) { return o.learning_rate; }, optimizer);
}

std::string_view name_of(const Optimizer& optimizer) noexcept {
  constexpr std::array<std::string_view, 3> kNames = {"sgd", "adam", "adamw"};
  return kNames[optimizer.index()];
}

const UpdateDef& update_def(const Optimizer& optimizer) noexcept {
  if (const auto* sgd = std::get_if<Sgd>(&optimizer)) {
    return sgd->momentum == 0 ? kSgdUpdate : kMomentumUpdate;
  }
  return kAdamUpdate;
}

void update_scalars(const Optimizer& optimizer, double learning_rate, Index step,
                    std::span<double> scalars) {
  std::fill(scalars.begin(), scalars.end(), 0.0);
  for (int group = 0; group < kParameterGroups; ++group) {
    const double decays = group == kDecayedGroup ? 1 : 0;
    double* const out = scalars.data() + group * kUpdateScalars;
    std::visit(Overloaded{[&](const Sgd& sgd) {
                            const double decay = decays * sgd.weight_decay;
                            if (sgd.momentum == 0) {
                              std::ranges::copy(std::array{learning_rate, decay}, out);
                            } else {
                              std::ranges::copy(std::array{learning_rate, sgd.momentum,
                                                           sgd.nesterov ? 1.0 : 0.0, decay},
                                                out);
                            }
                          },
                          [&](const Adam& adam) {
                            std::ranges::copy(adam_scalars(adam, learning_rate, step), out);
                            out[5] = decays * adam.weight_decay;
                          },
                          [&](const AdamW& adam) {
                            std::ranges::copy(adam_scalars(adam, learning_rate, step), out);
                            out[6] = decays * learning_rate * adam.weight_decay;
                          }},
               optimizer);
  }
}

}  // namespace chainrule
