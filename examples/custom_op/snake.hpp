// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chainrule/core/error.hpp>
#include <chainrule/core/graph.hpp>
#include <chainrule/core/op_def.hpp>
#include <cmath>
#include <string>

/// snake(x, a) = x + sin^2(a_j x) / a_j: an activation for periodic functions whose frequency a_j
/// is learned for each column (Ziyin, Hartwig & Ueda 2020, "Neural networks fail to learn periodic
/// functions and how to fix it", eq. 3).
///
/// Shapes: x [batch, n] (or [m, n]), a [n], not zero; the output as x. Backward:
///   dx(i, j) += dy(i, j) (1 + sin(2 a_j x))
///   da(j)    += sum_i dy(i, j) (x sin(2 a_j x) - sin^2(a_j x) / a_j) / a_j
struct Snake {
  static constexpr std::string_view kName = "snake";
  static constexpr chainrule::OpTraits kTraits{
      .min_inputs = 2, .max_inputs = 2, .backward_reads = {.inputs = 0b11, .output = false}};

  static chainrule::Shape infer(const chainrule::InferContext& context) {
    const chainrule::Shape& x = context.inputs[0];
    const chainrule::Shape& a = context.inputs[1];
    if (x.rank() == 2 && a.rank() == 1 && !a.is_batched() && a.columns() == x.columns()) return x;
    throw chainrule::ShapeError("snake: got x " + to_string(x) + " and a " + to_string(a) +
                                ", expected a matrix and a number for each of its columns");
  }

  template <class T>
  static void forward(const chainrule::OpContext& context) {
    const auto x = context.input<T>(0), a = context.input<T>(1);
    const auto y = context.out<T>();
    for (chainrule::Index i = 0; i < x.rows; ++i) {
      for (chainrule::Index j = 0; j < x.columns; ++j) {
        const T sine = std::sin(a(0, j) * x(i, j));
        y(i, j) = x(i, j) + sine * sine / a(0, j);
      }
    }
  }

  // By x and by a_j, in that order.
  template <class T>
  static T slope_by_x(T x, T a) {
    return 1 + std::sin(2 * a * x);
  }
  template <class T>
  static T slope_by_a(T x, T a) {
    const T sine = std::sin(a * x);
    return (x * std::sin(2 * a * x) - sine * sine / a) / a;
  }

  // Adds to the gradients that are wanted. Rows come in blocks; a's sum over them is added up
  // later.
  template <class T>
  static void backward(const chainrule::OpContext& context) {
    const auto x = context.input<T>(0), a = context.input<T>(1), dy = context.out_gradient<T>();
    for (chainrule::Index i = 0; i < x.rows; ++i) {
      for (chainrule::Index j = 0; j < x.columns; ++j) {
        if (context.wants(0)) {
          context.in_gradient<T>(0)(i, j) += dy(i, j) * slope_by_x(x(i, j), a(0, j));
        }
        if (context.wants(1)) {
          context.in_gradient<T>(1)(0, j) += dy(i, j) * slope_by_a(x(i, j), a(0, j));
        }
      }
    }
  }

  // How y moves when x and a do. Written from forward and without a look at backward: the two
  // check each other.
  template <class T>
  static void jvp(const chainrule::OpContext& context) {
    const auto x = context.input<T>(0), a = context.input<T>(1);
    const auto x_moves = context.in_tangent<T>(0), a_moves = context.in_tangent<T>(1);
    const auto y_moves = context.out_tangent<T>();
    for (chainrule::Index i = 0; i < x.rows; ++i) {
      for (chainrule::Index j = 0; j < x.columns; ++j) {
        const T angle = a(0, j) * x(i, j), sine = std::sin(angle);
        const T angle_moves = a(0, j) * x_moves(i, j) + a_moves(0, j) * x(i, j);
        const T square_moves = 2 * sine * std::cos(angle) * angle_moves;
        y_moves(i, j) = x_moves(i, j) + square_moves / a(0, j) -
                        sine * sine * a_moves(0, j) / (a(0, j) * a(0, j));
      }
    }
  }
};

inline constexpr chainrule::OpDef kSnakeOp = chainrule::define_op<Snake>();

inline chainrule::Value snake(const chainrule::Value& x, const chainrule::Value& a) {
  return x.graph()->apply(kSnakeOp, {x, a});
}
