// Values in words, as the log lines and error texts of vsock-proxy have them.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "../core/loop.h"
#include "../core/socket.h"

namespace vsock_proxy {

// Everything but printable ASCII as in `\u{1b}`: one line, no terminal commands.
std::string escape(std::string_view text);
// The text in double quotes, with quotes and backslashes in it escaped.
std::string quote(std::string_view text);
// A value from outside, escaped, and cut after 80 bytes.
std::string escapeBriefly(std::string_view text);
// The same in double quotes.
std::string quoteBriefly(std::string_view text);

// `cid: 3 port: 8000`, `tcp: 127.0.0.1:443`, `unix: /run/x.sock`
std::string describe(const Address& address);
// A server: of TCP, `10.0.0.7:443`; others as in `describe`.
std::string describeServer(const Address& server);
// `ECONNREFUSED`, and `error 123456` of one that has no name.
std::string nameErrno(int error);
// `ECONNREFUSED: connection refused`
std::string describeErrno(int error);

// `1 client`, `2 clients`
std::string count(uint64_t number, std::string_view noun);
// `1.2 s`, `1.2`, rounded
std::string seconds(Micros micros);
std::string milliseconds(Micros micros);

}  // namespace vsock_proxy
