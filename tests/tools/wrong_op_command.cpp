// SPDX-License-Identifier: Apache-2.0
//
// The chainrule command with ops whose backward or jvp is wrong, one without jvp and one that
// saturates: what it does about them is tested from the command line to the exit code.
#include "command_line.hpp"
#include "wrong_ops.hpp"

int main(int argc, char** argv) {
  const std::vector<chainrule::OpCase> cases = chainrule::testing::cases_with_wrong_ops();
  return chainrule::tools::command_line(argc, argv, cases);
}
