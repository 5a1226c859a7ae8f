// client CID|IPv4 PORT [BYTES]: connects over vsock or TCP as a program in an enclave does. Static, for an
// initramfs without libraries.
//
// With BYTES, it sends a pattern of that length, half-closes, and meanwhile reads the server's pattern of the
// same length up to its EOF: see guest/pattern_server.py for the other end. Prints one line; exit status 0
// means that all was right.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kPeriod = 251, kBufferBytes = 65536, kDeadlineSeconds = 120 };

// A prime period: no buffer of the usual sizes can be lost or moved without a trace.
static unsigned char client_byte(size_t offset) { return offset % kPeriod; }
static unsigned char server_byte(size_t offset) { return kPeriod - 1 - offset % kPeriod; }

static int fail(const char* operation) {
  printf("%s: %s\n", operation, strerrorname_np(errno));
  return 1;
}

static int dial(const char* address, unsigned port) {
  struct sockaddr_in tcp = {.sin_family = AF_INET, .sin_port = htons(port)};
  struct sockaddr_vm vsock = {.svm_family = AF_VSOCK, .svm_cid = strtoul(address, NULL, 10), .svm_port = port};
  const int is_tcp = inet_pton(AF_INET, address, &tcp.sin_addr);
  const void* target = is_tcp ? (const void*)&tcp : &vsock;
  int fd = socket(is_tcp ? AF_INET : AF_VSOCK, SOCK_STREAM, 0);
  return fd < 0 || connect(fd, target, is_tcp ? sizeof tcp : sizeof vsock) == 0 ? fd : -1;
}

static int send_pattern(int fd, size_t bytes) {
  static unsigned char buffer[kBufferBytes];
  for (size_t sent = 0; sent < bytes;) {
    size_t length = bytes - sent < sizeof buffer ? bytes - sent : sizeof buffer;
    for (size_t i = 0; i < length; i++) buffer[i] = client_byte(sent + i);
    ssize_t n = send(fd, buffer, length, MSG_NOSIGNAL);
    if (n < 0) return fail("send");
    sent += n;
  }
  return shutdown(fd, SHUT_WR) == 0 ? 0 : fail("shutdown");
}

static int receive_pattern(int fd, size_t bytes) {
  static unsigned char buffer[kBufferBytes];
  size_t received = 0;
  ssize_t n;
  while ((n = recv(fd, buffer, sizeof buffer, 0)) > 0) {
    for (ssize_t i = 0; i < n; i++, received++) {
      if (received < bytes && buffer[i] == server_byte(received)) continue;
      printf("received: wrong byte at %zu\n", received);
      return 1;
    }
  }
  if (n < 0) return fail("recv");
  printf("received: %zu of %zu bytes, all right\n", received, bytes);
  return received == bytes ? 0 : 1;
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  setvbuf(stdout, NULL, _IOLBF, 0);
  alarm(kDeadlineSeconds);
  int fd = dial(argv[1], strtoul(argv[2], NULL, 10));
  if (fd < 0) return fail("connect");
  if (argc == 3) return 0;

  size_t bytes = strtoul(argv[3], NULL, 10);
  pid_t sender = fork();
  if (sender < 0) return fail("fork");
  if (sender == 0) return send_pattern(fd, bytes);
  int received = receive_pattern(fd, bytes);
  int sent;
  if (waitpid(sender, &sent, 0) < 0) return fail("waitpid");
  return received == 0 && sent == 0 ? 0 : 1;
}
