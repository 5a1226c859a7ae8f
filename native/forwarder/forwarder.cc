// vsock-forwarder: one listener, one server, the data plane of vsock-proxy and nothing else. Made for
// enclaves, where the memory of a JavaScript engine is too much for so little.
//
// The main thread waits for signals and events, and writes the log; one relay thread does the rest.

#include "forwarder.h"

#include <cerrno>
#include <cstdlib>
#include <type_traits>

#include "../core/engine.h"
#include "arguments.h"
#include "failure.h"
#include "log.h"
#include "process.h"
#include "report.h"
#include "text.h"

namespace vsock_proxy {
namespace {

// For open connections to end after a signal to stop.
constexpr Micros kDrain = 10 * 1000 * 1000;

// A packet of vsock at a time. 100 connections whose peers read in neither direction keep less than 4 MiB
// aside; with pipes the kernel's share would be larger.
constexpr ScratchSize kScratch{64 * 1024, 512 * 1024, 0};

// As the proxy at the other end asks for by default: limits.vsock_buffer_kib.
constexpr uint32_t kVsockBufferBytes = 1024 * 1024;

constexpr int kCannotRun = 1;
constexpr int kUsage = 2;
constexpr int kSignalled = 128;  // and the signal's number, as a shell says it

int fail(const std::string& text) {
  writeStderr("Error: " + quote(text) + "\n");
  return kCannotRun;
}

class Forwarder final : public Watch {
 public:
  Forwarder(const Forward& forward, const LogFilter& filter) : forward_(forward), filter_(filter) {}

  // Returns the exit status.
  int run();

 private:
  void onReady(uint32_t) override;  // a signal came
  int start();
  void stop(int signal);
  void tellEvents();
  void tell(const Drained& drained);
  void write(Level level, const std::string& target, const std::string& message);
  ListenerCounters counters();

  const Forward forward_;
  const LogFilter filter_;
  const Log::Write write_ = [this](Level level, const auto& target, const auto& text) {
    write(level, target, text);
  };
  const Log start_{filter_, "vsock_proxy", write_};
  const Log log_{filter_, "vsock_proxy::proxy", write_};
  size_t linesLost_ = 0;
  Loop loop_;
  UniqueFd signals_;
  bool stopping_ = false;
  Report report_{loop_, forward_, log_, [this] { return counters(); }};
  Engine engine_{[this] { loop_.post([this] { tellEvents(); }); }};  // the last member: it uses the others
};

int Forwarder::run() {
  const int status = start();
  if (status != 0) return status;
  loop_.run();
  return 0;
}

int Forwarder::start() {
  Opened signals = openStopSignals();
  signals_ = std::move(signals.fd);
  int error = signals_ ? loop_.open() : signals.error;
  if (error == 0) error = loop_.watch(signals_.get(), EPOLLIN, *this);
  if (error == 0) error = engine_.start(1, kScratch);
  if (error != 0) return fail("Could not start: " + describeErrno(error));
  raiseDescriptorLimit();

  ListenSpec spec;
  spec.on = forward_.on;
  spec.limits.connections = forward_.maxConnections;
  spec.limits.vsockBufferBytes = kVsockBufferBytes;
  spec.timeouts.connect = forward_.connectTimeout;
  spec.timeouts.idle = forward_.idleTimeout;
  // Without anyone who reads them, thousands of lines a second would be composed for nothing.
  spec.report = log_.enables(Level::Info) ? ReportKind::Lifecycle : ReportKind::Failures;
  const Engine::Listening listening = engine_.listen(spec);
  if (listening.error != 0) {
    return fail("Could not listen for connections: " +
                describeBindFailure(forward_.on, listening.error).line());
  }
  engine_.setUpstream(listening.id, {forward_.to});
  log_.info("Bound to " + describe(forward_.on));
  start_.info("Proxy is now in listening state");
  return 0;
}

void Forwarder::onReady(uint32_t) {
  for (int signal; (signal = takeSignal(signals_.get())) != 0;) stop(signal);
}

void Forwarder::stop(int signal) {
  if (stopping_) exitNow(kSignalled + signal);
  stopping_ = true;
  start_.info(signalName(signal) + " received: stopping. A second one ends the process at once");
  const uint64_t open = counters().active;
  engine_.drain(kDrain);
  log_.info("No new clients are accepted; " + count(open, "open connection") + " may take " +
            seconds(kDrain) + " to end");
}

void Forwarder::tellEvents() {
  for (const Event& event : engine_.takeEvents()) {
    std::visit(
        [this](const auto& one) {
          using One = std::decay_t<decltype(one)>;
          if constexpr (std::is_same_v<One, Drained>) {
            tell(one);
          } else if constexpr (!std::is_same_v<One, DecisionRequest> && !std::is_same_v<One, Listing>) {
            report_.tell(one);  // a fixed listener requests no decisions, and nobody wants a list here
          }
        },
        event);
  }
}

void Forwarder::tell(const Drained& drained) {
  report_.stop();
  if (drained.aborted == 0) {
    log_.info("All connections have ended");
  } else {
    log_.warn(count(drained.aborted, "connection") + " still open after " + seconds(kDrain) + ": reset");
  }
  loop_.stop();
}

void Forwarder::write(Level level, const std::string& target, const std::string& message) {
  const auto put = [&](Level of, const std::string& text) {
    return writeStderr(formatLine(wallSeconds(), of, target, text));
  };
  if (linesLost_ != 0 && put(Level::Warn, std::to_string(linesLost_) +
                                              " log lines were lost: standard error did not take them")) {
    linesLost_ = 0;
  }
  if (!put(level, message)) ++linesLost_;
}

ListenerCounters Forwarder::counters() {
  const auto all = engine_.counters();
  return all.empty() ? ListenerCounters() : all.front();
}

int run(const Forward& forward) {
  const char* spec = std::getenv("RUST_LOG");
  const LogFilter filter = parseLogFilter(spec == nullptr ? "" : spec);
  for (const std::string& warning : filter.warnings) writeStderr("warning: " + warning + "\n");
  return Forwarder(forward, filter).run();
}

int run(const Text& text) { return writeStdout(text.text) ? 0 : kCannotRun; }

int run(const UsageError& error) {
  writeStderr(error.text);
  return kUsage;
}

}  // namespace

int runForwarder(const std::string& program, const std::vector<std::string>& arguments) {
  const auto invocation = parseArguments(program, arguments, VSOCK_PROXY_VERSION);
  return std::visit([](const auto& what) { return run(what); }, invocation);
}

}  // namespace vsock_proxy
