// Values as text, as in the log lines and errors of vsock-proxy.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "../core/loop.h"
#include "../core/socket.h"

namespace vsock_proxy {

// Escapes everything but printable ASCII, as in `\u{1b}`: the result is one line, without terminal
// commands.
std::string escape(std::string_view text);
// The text in double quotes, with its quotes and backslashes escaped.
std::string quote(std::string_view text);
// A value from outside, escaped, and cut after 80 bytes.
std::string escapeBriefly(std::string_view text);
// The same in double quotes.
std::string quoteBriefly(std::string_view text);

// `cid: 3 port: 8000`, `tcp: 127.0.0.1:443`, `unix: /run/x.sock`
std::string describe(const Address& address);
// A server: for TCP, `10.0.0.7:443`; otherwise as in `describe`.
std::string describeServer(const Address& server);
// `ECONNREFUSED`; `error 123456` for an errno without a name.
std::string nameErrno(int error);
// `ECONNREFUSED: connection refused`
std::string describeErrno(int error);

// `1 client`, `2 clients`
std::string count(uint64_t number, std::string_view noun);
// `1.2 s`, `1.2`, rounded
std::string seconds(Micros micros);
std::string milliseconds(Micros micros);

}  // namespace vsock_proxy
