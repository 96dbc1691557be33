// SPDX-License-Identifier: Apache-2.0
#include "train_options.hpp"

#include <fmt/format.h>

#include <limits>
#include <string_view>

#include "chainrule/learn/model.hpp"

namespace chainrule::tools {
namespace {

constexpr Index kMany = Index{1} << 40;

constexpr const char* kSchedules = R"(
Schedules (numbers may be left out, from the right; these are their defaults):
  constant           the learning rate throughout
  step:10,0.1        after every 10 epochs, the learning rate times 0.1
  cosine:0,0         WARMUP,FINAL: linear warm-up over the first WARMUP of all steps (0.05 is a
                     twentieth), then half a cosine down to FINAL times the learning rate
  robbins-monro:1,0  A,T0: A / (t + T0) at step t = 1, 2, ...; --learning-rate has no part in it)";

constexpr const char* kExamples = R"(
Ctrl-C ends training after the current batch; --out and --history are written all the same.

Examples:
  chainrule train --data digits --model 64-64-10 --epochs 60 --seed 1 --out digits.safetensors
  chainrule train --data fashion-mnist --batch 128 --schedule cosine
  chainrule train --data flowers.csv --target species --model 4-16-3 --standardize \
    --validation 0.1 --out flowers.safetensors --history flowers-history.csv
  chainrule train --data claims.csv --target count --offset log_exposure --model 9-32-1 \
    --loss poisson --standardize --optimizer adamw --learning-rate 1e-3 --weight-decay 0.01
  chainrule train --data prices.csv --model 12-1 --optimizer sgd --momentum 0.9 \
    --schedule cosine:0.05 --dtype float64)";

/// Of the bundled data sets; "" for others.
std::string default_widths(const std::string& data) {
  if (data == "digits") return "64-64-10";
  return data == "fashion-mnist" ? "784-256-128-10" : "";
}

void add_data_options(CLI::App& app, TrainOptions& o) {
  app.add_option("--data", o.data, "digits, fashion-mnist or a file")->required();
  app.add_option("--target", o.target, "Name or index of the target column (default: the last)");
  app.add_option("--weights", o.weights, "Name or index of a column of sample weights");
  app.add_option("--offset", o.offset,
                 "Name or index of a column to add to the logits (losses with log link)");
  o.header.add_to(app);
  app.add_option("--validation", o.validation,
                 "Share of the training rows to hold out for validation")
      ->capture_default_str();
  app.add_flag("--standardize", o.standardize,
               "Scale features to mean 0 and deviation 1 of the training rows");
}

void add_model_options(CLI::App& app, TrainOptions& o) {
  app.add_option(
      "--model", o.model,
      fmt::format("Widths from features to outputs, as in 8-32-1 (default: {} for digits, "
                  "{} for fashion-mnist; required for files)",
                  default_widths("digits"), default_widths("fashion-mnist")));
  app.add_option("--activation", o.activation,
                 "Between the layers: identity, relu, leaky_relu, elu, sigmoid, tanh, softplus, "
                 "silu, gelu or gelu_tanh")
      ->capture_default_str();
  app.add_option("--loss", o.loss,
                 "softmax, binary, hinge, mse, mae, huber, poisson, gamma or negative-binomial "
                 "(default: softmax for classes, binary for two of them and one output, mse for "
                 "numbers)");
  app.add_option("--dtype", o.dtype, "float32 or float64")->capture_default_str();
}

