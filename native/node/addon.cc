// The seam: src/dataplane/contract.ts in terms of N-API. Decides nothing, and trusts its one caller,
// src/dataplane/addon.ts, to pass what the contract says.

#include <node_api.h>

#include <algorithm>
#include <memory>
#include <string>

#include "../core/engine.h"
#include "process.h"
#include "vsock.h"

namespace vsock_proxy {
namespace {

constexpr double kMicrosPerMs = 1000;

// Answers that are collected before the threads that wait for them are woken. Each wake-up costs as much as
// some answers, for whoever is woken interrupts who answers; but no thread shall stand still while many are
// made.
constexpr size_t kDecisionsPerWakeup = 16;

struct Instance {
  std::unique_ptr<Engine> engine;
  napi_threadsafe_function deliver = nullptr;
  napi_ref onHead = nullptr;
  bool delivering = false;
  std::vector<ConnectionDecision> decisions;

  void take(ConnectionDecision decided) {
    decisions.push_back(std::move(decided));
    if (!delivering || decisions.size() == kDecisionsPerWakeup) sendDecisions();
  }
  void sendDecisions() {
    if (engine && !decisions.empty()) engine->decide(std::move(decisions));
    decisions.clear();
  }
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
  size_t toSize(napi_value value) { return static_cast<size_t>(toNumber(value)); }
  bool toBool(napi_value value) {
    bool flag = false;
    napi_get_value_bool(env_, value, &flag);
    return flag;
  }
  bool has(napi_value object, const char* key) {
    bool has = false;
    napi_has_named_property(env_, object, key, &has);
    return has;
  }
  napi_value boolean(bool flag) {
    napi_value value;
    napi_get_boolean(env_, flag, &value);
    return value;
  }
  napi_value bytes(const std::string& bytes) {
    void* data = nullptr;
    napi_value buffer;
    napi_create_arraybuffer(env_, bytes.size(), &data, &buffer);
    std::copy(bytes.begin(), bytes.end(), static_cast<char*>(data));
    napi_value array;
    napi_create_typedarray(env_, napi_uint8_array, bytes.size(), buffer, 0, &array);
    return array;
  }
  // Of a Uint8Array; empty for anything else.
  std::string toBytes(napi_value value) {
    bool isArray = false;
    napi_is_typedarray(env_, value, &isArray);
    if (!isArray) return "";
    size_t size = 0;
    void* data = nullptr;
    napi_get_typedarray_info(env_, value, nullptr, &size, &data, nullptr, nullptr);
    return {static_cast<const char*>(data), size};
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
  std::vector<Address> toAddresses(napi_value list) {
    std::vector<Address> addresses;
    for (uint32_t i = 0; i < length(list); ++i) addresses.push_back(toAddress(at(list, i)));
    return addresses;
  }
  Admission toAdmission(napi_value from) {
    Admission admission;
    if (has(from, "cids")) {
      napi_value cids = get(from, "cids");
      admission.cids.emplace();
      for (uint32_t i = 0; i < length(cids); ++i) {
        admission.cids->push_back(static_cast<uint32_t>(toNumber(at(cids, i))));
      }
    }
    if (has(from, "sources")) {
      napi_value sources = get(from, "sources");
      admission.sources.emplace();
      for (uint32_t i = 0; i < length(sources); ++i) {
        napi_value source = at(sources, i);
        admission.sources->push_back({Address::tcp(toText(get(source, "ip")), 0),
                                      static_cast<unsigned>(toNumber(get(source, "prefixLength")))});
      }
    }
    return admission;
  }
  Body toBody(napi_value from) {
    const std::string kind = toText(get(from, "kind"));
    if (kind == "chunked") return Body::chunked();
    if (kind == "length") return Body::length(static_cast<uint64_t>(toNumber(get(from, "bytes"))));
    return Body::none();
  }
  // Any but `connect`. What a decision's action does not have stays as it is in an empty one.
  Decision toDecision(napi_value from) {
    Decision decision;
    const std::string action = toText(get(from, "action"));
    if (has(from, "target")) decision.target = static_cast<TargetId>(toNumber(get(from, "target")));
    if (has(from, "toClient")) decision.toClient = toBytes(get(from, "toClient"));
    if (has(from, "toServer")) decision.toServer = toBytes(get(from, "toServer"));
    if (has(from, "consume")) decision.consume = toSize(get(from, "consume"));
    if (has(from, "addresses")) decision.addresses = toAddresses(get(from, "addresses"));
    if (action == "more") {
      decision.action = Decision::Action::More;
      if (has(from, "atLeast")) decision.atLeast = toSize(get(from, "atLeast"));
      if (has(from, "until")) decision.until = static_cast<int>(toNumber(get(from, "until")));
    } else if (action == "exchange") {
      decision.action = Decision::Action::Exchange;
      decision.body = toBody(get(from, "body"));
    } else if (action == "interim") {
      decision.action = Decision::Action::Interim;
    } else if (action == "relay") {
      decision.action = Decision::Action::Relay;
    } else if (action == "respond") {
      decision.action = Decision::Action::Respond;
      napi_value body = get(from, "body");
      decision.body = toBody(body);
      decision.untilEof = toText(get(body, "kind")) == "eof";
      decision.next = toBool(get(from, "next"));
    } else {
      decision.reason = toReason(toText(get(from, "reason")));
    }
    return decision;
  }
  static CloseReason toReason(const std::string& reason) {
    if (reason == "denied") return CloseReason::Denied;
    if (reason == "malformed") return CloseReason::Malformed;
    if (reason == "no-upstream") return CloseReason::NoUpstream;
    if (reason == "connect-failed") return CloseReason::ConnectFailed;
    if (reason == "connect-timeout") return CloseReason::ConnectTimeout;
    return CloseReason::Internal;
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
    setTarget(value, progress.target);
    return value;
  }

  // `phase`, `reason`, `endedBy`: as numbers, in the order of messages.h. `error`: an errno or 0.
  napi_value operator()(const CloseRecord& record) {
    napi_value value = object();
    set(value, "listener", number(record.listener));
    set(value, "connection", number(static_cast<double>(record.connection)));
    set(value, "client", address(record.client));
    if (record.server.family() != AF_UNSPEC) set(value, "server", address(record.server));
    setTarget(value, record.target);
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
    set(value, "kind", text(kindOf(fault)));
    set(value, "listener", number(fault.listener));
    set(value, "error", number(fault.error));
    if (fault.client.family() != AF_UNSPEC) set(value, "client", address(fault.client));
    return value;
  }
  static const char* kindOf(const Fault& fault) {
    switch (fault.kind) {
      case Fault::Kind::Limit:
        return "limit";
      case Fault::Kind::Accept:
        return "accept";
      case Fault::Kind::NotAdmitted:
        return "not-admitted";
      case Fault::Kind::ClientLimit:
        return "client-limit";
      case Fault::Kind::ClientRate:
        return "client-rate";
    }
    return "";
  }

  // `reason`: as a number, in the order of messages.h. `error`: an errno or 0.
  napi_value operator()(const DecisionRequest& request) {
    napi_value value = object();
    set(value, "kind", text(kindOf(request)));
    set(value, "listener", number(request.listener));
    set(value, "connection", number(static_cast<double>(request.connection)));
    set(value, "client", address(request.client));
    setTarget(value, request.target);
    switch (request.kind) {
      case DecisionRequest::Kind::Client:
        set(value, "local", address(request.local));
        break;
      case DecisionRequest::Kind::Head:  // deliverHead
        break;
      case DecisionRequest::Kind::Response:
        set(value, "bytes", bytes(request.bytes));
        set(value, "ended", boolean(request.ended));
        break;
      case DecisionRequest::Kind::Failed:
        set(value, "reason", number(static_cast<double>(request.reason)));
        set(value, "error", number(request.error));
        if (request.server.family() != AF_UNSPEC) set(value, "server", address(request.server));
    }
    return value;
  }
  static const char* kindOf(const DecisionRequest& request) {
    switch (request.kind) {
      case DecisionRequest::Kind::Client:
        return "client";
      case DecisionRequest::Kind::Head:
        return "head";
      case DecisionRequest::Kind::Response:
        return "response";
      case DecisionRequest::Kind::Failed:
        return "failed";
    }
    return "";
  }
  void setTarget(napi_value value, TargetId target) {
    if (target != kNoTarget) set(value, "target", number(static_cast<double>(target)));
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
    size_t count = sizeof arguments / sizeof *arguments;
    napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr);
    napi_get_instance_data(env, reinterpret_cast<void**>(&instance));
  }
  Js js;
  napi_value arguments[11] = {};
  Instance* instance = nullptr;
};

// onHead(listener, connection, family, cid, port, path or ip, bytes, ended): the question that is asked more
// often than all others, without the cost of an object with named properties.
void deliverHead(napi_env env, const Instance& instance, const DecisionRequest& request) {
  Js js(env);
  const Address& client = request.client;
  const bool isVsock = client.family() == AF_VSOCK;
  const bool isUnix = client.family() == AF_UNIX;
  napi_value arguments[] = {
      js.number(request.listener),
      js.number(static_cast<double>(request.connection)),
      js.number(isVsock  ? 0
                : isUnix ? 1
                         : 2),
      js.number(isVsock ? client.cid() : 0),
      js.number(isUnix ? 0 : client.port()),
      js.text(isVsock ? "" : (isUnix ? client.path() : client.ip()).c_str()),
      js.bytes(request.bytes),
      js.boolean(request.ended),
  };
  napi_value onHead;
  napi_get_reference_value(env, instance.onHead, &onHead);
  napi_call_function(env, js.undefined(), onHead, sizeof arguments / sizeof *arguments, arguments, nullptr);
}

// Runs on the JavaScript thread: onHead for each head, then deliver(progress[], closes[], faults[], aborted
// when drained, other asks[]).
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
    const DecisionRequest* request = std::get_if<DecisionRequest>(&event);
    if (request != nullptr && request->kind == DecisionRequest::Kind::Head) {
      deliverHead(env, *instance, *request);
    } else {
      js.push(arguments[kind], std::visit(js, event));
    }
    napi_close_handle_scope(env, scope);
  }
  instance->delivering = true;
  napi_call_function(env, js.undefined(), deliver, 5, arguments, nullptr);
  instance->delivering = false;
  instance->sendDecisions();
}

