#include "prelude.h"

#include <atomic>
#include <stdexcept>

#include "wire.h"

namespace {

constexpr char kConnect[] = "connect=";
constexpr char kConnectFresh[] = "connect-fresh=";
constexpr char kDenied[] = "denied=";
constexpr char kGet[] = "get=";
constexpr char kHello[] = "hello=";
constexpr size_t kMostHeadBytes = 4096;

// What follows the prefix; empty without it.
std::string behind(const std::string& prefix, const std::string& text) {
  return text.rfind(prefix, 0) == 0 ? text.substr(prefix.size()) : "";
}

std::string number(size_t value, int bytes) {
  std::string text;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) text += static_cast<char>(value >> shift & 0xff);
  return text;
}

// The content behind its own length, which takes so many bytes.
std::string sized(int bytes, const std::string& content) { return number(content.size(), bytes) + content; }

std::string extension(size_t type, const std::string& content) { return number(type, 2) + sized(2, content); }

std::string hex(const std::string& digits) {
  std::string bytes;
  for (size_t at = 0; at < digits.size(); at += 2) {
    bytes += static_cast<char>(std::stoi(digits.substr(at, 2), nullptr, 16));
  }
  return bytes;
}

// What a browser sends (RFC 8446, section 4.1.2): TLS 1.3 with GREASE (RFC 8701), padded to 512 bytes
// behind the record's header (RFC 7685). What would be random is constant.
std::string clientHello(const std::string& name) {
  constexpr size_t kMessageBytes = 512;
  const std::string random(32, '\x5a');
  const std::string ciphers = hex("dada130113021303c02bc02fc02cc030cca9cca8c013c014009c009d002f0035");
  std::string extensions;
  extensions += extension(0x4a4a, "");                                              // GREASE
  extensions += extension(0, sized(2, number(0, 1) + sized(2, name)));              // server_name
  extensions += extension(23, "");                                                  // extended_master_secret
  extensions += extension(0xff01, number(0, 1));                                    // renegotiation_info
  extensions += extension(10, sized(2, hex("aaaa001d00170018")));                   // supported_groups
  extensions += extension(11, hex("0100"));                                         // ec_point_formats
  extensions += extension(35, "");                                                  // session_ticket
  extensions += extension(16, sized(2, sized(1, "h2") + sized(1, "http/1.1")));     // ALPN
  extensions += extension(5, hex("0100000000"));                                    // status_request
  extensions += extension(13, sized(2, hex("04030804040105030805050108060601")));   // signature_algorithms
  extensions += extension(51, sized(2, hex("aaaa000100001d") + sized(2, random)));  // key_share
  extensions += extension(45, hex("0101"));                                         // psk_key_exchange_modes
  extensions += extension(43, sized(1, hex("baba03040303")));                       // supported_versions
  extensions += extension(0x5a5a, number(0, 1));                                    // GREASE
  const std::string start = hex("0303") + random + sized(1, random) + sized(2, ciphers) + hex("0100");
  constexpr size_t kHeaders = 4 + 2 + 4;  // of message, extensions and padding
  const size_t used = kHeaders + start.size() + extensions.size();
  if (used > kMessageBytes) throw std::runtime_error("the server name " + name + " is too long");
  extensions += extension(21, std::string(kMessageBytes - used, '\0'));  // padding
  return hex("160301") + sized(2, number(1, 1) + sized(3, start + sized(2, extensions)));
}

std::string connectHead(const std::string& target) {
  return "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n";
}

bool hasStatus(const std::string& head, const char* status) {
  return head.compare(0, 7, "HTTP/1.") == 0 && head.compare(9, 3, status) == 0;
}

// Reads no further than the head: there is nothing behind it until the client sends more.
void expectTunnel(int fd) {
  static const std::string kEnd = "\r\n\r\n";
  std::string head;
  char buffer[kMostHeadBytes];
  while (head.find(kEnd) == std::string::npos) {
    const size_t bytes = readSome(fd, buffer, sizeof buffer);
    head.append(buffer, bytes);
    if (head.size() > kMostHeadBytes) throw std::runtime_error("the answer to CONNECT does not end");
  }
  if (!hasStatus(head, "200")) throw std::runtime_error("CONNECT: " + head.substr(0, head.find('\r')));
  if (head.find(kEnd) + kEnd.size() != head.size())
    throw std::runtime_error("bytes behind the answer to CONNECT");
}

void expectDenial(int fd) {
  std::string answer;
  char buffer[kMostHeadBytes];
  while (const size_t bytes = readUntilEnd(fd, buffer, sizeof buffer)) answer.append(buffer, bytes);
  if (!hasStatus(answer, "403")) throw std::runtime_error("CONNECT: " + answer.substr(0, answer.find('\r')));
}

void expectEcho(int fd, const std::string& bytes) {
  std::string echo(bytes.size(), '\0');
  readAll(fd, echo.data(), echo.size());
  if (echo != bytes) throw std::runtime_error("another ClientHello came back than was sent");
}

}  // namespace

Prelude parsePrelude(const std::string& text) {
  for (const bool isFresh : {false, true}) {
    const std::string target = behind(isFresh ? kConnectFresh : kConnect, text);
    if (target.empty()) continue;
    return {connectHead(target) + (isFresh ? "" : "\r\n"), Prelude::Answer::Tunnel, target, isFresh};
  }
  const std::string denied = behind(kDenied, text);
  if (!denied.empty()) return {"", Prelude::Answer::Denial, denied, true};
  const std::string server = behind(kGet, text);
  if (!server.empty()) return {"", Prelude::Answer::Requests, server};
  const std::string name = behind(kHello, text);
  if (!name.empty()) return {clientHello(name), Prelude::Answer::Echo, name};
  throw std::runtime_error("prelude " + text +
                           " is none of connect=, connect-fresh=, denied=, get= and hello=");
}

void exchangePrelude(int fd, const Prelude& prelude) {
  static std::atomic<unsigned> last{0};
  switch (prelude.answer) {
    case Prelude::Answer::None:
    case Prelude::Answer::Requests:
      return;
    case Prelude::Answer::Tunnel: {
      std::string bytes = prelude.bytes;
      if (prelude.isFresh) bytes += "X-Request-Id: " + std::to_string(++last) + "\r\n\r\n";
      writeAll(fd, bytes.data(), bytes.size());
      return expectTunnel(fd);
    }
    case Prelude::Answer::Denial: {
      const unsigned number = ++last;
      std::string target = prelude.target;
      target.replace(target.find('*'), 1,
                     std::to_string(number >> 8 & 0xff) + "." + std::to_string(number & 0xff));
      const std::string bytes = connectHead(target) + "\r\n";
      writeAll(fd, bytes.data(), bytes.size());
      return expectDenial(fd);
    }
    case Prelude::Answer::Echo:
      writeAll(fd, prelude.bytes.data(), prelude.bytes.size());
      return expectEcho(fd, prelude.bytes);
  }
}
