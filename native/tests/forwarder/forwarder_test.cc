// The parts that the forwarder adds to the data plane: its command line and its log.

#include <cerrno>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "../../forwarder/arguments.h"
#include "../../forwarder/failure.h"
#include "../../forwarder/log.h"
#include "../../forwarder/report.h"
#include "../../forwarder/text.h"
#include "../../forwarder/throttle.h"
#include "../check.h"

using namespace vsock_proxy;

namespace {

using Words = std::vector<std::string>;

Invocation parse(const Words& words) { return parseArguments("vsock-forwarder", words, "1.2.3"); }

Forward accepted(const Words& words) {
  const Invocation invocation = parse(words);
  if (const auto* error = std::get_if<UsageError>(&invocation)) {
    check::fail(__FILE__, __LINE__, error->text);
  }
  return std::get<Forward>(invocation);
}

#define CHECK_TEXT(actual, expected)                                                                   \
  do {                                                                                                 \
    const std::string checkActual = (actual);                                                          \
    if (checkActual != (expected)) check::fail(__FILE__, __LINE__, "not as expected: " + checkActual); \
  } while (false)

#define CHECK_SAYS(text, part)                                                              \
  do {                                                                                      \
    const std::string checkText = (text);                                                   \
    if (checkText.find(part) == std::string::npos)                                          \
      check::fail(__FILE__, __LINE__, "no \"" + std::string(part) + "\" in: " + checkText); \
  } while (false)

struct Line {
  Level level;
  std::string message;
};

// A log of one target that keeps its lines.
struct Kept {
  explicit Kept(const char* spec)
      : log(parseLogFilter(spec), "vsock_proxy::proxy",
            [this](Level level, const std::string&, const std::string& message) {
              lines.push_back({level, message});
            }) {}
  std::vector<Line> lines;
  Log log;
};

}  // namespace

