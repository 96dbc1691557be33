// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace chainrule::internal {

/// One visitor of a variant from several lambdas.
template <class... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <class... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

}  // namespace chainrule::internal
