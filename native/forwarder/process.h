// The system calls of the forwarder's process, each as a function.

#pragma once

#include <cstdint>
#include <string>

#include "../core/socket.h"

namespace vsock_proxy {

// Opens the standard streams that are closed, as Node.js does. Otherwise the next descriptors would take
// their numbers, and so get the log, or be the streams of a program that is started. Call it first.
void openStandardStreams();

// The name in ps(1) and the journal: prctl(2), PR_SET_NAME.
void nameProcess(const char* name);

// SIGTERM and SIGINT no longer end the process, but make this descriptor readable. SIGPIPE is ignored, and
// so is SIGHUP, because there is no file to reload. Call it before any thread is started.
Opened openStopSignals();
// A signal that has come, or 0.
int takeSignal(int fd);
// `SIGTERM`
std::string signalName(int signal);

// Raises the limit of open files to the hard limit. The soft limit is low only for select(2), which is not
// used.
void raiseDescriptorLimit();

// O_NONBLOCK would hold for every process that has the same file open. Another one of them may fill a pipe or
// a terminal between poll(2) and write(2), which then waits. So such a descriptor is opened again, if /proc
// allows it. Returns the new one, or `fd`.
int openForItself(int fd);
// Writes at once what there is room for, of a pipe at most PIPE_BUF bytes: how many, or -errno.
int writeWithoutWaiting(int fd, const void* data, size_t size);

// Neither function waits for a reader. They return whether all of the text was written. It has at most
// PIPE_BUF bytes, 4096, as log lines and the help have.
bool writeStdout(const std::string& text);
bool writeStderr(const std::string& text);

// CLOCK_REALTIME in seconds.
int64_t wallSeconds();

// Ends the process at once, without releasing anything.
[[noreturn]] void exitNow(int status);

}  // namespace vsock_proxy
