#include "../../core/decision_cache.h"

#include "../check.h"

namespace {

using namespace vsock_proxy;

const std::string kHead = "CONNECT kms:443;nonce;end";
const Address kClient = Address::vsock(16, 1234);

Decision verdictOn(size_t bytes, std::vector<CacheRule::Range> except = {}, Micros lasts = 100) {
  Decision decision;
  decision.action = Action::Connect;
  decision.cache = {bytes, std::move(except), lasts, false, {}};
  return decision;
}

struct Known {
  explicit Known(const Decision& decision) { cache.add(kClient, kHead, decision, 0); }
  bool covers(const std::string& bytes, const Address& client = kClient, Micros now = 99) const {
    return cache.find(client, bytes, now).has_value();
  }
  DecisionCache cache;
};

}  // namespace

TEST(
    "a cached decision serves the same bytes of the same client, from any port and with more bytes behind "
    "them") {
  const Known known(verdictOn(kHead.size()));
  CHECK(known.covers(kHead));
  CHECK(known.covers(kHead + "more"));
  CHECK(known.covers(kHead, Address::vsock(16, 9)));
}

TEST("a cached decision serves no other client") {
  const Known known(verdictOn(kHead.size()));
  CHECK(!known.covers(kHead, Address::vsock(17, 1234)));
  CHECK(!known.covers(kHead, Address::tcp("127.0.0.1", 1234)));
  CHECK(!known.covers(kHead, Address::unixPath("/run/x")));
}

TEST("a cached decision serves no head that differs in a byte that counts, wherever the byte stands") {
  const Known known(verdictOn(kHead.size(), {{16, 21}, {21, 21}}));
  for (size_t at = 0; at < kHead.size(); ++at) {
    std::string other = kHead;
    other[at] ^= 1;
    CHECK_EQ(known.covers(other), at >= 16 && at < 21);
  }
  for (size_t size = 0; size < kHead.size(); ++size) CHECK(!known.covers(kHead.substr(0, size)));
}

TEST("a cached decision expires") {
  const Known known(verdictOn(kHead.size()));
  CHECK(known.covers(kHead, kClient, 99));
  CHECK(!known.covers(kHead, kClient, 100));
}

TEST("a later decision about the same bytes replaces the earlier one") {
  Known known(verdictOn(kHead.size()));
  Decision later = verdictOn(kHead.size());
  later.target = 8;
  known.cache.add(kClient, kHead, later, 50);
  CHECK_EQ(known.cache.find(kClient, kHead, 149)->target, 8);
}

TEST("a decision that cannot be cached is not cached") {
  Decision consumesMore = verdictOn(7);
  consumesMore.consume = 8;
  for (const Decision& decision : {
           verdictOn(kHead.size(), {}, 0),
           verdictOn(kHead.size() + 1),
           verdictOn(kHead.size(), {{5, 4}}),
           verdictOn(kHead.size(), {{5, 9}, {8, 10}}),
           verdictOn(kHead.size(), {{5, kHead.size() + 1}}),
           consumesMore,
       }) {
    CHECK(!Known(decision).covers(kHead));
  }
  const std::string longHead(kCachedHeadBytes + 1, 'x');
  DecisionCache cache;
  cache.add(kClient, longHead, verdictOn(longHead.size()), 0);
  CHECK(!cache.find(kClient, longHead, 1));
}

TEST("the cache has a limit, and drops the oldest decision first") {
  Known known(verdictOn(kHead.size()));
  for (size_t i = 0; i < kCachedDecisions; ++i) {
    CHECK(known.covers(kHead));
    const std::string head(1, static_cast<char>(i));
    known.cache.add(kClient, head, verdictOn(head.size()), 1);
  }
  CHECK(!known.covers(kHead));
  CHECK(known.covers(std::string(1, 0)));
}

namespace {

std::string get(const std::string& host, const std::string& path) {
  return "GET http://" + host + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n";
}

Decision exchangeFor(Micros lasts = 100) {
  Decision decision;
  decision.action = Action::Exchange;
  decision.target = 7;
  decision.persistent = true;
  decision.cache.byAuthority = true;
  decision.cache.lasts = lasts;
  return decision;
}

}  // namespace

TEST("a cached decision for an authority serves each plain GET to it, and writes its head") {
  DecisionCache cache;
  cache.add(kClient, get("a.example", "/one"), exchangeFor(), 0);
  const auto known = cache.find(Address::vsock(16, 9), get("a.example", "/two") + "more", 99);
  CHECK(known.has_value());
  CHECK_EQ(known->target, 7);
  CHECK_EQ(known->consume, get("a.example", "/two").size());
  CHECK(known->toServer == "GET /two HTTP/1.1\r\nHost: a.example\r\nVia: 1.1 vsock-proxy\r\n\r\n");
  CHECK(known->plain.head == get("a.example", "/two"));
  CHECK(known->persistent && known->plain.keepAlive);
}

TEST("a cached decision for an authority serves no other authority, client or kind of request, and expires") {
  DecisionCache cache;
  const std::string one = get("a.example", "/");
  cache.add(kClient, one, exchangeFor(), 0);
  CHECK(cache.find(kClient, one, 99));
  CHECK(!cache.find(kClient, one, 100));
  CHECK(!cache.find(Address::vsock(17, 1234), one, 99));
  CHECK(!cache.find(kClient, get("b.example", "/"), 99));
  CHECK(!cache.find(kClient, get("A.example", "/"), 99));
  CHECK(!cache.find(kClient, get("a.example:80", "/"), 99));
  CHECK(!cache.find(kClient, "CONNECT a.example:80 HTTP/1.1\r\n\r\n", 99));
  CHECK(!cache.find(kClient, one.substr(0, one.size() - 1), 99));
  // A decision about another request than a plain GET is not kept either.
  cache.add(kClient, "POST http://c.example/ HTTP/1.1\r\n\r\n", exchangeFor(), 0);
  CHECK(!cache.find(kClient, get("c.example", "/"), 1));
}

TEST("decisions for authorities are limited in number, and expired ones are dropped first") {
  DecisionCache cache;
  const auto nameOf = [](size_t i) { return "host-" + std::to_string(i) + ".example"; };
  cache.add(kClient, get(nameOf(0), "/"), exchangeFor(1000), 0);
  for (size_t i = 1; i <= kCachedAuthorities; ++i) cache.add(kClient, get(nameOf(i), "/"), exchangeFor(1), 0);
  cache.add(kClient, get(nameOf(0), "/"), exchangeFor(1000), 1);
  for (size_t i = 1; i < kCachedAuthorities; ++i) cache.add(kClient, get(nameOf(i), "/"), exchangeFor(10), 1);
  size_t held = 0;
  for (size_t i = 0; i < kCachedAuthorities; ++i) held += cache.find(kClient, get(nameOf(i), "/"), 2) ? 1 : 0;
  CHECK_EQ(held, kCachedAuthorities);
}
