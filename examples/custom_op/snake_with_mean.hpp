// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "snake.hpp"

/// What is easily done: a mean over the batch where the sum belongs.
struct SnakeWithMean : Snake {
  static constexpr std::string_view kName = "snake_with_mean";

  template <class T>
  static void backward(const chainrule::OpContext& context) {
    const auto x = context.input<T>(0), a = context.input<T>(1), dy = context.out_gradient<T>();
    const auto rows = static_cast<T>(context.batch_rows);
    for (chainrule::Index i = 0; i < x.rows; ++i) {
      for (chainrule::Index j = 0; j < x.columns; ++j) {
        if (context.wants(0)) {
          context.in_gradient<T>(0)(i, j) += dy(i, j) * slope_by_x(x(i, j), a(0, j));
        }
        if (context.wants(1)) {
          context.in_gradient<T>(1)(0, j) += dy(i, j) * slope_by_a(x(i, j), a(0, j)) / rows;
        }
      }
    }
  }
};

inline constexpr chainrule::OpDef kSnakeWithMeanOp = chainrule::define_op<SnakeWithMean>();
