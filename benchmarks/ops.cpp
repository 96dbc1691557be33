// SPDX-License-Identifier: Apache-2.0
//
// Every row of the case table: forward and backward of one op in a plan of its own, one thread.

#include <algorithm>
#include <string>
#include <vector>

#include "chainrule/check/case_table.hpp"
#include "chainrule/check/check_case.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/runtime/executor.hpp"
#include "common.hpp"

namespace {

using namespace chainrule;

constexpr bench::Program kProgram{
    .name = "ops",
    .about =
        R"(Forward, and forward with backward, of every row of the case table (`chainrule gradcheck` checks the
same), OP/forward/DTYPE/threads:1 and OP/forward+backward/DTYPE/threads:1, in a plan of its own for
128 rows of 256 columns (fewer rows where the work grows faster than they do), on one thread.

  fraction_of_limit  the least time by that of a run: of products and factorizations what their
                     operations take at the FMA peak; else what memcpy() takes to move as many
                     bytes as the op has to read and write. Both measured in this process
  bits_ok            1: two threads, and stripes of as few rows as can be, give the same bits, and
                     the gradient checker passes the op; 0: not so, and nothing was timed
  fma_fraction       the share of the FMA peak, by the op's own count of its operations, which is
                     rough for functions; flops: operations a second
)",
    .has_bits = true};

constexpr CaseSize kTimed{.name = "timed", .rows = 128, .columns = 256};

CompileOptions options_for(const CaseInstance& instance, const OpCase& one, DType dtype,
                           bool backward) {
  CompileOptions options;
  options.dtype = dtype;
  options.mode = one.mode;
  if (!backward) {
    options.outputs = {instance.output()};
    return options;
  }
  options.cotangents = {instance.output()};
  const Node& node = instance.output().node();
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    if (((one.op->traits.differentiable_inputs >> i) & 1U) != 0) {
      options.gradients.emplace_back(instance.output().graph(), node.inputs[i]);
    }
  }
  return options;
}

// How a case is run.
struct Way {
  const KernelTable* kernels = &default_kernels();
  int threads = 1;
  Index stripe_rows = 0;
};

// A case at the size that is timed, its plan and everything a run needs.
class Timed {
 public:
  Timed(const OpCase& one, DType dtype, bool backward, const Way& way = {})
      : instance_(one, kTimed, dtype),
        options_(options_for(instance_, one, dtype, backward)),
        plan_(compile(instance_.graph(), with(options_, way))),
        executor_(way.threads),
        workspace_(executor_.make_workspace(plan_, instance_.rows())),
        feed_(instance_.feed()),
        bindings_(plan_) {
    for (const auto& [value, view] : feed_.inputs) bindings_.input(value, view);
    if (feed_.parameters != nullptr) bindings_.parameters(*feed_.parameters);
    if (!backward) return;
    const Shape& shape = instance_.output().shape();
    cotangent_ =
        Tensor(shape.is_batched() ? Shape{instance_.rows(), shape.columns()} : shape, dtype);
    initialize(uniform(1), {.seed = 1, .stream = 9}, cotangent_);
    bindings_.cotangent(instance_.output(), cotangent_);
  }

  void run() { executor_.run(workspace_, bindings_); }
  const Executor& executor() const { return executor_; }
  double flops() const { return plan_.flops(instance_.rows()); }
  const KernelTable& kernels() const { return plan_.kernels(); }

