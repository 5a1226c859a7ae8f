#include "report.h"

#include "failure.h"
#include "text.h"

namespace vsock_proxy {
namespace {

// The interval of the lines about a trouble that lasts.
constexpr Micros kPeriod = 10 * 1000 * 1000;
constexpr const char* kWithin = " within 10 s";
constexpr const char* kRaiseLimit = ". Hint: raise --connections";

std::string nameInBrackets(int error) { return error == 0 ? "" : " (" + nameErrno(error) + ")"; }

}  // namespace

Report::Report(Loop& loop, const Forward& forward, const Log& log, std::function<ListenerCounters()> counters)
    : forward_(forward), log_(log), counters_(std::move(counters)), throttle_(loop, kPeriod) {}

void Report::tell(const Progress& progress) {
  const std::string client = describeClient(progress.client);
  switch (progress.step) {
    case Step::Accepted:
      return log_.info("Accepted connection on " + client);
    case Step::Connected:
      return log_.info("Connected client from " + client + " to " + describeServer(progress.server));
  }
}

void Report::tell(const CloseRecord& record) {
  if (log_.enables(Level::Debug)) log_.debug(describeRecord(record));
  const auto failure = findFailure(record, forward_);
  if (!failure) return log_.info(describeEnd(record));
  const std::string line = "Client on " + describeClient(record.client) + ": " + failure->problem +
                           " (after " + std::to_string((record.totalMicros + 500) / 1000) + " ms)";
  const bool isFirst = throttle_.report(
      failure->problem, [&] { log_.warn(line + ". Hint: " + failure->hint); },
      [this, same = failure->line()](size_t times) {
        if (times != 0) log_.warn("The same for " + count(times, "more client") + kWithin + ": " + same);
        return times != 0;
      });
  // The log of each connection includes how each one ended.
  if (!isFirst) log_.info(line);
}

void Report::tell(const Fault& fault) {
  switch (fault.kind) {
    case FaultKind::Limit:
      return tellLimit();
    case FaultKind::Accept:
      return tellAcceptFailure(fault);
    // The forwarder refuses no clients.
    case FaultKind::NotAdmitted:
    case FaultKind::ClientLimit:
    case FaultKind::ClientRate:
      return;
  }
}

void Report::tellAcceptFailure(const Fault& fault) {
  const Failure failure = describeAcceptFailure(forward_.on, fault.error);
  const std::string hint = ". Hint: " + failure.hint;
  throttle_.report(
      failure.problem, [&] { log_.warn(failure.problem + "; it is tried again" + hint); },
      [this, problem = failure.problem, hint](size_t times) {
        if (times != 0) log_.warn(problem + "; this has gone on for 10 s more" + hint);
        return times != 0;
      });
}

void Report::tellLimit() {
  const std::string limit =
      "Limit of " + std::to_string(forward_.maxConnections) + " simultaneous connections";
  throttle_.report(
      "limit", [&] { log_.warn(limit + " reached: a client waits" + kRaiseLimit); },
      [this, limit](size_t) {
        const ListenerCounters now = counters_();
        const uint64_t waits = now.limitHits - told_.limitHits;
        if (waits == 0 && now.waitingSince == 0) return false;
        const auto waited = static_cast<Micros>(now.limitWaitMicros - told_.limitWaitMicros);
        const std::string waiting =
            now.waitingSince == 0
                ? "none waits now"
                : "one waits now (for " + seconds(monotonicMicros() - now.waitingSince) + ")";
        log_.warn(limit + ": " + count(waits, "client") + " had to wait" + kWithin + " (" + seconds(waited) +
                  " in all), " + waiting + kRaiseLimit);
        told_ = now;
        return true;
      });
}

// Unix clients rarely have a name of their own.
std::string Report::describeClient(const Address& client) const {
  const bool isNameless = client.family() == AF_UNIX && client.path().empty();
  return vsock_proxy::describe(isNameless ? forward_.on : client);
}

std::string Report::describeEnd(const CloseRecord& record) const {
  const std::string line = "Client on " + describeClient(record.client) + " disconnected";
  switch (record.reason) {
    case CloseReason::Reset:
      return line + ": reset by the " + nameOf(record.endedBy) + nameInBrackets(record.error);
    case CloseReason::IdleTimeout:
      return line + ": nothing was sent for " + std::to_string(forward_.idleTimeout / 1000) +
             " ms (--idle-timeout)";
    case CloseReason::Drained:
      return line + ": still open at the end of the drain";
    case CloseReason::Finished:
    case CloseReason::ConnectFailed:
    case CloseReason::ConnectTimeout:
    case CloseReason::NoUpstream:
    case CloseReason::Internal:
    // Only listeners that request decisions, or refuse clients, have these.
    case CloseReason::HeadTimeout:
    case CloseReason::DecisionTimeout:
    case CloseReason::Denied:
    case CloseReason::Malformed:
    case CloseReason::NotAdmitted:
    case CloseReason::ClientLimit:
    case CloseReason::ClientRate:
      return line;
  }
  return line;
}

std::string Report::describeRecord(const CloseRecord& record) const {
  return "Closed connection " + std::to_string(record.connection) + " from " + describeClient(record.client) +
         " on " + vsock_proxy::describe(forward_.on) + " to " + describeServer(forward_.to) + ": " +
         nameOf(record.reason) + nameInBrackets(record.error) + " by the " + nameOf(record.endedBy) +
         " while " + nameOf(record.phase) + "; bytes up " + std::to_string(record.bytesUp) + ", down " +
         std::to_string(record.bytesDown) + "; ms queued " + milliseconds(record.queuedMicros) +
         ", connect " + milliseconds(record.connectMicros) + ", total " + milliseconds(record.totalMicros);
}

}  // namespace vsock_proxy
