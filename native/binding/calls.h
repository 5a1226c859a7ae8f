// The calls that JavaScript makes of the data plane and of the process, the same under each engine. They
// decide nothing, and trust their callers in src/dataplane to pass what the contract says.

#pragma once

#include "plane.h"
#include "values.h"

namespace vsock_proxy {

// The arguments of a call, and the data plane of this program.
class Call {
 public:
  static constexpr size_t kMost = 2;

  Call(const Values& js, Plane& plane, const Value* arguments)
      : js(js), plane(plane), arguments_(arguments) {}

  const Values js;
  Plane& plane;
  // `undefined` where there is none.
  Value argument(size_t index) const { return arguments_[index]; }
  template <class Integer>
  Integer integer(size_t index) const {
    return js.toInteger<Integer>(arguments_[index]);
  }

 private:
  const Value* arguments_;  // kMost of them
};

struct NamedCall {
  const char* name;
  Value (*body)(const Call&);
};

// All but `start` and `stop`, which are the engine's own.
extern const NamedCall kDataPlaneCalls[];
extern const size_t kDataPlaneCallCount;

}  // namespace vsock_proxy
