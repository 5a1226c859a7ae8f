// The seam: src/dataplane/contract.ts in terms of N-API. Decides nothing, and trusts its one caller,
// src/dataplane/addon.ts, to pass what the contract says.

#include <node_api.h>

#include <memory>
#include <string>

#include "engine.h"

namespace vsock_proxy {
namespace {

constexpr double kMicrosPerMs = 1000;

struct Instance {
  std::unique_ptr<Engine> engine;
  napi_threadsafe_function deliver = nullptr;
};

// JavaScript values as the contract has them. A failing N-API call leaves an exception pending, and
// what is built after it goes nowhere.
class Js {
 public:
  explicit Js(napi_env env) : env_(env) {}

  napi_value undefined() {
    napi_value value;
    napi_get_undefined(env_, &value);
    return value;
  }
  napi_value number(double number) {
    napi_value value;
    napi_create_double(env_, number, &value);
    return value;
  }
  napi_value text(const char* text) {
    napi_value value;
    napi_create_string_utf8(env_, text, NAPI_AUTO_LENGTH, &value);
    return value;
  }
  napi_value object() {
    napi_value value;
    napi_create_object(env_, &value);
    return value;
  }
  napi_value array() {
    napi_value value;
    napi_create_array(env_, &value);
    return value;
  }
  void set(napi_value object, const char* key, napi_value value) {
    napi_set_named_property(env_, object, key, value);
  }
  void push(napi_value array, napi_value value) { napi_set_element(env_, array, length(array), value); }

  uint32_t length(napi_value array) {
    uint32_t length = 0;
    napi_get_array_length(env_, array, &length);
    return length;
  }
  napi_value at(napi_value array, uint32_t index) {
    napi_value value;
    napi_get_element(env_, array, index, &value);
    return value;
  }
  napi_value get(napi_value object, const char* key) {
    napi_value value;
    napi_get_named_property(env_, object, key, &value);
    return value;
  }
  double toNumber(napi_value value) {
    double number = 0;
    napi_get_value_double(env_, value, &number);
    return number;
  }
  bool toBool(napi_value value) {
    bool flag = false;
    napi_get_value_bool(env_, value, &flag);
    return flag;
  }
  std::string toText(napi_value value) {
    size_t size = 0;
    napi_get_value_string_utf8(env_, value, nullptr, 0, &size);
    std::string text(size, '\0');
    napi_get_value_string_utf8(env_, value, text.data(), size + 1, &size);
    return text;
  }

  Address toAddress(napi_value value) {
    const std::string family = toText(get(value, "family"));
    if (family == "unix") return Address::unixPath(toText(get(value, "path")));
    const auto port = static_cast<uint32_t>(toNumber(get(value, "port")));
    if (family == "tcp") return Address::tcp(toText(get(value, "ip")), static_cast<uint16_t>(port));
    return Address::vsock(static_cast<uint32_t>(toNumber(get(value, "cid"))), port);
  }
  Micros toMicros(napi_value ms) { return static_cast<Micros>(toNumber(ms) * kMicrosPerMs); }

  napi_value address(const Address& address) {
    napi_value value = object();
    switch (address.family()) {
      case AF_VSOCK:
        set(value, "family", text("vsock"));
        set(value, "cid", number(address.cid()));
        set(value, "port", number(address.port()));
        break;
      case AF_UNIX:
        set(value, "family", text("unix"));
        set(value, "path", text(address.path().c_str()));
        break;
      default:
        set(value, "family", text("tcp"));
        set(value, "ip", text(address.ip().c_str()));
        set(value, "port", number(address.port()));
    }
    return value;
  }

  napi_value operator()(const Progress& progress) {
    napi_value value = object();
    const bool connected = progress.step == Progress::Step::Connected;
    set(value, "step", text(connected ? "connected" : "accepted"));
    set(value, "listener", number(progress.listener));
    set(value, "connection", number(static_cast<double>(progress.connection)));
    set(value, "client", address(progress.client));
    if (connected) set(value, "server", address(progress.server));
    return value;
  }

