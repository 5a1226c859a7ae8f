// put-seccomp-profile DIRECTORY: writes the seccomp profile of this image to the directory, as vsock-proxy.json.
//
// The init step of the pod runs it. kubelet reads profiles from the node's /var/lib/kubelet/seccomp, and the image has
// no shell to copy a file. An existing file is replaced atomically, so no runtime reads half of one.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace {

constexpr const char* kProfile = "/usr/share/vsock-proxy/seccomp.json";
constexpr const char* kName = "vsock-proxy.json";
constexpr const char* kTemporary = ".vsock-proxy.json.new";

int Fail(const char* what, const char* path) {
  std::fprintf(stderr, "put-seccomp-profile: %s %s: %s\n", what, path, std::strerror(errno));
  return 1;
}

bool Copy(int from, int to) {
  char buffer[4096];
  for (;;) {
    const ssize_t size = read(from, buffer, sizeof buffer);
    if (size <= 0) return size == 0;
    if (write(to, buffer, static_cast<size_t>(size)) != size) return false;
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: put-seccomp-profile DIRECTORY\n");
    return 2;
  }
  const int directory = open(arguments[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return Fail("cannot open", arguments[1]);
  const int profile = open(kProfile, O_RDONLY | O_CLOEXEC);
  if (profile < 0) return Fail("cannot open", kProfile);
  if (unlinkat(directory, kTemporary, 0) < 0 && errno != ENOENT) return Fail("cannot replace", kTemporary);
  const int file = openat(directory, kTemporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (file < 0) return Fail("cannot write into", arguments[1]);
  if (!Copy(profile, file) || fsync(file) < 0 || close(file) < 0) return Fail("cannot write", kTemporary);
  if (renameat(directory, kTemporary, directory, kName) < 0) return Fail("cannot replace", kName);
  return 0;
}