void stopEngine(napi_env env, Instance* instance) {
  if (!instance->engine) return;
  instance->engine.reset();
  napi_delete_reference(env, instance->onHead);
  napi_release_threadsafe_function(instance->deliver, napi_tsfn_abort);
}

// start(threads, deliver, onHead) → errno
napi_value start(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Instance* instance = call.instance;
  napi_create_threadsafe_function(env, call.arguments[1], nullptr, call.js.text("vsock-proxy"), 0, 1, nullptr,
                                  nullptr, instance, deliverEvents, &instance->deliver);
  napi_create_reference(env, call.arguments[2], 1, &instance->onHead);
  instance->engine = std::make_unique<Engine>(
      [instance] { napi_call_threadsafe_function(instance->deliver, nullptr, napi_tsfn_nonblocking); });
  const int error = instance->engine->start(static_cast<unsigned>(call.js.toNumber(call.arguments[0])));
  if (error != 0) stopEngine(env, instance);
  return call.js.number(error);
}

ListenerKind toKind(const std::string& kind) {
  if (kind == "decide-client") return ListenerKind::DecideClient;
  return kind == "decide-head" ? ListenerKind::DecideHead : ListenerKind::Fixed;
}

// listen(spec) → {id, on, call, error}
napi_value listen(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Js& js = call.js;
  napi_value from = call.arguments[0];
  ListenSpec spec;
  spec.kind = toKind(js.toText(js.get(from, "kind")));
  napi_value on = js.get(from, "on");
  const std::string family = js.toText(js.get(on, "family"));
  if (family == "inherited") {
    spec.inherited = static_cast<int>(js.toNumber(js.get(on, "fd")));
  } else if (family == "predecessor") {
    spec.predecessor = static_cast<ListenerId>(js.toNumber(js.get(on, "listener")));
  } else {
    spec.on = js.toAddress(on);
  }
  const auto count = [&](const char* key) { return static_cast<uint32_t>(js.toNumber(js.get(from, key))); };
  spec.maxConnections = count("maxConnections");
  spec.maxConnectionsPerClient = count("maxConnectionsPerClient");
  spec.ratePerClient = count("ratePerClient");
  spec.admission = js.toAdmission(js.get(from, "admission"));
  napi_value timeouts = js.get(from, "timeouts");
  spec.timeouts.connect = js.toMicros(js.get(timeouts, "connectMs"));
  spec.timeouts.idle = js.toMicros(js.get(timeouts, "idleMs"));
  spec.timeouts.head = js.toMicros(js.get(timeouts, "headMs"));
  spec.reportLifecycle = js.toText(js.get(from, "report")) == "lifecycle";
  const Engine::Listening listening = call.instance->engine->listen(spec);
  napi_value result = js.object();
  js.set(result, "id", js.number(listening.id));
  js.set(result, "on", js.address(listening.on));
  js.set(result, "call", js.text(listening.call == nullptr ? "" : listening.call));
  js.set(result, "error", js.number(listening.error));
  return result;
}

