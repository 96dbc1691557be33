// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <array>
#include <string>

#include "draft.hpp"

namespace chainrule {
namespace internal {
namespace {

constexpr std::array<std::string_view, 3> kPhaseNames = {"WholeBatch", "RowSegment", "WeightTiles"};
constexpr std::array<std::string_view, 16> kInstructionNames = {
    "gather",     "forward",         "finish",       "seed",
    "cotangent",  "clear",           "backward",     "transpose",
    "loss_check", "weight_gradient", "partial_sum",  "commit",
    "jvp",        "add_tangent",     "backward_jvp", "weight_gradient_jvp"};
constexpr std::array<std::string_view, 7> kRegionNames = {"input", "parameter", "fixed", "batch",
                                                          "block", "partial",   "op"};

class Printer {
 public:
  explicit Printer(const PlanData& plan) : plan_(plan) {}

  std::string text() {
    line("plan {} {} {} gemm={}", to_string(plan_.dtype),
         plan_.mode == Mode::kTraining ? "training" : "inference", plan_.kernels.architecture,
         to_string(plan_.gemm));
    for (std::size_t p = 0; p < plan_.phases.size(); ++p) {
      const Phase& phase = plan_.phases[p];
      line("phase {} {}", p, kPhaseNames[static_cast<std::size_t>(phase.kind)]);
      for (const Instruction& instruction : phase.instructions) line("  {}", one(instruction));
      for (const TileGroup& group : phase.groups) tile_group(group);
    }
    for (const Instruction& mirror : plan_.mirrors) line("when stale {}", one(mirror));
    line("buffers");
    for (const Buffer& b : plan_.buffers) {
      line("  {:<24} {:<9} {} x {} {} ld {} offset {}", b.name, region(b),
           b.batched ? std::string("batch") : std::to_string(b.rows), b.columns, to_string(b.dtype),
           b.ld, b.offset);
    }
    line("bytes fixed {} row {} block row {} block part {} tile {}", plan_.fixed_bytes,
         plan_.batch_unit_bytes, plan_.block_unit_bytes, plan_.partial_unit_bytes,
         plan_.tile_scratch_bytes);
    return std::move(out_);
  }

  std::string graphviz() {
    line("digraph plan {{");
    line("  rankdir=LR; node [shape=box];");
    for (std::size_t p = 0; p < plan_.phases.size(); ++p) {
      const Phase& phase = plan_.phases[p];
      line("  subgraph cluster_{} {{", p);
      line("    label=\"{} {}\";", p, kPhaseNames[static_cast<std::size_t>(phase.kind)]);
      int i = 0;
      for (const Instruction& instruction : phase.instructions) {
        line("    i{}_{} [label=\"{} {}\"];", p, i++, kind(instruction), nodes(instruction));
      }
      for (const TileGroup& group : phase.groups) {
        line("    i{}_{} [label=\"tiles {}\"];", p, i++, node(group.node));
      }
      line("  }}");
    }
    edges();
    line("}}");
    return std::move(out_);
  }

 private:
  template <class... Arguments>
  void line(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    out_ += fmt::format(format, std::forward<Arguments>(arguments)...);
    out_ += '\n';
  }

  std::string_view region(const Buffer& b) const {
    return kRegionNames[static_cast<std::size_t>(b.region)];
  }
  static std::string_view kind(const Instruction& instruction) {
    return kInstructionNames[static_cast<std::size_t>(instruction.kind)];
  }
  const std::string& node(NodeId id) const {
    return plan_.nodes[static_cast<std::size_t>(id)].name;
  }

  // "matmul_1 + add_bias_2": all whose work the instruction does.
  std::string nodes(const Instruction& instruction) const {
    std::string text = node(instruction.node);
    if (instruction.fusion != nullptr) {
      for (const Instruction& also : instruction.fusion->replaced) text += " + " + node(also.node);
    }
    return text;
  }

  // "backward relu_3: d h, h -> d z"
  std::string one(const Instruction& instruction) const {
    std::string reads;
    std::string writes;
    for_each_operand(instruction, [&](BufferId id, bool write) {
      std::string& list = write ? writes : reads;
      list += (list.empty() ? "" : ", ") + plan_.buffers[static_cast<std::size_t>(id)].name;
    });
    return fmt::format("{} {}: {} -> {}", kind(instruction), nodes(instruction), reads, writes);
  }

  void tile_group(const TileGroup& group) {
    const std::string_view place = group.descends                ? "registers"
                                   : group.gradient == kNoBuffer ? "tile"
                                                                 : "workspace";
    line("  tiles {} {} of {} x {}, gradient in {}{}", node(group.node), group.tiles(),
         group.tile_rows, group.tile_columns, place,
         group.update ? fmt::format(", {} group {}", plan_.update->name, group.group) : "");
    for (const Instruction& contribution : group.contributions) line("    {}", one(contribution));
  }

  // One edge from each buffer's last writer to its readers.
  void edges() {
    std::vector<std::string> writer(plan_.buffers.size());
    for (std::size_t p = 0; p < plan_.phases.size(); ++p) {
      int i = 0;
      for (const Instruction& instruction : plan_.phases[p].instructions) {
        connect(fmt::format("i{}_{}", p, i++), instruction, writer);
      }
      for (const TileGroup& group : plan_.phases[p].groups) {
        const std::string name = fmt::format("i{}_{}", p, i++);
        for (const Instruction& contribution : group.contributions) {
          connect(name, contribution, writer);
        }
      }
    }
  }

  void connect(const std::string& name, const Instruction& instruction,
               std::vector<std::string>& writer) {
    for_each_operand(instruction, [&](BufferId id, bool) {
      const std::string& from = writer[static_cast<std::size_t>(id)];
      if (!from.empty() && from != name) {
        line("  {} -> {} [label=\"{}\"];", from, name,
             plan_.buffers[static_cast<std::size_t>(id)].name);
      }
    });
    for_each_operand(instruction, [&](BufferId id, bool writes) {
      if (writes) writer[static_cast<std::size_t>(id)] = name;
    });
  }

  const PlanData& plan_;
  std::string out_;
};

}  // namespace
}  // namespace internal

std::string Plan::to_text() const { return internal::Printer(*data_).text(); }
std::string Plan::to_graphviz() const { return internal::Printer(*data_).graphviz(); }

}  // namespace chainrule
