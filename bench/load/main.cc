// The load generator: native, so that it is not what gets measured. One measurement for each call; the
// driver, bench/bench.ts, puts them in order and judges the figures.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "client.h"
#include "server.h"
#include "start.h"

namespace {

constexpr char kUsage[] =
    "usage: load serve LISTENERS\n"
    "       load upload|download ENDPOINT CONNECTIONS MILLISECONDS\n"
    "       load round-trip ENDPOINT MESSAGE_BYTES MILLISECONDS\n"
    "       load connections|requests ENDPOINT THREADS MILLISECONDS\n"
    "       load idle ENDPOINT CONNECTIONS\n"
    "       load churn ENDPOINT CONNECTIONS BATCH\n"
    "       load await ENDPOINT\n"
    "       load start ENDPOINT COMMAND...\n"
    "       load run COMMAND...\n"
    "ENDPOINT is unix:/path, tcp:PORT on 127.0.0.1 or vsock:CID:PORT[,buffer=KIB], and what clients say "
    "first:\n"
    ",connect=HOST:PORT, ,connect-fresh=HOST:PORT, ,denied=HOST:PORT, ,get=HOST:PORT or ,hello=NAME\n";

int usage() {
  std::fputs(kUsage, stderr);
  return 2;
}

int run(int argc, char** argv) {
  const std::string role = argc > 1 ? argv[1] : "";
  const auto number = [argv](int i) { return std::atoi(argv[i]); };
  const auto millis = [number](int i) { return std::chrono::milliseconds(number(i)); };
  if (role == "serve" && argc == 3) return runServer(number(2));
  if (role == "run" && argc > 2) return measureRun(argv + 2), 0;
  if (argc < 3) return usage();
  const Endpoint proxy = parseEndpoint(argv[2]);
  if (role == "await" && argc == 3) return awaitReady(proxy), 0;
  if (argc < 4) return usage();
  if (role == "start") return measureStart(proxy, argv + 3), 0;
  if (role == "idle" && argc == 4) return holdIdle(proxy, number(3)), 0;
  if (argc != 5) return usage();
  if (role == "upload") return measureUpload(proxy, number(3), millis(4)), 0;
  if (role == "download") return measureDownload(proxy, number(3), millis(4)), 0;
  if (role == "round-trip") return measureRoundTrip(proxy, static_cast<size_t>(number(3)), millis(4)), 0;
  if (role == "connections") return measureConnections(proxy, number(3), millis(4)), 0;
  if (role == "requests") return measureRequests(proxy, number(3), millis(4)), 0;
  if (role == "churn") return churn(proxy, number(3), number(4)), 0;
  return usage();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "load: %s\n", error.what());
    return 1;
  }
}
