// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/kernel_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/deep_kernel.hpp"
#include "chainrule/learn/infinite_kernel.hpp"
#include "kernel_support.hpp"

namespace chainrule {
namespace {

constexpr int kDeepest = 100;  // parentheses

// What the arguments of a name are made into.
struct NamedKernel {
  const char* name;
  std::size_t most_arguments;
  CovarianceKernel (*make)(const std::vector<double>& arguments, Index columns);
};

double argument(const std::vector<double>& arguments, std::size_t i, double otherwise) {
  return i < arguments.size() ? arguments[i] : otherwise;
}

int whole_argument(const std::vector<double>& arguments, std::size_t i, int otherwise) {
  const double value = argument(arguments, i, otherwise);
  if (value == std::floor(value) && std::abs(value) <= 1000) return static_cast<int>(value);
  throw ArgumentError(fmt::format("got {}, expected a whole number", value));
}

template <CovarianceKernel (*kKernel)(double)>
CovarianceKernel with_one(const std::vector<double>& arguments, Index) {
  return kKernel(argument(arguments, 0, 1));
}

template <CovarianceKernel (*kKernel)(std::vector<double>)>
CovarianceKernel with_each(const std::vector<double>& arguments, Index columns) {
  const auto count = static_cast<std::size_t>(columns);
  if (!arguments.empty() && arguments.size() != count) {
    throw ArgumentError(
        fmt::format("got {} length scales for {} columns", arguments.size(), columns));
  }
  return kKernel(arguments.empty() ? std::vector<double>(count, 1.0) : arguments);
}

constexpr std::size_t kAny = static_cast<std::size_t>(-1);

constexpr std::array kNamedKernels{
    NamedKernel{"rbf", 1, with_one<rbf_kernel>},
    NamedKernel{"ard_rbf", kAny, with_each<ard_rbf_kernel>},
    NamedKernel{"matern32", 1, with_one<matern32_kernel>},
    NamedKernel{"ard_matern32", kAny, with_each<ard_matern32_kernel>},
    NamedKernel{"matern52", 1, with_one<matern52_kernel>},
    NamedKernel{"ard_matern52", kAny, with_each<ard_matern52_kernel>},
    NamedKernel{"constant", 1, with_one<constant_kernel>},
    NamedKernel{"linear", 0, [](const std::vector<double>&, Index) { return linear_kernel(); }},
    NamedKernel{"polynomial", 2,
                [](const std::vector<double>& arguments, Index) {
                  return polynomial_kernel(whole_argument(arguments, 0, 2),
                                           argument(arguments, 1, 1));
                }},
    NamedKernel{"arc_cosine", 3,
                [](const std::vector<double>& arguments, Index) {
                  return arc_cosine_kernel(whole_argument(arguments, 0, 1),
                                           argument(arguments, 1, 1), argument(arguments, 2, 0));
                }},
};

// "relu" of "nngp_relu" and "ntk_relu", "nngp" and "ntk".
std::optional<std::string_view> infinite_activation(std::string_view name) {
  for (const std::string_view kind : {"nngp", "ntk"}) {
    if (name == kind) return "relu";
    if (name.starts_with(kind) && name[kind.size()] == '_') return name.substr(kind.size() + 1);
  }
  return std::nullopt;
}

class KernelParser {
 public:
  KernelParser(std::string_view text, Index columns, const Model* model)
      : text_(text), columns_(columns), model_(model) {}

  CovarianceKernel parse() {
    CovarianceKernel kernel = sum();
    skip_spaces();
    if (at_ != text_.size()) fail(at_, "expected + or * or the end");
    return kernel;
  }

