// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>
#include <optional>
#include <vector>

#include "chainrule/learn/kernel_text.hpp"
#include "chainrule/learn/model_file.hpp"
#include "kernel.hpp"

namespace chainrule::tools {
namespace {

struct CovarianceOptions {
  GramOptions gram;
  std::optional<double> variance;
  double length_scale = 1;
  std::vector<double> length_scales;
  int degree = 2;
  double offset = 1;
  int order = 1;
  double weight_variance = 1;
  double bias_variance = 0;
  std::string formula;
  std::string model;
  std::optional<std::size_t> layer;
};

/// A kind of kernel: its options, and the kernel they make of inputs with so many columns.
struct CovarianceKind {
  const char* name;
  const char* description;
  const char* example;  ///< what follows `chainrule kernel NAME`
  void (*add)(CLI::App& app, CovarianceOptions& options);
  CovarianceKernel (*make)(const CovarianceOptions& options, const Model* model, Index columns);
};

void add_length_scale(CLI::App& app, CovarianceOptions& o) {
  app.add_option("--length-scale", o.length_scale, "Of distances, > 0")->capture_default_str();
}

void add_length_scales(CLI::App& app, CovarianceOptions& o) {
  app.add_option("--length-scales", o.length_scales, "One for each column, as in 0.5,2,1")
      ->delimiter(',')
      ->required();
}

void add_model(CLI::App& app, CovarianceOptions& o, bool required) {
  app.add_option("--model", o.model, "Model file")->required(required);
}

template <CovarianceKernel (*kKernel)(double)>
CovarianceKernel with_length_scale(const CovarianceOptions& o, const Model*, Index) {
  return parse_option("--length-scale", [&] { return kKernel(o.length_scale); });
}

template <CovarianceKernel (*kKernel)(std::vector<double>)>
CovarianceKernel with_length_scales(const CovarianceOptions& o, const Model*, Index columns) {
  if (static_cast<Index>(o.length_scales.size()) != columns) {
    throw UsageError(fmt::format("--length-scales: got {} of them for {} columns",
                                 o.length_scales.size(), columns));
  }
  return parse_option("--length-scales", [&] { return kKernel(o.length_scales); });
}

constexpr CovarianceKind kKinds[] = {
    {"rbf", "exp(-r^2 / 2), r = |x - z| / length scale", "--length-scale 0.5", add_length_scale,
     with_length_scale<rbf_kernel>},
    {"ard-rbf", "rbf with a length scale for each column", "--length-scales 0.5,2",
     add_length_scales, with_length_scales<ard_rbf_kernel>},
    {"matern32", "(1 + sqrt(3) r) exp(-sqrt(3) r)", "--length-scale 0.5", add_length_scale,
     with_length_scale<matern32_kernel>},
    {"ard-matern32", "matern32 with a length scale for each column", "--length-scales 0.5,2",
     add_length_scales, with_length_scales<ard_matern32_kernel>},
    {"matern52", "(1 + sqrt(5) r + 5/3 r^2) exp(-sqrt(5) r)", "--length-scale 0.5",
     add_length_scale, with_length_scale<matern52_kernel>},
    {"ard-matern52", "matern52 with a length scale for each column", "--length-scales 0.5,2",
     add_length_scales, with_length_scales<ard_matern52_kernel>},
    {"linear", "x . z", "--variance 2", [](CLI::App&, CovarianceOptions&) {},
     [](const CovarianceOptions&, const Model*, Index) { return linear_kernel(); }},
    {"polynomial", "(x . z + offset)^degree", "--degree 3 --offset 0.5",
     [](CLI::App& app, CovarianceOptions& o) {
       app.add_option("--degree", o.degree, "A whole number >= 1")->capture_default_str();
       app.add_option("--offset", o.offset, ">= 0")->capture_default_str();
     },
     [](const CovarianceOptions& o, const Model*, Index) {
       return parse_option("--degree, --offset",
                           [&] { return polynomial_kernel(o.degree, o.offset); });
     }},
    {"arc-cosine", "Covariance of random steps (order 0) or relus (1), Cho & Saul 2009",
     "--order 1 --weight-variance 2 --bias-variance 0.1",
     [](CLI::App& app, CovarianceOptions& o) {
       app.add_option("--order", o.order, "0 or 1")->capture_default_str();
       app.add_option("--weight-variance", o.weight_variance, "> 0")->capture_default_str();
       app.add_option("--bias-variance", o.bias_variance, ">= 0")->capture_default_str();
     },
     [](const CovarianceOptions& o, const Model*, Index) {
       return parse_option("--order, --weight-variance, --bias-variance", [&] {
         return arc_cosine_kernel(o.order, o.weight_variance, o.bias_variance);
       });
     }},
    {"learned", "phi(x) . phi(z), phi the features of a trained model",
     "--model digits.safetensors --layer 1",
     [](CLI::App& app, CovarianceOptions& o) {
       add_model(app, o, true);
       app.add_option("--layer", o.layer,
                      "The layer, from 0, whose output phi is (default: what the last linear layer "
                      "reads)");
     },
     [](const CovarianceOptions& o, const Model* model, Index) {
       return parse_option("--layer", [&] { return learned_kernel(*model, o.layer); });
     }},
    {"formula", "A sum or product of kernels, as `gp fit --kernel` reads it",
     "--formula \"2 * rbf(0.5) + linear\"",
     [](CLI::App& app, CovarianceOptions& o) {
       app.add_option("--formula", o.formula, "As in \"2 * ard_rbf(0.5, 2) + linear\"")->required();
       add_model(app, o, false);
     },
     [](const CovarianceOptions& o, const Model* model, Index columns) {
       return parse_option("--formula", [&] { return parse_kernel(o.formula, columns, model); });
     }},
};

int covariance(const CovarianceKind& kind, const CovarianceOptions& options) {
  std::optional<Model> model;
  if (!options.model.empty()) model = load_model(options.model);
  const auto compute = [&](const Tensor& x, const Tensor* z) {
    const Executor executor(options.gram.compute().threads());
    CovarianceKernel kernel = kind.make(options, model ? &*model : nullptr, x.columns());
    if (options.variance) {
      kernel = parse_option("--variance", [&] { return scaled(kernel, *options.variance); });
    }
    return z == nullptr ? kernel.gram(x, executor) : kernel.gram(x, *z, executor);
  };
  return options.gram.run({{"--model", options.model}}, compute);
}

Command add_kind(CLI::App& kernel, const CovarianceKind& kind) {
  CLI::App* const sub = kernel.add_subcommand(kind.name, kind.description);
  const auto options = std::make_shared<CovarianceOptions>();
  options->gram.add_to(*sub);
  kind.add(*sub, *options);
  sub->add_option("--variance", options->variance, "Multiplies all of it, > 0");
  sub->footer(fmt::format(R"(
Examples:
  chainrule kernel {0} --data x.csv {1} --out k.csv
  chainrule kernel {0} --data train.csv --other test.csv {1} --out k.csv --plot k.html)",
                          kind.name, kind.example));
  return [&kind, options] { return covariance(kind, *options); };
}

}  // namespace

std::vector<Command> add_covariance_kernels(CLI::App& kernel) {
  std::vector<Command> commands;
  for (const CovarianceKind& kind : kKinds) commands.push_back(add_kind(kernel, kind));
  return commands;
}

}  // namespace chainrule::tools
