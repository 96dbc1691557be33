// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace chainrule {
namespace {

using Event = TrainingProgress::Event;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kBarWidth = 24;
constexpr std::size_t kMinBarWidth = 4;
constexpr int kDefaultColumns = 80;
constexpr auto kRedrawInterval = std::chrono::milliseconds(100);

// The lower the rank, the sooner a field leaves a line that is too long.
enum class Rank { kValidationLoss, kSpeed, kEta, kMetric, kLoss };

struct Field {
  Rank rank;
  std::string text;
};
using Fields = std::vector<Field>;

std::string loss_text(double loss) {
  return std::abs(loss) < 1e6 ? fmt::format("{:.4f}", loss) : fmt::format("{:.4g}", loss);
}

Fields metrics(const EpochRecord& record) {
  Fields fields{{Rank::kLoss, "loss " + loss_text(record.loss)}};
  if (!record.validation) return fields;
  const Evaluation& validation = *record.validation;
  fields.push_back({Rank::kValidationLoss, "val_loss " + loss_text(validation.loss)});
  if (validation.accuracy) {
    fields.push_back({Rank::kMetric, fmt::format("val_accuracy {:.4f}", *validation.accuracy)});
  }
  if (validation.rmse) {
    fields.push_back({Rank::kMetric, fmt::format("val_rmse {:.4g}", *validation.rmse)});
  }
  return fields;
}

std::string joined(const Fields& fields) {
  std::string text;
  for (const Field& field : fields) text += " " + field.text;
  return text;
}

// The fields that fit into `width`, each with a space in front.
std::string fitted(Fields fields, std::size_t width) {
  std::string text = joined(fields);
  while (text.size() > width) {
    fields.erase(std::ranges::min_element(fields, {}, &Field::rank));
    text = joined(fields);
  }
  return text;
}

std::string speed(double samples_per_second) {
  if (samples_per_second >= 1e6) return fmt::format("{:.1f}M samples/s", samples_per_second / 1e6);
  if (samples_per_second >= 1e3) return fmt::format("{:.1f}k samples/s", samples_per_second / 1e3);
  return fmt::format("{:.0f} samples/s", samples_per_second);
}

std::string duration(double seconds) {
  const auto whole = static_cast<long>(seconds + 0.5);
  return whole >= 3600 ? fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
                       : fmt::format("{}:{:02}", whole / 60, whole % 60);
}

class Bar {
 public:
  Bar(std::ostream& out, std::function<int()> columns) : out_(&out), columns_(std::move(columns)) {}

  void update(const TrainingProgress& progress) {
    if (progress.event == Event::kEpoch) {
      last_ = metrics(*progress.record);
    } else if (progress.event == Event::kEnd) {
      *out_ << '\n' << std::flush;
      return;
    } else if (Clock::now() - drawn_ < kRedrawInterval) {
      return;
    }
    draw(progress);
  }

 private:
  void draw(const TrainingProgress& progress) {
    drawn_ = Clock::now();
    const int columns = columns_ ? columns_() : kDefaultColumns;
    const auto limit = static_cast<std::size_t>(std::max(columns - 1, 1));  // some wrap a full line
    std::string line = line_of(progress, limit);
    const std::size_t width = line.size();
    line.resize(std::max(width, std::min(width_, limit)), ' ');  // over what the last line left
    width_ = width;
    *out_ << '\r' << line << std::flush;
  }

  // The bar takes what the fields leave. What is too long loses first the length of the bar, then
  // fields by their rank, then the bar.
  std::string line_of(const TrainingProgress& progress, std::size_t limit) const {
    const std::string head = fmt::format("epoch {}/{}", progress.epoch, progress.epochs);
    const std::size_t frame = std::string_view(" []").size();
    if (head.size() + frame + kMinBarWidth > limit) return head.substr(0, limit);
    const std::string tail =
        fitted(fields_of(progress), limit - head.size() - frame - kMinBarWidth);
    const std::size_t left = limit - head.size() - frame - tail.size();
    return head + " [" + bar(progress, std::min(kBarWidth, left)) + "]" + tail;
  }

  Fields fields_of(const TrainingProgress& progress) const {
    Fields fields = last_;
    if (progress.epoch <= 1 && progress.batch == 0) return fields;  // nothing is measured yet
    if (fields.empty()) fields.push_back({Rank::kLoss, "loss " + loss_text(progress.loss)});
    fields.push_back({Rank::kEta, "ETA " + duration(progress.eta_seconds)});
    fields.push_back({Rank::kSpeed, speed(progress.samples_per_second)});
    return fields;
  }

  static std::string bar(const TrainingProgress& progress, std::size_t width) {
    const double done =
        progress.epochs == 0 || progress.batches == 0
            ? 1
            : (static_cast<double>(std::max<Index>(progress.epoch, 1) - 1) +
               static_cast<double>(progress.batch) / static_cast<double>(progress.batches)) /
                  static_cast<double>(progress.epochs);
    const auto filled =
        std::min(width, static_cast<std::size_t>(done * static_cast<double>(width)));
    return std::string(filled, '#') + std::string(width - filled, '.');
  }

  std::ostream* out_;
  std::function<int()> columns_;
  Fields last_;  ///< metrics of the last epoch
  std::size_t width_ = 0;
  Clock::time_point drawn_{};
};

}  // namespace

int terminal_columns(int descriptor) {
  winsize size{};
  const bool known = ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : kDefaultColumns;
}

Callback progress_bar(std::ostream& out, std::function<int()> columns) {
  const auto bar = std::make_shared<Bar>(out, std::move(columns));
  return [bar](const TrainingProgress& progress) {
    bar->update(progress);
    return true;
  };
}

Callback progress_lines(std::ostream& out) {
  return [&out](const TrainingProgress& progress) {
    if (progress.event != Event::kEpoch) return true;
    out << fmt::format("epoch {}/{}{} {} {}s\n", progress.epoch, progress.epochs,
                       joined(metrics(*progress.record)),
                       speed(progress.record->samples_per_second),
                       fmt::format("{:.2f}", progress.record->seconds))
        << std::flush;
    return true;
  };
}

}  // namespace chainrule
