// What Node.js does of a process for its programs, and QuickJS does not: files, programs, signals and
// sockets, each system call as a function. Those that return an int return what the system call does, or an
// errno below 0.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "../core/socket.h"

namespace vsock_proxy {

// Before anything else: a reader that is gone is an errno, not the end, and files are as many as the hard
// limit allows.
void prepareProcess();
[[noreturn]] void exitProcess(int status);
int processorCount();
std::string hostName();
std::vector<std::string> environmentOfProcess();

// `flags` as of open(2); O_CLOEXEC is added.
int openFile(const std::string& path, int flags, unsigned mode);
int closeFile(int fd);
int readFile(int fd, void* data, size_t size);
int writeFile(int fd, const void* data, size_t size);
// Takes what a pipe, socket or terminal takes at once, without a change to what others share with us: -EAGAIN
// if nothing.
int writeWithoutWaiting(int fd, const void* data, size_t size);
struct FileStatus {
  int error = 0;
  uint32_t mode = 0;  // with the type: inode(7)
  uint64_t device = 0;
  uint64_t inode = 0;
  bool terminal = false;
};
FileStatus statusOf(int fd);
int changeMode(int fd, unsigned mode);
int syncFile(int fd);
int renameFile(const std::string& from, const std::string& to);
int removeFile(const std::string& path);
int randomBytes(void* data, size_t size);

// Runs a program, found as a shell finds it, by the PATH of `environment`. `streams` are its 0, 1 and 2. Its
// signals are as a new process finds them. Returns its process id.
int startProgram(const std::vector<std::string>& words, const std::vector<std::string>& environment,
                 const int (&streams)[3]);
struct ProgramEnd {
  bool ended = false;
  int status = 0;
  int signal = 0;  // 0: it has ended by itself, with `status`
};
ProgramEnd endOf(pid_t pid);
int sendSignal(pid_t pid, int signal);

// From now on these do nothing but make the descriptor readable. Before any thread is started.
int openSignals(const std::vector<int>& signals);
// One that has come, or 0.
int takeSignalFrom(int fd);

// A UDP socket; `call` is the one that failed.
Opened bindDatagrams(const Address& address);
Moved receiveDatagram(int fd, void* data, size_t size, Address& from);
int sendDatagramTo(int fd, const void* data, size_t size, const Address& to);
// O_NONBLOCK, for everyone who has the same file open.
int unblock(int fd);

}  // namespace vsock_proxy
