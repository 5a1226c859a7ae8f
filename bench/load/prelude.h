// What a client says first to a proxy that is asked for the way: before its own bytes, at the head of
// every connection.
#pragma once

#include <string>

struct Prelude {
  std::string bytes;
  enum class Answer {
    None,
    Tunnel,  // the head of a response with status 200, from the proxy
    Echo,    // the same bytes, from the server behind it
  };
  Answer answer = Answer::None;
};

// `connect=HOST:PORT`: an HTTP tunnel. `hello=NAME`: a TLS ClientHello with this server name, which the
// echoing server sends back.
Prelude parsePrelude(const std::string& text);
// Says it, and waits for the answer.
void exchangePrelude(int fd, const Prelude& prelude);