  // `phase`, `reason`, `endedBy`: as numbers, in the order of record.h. `error`: an errno or 0.
  napi_value operator()(const CloseRecord& record) {
    napi_value value = object();
    set(value, "listener", number(record.listener));
    set(value, "connection", number(static_cast<double>(record.connection)));
    set(value, "client", address(record.client));
    if (record.server.family() != AF_UNSPEC) set(value, "server", address(record.server));
    set(value, "bytesUp", number(static_cast<double>(record.bytesUp)));
    set(value, "bytesDown", number(static_cast<double>(record.bytesDown)));
    set(value, "queuedMs", number(static_cast<double>(record.queuedMicros) / kMicrosPerMs));
    set(value, "connectMs", number(static_cast<double>(record.connectMicros) / kMicrosPerMs));
    set(value, "totalMs", number(static_cast<double>(record.totalMicros) / kMicrosPerMs));
    set(value, "phase", number(static_cast<double>(record.phase)));
    set(value, "reason", number(static_cast<double>(record.reason)));
    set(value, "endedBy", number(static_cast<double>(record.endedBy)));
    set(value, "error", number(record.error));
    return value;
  }

  napi_value operator()(const Fault& fault) {
    napi_value value = object();
    set(value, "kind", text(fault.kind == Fault::Kind::Limit ? "limit" : "accept"));
    set(value, "listener", number(fault.listener));
    set(value, "error", number(fault.error));
    return value;
  }

  napi_value operator()(const Drained& drained) { return number(static_cast<double>(drained.aborted)); }

  napi_value operator()(const ListenerCounters& counters, Micros now) {
    napi_value value = object();
    set(value, "listener", number(counters.listener));
    set(value, "accepted", number(static_cast<double>(counters.accepted)));
    set(value, "active", number(static_cast<double>(counters.active)));
    set(value, "bytesUp", number(static_cast<double>(counters.bytesUp)));
    set(value, "bytesDown", number(static_cast<double>(counters.bytesDown)));
    napi_value closed = array();
    for (const uint64_t count : counters.closed) push(closed, number(static_cast<double>(count)));
    set(value, "closed", closed);
    set(value, "limitHits", number(static_cast<double>(counters.limitHits)));
    set(value, "limitWaitMs", number(static_cast<double>(counters.limitWaitMicros) / kMicrosPerMs));
    const Micros waiting = counters.waitingSince == 0 ? 0 : now - counters.waitingSince;
    set(value, "waitingMs", number(static_cast<double>(waiting) / kMicrosPerMs));
    return value;
  }

