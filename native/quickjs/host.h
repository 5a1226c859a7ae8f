// The object `host` of JavaScript; src/platform/quickjs/host.ts has the types.

#pragma once

#include "values.h"

namespace vsock_proxy {

// The caller owns it. Its context belongs to a Program.
JSValue makeHost(JSContext* context);

}  // namespace vsock_proxy
