// One client of an HTTP proxy, which sends one request after the other over one connection.
#pragma once

#include <cstdint>
#include <string>

#include "wire.h"

// The body of each response.
constexpr size_t kResponseBytes = 1024;

// What the server sends for one request; empty where these bytes are none.
std::string responseTo(const char* request, size_t size);

class Requester {
 public:
  explicit Requester(const Endpoint& proxy) : proxy_(proxy) {}
  // GET of a URL with this number in it. Connects first where the proxy has ended the connection before.
  void get(uint64_t number);

 private:
  const Endpoint& proxy_;
  Fd connection_;
  std::string request_;
  std::string response_;
};
