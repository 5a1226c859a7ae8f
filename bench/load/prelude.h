// The first bytes of a client to a proxy that takes targets from clients, before its own bytes: at the head
// of every connection.
#pragma once

#include <string>

struct Prelude {
  std::string bytes;
  enum class Answer {
    None,
    Tunnel,    // the head of a response with status 200, from the proxy
    Denial,    // a response with status 403, from the proxy, and the end of the connection
    Echo,      // the same bytes, from the server behind it
    Requests,  // nothing is said: the client sends one request after the other
  };
  Answer answer = Answer::None;
  std::string target;  // HOST:PORT of an HTTP proxy's client; `*` in a denied one is two labels, never alike
  bool isFresh = false;  // no two are the same
};

// `connect=HOST:PORT`: an HTTP tunnel; `connect-fresh=HOST:PORT`: each with another head.
// `denied=HOST:PORT`: an HTTP tunnel that the proxy refuses. `get=HOST:PORT`: a client of load/http.h.
// `hello=NAME`: a TLS ClientHello with this server name, which the echoing server sends back.
Prelude parsePrelude(const std::string& text);
// Says it, and waits for the answer.
void exchangePrelude(int fd, const Prelude& prelude);
