// The functions of the data plane and of the process that JavaScript calls, the same for each engine. They
// decide nothing. They trust their callers in src/dataplane to pass arguments as the contract says.

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
  // `undefined` if there is none.
  Value argument(size_t index) const { return arguments_[index]; }
  template <class Integer>
  Integer integer(size_t index) const {
    return js.toInteger<Integer>(arguments_[index]);
  }

 private:
  const Value* arguments_;  // kMost values
};

struct NamedCall {
  const char* name;
  Value (*body)(const Call&);
};

// All calls except `start` and `stop`, which each engine has itself.
extern const NamedCall kDataPlaneCalls[];
extern const size_t kDataPlaneCallCount;

}  // namespace vsock_proxy
