// What the forwarder needs of its process, each system call as a function.

#pragma once

#include <cstdint>
#include <string>

#include "../core/socket.h"

namespace vsock_proxy {

// What ps(1) and the journal show: prctl(2), PR_SET_NAME.
void nameProcess(const char* name);

// From now on SIGTERM and SIGINT end nothing, but make this descriptor readable. SIGPIPE does nothing at
// all, nor does SIGHUP, by which vsock-proxy reads its file again: here is none. Before any thread is
// started.
Opened openStopSignals();
// One that has come, or 0.
int takeSignal(int fd);
// `SIGTERM`
std::string signalName(int signal);

// As many open files as the hard limit allows: select(2), for whose sake the soft limit is low, is not used.
void raiseDescriptorLimit();

// Neither waits for a reader. Returns whether the text was taken.
bool writeStdout(const std::string& text);
bool writeStderr(const std::string& text);

// CLOCK_REALTIME in seconds.
int64_t wallSeconds();

// At once: nothing is released.
[[noreturn]] void exitNow(int status);

}  // namespace vsock_proxy