// setUpstream(listener, addresses[])
napi_value setUpstream(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Js& js = call.js;
  std::vector<Address> addresses = js.toAddresses(call.arguments[1]);
  call.instance->engine->setUpstream(static_cast<ListenerId>(js.toNumber(call.arguments[0])),
                                     std::move(addresses));
  return js.undefined();
}

// decide(connection, decision)
napi_value decide(napi_env env, napi_callback_info info) {
  Call call(env, info);
  call.instance->take({static_cast<ConnectionId>(call.js.toNumber(call.arguments[0])),
                       call.js.toDecision(call.arguments[1])});
  return call.js.undefined();
}

// connect(connection, target, consume, addresses, toServer, toClient, explain, handshake, cacheMs,
// cacheBytes, except): decide(…) with the decision that nearly all questions end in; `addresses` as of
// `addressList`, `except` as from, to, from, to …
napi_value connect(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Js& js = call.js;
  Decision decision;
  decision.action = Decision::Action::Connect;
  decision.target = static_cast<TargetId>(js.toNumber(call.arguments[1]));
  decision.consume = js.toSize(call.arguments[2]);
  void* addresses = nullptr;
  napi_get_value_external(env, call.arguments[3], &addresses);
  decision.addresses = *static_cast<std::vector<Address>*>(addresses);
  decision.toServer = js.toBytes(call.arguments[4]);
  decision.toClient = js.toBytes(call.arguments[5]);
  decision.explain = js.toBool(call.arguments[6]);
  decision.handshake = js.toBool(call.arguments[7]);
  decision.cache.lasts = js.toMicros(call.arguments[8]);
  if (decision.cache.lasts > 0) {
    decision.cache.bytes = js.toSize(call.arguments[9]);
    for (uint32_t i = 0; i + 1 < js.length(call.arguments[10]); i += 2) {
      const auto bound = [&](uint32_t index) { return js.toSize(js.at(call.arguments[10], index)); };
      decision.cache.except.push_back({bound(i), bound(i + 1)});
    }
  }
  call.instance->take({static_cast<ConnectionId>(js.toNumber(call.arguments[0])), std::move(decision)});
  return js.undefined();
}

