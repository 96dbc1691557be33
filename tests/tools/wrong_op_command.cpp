// SPDX-License-Identifier: Apache-2.0
//
// The chainrule command with ops whose backward or jvp is wrong, one without jvp and one that
// saturates: what it does about them is tested from the command line to the exit code.
#include <cstdlib>

#include "command_line.hpp"
#include "wrong_ops.hpp"

int main(int argc, char** argv) {
  const std::vector<chainrule::OpCase> cases = chainrule::testing::cases_with_wrong_ops();
  // An op that nobody wrote a case for, for the test that wants one.
  chainrule::OpDef novel = chainrule::testing::plain_tanh();
  novel.name = "novel";
  std::vector<const chainrule::OpDef*> ops;
  if (std::getenv("CHAINRULE_TEST_NOVEL_OP") != nullptr) ops.push_back(&novel);
  return chainrule::tools::command_line(argc, argv, cases, ops);
}
