// SPDX-License-Identifier: Apache-2.0
//
// What a prediction costs from the start of the process to its end: `chainrule predict` with a
// small model and two rows, beside a process that does nothing.

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "chainrule/learn/model.hpp"
#include "chainrule/learn/model_file.hpp"
#include "chainrule/learn/output.hpp"
#include "common.hpp"

namespace {

using namespace chainrule;

constexpr bench::Program kProgram{
    .name = "startup",
    .about =
        R"(`chainrule predict` with a small model and two rows from the start of the process to its end, beside
/bin/true, a process that does nothing.
)",
    .has_bits = false};

/// A model file and a CSV file that live as long as the program.
class Files {
 public:
  Files() {
    std::string pattern = (std::filesystem::temp_directory_path() / "chainrule-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    directory_ = pattern;
    save(Model(mlp_layers("4-16-3", Relu{}), Categorical{}), std::filesystem::path(model()));
    write_file("0.1,0.2,0.3,0.4\n0.5,0.6,0.7,0.8\n", rows());
  }
  ~Files() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

  std::string model() const { return directory_ / "model.safetensors"; }
  std::string rows() const { return directory_ / "rows.csv"; }

 private:
  std::filesystem::path directory_;
};

/// Runs a program to its end, its output thrown away; false when it failed.
bool run_program(const std::vector<std::string>& words) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t id = 0;
  const bool started =
      ::posix_spawn(&id, arguments[0], &actions, nullptr, arguments.data(), environ) == 0;
  ::posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  return started && ::waitpid(id, &status, 0) == id && WIFEXITED(status) &&
         WEXITSTATUS(status) == 0;
}

void time_program(benchmark::State& state, const std::vector<std::string>& words) {
  for (auto _ : state) {
    if (!run_program(words)) {
      state.SkipWithError((words[0] + " failed").c_str());
      break;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Files files;
  const std::vector<std::string> predict{CHAINRULE_COMMAND, "predict",    "--model", files.model(),
                                         "--data",          files.rows(), "--out",   "-"};
  benchmark::RegisterBenchmark("predict", time_program, predict)
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark("nothing", time_program, std::vector<std::string>{"/bin/true"})
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
  return bench::run(argc, argv, kProgram);
}
