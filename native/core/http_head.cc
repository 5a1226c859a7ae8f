#include "http_head.h"

namespace vsock_proxy {
namespace {

constexpr std::string_view kLineEnd = "\r\n";
constexpr std::string_view kHeadEnd = "\r\n\r\n";
constexpr std::string_view kVia = "Via: 1.1 vsock-proxy\r\n";
constexpr std::string_view kClose = "Connection: close\r\n";
constexpr std::string_view kKeepAlive = "Connection: keep-alive\r\n";
constexpr std::string_view kChunked = "Transfer-Encoding: chunked\r\n";

constexpr size_t kMostFields = 100;
constexpr size_t kMostLengthDigits = 15;
constexpr unsigned kHighestPort = 65535;

bool isDigit(char byte) { return byte >= '0' && byte <= '9'; }
bool isLetter(char byte) { return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z'); }
char lower(char byte) { return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + ('a' - 'A')) : byte; }

// RFC 9110, section 5.6.2: what field names consist of.
struct Tokens {
  constexpr Tokens() {
    for (const char byte : std::string_view("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                            "ABCDEFGHIJKLMNOPQRSTUVWXYZ")) {
      is[static_cast<unsigned char>(byte)] = true;
    }
  }
  bool is[256] = {};
};
constexpr Tokens kTokens;
bool isToken(char byte) { return kTokens.is[static_cast<unsigned char>(byte)]; }

bool isText(char byte) {
  const auto code = static_cast<unsigned char>(byte);
  return code == '\t' || (code >= ' ' && code != 0x7f);
}

// `word` must be in lower case.
bool equals(std::string_view text, std::string_view word) {
  if (text.size() != word.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (lower(text[i]) != word[i]) return false;
  }
  return true;
}

struct FieldLine {
  std::string_view line;  // with its CRLF
  std::string_view name;
  std::string_view value;  // without surrounding blanks
};

// Reads the lines of a head after its first one, one by one.
class FieldReader {
 public:
  // `head` includes the empty line; the first field begins at `at`.
  FieldReader(std::string_view head, size_t at) : head_(head), at_(at) {}
  bool atEnd() const { return at_ + kLineEnd.size() == head_.size(); }
  // Returns false if the line is not a field line, or if there are too many.
  bool read(FieldLine& field) {
    if (++count_ > kMostFields) return false;
    size_t at = at_;
    while (isToken(head_[at])) ++at;
    if (at == at_ || head_[at] != ':') return false;
    field.name = head_.substr(at_, at - at_);
    const size_t from = ++at;
    while (isText(head_[at])) ++at;
    if (head_.compare(at, kLineEnd.size(), kLineEnd) != 0) return false;
    field.value = trimmed(head_.substr(from, at - from));
    field.line = head_.substr(at_, at + kLineEnd.size() - at_);
    at_ = at + kLineEnd.size();
    return true;
  }

 private:
  static std::string_view trimmed(std::string_view text) {
    const auto isBlank = [](char byte) { return byte == ' ' || byte == '\t'; };
    while (!text.empty() && isBlank(text.front())) text.remove_prefix(1);
    while (!text.empty() && isBlank(text.back())) text.remove_suffix(1);
    return text;
  }

