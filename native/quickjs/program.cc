#include "program.h"

#include <cmath>

#include "../forwarder/process.h"
#include "process.h"

namespace vsock_proxy {
namespace {

// The limit is far above what the largest file takes (8 MiB, 200,000 entries), and below the memory of an
// enclave. Beyond it, or beyond the depth of calls for this stack, the running code ends with an exception.
constexpr size_t kMemoryBytes = 256 * 1024 * 1024;
constexpr size_t kStackBytes = 512 * 1024;

constexpr double kMicrosPerMs = 1000;
// A longer timer is set again.
constexpr double kLongestMs = 1e12;

constexpr int kFailed = 1;

}  // namespace

struct Program::Deadline {
  Deadline(Program& program, uint32_t id, JSValue fire)
      : timer([&program, id] {
          const auto found = program.deadlines_.find(id);
          const std::unique_ptr<Deadline> own = std::move(found->second);
          program.deadlines_.erase(found);
          program.call(own->fire, {});
          JS_FreeValue(program.context_, own->fire);
        }),
        fire(fire) {}
  Timer timer;
  const JSValue fire;
};

struct Program::Descriptor final : Watch {
  Descriptor(Program& program, JSValue function) : program(program), function(function) {}
  ~Descriptor() { JS_FreeValue(program.context_, function); }
  void onReady(uint32_t events) override {
    if (!gone) program.call(function, {JS_NewUint32(program.context_, events)});
  }
  Program& program;
  const JSValue function;
  bool gone = false;
};

Program::Program(std::vector<std::string> words) : words_(std::move(words)) {}
Program::~Program() = default;

Program& Program::of(JSContext* context) {
  return *static_cast<Program*>(JS_GetRuntimeOpaque(JS_GetRuntime(context)));
}

void Program::run(const Bytecode& code, JSValue (*makeHost)(JSContext*)) {
  runtime_ = JS_NewRuntime();
  context_ = runtime_ == nullptr ? nullptr : JS_NewContextRaw(runtime_);
  if (context_ == nullptr || loop_.open() != 0) exitProcess(kFailed);
  JS_SetRuntimeOpaque(runtime_, this);
  JS_SetContextOpaque(context_, &held_);
  JS_SetMemoryLimit(runtime_, kMemoryBytes);
  JS_SetMaxStackSize(runtime_, kStackBytes);
  JS_SetHostPromiseRejectionTracker(runtime_, onRejection, this);
  JS_AddIntrinsicBaseObjects(context_);
  // Without JS_AddIntrinsicEval no text can be compiled, by `eval` or by `Function`.
  JS_AddIntrinsicDate(context_);
  JS_AddIntrinsicStringNormalize(context_);
  JS_AddIntrinsicRegExpCompiler(context_);
  JS_AddIntrinsicRegExp(context_);
  JS_AddIntrinsicJSON(context_);
  JS_AddIntrinsicProxy(context_);
  JS_AddIntrinsicMapSet(context_);
  JS_AddIntrinsicTypedArrays(context_);
  JS_AddIntrinsicPromise(context_);
  JS_AddIntrinsicWeakRef(context_);
  const JSValue global = JS_GetGlobalObject(context_);
  JS_SetPropertyStr(context_, global, "host", makeHost(context_));
  JS_FreeValue(context_, global);

  const JSValue program = JS_ReadObject(context_, code.data, code.size, JS_READ_OBJ_BYTECODE);
  const JSValue result = JS_IsException(program) ? program : JS_EvalFunction(context_, program);
  if (JS_IsException(result)) fail(JS_GetException(context_));
  JS_FreeValue(context_, result);
  runJobs();
  loop_.run();
  exitProcess(kFailed);
}

// An exception of it ends the process.
void Program::call(JSValue function, std::initializer_list<JSValue> arguments) {
  std::vector<JSValue> copies(arguments);
  const JSValue held = JS_DupValue(context_, function);
  const JSValue result =
      JS_Call(context_, held, JS_UNDEFINED, static_cast<int>(copies.size()), copies.data());
  JS_FreeValue(context_, held);
  if (JS_IsException(result)) fail(JS_GetException(context_));
  JS_FreeValue(context_, result);
  runJobs();
}

void Program::runJobs() {
  JSContext* context = nullptr;
  for (int outcome; (outcome = JS_ExecutePendingJob(runtime_, &context)) != 0;) {
    if (outcome < 0) fail(JS_GetException(context));
  }
  if (!rejections_.empty()) fail(rejections_.front().reason);
}

void Program::onRejection(JSContext* context, JSValueConst promise, JSValueConst reason, JS_BOOL handled,
                          void* self) {
  std::vector<Rejection>& all = static_cast<Program*>(self)->rejections_;
  if (handled == 0) {
    all.push_back({JS_DupValue(context, promise), JS_DupValue(context, reason)});
    return;
  }
  for (auto one = all.begin(); one != all.end(); ++one) {
    if (JS_VALUE_GET_PTR(one->promise) != JS_VALUE_GET_PTR(promise)) continue;
    JS_FreeValue(context, one->promise);
    JS_FreeValue(context, one->reason);
    all.erase(one);
    return;
  }
}

void Program::fail(JSValue error) {
  rejections_.clear();
  JS_Call(context_, uncaught_, JS_UNDEFINED, 1, &error);
  // It has not ended the process, so it has failed itself, or is not set yet.
  const char* text = JS_ToCString(context_, error);
  const std::string line = std::string("Error: ") + (text == nullptr ? "" : text) + "\n";
  writeWithoutWaiting(2, line.data(), line.size());
  exitProcess(kFailed);
}

int Program::startPlane(unsigned threads, Value deliver) {
  JS_FreeValue(context_, deliver_);
  deliver_ = JS_DupValue(context_, deliver);
  return plane_.start(threads, [this] {
    loop_.post([this] {
      const JSValue failed = guarded(context_, [this] {
        const Values js(context_);
        plane_.deliver(js, deliver_);
        return js.undefined();
      });
      if (JS_IsException(failed)) fail(JS_GetException(context_));
      runJobs();
    });
  });
}

void Program::stopPlane() { plane_.stop(); }

uint32_t Program::setTimer(double ms, Value fire) {
  const uint32_t id = ++lastDeadline_;
  auto& deadline = deadlines_[id];
  deadline = std::make_unique<Deadline>(*this, id, JS_DupValue(context_, fire));
  const double wait = std::isnan(ms) ? 0 : std::fmin(std::fmax(ms, 0), kLongestMs);
  loop_.arm(deadline->timer, monotonicMicros() + static_cast<Micros>(wait * kMicrosPerMs));
  return id;
}

void Program::clearTimer(uint32_t id) {
  const auto found = deadlines_.find(id);
  if (found == deadlines_.end()) return;
  loop_.disarm(found->second->timer);
  JS_FreeValue(context_, found->second->fire);
  deadlines_.erase(found);
}

int Program::watch(int fd, uint32_t events, Value onReady) {
  auto descriptor = std::make_unique<Descriptor>(*this, JS_DupValue(context_, onReady));
  const int error = loop_.watch(fd, events, *descriptor);
  if (error == 0) descriptors_[fd] = std::move(descriptor);
  return error;
}

int Program::rewatch(int fd, uint32_t events) {
  const auto found = descriptors_.find(fd);
  return found == descriptors_.end() ? 0 : loop_.rewatch(fd, events, *found->second);
}

void Program::unwatch(int fd) {
  const auto found = descriptors_.find(fd);
  if (found == descriptors_.end()) return;
  loop_.unwatch(fd);
  found->second->gone = true;
  loop_.retire(std::move(found->second));
  descriptors_.erase(found);
}

}  // namespace vsock_proxy
