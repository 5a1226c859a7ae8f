// Log lines in the format of env_logger, filtered by RUST_LOG, as vsock-proxy writes them:
//
//     [2026-01-02T03:04:05Z INFO  vsock_proxy::proxy] Proxy is now in listening state
//
// It ignores the part of RUST_LOG after a slash, and has no colours.

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vsock_proxy {

enum class Level : uint8_t { Off, Error, Warn, Info, Debug, Trace };

// The meaning of RUST_LOG: a comma-separated list of `level`, `target` and `target=level`. Without any
// valid part, only errors are logged.
struct LogFilter {
  std::vector<std::pair<std::string, Level>> directives;  // the beginning of a target, and its level
  std::vector<std::string> warnings;                      // one sentence for each part that is not valid

  // The level of the most specific directive; of several equal ones, the last.
  Level levelOf(std::string_view target) const;
};

LogFilter parseLogFilter(std::string_view spec);

// One line, with its newline. `seconds` since 1970.
std::string formatLine(int64_t seconds, Level level, std::string_view target, std::string_view message);

// The lines of one target. Text from outside must be escaped in `message`s.
class Log {
 public:
  using Write = std::function<void(Level, const std::string& target, const std::string& message)>;
  Log(const LogFilter& filter, std::string target, Write write)
      : target_(std::move(target)), level_(filter.levelOf(target_)), write_(std::move(write)) {}

  bool enables(Level level) const { return level <= level_; }
  void warn(const std::string& message) const { say(Level::Warn, message); }
  void info(const std::string& message) const { say(Level::Info, message); }
  void debug(const std::string& message) const { say(Level::Debug, message); }

 private:
  void say(Level level, const std::string& message) const {
    if (enables(level)) write_(level, target_, message);
  }

  const std::string target_;
  const Level level_;
  const Write write_;
};

}  // namespace vsock_proxy