 private:
  [[noreturn]] void fail(std::size_t at, std::string_view what) const {
    throw ArgumentError(fmt::format("kernel '{}', column {}: {}", text_, at + 1, what));
  }
  void skip_spaces() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  bool take(char c) {
    skip_spaces();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  CovarianceKernel sum() {
    CovarianceKernel result = product();
    while (take('+')) result = result + product();
    return result;
  }
  CovarianceKernel product() {
    CovarianceKernel result = factor();
    while (take('*')) result = result * factor();
    return result;
  }

  CovarianceKernel factor() {
    skip_spaces();
    const std::size_t start = at_;
    if (take('(')) {
      if (++depth_ > kDeepest) fail(start, "too many parentheses");
      CovarianceKernel inside = sum();
      if (!take(')')) fail(at_, "expected )");
      --depth_;
      return inside;
    }
    if (const std::optional<double> variance = number()) {
      return checked(start, [&] {
        return CovarianceKernel(internal::constant_function("kernel", "variance", *variance));
      });
    }
    const auto is_name = [](char c) {
      return c == '_' || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    };
    while (at_ < text_.size() && is_name(text_[at_])) ++at_;
    const std::string_view name = text_.substr(start, at_ - start);
    if (name.empty()) fail(start, "expected a number, a name or (");
    if (name == "deep") return deep(start);
    return named(start, name, arguments());
  }

  // A kernel of what the model makes of the columns.
  CovarianceKernel deep(std::size_t start) {
    if (model_ == nullptr) fail(start, "deep needs a model");
    if (!take('(')) fail(at_, "expected ( and the kernel of the model's outputs");
    if (++depth_ > kDeepest) fail(start, "too many parentheses");
    const Index columns = std::exchange(columns_, model_->outputs());
    const CovarianceKernel inside = sum();
    columns_ = columns;
    if (!take(')')) fail(at_, "expected )");
    --depth_;
    return deep_kernel(inside, *model_);
  }

  std::optional<double> number() {
    skip_spaces();
    double value = 0;
    const auto parsed = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    // "inf" and "nan" are numbers to from_chars; no name begins like that.
    if (parsed.ec != std::errc()) return std::nullopt;
    at_ = static_cast<std::size_t>(parsed.ptr - text_.data());
    return value;
  }

  std::vector<double> arguments() {
    std::vector<double> values;
    if (!take('(')) return values;
    do {
      const std::optional<double> value = number();
      if (!value) fail(at_, "expected a number");
      values.push_back(*value);
    } while (take(','));
    if (!take(')')) fail(at_, "expected , or )");
    return values;
  }

  CovarianceKernel named(std::size_t start, std::string_view name,
                         const std::vector<double>& values) {
    const auto expect_at_most = [&](std::size_t most) {
      if (values.size() <= most) return;
      fail(start, fmt::format("{} takes at most {} arguments, got {}", name, most, values.size()));
    };
    if (name == "learned") {
      expect_at_most(1);
      if (model_ == nullptr) fail(start, "learned needs a model");
      return checked(start, [&] {
        if (values.empty()) return learned_kernel(*model_);
        const int layer = whole_argument(values, 0, 0);
        if (layer < 0) throw ArgumentError(fmt::format("got layer {}, expected >= 0", layer));
        return learned_kernel(*model_, static_cast<std::size_t>(layer));
      });
    }
    if (const auto infinite = infinite_activation(name)) {
      expect_at_most(3);
      return checked(start, [&] {
        const WeightPrior prior{argument(values, 1, 2), argument(values, 2, 0.1)};
        const int depth = whole_argument(values, 0, 1);
        return name.starts_with("ntk") ? ntk_kernel(depth, *infinite, prior)
                                       : nngp_kernel(depth, *infinite, prior);
      });
    }
    const auto* const found = std::ranges::find(kNamedKernels, name, &NamedKernel::name);
    if (found == kNamedKernels.end()) {
      std::string known;
      for (const NamedKernel& kernel : kNamedKernels) known += fmt::format("{}, ", kernel.name);
      fail(start,
           fmt::format("no kernel '{}'; there are: {}learned, deep(...), nngp_relu, ntk_relu, ... "
                       "(other activations too)",
                       name, known));
    }
    expect_at_most(found->most_arguments);
    return checked(start, [&] { return found->make(values, columns_); });
  }

  template <class Make>
  CovarianceKernel checked(std::size_t start, const Make& make) {
    try {
      return make();
    } catch (const ArgumentError& error) {
      fail(start, error.what());
    }
  }

  std::string_view text_;
  Index columns_;
  const Model* model_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

CovarianceKernel parse_kernel(std::string_view text, Index columns, const Model* model) {
  return KernelParser(text, columns, model).parse();
}

std::string to_text(const CovarianceKernel& kernel) { return kernel.function().text(); }

}  // namespace chainrule
