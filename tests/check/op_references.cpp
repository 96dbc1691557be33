// SPDX-License-Identifier: Apache-2.0
#include "op_references.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "chainrule/core/random.hpp"

namespace chainrule::testing {
namespace {

using Real = long double;
using Numbers = std::vector<Real>;

struct Matrix {
  Index rows = 0;
  Index columns = 0;
  Numbers values;

  Real operator()(Index i, Index j) const {
    return values[static_cast<std::size_t>(i * columns + j)];
  }
};

// The inputs of a case's node, as far as they are leaves.
struct Inputs {
  explicit Inputs(const CaseInstance& instance)
      : node(instance.output().node()), inference(instance.feed().mode == Mode::kInference) {
    Graph* const graph = instance.output().graph();
    for (const NodeId id : node.inputs) {
      Matrix& m = matrices.emplace_back();
      if (graph->node(id).kind == NodeKind::kOp) continue;
      const ConstTensorView view = instance.data({graph, id});
      m.rows = view.rows;
      m.columns = view.columns;
      for (Index i = 0; i < m.rows; ++i) {
        for (Index j = 0; j < m.columns; ++j) m.values.push_back(element(view, i, j));
      }
    }
  }

  const Matrix& operator[](std::size_t i) const { return matrices.at(i); }
  Real attribute(std::size_t i) const { return node.attributes.real[i]; }

