// Converts the messages of the data plane to the form of src/dataplane/contract.ts. An errno crosses as a
// number `error`, which is absent if there is none; src/dataplane/addon.ts names it.

#pragma once

#include "../core/engine.h"
#include "values.h"

namespace vsock_proxy {

Value toJs(const Values& js, const Address& address);
Value toJs(const Values& js, const Progress& progress);
Value toJs(const Values& js, const CloseRecord& record);
Value toJs(const Values& js, const Fault& fault);
Value toJs(const Values& js, const DecisionRequest& request);
// {number, connections}
Value toJs(const Values& js, const Listing& listing);
// The number of aborted connections.
Value toJs(const Values& js, const Drained& drained);
// `bounds`: the bounds of all histograms, from `histogramBounds`.
Value toJs(const Values& js, const ListenerCounters& counters, Micros now, Value bounds);
Value histogramBounds(const Values& js);
Value toJs(const Values& js, const ClientCounters& counters);

std::vector<Address> toAddresses(const Values& js, Value list);
ListenSpec toListenSpec(const Values& js, Value from);
Decision toDecision(const Values& js, Value from);
Micros toMicros(const Values& js, Value ms);

// {closeReasons: string[], …}: every list of names that crosses.
Value namesToJs(const Values& js);
// {requestHeadBytes: 16384, …}
Value limitsToJs(const Values& js);

}  // namespace vsock_proxy
