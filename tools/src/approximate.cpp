// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <cmath>
#include <iostream>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "approximate_plot.hpp"
#include "chainrule/learn/approximate.hpp"
#include "chainrule/learn/model_file.hpp"
#include "chainrule/learn/output.hpp"
#include "commands.hpp"
#include "data.hpp"
#include "expression.hpp"

namespace chainrule::tools {
namespace {

constexpr const char* kFooter =
    R"help(The error is the largest one on points that nothing was chosen by, at least ten times
denser than those that were fitted, denser still at kinks, with a search around the worst ones.
When it is above epsilon the exit code is 1, and --out and --plot get the best network found.

{}

Examples:
  chainrule approximate --function "sin(2*pi*x)" --domain "-1:1" --epsilon 1e-6
  chainrule approximate --function "sqrt(abs(x))" --activation relu --plot root.html
  chainrule approximate --function "sin(x)*cos(y)" --domain "-1:1,-1:1" --out wave.safetensors
  chainrule approximate --data curve.csv --target y --epsilon 1e-3 --out curve.safetensors)help";

struct ApproximateCommand {
  std::string function;
  std::string domain = "-1:1";
  std::string data;
  std::string target;
  HeaderOption header;
  double epsilon = 1e-6;
  std::string activation = "auto";
  Index units = 0;
  std::string seed = "0";
  std::string plot;
  std::string out;
};

ApproximationUnits units_named(const std::string& name) {
  if (name == "auto") return ApproximationUnits::kAuto;
  if (name == "tanh") return ApproximationUnits::kTanh;
  if (name == "relu") return ApproximationUnits::kRelu;
  throw UsageError(fmt::format("--activation: got '{}', expected tanh, relu or auto", name));
}

ApproximateOptions library_options(const ApproximateCommand& command) {
  if (!(command.epsilon > 0) || !std::isfinite(command.epsilon)) {
    throw UsageError(fmt::format("--epsilon: {}, expected a finite number > 0", command.epsilon));
  }
  return {.units = units_named(command.activation),
          .max_units = command.units,
          .seed = std::stoull(command.seed)};
}

std::string domain_text(const Domain& domain) {
  std::vector<std::string> sides;
  for (const Interval& side : domain) sides.push_back(fmt::format("[{}, {}]", side.low, side.high));
  return fmt::format("{}", fmt::join(sides, " x "));
}

void print(const Approximation& result, const ApproximateCommand& command) {
  const bool relu = std::holds_alternative<Relu>(result.model.layers()[1]);
  std::cout << fmt::format("network    {} hidden {} unit{}: {}\n", result.units,
                           relu ? "relu" : "tanh", result.units == 1 ? "" : "s", result.method);
  std::cout << fmt::format("sup error  {:.3g} {} {:g}, at ({:.10g}), on {} {}\n", result.sup_error,
                           result.reached ? "<=" : ">", result.epsilon,
                           fmt::join(result.worst_point, ", "), result.certificate_points,
                           command.data.empty() ? "points of its own" : "rows held out");
  std::cout << fmt::format("rounding   {:.2g} (2^-52 |c|_1, c the output layer){}\n",
                           result.rounding_floor,
                           result.reached && result.rounding_floor > result.epsilon
                               ? ", above epsilon: sums in another order may miss it"
                               : "");
  if (!result.singularities.empty()) {
    std::cout << fmt::format("singular   at x = {:.15g}\n", fmt::join(result.singularities, ", "));
  }
}

void write_outputs(Approximation& result, const ApproximateCommand& command, const Domain& domain,
                   const ScalarFunction& f) {
  if (!command.out.empty()) {
    result.model.schema().feature_names = variable_names(domain.size());
    save(result.model, command.out);
    std::cout << fmt::format("wrote {}\n", command.out);
  }
  if (!command.plot.empty()) {
    write_file(approximation_html(result, f, domain, command.function), command.plot);
    std::cout << fmt::format("wrote {}\n", command.plot);
  }
}

void check_options(const ApproximateCommand& command) {
  if (command.function.empty() && command.data.empty()) {
    throw UsageError("one of --function and --data is required");
  }
  if (!command.data.empty() && !command.plot.empty()) {
    throw UsageError("--plot: needs --function, samples are drawn nowhere");
  }
  expect_distinct({{"--out", command.out}, {"--plot", command.plot}}, {data_file(command.data)});
  for (const std::string& path : {command.out, command.plot}) {
    if (!path.empty()) expect_writable(path);
  }
}

Approximation from_function(const ApproximateCommand& command, const ApproximateOptions& options) {
  const Domain domain = parse_domain(command.domain);
  const Expression expression("--function", command.function, domain.size());
  if (!command.plot.empty() && domain.size() > 2) {
    throw UsageError(fmt::format("--plot: draws one or two variables, not {}", domain.size()));
  }
  if (options.units == ApproximationUnits::kRelu && domain.size() > 1) {
    throw UsageError(fmt::format("--activation relu: is for one variable, not {}", domain.size()));
  }
  const ScalarFunction f = [&](std::span<const double> x) { return expression(x); };
  std::cout << fmt::format("function   {} on {}\n", command.function, domain_text(domain));
  Approximation result = approximate(f, domain, command.epsilon, options);
  print(result, command);
  write_outputs(result, command, domain, f);
  return result;
}

Approximation from_samples(const ApproximateCommand& command, const ApproximateOptions& options) {
  const Rows rows = load_training_rows(
      command.data, {.target = command.target, .task = Task::kRegression}, command.header.csv());
  std::cout << fmt::format("samples    {} rows of {}\n", rows.data.rows(), rows.name);
  Approximation result = approximate(rows.data, command.epsilon, options);
  print(result, command);
  if (!command.out.empty()) {
    result.model.schema().feature_names = rows.data.feature_names;
    result.model.schema().target_name = rows.data.target_name;
    save(result.model, command.out);
    std::cout << fmt::format("wrote {}\n", command.out);
  }
  return result;
}

int run_approximate(const ApproximateCommand& command) {
  const ApproximateOptions options = library_options(command);
  check_options(command);
  const auto start = std::chrono::steady_clock::now();
  const Approximation result =
      command.data.empty() ? from_function(command, options) : from_samples(command, options);
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  if (result.reached) {
    std::cout << fmt::format("approximate: reached ({:.1f} s)\n", time.count());
    return kExitOk;
  }
  std::cout << fmt::format("approximate: {:g} not reached, {:.3g} is as far as it got ({:.1f} s)\n",
                           result.epsilon, result.sup_error, time.count());
  return kExitError;
}

}  // namespace