TEST("a wrong command line is refused with the problem and the usage") {
  struct Denied {
    Words words;
    const char* says;
  };
  const std::string longPath = "unix:/" + std::string(200, 'x');
  const Denied table[] = {
      {{}, "missing required argument 'local'"},
      {{"127.0.0.1:443"}, "missing required argument 'cid'"},
      {{"127.0.0.1:443", "3"}, "missing required argument 'port'"},
      {{"127.0.0.1", "443", "3", "8001", "x"}, "too many arguments: \"x\" is the fifth"},
      // Where to listen
      {{"443", "3", "8001"},
       "Local address is not valid: \"443\" has no IP address. Hint: write it with its address: "
       "127.0.0.1:443"},
      {{"", "3", "8001"}, "Local address is not valid: \"\" has no port"},
      {{":", "3", "8001"}, "\"\" is no TCP port"},
      {{":443", "3", "8001"}, "Local address is not valid: \"\" is no IP address"},
      {{"localhost:443", "3", "8001"},
       "\"localhost\" is no IP address. Hint: names are not looked up: write 127.0.0.1:443"},
      {{"127.1:443", "3", "8001"}, "\"127.1\" is no IP address"},
      {{"0x7f000001:443", "3", "8001"}, "is no IP address"},
      {{"127.0.0.1:0", "3", "8001"}, "\"0\" is no TCP port, a whole number in 1–65535"},
      {{"127.0.0.1:65536", "3", "8001"}, "\"65536\" is no TCP port"},
      {{"127.0.0.1:4294967739", "3", "8001"}, "is no TCP port"},
      {{"127.0.0.1:+443", "3", "8001"}, "\"+443\" is no TCP port"},
      {{"127.0.0.1: 443", "3", "8001"}, "\" 443\" is no TCP port"},
      {{"127.0.0.1:", "3", "8001"}, "\"\" is no TCP port"},
      {{"::1:443", "3", "8001"},
       "may be read in two ways. Hint: write IPv6 addresses in brackets: [::1]:443"},
      {{"[127.0.0.1]:443", "3", "8001"}, "may be read in two ways"},
      {{"[::1]", "3", "8001"}, "\"[::1]\" has no port"},
      {{"[::1]443", "3", "8001"}, "\"[::1]443\" has no port"},
      {{"[]:443", "3", "8001"}, "\"[]\" is no IP address"},
      {{"[:443", "3", "8001"}, "\"[:443\" has no port"},
      {{"[fe80::1%lo]:443", "3", "8001"}, "is no IP address"},
      {{"unix:", "3", "8001"}, "no path after unix:"},
      {{"unix:run/x", "3", "8001"},
       "the path \"run/x\" after unix: does not begin with /. Hint: write the whole path"},
      {{longPath, "3", "8001"}, "the path of 201 bytes after unix: is longer than 107"},
      {{"vsock:3", "127.0.0.1:3000"}, "\"3\" is no vsock port to listen on, a whole number in 4–4294967294"},
      {{"vsock:4294967295", "127.0.0.1:3000"}, "is no vsock port to listen on"},
      {{"vsock:4294967295:3000", "127.0.0.1:3000"}, "\"4294967295\" is no CID"},
      {{"vsock:4294967296:3000", "127.0.0.1:3000"}, "\"4294967296\" is no CID"},
      {{"vsock:x:3000", "127.0.0.1:3000"}, "\"x\" is no CID. Hint: write any, local or a whole number"},
      {{"vsock:3:3000:1", "127.0.0.1:3000"}, "\"3000:1\" is no vsock port"},
      {{"localhost", "443", "3", "8001"}, "Local address is not valid: \"localhost\" is no IP address"},
      {{"127.0.0.1", "0", "3", "8001"}, "\"0\" is no TCP port"},
      {{"[127.0.0.1]", "443", "3", "8001"}, "\"[127.0.0.1]\" is no IP address"},
      // Where to connect to
      {{"127.0.0.1:443", "4294967295", "8001"},
       "CID is not valid: \"4294967295\" is no whole number in 0–4294967294"},
      {{"127.0.0.1:443", "-3", "8001"}, "unknown option \"-3\""},
      {{"127.0.0.1:443", "--", "-3", "8001"}, "CID is not valid: \"-3\""},
      {{"127.0.0.1:443", "parent", "8001"}, "CID is not valid: \"parent\""},
      {{"127.0.0.1:443", "3", "0"}, "Port is not valid: \"0\" is no whole number in 1–4294967294"},
      {{"127.0.0.1:443", "3", "4294967295"}, "Port is not valid"},
      {{"127.0.0.1:443", "3", "99999999999999999999"}, "Port is not valid"},
      {{"127.0.0.1:443", "3", ""}, "Port is not valid: \"\""},
      {{"127.0.0.1", "443", "x", "8001"}, "CID is not valid: \"x\""},
      {{"127.0.0.1:443", "vsock:8001"},
       "Target is not valid: \"8001\" has no CID. Hint: write vsock:CID:PORT"},
      {{"127.0.0.1:443", "vsock:any:8001"}, "CID is not valid: \"any\""},
      {{"127.0.0.1:443", "example.com:80"}, "Target is not valid: \"example.com\" is no IP address"},
      {{"127.0.0.1:443", "unix:"}, "Target is not valid: no path after unix:"},
      {{"127.0.0.1:443", "unix:relative"}, "Target is not valid: the path \"relative\""},
      // Options
      {{"--foo"}, "unknown option \"--foo\""},
      {{"-x"}, "unknown option \"-x\""},
      {{"--help=1"}, "unknown option \"--help\""},
      {{"--foo=\x1b[31m", "127.0.0.1:443", "3", "8001"}, "unknown option \"--foo\""},
      {{"--\x1b[31m"}, "unknown option \"--\\u{1b}[31m\""},
      {{"--connections"}, "option '--connections' has no value"},
      {{"--connections", "0", "127.0.0.1:443", "3", "8001"},
       "option '--connections' wants a whole number in 1–1000000, not \"0\""},
      {{"--connections=1000001", "127.0.0.1:443", "3", "8001"}, "not \"1000001\""},
      {{"--connections=", "127.0.0.1:443", "3", "8001"}, "not \"\""},
      {{"--connect-timeout=0", "127.0.0.1:443", "3", "8001"}, "option '--connect-timeout' wants a time"},
      {{"--connect-timeout=1d", "127.0.0.1:443", "3", "8001"}, "at most 168h, not \"1d\""},
      {{"--connect-timeout=s", "127.0.0.1:443", "3", "8001"}, "not \"s\""},
      {{"--connect-timeout=1.5s", "127.0.0.1:443", "3", "8001"}, "not \"1.5s\""},
      {{"--idle-timeout=169h", "127.0.0.1:443", "3", "8001"}, "0 for none, at most 168h, not \"169h\""},
      {{"--idle-timeout=9999999999h", "127.0.0.1:443", "3", "8001"}, "at most 168h"},
  };
  for (const Denied& denied : table) {
    const Invocation invocation = parse(denied.words);
    const auto* error = std::get_if<UsageError>(&invocation);
    if (error == nullptr) check::fail(__FILE__, __LINE__, std::string("accepted, not: ") + denied.says);
    CHECK_SAYS(error->text, denied.says);
    CHECK_SAYS(error->text,
               "\nUsage: vsock-forwarder [OPTIONS] <local> <cid> <port> (more: vsock-forwarder --help)\n");
    CHECK(error->text.rfind("error: ", 0) == 0);
  }
}

