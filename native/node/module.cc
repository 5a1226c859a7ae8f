// What the addon exports: the data plane as src/dataplane/addon.ts calls it, and what a process has to do and
// Node.js cannot. Decides nothing, and trusts its callers in src/dataplane to pass what the contract says.

#include "events.h"
#include "messages.h"
#include "process.h"
#include "values.h"
#include "vsock.h"

namespace vsock_proxy {
namespace {

// The arguments of a call, and the data plane of this environment.
class Call {
 public:
  Call(napi_env env, napi_callback_info info) : js(env) {
    size_t count = kMost;
    js.check(napi_get_cb_info(env, info, &count, arguments_, nullptr, nullptr));
    js.check(napi_get_instance_data(env, reinterpret_cast<void**>(&plane_)));
  }
  const Values js;
  napi_value argument(size_t index) const { return arguments_[index]; }
  template <class Integer>
  Integer integer(size_t index) const {
    return js.toInteger<Integer>(arguments_[index]);
  }
  Plane& plane() const { return *plane_; }

 private:
  static constexpr size_t kMost = 2;
  napi_value arguments_[kMost] = {};
  Plane* plane_ = nullptr;
};

// start(threads, deliver) → errno; `deliver` as of Plane::start
napi_value start(const Call& call) {
  return call.js.integer(call.plane().start(call.js, call.integer<unsigned>(0), call.argument(1)));
}

// listen(spec) → {id, on, call, error}
napi_value listen(const Call& call) {
  const Engine::Listening listening = call.plane().engine().listen(toListenSpec(call.js, call.argument(0)));
  napi_value result = call.js.object({{"id", call.js.integer(listening.id)},
                                      {"call", call.js.text(listening.call == nullptr ? "" : listening.call)},
                                      {"error", call.js.integer(listening.error)}});
  if (listening.error == 0) call.js.set(result, "on", toJs(call.js, listening.on));
  return result;
}

// setUpstream(listener, addresses[])
napi_value setUpstream(const Call& call) {
  call.plane().engine().setUpstream(call.integer<ListenerId>(0), toAddresses(call.js, call.argument(1)));
  return call.js.undefined();
}

// decide(connection, decision)
napi_value decide(const Call& call) {
  call.plane().decide({call.integer<ConnectionId>(0), toDecision(call.js, call.argument(1))});
  return call.js.undefined();
}

// closeListener(listener)
napi_value closeListener(const Call& call) {
  call.plane().engine().closeListener(call.integer<ListenerId>(0));
  return call.js.undefined();
}

// drain(deadlineMs)
napi_value drain(const Call& call) {
  call.plane().engine().drain(toMicros(call.js, call.argument(0)));
  return call.js.undefined();
}

// counters() → ListenerCounters[]
napi_value counters(const Call& call) {
  napi_value all = call.js.array();
  const Micros now = monotonicMicros();
  napi_value bounds = histogramBounds(call.js);
  for (const ListenerCounters& one : call.plane().engine().counters()) {
    call.js.push(all, toJs(call.js, one, now, bounds));
  }
  return all;
}

// clients() → ClientCounters[]
napi_value clients(const Call& call) {
  napi_value all = call.js.array();
  for (const ClientCounters& one : call.plane().engine().clients()) call.js.push(all, toJs(call.js, one));
  return all;
}

// list(number): each thread tells of its connections, by an event `listing`
napi_value list(const Call& call) {
  call.plane().engine().list(call.integer<uint64_t>(0));
  return call.js.undefined();
}

// threadSeconds() → number[]
napi_value threadSeconds(const Call& call) {
  napi_value all = call.js.array();
  for (const double seconds : call.plane().engine().threadSeconds())
    call.js.push(all, call.js.number(seconds));
  return all;
}

// beat() → whether every thread has run since the last call
napi_value beat(const Call& call) { return call.js.boolean(call.plane().engine().beat()); }

// stop()
napi_value stop(const Call& call) {
  call.plane().stop();
  return call.js.undefined();
}

// sendDatagram(path, text) → errno
napi_value sendDatagram(const Call& call) {
  const std::string path = call.js.toText(call.argument(0));
  return call.js.integer(vsock_proxy::sendDatagram(path, call.js.toText(call.argument(1))));
}

// bringUpLoopback() → {call, error}
napi_value bringUpLoopback(const Call& call) {
  const Outcome outcome = vsock_proxy::bringUpLoopback();
  return call.js.object({{"call", call.js.text(outcome.call)}, {"error", call.js.integer(outcome.error)}});
}

// addLoopbackAddress(ip, prefixLength) → errno
napi_value addLoopbackAddress(const Call& call) {
  const std::string ip = call.js.toText(call.argument(0));
  return call.js.integer(vsock_proxy::addLoopbackAddress(ip, call.integer<unsigned>(1)));
}

// openPipe() → {read, write, error}
napi_value openPipe(const Call& call) {
  const PipeEnds ends = vsock_proxy::openPipe();
  return call.js.object({{"read", call.js.integer(ends.read)},
                         {"write", call.js.integer(ends.write)},
                         {"error", call.js.integer(ends.error)}});
}

// unblockSignals()
napi_value unblockSignals(const Call& call) {
  vsock_proxy::unblockSignals();
  return call.js.undefined();
}

// reapOrphans(own)
napi_value reapOrphans(const Call& call) {
  vsock_proxy::reapOrphans(call.integer<pid_t>(0));
  return call.js.undefined();
}

// vsockSupport() → {error, cid, cidError}
napi_value vsockSupport(const Call& call) {
  const VsockSupport support = vsock_proxy::vsockSupport();
  return call.js.object({{"error", call.js.integer(support.error)},
                         {"cid", call.js.integer(support.cid)},
                         {"cidError", call.js.integer(support.cidError)}});
}

// vsockListeners() → {error, listeners: {cid, port, inode}[]}
napi_value vsockListeners(const Call& call) {
  std::vector<VsockListener> found;
  const int error = vsock_proxy::vsockListeners(found);
  napi_value listeners = call.js.array();
  for (const VsockListener& one : found) {
    call.js.push(listeners, call.js.object({{"cid", call.js.integer(one.cid)},
                                            {"port", call.js.integer(one.port)},
                                            {"inode", call.js.integer(one.inode)}}));
  }
  return call.js.object({{"error", call.js.integer(error)}, {"listeners", listeners}});
}

// openMemoryFile(name) → {fd, error}
napi_value openMemoryFile(const Call& call) {
  const MemoryFile file = vsock_proxy::openMemoryFile(call.js.toText(call.argument(0)).c_str());
  return call.js.object({{"fd", call.js.integer(file.fd)}, {"error", call.js.integer(file.error)}});
}

// execute(fd, words) → errno, if at all
napi_value execute(const Call& call) {
  std::vector<std::string> words;
  for (uint32_t i = 0; i < call.js.length(call.argument(1)); ++i) {
    words.push_back(call.js.toText(call.js.at(call.argument(1), i)));
  }
  return call.js.integer(vsock_proxy::execute(call.integer<int>(0), words));
}

template <napi_value (*body)(const Call&)>
napi_value function(napi_env env, napi_callback_info info) {
  return guarded(env, [&] { return body(Call(env, info)); });
}

template <napi_value (*body)(const Call&)>
napi_property_descriptor exported(const char* name) {
  return {name, nullptr, function<body>, nullptr, nullptr, nullptr, napi_enumerable, nullptr};
}

napi_property_descriptor exported(const char* name, napi_value value) {
  return {name, nullptr, nullptr, nullptr, nullptr, value, napi_enumerable, nullptr};
}

napi_value init(const Values& js, napi_value exports) {
  const auto destroy = [](napi_env, void* plane, void*) {
    static_cast<Plane*>(plane)->stop();
    delete static_cast<Plane*>(plane);
  };
  js.check(napi_set_instance_data(js.env(), new Plane, destroy, nullptr));
  const napi_property_descriptor all[] = {
      exported("names", namesToJs(js)),
      exported("limits", limitsToJs(js)),
      exported<start>("start"),
      exported<listen>("listen"),
      exported<setUpstream>("setUpstream"),
      exported<decide>("decide"),
      exported<closeListener>("closeListener"),
      exported<drain>("drain"),
      exported<counters>("counters"),
      exported<clients>("clients"),
      exported<list>("list"),
      exported<threadSeconds>("threadSeconds"),
      exported<beat>("beat"),
      exported<stop>("stop"),
      exported<sendDatagram>("sendDatagram"),
      exported<bringUpLoopback>("bringUpLoopback"),
      exported<addLoopbackAddress>("addLoopbackAddress"),
      exported<openPipe>("openPipe"),
      exported<unblockSignals>("unblockSignals"),
      exported<reapOrphans>("reapOrphans"),
      exported<vsockSupport>("vsockSupport"),
      exported<vsockListeners>("vsockListeners"),
      exported<openMemoryFile>("openMemoryFile"),
      exported<execute>("execute"),
  };
  js.check(napi_define_properties(js.env(), exports, std::size(all), all));
  return exports;
}

}  // namespace
}  // namespace vsock_proxy

NAPI_MODULE_INIT() {
  return vsock_proxy::guarded(env, [&] { return vsock_proxy::init(vsock_proxy::Values(env), exports); });
}
