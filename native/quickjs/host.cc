#include "host.h"

#include <array>
#include <iterator>

#include "../binding/calls.h"
#include "../binding/messages.h"
#include "../forwarder/process.h"
#include "process.h"
#include "program.h"
#include "text.h"

namespace vsock_proxy {
namespace {

// The arguments of a call; missing ones are `undefined`.
class HostCall {
 public:
  static constexpr size_t kMost = 4;

  HostCall(const Values& js, Program& program, const Value* arguments)
      : js(js), program(program), arguments_(arguments) {}

  const Values js;
  Program& program;
  Value argument(size_t index) const { return arguments_[index]; }
  template <class Integer = int>
  Integer integer(size_t index) const {
    return js.toInteger<Integer>(arguments_[index]);
  }
  std::string text(size_t index) const { return js.toText(arguments_[index]); }
  // The bytes of a Uint8Array, from `offset` on, if the argument after it is present.
  Values::View bytes(size_t index) const {
    const Values::View all = js.view(arguments_[index]);
    const size_t offset =
        index + 1 < kMost && JS_IsNumber(arguments_[index + 1]) ? integer<size_t>(index + 1) : 0;
    if (offset > all.size) throw Failure{"an offset is out of range"};
    return {all.data + offset, all.size - offset};
  }
  std::vector<std::string> words(size_t index) const {
    std::vector<std::string> words;
    for (uint32_t i = 0; i < js.length(arguments_[index]); ++i) {
      words.push_back(js.toText(js.at(arguments_[index], i)));
    }
    return words;
  }
  // From two arguments: an IP address and a port, or a CID and a port of vsock; from one: the path of a unix
  // socket.
  Address address(size_t index) const {
    if (JS_IsNumber(arguments_[index])) {
      return Address::vsock(integer<uint32_t>(index), integer<uint32_t>(index + 1));
    }
    if (JS_IsUndefined(arguments_[index + 1])) return Address::unixPath(text(index));
    return Address::tcp(text(index), integer<uint16_t>(index + 1));
  }

