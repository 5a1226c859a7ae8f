// System calls that Node.js provides and QuickJS lacks: for files, programs, signals and sockets, each as a
// function. A function that returns an int returns the result of the system call, or a negative errno.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "../core/socket.h"

namespace vsock_proxy {

// Call it first. A missing reader then causes an errno instead of the end, and the limit of open files is
// the hard limit.
void prepareProcess();
[[noreturn]] void exitProcess(int status);
int processorCount();
pid_t processId();
struct ProcessUse {
  double cpuSeconds = 0;
  uint64_t residentBytes = 0;
  int descriptors = -1;  // -1: /proc does not say
};
ProcessUse processUse();
std::string hostName();
std::vector<std::string> environmentOfProcess();

// `flags` as in open(2); O_CLOEXEC is added.
int openFile(const std::string& path, int flags, unsigned mode);
int closeFile(int fd);
int readFile(int fd, void* data, size_t size);
int writeFile(int fd, const void* data, size_t size);
struct FileStatus {
  int error = 0;
  uint32_t mode = 0;  // including the type: inode(7)
  uint64_t device = 0;
  uint64_t inode = 0;
  bool terminal = false;
};
FileStatus statusOf(int fd);
// Of the link itself, if it is one.
FileStatus statusOfPath(const std::string& path);
int changeMode(int fd, unsigned mode);
int changeModeOf(const std::string& path, unsigned mode);
int syncFile(int fd);
int renameFile(const std::string& from, const std::string& to);
int removeFile(const std::string& path);
int randomBytes(void* data, size_t size);

// Runs a program, found by the PATH of `environment`, as a shell does. `streams` become its descriptors 0,
// 1 and 2. Its signals are as in a new process. Returns its process id.
int startProgram(const std::vector<std::string>& words, const std::vector<std::string>& environment,
                 const int (&streams)[3]);
struct ProgramEnd {
  bool ended = false;
  int status = 0;
  int signal = 0;  // 0: it ended by itself, with `status`
};
ProgramEnd endOf(pid_t pid);
int sendSignal(pid_t pid, int signal);

// These signals then only make the descriptor readable. Call it before any thread is started.
int openSignals(const std::vector<int>& signals);
// A signal that has come, or 0.
int takeSignalFrom(int fd);

// A UDP socket; `call` is the failed call.
Opened bindDatagrams(const Address& address);
Moved receiveDatagram(int fd, void* data, size_t size, Address& from);
int sendDatagramTo(int fd, const void* data, size_t size, const Address& to);
// Sets O_NONBLOCK, also for other processes with the same open file.
int unblock(int fd);

}  // namespace vsock_proxy
