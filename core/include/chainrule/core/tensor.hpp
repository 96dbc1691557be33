// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cassert>
#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>

#include "chainrule/core/dtype.hpp"
#include "chainrule/core/export.hpp"
#include "chainrule/core/shape.hpp"

namespace chainrule {

/// Alignment in bytes of every buffer the library allocates.
inline constexpr Index kAlignment = 64;

/// A typed window on row-major data: element (i, j) is data[i * ld + j]. Owns nothing; this is what
/// kernels see.
template <class T>
struct MatrixView {
  T* data = nullptr;
  Index rows = 0;
  Index columns = 0;
  Index ld = 0;  ///< leading dimension: elements between the starts of two rows

  T* row(Index i) const noexcept { return data + i * ld; }
  T& operator()(Index i, Index j) const noexcept { return data[i * ld + j]; }
  operator MatrixView<const T>() const noexcept requires(!std::is_const_v<T>) {
    return {data, rows, columns, ld};
  }
};

/// An untyped window on row-major data that somebody else owns.
struct TensorView {
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  Index rows = 0;
  Index columns = 0;
  Index ld = 0;

  template <class T>
  MatrixView<T> as() const noexcept {
    assert(dtype == kDTypeOf<std::remove_const_t<T>>);
    return {static_cast<T*>(data), rows, columns, ld};
  }
};

/// Read-only counterpart of TensorView.
struct ConstTensorView {
  const void* data = nullptr;
  DType dtype = DType::kFloat32;
  Index rows = 0;
  Index columns = 0;
  Index ld = 0;

  ConstTensorView() = default;
  ConstTensorView(const void* data_, DType dtype_, Index rows_, Index columns_, Index ld_)
      : data(data_), dtype(dtype_), rows(rows_), columns(columns_), ld(ld_) {}
  ConstTensorView(const TensorView& view)
      : ConstTensorView(view.data, view.dtype, view.rows, view.columns, view.ld) {}

  template <class T>
  MatrixView<const T> as() const noexcept {
    assert(dtype == kDTypeOf<std::remove_const_t<T>>);
    return {static_cast<const T*>(data), rows, columns, ld};
  }
};

/// The leading dimension the library gives a matrix of `columns`: whole 64-byte lines, and one line
/// more where the row stride would be a multiple of 256 bytes (cache-set aliasing). One column
/// stays dense.
CHAINRULE_API Index padded_leading_dimension(Index columns, DType dtype) noexcept;

namespace internal {
struct CHAINRULE_API FreeMemory {
  std::size_t mapped = 0;  ///< bytes, of memory that is not from the heap
  void operator()(void* data) const noexcept;
};
}  // namespace internal

enum class Layout : std::uint8_t {
  kPadded,  ///< leading dimension from padded_leading_dimension()
  kDense,   ///< leading dimension equal to the columns
};

/// A tensor that owns its memory (64-byte aligned) or views somebody else's. Copying an owner
/// copies the elements; copying a view copies the window.
class CHAINRULE_API Tensor {
 public:
  Tensor() = default;
  /// Zero-filled, the padding as well. Throws ShapeError for a symbolic batch or a size that
  /// overflows, Error when there is not so much memory.
  explicit Tensor(const Shape& shape, DType dtype = DType::kFloat32,
                  Layout layout = Layout::kPadded);
  /// A view on `data`, which must outlive the tensor; `ld` >= columns or ShapeError. ArgumentError
  /// for a null pointer to a shape with elements.
  static Tensor view(void* data, const Shape& shape, DType dtype, Index ld);
  /// Copies `values` (row-major, dense); throws ShapeError when the count differs from the shape's.
  template <class T>
  static Tensor from(const Shape& shape, std::span<const T> values);

  Tensor(const Tensor& other);
  Tensor& operator=(const Tensor& other);
  Tensor(Tensor&&) noexcept = default;
  Tensor& operator=(Tensor&&) noexcept = default;
  ~Tensor() = default;

  const Shape& shape() const noexcept { return shape_; }
  DType dtype() const noexcept { return dtype_; }
  Index rows() const noexcept { return shape_.rows(); }
  Index columns() const noexcept { return shape_.columns(); }
  Index ld() const noexcept { return ld_; }
  bool owns_memory() const noexcept { return storage_ != nullptr; }

  void* data() noexcept { return data_; }
  const void* data() const noexcept { return data_; }
  TensorView view() noexcept { return {data_, dtype_, rows(), columns(), ld_}; }
  ConstTensorView view() const noexcept { return {data_, dtype_, rows(), columns(), ld_}; }
  operator TensorView() noexcept { return view(); }
  operator ConstTensorView() const noexcept { return view(); }

  /// Typed windows; throw ShapeError when T is not the tensor's dtype.
  template <class T>
  MatrixView<T> as();
  template <class T>
  MatrixView<const T> as() const;

  /// The same values in another dtype (round to nearest) and the padded layout.
  Tensor to(DType dtype) const;

 private:
  using Storage = std::unique_ptr<void, internal::FreeMemory>;
  static Storage allocate(const Shape& shape, Index bytes);

  Storage storage_;
  void* data_ = nullptr;
  Shape shape_;
  DType dtype_ = DType::kFloat32;
  Index ld_ = 0;
};

/// Element (i, j) of any dtype as a double.
CHAINRULE_API double element(ConstTensorView view, Index i, Index j) noexcept;
/// Writes `value`, rounded to the dtype, to element (i, j); int32 is truncated.
CHAINRULE_API void set_element(TensorView view, Index i, Index j, double value) noexcept;
/// Copies values between equal shapes, converting the dtype where they differ; ShapeError
/// otherwise, ArgumentError for a value that is too large for int32, or NaN.
CHAINRULE_API void copy_values(ConstTensorView from, TensorView to);

}  // namespace chainrule
