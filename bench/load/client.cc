#include "client.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "http.h"

namespace {

using std::chrono::duration;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

double secondsSince(steady_clock::time_point start) {
  return duration<double>(steady_clock::now() - start).count();
}

// Seconds of CPU that this process used so far: a client near one CPU for each thread is the limit itself.
double cpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// The value that this share of them, from 0 to 1, does not exceed. Changes their order.
double quantile(std::vector<double>& values, double share) {
  if (values.empty()) return 0;
  const auto at =
      values.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

// Runs `work(i)` for each i in its own thread; the first exception of any of them is thrown again here.
void inThreads(int count, const std::function<void(int)>& work) {
  std::vector<std::exception_ptr> failures(static_cast<size_t>(count));
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      try {
        work(i);
      } catch (...) {
        failures[static_cast<size_t>(i)] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

void exchangeByte(const Fd& connection, char byte) {
  writeAll(connection.get(), &byte, 1);
  char answer;
  readAll(connection.get(), &answer, 1);
  if (answer != byte) throw std::runtime_error("another byte came back than was sent");
}

std::vector<Fd> openAll(const Endpoint& proxy, int count, char kind) {
  std::vector<Fd> connections;
  for (int i = 0; i < count; ++i) connections.push_back(connectTo(proxy));
  for (const Fd& connection : connections) exchangeByte(connection, kind);
  return connections;
}

void measureBulk(const Endpoint& proxy, int count, char kind,
                 const std::function<uint64_t(int fd)>& transfer) {
  std::vector<Fd> connections = openAll(proxy, count, kind);
  std::vector<uint64_t> bytes(connections.size());
  const double cpuBefore = cpuSeconds();
  const auto start = steady_clock::now();
  inThreads(count, [&](int i) {
    const auto index = static_cast<size_t>(i);
    bytes[index] = transfer(connections[index].get());
  });
  const double seconds = secondsSince(start);
  uint64_t total = 0;
  for (const uint64_t part : bytes) total += part;
  std::printf("{\"gbitPerSecond\":%.3f,\"units\":%.3f,\"clientCpus\":%.3f}\n",
              static_cast<double>(total) * 8 / seconds / 1e9, static_cast<double>(total) / 1024 / 1024,
              (cpuSeconds() - cpuBefore) / seconds);
}

// Each thread does what `begin` gives it, again and again; what takes how long is printed.
template <class Begin>
void measureRepeated(int threads, milliseconds duration, const Begin& begin) {
  struct Tally {
    std::vector<double> micros;  // of each that did not fail
    uint64_t failed = 0;
    std::string failure;
  };
  std::vector<Tally> tallies(static_cast<size_t>(threads));
  const double cpuBefore = cpuSeconds();
  const auto start = steady_clock::now();
  const auto end = start + duration;
  inThreads(threads, [&](int i) {
    Tally tally;
    auto once = begin(i);
    while (steady_clock::now() < end) {
      try {
        const auto from = steady_clock::now();
        once();
        tally.micros.push_back(secondsSince(from) * 1e6);
      } catch (const std::runtime_error& error) {
        ++tally.failed;
        tally.failure = error.what();
      }
    }
    tallies[static_cast<size_t>(i)] = std::move(tally);
  });
  const double seconds = secondsSince(start);
  Tally total;
  for (const Tally& tally : tallies) {
    total.micros.insert(total.micros.end(), tally.micros.begin(), tally.micros.end());
    total.failed += tally.failed;
    if (!tally.failure.empty()) total.failure = tally.failure;
  }
  if (total.failed > 0) std::fprintf(stderr, "load: a connection failed: %s\n", total.failure.c_str());
  std::printf(
      "{\"perSecond\":%.1f,\"p50Micros\":%.3f,\"p99Micros\":%.3f,\"units\":%zu,\"failed\":%llu,"
      "\"clientCpus\":%.3f}\n",
      static_cast<double>(total.micros.size()) / seconds, quantile(total.micros, 0.5),
      quantile(total.micros, 0.99), total.micros.size(), static_cast<unsigned long long>(total.failed),
      (cpuSeconds() - cpuBefore) / seconds);
}

}  // namespace

void measureUpload(const Endpoint& proxy, int connections, milliseconds duration) {
  measureBulk(proxy, connections, kUpload, [duration](int fd) {
    const uint64_t sent = sendFrames(fd, duration);
    uint64_t received;
    readAll(fd, &received, sizeof received);
    if (received != sent) throw std::runtime_error("the server counted other bytes than were sent");
    return sent;
  });
}

void measureDownload(const Endpoint& proxy, int connections, milliseconds duration) {
  measureBulk(proxy, connections, kDownload, [duration](int fd) {
    const DownloadOrder order{static_cast<uint32_t>(duration.count())};
    writeAll(fd, &order, sizeof order);
    const uint64_t received = receiveFrames(fd);
    writeAll(fd, &received, sizeof received);
    uint64_t sent;
    readAll(fd, &sent, sizeof sent);
    if (received != sent) throw std::runtime_error("other bytes arrived than the server sent");
    return received;
  });
}

void measureRoundTrip(const Endpoint& proxy, size_t messageBytes, milliseconds duration) {
  constexpr int kWarmUp = 200;
  const Fd connection = connectTo(proxy);
  exchangeByte(connection, kEcho);
  std::vector<char> message(messageBytes, kFiller);
  std::vector<double> micros;
  const auto roundTrip = [&] {
    const auto start = steady_clock::now();
    writeAll(connection.get(), message.data(), message.size());
    readAll(connection.get(), message.data(), message.size());
    return secondsSince(start) * 1e6;
  };
  for (int i = 0; i < kWarmUp; ++i) roundTrip();
  const auto end = steady_clock::now() + duration;
  const double cpuBefore = cpuSeconds();
  const auto start = steady_clock::now();
  while (steady_clock::now() < end) micros.push_back(roundTrip());
  const double seconds = secondsSince(start);
  std::printf("{\"p50Micros\":%.3f,\"p99Micros\":%.3f,\"units\":%zu,\"clientCpus\":%.3f}\n",
              quantile(micros, 0.50), quantile(micros, 0.99), micros.size(),
              (cpuSeconds() - cpuBefore) / seconds);
}

void measureConnections(const Endpoint& proxy, int threads, milliseconds duration) {
  const bool isDenied = proxy.prelude.answer == Prelude::Answer::Denial;
  measureRepeated(threads, duration, [&](int) {
    return [&] {
      const Fd connection = connectTo(proxy);
      if (!isDenied) exchangeByte(connection, kEcho);
    };
  });
}

void measureRequests(const Endpoint& proxy, int clients, milliseconds duration) {
  measureRepeated(clients, duration, [&](int client) {
    auto requester = std::make_shared<Requester>(proxy);
    return [requester, number = static_cast<uint64_t>(client) << 32]() mutable { requester->get(number++); };
  });
}

// Fewer than a queue of connections holds.
constexpr int kOpenedAtOnce = 256;

void holdIdle(const Endpoint& proxy, int connections) {
  std::vector<Fd> open;
  while (open.size() < static_cast<size_t>(connections)) {
    const int rest = connections - static_cast<int>(open.size());
    for (Fd& one : openAll(proxy, std::min(kOpenedAtOnce, rest), kEcho)) open.push_back(std::move(one));
  }
  std::printf("{\"alive\":%zu}\n", open.size());
  std::fflush(stdout);
  std::string line;
  std::getline(std::cin, line);
  // Still alive after the wait: the proof that they were connections and not only descriptors.
  for (const Fd& connection : open) exchangeByte(connection, kFiller);
  std::printf("{\"alive\":%zu}\n", open.size());
}

void churn(const Endpoint& proxy, int connections, int batch) {
  for (int opened = 0; opened < connections; opened += batch) {
    openAll(proxy, std::min(batch, connections - opened), kEcho);
  }
  std::printf("{\"done\":%d}\n", connections);
}
