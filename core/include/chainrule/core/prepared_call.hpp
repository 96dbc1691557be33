// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <new>
#include <type_traits>

namespace chainrule {

/// A call of which everything has been decided: a function object of plain data, held in the call
/// itself. The memory that pointers in it name must stay where it is; what it holds may change from
/// call to call. Does nothing until it is told what.
class PreparedCall {
 public:
  PreparedCall() = default;
  template <class Body>
  requires(!std::is_same_v<Body, PreparedCall>) PreparedCall(const Body& body)
  noexcept
      : function_([](const void* memory) { (*std::launder(static_cast<const Body*>(memory)))(); }) {
    static_assert(std::is_trivially_copyable_v<Body> && std::is_trivially_destructible_v<Body>);
    static_assert(sizeof(Body) <= kCapacity && alignof(Body) <= alignof(std::max_align_t));
    ::new (static_cast<void*>(memory_.data())) Body(body);
  }

  void operator()() const { function_(memory_.data()); }

 private:
  /// Of a matrix product with all that may follow it.
  static constexpr std::size_t kCapacity = 256;

  void (*function_)(const void*) = [](const void*) {};
  alignas(std::max_align_t) std::array<std::byte, kCapacity> memory_;
};

}  // namespace chainrule