  /// Bytes that a run reads and writes at least.
  double moved_bytes() const {
    const Value out = instance_.output();
    const Node& node = out.node();
    const BackwardReads& reads = node.op->traits.backward_reads;
    const bool backward = !options_.cotangents.empty();
    double bytes = bytes_of(out);
    double inputs = 0;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const double input = bytes_of(Value(out.graph(), node.inputs[i]));
      inputs += input;
      if (backward && ((reads.inputs >> i) & 1U) != 0) bytes += input;
    }
    // What computes nothing may leave some of its inputs alone.
    bytes += flops() > 0 ? inputs : std::min(inputs, bytes_of(out));
    if (!backward) return bytes;
    for (const Value& value : options_.gradients) bytes += bytes_of(value);
    return bytes + bytes_of(out) * (reads.output ? 2 : 1);  // dY
  }

  /// Outputs or gradients, after a run.
  std::vector<ConstTensorView> results() const {
    std::vector<ConstTensorView> all;
    for (const Value& value : options_.outputs) all.push_back(workspace_.output(value));
    for (const Value& value : options_.gradients) all.push_back(workspace_.gradient(value));
    return all;
  }

 private:
  static CompileOptions with(CompileOptions options, const Way& way) {
    options.kernels = way.kernels;
    options.stripe_rows = way.stripe_rows;
    return options;
  }
  double bytes_of(const Value& value) const {
    const Shape& shape = value.shape();
    const Index rows = shape.is_batched() ? instance_.rows() : shape.rows();
    const bool is_index = value.node().kind == NodeKind::kIndexInput;
    return static_cast<double>(rows * shape.columns() *
                               size_of(is_index ? DType::kInt32 : options_.dtype));
  }

  CaseInstance instance_;
  CompileOptions options_;
  Plan plan_;
  Executor executor_;
  Workspace workspace_;
  Feed feed_;
  Bindings bindings_;
  Tensor cotangent_;
};

// The gradient checker passes the op, and at this size it agrees with float64 on baseline kernels.
bool is_right(const OpCase& one, DType dtype, bool backward, Timed& timed) {
  if (!check_case(one, case_sizes()[0], dtype).ok()) return false;
  Timed reference(one, DType::kFloat64, backward, {.kernels = &kernels_named("baseline")});
  timed.run();
  reference.run();
  const std::vector<ConstTensorView> ours = timed.results(), right = reference.results();
  for (std::size_t i = 0; i < ours.size(); ++i) {
    if (!bench::agrees(ours[i], right[i], dtype == DType::kFloat32 ? 1e-4 : 1e-11)) return false;
  }
  return !ours.empty();
}

// Two threads give the same bits, which take stripes of as few rows as can be.
bool has_bits(const OpCase& one, DType dtype, bool backward, const Timed& timed) {
  const ScopedThreadLimit allowed(2);
  Timed other(one, dtype, backward, {.threads = 2, .stripe_rows = 1});
  other.executor().with_residents([&] { other.run(); });
  return std::ranges::equal(timed.results(), other.results(), bench::same_bits);
}

// Seconds that a run takes at least.
template <class T>
double limit(const OpCase& one, const Timed& timed) {
  if (one.op->traits.accepts_epilogue) return timed.flops() / bench::fma_peak<T>(timed.kernels());
  // A factorization of the whole batch is float64 in any plan.
  if (one.op->batch_flops != nullptr) {
    return timed.flops() / bench::fma_peak<double>(timed.kernels());
  }
  const double bytes = timed.moved_bytes();
  return bytes / bench::copy_bandwidth(static_cast<Index>(bytes));
}

template <class T>
void report(benchmark::State& state, const OpCase& one, const Timed& timed, double seconds) {
  bench::report_flops<T>(state, timed.kernels(), timed.flops(), seconds);
  bench::report_limit(state, limit<T>(one, timed), seconds);
}

void time_op(benchmark::State& state, const OpCase& one, DType dtype, bool backward) {
  Timed timed(one, dtype, backward);
  if (!is_right(one, dtype, backward, timed)) {
    state.SkipWithError("wrong result");
    return;
  }
  if (!has_bits(one, dtype, backward, timed)) {
    state.SkipWithError("other bits on two threads");
    return;
  }
  const double seconds = bench::timed(state, [&] { timed.run(); });
  if (dtype == DType::kFloat32) {
    report<float>(state, one, timed, seconds);
  } else {
    report<double>(state, one, timed, seconds);
  }
}

void register_all() {
  for (const OpCase& one : op_cases()) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      for (const bool backward : {false, true}) {
        if (backward && !one.op->has_gradient()) continue;
        const std::string name = one.name() + (backward ? "/forward+backward/" : "/forward/") +
                                 std::string(to_string(dtype)) + "/threads:1";
        benchmark::RegisterBenchmark(name.c_str(),
                                     [&one, dtype, backward](benchmark::State& state) {
                                       time_op(state, one, dtype, backward);
                                     });
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  register_all();
  return chainrule::bench::run(argc, argv, kProgram);
}
