#include "arguments.h"

#include <optional>
#include <stdexcept>
#include <string_view>

#include "text.h"

namespace vsock_proxy {
namespace {

constexpr uint32_t kCidLocal = 1;
constexpr uint32_t kCidAny = UINT32_MAX;   // VMADDR_CID_ANY
constexpr uint32_t kPortAny = UINT32_MAX;  // VMADDR_PORT_ANY
// Lower ports are not for services. A lower number is most likely a CID at the place of the port.
constexpr uint32_t kLowestVsockPort = 4;
constexpr uint64_t kMostConnections = 1'000'000;
constexpr Micros kMicrosPerMs = 1000;
constexpr Micros kLongestTimeoutMs = Micros{168} * 3600 * 1000;

constexpr const char* kUsage = "[OPTIONS] <local> <cid> <port>";

// `PROGRAM` is replaced by the name of the program.
constexpr const char* kHelp = R"(Usage: PROGRAM [OPTIONS] <local> <cid> <port>

Carries each connection made to <local> to a vsock address: the enclave's side of
vsock-proxy, for applications that know nothing of vsock.

Arguments:
  <local>  where clients connect to: IP:PORT, [IPv6]:PORT, unix:PATH,
           vsock:PORT (every CID of this machine) or vsock:CID:PORT
  <cid>    of the machine to connect to; the parent of a Nitro Enclave is 3
  <port>   its vsock port

