// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chainrule/check/check_case.hpp"
#include "chainrule/runtime/executor.hpp"
#include "damaged_op.hpp"
#include "kinks.hpp"

namespace chainrule::internal {

/// How the inputs of a case are drawn for damaging its op.
struct InputSet {
  CaseSize size;
  double scale = 1;
  std::uint64_t seed = 1;
};

/// A case whose op is damageable, on one set of inputs. What it computes is damaged as the
/// current MutantScope says.
class Specimen {
 public:
  Specimen(const OpCase& op_case, const InputSet& inputs, const KernelTable* kernels);
  // Bindings and the damaged case hold addresses of members.
  Specimen(const Specimen&) = delete;
  Specimen& operator=(const Specimen&) = delete;

  const OpCase& original() const noexcept { return original_; }
  const InputSet& inputs() const noexcept { return inputs_; }
  const Node& node() const { return first_.node(); }
  /// True when backward runs block by block of a batch.
  bool runs_in_blocks() const;
  /// The value that is input i of the op.
  Value input(int i) const;
  /// The inputs that a gradient can reach.
  std::vector<int> differentiable_inputs() const;

  /// check_case() of the damageable op on these inputs.
  CaseReport check() const;
  /// The gradients of the differentiable leaves by the cotangent of the output.
  const std::vector<Value>& leaves() const noexcept { return leaves_; }
  std::vector<Tensor> gradients();
  /// Every bit of these, and of those of two applications of the op to the same inputs.
  std::vector<std::uint64_t> bits();
  const Tensor& cotangent() const noexcept { return first_cotangent_; }
  ConstTensorView data(Value value) const { return instance_.data(value); }

  /// Elements of input 0 that sit exactly at a kink, with what the op's contract says there.
  const std::vector<KinkElement>& kinks() const noexcept { return kinks_; }

 private:
  // A plan with all it runs on but cotangents and tangents.
  struct Program {
    Program(const Specimen& specimen, const CompileOptions& options);
    void run() { Executor().run(workspace, bindings); }
    std::vector<Tensor> gradients(const std::vector<Value>& leaves);

    Plan plan;
    Workspace workspace;
    Bindings bindings;
  };

  CompileOptions reverse(const std::vector<Value>& outputs) const;
  OpCase damageable_case() const;

  const OpCase& original_;
  InputSet inputs_;
  const KernelTable* kernels_;
  OpDef op_;
  OpCase case_;
  CaseInstance instance_;
  Value first_;
  Value second_;
  Tensor first_cotangent_;
  Tensor second_cotangent_;
  std::vector<Value> leaves_;
  std::vector<KinkElement> kinks_;
  std::optional<Program> once_;
  std::optional<Program> twice_;
};

/// What one detector has to say about a specimen, as it is damaged now; empty: nothing wrong.
using Detect = std::string (*)(Specimen& specimen, const CaseReport& report);

struct Detector {
  MutantDetector name;
  Detect detect;
};

/// In the order of MutantDetector.
std::span<const Detector> detectors() noexcept;

}  // namespace chainrule::internal