  const Node& node;
  bool inference;
  std::vector<Matrix> matrices;
};

using Reference = std::function<Numbers(const Inputs&)>;
using Element = std::function<Real(const Inputs&, Index i, Index j)>;

// Every element of a matrix shaped as input 0.
Reference elementwise(const Element& f) {
  return [=](const Inputs& in) {
    Numbers y;
    for (Index i = 0; i < in[0].rows; ++i) {
      for (Index j = 0; j < in[0].columns; ++j) y.push_back(f(in, i, j));
    }
    return y;
  };
}

Reference function_of_x(Real (*f)(Real x, Real attribute)) {
  return elementwise(
      [=](const Inputs& in, Index i, Index j) { return f(in[0](i, j), in.attribute(0)); });
}

// The mean over the columns of a function of (x, target).
Reference row_loss(Real (*f)(Real x, Real t, Real attribute)) {
  return [=](const Inputs& in) {
    Numbers y;
    for (Index i = 0; i < in[0].rows; ++i) {
      Real sum = 0;
      for (Index j = 0; j < in[0].columns; ++j) sum += f(in[0](i, j), in[1](i, j), in.attribute(0));
      y.push_back(sum / static_cast<Real>(in[0].columns));
    }
    return y;
  };
}

Real log_sum_exp(const Matrix& x, Index i) {
  Real sum = 0;
  for (Index j = 0; j < x.columns; ++j) sum += std::exp(x(i, j));
  return std::log(sum);
}

Numbers matmul_reference(const Inputs& in) {
  Numbers y;
  for (Index i = 0; i < in[0].rows; ++i) {
    for (Index j = 0; j < in[1].columns; ++j) {
      Real sum = 0;
      for (Index k = 0; k < in[0].columns; ++k) sum += in[0](i, k) * in[1](k, j);
      y.push_back(sum);
    }
  }
  return y;
}

// Philox word i * columns + j decides; the node's key is not public, so the mask is not recomputed
// here but read off the only two values an element may have (see DropoutKeepsOrDrops).
Real dropout_kept(const Inputs& in, Index i, Index j) {
  return in.inference ? in[0](i, j) : in[0](i, j) / (1 - in.attribute(0));
}

Real layer_norm_at(const Inputs& in, Index i, Index j) {
  const Matrix& x = in[0];
  Real mean = 0, variance = 0;
  const auto n = static_cast<Real>(x.columns);
  for (Index k = 0; k < x.columns; ++k) mean += x(i, k) / n;
  for (Index k = 0; k < x.columns; ++k) variance += (x(i, k) - mean) * (x(i, k) - mean) / n;
  return (x(i, j) - mean) / std::sqrt(variance + in.attribute(0)) * in[1](0, j) + in[2](0, j);
}

Real batch_norm_at(const Inputs& in, Index i, Index j) {
  const Matrix& x = in[0];
  Real mean = 0, variance = 0;
  const auto m = static_cast<Real>(x.rows);
  for (Index k = 0; k < x.rows; ++k) mean += x(k, j) / m;
  for (Index k = 0; k < x.rows; ++k) variance += (x(k, j) - mean) * (x(k, j) - mean) / m;
  if (in.inference) {
    mean = in[3](0, j);
    variance = in[4](0, j);
  }
  return (x(i, j) - mean) / std::sqrt(variance + in.attribute(1)) * in[1](0, j) + in[2](0, j);
}

Numbers concat_reference(const Inputs& in) {
  Numbers y;
  for (Index i = 0; i < in[0].rows; ++i) {
    for (const Matrix& m : in.matrices) {
      for (Index j = 0; j < m.columns; ++j) y.push_back(m(i, j));
    }
  }
  return y;
}

Numbers slice_reference(const Inputs& in) {
  const Index first = in.node.attributes.integer[0], count = in.node.attributes.integer[1];
  Numbers y;
  for (Index i = 0; i < in[0].rows; ++i) {
    for (Index j = first; j < first + count; ++j) y.push_back(in[0](i, j));
  }
  return y;
}

Numbers embedding_reference(const Inputs& in) {
  Numbers y;
  for (const Real index : in[0].values) {
    for (Index j = 0; j < in[1].columns; ++j) y.push_back(in[1](static_cast<Index>(index), j));
  }
  return y;
}

// Sum over the batch, divided by the sum of the weights for a mean.
Reference batch_reduction(bool mean) {
  return [=](const Inputs& in) {
    const bool weighted = in.matrices.size() > 1;
    Numbers y(static_cast<std::size_t>(in[0].columns));
    Real total = 0;
    for (Index i = 0; i < in[0].rows; ++i) {
      const Real weight = weighted ? in[1](i, 0) : 1;
      total += weight;
      for (Index j = 0; j < in[0].columns; ++j) {
        y[static_cast<std::size_t>(j)] += weight * in[0](i, j);
      }
    }
    for (Real& value : y) value /= mean ? total : 1;
    return y;
  };
}

Reference feature_reduction(bool mean) {
  return [=](const Inputs& in) {
    Numbers y;
    for (Index i = 0; i < in[0].rows; ++i) {
      Real sum = 0;
      for (Index j = 0; j < in[0].columns; ++j) sum += in[0](i, j);
      y.push_back(mean ? sum / static_cast<Real>(in[0].columns) : sum);
    }
    return y;
  };
}

Reference total_reduction(bool mean) {
  return [=](const Inputs& in) {
    Real sum = 0;
    for (const Real x : in[0].values) sum += x;
    return Numbers{mean ? sum / static_cast<Real>(in[0].values.size()) : sum};
  };
}

Reference cross_entropy(bool labels) {
  return [=](const Inputs& in) {
    const Real s = in.attribute(0);
    Numbers y;
    for (Index i = 0; i < in[0].rows; ++i) {
      Real loss = 0;
      for (Index k = 0; k < in[0].columns; ++k) {
        const Real q = labels ? (static_cast<Index>(in[1](i, 0)) == k ? 1 : 0) : in[1](i, k);
        const Real p = (1 - s) * q + s / static_cast<Real>(in[0].columns);
        loss -= p * (in[0](i, k) - log_sum_exp(in[0], i));
      }
      y.push_back(loss);
    }
    return y;
  };
}

const Real kPi = std::acos(Real{-1});

// -log N(y; 0, A) of each column of y from A = L L^T, L row by row: |A| is the product of L's
// squared diagonal, and L^-1 y comes along as another row of it.
Numbers gp_nll_reference(const Inputs& in) {
  const Matrix &x = in[0], &y = in[1], &log_scale = in[4];
  const auto n = static_cast<std::size_t>(x.rows);
  const auto covariance = [&](Index i, Index j) {
    Real distance = 0;
    for (Index c = 0; c < x.columns; ++c) {
      const Real scale = std::exp(log_scale(0, log_scale.columns == 1 ? 0 : c));
      distance += (x(i, c) - x(j, c)) * (x(i, c) - x(j, c)) / (scale * scale);
    }
    const Real noise = i == j ? std::exp(in[3](0, 0)) : 0;
    return std::exp(in[2](0, 0) - distance / 2) + noise;
  };
  std::vector<Numbers> l;
  const auto eliminate = [&](Numbers row) {
    for (std::size_t j = 0; j < std::min(row.size(), l.size()); ++j) {
      for (std::size_t k = 0; k < j; ++k) row[j] -= row[k] * l[j][k];
      row[j] /= l[j][j];
    }
    return row;
  };
  Real log_determinant = 0;
  for (Index i = 0; i < x.rows; ++i) {
    Numbers row;
    for (Index j = 0; j <= i; ++j) row.push_back(covariance(i, j));
    row = eliminate(row);
    Real& pivot = row.back();
    for (std::size_t k = 0; k + 1 < row.size(); ++k) pivot -= row[k] * row[k];
    log_determinant += std::log(pivot);
    pivot = std::sqrt(pivot);
    l.push_back(row);
  }
  Real sum = 0;
  for (Index c = 0; c < y.columns; ++c) {
    Numbers column;
    for (Index i = 0; i < y.rows; ++i) column.push_back(y(i, c));
    for (const Real z : eliminate(column)) sum += z * z;
    sum += log_determinant + static_cast<Real>(n) * std::log(2 * kPi);
  }
  const bool mean = in.node.attributes.integer[0] != 0;
  return {sum / 2 / (mean ? static_cast<Real>(x.rows * y.columns) : 1)};
}

Real gelu_tanh_at(Real x, Real) {
  return x * (1 + std::tanh(std::sqrt(2 / kPi) * (x + 0.044715L * x * x * x))) / 2;
}

Real huber_at(Real x, Real t, Real delta) {
  const Real d = std::abs(x - t);
  return d <= delta ? d * d / 2 : delta * (d - delta / 2);
}

const std::map<std::string_view, Reference>& references() {
  static const std::map<std::string_view, Reference> table = {
      {"matmul", matmul_reference},
      {"add_bias",
       elementwise([](const Inputs& in, Index i, Index j) { return in[0](i, j) + in[1](0, j); })},
      {"add",
       elementwise([](const Inputs& in, Index i, Index j) { return in[0](i, j) + in[1](i, j); })},
      {"sub",
       elementwise([](const Inputs& in, Index i, Index j) { return in[0](i, j) - in[1](i, j); })},
      {"mul",
       elementwise([](const Inputs& in, Index i, Index j) { return in[0](i, j) * in[1](i, j); })},
      {"scale", function_of_x([](Real x, Real factor) { return factor * x; })},
      {"identity", function_of_x([](Real x, Real) { return x; })},
      {"relu", function_of_x([](Real x, Real) { return x > 0 ? x : 0; })},
      {"leaky_relu", function_of_x([](Real x, Real slope) { return x > 0 ? x : slope * x; })},
      {"elu", function_of_x([](Real x, Real a) { return x > 0 ? x : a * std::expm1(x); })},
      {"sigmoid", function_of_x([](Real x, Real) { return 1 / (1 + std::exp(-x)); })},
      {"tanh", function_of_x([](Real x, Real) { return std::tanh(x); })},
      {"softplus", function_of_x([](Real x, Real) { return std::log(1 + std::exp(x)); })},
      {"silu", function_of_x([](Real x, Real) { return x / (1 + std::exp(-x)); })},
      {"gelu",
       function_of_x([](Real x, Real) { return x * (1 + std::erf(x / std::sqrt(Real{2}))) / 2; })},
      {"gelu_tanh", function_of_x(gelu_tanh_at)},
      {"exp", function_of_x([](Real x, Real) { return std::exp(x); })},
      {"log", function_of_x([](Real x, Real) { return std::log(x); })},
      {"softmax", elementwise([](const Inputs& in, Index i, Index j) {
         return std::exp(in[0](i, j) - log_sum_exp(in[0], i));
       })},
      {"log_softmax", elementwise([](const Inputs& in, Index i, Index j) {
         return in[0](i, j) - log_sum_exp(in[0], i);
       })},
      {"dropout", elementwise(dropout_kept)},
      {"layer_norm", elementwise(layer_norm_at)},
      {"batch_norm", elementwise(batch_norm_at)},
      {"concat", concat_reference},
      {"slice", slice_reference},
      {"embedding", embedding_reference},
      {"batch_sum", batch_reduction(false)},
      {"batch_mean", batch_reduction(true)},
      {"feature_sum", feature_reduction(false)},
      {"feature_mean", feature_reduction(true)},
      {"total_sum", total_reduction(false)},
      {"total_mean", total_reduction(true)},
      {"mean_squared_error", row_loss([](Real x, Real t, Real) { return (x - t) * (x - t); })},
      {"mean_absolute_error", row_loss([](Real x, Real t, Real) { return std::abs(x - t); })},
      {"huber", row_loss(huber_at)},
      {"binary_cross_entropy",
       row_loss([](Real x, Real t, Real) { return std::log(1 + std::exp(x)) - t * x; })},
      {"hinge", row_loss([](Real x, Real t, Real) { return t * x < 1 ? 1 - t * x : 0; })},
      {"poisson_nll", row_loss([](Real x, Real t, Real) { return std::exp(x) - t * x; })},
      {"gamma_nll", row_loss([](Real x, Real t, Real k) { return k * (x + t * std::exp(-x)); })},
      {"negative_binomial_nll", row_loss([](Real x, Real t, Real a) {
         return (t + 1 / a) * std::log(1 + a * std::exp(x)) - t * x;
       })},
      {"softmax_cross_entropy", cross_entropy(true)},
      {"softmax_cross_entropy_probabilities", cross_entropy(false)},
      {"rbf_gp_nll", gp_nll_reference},
  };
  return table;
}

}  // namespace

std::vector<long double> reference_output(const CaseInstance& instance) {
  return references().at(instance.output().node().op->name)(Inputs(instance));
}

}  // namespace chainrule::testing
