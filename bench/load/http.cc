#include "http.h"

#include <stdexcept>

namespace {

constexpr char kHeadEnd[] = "\r\n\r\n";
constexpr size_t kHeadEndBytes = 4;

// Case as every server and proxy here writes it.
bool has(const std::string& head, const char* line) { return head.find(line) != std::string::npos; }

}  // namespace

std::string responseTo(const char* request, size_t size) {
  const std::string text(request, size);
  if (text.compare(0, 4, "GET ") != 0) return {};
  static const std::string kResponse =
      "HTTP/1.1 200 OK\r\nServer: load\r\nDate: Fri, 27 Nov 2026 12:00:00 GMT\r\nContent-Type: text/plain\r\n"
      "Cache-Control: no-store\r\nContent-Length: " +
      std::to_string(kResponseBytes) + kHeadEnd + std::string(kResponseBytes, kFiller);
  if (size < kHeadEndBytes || text.find(kHeadEnd) != size - kHeadEndBytes)
    throw std::runtime_error("a request came in parts, or with another one");
  return kResponse;
}

void Requester::get(uint64_t number) {
  if (connection_.get() < 0) connection_ = connectTo(proxy_);
  const std::string& target = proxy_.prelude.target;
  request_ = "GET http://" + target + "/objects/" + std::to_string(number) +
             "?part=1 HTTP/1.1\r\nHost: " + target +
             "\r\nUser-Agent: load/1.0\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n\r\n";
  writeAll(connection_.get(), request_.data(), request_.size());
  response_.clear();
  char buffer[16 * 1024];
  size_t head = std::string::npos;
  while (head == std::string::npos || response_.size() < head + kHeadEndBytes + kResponseBytes) {
    response_.append(buffer, readSome(connection_.get(), buffer, sizeof buffer));
    if (head == std::string::npos) head = response_.find(kHeadEnd);
  }
  if (response_.compare(0, 13, "HTTP/1.1 200 ") != 0)
    throw std::runtime_error("GET: " + response_.substr(0, response_.find('\r')));
  if (response_.size() != head + kHeadEndBytes + kResponseBytes)
    throw std::runtime_error("bytes behind a response");
  response_.resize(head);
  if (has(response_, "\r\nConnection: close")) connection_ = Fd();
}
