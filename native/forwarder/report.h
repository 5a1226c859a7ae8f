// Turns events of the data plane into log lines, with the words of vsock-proxy.

#pragma once

#include <functional>
#include <vector>

#include "../core/listener.h"
#include "../core/messages.h"
#include "arguments.h"
#include "log.h"
#include "throttle.h"

namespace vsock_proxy {

class Report {
 public:
  // `counters` returns the current counters of the listener.
  Report(Loop& loop, const Forward& forward, const Log& log, std::function<ListenerCounters()> counters);

  void tell(const Progress& progress);
  void tell(const CloseRecord& record);
  void tell(const Fault& fault);
  // Logs everything that is held back.
  void stop() { throttle_.stop(); }

 private:
  void tellLimit();
  void tellAcceptFailure(const Fault& fault);
  std::string describeClient(const Address& client) const;
  std::string describeEnd(const CloseRecord& record) const;
  std::string describeRecord(const CloseRecord& record) const;

  const Forward& forward_;
  const Log& log_;
  const std::function<ListenerCounters()> counters_;
  ListenerCounters told_;  // what the lines about the limit have already reported
  Throttle throttle_;
};

}  // namespace vsock_proxy
