// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/progress.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace chainrule {
namespace {

using Event = TrainingProgress::Event;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kBarWidth = 24;
constexpr std::size_t kMinBarWidth = 4;
constexpr std::size_t kMaxWidth = 79;  // a line of 80 would wrap on some terminals
constexpr auto kRedrawInterval = std::chrono::milliseconds(100);

std::vector<std::string> metrics(const EpochRecord& record) {
  std::vector<std::string> fields{fmt::format("loss {:.4f}", record.loss)};
  if (!record.validation) return fields;
  const Evaluation& validation = *record.validation;
  fields.push_back(fmt::format("val_loss {:.4f}", validation.loss));
  if (validation.accuracy) {
    fields.push_back(fmt::format("val_accuracy {:.4f}", *validation.accuracy));
  }
  if (validation.rmse) fields.push_back(fmt::format("val_rmse {:.4g}", *validation.rmse));
  return fields;
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
  explicit Bar(std::ostream& out) : out_(&out) {}

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
    std::string line = line_of(progress);
    const std::size_t width = line.size();
    if (width < width_) line.append(width_ - width, ' ');  // over what the last line left
    width_ = width;
    *out_ << '\r' << line << std::flush;
  }

  // What there is to say, most important first, as long as it fits; the bar takes what is left.
  std::string line_of(const TrainingProgress& progress) const {
    const std::string head = fmt::format("epoch {}/{}", progress.epoch, progress.epochs);
    std::vector<std::string> fields = last_;
    const bool measured = progress.epoch > 1 || progress.batch > 0;
    if (fields.empty() && measured) {
      fields.push_back(fmt::format("loss {:.4f}", progress.loss));
    }
    if (measured) {
      fields.push_back("ETA " + duration(progress.eta_seconds));
      fields.push_back(speed(progress.samples_per_second));
    }
    const std::size_t frame = std::string_view(" []").size();
    std::size_t used = head.size();
    std::string tail;
    for (const std::string& field : fields) {
      if (used + 1 + field.size() + frame + kMinBarWidth > kMaxWidth) continue;
      tail += " " + field;
      used += 1 + field.size();
    }
    if (used + frame + kMinBarWidth > kMaxWidth) return head.substr(0, kMaxWidth);
    return head + " [" + bar(progress, std::min(kBarWidth, kMaxWidth - used - frame)) + "]" + tail;
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
  std::vector<std::string> last_;  ///< metrics of the last epoch
  std::size_t width_ = 0;
  Clock::time_point drawn_{};
};

}  // namespace

Callback progress_bar(std::ostream& out) {
  const auto bar = std::make_shared<Bar>(out);
  return [bar](const TrainingProgress& progress) {
    bar->update(progress);
    return true;
  };
}

Callback progress_lines(std::ostream& out) {
  return [&out](const TrainingProgress& progress) {
    if (progress.event != Event::kEpoch) return true;
    out << fmt::format("epoch {}/{} {} {} {}s\n", progress.epoch, progress.epochs,
                       fmt::join(metrics(*progress.record), " "),
                       speed(progress.record->samples_per_second),
                       fmt::format("{:.2f}", progress.record->seconds))
        << std::flush;
    return true;
  };
}

}  // namespace chainrule
