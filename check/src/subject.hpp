// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "chainrule/core/graph.hpp"
#include "chainrule/core/random.hpp"
#include "chainrule/core/tensor.hpp"
#include "forward_probe.hpp"

namespace chainrule::internal {

/// What is checked: y = f(x) around a point x, which lies in several tensors ("variables"), and the
/// gradients that somebody computed there.
class Subject {
 public:
  struct Variable {
    std::string name;
    Shape shape;
    Value value;  ///< empty outside graphs
  };
  /// A move of one variable along a direction, row-major and dense.
  struct Move {
    std::size_t variable = 0;
    std::span<const double> direction;
  };

  virtual ~Subject() = default;

  virtual const std::vector<Variable>& variables() const = 0;
  /// y at the point.
  virtual std::span<const double> outputs() const = 0;
  /// The point, in float64.
  virtual ConstTensorView point(std::size_t variable) const = 0;

  /// y where element (row, column) of the variable is moved by t; returns by how much it was, after
  /// rounding. restore() brings the point back.
  virtual double move_element(std::size_t variable, Index row, Index column, double t,
                              std::span<double> y) = 0;
  /// y at t times the moves.
  virtual void move(std::span<const Move> moves, double t, std::span<double> y) = 0;
  virtual void restore() = 0;

  /// The gradient of sum_i v_i y_i with respect to each variable, computed in `dtype`, which also
  /// rounds v.
  virtual std::vector<Tensor> gradients(std::span<const double> v, DType dtype) = 0;
  /// By how much float64 gradients move, element by element, when everything that the function
  /// reads is off by a few units of float32's rounding.
  virtual std::vector<Tensor> float32_spread(std::span<const double> v) = 0;
  /// Forward mode by one variable, as long as the subject lives; null where there is none.
  virtual std::unique_ptr<ForwardProbe> forward_mode(std::size_t) { return nullptr; }
};

/// Random signed numbers, 1/2 <= |v| < 1.
double random_signed(RandomKey key, Index index);
std::vector<double> random_signs(RandomKey key, std::size_t count);

}  // namespace chainrule::internal