  <local_ip> <local_port> <cid> <port> says the same in four words. In the place of
  <cid> <port> one word may stand: IP:PORT, unix:PATH or vsock:CID:PORT.

Options:
  --connections <n>       most connections at the same time (default: 1000)
  --connect-timeout <t>   until the server has answered (default: 10s); one on vsock
                          or a unix socket that is not there is tried again till then
  --idle-timeout <t>      without a byte in either direction (default: 1h; 0: never)
  -V, --version           print the version
  -h, --help              print this help

Times: 500ms, 10s, 5m, 1h; a bare number is seconds.

Examples:
  PROGRAM 127.0.0.1:443 3 8001         TCP in the enclave to its parent
  PROGRAM vsock:3000 127.0.0.1:3000    the parent to a server in the enclave

Logs go to standard error. Without RUST_LOG only errors are logged. RUST_LOG=warn
also logs failed connections, and RUST_LOG=info every connection.

SIGTERM and SIGINT stop it after open connections had time to end. Exit status: 0
after that, 1 if it cannot start, 2 if the command line is wrong.
)";

// Thrown to end the parsing, and caught where it began.
struct Refusal : std::runtime_error {
  explicit Refusal(const std::string& problem) : runtime_error(problem) {}
  Refusal(const std::string& problem, const std::string& hint) : Refusal(problem + ". Hint: " + hint) {}
};

// Accepts decimal digits only.
std::optional<uint64_t> parseWhole(std::string_view text) {
  if (text.empty() || text.size() > 10) return std::nullopt;
  uint64_t number = 0;
  for (const char digit : text) {
    if (digit < '0' || digit > '9') return std::nullopt;
    number = number * 10 + static_cast<uint64_t>(digit - '0');
  }
  return number;
}

// Removes `prefix` if the text begins with it.
bool strip(std::string_view& text, std::string_view prefix) {
  if (text.substr(0, prefix.size()) != prefix) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// The argument that is being read.
enum class Role { Local, Target };

[[noreturn]] void refuse(Role role, const std::string& problem, const std::string& hint) {
  throw Refusal(std::string(role == Role::Local ? "Local address" : "Target") + " is not valid: " + problem,
                hint);
}

const char* formsOf(Role role) {
  return role == Role::Local
             ? "write IP:PORT, such as 127.0.0.1:443; vsock:PORT and unix:PATH are possible too"
             : "write <cid> <port>, such as 3 8001; IP:PORT and unix:PATH are possible too";
}

uint16_t parseTcpPort(Role role, std::string_view text) {
  const auto port = parseWhole(text);
  if (port && *port >= 1 && *port <= UINT16_MAX) return static_cast<uint16_t>(*port);
  refuse(role, quoteBriefly(text) + " is no TCP port, a whole number in 1–65535", formsOf(role));
}

Address parseTcp(Role role, std::string_view text) {
  const size_t colon = text.rfind(':');
  const bool bracketed = !text.empty() && text[0] == '[';
  if (colon == std::string_view::npos || (bracketed && text[colon - 1] != ']')) {
    const bool isPort = parseWhole(text).has_value();
    const std::string hint =
        isPort ? "write it with its address: 127.0.0.1:" + std::string(text) : formsOf(role);
    refuse(role, quoteBriefly(text) + (isPort ? " has no IP address" : " has no port"), hint);
  }
  const std::string_view host = text.substr(0, colon);
  const std::string ip(bracketed ? host.substr(1, host.size() - 2) : host);
  const uint16_t port = parseTcpPort(role, text.substr(colon + 1));
  const Address address = Address::tcp(ip, port);
  if (address.family() == AF_UNSPEC) {
    refuse(role, quoteBriefly(host) + " is no IP address",
           "names are not looked up: write 127.0.0.1:" + std::to_string(port));
  }
  if ((address.family() == AF_INET6) != bracketed) {
    refuse(role, quoteBriefly(text) + " may be read in two ways",
           "write IPv6 addresses in brackets: [::1]:443");
  }
  return address;
}

Address parseUnix(Role role, std::string_view path) {
  if (path.empty()) refuse(role, "no path after unix:", "write it like unix:/run/forwarder.sock");
  if (path[0] != '/') {
    refuse(role, "the path " + quoteBriefly(path) + " after unix: does not begin with /",
           "write the whole path");
  }
  const Address address = Address::unixPath(std::string(path));
  if (address.family() == AF_UNIX) return address;
  refuse(role, "the path of " + std::to_string(path.size()) + " bytes after unix: is longer than 107",
         "use a shorter path");
}

uint32_t parseListenPort(std::string_view text) {
  const auto port = parseWhole(text);
  if (port && *port >= kLowestVsockPort && *port < kPortAny) return static_cast<uint32_t>(*port);
  refuse(Role::Local, quoteBriefly(text) + " is no vsock port to listen on, a whole number in 4–4294967294",
         "write vsock:PORT, such as vsock:3000");
}

uint32_t parseListenCid(std::string_view text) {
  if (text == "any") return kCidAny;
  if (text == "local") return kCidLocal;
  const auto cid = parseWhole(text);
  if (cid && *cid < kCidAny) return static_cast<uint32_t>(*cid);
  refuse(Role::Local, quoteBriefly(text) + " is no CID",
         "write any, local or a whole number up to 4294967294");
}

uint32_t parseServerCid(std::string_view text) {
  if (text == "local") return kCidLocal;
  const auto cid = parseWhole(text);
  if (cid && *cid < kCidAny) return static_cast<uint32_t>(*cid);
  throw Refusal("CID is not valid: " + quoteBriefly(text) + " is no whole number in 0–4294967294",
                "the parent of a Nitro Enclave is 3");
}

uint32_t parseServerPort(std::string_view text) {
  const auto port = parseWhole(text);
  if (port && *port >= 1 && *port < kPortAny) return static_cast<uint32_t>(*port);
  throw Refusal("Port is not valid: " + quoteBriefly(text) + " is no whole number in 1–4294967294",
                "it is the vsock port on which the other side listens, such as 8001");
}

Address parseVsock(Role role, std::string_view text) {
  const size_t colon = text.find(':');
  if (role == Role::Local) {
    if (colon == std::string_view::npos) return Address::vsock(kCidAny, parseListenPort(text));
    return Address::vsock(parseListenCid(text.substr(0, colon)), parseListenPort(text.substr(colon + 1)));
  }
  if (colon == std::string_view::npos)
    refuse(role, quoteBriefly(text) + " has no CID", "write vsock:CID:PORT");
  return Address::vsock(parseServerCid(text.substr(0, colon)), parseServerPort(text.substr(colon + 1)));
}

Address parseAddress(Role role, std::string_view text) {
  if (strip(text, "unix:")) return parseUnix(role, text);
  if (strip(text, "vsock:")) return parseVsock(role, text);
  strip(text, "tcp:");
  return parseTcp(role, text);
}

// The first two arguments are one address. IPv6 needs no brackets here, but may have them.
Address parseIpThenPort(std::string ip, const std::string& port) {
  if (ip.size() > 2 && ip.front() == '[' && ip.back() == ']' && ip.find(':') != std::string::npos) {
    ip = ip.substr(1, ip.size() - 2);
  }
  const Address address = Address::tcp(ip, parseTcpPort(Role::Local, port));
  if (address.family() != AF_UNSPEC) return address;
  refuse(Role::Local, quoteBriefly(ip) + " is no IP address",
         "of four arguments the first is one, such as 127.0.0.1");
}

void readAddresses(const std::vector<std::string>& words, Forward& forward) {
  switch (words.size()) {
    case 0:
      throw Refusal("missing required argument 'local'");
    case 1:
      throw Refusal("missing required argument 'cid'");
    case 2:
      forward.on = parseAddress(Role::Local, words[0]);
      if (parseWhole(words[1])) throw Refusal("missing required argument 'port'");
      forward.to = parseAddress(Role::Target, words[1]);
      return;
    case 3:
      forward.on = parseAddress(Role::Local, words[0]);
      forward.to = Address::vsock(parseServerCid(words[1]), parseServerPort(words[2]));
      return;
    case 4:
      forward.on = parseIpThenPort(words[0], words[1]);
      forward.to = Address::vsock(parseServerCid(words[2]), parseServerPort(words[3]));
      return;
    default:
      throw Refusal("too many arguments: " + quoteBriefly(words[4]) + " is the fifth");
  }
}

Micros parseTimeout(const std::string& option, std::string_view text, bool mayBeNone) {
  struct Unit {
    std::string_view name;
    Micros ms;
  };
  static constexpr Unit kUnits[] = {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"", 1000}};
  const std::string_view digits = text.substr(0, text.find_first_not_of("0123456789"));
  for (const Unit& unit : kUnits) {
    const auto number = parseWhole(digits);
    if (!number || text.substr(digits.size()) != unit.name) continue;
    const Micros ms = static_cast<Micros>(*number) * unit.ms;
    if (ms > kLongestTimeoutMs || (ms == 0 && !mayBeNone)) break;
    return ms * kMicrosPerMs;
  }
  throw Refusal("option '" + option + "' wants a time such as 500ms, 10s, 5m or 1h, " +
                (mayBeNone ? "0 for none, " : "more than 0 and ") + "at most 168h, not " +
                quoteBriefly(text));
}

uint32_t parseConnections(const std::string& option, std::string_view text) {
  const auto connections = parseWhole(text);
  if (connections && *connections >= 1 && *connections <= kMostConnections) {
    return static_cast<uint32_t>(*connections);
  }
  throw Refusal("option '" + option + "' wants a whole number in 1–1000000, not " + quoteBriefly(text));
}

void readOption(const std::string& option, const std::string& value, Forward& forward) {
  if (option == "--connections") {
    forward.maxConnections = parseConnections(option, value);
  } else if (option == "--connect-timeout") {
    forward.connectTimeout = parseTimeout(option, value, false);
  } else {
    forward.idleTimeout = parseTimeout(option, value, true);
  }
}

bool takesValue(const std::string& option) {
  return option == "--connections" || option == "--connect-timeout" || option == "--idle-timeout";
}

std::string helpOf(const std::string& program) {
  static constexpr std::string_view kPlaceholder = "PROGRAM";
  std::string help = kHelp;
  for (size_t at = 0; (at = help.find(kPlaceholder, at)) != std::string::npos; at += program.size()) {
    help.replace(at, kPlaceholder.size(), program);
  }
  return help;
}

Invocation parse(const std::string& program, const std::vector<std::string>& words,
                 const std::string& version) {
  Forward forward;
  std::vector<std::string> arguments;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--") {
      arguments.insert(arguments.end(), words.begin() + static_cast<ptrdiff_t>(i) + 1, words.end());
      break;
    }
    if (word.size() < 2 || word[0] != '-') {
      arguments.push_back(word);
      continue;
    }
    if (word == "-h" || word == "--help") return Text{helpOf(program)};
    if (word == "-V" || word == "--version") return Text{program + " " + version + "\n"};
    const size_t equals = word.find('=');
    const std::string option = word.substr(0, equals);
    if (!takesValue(option)) throw Refusal("unknown option " + quoteBriefly(option));
    if (equals != std::string::npos) {
      readOption(option, word.substr(equals + 1), forward);
    } else if (++i < words.size()) {
      readOption(option, words[i], forward);
    } else {
      throw Refusal("option '" + option + "' has no value");
    }
  }
  readAddresses(arguments, forward);
  return forward;
}

}  // namespace

Invocation parseArguments(const std::string& program, const std::vector<std::string>& words,
                          const std::string& version) {
  try {
    return parse(program, words, version);
  } catch (const Refusal& refusal) {
    return UsageError{std::string("error: ") + refusal.what() + "\nUsage: " + program + " " + kUsage +
                      " (more: " + program + " --help)\n"};
  }
}

}  // namespace vsock_proxy
