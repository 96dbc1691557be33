// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "chainrule/core/version.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/runtime/machine.hpp"
#include "commands.hpp"

namespace chainrule::tools {
namespace {

nlohmann::ordered_json as_json(const MachineInfo& info) {
  const auto compiled = compiled_architectures();
  return {{"version", CHAINRULE_VERSION_STRING},
          {"cpu", info.cpu},
          {"kernels",
           {{"active", info.architecture},
            {"available", info.architectures},
            {"compiled", std::vector<std::string>(compiled.begin(), compiled.end())}}},
          {"blas",
           {{"library", info.blas.library},
            {"core", info.blas.core},
            {"threadsafe", info.blas.threadsafe}}},
          {"threads", info.default_threads},
          {"cores", info.cores},
          {"cgroup_cpus", info.cgroup_cpus ? nlohmann::ordered_json(*info.cgroup_cpus) : nullptr},
          {"warnings", info.warnings}};
}

std::string describe(const MachineInfo& info) {
  std::string text = fmt::format(
      "chainrule  {}\n"
      "CPU        {}\n"
      "kernels    {} (this CPU runs {}; built are {})\n"
      "BLAS       {}, core {}{}\n"
      "threads    {} by default\n"
      "cores      {}\n"
      "cgroup     {}\n",
      CHAINRULE_VERSION_STRING, info.cpu, info.architecture, fmt::join(info.architectures, ", "),
      fmt::join(compiled_architectures(), ", "), info.blas.library, info.blas.core,
      info.blas.threadsafe ? "" : ", serial", info.default_threads, info.cores,
      info.cgroup_cpus ? fmt::format("limited to {:g} CPUs", *info.cgroup_cpus) : "no CPU limit");
  if (info.warnings.empty()) text += "warnings   none\n";
  for (const std::string& warning : info.warnings) text += fmt::format("warning    {}\n", warning);
  return text;
}

}  // namespace

Command add_info(CLI::App& app) {
  CLI::App* const sub = app.add_subcommand("info", "What the library found on this machine");
  const auto json = std::make_shared<bool>(false);
  sub->add_flag("--json", *json, "The same as JSON");
  sub->footer(
      R"(Environment: CHAINRULE_ARCH names the kernels to use; OPENBLAS_CORETYPE those of OpenBLAS.

Examples:
  chainrule info
  chainrule info --json
  CHAINRULE_ARCH=avx2 chainrule info)");
  return [json] {
    const MachineInfo info = machine_info();
    std::cout << (*json ? to_text(as_json(info)) : describe(info));
    return kExitOk;
  };
}

}  // namespace chainrule::tools
