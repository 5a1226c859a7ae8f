// A JavaScript program: the engine with its limits, the loop that calls it, and the data plane.

#pragma once

#include <functional>
#include <map>
#include <memory>

#include "../binding/plane.h"
#include "../core/loop.h"
#include "values.h"

namespace vsock_proxy {

// The bytecode from compile.cc.
struct Bytecode {
  const uint8_t* data;
  size_t size;
};

class Program {
 public:
  // The command line, with the program's name first.
  explicit Program(std::vector<std::string> words);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // Runs until JavaScript ends the process. The result of `makeHost` is `host` in its global object.
  [[noreturn]] void run(const Bytecode& code, JSValue (*makeHost)(JSContext*));

  // The following functions are for host.cc. JavaScript runs on the loop, and so do its callbacks.
  static Program& of(JSContext* context);
  const std::vector<std::string>& words() const { return words_; }
  Plane& plane() { return plane_; }
  int startPlane(unsigned threads, Value deliver);
  void stopPlane();
  uint32_t setTimer(double ms, Value fire);
  void clearTimer(uint32_t id);
  // Calls `onReady` with the events of poll(2), as long as they hold. Returns 0 or an errno.
  int watch(int fd, uint32_t events, Value onReady);
  int rewatch(int fd, uint32_t events);
  void unwatch(int fd);
  // Receives uncaught exceptions, and ends the process.
  void onUncaught(Value handler) { uncaught_ = JS_DupValue(context_, handler); }

 private:
  struct Deadline;
  struct Descriptor;

  void call(JSValue function, std::initializer_list<JSValue> arguments);
  void runJobs();
  [[noreturn]] void fail(JSValue error);
  static void onRejection(JSContext* context, JSValueConst promise, JSValueConst reason, JS_BOOL handled,
                          void* self);

  const std::vector<std::string> words_;
  JSRuntime* runtime_ = nullptr;
  JSContext* context_ = nullptr;
  Values::Held held_;
  Loop loop_{ScratchSize{1, 0, 0}};
  std::map<uint32_t, std::unique_ptr<Deadline>> deadlines_;
  uint32_t lastDeadline_ = 0;
  std::map<int, std::unique_ptr<Descriptor>> descriptors_;
  struct Rejection {
    JSValue promise;
    JSValue reason;
  };
  std::vector<Rejection> rejections_;
  JSValue deliver_ = JS_UNDEFINED;
  JSValue uncaught_ = JS_UNDEFINED;
  Plane plane_;
};

}  // namespace vsock_proxy