void add_optimizer_options(CLI::App& app, TrainOptions& o) {
  app.add_option("--optimizer", o.optimizer, "sgd, adam or adamw")->capture_default_str();
  app.add_option("--learning-rate", o.learning_rate, "At the start (default: 0.001, for sgd 0.01)");
  app.add_option("--schedule", o.schedule,
                 "Of the learning rate: constant, step, cosine or robbins-monro, with numbers as "
                 "below")
      ->capture_default_str();
  app.add_option("--weight-decay", o.weight_decay, "Of matrices (default: 0, for adamw 0.01)");
  app.add_option("--momentum", o.momentum, "Of sgd (default: 0)");
  app.add_flag("--nesterov", o.nesterov, "Nesterov's form of sgd's momentum");
  app.add_option("--epochs", o.epochs, "Passes over the training rows")
      ->check(CLI::Range(Index{0}, kMany))
      ->capture_default_str();
  app.add_option("--batch", o.batch, "Rows of a step")
      ->check(CLI::Range(Index{1}, kMany))
      ->capture_default_str();
  app.add_option("--seed", o.seed, "Of initial weights, shuffling and the validation split")
      ->check(seed_text)
      ->capture_default_str();
}

void expect_number(std::string_view option, const std::optional<double>& value, double limit,
                   std::string_view expected) {
  if (!value || (*value >= 0 && *value < limit)) return;
  throw UsageError(fmt::format("{}: {}, expected {}", option, *value, expected));
}

}  // namespace

Optimizer optimizer_of(const TrainOptions& o) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  expect_number("--learning-rate", o.learning_rate, kInfinity, "a finite number >= 0");
  expect_number("--weight-decay", o.weight_decay, kInfinity, "a finite number >= 0");
  expect_number("--momentum", o.momentum, 1, "0 <= momentum < 1");
  Optimizer optimizer;
  if (o.optimizer == "sgd") {
    optimizer = Sgd{.momentum = o.momentum.value_or(0), .nesterov = o.nesterov};
  } else if (o.optimizer == "adam") {
    optimizer = Adam{};
  } else if (o.optimizer == "adamw") {
    optimizer = AdamW{};
  } else {
    throw UsageError(
        fmt::format("--optimizer: unknown '{}', expected sgd, adam or adamw", o.optimizer));
  }
  if ((o.momentum || o.nesterov) && !std::holds_alternative<Sgd>(optimizer)) {
    throw UsageError("--momentum and --nesterov are for --optimizer sgd");
  }
  std::visit(
      [&](auto& recipe) {
        recipe.learning_rate = o.learning_rate.value_or(recipe.learning_rate);
        recipe.weight_decay = o.weight_decay.value_or(recipe.weight_decay);
      },
      optimizer);
  parse_option("--optimizer", [&] { validate(optimizer); });
  return optimizer;
}

void TrainOptions::add_to(CLI::App& app) {
  add_data_options(app, *this);
  add_model_options(app, *this);
  add_optimizer_options(app, *this);
  compute.add_to(app);
  app.add_option("--out", out, "Model file to write (.safetensors)");
  app.add_option("--history", history, "CSV file to write, a row for each epoch");
  app.add_flag("--quiet", quiet, "No progress, only what came of it");
  app.footer(std::string(kDataHelp) + kSchedules + "\n" + kExamples);
}

TrainSettings resolve(const TrainOptions& o) {
  TrainSettings settings;
  const Layer activation =
      parse_option("--activation", [&] { return activation_named(o.activation); });
  settings.model = o.model.empty() ? default_widths(o.data) : o.model;
  if (settings.model.empty()) throw UsageError("--model is required");
  settings.layers = parse_option("--model", [&] { return mlp_layers(settings.model, activation); });
  if (!o.loss.empty()) {
    settings.likelihood = parse_option("--loss", [&] { return likelihood_named(o.loss); });
  }
  settings.optimizer = optimizer_of(o);
  settings.schedule = parse_option("--schedule", [&] { return parse_schedule(o.schedule); });
  if (o.learning_rate && std::holds_alternative<RobbinsMonro>(settings.schedule)) {
    throw UsageError("--learning-rate has no part in --schedule robbins-monro:A,T0; A scales it");
  }
  settings.dtype = parse_option("--dtype", [&] { return parse_dtype(o.dtype); });
  settings.gemm = o.compute.gemm();
  settings.csv = o.header.csv();
  if (!(o.validation >= 0 && o.validation < 1)) {
    throw UsageError(fmt::format("--validation: {}, expected 0 <= share < 1", o.validation));
  }
  return settings;
}

}  // namespace chainrule::tools
