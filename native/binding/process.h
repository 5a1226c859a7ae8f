// Process calls that Node.js lacks: the loopback link, orphans, pipes, and replacing the process by another
// program.

#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace vsock_proxy {

// The call that failed, and its errno; error 0: success.
struct Outcome {
  const char* call = "";
  int error = 0;
};

// Sets the link up, with the addresses that the kernel gives it (127.0.0.1/8, and ::1 if there is IPv6), or
// widens a narrower 127.0.0.1 to them. It needs no privilege if nothing has to change.
Outcome bringUpLoopback();

// Gives the link one more address. The whole prefix then belongs to this machine: a socket that is bound to
// its port at every address is reachable at each address of the prefix. Returns 0, also if the link has the
// address, or an errno.
int addLoopbackAddress(const std::string& ip, unsigned prefixLength);

// Two descriptors, which the caller closes; exec(3) closes them, too. Error 0, or an errno without
// descriptors.
struct PipeEnds {
  int read = -1;
  int write = -1;
  int error = 0;
};

// A pipe for the output of a child. Node.js gives its children sockets, which cannot be opened by name: a
// program that logs to /dev/stdout would get ENXIO, open(2).
PipeEnds openPipe();

// Lets this thread receive every signal. Node.js blocks SIGUSR1 if it must not open the inspector.
void unblockSignals();

// Reaps orphans that were re-parented to this process. `own`, which Node.js waits for, is left alone; as
// long as it is a zombie, children behind it in the kernel's list are not reaped.
void reapOrphans(pid_t own);

// The caller closes `fd`; exec(3) does, too. Error 0, or the errno of memfd_create(2) without a descriptor.
struct MemoryFile {
  int fd = -1;
  int error = 0;
};

// An executable file in memory. It needs no directory that is writable and not mounted noexec. The sysctl
// vm.memfd_noexec may forbid it.
MemoryFile openMemoryFile(const char* name);

// Replaces this program by the one in the descriptor, with these words (the first is its name) and this
// environment. Standard streams and signals are as in a new process, whatever Node.js did to them. It
// returns only on failure: the errno of fexecve(3).
int execute(int program, const std::vector<std::string>& words);

}  // namespace vsock_proxy
