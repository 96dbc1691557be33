// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/core/graph.hpp"

namespace chainrule {

// Elementwise functions y = f(x); y has the shape of x, whatever that is.
//
// Backward: dx += dy f'(x), where f' is computed from y for relu, elu, sigmoid, tanh and exp, and
// from x for the others; each op reads exactly that one and saves nothing.
// jvp: ty = f'(x) tx, where f' is always computed from x. Second order: tdx += tdy f' + dy f'' tx,
// where f'' is computed from what f' is, to 8 ULP of max(|f''|, 1); at a kink it is that of the
// branch with x <= 0.
// Aliasing: y may be x (the planner then knows that x is gone), and dx may be dy.
// NaN goes in as NaN and comes out as NaN, in f and in f'.
// Accuracy: "n ULP" bounds the error of y in units in the last place, in float32 and float64, over
// the whole range unless one is given (elu: at alpha = 1); 1.25 times that without FMA
// ("baseline"). The bounds are those of kUnaryAccuracy in chainrule/kernels/accuracy.hpp, which a
// test asserts. float32 backward: see backward_accuracy.hpp.

/// y = x. Exact.
CHAINRULE_API Value identity(const Value& x, Where where = Where::current());

/// y = max(x, 0); f'(0) = 0. Exact.
CHAINRULE_API Value relu(const Value& x, Where where = Where::current());

/// y = x for x > 0, else slope x; f'(0) = slope. 0.5 ULP. The slope (attribute real[0]) must be
/// finite; ArgumentError otherwise.
CHAINRULE_API Value leaky_relu(const Value& x, double slope = 0.01, Where where = Where::current());

/// y = x for x > 0, else alpha (e^x - 1); f'(0) = alpha. 2 ULP. (Clevert et al. 2015, eq. 15.)
/// alpha (attribute real[0]) must be finite and >= 0, so that y alone gives f'; ArgumentError
/// otherwise.
CHAINRULE_API Value elu(const Value& x, double alpha = 1, Where where = Where::current());

/// y = 1 / (1 + e^-x). 2 ULP.
CHAINRULE_API Value sigmoid(const Value& x, Where where = Where::current());

/// y = tanh x. 2 ULP.
CHAINRULE_API Value tanh(const Value& x, Where where = Where::current());

/// y = log(1 + e^x), without overflow. 2 ULP.
CHAINRULE_API Value softplus(const Value& x, Where where = Where::current());

/// y = x sigmoid(x). 3 ULP for x >= -80; below, 2 ULP of 1 in absolute terms.
CHAINRULE_API Value silu(const Value& x, Where where = Where::current());

/// y = x Phi(x) = x (1 + erf(x / sqrt 2)) / 2. 7 ULP for x >= -12; below, 2 ULP of 1 in absolute
/// terms. (Hendrycks & Gimpel 2016.)
CHAINRULE_API Value gelu(const Value& x, Where where = Where::current());

/// y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, the approximation of the same paper.
/// 2 ULP of max(|y|, 1).
CHAINRULE_API Value gelu_tanh(const Value& x, Where where = Where::current());

/// y = e^x; inf beyond the range of the dtype. 1 ULP.
CHAINRULE_API Value exp(const Value& x, Where where = Where::current());

/// y = log x; -inf at 0 and NaN below. 1 ULP.
CHAINRULE_API Value log(const Value& x, Where where = Where::current());

extern CHAINRULE_API const OpDef kIdentityOp;
extern CHAINRULE_API const OpDef kReluOp;
extern CHAINRULE_API const OpDef kLeakyReluOp;
extern CHAINRULE_API const OpDef kEluOp;
extern CHAINRULE_API const OpDef kSigmoidOp;
extern CHAINRULE_API const OpDef kTanhOp;
extern CHAINRULE_API const OpDef kSoftplusOp;
extern CHAINRULE_API const OpDef kSiluOp;
extern CHAINRULE_API const OpDef kGeluOp;
extern CHAINRULE_API const OpDef kGeluTanhOp;
extern CHAINRULE_API const OpDef kExpOp;
extern CHAINRULE_API const OpDef kLogOp;

}  // namespace chainrule
