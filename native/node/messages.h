// The messages of the data plane as src/dataplane/contract.ts has them. An errno crosses as `error`, a number
// that is there only where there is one; src/dataplane/addon.ts names it.

#pragma once

#include "../core/engine.h"
#include "values.h"

namespace vsock_proxy {

napi_value toJs(const Values& js, const Address& address);
napi_value toJs(const Values& js, const Progress& progress);
napi_value toJs(const Values& js, const CloseRecord& record);
napi_value toJs(const Values& js, const Fault& fault);
napi_value toJs(const Values& js, const DecisionRequest& request);
// {number, connections}
napi_value toJs(const Values& js, const Listing& listing);
// The number that were aborted.
napi_value toJs(const Values& js, const Drained& drained);
// `bounds`: of all histograms, as `histogramBounds` has them.
napi_value toJs(const Values& js, const ListenerCounters& counters, Micros now, napi_value bounds);
napi_value histogramBounds(const Values& js);
napi_value toJs(const Values& js, const ClientCounters& counters);

std::vector<Address> toAddresses(const Values& js, napi_value list);
ListenSpec toListenSpec(const Values& js, napi_value from);
Decision toDecision(const Values& js, napi_value from);
Micros toMicros(const Values& js, napi_value ms);

// {closeReasons: string[], …}: every list of names that crosses.
napi_value namesToJs(const Values& js);
// {requestHeadBytes: 16384, …}
napi_value limitsToJs(const Values& js);

}  // namespace vsock_proxy
