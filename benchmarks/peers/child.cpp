// SPDX-License-Identifier: Apache-2.0
#include "child.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>

namespace chainrule::bench {
namespace {

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

struct Pipe {
  Descriptor read;
  Descriptor write;
};

Pipe make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw Error("cannot make a pipe");
  return {.read = Descriptor(ends[0]), .write = Descriptor(ends[1])};
}

// A child ends by SIGPIPE as usual, although this program ignores it.
class SpawnAttributes {
 public:
  SpawnAttributes() {
    sigset_t defaults;
    ::sigemptyset(&defaults);
    ::sigaddset(&defaults, SIGPIPE);
    ::posix_spawnattr_init(&attributes_);
    ::posix_spawnattr_setsigdefault(&attributes_, &defaults);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnAttributes() { ::posix_spawnattr_destroy(&attributes_); }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;

  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_{};
};

// Gives it a second to end by itself.
int status_at_end(pid_t id) {
  using namespace std::chrono_literals;
  int status = 0;
  for (auto waited = 0ms; waited < 1000ms; waited += 10ms) {
    if (::waitpid(id, &status, WNOHANG) == id) return status;
    std::this_thread::sleep_for(10ms);
  }
  ::kill(id, SIGKILL);
  ::waitpid(id, &status, 0);
  return status;
}

}  // namespace

void Descriptor::close() noexcept {
  if (number_ >= 0) ::close(number_);
  number_ = -1;
}

Child::Child(std::vector<std::string> words, std::vector<std::string> variables)
    : program_(std::filesystem::path(words.front()).filename()),
      errors_(::memfd_create("errors", MFD_CLOEXEC)) {
  ::signal(SIGPIPE, SIG_IGN);
  Pipe to_child = make_pipe(), from_child = make_pipe();
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_adddup2(&files, to_child.read.number(), STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, from_child.write.number(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, errors_.number(), STDERR_FILENO);
  const SpawnAttributes attributes;
  const int error = ::posix_spawn(&id_, words.front().c_str(), &files, attributes.get(),
                                  pointers_to(words).data(), pointers_to(variables).data());
  ::posix_spawn_file_actions_destroy(&files);
  if (error != 0) {
    throw ChildError(fmt::format("cannot start {}: {}", words.front(), ::strerror(error)), -1);
  }
  input_ = std::move(to_child.write);
  output_ = std::move(from_child.read);
}

Child::~Child() {
  if (id_ < 0) return;
  ::kill(id_, SIGKILL);
  ::waitpid(id_, nullptr, 0);
}

void Child::write_line(std::string_view line) {
  const std::string text = fmt::format("{}\n", line);
  if (::write(input_.number(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    fail_ended();
  }
}

std::string Child::read_line() {
  for (;;) {
    if (const std::size_t end = received_.find('\n'); end != std::string::npos) {
      std::string line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return line;
    }
    receive();
  }
}

std::string Child::read_value(std::string_view key) {
  const std::string line = read_line();
  if (!line.starts_with(fmt::format("{} ", key))) {
    fail(fmt::format("said '{}', expected '{} ...'", line.substr(0, 60), key));
  }
  return line.substr(key.size() + 1);
}

std::vector<float> Child::read_floats(std::size_t count) {
  std::vector<float> values(count);
  const std::size_t bytes = count * sizeof(float);
  while (received_.size() < bytes) receive();
  std::memcpy(values.data(), received_.data(), bytes);
  received_.erase(0, bytes);
  return values;
}

void Child::receive() {
  pollfd ready{.fd = output_.number(), .events = POLLIN, .revents = 0};
  const auto patience = std::chrono::milliseconds(kPatience);
  if (::poll(&ready, 1, static_cast<int>(patience.count())) == 0) {
    fail(fmt::format("gave no answer for {} s", kPatience.count()));
  }
  std::array<char, 1 << 16> buffer{};
  const ssize_t length = ::read(output_.number(), buffer.data(), buffer.size());
  if (length < 0 && errno == EINTR) return;
  if (length <= 0) fail_ended();
  received_.append(buffer.data(), static_cast<std::size_t>(length));
}

void Child::fail(const std::string& what) const {
  throw ChildError(fmt::format("{} {}", program_, what), -1);
}

void Child::fail_ended() {
  input_.close();
  const int status = status_at_end(std::exchange(id_, -1));
  const std::string reason = WIFSIGNALED(status)
                                 ? fmt::format("was ended by signal {} ({})", WTERMSIG(status),
                                               ::strsignal(WTERMSIG(status)))
                                 : fmt::format("ended with exit code {}", WEXITSTATUS(status));
  const std::string line = last_error_line();
  throw ChildError(fmt::format("{} {}{}{}", program_, reason, line.empty() ? "" : ": ", line),
                   WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

std::string Child::last_error_line() const {
  std::string text(1 << 16, '\0');
  const ssize_t length = ::pread(errors_.number(), text.data(), text.size(), 0);
  text.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
  while (text.ends_with('\n')) text.pop_back();
  const std::size_t start = text.rfind('\n');
  return start == std::string::npos ? text : text.substr(start + 1);
}

BusyProcesses::BusyProcesses(int count) {
  const pid_t parent = ::getpid();
  for (int i = 0; i < count; ++i) {
    const pid_t id = ::fork();
    if (id < 0) throw Error(fmt::format("cannot start {} busy processes", count));
    if (id == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(0);
      for (std::atomic<unsigned> counter{0};;) counter.fetch_add(1, std::memory_order_relaxed);
    }
    ids_.push_back(id);
  }
}

BusyProcesses::~BusyProcesses() {
  for (const pid_t id : ids_) {
    ::kill(id, SIGKILL);
    ::waitpid(id, nullptr, 0);
  }
}

}  // namespace chainrule::bench
