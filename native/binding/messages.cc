#include "messages.h"

namespace vsock_proxy {
namespace {

constexpr double kMicrosPerMs = 1000;
constexpr double kMicrosPerSecond = 1e6;

template <class Enum>
Value name(const Values& js, Enum value) {
  return js.text(nameOf(value));
}

template <class Enum>
Enum toEnum(const Values& js, Value from) {
  const std::string text = js.toText(from);
  const std::optional<Enum> value = named<Enum>(text);
  if (!value) throw Failure{"the data plane does not know the name " + text};
  return *value;
}

Value milliseconds(const Values& js, Micros micros) {
  return js.number(static_cast<double>(micros) / kMicrosPerMs);
}

void setTarget(const Values& js, Value value, TargetId target) {
  if (target != kNoTarget) js.set(value, "target", js.integer(target));
}

void setServer(const Values& js, Value value, const Address& server) {
  if (server.family() != AF_UNSPEC) js.set(value, "server", toJs(js, server));
}

void setError(const Values& js, Value value, int error) {
  if (error != 0) js.set(value, "error", js.integer(error));
}

Address toAddress(const Values& js, Value from, Family family) {
  switch (family) {
    case Family::Vsock:
      return Address::vsock(js.toInteger<uint32_t>(js.get(from, "cid")),
                            js.toInteger<uint32_t>(js.get(from, "port")));
    case Family::Tcp:
      return Address::tcp(js.toText(js.get(from, "ip")), js.toInteger<uint16_t>(js.get(from, "port")));
    case Family::Unix:
      return Address::unixPath(js.toText(js.get(from, "path")));
  }
  return {};
}

Admission toAdmission(const Values& js, Value from) {
  Admission admission;
  if (const auto cids = js.find(from, "cids")) {
    admission.cids.emplace();
    for (uint32_t i = 0; i < js.length(*cids); ++i) {
      admission.cids->push_back(js.toInteger<uint32_t>(js.at(*cids, i)));
    }
  }
  if (const auto sources = js.find(from, "sources")) {
    admission.sources.emplace();
    for (uint32_t i = 0; i < js.length(*sources); ++i) {
      Value source = js.at(*sources, i);
      admission.sources->push_back({Address::tcp(js.toText(js.get(source, "ip")), 0),
                                    js.toInteger<unsigned>(js.get(source, "prefixLength"))});
    }
  }
  return admission;
}

CacheRule toCacheRule(const Values& js, Value from) {
  CacheRule rule;
  rule.lasts = toMicros(js, js.get(from, "forMs"));
  if (const auto form = js.find(from, "form")) {
    rule.byAuthority = true;
    rule.form.absolute = js.toBool(js.get(*form, "absolute"));
    rule.form.fields = js.toText(js.get(*form, "fields"));
    return rule;
  }
  rule.bytes = js.toInteger<size_t>(js.get(from, "bytes"));
  Value except = js.get(from, "except");
  for (uint32_t i = 0; i + 1 < js.length(except); i += 2) {
    rule.except.push_back(
        {js.toInteger<size_t>(js.at(except, i)), js.toInteger<size_t>(js.at(except, i + 1))});
  }
  return rule;
}

void takeBody(const Values& js, Value from, Decision& decision) {
  switch (toEnum<Framing>(js, js.get(from, "kind"))) {
    case Framing::None:
      decision.body = Body::none();
      return;
    case Framing::Length:
      decision.body = Body::length(js.toInteger<uint64_t>(js.get(from, "bytes")));
      return;
    case Framing::Chunked:
      decision.body = Body::chunked();
      return;
    case Framing::Eof:
      decision.untilEof = true;
  }
}

template <class Enum>
void setNames(const Values& js, Value all, const char* list) {
  Value names = js.array();
  for (const char* one : NamesOf<Enum>::kAll) js.push(names, js.text(one));
  js.set(all, list, names);
}

}  // namespace

Value toJs(const Values& js, const Address& address) {
  switch (familyOf(address)) {
    case Family::Vsock:
      return js.object({{"family", name(js, Family::Vsock)},
                        {"cid", js.integer(address.cid())},
                        {"port", js.integer(address.port())}});
    case Family::Tcp:
      return js.object({{"family", name(js, Family::Tcp)},
                        {"ip", js.text(address.ip())},
                        {"port", js.integer(address.port())}});
    case Family::Unix:
      return js.object({{"family", name(js, Family::Unix)}, {"path", js.text(address.path())}});
  }
  return js.undefined();
}

Value toJs(const Values& js, const Progress& progress) {
  Value value = js.object({{"step", name(js, progress.step)},
                           {"listener", js.integer(progress.listener)},
                           {"connection", js.integer(progress.connection)},
                           {"client", toJs(js, progress.client)}});
  setServer(js, value, progress.server);
  setTarget(js, value, progress.target);
  return value;
}

Value toJs(const Values& js, const CloseRecord& record) {
  Value value = js.object({{"listener", js.integer(record.listener)},
                           {"connection", js.integer(record.connection)},
                           {"client", toJs(js, record.client)},
                           {"bytesUp", js.integer(record.bytesUp)},
                           {"bytesDown", js.integer(record.bytesDown)},
                           {"queuedMs", milliseconds(js, record.queuedMicros)},
                           {"connectMs", milliseconds(js, record.connectMicros)},
                           {"totalMs", milliseconds(js, record.totalMicros)},
                           {"phase", name(js, record.phase)},
                           {"reason", name(js, record.reason)},
                           {"endedBy", name(js, record.endedBy)}});
  setServer(js, value, record.server);
  setTarget(js, value, record.target);
  setError(js, value, record.error);
  return value;
}

Value toJs(const Values& js, const Fault& fault) {
  Value value = js.object({{"kind", name(js, fault.kind)}, {"listener", js.integer(fault.listener)}});
  if (fault.client.family() != AF_UNSPEC) js.set(value, "client", toJs(js, fault.client));
  setError(js, value, fault.error);
  return value;
}

Value toJs(const Values& js, const DecisionRequest& request) {
  Value value = js.object({{"kind", name(js, request.kind)},
                           {"listener", js.integer(request.listener)},
                           {"connection", js.integer(request.connection)},
                           {"client", toJs(js, request.client)}});
  setTarget(js, value, request.target);
  switch (request.kind) {
    case RequestKind::Client:
      js.set(value, "local", toJs(js, request.local));
      break;
    case RequestKind::Head:
    case RequestKind::Response:
      js.set(value, "bytes", js.bytes(request.bytes));
      js.set(value, "ended", js.boolean(request.ended));
      break;
    case RequestKind::Failed:
      js.set(value, "reason", name(js, request.reason));
      setServer(js, value, request.server);
      setError(js, value, request.error);
      break;
  }
  if (!request.head.empty()) js.set(value, "head", js.bytes(request.head));
  return value;
}

Value toJs(const Values& js, const Drained& drained) { return js.integer(drained.aborted); }

Value toJs(const Values& js, const Listing& listing) {
  Value connections = js.array();
  for (const LiveConnection& one : listing.connections) {
    Value value = js.object({{"listener", js.integer(one.listener)},
                             {"connection", js.integer(one.connection)},
                             {"client", toJs(js, one.client)},
                             {"phase", name(js, one.phase)},
                             {"bytesUp", js.integer(one.bytesUp)},
                             {"bytesDown", js.integer(one.bytesDown)},
                             {"ageMs", milliseconds(js, one.ageMicros)},
                             {"idleMs", milliseconds(js, one.idleMicros)}});
    setServer(js, value, one.server);
    setTarget(js, value, one.target);
    js.push(connections, value);
  }
  return js.object({{"number", js.integer(listing.number)}, {"connections", connections}});
}

Value toJs(const Values& js, const HistogramCounts& histogram, Value bounds) {
  Value counts = js.array();
  for (const uint64_t count : histogram.counts) js.push(counts, js.integer(count));
  return js.object({{"bounds", bounds},
                    {"counts", counts},
                    {"sum", js.number(static_cast<double>(histogram.sumMicros) / kMicrosPerSecond)}});
}

Value histogramBounds(const Values& js) {
  Value bounds = js.array();
  for (const Micros bound : kHistogramBounds) {
    js.push(bounds, js.number(static_cast<double>(bound) / kMicrosPerSecond));
  }
  return bounds;
}

Value toJs(const Values& js, const ClientCounters& counters) {
  const Family family = familyOf(counters.client);
  Value client = js.object({{"family", name(js, family)}});
  if (family == Family::Vsock) js.set(client, "cid", js.integer(counters.client.cid()));
  if (family == Family::Tcp) js.set(client, "ip", js.text(counters.client.ip()));
  return js.object({{"client", client},
                    {"active", js.integer(counters.active)},
                    {"accepted", js.integer(counters.accepted)},
                    {"refused", js.integer(counters.refused)},
                    {"bytesUp", js.integer(counters.bytesUp)},
                    {"bytesDown", js.integer(counters.bytesDown)}});
}

Value toJs(const Values& js, const ListenerCounters& counters, Micros now, Value bounds) {
  Value closed = js.object();
  for (size_t i = 0; i < counters.closed.size(); ++i) {
    js.set(closed, NamesOf<CloseReason>::kAll[i], js.integer(counters.closed[i]));
  }
  Value answers = js.array();
  for (const uint64_t count : counters.answers) js.push(answers, js.integer(count));
  const Micros waiting = counters.waitingSince == 0 ? 0 : now - counters.waitingSince;
  return js.object({{"listener", js.integer(counters.listener)},
                    {"accepted", js.integer(counters.accepted)},
                    {"active", js.integer(counters.active)},
                    {"bytesUp", js.integer(counters.bytesUp)},
                    {"bytesDown", js.integer(counters.bytesDown)},
                    {"closed", closed},
                    {"limitHits", js.integer(counters.limitHits)},
                    {"limitWaitMs", milliseconds(js, static_cast<Micros>(counters.limitWaitMicros))},
                    {"waitingMs", milliseconds(js, waiting)},
                    {"connect", toJs(js, counters.connect, bounds)},
                    {"duration", toJs(js, counters.duration, bounds)},
                    {"queued", toJs(js, counters.queued, bounds)},
                    {"decisionsCached", js.integer(counters.decisionsCached)},
                    {"decisionsRequested", js.integer(counters.decisionsRequested)},
                    {"exchangesCached", js.integer(counters.exchangesCached)},
                    {"answers", answers}});
}

Micros toMicros(const Values& js, Value ms) { return static_cast<Micros>(js.toNumber(ms) * kMicrosPerMs); }

std::vector<Address> toAddresses(const Values& js, Value list) {
  std::vector<Address> addresses;
  for (uint32_t i = 0; i < js.length(list); ++i) {
    Value one = js.at(list, i);
    addresses.push_back(toAddress(js, one, toEnum<Family>(js, js.get(one, "family"))));
  }
  return addresses;
}

ListenSpec toListenSpec(const Values& js, Value from) {
  ListenSpec spec;
  spec.kind = toEnum<ListenerKind>(js, js.get(from, "kind"));
  Value on = js.get(from, "on");
  switch (toEnum<SocketKind>(js, js.get(on, "family"))) {
    case SocketKind::Inherited:
      spec.inherited = js.toInteger<int>(js.get(on, "fd"));
      break;
    case SocketKind::Predecessor:
      spec.predecessor = js.toInteger<ListenerId>(js.get(on, "listener"));
      break;
    case SocketKind::Vsock:
      spec.on = toAddress(js, on, Family::Vsock);
      break;
    case SocketKind::Tcp:
      spec.on = toAddress(js, on, Family::Tcp);
      break;
    case SocketKind::Unix:
      spec.on = toAddress(js, on, Family::Unix);
      break;
  }
  Value limits = js.get(from, "limits");
  spec.limits.connections = js.toInteger<uint32_t>(js.get(limits, "connections"));
  spec.limits.connectionsPerClient = js.toInteger<uint32_t>(js.get(limits, "connectionsPerClient"));
  spec.limits.ratePerClient = js.toInteger<uint32_t>(js.get(limits, "ratePerClient"));
  if (const auto kib = js.find(limits, "vsockBufferKib"))
    spec.limits.vsockBufferBytes = js.toInteger<uint32_t>(*kib) * 1024;
  Value timeouts = js.get(from, "timeouts");
  spec.timeouts.connect = toMicros(js, js.get(timeouts, "connectMs"));
  spec.timeouts.idle = toMicros(js, js.get(timeouts, "idleMs"));
  spec.timeouts.head = toMicros(js, js.get(timeouts, "headMs"));
  spec.timeouts.reuse = toMicros(js, js.get(timeouts, "reuseMs"));
  spec.admission = toAdmission(js, js.get(from, "admission"));
  spec.report = toEnum<ReportKind>(js, js.get(from, "report"));
  return spec;
}

Decision toDecision(const Values& js, Value from) {
  Decision decision;
  decision.action = toEnum<Action>(js, js.get(from, "action"));
  if (const auto target = js.find(from, "target")) decision.target = js.toInteger<TargetId>(*target);
  if (const auto addresses = js.find(from, "addresses")) {
    decision.addresses = std::make_shared<const std::vector<Address>>(toAddresses(js, *addresses));
  }
  if (const auto consume = js.find(from, "consume")) decision.consume = js.toInteger<size_t>(*consume);
  if (const auto toServer = js.find(from, "toServer")) decision.toServer = js.toBytes(*toServer);
  if (const auto toClient = js.find(from, "toClient")) decision.toClient = js.toBytes(*toClient);
  switch (decision.action) {
    case Action::More:
      if (const auto atLeast = js.find(from, "atLeast")) decision.atLeast = js.toInteger<size_t>(*atLeast);
      if (const auto until = js.find(from, "until")) decision.until = js.toInteger<int>(*until);
      break;
    case Action::Connect:
      decision.explain = js.toBool(js.get(from, "explain"));
      if (const auto handshake = js.find(from, "handshake")) decision.handshake = js.toBool(*handshake);
      if (const auto cache = js.find(from, "cache")) decision.cache = toCacheRule(js, *cache);
      break;
    case Action::Exchange:
      takeBody(js, js.get(from, "body"), decision);
      if (const auto persistent = js.find(from, "persistent")) decision.persistent = js.toBool(*persistent);
      if (const auto cache = js.find(from, "cache")) decision.cache = toCacheRule(js, *cache);
      break;
    case Action::Respond:
      takeBody(js, js.get(from, "body"), decision);
      decision.next = js.toBool(js.get(from, "next"));
      if (const auto keep = js.find(from, "keep")) decision.keep = js.toBool(*keep);
      break;
    case Action::Reject:
      decision.reason = toEnum<CloseReason>(js, js.get(from, "reason"));
      break;
    case Action::Interim:
    case Action::Relay:
      break;
  }
  return decision;
}

Value namesToJs(const Values& js) {
  Value all = js.object();
#define SET_NAMES(Enum, list) setNames<Enum>(js, all, list);
  VSOCK_PROXY_LISTS(SET_NAMES)
#undef SET_NAMES
  return all;
}

Value limitsToJs(const Values& js) {
  Value all = js.object();
#define SET_LIMIT(constant, name, value) js.set(all, name, js.integer(constant));
  VSOCK_PROXY_LIMITS(SET_LIMIT)
#undef SET_LIMIT
  return all;
}

}  // namespace vsock_proxy
