#include "process.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>

namespace vsock_proxy {
namespace {

int orErrno(int result) { return result < 0 ? -errno : result; }

template <class Action>
int retried(Action action) {
  for (;;) {
    const auto result = action();
    if (result >= 0) return static_cast<int>(result);
    if (errno != EINTR) return -errno;
  }
}

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> all;
  for (const std::string& word : words) all.push_back(const_cast<char*>(word.c_str()));
  all.push_back(nullptr);
  return all;
}

// Runs in the child, where memory must not be allocated. Returns an errno, if it returns.
int becomeProgram(char* const* words, char** environment, const int (&streams)[3]) {
  // Moves the descriptors above 0, 1 and 2, because one of these may be the source of another.
  int copies[3];
  for (int i = 0; i < 3; ++i) {
    copies[i] = fcntl(streams[i], F_DUPFD_CLOEXEC, 3);
    if (copies[i] < 0) return errno;
  }
  for (int i = 0; i < 3; ++i) {
    if (dup2(copies[i], i) < 0) return errno;
  }
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  environ = environment;
  execvp(words[0], words);
  return errno;
}

}  // namespace

void prepareProcess() {
  signal(SIGPIPE, SIG_IGN);
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

void exitProcess(int status) { _exit(status); }

int processorCount() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) < 0 ? 1 : std::max(1, CPU_COUNT(&set));
}

pid_t processId() { return getpid(); }

ProcessUse processUse() {
  ProcessUse use;
  rusage spent{};
  getrusage(RUSAGE_SELF, &spent);
  for (const timeval& part : {spent.ru_utime, spent.ru_stime}) {
    use.cpuSeconds += static_cast<double>(part.tv_sec) + static_cast<double>(part.tv_usec) / 1e6;
  }
  // Of proc(5): the second number is that of the resident pages.
  if (FILE* pages = fopen("/proc/self/statm", "re")) {
    unsigned long long resident = 0;
    if (fscanf(pages, "%*u %llu", &resident) == 1) {
      use.residentBytes = resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
    }
    fclose(pages);
  }
  if (DIR* all = opendir("/proc/self/fd")) {
    // Without `.`, `..` and its own.
    use.descriptors = -3;
    while (readdir(all) != nullptr) ++use.descriptors;
    closedir(all);
  }
  return use;
}

std::string hostName() {
  char name[HOST_NAME_MAX + 1] = {};
  return gethostname(name, HOST_NAME_MAX) < 0 ? "" : name;
}

std::vector<std::string> environmentOfProcess() {
  std::vector<std::string> all;
  for (char** one = environ; *one != nullptr; ++one) all.emplace_back(*one);
  return all;
}

int openFile(const std::string& path, int flags, unsigned mode) {
  return retried([&] { return open(path.c_str(), flags | O_CLOEXEC, mode); });
}
int closeFile(int fd) { return orErrno(close(fd)); }
int readFile(int fd, void* data, size_t size) {
  return retried([&] { return read(fd, data, size); });
}
int writeFile(int fd, const void* data, size_t size) {
  return retried([&] { return write(fd, data, size); });
}

FileStatus statusOf(int fd) {
  struct stat found {};
  if (fstat(fd, &found) < 0) return {errno};
  return {0, found.st_mode, found.st_dev, found.st_ino, S_ISCHR(found.st_mode) && isatty(fd) == 1};
}
FileStatus statusOfPath(const std::string& path) {
  struct stat found {};
  if (lstat(path.c_str(), &found) < 0) return {errno};
  return {0, found.st_mode, found.st_dev, found.st_ino, false};
}

int changeMode(int fd, unsigned mode) { return orErrno(fchmod(fd, mode)); }
int changeModeOf(const std::string& path, unsigned mode) { return orErrno(chmod(path.c_str(), mode)); }
int syncFile(int fd) { return orErrno(fsync(fd)); }
int renameFile(const std::string& from, const std::string& to) {
  return orErrno(rename(from.c_str(), to.c_str()));
}
int removeFile(const std::string& path) { return orErrno(unlink(path.c_str())); }
int randomBytes(void* data, size_t size) {
  return retried([&] { return getrandom(data, size, 0); });
}

int startProgram(const std::vector<std::string>& words, const std::vector<std::string>& environment,
                 const int (&streams)[3]) {
  const std::vector<char*> arguments = pointers(words);
  std::vector<char*> variables = pointers(environment);
  // exec(3) closes it; otherwise it has an errno.
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
  UniqueFd outcome(ends[0]);
  UniqueFd told(ends[1]);
  const pid_t pid = fork();
  if (pid < 0) return -errno;
  if (pid == 0) {
    const int error = becomeProgram(arguments.data(), variables.data(), streams);
    if (write(told.get(), &error, sizeof error) < 0) _exit(2);
    _exit(1);
  }
  told.reset();
  int error = 0;
  if (readFile(outcome.get(), &error, sizeof error) != sizeof error) return pid;
  waitpid(pid, nullptr, 0);
  return -error;
}

ProgramEnd endOf(pid_t pid) {
  int status = 0;
  if (waitpid(pid, &status, WNOHANG) != pid) return {};
  return WIFSIGNALED(status) ? ProgramEnd{true, 0, WTERMSIG(status)}
                             : ProgramEnd{true, WEXITSTATUS(status), 0};
}

int sendSignal(pid_t pid, int signal) { return orErrno(kill(pid, signal)); }

int openSignals(const std::vector<int>& signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  return orErrno(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
}

int takeSignalFrom(int fd) {
  signalfd_siginfo info{};
  return read(fd, &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

Opened bindDatagrams(const Address& address) {
  UniqueFd fd(socket(address.family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return {UniqueFd(), "socket", errno};
  if (bind(fd.get(), address.raw(), address.size()) < 0) return {UniqueFd(), "bind", errno};
  return {std::move(fd)};
}

Moved receiveDatagram(int fd, void* data, size_t size, Address& from) {
  socklen_t length = Address::kCapacity;
  const int received = retried([&] { return recvfrom(fd, data, size, 0, from.raw(), &length); });
  from.setSize(length);
  return received < 0 ? Moved{0, -received} : Moved{static_cast<size_t>(received), 0};
}

int sendDatagramTo(int fd, const void* data, size_t size, const Address& to) {
  return retried([&] { return sendto(fd, data, size, MSG_NOSIGNAL, to.raw(), to.size()); });
}

int unblock(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  return flags < 0 ? -errno : orErrno(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}

}  // namespace vsock_proxy
