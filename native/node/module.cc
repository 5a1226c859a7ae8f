// The exports of the addon: the calls of native/binding, and what Node.js lacks for other commands.

#include <iterator>

#include "../binding/calls.h"
#include "../binding/messages.h"
#include "../binding/process.h"
#include "values.h"
#include "vsock.h"

namespace vsock_proxy {
namespace {

// The data plane of this environment, and the way from its relay threads to the thread of JavaScript.
class Instance {
 public:
  Instance() = default;
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  Plane& plane() { return plane_; }
  // `deliver` is that of Plane::deliver. Returns 0 or an errno.
  int start(const Values& js, unsigned threads, Value deliver);
  void stop();

 private:
  static void onWakeup(napi_env env, napi_value deliver, void* self, void* data);

  Plane plane_;
  napi_threadsafe_function wake_ = nullptr;
};

int Instance::start(const Values& js, unsigned threads, Value deliver) {
  if (wake_ != nullptr) throw Failure{"the data plane runs already"};
  js.check(napi_create_threadsafe_function(js.env(), deliver, nullptr, js.text("vsock-proxy"), 0, 1, nullptr,
                                           nullptr, this, onWakeup, &wake_));
  const int error = plane_.start(
      threads, [wake = wake_] { napi_call_threadsafe_function(wake, nullptr, napi_tsfn_nonblocking); });
  if (error != 0) stop();
  return error;
}

void Instance::stop() {
  plane_.stop();
  if (wake_ != nullptr) napi_release_threadsafe_function(wake_, napi_tsfn_abort);
  wake_ = nullptr;
}

// On the thread of JavaScript.
void Instance::onWakeup(napi_env env, napi_value deliver, void* self, void*) {
  if (env == nullptr) return;  // the environment ends
  guarded(env, [&]() -> napi_value {
    static_cast<Instance*>(self)->plane_.deliver(Values(env), deliver);
    return nullptr;
  });
}

Instance& instanceOf(const Values& js) {
  void* instance = nullptr;
  js.check(napi_get_instance_data(js.env(), &instance));
  return *static_cast<Instance*>(instance);
}

// start(threads, deliver) → errno; `deliver` is that of Plane::deliver
Value start(const Call& call) {
  return call.js.integer(instanceOf(call.js).start(call.js, call.integer<unsigned>(0), call.argument(1)));
}

// stop()
Value stop(const Call& call) {
  instanceOf(call.js).stop();
  return call.js.undefined();
}

// unblockSignals()
Value unblockSignals(const Call& call) {
  vsock_proxy::unblockSignals();
  return call.js.undefined();
}

// vsockSupport() → {error, cid, cidError}
Value vsockSupport(const Call& call) {
  const VsockSupport support = vsock_proxy::vsockSupport();
  return call.js.object({{"error", call.js.integer(support.error)},
                         {"cid", call.js.integer(support.cid)},
                         {"cidError", call.js.integer(support.cidError)}});
}

// vsockListeners() → {error, listeners: {cid, port, inode}[]}
Value vsockListeners(const Call& call) {
  std::vector<VsockListener> found;
  const int error = vsock_proxy::vsockListeners(found);
  Value listeners = call.js.array();
  for (const VsockListener& one : found) {
    call.js.push(listeners, call.js.object({{"cid", call.js.integer(one.cid)},
                                            {"port", call.js.integer(one.port)},
                                            {"inode", call.js.integer(one.inode)}}));
  }
  return call.js.object({{"error", call.js.integer(error)}, {"listeners", listeners}});
}

// openMemoryFile(name) → {fd, error}
Value openMemoryFile(const Call& call) {
  const MemoryFile file = vsock_proxy::openMemoryFile(call.js.toText(call.argument(0)).c_str());
  return call.js.object({{"fd", call.js.integer(file.fd)}, {"error", call.js.integer(file.error)}});
}

// execute(fd, words) → errno, only if it fails
Value execute(const Call& call) {
  std::vector<std::string> words;
  for (uint32_t i = 0; i < call.js.length(call.argument(1)); ++i) {
    words.push_back(call.js.toText(call.js.at(call.argument(1), i)));
  }
  return call.js.integer(vsock_proxy::execute(call.integer<int>(0), words));
}

const NamedCall kOwnCalls[] = {
    {"start", start},
    {"stop", stop},
    {"unblockSignals", unblockSignals},
    {"vsockSupport", vsockSupport},
    {"vsockListeners", vsockListeners},
    {"openMemoryFile", openMemoryFile},
    {"execute", execute},
};

napi_value run(napi_env env, napi_callback_info info) {
  return guarded(env, [&] {
    const Values js(env);
    size_t count = Call::kMost;
    napi_value arguments[Call::kMost] = {};
    void* body = nullptr;
    js.check(napi_get_cb_info(env, info, &count, arguments, nullptr, &body));
    return static_cast<const NamedCall*>(body)->body(Call(js, instanceOf(js).plane(), arguments));
  });
}

napi_property_descriptor exported(const NamedCall& call) {
  return {call.name, nullptr, run, nullptr, nullptr, nullptr, napi_enumerable, const_cast<NamedCall*>(&call)};
}

napi_property_descriptor exported(const char* name, napi_value value) {
  return {name, nullptr, nullptr, nullptr, nullptr, value, napi_enumerable, nullptr};
}

napi_value init(const Values& js, napi_value exports) {
  const auto destroy = [](napi_env, void* instance, void*) {
    static_cast<Instance*>(instance)->stop();
    delete static_cast<Instance*>(instance);
  };
  js.check(napi_set_instance_data(js.env(), new Instance, destroy, nullptr));
  std::vector<napi_property_descriptor> all = {exported("names", namesToJs(js)),
                                               exported("limits", limitsToJs(js))};
  for (const NamedCall& call : kOwnCalls) all.push_back(exported(call));
  for (size_t i = 0; i < kDataPlaneCallCount; ++i) all.push_back(exported(kDataPlaneCalls[i]));
  js.check(napi_define_properties(js.env(), exports, all.size(), all.data()));
  return exports;
}

}  // namespace
}  // namespace vsock_proxy

NAPI_MODULE_INIT() {
  return vsock_proxy::guarded(env, [&] { return vsock_proxy::init(vsock_proxy::Values(env), exports); });
}
