// SPDX-License-Identifier: Apache-2.0
#include "chainrule/core/tensor.hpp"

#include <fmt/format.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <utility>

#include "chainrule/core/error.hpp"

namespace chainrule {
namespace {

constexpr Index kMaxIndex = std::numeric_limits<Index>::max();

/// Bytes of a buffer of `shape` with rows `ld` apart; throws ShapeError when they overflow.
Index buffer_bytes(const Shape& shape, DType dtype, Index ld) {
  static_cast<void>(shape.elements());  // throws for a symbolic batch and for an overflow
  Index bytes = 0;
  // One line to spare, so that rounding up to whole lines cannot overflow either.
  if (__builtin_mul_overflow(shape.rows(), ld, &bytes) ||
      __builtin_mul_overflow(bytes, size_of(dtype), &bytes) || bytes > kMaxIndex - kAlignment) {
    throw ShapeError(fmt::format("a tensor of shape {} and dtype {} needs more than 2^63 bytes",
                                 to_string(shape), to_string(dtype)));
  }
  return bytes;
}

// From here on memory comes from the operating system, which hands it out zeroed, page by page to
// the thread that touches it first, and in huge pages where it can: a heap would be zeroed by the
// thread that allocates.
constexpr Index kMappedBytes = Index{32} << 20;

void* map_zeroed(std::size_t size) noexcept {
#if defined(__linux__)
  void* const data =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return nullptr;
  madvise(data, size, MADV_HUGEPAGE);  // advice that may be ignored
  return data;
#else
  static_cast<void>(size);
  return nullptr;
#endif
}

template <class To, class From>
To convert(From value) {
  if constexpr (std::is_same_v<To, std::int32_t> && !std::is_same_v<From, std::int32_t>) {
    const double rounded = std::nearbyint(static_cast<double>(value));
    // Written so that NaN fails as well.
    if (!(rounded >= std::numeric_limits<std::int32_t>::min() &&
          rounded <= std::numeric_limits<std::int32_t>::max())) {
      throw ArgumentError(fmt::format("cannot copy {} into an int32 tensor", value));
    }
    return static_cast<To>(rounded);
  } else {
    return static_cast<To>(value);
  }
}

template <class From, class To>
void copy_elements(MatrixView<const From> from, MatrixView<To> to) {
  if (from.columns == 0) return;  // the data may be null then, which memmove does not take
  for (Index i = 0; i < from.rows; ++i) {
    const From* const source = from.row(i);
    To* const target = to.row(i);
    if constexpr (std::is_same_v<From, To>) {
      std::memmove(target, source, static_cast<std::size_t>(from.columns) * sizeof(To));
    } else {
      for (Index j = 0; j < from.columns; ++j) target[j] = convert<To>(source[j]);
    }
  }
}

/// Calls function(T{}) with the type that `dtype` stands for.
template <class Function>
decltype(auto) with_type(DType dtype, Function&& function) {
  switch (dtype) {
    case DType::kFloat64:
      return function(double{});
    case DType::kInt32:
      return function(std::int32_t{});
    case DType::kFloat32:
      break;
  }
  return function(float{});
}

template <class T>
void expect_dtype(const Shape& shape, DType dtype) {
  if (dtype == kDTypeOf<T>) return;
  throw ShapeError(fmt::format("a tensor of shape {} holds {}, not {}", to_string(shape),
                               to_string(dtype), to_string(kDTypeOf<T>)));
}

}  // namespace

Index padded_leading_dimension(Index columns, DType dtype) noexcept {
  constexpr Index kAliasing = 256;
  const Index line = kAlignment / size_of(dtype);
  // Columns that no memory can hold stay as they are: the caller's size check refuses them.
  if (columns <= 1 || columns > kMaxIndex - 2 * line) return columns;
  const Index lines = (columns + line - 1) / line;
  constexpr Index kLines = kAliasing / kAlignment;
  return (lines % kLines == 0 ? lines + 1 : lines) * line;
}

void internal::FreeMemory::operator()(void* data) const noexcept {
#if defined(__linux__)
  if (mapped > 0) {
    munmap(data, mapped);
    return;
  }
#endif
  std::free(data);
}

/// Zeroed where it is mapped.
Tensor::Storage Tensor::allocate(const Shape& shape, Index bytes) {
  const Index lines = (bytes + kAlignment - 1) / kAlignment;
  const auto size = static_cast<std::size_t>((lines > 0 ? lines : 1) * kAlignment);
  if (bytes >= kMappedBytes) {
    if (void* const data = map_zeroed(size))
      return Storage(data, internal::FreeMemory{.mapped = size});
  }
  void* const data = std::aligned_alloc(static_cast<std::size_t>(kAlignment), size);
  if (data == nullptr) {
    throw Error(
        fmt::format("cannot allocate {} bytes for a tensor of shape {}", size, to_string(shape)));
  }
  return Storage(data);
}

Tensor::Tensor(const Shape& shape, DType dtype, Layout layout)
    : shape_(shape),
      dtype_(dtype),
      ld_(layout == Layout::kPadded ? padded_leading_dimension(shape.columns(), dtype)
                                    : shape.columns()) {
  const Index bytes = buffer_bytes(shape, dtype, ld_);
  storage_ = allocate(shape, bytes);
  data_ = storage_.get();
  if (storage_.get_deleter().mapped == 0) std::memset(data_, 0, static_cast<std::size_t>(bytes));
}

Tensor Tensor::view(void* data, const Shape& shape, DType dtype, Index ld) {
  if (ld < shape.columns()) {
    throw ShapeError(fmt::format("a view of shape {} needs a leading dimension >= {}, got {}",
                                 to_string(shape), shape.columns(), ld));
  }
  static_cast<void>(buffer_bytes(shape, dtype, ld));
  if (data == nullptr && shape.elements() > 0) {
    throw ArgumentError(fmt::format("a view of shape {} on a null pointer", to_string(shape)));
  }
  Tensor tensor;
  tensor.data_ = data;
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
  tensor.ld_ = ld;
  return tensor;
}

template <class T>
Tensor Tensor::from(const Shape& shape, std::span<const T> values) {
  if (static_cast<Index>(values.size()) != shape.elements()) {
    throw ShapeError(fmt::format("a tensor of shape {} holds {} values, got {}", to_string(shape),
                                 shape.elements(), values.size()));
  }
  Tensor tensor(shape, kDTypeOf<T>);
  const Index columns = shape.columns();
  copy_elements(MatrixView<const T>{values.data(), tensor.rows(), columns, columns},
                tensor.as<T>());
  return tensor;
}

Tensor::Tensor(const Tensor& other)
    : data_(other.data_), shape_(other.shape_), dtype_(other.dtype_), ld_(other.ld_) {
  if (!other.owns_memory()) return;
  const Index bytes = buffer_bytes(shape_, dtype_, ld_);
  storage_ = allocate(shape_, bytes);
  data_ = storage_.get();
  std::memcpy(data_, other.data_, static_cast<std::size_t>(bytes));
}

Tensor& Tensor::operator=(const Tensor& other) {
  if (this != &other) *this = Tensor(other);
  return *this;
}

template <class T>
MatrixView<T> Tensor::as() {
  expect_dtype<T>(shape_, dtype_);
  return view().as<T>();
}

template <class T>
MatrixView<const T> Tensor::as() const {
  expect_dtype<T>(shape_, dtype_);
  return view().as<T>();
}

Tensor Tensor::to(DType dtype) const {
  Tensor result(shape_, dtype);
  copy_values(*this, result);
  return result;
}

double element(ConstTensorView view, Index i, Index j) noexcept {
  return with_type(view.dtype, [&]<class T>(T) { return static_cast<double>(view.as<T>()(i, j)); });
}

void set_element(TensorView view, Index i, Index j, double value) noexcept {
  with_type(view.dtype, [&]<class T>(T) { view.as<T>()(i, j) = static_cast<T>(value); });
}

void copy_values(ConstTensorView from, TensorView to) {
  if (from.rows != to.rows || from.columns != to.columns) {
    throw ShapeError(fmt::format("copy_values: cannot copy {} x {} values to {} x {}", from.rows,
                                 from.columns, to.rows, to.columns));
  }
  if (from.columns == 0) return;
  with_type(from.dtype, [&]<class From>(From) {
    with_type(to.dtype, [&]<class To>(To) { copy_elements(from.as<From>(), to.as<To>()); });
  });
}

template CHAINRULE_API Tensor Tensor::from(const Shape&, std::span<const float>);
template CHAINRULE_API Tensor Tensor::from(const Shape&, std::span<const double>);
template CHAINRULE_API Tensor Tensor::from(const Shape&, std::span<const std::int32_t>);
template CHAINRULE_API MatrixView<float> Tensor::as();
template CHAINRULE_API MatrixView<double> Tensor::as();
template CHAINRULE_API MatrixView<std::int32_t> Tensor::as();
template CHAINRULE_API MatrixView<const float> Tensor::as() const;
template CHAINRULE_API MatrixView<const double> Tensor::as() const;
template CHAINRULE_API MatrixView<const std::int32_t> Tensor::as() const;

}  // namespace chainrule
