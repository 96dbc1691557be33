// SPDX-License-Identifier: Apache-2.0
#include <chainrule/core/graph.hpp>
#include <chainrule/core/version.hpp>
#include <iostream>

int main() {
  chainrule::Graph graph;
  const chainrule::Value x = graph.input("x", {chainrule::kBatch, 64});
  std::cout << CHAINRULE_VERSION_STRING << " " << x.node().name << " " << to_string(x.shape())
            << "\n";
}
