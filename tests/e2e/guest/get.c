// get NAME PORT: a compiled program that knows nothing of a proxy. Connects to the first address of a name,
// in any family, and prints the address and the last line of what a web server answers.
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kDeadlineSeconds = 120 };

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  alarm(kDeadlineSeconds);
  const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
  struct addrinfo* found;
  const int error = getaddrinfo(argv[1], argv[2], &hints, &found);
  if (error != 0) {
    printf("%s\n", gai_strerror(error));
    return 1;
  }
  char ip[64];
  getnameinfo(found->ai_addr, found->ai_addrlen, ip, sizeof ip, NULL, 0, NI_NUMERICHOST);
  const int fd = socket(found->ai_family, found->ai_socktype, 0);
  if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) < 0) {
    perror("connect");
    return 1;
  }
  FILE* stream = fdopen(fd, "r+");
  fprintf(stream, "GET / HTTP/1.0\r\nHost: %s\r\n\r\n", argv[1]);
  fflush(stream);
  char line[512] = "";
  while (fgets(line, sizeof line, stream) != NULL) continue;
  printf("%s %s", ip, line);
  return fclose(stream) == 0 ? 0 : 1;
}