 private:
  const Value* arguments_;
};

int orNegative(const Moved& moved) { return moved.error == 0 ? static_cast<int>(moved.bytes) : -moved.error; }

std::string_view textOf(const Values::View& view) { return {reinterpret_cast<char*>(view.data), view.size}; }

// {fd, call, error}
Value openedToJs(const Values& js, Opened opened) {
  return js.object({{"fd", js.integer(opened.fd.release())},
                    {"call", js.text(opened.call == nullptr ? "" : opened.call)},
                    {"error", js.integer(opened.error)}});
}

Value statusToJs(const Values& js, const FileStatus& status) {
  return js.object({{"error", js.integer(status.error)},
                    {"mode", js.integer(status.mode)},
                    {"device", js.integer(status.device)},
                    {"inode", js.integer(status.inode)},
                    {"terminal", js.boolean(status.terminal)}});
}

using Host = Value (*)(const HostCall&);
struct NamedHost {
  const char* name;
  Host body;
};

#ifdef __aarch64__
constexpr char kArch[] = "arm64";
#else
constexpr char kArch[] = "x64";
#endif

constexpr NamedHost kHost[] = {
    {"start",
     [](const HostCall& call) {
       return call.js.integer(call.program.startPlane(call.integer<unsigned>(0), call.argument(1)));
     }},
    {"stop",
     [](const HostCall& call) {
       call.program.stopPlane();
       return call.js.undefined();
     }},
    {"exit", [](const HostCall& call) -> Value { exitProcess(call.integer(0)); }},
    {"onUncaught",
     [](const HostCall& call) {
       call.program.onUncaught(call.argument(0));
       return call.js.undefined();
     }},
    {"now",
     [](const HostCall& call) { return call.js.number(static_cast<double>(monotonicMicros()) / 1000); }},
    {"setTimer",
     [](const HostCall& call) {
       return call.js.integer(call.program.setTimer(call.js.toNumber(call.argument(0)), call.argument(1)));
     }},
    {"clearTimer",
     [](const HostCall& call) {
       call.program.clearTimer(call.integer<uint32_t>(0));
       return call.js.undefined();
     }},
    {"watch",
     [](const HostCall& call) {
       return call.js.integer(
           -call.program.watch(call.integer(0), call.integer<uint32_t>(1), call.argument(2)));
     }},
    {"rewatch",
     [](const HostCall& call) {
       return call.js.integer(-call.program.rewatch(call.integer(0), call.integer<uint32_t>(1)));
     }},
    {"unwatch",
     [](const HostCall& call) {
       call.program.unwatch(call.integer(0));
       return call.js.undefined();
     }},
    {"openFile",
     [](const HostCall& call) {
       return call.js.integer(openFile(call.text(0), call.integer(1), call.integer<unsigned>(2)));
     }},
    {"closeFile", [](const HostCall& call) { return call.js.integer(closeFile(call.integer(0))); }},
    {"readFile",
     [](const HostCall& call) {
       const Values::View to = call.bytes(1);
       return call.js.integer(readFile(call.integer(0), to.data, to.size));
     }},
    {"writeFile",
     [](const HostCall& call) {
       const Values::View from = call.bytes(1);
       return call.js.integer(writeFile(call.integer(0), from.data, from.size));
     }},
    {"writeWithoutWaiting",
     [](const HostCall& call) {
       const Values::View from = call.bytes(1);
       return call.js.integer(writeWithoutWaiting(call.integer(0), from.data, from.size));
     }},
    {"openForItself", [](const HostCall& call) { return call.js.integer(openForItself(call.integer(0))); }},
    {"statusOf", [](const HostCall& call) { return statusToJs(call.js, statusOf(call.integer(0))); }},
    {"statusOfPath", [](const HostCall& call) { return statusToJs(call.js, statusOfPath(call.text(0))); }},
    {"changeMode",
     [](const HostCall& call) {
       return call.js.integer(changeMode(call.integer(0), call.integer<unsigned>(1)));
     }},
    {"changeModeOf",
     [](const HostCall& call) {
       return call.js.integer(changeModeOf(call.text(0), call.integer<unsigned>(1)));
     }},
    {"syncFile", [](const HostCall& call) { return call.js.integer(syncFile(call.integer(0))); }},
    {"renameFile",
     [](const HostCall& call) { return call.js.integer(renameFile(call.text(0), call.text(1))); }},
    {"removeFile", [](const HostCall& call) { return call.js.integer(removeFile(call.text(0))); }},
    {"randomBytes",
     [](const HostCall& call) {
       const Values::View to = call.bytes(0);
       return call.js.integer(randomBytes(to.data, to.size));
     }},
    {"processUse",
     [](const HostCall& call) {
       const ProcessUse use = processUse();
       return call.js.object({{"cpuSeconds", call.js.number(use.cpuSeconds)},
                              {"residentBytes", call.js.number(static_cast<double>(use.residentBytes))},
                              {"descriptors", call.js.integer(use.descriptors)}});
     }},
    {"startProgram",
     [](const HostCall& call) {
       int streams[3];
       for (uint32_t i = 0; i < 3; ++i) {
         streams[i] = call.js.toInteger<int>(call.js.at(call.argument(2), i));
       }
       return call.js.integer(startProgram(call.words(0), call.words(1), streams));
     }},
    {"endOf",
     [](const HostCall& call) {
       const ProgramEnd end = endOf(call.integer<pid_t>(0));
       return call.js.object({{"ended", call.js.boolean(end.ended)},
                              {"status", call.js.integer(end.status)},
                              {"signal", call.js.integer(end.signal)}});
     }},
    {"sendSignal",
     [](const HostCall& call) {
       return call.js.integer(sendSignal(call.integer<pid_t>(0), call.integer(1)));
     }},
    {"openSignals",
     [](const HostCall& call) {
       std::vector<int> signals;
       for (uint32_t i = 0; i < call.js.length(call.argument(0)); ++i) {
         signals.push_back(call.js.toInteger<int>(call.js.at(call.argument(0), i)));
       }
       return call.js.integer(openSignals(signals));
     }},
    {"takeSignal", [](const HostCall& call) { return call.js.integer(takeSignalFrom(call.integer(0))); }},
    {"bindDatagrams",
     [](const HostCall& call) { return openedToJs(call.js, bindDatagrams(call.address(0))); }},
    {"receiveDatagram",
     [](const HostCall& call) {
       Address from;
       const Values::View to = call.bytes(1);
       const Moved moved = receiveDatagram(call.integer(0), to.data, to.size, from);
       Value result = call.js.object({{"length", call.js.integer(orNegative(moved))}});
       if (moved.error == 0 && from.isTcp()) {
         call.js.set(result, "ip", call.js.text(from.ip()));
         call.js.set(result, "port", call.js.integer(from.port()));
       }
       return result;
     }},
    {"sendDatagramTo",
     [](const HostCall& call) {
       const Values::View from = call.js.view(call.argument(1));
       return call.js.integer(sendDatagramTo(call.integer(0), from.data, from.size, call.address(2)));
     }},
    {"listenOn", [](const HostCall& call) { return openedToJs(call.js, listenOn(call.address(0))); }},
    {"portOf", [](const HostCall& call) { return call.js.integer(localAddress(call.integer(0)).port()); }},
    {"acceptFrom",
     [](const HostCall& call) {
       Address peer;
       return openedToJs(call.js, acceptFrom(call.integer(0), peer));
     }},
    {"startConnect", [](const HostCall& call) { return openedToJs(call.js, startConnect(call.address(0))); }},
    {"connectOutcome", [](const HostCall& call) { return call.js.integer(connectOutcome(call.integer(0))); }},
    {"receive",
     [](const HostCall& call) {
       const Values::View to = call.bytes(1);
       return call.js.integer(orNegative(receive(call.integer(0), to.data, to.size)));
     }},
    {"send",
     [](const HostCall& call) {
       const Values::View from = call.bytes(1);
       return call.js.integer(orNegative(send(call.integer(0), from.data, from.size)));
     }},
    {"shutdownWrite",
     [](const HostCall& call) {
       shutdownWrite(call.integer(0));
       return call.js.undefined();
     }},
    {"unblock", [](const HostCall& call) { return call.js.integer(unblock(call.integer(0))); }},
    {"decode",
     [](const HostCall& call) {
       return call.js.text(replaceMalformed(textOf(call.js.view(call.argument(0)))));
     }},
    {"isUtf8",
     [](const HostCall& call) {
       const std::string_view text = textOf(call.js.view(call.argument(0)));
       return call.js.boolean(wellFormedPrefix(text) == text.size());
     }},
    {"encode", [](const HostCall& call) { return call.js.bytes(replaceMalformed(call.text(0))); }},
    {"decodeLatin1",
     [](const HostCall& call) { return call.js.text(fromLatin1(textOf(call.js.view(call.argument(0))))); }},
    {"encodeLatin1", [](const HostCall& call) { return call.js.bytes(toLatin1(call.text(0))); }},
};

template <class Arguments>
Arguments complete(int count, JSValueConst* given) {
  Arguments all;
  for (size_t i = 0; i < all.size(); ++i) {
    all[i] = i < static_cast<size_t>(count) ? given[i] : JS_UNDEFINED;
  }
  return all;
}

JSValue runHost(JSContext* context, JSValueConst, int count, JSValueConst* given, int index) {
  return guarded(context, [&] {
    const auto arguments = complete<std::array<Value, HostCall::kMost>>(count, given);
    return kHost[index].body(HostCall(Values(context), Program::of(context), arguments.data()));
  });
}

JSValue runDataPlane(JSContext* context, JSValueConst, int count, JSValueConst* given, int index) {
  return guarded(context, [&] {
    const auto arguments = complete<std::array<Value, Call::kMost>>(count, given);
    return kDataPlaneCalls[index].body(Call(Values(context), Program::of(context).plane(), arguments.data()));
  });
}

Value list(const Values& js, const std::vector<std::string>& words) {
  Value all = js.array();
  for (const std::string& word : words) js.push(all, js.text(word));
  return all;
}

}  // namespace

JSValue makeHost(JSContext* context) {
  return guarded(context, [context] {
    const Values js(context);
    Value host = js.object({{"names", namesToJs(js)},
                            {"limits", limitsToJs(js)},
                            {"words", list(js, Program::of(context).words())},
                            {"environment", list(js, environmentOfProcess())},
                            {"hostName", js.text(hostName())},
                            {"processors", js.integer(processorCount())},
                            {"processId", js.integer(processId())},
                            {"engine", js.text(CONFIG_VERSION)},
                            {"arch", js.text(kArch)}});
    const auto add = [&](const char* name, JSCFunctionMagic* run, size_t index) {
      js.set(host, name,
             js.keep(JS_NewCFunctionMagic(context, run, name, 0, JS_CFUNC_generic_magic,
                                          static_cast<int>(index))));
    };
    for (size_t i = 0; i < std::size(kHost); ++i) add(kHost[i].name, runHost, i);
    for (size_t i = 0; i < kDataPlaneCallCount; ++i) add(kDataPlaneCalls[i].name, runDataPlane, i);
    return host;
  });
}

}  // namespace vsock_proxy