  const std::string_view head_;
  size_t at_;
  size_t count_ = 0;
};

// The head with its empty line; empty if that line is missing. A reader finds the CR of that line before
// the end.
std::string_view wholeHead(std::string_view bytes, size_t most) {
  const size_t end = bytes.substr(0, most).find(kHeadEnd);
  return end == std::string_view::npos ? std::string_view() : bytes.substr(0, end + kHeadEnd.size());
}

bool skip(std::string_view text, size_t& at, std::string_view word) {
  if (text.compare(at, word.size(), word) != 0) return false;
  at += word.size();
  return true;
}

// A name or an IPv4 address, with or without a port. The control plane knows which, because it decided
// about it.
std::optional<std::string_view> readAuthority(std::string_view head, size_t& at, bool needsPort) {
  const size_t from = at;
  while (isLetter(head[at]) || isDigit(head[at]) || head[at] == '-' || head[at] == '.' || head[at] == '_')
    ++at;
  if (at == from) return std::nullopt;
  if (head[at] != ':') return needsPort ? std::nullopt : std::optional(head.substr(from, at - from));
  const size_t digits = ++at;
  unsigned port = 0;
  while (isDigit(head[at]) && port <= kHighestPort)
    port = port * 10 + static_cast<unsigned>(head[at++] - '0');
  if (at == digits || head[digits] == '0' || port > kHighestPort) return std::nullopt;
  return head.substr(from, at - from);
}

// A field for proxies, of which the server or the client is not to hear.
bool isForProxies(std::string_view name) {
  constexpr std::string_view kPrefix = "proxy-";
  return name.size() > kPrefix.size() && equals(name.substr(0, kPrefix.size()), kPrefix);
}

// Reads an option that may occur once. Returns whether it is known here.
bool takeOption(std::string_view value, bool& seen, bool& keepAlive) {
  const bool close = equals(value, "close");
  if (seen || !(close || equals(value, "keep-alive"))) return false;
  seen = true;
  if (close) keepAlive = false;
  return true;
}

bool readRequestFields(FieldReader reader, PlainRequest& request) {
  // Fields of a CONNECT do not concern the tunnel, and are not passed on.
  const bool isGet = !request.tunnel;
  bool host = false;
  bool connection = false;
  bool proxyConnection = false;
  FieldLine field;
  while (!reader.atEnd()) {
    if (!reader.read(field)) return false;
    const std::string_view name = field.name;
    switch (lower(name.front())) {
      case 'c':
        if (equals(name, "content-length")) return false;
        if (equals(name, "connection")) {
          if (!takeOption(field.value, connection, request.keepAlive)) return false;
          continue;
        }
        break;
      case 'e':
        if (isGet && equals(name, "expect")) return false;
        break;
      case 'h':
        if (equals(name, "host")) {
          if (host) return false;
          host = true;
          continue;
        }
        break;
      case 'k':
        if (equals(name, "keep-alive")) continue;
        break;
      case 'p':
        // One field for proxies is harmless and common.
        if (isGet && isForProxies(name)) {
          if (!equals(name, "proxy-connection")) return false;
          if (!takeOption(field.value, proxyConnection, request.keepAlive)) return false;
          continue;
        }
        break;
      case 't':
        if (equals(name, "transfer-encoding")) return false;
        if (isGet && (equals(name, "te") || equals(name, "trailer"))) return false;
        break;
      case 'u':
        if (isGet && equals(name, "upgrade")) return false;
        break;
      default:
        break;
    }
    if (isGet && !request.lines.add(field.line)) return false;
  }
  return true;
}

bool readLength(std::string_view value, Body& body) {
  if (value.empty() || value.size() > kMostLengthDigits || (value[0] == '0' && value.size() > 1))
    return false;
  uint64_t bytes = 0;
  for (const char digit : value) {
    if (!isDigit(digit)) return false;
    bytes = bytes * 10 + static_cast<unsigned>(digit - '0');
  }
  body = Body::length(bytes);
  return true;
}

bool readResponseFields(FieldReader reader, PlainResponse& response) {
  bool connection = false;
  bool length = false;
  FieldLine field;
  while (!reader.atEnd()) {
    if (!reader.read(field)) return false;
    const std::string_view name = field.name;
    switch (lower(name.front())) {
      case 'c':
        if (equals(name, "content-length")) {
          if (length || response.chunked || !readLength(field.value, response.body)) return false;
          length = true;
        } else if (equals(name, "connection")) {
          if (!takeOption(field.value, connection, response.keepAlive)) return false;
          continue;
        }
        break;
      case 'k':
        if (equals(name, "keep-alive")) continue;
        break;
      case 'p':
        if (isForProxies(name)) return false;
        break;
      case 't':
        if (equals(name, "te")) return false;
        if (equals(name, "transfer-encoding")) {
          if (length || response.chunked || !equals(field.value, "chunked")) return false;
          response.chunked = true;
          response.body = Body::chunked();
          continue;
        }
        break;
      case 'u':
        if (equals(name, "upgrade")) return false;
        break;
      default:
        break;
    }
    if (!response.lines.add(field.line)) return false;
  }
  // Without either, the body lasts until the server's end, unless the status says that there is none.
  return length || response.chunked;
}

}  // namespace

bool Stretches::add(std::string_view line) {
  if (count_ != 0 && all_[count_ - 1].data() + all_[count_ - 1].size() == line.data()) {
    all_[count_ - 1] = {all_[count_ - 1].data(), all_[count_ - 1].size() + line.size()};
    return true;
  }
  if (count_ == all_.size()) return false;
  all_[count_++] = line;
  return true;
}

void Stretches::appendTo(std::string& text) const {
  for (size_t i = 0; i < count_; ++i) text += all_[i];
}

std::optional<PlainRequest> readPlainRequest(std::string_view bytes) {
  const std::string_view head = wholeHead(bytes, kPlainRequestBytes);
  PlainRequest request;
  request.bytes = head.size();
  size_t at = 0;
  request.tunnel = skip(head, at, "CONNECT ");
  if (!request.tunnel && !skip(head, at, "GET http://")) return std::nullopt;
  const auto authority = readAuthority(head, at, request.tunnel);
  if (!authority) return std::nullopt;
  request.authority = *authority;
  if (!request.tunnel) {
    const size_t from = at;
    // A fragment is not for the server.
    while (head[at] > ' ' && head[at] < 0x7f && head[at] != '#') ++at;
    request.path = head.substr(from, at - from);
    if (request.path.empty() || request.path.front() != '/') return std::nullopt;
  }
  if (!skip(head, at, " HTTP/1.1\r\n") && !(request.tunnel && skip(head, at, " HTTP/1.0\r\n"))) {
    return std::nullopt;
  }
  if (!readRequestFields(FieldReader(head, at), request)) return std::nullopt;
  return request;
}

std::string writeRequest(const PlainRequest& request, const RequestForm& form, bool close) {
  std::string text;
  text.reserve(request.bytes + 64 + form.fields.size());
  text += "GET ";
  if (form.absolute) (text += "http://") += request.authority;
  ((text += request.path) += " HTTP/1.1\r\nHost: ") += request.authority;
  text += kLineEnd;
  request.lines.appendTo(text);
  text += kVia;
  if (close) text += kClose;
  (text += form.fields) += kLineEnd;
  return text;
}

std::optional<PlainResponse> readPlainResponse(std::string_view bytes) {
  const std::string_view head = wholeHead(bytes, kPlainResponseBytes);
  PlainResponse response;
  response.bytes = head.size();
  size_t at = 0;
  if (!skip(head, at, "HTTP/1.1 ")) return std::nullopt;
  const size_t from = at;
  for (; at < from + 3; ++at) {
    if (!isDigit(head[at])) return std::nullopt;
    response.status = response.status * 10 + static_cast<unsigned>(head[at] - '0');
  }
  // An interim response is followed by another one. 204 and 304 have no body in any case. 407 is for
  // proxies.
  if (response.status < 200 || response.status > 599 || response.status == 204 || response.status == 304 ||
      response.status == 407 || head[at] != ' ') {
    return std::nullopt;
  }
  while (isText(head[at])) ++at;
  response.start = head.substr(from, at - from);
  if (!skip(head, at, kLineEnd)) return std::nullopt;
  if (!readResponseFields(FieldReader(head, at), response)) return std::nullopt;
  return response;
}

std::string writeResponse(const PlainResponse& response, bool keepAlive) {
  std::string text;
  text.reserve(response.bytes + 128);
  ((text += "HTTP/1.1 ") += response.start) += kLineEnd;
  response.lines.appendTo(text);
  text += kVia;
  if (response.chunked) text += kChunked;
  (text += keepAlive ? kKeepAlive : kClose) += kLineEnd;
  return text;
}

}  // namespace vsock_proxy