// addressList(addresses[]) → what `connect` takes
napi_value addressList(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto addresses = std::make_unique<std::vector<Address>>(call.js.toAddresses(call.arguments[0]));
  const auto destroy = [](napi_env, void* data, void*) { delete static_cast<std::vector<Address>*>(data); };
  napi_value list;
  if (napi_create_external(env, addresses.get(), destroy, nullptr, &list) == napi_ok) addresses.release();
  return list;
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

// counters() → ListenerCounters[], `closed` in the order of messages.h
napi_value counters(napi_env env, napi_callback_info info) {
  Call call(env, info);
  napi_value all = call.js.array();
  const Micros now = monotonicMicros();
  for (const ListenerCounters& one : call.instance->engine->counters()) call.js.push(all, call.js(one, now));
  return all;
}

// beat() → whether every thread has run since the last call
napi_value beat(napi_env env, napi_callback_info info) {
  Call call(env, info);
  napi_value alive;
  napi_get_boolean(env, call.instance->engine->beat(), &alive);
  return alive;
}

// sendDatagram(path, text) → errno. Needs no engine.
napi_value sendDatagram(napi_env env, napi_callback_info info) {
  Call call(env, info);
  return call.js.number(
      vsock_proxy::sendDatagram(call.js.toText(call.arguments[0]), call.js.toText(call.arguments[1])));
}

// bringUpLoopback() → {call, error}. Needs no engine.
napi_value bringUpLoopback(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const Outcome outcome = vsock_proxy::bringUpLoopback();
  napi_value result = call.js.object();
  call.js.set(result, "call", call.js.text(outcome.call));
  call.js.set(result, "error", call.js.number(outcome.error));
  return result;
}

// openPipe() → {read, write, error}. Needs no engine.
napi_value openPipe(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const PipeEnds ends = vsock_proxy::openPipe();
  napi_value result = call.js.object();
  call.js.set(result, "read", call.js.number(ends.read));
  call.js.set(result, "write", call.js.number(ends.write));
  call.js.set(result, "error", call.js.number(ends.error));
  return result;
}

// unblockSignals(). Needs no engine.
napi_value unblockSignals(napi_env env, napi_callback_info info) {
  Call call(env, info);
  vsock_proxy::unblockSignals();
  return call.js.undefined();
}

// reapOrphans(own). Needs no engine.
napi_value reapOrphans(napi_env env, napi_callback_info info) {
  Call call(env, info);
  vsock_proxy::reapOrphans(static_cast<pid_t>(call.js.toNumber(call.arguments[0])));
  return call.js.undefined();
}

// vsockSupport() → {error, cid, cidError}. Needs no engine.
napi_value vsockSupport(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const VsockSupport support = vsock_proxy::vsockSupport();
  napi_value result = call.js.object();
  call.js.set(result, "error", call.js.number(support.error));
  call.js.set(result, "cid", call.js.number(support.cid));
  call.js.set(result, "cidError", call.js.number(support.cidError));
  return result;
}

// vsockListeners() → {error, listeners: {cid, port, inode}[]}. Needs no engine.
napi_value vsockListeners(napi_env env, napi_callback_info info) {
  Call call(env, info);
  std::vector<VsockListener> found;
  const int error = vsock_proxy::vsockListeners(found);
  napi_value listeners = call.js.array();
  for (const VsockListener& one : found) {
    napi_value listener = call.js.object();
    call.js.set(listener, "cid", call.js.number(one.cid));
    call.js.set(listener, "port", call.js.number(one.port));
    call.js.set(listener, "inode", call.js.number(one.inode));
    call.js.push(listeners, listener);
  }
  napi_value result = call.js.object();
  call.js.set(result, "error", call.js.number(error));
  call.js.set(result, "listeners", listeners);
  return result;
}

// openMemoryFile(name) → {fd, error}. Needs no engine.
napi_value openMemoryFile(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const MemoryFile file = vsock_proxy::openMemoryFile(call.js.toText(call.arguments[0]).c_str());
  napi_value result = call.js.object();
  call.js.set(result, "fd", call.js.number(file.fd));
  call.js.set(result, "error", call.js.number(file.error));
  return result;
}

// execute(fd, words) → errno, if at all. Needs no engine.
napi_value execute(napi_env env, napi_callback_info info) {
  Call call(env, info);
  std::vector<std::string> words;
  for (uint32_t i = 0; i < call.js.length(call.arguments[1]); ++i) {
    words.push_back(call.js.toText(call.js.at(call.arguments[1], i)));
  }
  return call.js.number(vsock_proxy::execute(static_cast<int>(call.js.toNumber(call.arguments[0])), words));
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
      {"decide", nullptr, decide, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"connect", nullptr, connect, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"addressList", nullptr, addressList, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"closeListener", nullptr, closeListener, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"drain", nullptr, drain, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"counters", nullptr, counters, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"beat", nullptr, beat, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"sendDatagram", nullptr, sendDatagram, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"bringUpLoopback", nullptr, bringUpLoopback, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"openPipe", nullptr, openPipe, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"unblockSignals", nullptr, unblockSignals, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"reapOrphans", nullptr, reapOrphans, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"vsockSupport", nullptr, vsockSupport, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"vsockListeners", nullptr, vsockListeners, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"openMemoryFile", nullptr, openMemoryFile, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"execute", nullptr, execute, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"stop", nullptr, stop, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
  };
  napi_define_properties(env, exports, sizeof functions / sizeof *functions, functions);
  return exports;
}

}  // namespace
}  // namespace vsock_proxy

NAPI_MODULE_INIT() { return vsock_proxy::init(env, exports); }
