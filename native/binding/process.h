// What Node.js cannot do of a process: the loopback link, orphans, pipes, and another program in its place.

#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace vsock_proxy {

// The call that failed, and its errno; error 0: it is as it should be.
struct Outcome {
  const char* call = "";
  int error = 0;
};

// Sets the link up, with the addresses that the kernel gives it then (127.0.0.1/8, and ::1 where there is
// IPv6), or widens a narrower 127.0.0.1 to them. Where nothing is to be done, needs no privilege.
Outcome bringUpLoopback();

// Gives the link one more address; the whole prefix is this machine's then: what is bound to its port at
// every address is reached by each of the prefix. Returns 0, also where it has the address, or an errno.
int addLoopbackAddress(const std::string& ip, unsigned prefixLength);

// Of the caller, who has to close them; exec(3) does, too. Error 0, or an errno, and there are none.
struct PipeEnds {
  int read = -1;
  int write = -1;
  int error = 0;
};

// For what a child writes. Node.js gives its children sockets, and those cannot be opened by name: who logs
// to /dev/stdout would find ENXIO, open(2).
PipeEnds openPipe();

// Lets this thread receive every signal. Node.js blocks SIGUSR1 where it must not open its inspector.
void unblockSignals();

// Lets children end that this process did not start, but inherited because their parents ended. `own` is the
// one that it did start: who started it waits for it, and until then nothing behind it in the kernel's list
// is seen.
void reapOrphans(pid_t own);

// The caller closes `fd`; exec(3) does, too. Error 0, or the errno of memfd_create(2), and there is none.
struct MemoryFile {
  int fd = -1;
  int error = 0;
};

// A file in memory that may be executed: it needs no directory that is writable and not mounted noexec. The
// sysctl vm.memfd_noexec may forbid it.
MemoryFile openMemoryFile(const char* name);

// Runs the program that the descriptor has open in the place of this one, with these words (the first is its
// name) and this environment. Standard streams and signals are as a new process finds them, whatever Node.js
// has done with them.
// Returns only when it cannot: the errno of fexecve(3).
int execute(int program, const std::vector<std::string>& words);

}  // namespace vsock_proxy
