// SPDX-License-Identifier: Apache-2.0
// A deliberate data race: the thread sanitizer's build must report it, or its silence about the
// library proves nothing. It races where the library works, in a helper of an executor that TBB
// runs, so that the suppressions for libtbb are shown not to hide it.
#include <cstdio>
#include <vector>

#include "chainrule/core/op_def.hpp"
#include "chainrule/runtime/executor.hpp"
#include "runtime_support.hpp"

namespace {

using namespace chainrule;

long calls = 0;  // no atomic: this is the race

struct Racy {
  static constexpr std::string_view kName = "racy";
  static constexpr OpTraits kTraits{};
  static constexpr bool kNoGradient = true;
  static Shape infer(const InferContext& context) { return context.inputs[0]; }
  static double flops_per_row(const InferContext&) { return 1e6; }  // worth some helpers
  template <class T>
  static void forward(const OpContext&) {
    testing::Meeting::attend();
    ++calls;
  }
};

constinit const OpDef kRacyOp = define_op<Racy>();

}  // namespace

int main() {
  const ScopedThreadLimit limit(3);
  const Executor executor(3);
  Graph graph;
  const Value x = graph.input("x", {kBatch, 1});
  const Plan plan = compile(graph, {.outputs = {graph.apply(kRacyOp, {x})}});
  const Tensor in = testing::random_tensor({1000, 1}, DType::kFloat32, 1);
  Workspace workspace = executor.make_workspace(plan, 1000);
  Bindings bindings(plan);
  bindings.input(x, in);
  const testing::Meeting meeting(3);
  executor.with_residents([&] { executor.run(workspace, bindings); });
  std::printf("%d threads made %ld calls\n", meeting.arrived(), calls);
  return 0;
}
