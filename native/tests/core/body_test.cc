// Bodies, whole and cut at every byte.

#include "../../core/body.h"

#include <string>
#include <vector>

#include "../check.h"

using namespace vsock_proxy;

namespace {

struct Taken {
  std::string bytes;
  bool done;
  bool malformed;
};

// Feeds `text` in parts of `step` bytes, as a socket would.
Taken take(Body body, const std::string& text, size_t step = SIZE_MAX) {
  std::string bytes;
  for (size_t at = 0; at < text.size() && !body.done() && !body.malformed();) {
    const size_t size = std::min(step, text.size() - at);
    const size_t taken = body.take(text.data() + at, size);
    bytes.append(text, at, taken);
    at += taken;
    if (taken < size) break;
  }
  return {bytes, body.done(), body.malformed()};
}

const std::string kBehind = "GET / HTTP/1.1\r\n";

void checkWhole(const std::string& text) {
  for (size_t step = 1; step <= text.size() + kBehind.size(); ++step) {
    const Taken taken = take(Body::chunked(), text + kBehind, step);
    CHECK(taken.done);
    CHECK(taken.bytes == text);
  }
  for (size_t size = 0; size < text.size(); ++size) {
    const Taken taken = take(Body::chunked(), text.substr(0, size));
    CHECK(!taken.done && !taken.malformed);
    CHECK_EQ(taken.bytes.size(), size);
  }
}

}  // namespace

TEST("malformed chunks are refused at the first wrong byte, however they are cut") {
  const std::vector<std::string> all = {
      "\r\n",                            // no size
      ";a\r\n",                          //
      " 5\r\nhello\r\n0\r\n\r\n",        // white space before the size
      "5 \r\nhello\r\n0\r\n\r\n",        // and behind it
      "+5\r\nhello\r\n0\r\n\r\n",        //
      "-5\r\n",                          //
      "0x5\r\nhello\r\n0\r\n\r\n",       //
      "5\nhello\r\n0\r\n\r\n",           // bare LF
      "5\r\nhello\n0\r\n\r\n",           //
      "5\r\nhello0\r\n\r\n",             // no CRLF behind the data
      "5\r\nhelloX\r\n0\r\n\r\n",        // more data than announced
      "5\rhello\r\n0\r\n\r\n",           // bare CR
      "5;a\nhello\r\n0\r\n\r\n",         //
      "5;a\rb\r\nhello\r\n0\r\n\r\n",    //
      std::string("5;\0\r\nhello", 11),  // control characters
      "5;\x7f\r\nhello\r\n0\r\n\r\n",    //
      "0\r\n\n",                         //
      "0\r\nname value\r\n\r\n",         // a trailer without a colon
      "0\r\n name: value\r\n\r\n",       // a folded one
      "0\r\nna me: value\r\n\r\n",       //
      "0\r\n: value\r\n\r\n",            // without a name
      "0\r\nname: val\nue\r\n\r\n",      //
      "0\r\nname: value\r\r\n\r\n",      //
      "1234567890abcdef0\r\n",           // more than anyone sends
      "0000000000000000\r\n\r\n",        //
  };
  for (const std::string& text : all) {
    const size_t whole = take(Body::chunked(), text).bytes.size();
    for (size_t step = 1; step <= text.size(); ++step) {
      const Taken taken = take(Body::chunked(), text, step);
      if (!taken.malformed) check::fail(__FILE__, __LINE__, "not refused: " + text);
      CHECK(!taken.done);
      CHECK_EQ(taken.bytes.size(), whole);
    }
  }
}

TEST("endless extensions and trailers are refused") {
  CHECK(take(Body::chunked(), "5;" + std::string(9000, 'a')).malformed);
  CHECK(take(Body::chunked(), "0\r\nname: " + std::string(9000, 'a')).malformed);
  std::string many = "0\r\n";
  for (int i = 0; i < 4000; ++i) many += "a:b\r\n";
  CHECK(take(Body::chunked(), many).malformed);
  std::string chunks;
  for (int i = 0; i < 4000; ++i) chunks += "1;abc\r\nx\r\n";
  CHECK(take(Body::chunked(), chunks).malformed);
}

TEST("chunks end with the last one, and no byte behind it is taken") {
  checkWhole("0\r\n\r\n");
  checkWhole("000\r\n\r\n");
  checkWhole("5\r\nhello\r\n0\r\n\r\n");
  checkWhole("A\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n");  // data that looks like an end
  checkWhole("1a\r\nabcdefghijklmnopqrstuvwxyz\r\n5\r\nhello\r\n0\r\n\r\n");
  checkWhole("5;name=\"va lue\";x\r\nhello\r\n0;last\r\n\r\n");
  checkWhole("5\r\nhello\r\n0\r\nName: value\r\nOther:\r\n\r\n");
}

TEST("a body with a length has exactly that many bytes, however they are cut") {
  for (size_t step = 1; step < 12; ++step) {
    const Taken taken = take(Body::length(5), "hello" + kBehind, step);
    CHECK(taken.done && !taken.malformed);
    CHECK(taken.bytes == "hello");
  }
  CHECK(!take(Body::length(6), "hello").done);
  CHECK(take(Body::none(), kBehind).done);
  CHECK(take(Body::none(), kBehind).bytes.empty());
}

TEST("a read is bounded: by the end of a length, and for chunks by what may have to be kept") {
  Body body = Body::length(5);
  CHECK_EQ(body.mostToRead(100), 5);
  CHECK_EQ(body.mostToRead(3), 3);
  body.take("he", 2);
  CHECK_EQ(body.mostToRead(100), 3);
  CHECK_EQ(Body::chunked().mostToRead(100), 100);
  CHECK_EQ(Body::chunked().mostToRead(1 << 20), 16 * 1024);
}
