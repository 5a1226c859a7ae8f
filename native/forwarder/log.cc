#include "log.h"

#include <array>
#include <cstdio>
#include <ctime>
#include <optional>

#include "text.h"

namespace vsock_proxy {
namespace {

constexpr std::array<const char*, 6> kLevels = {"off", "error", "warn", "info", "debug", "trace"};
constexpr std::array<const char*, 6> kPadded = {"OFF  ", "ERROR", "WARN ", "INFO ", "DEBUG", "TRACE"};

std::optional<Level> parseLevel(std::string_view text) {
  std::string lower(text);
  for (char& byte : lower) {
    if (byte >= 'A' && byte <= 'Z') byte = static_cast<char>(byte - 'A' + 'a');
  }
  for (size_t i = 0; i < kLevels.size(); ++i) {
    if (lower == kLevels[i]) return static_cast<Level>(i);
  }
  return std::nullopt;
}

std::string_view trim(std::string_view text) {
  static constexpr const char* kSpace = " \t\n\v\f\r";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

// Removes and returns the text before the next `separator`, and the separator.
std::string_view takeUpTo(char separator, std::string_view& text) {
  const size_t end = text.find(separator);
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return part;
}

std::string invalid(std::string_view spec) {
  return "invalid logging spec '" + escapeBriefly(spec) + "', ignoring it";
}

void readDirective(std::string_view entry, LogFilter& filter) {
  std::string_view levelName = entry;
  const bool hasLevel = entry.find('=') != std::string_view::npos;
  const std::string_view name = trim(takeUpTo('=', levelName));
  levelName = trim(levelName);
  const auto alone = hasLevel ? std::nullopt : parseLevel(name);
  const auto level = levelName.empty() ? Level::Trace : parseLevel(levelName);
  if (levelName.find('=') != std::string_view::npos) {
    filter.warnings.push_back(invalid(entry));
  } else if (alone) {
    filter.directives.emplace_back("", *alone);
  } else if (level) {
    filter.directives.emplace_back(name, *level);
  } else {
    filter.warnings.push_back(invalid(levelName));
  }
}

}  // namespace

LogFilter parseLogFilter(std::string_view spec) {
  LogFilter filter;
  std::string_view regex = spec;
  std::string_view list = takeUpTo('/', regex);
  if (regex.find('/') != std::string_view::npos) {
    filter.warnings.push_back(invalid(spec) + " (too many '/'s)");
    list = {};
  } else if (!regex.empty()) {
    filter.warnings.push_back("no filter by /regex here, ignoring it");
  }
  while (!list.empty()) {
    const std::string_view entry = trim(takeUpTo(',', list));
    if (!entry.empty()) readDirective(entry, filter);
  }
  if (filter.directives.empty()) filter.directives.emplace_back("", Level::Error);
  return filter;
}

Level LogFilter::levelOf(std::string_view target) const {
  const std::pair<std::string, Level>* best = nullptr;
  for (const auto& directive : directives) {
    const std::string& start = directive.first;
    if (target.substr(0, start.size()) != start) continue;
    if (best == nullptr || start.size() >= best->first.size()) best = &directive;
  }
  return best == nullptr ? Level::Off : best->second;
}

std::string formatLine(int64_t seconds, Level level, std::string_view target, std::string_view message) {
  const time_t at = seconds;
  tm utc{};
  gmtime_r(&at, &utc);
  char time[32];
  std::strftime(time, sizeof time, "[%Y-%m-%dT%H:%M:%SZ ", &utc);
  std::string line = time;
  line.append(kPadded[static_cast<size_t>(level)]).append(" ").append(target).append("] ");
  return line.append(message).append("\n");
}

}  // namespace vsock_proxy