Command add_approximate(CLI::App& app) {
  CLI::App* const sub = app.add_subcommand(
      "approximate", "Finds a network with one hidden layer within epsilon of a function");
  const auto command = std::make_shared<ApproximateCommand>();
  CLI::Option* const function =
      sub->add_option("--function", command->function, "Expression in x, y, ... (see below)");
  CLI::Option* const domain =
      sub->add_option("--domain", command->domain, "LOW:HIGH for each variable, joined by commas")
          ->capture_default_str();
  sub->add_option("--data", command->data,
                  "Samples in place of a function: CSV or .npy, a row each; a fifth of the rows is "
                  "held out and certifies")
      ->excludes(function)
      ->excludes(domain);
  sub->add_option("--target", command->target,
                  "Name or index of the column with the function's values (default: the last)");
  command->header.add_to(*sub);
  sub->add_option("--epsilon", command->epsilon, "The largest error allowed")
      ->capture_default_str();
  sub->add_option("--activation", command->activation,
                  "tanh, relu (one variable), or auto: whichever needs fewer units")
      ->capture_default_str();
  sub->add_option("--units", command->units,
                  "At most so many hidden units (default: 512 of tanh, 1600 for more than one "
                  "variable; 10000 of relu)")
      ->check(CLI::Range(Index{1}, Index{100'000}));
  sub->add_option("--seed", command->seed, "Seed of the random features")
      ->capture_default_str()
      ->check(seed_text);
  sub->add_option("--plot", command->plot, "HTML file with function, network and error");
  sub->add_option("--out", command->out, "Model file to write");
  sub->footer(fmt::format(kFooter, kExpressionHelp));
  return [command] { return run_approximate(*command); };
}

}  // namespace chainrule::tools
