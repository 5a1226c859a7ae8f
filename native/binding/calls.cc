#include "calls.h"

#include <iterator>

#include "messages.h"
#include "process.h"
#include "sha256.h"

namespace vsock_proxy {
namespace {

// listen(spec) → {id, on, call, error}
Value listen(const Call& call) {
  const Engine::Listening listening = call.plane.engine().listen(toListenSpec(call.js, call.argument(0)));
  Value result = call.js.object({{"id", call.js.integer(listening.id)},
                                 {"call", call.js.text(listening.call == nullptr ? "" : listening.call)},
                                 {"error", call.js.integer(listening.error)}});
  if (listening.error == 0) call.js.set(result, "on", toJs(call.js, listening.on));
  return result;
}

// setUpstream(listener, addresses[])
Value setUpstream(const Call& call) {
  call.plane.engine().setUpstream(call.integer<ListenerId>(0), toAddresses(call.js, call.argument(1)));
  return call.js.undefined();
}

// decide(connection, decision)
Value decide(const Call& call) {
  call.plane.decide({call.integer<ConnectionId>(0), toDecision(call.js, call.argument(1))});
  return call.js.undefined();
}

// closeListener(listener)
Value closeListener(const Call& call) {
  call.plane.engine().closeListener(call.integer<ListenerId>(0));
  return call.js.undefined();
}

// forget(listener)
Value forget(const Call& call) {
  call.plane.engine().forget(call.integer<ListenerId>(0));
  return call.js.undefined();
}

// drain(deadlineMs)
Value drain(const Call& call) {
  call.plane.engine().drain(toMicros(call.js, call.argument(0)));
  return call.js.undefined();
}

// counters() → ListenerCounters[]
Value counters(const Call& call) {
  Value all = call.js.array();
  const Micros now = monotonicMicros();
  Value bounds = histogramBounds(call.js);
  for (const ListenerCounters& one : call.plane.engine().counters()) {
    call.js.push(all, toJs(call.js, one, now, bounds));
  }
  return all;
}

// clients() → ClientCounters[]
Value clients(const Call& call) {
  Value all = call.js.array();
  for (const ClientCounters& one : call.plane.engine().clients()) call.js.push(all, toJs(call.js, one));
  return all;
}

// list(number): each thread lists its connections, in an event `listing`
Value list(const Call& call) {
  call.plane.engine().list(call.integer<uint64_t>(0));
  return call.js.undefined();
}

// threadSeconds() → number[]
Value threadSeconds(const Call& call) {
  Value all = call.js.array();
  for (const double seconds : call.plane.engine().threadSeconds()) call.js.push(all, call.js.number(seconds));
  return all;
}

// beat() → whether every thread has run since the last call
Value beat(const Call& call) { return call.js.boolean(call.plane.engine().beat()); }

// sendDatagram(path, text) → errno
Value sendDatagram(const Call& call) {
  const std::string path = call.js.toText(call.argument(0));
  return call.js.integer(vsock_proxy::sendDatagram(path, call.js.toText(call.argument(1))));
}

// sha256(bytes) → digest in hexadecimal
Value sha256(const Call& call) {
  return call.js.text(vsock_proxy::sha256(call.js.toBytes(call.argument(0))));
}

// bringUpLoopback() → {call, error}
Value bringUpLoopback(const Call& call) {
  const Outcome outcome = vsock_proxy::bringUpLoopback();
  return call.js.object({{"call", call.js.text(outcome.call)}, {"error", call.js.integer(outcome.error)}});
}

// addLoopbackAddress(ip, prefixLength) → errno
Value addLoopbackAddress(const Call& call) {
  const std::string ip = call.js.toText(call.argument(0));
  return call.js.integer(vsock_proxy::addLoopbackAddress(ip, call.integer<unsigned>(1)));
}

// openPipe() → {read, write, error}
Value openPipe(const Call& call) {
  const PipeEnds ends = vsock_proxy::openPipe();
  return call.js.object({{"read", call.js.integer(ends.read)},
                         {"write", call.js.integer(ends.write)},
                         {"error", call.js.integer(ends.error)}});
}

// reapOrphans(own)
Value reapOrphans(const Call& call) {
  vsock_proxy::reapOrphans(call.integer<pid_t>(0));
  return call.js.undefined();
}

}  // namespace

const NamedCall kDataPlaneCalls[] = {
    {"listen", listen},
    {"setUpstream", setUpstream},
    {"decide", decide},
    {"closeListener", closeListener},
    {"forget", forget},
    {"drain", drain},
    {"counters", counters},
    {"clients", clients},
    {"list", list},
    {"threadSeconds", threadSeconds},
    {"beat", beat},
    {"sendDatagram", sendDatagram},
    {"sha256", sha256},
    {"bringUpLoopback", bringUpLoopback},
    {"addLoopbackAddress", addLoopbackAddress},
    {"openPipe", openPipe},
    {"reapOrphans", reapOrphans},
};
const size_t kDataPlaneCallCount = std::size(kDataPlaneCalls);

}  // namespace vsock_proxy