 private:
  napi_env env_;
};

// The arguments of a call, and the instance it belongs to.
struct Call {
  Call(napi_env env, napi_callback_info info) : js(env) {
    size_t count = 2;
    napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr);
    napi_get_instance_data(env, reinterpret_cast<void**>(&instance));
  }
  Js js;
  napi_value arguments[2] = {};
  Instance* instance = nullptr;
};

// Runs on the JavaScript thread: deliver(progress[], closes[], faults[], aborted when drained, asks[]).
void deliverEvents(napi_env env, napi_value deliver, void* context, void*) {
  if (env == nullptr) return;
  auto* instance = static_cast<Instance*>(context);
  if (!instance->engine) return;
  Js js(env);
  napi_value arguments[] = {js.array(), js.array(), js.array(), js.undefined(), js.array()};
  for (const Event& event : instance->engine->takeEvents()) {
    const size_t kind = event.index();
    if (std::holds_alternative<Drained>(event)) {
      arguments[kind] = std::visit(js, event);
      continue;
    }
    napi_handle_scope scope;
    napi_open_handle_scope(env, &scope);
    js.push(arguments[kind], std::visit(js, event));
    napi_close_handle_scope(env, scope);
  }
  napi_call_function(env, js.undefined(), deliver, 5, arguments, nullptr);
}

void stopEngine(napi_env, Instance* instance) {
  if (!instance->engine) return;
  instance->engine.reset();
  napi_release_threadsafe_function(instance->deliver, napi_tsfn_abort);
}

// start(threads, deliver) → errno
napi_value start(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Instance* instance = call.instance;
  napi_create_threadsafe_function(env, call.arguments[1], nullptr, call.js.text("vsock-proxy"), 0, 1, nullptr,
                                  nullptr, instance, deliverEvents, &instance->deliver);
  instance->engine = std::make_unique<Engine>(
      [instance] { napi_call_threadsafe_function(instance->deliver, nullptr, napi_tsfn_nonblocking); });
  const int error = instance->engine->start(static_cast<unsigned>(call.js.toNumber(call.arguments[0])));
  if (error != 0) stopEngine(env, instance);
  return call.js.number(error);
}

// listen(spec) → {id, on, call, error}
napi_value listen(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Js& js = call.js;
  napi_value from = call.arguments[0];
  ListenSpec spec;
  spec.on = js.toAddress(js.get(from, "on"));
  spec.maxConnections = static_cast<uint32_t>(js.toNumber(js.get(from, "maxConnections")));
  napi_value timeouts = js.get(from, "timeouts");
  spec.timeouts.connect = js.toMicros(js.get(timeouts, "connectMs"));
  spec.timeouts.idle = js.toMicros(js.get(timeouts, "idleMs"));
  spec.reportLifecycle = js.toText(js.get(from, "report")) == "lifecycle";
  const Engine::Listening listening = call.instance->engine->listen(spec);
  napi_value result = js.object();
  js.set(result, "id", js.number(listening.id));
  js.set(result, "on", js.address(spec.on));
  js.set(result, "call", js.text(listening.call == nullptr ? "" : listening.call));
  js.set(result, "error", js.number(listening.error));
  return result;
}

// setUpstream(listener, addresses[])
napi_value setUpstream(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Js& js = call.js;
  std::vector<Address> addresses;
  for (uint32_t i = 0; i < js.length(call.arguments[1]); ++i) {
    addresses.push_back(js.toAddress(js.at(call.arguments[1], i)));
  }
  call.instance->engine->setUpstream(static_cast<ListenerId>(js.toNumber(call.arguments[0])),
                                     std::move(addresses));
  return js.undefined();
}

// closeListener(listener)
napi_value closeListener(napi_env env, napi_callback_info info) {
  Call call(env, info);
  call.instance->engine->closeListener(static_cast<ListenerId>(call.js.toNumber(call.arguments[0])));
  return call.js.undefined();
}

// drain(deadlineMs)
napi_value drain(napi_env env, napi_callback_info info) {
  Call call(env, info);
  call.instance->engine->drain(call.js.toMicros(call.arguments[0]));
  return call.js.undefined();
}

// counters() → ListenerCounters[], `closed` in the order of record.h
napi_value counters(napi_env env, napi_callback_info info) {
  Call call(env, info);
  napi_value all = call.js.array();
  const Micros now = monotonicMicros();
  for (const ListenerCounters& one : call.instance->engine->counters()) call.js.push(all, call.js(one, now));
  return all;
}

// stop()
napi_value stop(napi_env env, napi_callback_info info) {
  Call call(env, info);
  stopEngine(env, call.instance);
  return call.js.undefined();
}

void onEnvironmentEnd(napi_env env, void* data, void*) {
  auto* instance = static_cast<Instance*>(data);
  stopEngine(env, instance);
  delete instance;
}

napi_value init(napi_env env, napi_value exports) {
  napi_set_instance_data(env, new Instance, onEnvironmentEnd, nullptr);
  const napi_property_descriptor functions[] = {
      {"start", nullptr, start, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"listen", nullptr, listen, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"setUpstream", nullptr, setUpstream, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"closeListener", nullptr, closeListener, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"drain", nullptr, drain, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"counters", nullptr, counters, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"stop", nullptr, stop, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
  };
  napi_define_properties(env, exports, sizeof functions / sizeof *functions, functions);
  return exports;
}

}  // namespace
}  // namespace vsock_proxy

NAPI_MODULE_INIT() { return vsock_proxy::init(env, exports); }