TEST("an error shows the beginning of a long value only") {
  const Invocation invocation = parse({std::string(100'000, 'x'), "3", "8001"});
  CHECK(std::get<UsageError>(invocation).text.size() < 400);
}

TEST("addresses: every form has its meaning") {
  struct Accepted {
    Words words;
    const char* on;
    const char* to;
  };
  const Accepted table[] = {
      {{"127.0.0.1:443", "3", "8001"}, "tcp: 127.0.0.1:443", "cid: 3 port: 8001"},
      {{"127.0.0.1", "443", "3", "8001"}, "tcp: 127.0.0.1:443", "cid: 3 port: 8001"},
      {{"::1", "443", "3", "8001"}, "tcp: [::1]:443", "cid: 3 port: 8001"},
      {{"[::1]:65535", "0", "4294967294"}, "tcp: [::1]:65535", "cid: 0 port: 4294967294"},
      {{"tcp:0.0.0.0:1", "4294967294", "1"}, "tcp: 0.0.0.0:1", "cid: 4294967294 port: 1"},
      {{"unix:/run/x.sock", "3", "8001"}, "unix: /run/x.sock", "cid: 3 port: 8001"},
      {{"127.0.0.1:443", "vsock:3:8001"}, "tcp: 127.0.0.1:443", "cid: 3 port: 8001"},
      {{"127.0.0.1:443", "10.0.0.7:80"}, "tcp: 127.0.0.1:443", "tcp: 10.0.0.7:80"},
      {{"127.0.0.1:443", "tcp:[::1]:80"}, "tcp: 127.0.0.1:443", "tcp: [::1]:80"},
      {{"[::1]", "443", "3", "8001"}, "tcp: [::1]:443", "cid: 3 port: 8001"},
      {{"127.0.0.1:443", "vsock:local:8001"}, "tcp: 127.0.0.1:443", "cid: 1 port: 8001"},
      {{"127.0.0.1:443", "unix:/run/x.sock"}, "tcp: 127.0.0.1:443", "unix: /run/x.sock"},
      {{"vsock:3000", "127.0.0.1:3000"}, "cid: 4294967295 port: 3000", "tcp: 127.0.0.1:3000"},
      {{"vsock:any:4", "127.0.0.1:3000"}, "cid: 4294967295 port: 4", "tcp: 127.0.0.1:3000"},
      {{"vsock:local:3000", "127.0.0.1:3000"}, "cid: 1 port: 3000", "tcp: 127.0.0.1:3000"},
      {{"vsock:16:3000", "127.0.0.1:3000"}, "cid: 16 port: 3000", "tcp: 127.0.0.1:3000"},
  };
  for (const Accepted& row : table) {
    const Forward forward = accepted(row.words);
    CHECK_TEXT(describe(forward.on), row.on);
    CHECK_TEXT(describe(forward.to), row.to);
  }
}

TEST("options have defaults and two spellings, may stand anywhere, and the last one counts") {
  const Forward defaults = accepted({"127.0.0.1:443", "3", "8001"});
  CHECK_EQ(defaults.maxConnections, 1000u);
  CHECK_EQ(defaults.connectTimeout, 10'000'000);
  CHECK_EQ(defaults.idleTimeout, 3'600'000'000);

  const Forward given = accepted({"--connections", "5", "127.0.0.1:443", "--connect-timeout=500ms", "3",
                                  "--idle-timeout", "0", "8001", "--connections=1000000"});
  CHECK_EQ(given.maxConnections, 1'000'000u);
  CHECK_EQ(given.connectTimeout, 500'000);
  CHECK_EQ(given.idleTimeout, 0);

  struct Time {
    const char* text;
    Micros micros;
  };
  for (const Time& time : {Time{"1ms", 1000}, Time{"7", 7'000'000}, Time{"7s", 7'000'000},
                           Time{"5m", 300'000'000}, Time{"168h", 604'800'000'000}}) {
    CHECK_EQ(accepted({"--idle-timeout", time.text, "127.0.0.1:443", "3", "8001"}).idleTimeout, time.micros);
  }
}

TEST("help and version win over mistakes behind them") {
  CHECK_TEXT(std::get<Text>(parse({"-V", "--foo"})).text, "vsock-forwarder 1.2.3\n");
  CHECK_TEXT(std::get<Text>(parse({"--version"})).text, "vsock-forwarder 1.2.3\n");
  CHECK_SAYS(std::get<Text>(parse({"x", "--help"})).text,
             "Usage: vsock-forwarder [OPTIONS] <local> <cid> <port>\n");
  CHECK_SAYS(std::get<Text>(parse({"-h"})).text, "--connect-timeout");
}

TEST("as a command of vsock-proxy it uses that name") {
  const std::string command = "vsock-proxy forward";
  const std::string help = std::get<Text>(parseArguments(command, {"--help"}, "1.2.3")).text;
  CHECK_SAYS(help, "Usage: vsock-proxy forward [OPTIONS] <local> <cid> <port>\n");
  CHECK_SAYS(help, "\n  vsock-proxy forward vsock:3000 127.0.0.1:3000 ");
  CHECK_TEXT(std::get<UsageError>(parseArguments(command, {}, "1.2.3")).text,
             "error: missing required argument 'local'\nUsage: vsock-proxy forward [OPTIONS] <local> <cid> "
             "<port> (more: vsock-proxy forward --help)\n");
}

namespace {

// Returns the text under the key of a flat JSON object; empty if there is none. The only escape sequence that
// it knows is a tab.
std::string textUnder(const std::string& key, const std::string& object) {
  const std::string before = '"' + key + "\": \"";
  const size_t at = object.find(before);
  if (at == std::string::npos) return "";
  const size_t start = at + before.size();
  std::string text = object.substr(start, object.find('"', start) - start);
  for (size_t tab; (tab = text.find("\\t")) != std::string::npos;) text.replace(tab, 2, "\t");
  return text;
}

}  // namespace

TEST("RUST_LOG has the meaning that vsock-proxy gives it: tests/vectors/rust-log.json") {
  static constexpr const char* kNames[] = {"off", "error", "warn", "info", "debug", "trace"};
  std::ifstream vectors("tests/vectors/rust-log.json");
  size_t rows = 0;
  for (std::string row; std::getline(vectors, row, '}');) {
    if (row.find("\"spec\"") == std::string::npos) continue;
    ++rows;
    const LogFilter filter = parseLogFilter(textUnder("spec", row));
    for (const char* target : {"vsock_proxy", "vsock_proxy::proxy"}) {
      if (kNames[static_cast<size_t>(filter.levelOf(target))] != textUnder(target, row)) {
        check::fail(__FILE__, __LINE__, "not so for " + std::string(target) + ": " + row);
      }
    }
    // It reports what it does not support.
    const std::string warning =
        textUnder("regex", row).empty() ? textUnder("warning", row) : "no filter by /regex here, ignoring it";
    CHECK_TEXT(filter.warnings.empty() ? "" : filter.warnings.front(), warning);
    CHECK_EQ(filter.warnings.size(), warning.empty() ? 0u : 1u);
  }
  CHECK(rows > 30);
}

TEST("a log line has the form of env_logger") {
  CHECK_TEXT(formatLine(1767323045, Level::Info, "vsock_proxy", "text"),
             "[2026-01-02T03:04:05Z INFO  vsock_proxy] text\n");
  CHECK_TEXT(formatLine(0, Level::Error, "x", ""), "[1970-01-01T00:00:00Z ERROR x] \n");
  CHECK_TEXT(formatLine(951782400, Level::Debug, "x", "leap day"),
             "[2000-02-29T00:00:00Z DEBUG x] leap day\n");
}

TEST("text from outside is one line without control characters") {
  CHECK_TEXT(escape("a\n\x1b[2J\x7f\xe9"), "a\\u{a}\\u{1b}[2J\\u{7f}\\u{e9}");
  CHECK_TEXT(quote("a \"b\" \\"), "\"a \\\"b\\\" \\\\\"");
  CHECK_TEXT(describe(Address::unixPath("/a\nb")), "unix: /a\\u{a}b");
}

TEST("numbers and errors are written in words") {
  CHECK_TEXT(describeErrno(ECONNREFUSED), "ECONNREFUSED: connection refused");
  CHECK_TEXT(describeErrno(123456), "error 123456");
  CHECK_TEXT(count(1, "client"), "1 client");
  CHECK_TEXT(count(2, "client"), "2 clients");
  CHECK_TEXT(nameErrno(ECONNREFUSED), "ECONNREFUSED");
  CHECK_TEXT(nameErrno(123456), "error 123456");
  // As vsock-proxy rounds them.
  CHECK_TEXT(seconds(12'340'000), "12.3 s");
  CHECK_TEXT(seconds(1'960'000), "2.0 s");
  CHECK_TEXT(milliseconds(1'250), "1.3");
  CHECK_TEXT(milliseconds(40), "0.0");
}

TEST("a listener that cannot be bound: the error has the reason and a hint") {
  CHECK_TEXT(describeBindFailure(Address::tcp("127.0.0.1", 443), EACCES).line(),
             "Could not bind to tcp: 127.0.0.1:443: EACCES: permission denied. Hint: ports below 1024 need "
             "the capability "
             "CAP_NET_BIND_SERVICE; use a port from 1024 up");
  CHECK_SAYS(describeBindFailure(Address::tcp("127.0.0.1", 443), EADDRNOTAVAIL).line(),
             "bring the loopback up");
  CHECK_SAYS(describeBindFailure(Address::vsock(3, 8000), EADDRNOTAVAIL).line(),
             "Could not bind to cid: 3 port: 8000: EADDRNOTAVAIL: cannot assign requested address. Hint: "
             "this machine");
  CHECK_SAYS(describeBindFailure(Address::vsock(3, 8000), EAFNOSUPPORT).line(), "no AF_VSOCK");
  CHECK_SAYS(describeBindFailure(Address::unixPath("/run/x"), EADDRINUSE).line(), "remove it: rm '/run/x'");
  CHECK_TEXT(
      describeBindFailure(Address::unixPath("/etc/passwd"), EADDRINUSE).line(),
      "Could not bind to unix: /etc/passwd: EADDRINUSE: address already in use. Hint: the file exists and "
      "is not a socket; listen at another path");
  CHECK_TEXT(describeBindFailure(Address::tcp("127.0.0.1", 4430), EACCES).line(),
             "Could not bind to tcp: 127.0.0.1:4430: EACCES: permission denied");
}

namespace {

// A report of one forward to the parent, without an engine: its counters are the test's.
struct Stage {
  explicit Stage(const char* spec) : kept(spec) { CHECK_EQ(loop.open(), 0); }
  const Forward forward = accepted({"127.0.0.1:443", "3", "8001"});
  Kept kept;
  Loop loop;
  ListenerCounters counters;
  Report report{loop, forward, kept.log, [this] { return counters; }};
};

CloseRecord record(CloseReason reason, int error = 0) {
  CloseRecord record;
  record.connection = 7;
  record.client = Address::tcp("127.0.0.1", 5000);
  record.server = Address::vsock(3, 8001);
  record.reason = reason;
  record.endedBy = Party::Server;
  record.error = error;
  record.totalMicros = 10'000'400;
  record.bytesUp = 5;
  return record;
}

}  // namespace

TEST("an absent parent: one warning with its reason and a hint, and then a count") {
  Stage stage("warn");
  for (int i = 0; i < 3; ++i) stage.report.tell(record(CloseReason::ConnectFailed, ECONNRESET));
  stage.report.tell(record(CloseReason::ConnectTimeout, ETIMEDOUT));
  CHECK_EQ(stage.kept.lines.size(), 2u);
  CHECK_TEXT(stage.kept.lines[0].message,
             "Client on tcp: 127.0.0.1:5000: could not connect to cid: 3 port: 8001: ECONNRESET: connection "
             "reset by peer "
             "(after 10000 ms). Hint: nothing listens on this port there; if it is the parent, is "
             "vsock-proxy running on it?");
  CHECK_SAYS(stage.kept.lines[1].message, "could not connect to cid: 3 port: 8001 within 10000 ms (after");
  CHECK_SAYS(stage.kept.lines[1].message, "; the deadline is --connect-timeout");
  stage.report.stop();
  CHECK_EQ(stage.kept.lines.size(), 3u);
  CHECK_SAYS(stage.kept.lines[2].message,
             "The same for 2 more clients within 10 s: could not connect to cid: 3 port: 8001: ECONNRESET");
}

TEST("an absent parent, at level info: a line for each client, with the reason") {
  Stage stage("info");
  for (int i = 0; i < 4; ++i) stage.report.tell(record(CloseReason::ConnectFailed, ECONNRESET));
  CHECK_EQ(stage.kept.lines.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    CHECK(stage.kept.lines[i].level == (i == 0 ? Level::Warn : Level::Info));
    CHECK_SAYS(stage.kept.lines[i].message,
               "Client on tcp: 127.0.0.1:5000: could not connect to cid: 3 port: 8001: ECONNRESET: "
               "connection reset by peer (after 10000 ms)");
  }
}

TEST("the log has each connection at level info, and the whole close record at debug") {
  Stage stage("debug");
  const CloseRecord end = record(CloseReason::Reset, ECONNRESET);
  stage.report.tell(Progress{Step::Accepted, 1, 7, end.client, {}, kNoTarget});
  stage.report.tell(Progress{Step::Connected, 1, 7, end.client, end.server, kNoTarget});
  stage.report.tell(end);
  const auto& lines = stage.kept.lines;
  CHECK_EQ(lines.size(), 4u);
  CHECK_TEXT(lines[0].message, "Accepted connection on tcp: 127.0.0.1:5000");
  CHECK_TEXT(lines[1].message, "Connected client from tcp: 127.0.0.1:5000 to cid: 3 port: 8001");
  CHECK(lines[2].level == Level::Debug);
  CHECK_SAYS(lines[2].message,
             "from tcp: 127.0.0.1:5000 on tcp: 127.0.0.1:443 to cid: 3 port: 8001: reset (ECONNRESET) by");
  CHECK_SAYS(lines[2].message, "bytes up 5, down 0; ms queued 0.0, connect 0.0, total 10000.4");
  CHECK_TEXT(lines[3].message,
             "Client on tcp: 127.0.0.1:5000 disconnected: reset by the server (ECONNRESET)");
  stage.report.tell(record(CloseReason::IdleTimeout));
  CHECK_TEXT(lines.back().message,
             "Client on tcp: 127.0.0.1:5000 disconnected: nothing was sent for 3600000 ms (--idle-timeout)");

  Stage quiet("warn");
  quiet.report.tell(end);
  CHECK(quiet.kept.lines.empty());
}

TEST("the limit: one warning at once, then how many clients waited and for how long") {
  Stage stage("warn");
  stage.counters.limitHits = 1;
  stage.counters.waitingSince = monotonicMicros() - 2'200'000;
  stage.report.tell(Fault{FaultKind::Limit, 1, 0, {}});
  stage.counters.limitHits = 3;
  stage.counters.limitWaitMicros = 1'500'000;
  stage.report.tell(Fault{FaultKind::Limit, 1, 0, {}});
  stage.report.stop();
  CHECK_EQ(stage.kept.lines.size(), 2u);
  CHECK_TEXT(stage.kept.lines[0].message,
             "Limit of 1000 simultaneous connections reached: a client waits. Hint: raise --connections");
  CHECK_TEXT(stage.kept.lines[1].message,
             "Limit of 1000 simultaneous connections: 3 clients had to wait within 10 s (1.5 s in all), one "
             "waits now (for 2.2 s). Hint: raise --connections");
}

TEST("out of descriptors: one warning, with a hint") {
  Stage stage("warn");
  for (int i = 0; i < 2; ++i) stage.report.tell(Fault{FaultKind::Accept, 1, EMFILE, {}});
  CHECK_EQ(stage.kept.lines.size(), 1u);
  CHECK_SAYS(stage.kept.lines[0].message, "Could not accept a client on tcp: 127.0.0.1:443: EMFILE: ");
  CHECK_SAYS(stage.kept.lines[0].message, "it is tried again. Hint: raise the number of open files");
}

TEST("a trouble that ends and comes again is logged again") {
  Loop loop;
  CHECK_EQ(loop.open(), 0);
  Throttle throttle(loop, 1000);
  int first = 0;
  std::vector<size_t> summaries;
  std::function<void()> report = [&] {
    throttle.report(
        "trouble", [&] { ++first; },
        [&](size_t times) {
          summaries.push_back(times);
          if (times == 0) {
            loop.post([&] {
              report();
              loop.stop();
            });
          }
          return times != 0;
        });
  };
  report();
  report();
  report();
  loop.run();
  CHECK_EQ(first, 2);
  CHECK((summaries == std::vector<size_t>{2, 0}));
}

TEST("a trouble that comes just before another's period ends has a whole period of its own") {
  Loop loop;
  CHECK_EQ(loop.open(), 0);
  constexpr Micros kPeriod = 20'000;
  Throttle throttle(loop, kPeriod);
  throttle.report(
      "early", [] {}, [](size_t) { return false; });
  Micros began = 0;
  Micros ended = 0;
  Timer late([&] {
    const auto summary = [&](size_t times) {
      CHECK_EQ(times, 1u);
      ended = loop.now();
      loop.stop();
      return false;
    };
    CHECK(throttle.report(
        "late", [&] { began = loop.now(); }, summary));
    CHECK(!throttle.report(
        "late", [] {}, summary));
  });
  loop.arm(late, loop.now() + kPeriod - 1);
  loop.run();
  CHECK(began != 0);
  CHECK(ended - began >= kPeriod);
}
