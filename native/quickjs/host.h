// What JavaScript finds as `host`: src/platform/quickjs/host.ts has the types.

#pragma once

#include "values.h"

namespace vsock_proxy {

// Owned by the caller. Its context belongs to a Program.
JSValue makeHost(JSContext* context);

}  // namespace vsock_proxy
