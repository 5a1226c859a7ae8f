#include "../../core/precedents.h"

#include "../check.h"

namespace {

using namespace vsock_proxy;

const std::string kHead = "CONNECT kms:443;nonce;end";
const Address kClient = Address::vsock(16, 1234);

Verdict verdictOn(size_t bytes, std::vector<Precedent::Range> except = {}, Micros lasts = 100) {
  Verdict verdict;
  verdict.action = Verdict::Action::Connect;
  verdict.precedent = {bytes, std::move(except), lasts};
  return verdict;
}

struct Known {
  explicit Known(const Verdict& verdict) { precedents.add(kClient, kHead, verdict, 0); }
  bool covers(const std::string& bytes, const Address& client = kClient, Micros now = 99) const {
    return precedents.find(client, bytes, now) != nullptr;
  }
  Precedents precedents;
};

}  // namespace

TEST("a precedent holds for the same bytes of the same client, from any port, with more behind them") {
  const Known known(verdictOn(kHead.size()));
  CHECK(known.covers(kHead));
  CHECK(known.covers(kHead + "more"));
  CHECK(known.covers(kHead, Address::vsock(16, 9)));
}

TEST("a precedent holds for no other client") {
  const Known known(verdictOn(kHead.size()));
  CHECK(!known.covers(kHead, Address::vsock(17, 1234)));
  CHECK(!known.covers(kHead, Address::tcp("127.0.0.1", 1234)));
  CHECK(!known.covers(kHead, Address::unixPath("/run/x")));
}

TEST("a precedent holds for no other byte that counts, wherever it stands") {
  const Known known(verdictOn(kHead.size(), {{16, 21}, {21, 21}}));
  for (size_t at = 0; at < kHead.size(); ++at) {
    std::string other = kHead;
    other[at] ^= 1;
    CHECK_EQ(known.covers(other), at >= 16 && at < 21);
  }
  for (size_t size = 0; size < kHead.size(); ++size) CHECK(!known.covers(kHead.substr(0, size)));
}

TEST("a precedent ends with its time") {
  const Known known(verdictOn(kHead.size()));
  CHECK(known.covers(kHead, kClient, 99));
  CHECK(!known.covers(kHead, kClient, 100));
}

TEST("a later verdict on the same takes its place") {
  Known known(verdictOn(kHead.size()));
  Verdict later = verdictOn(kHead.size());
  later.target = 8;
  known.precedents.add(kClient, kHead, later, 50);
  CHECK_EQ(known.precedents.find(kClient, kHead, 149)->target, 8);
}

TEST("what cannot be a precedent is none") {
  Verdict consumesMore = verdictOn(7);
  consumesMore.consume = 8;
  for (const Verdict& verdict : {
           verdictOn(kHead.size(), {}, 0),
           verdictOn(kHead.size() + 1),
           verdictOn(kHead.size(), {{5, 4}}),
           verdictOn(kHead.size(), {{5, 9}, {8, 10}}),
           verdictOn(kHead.size(), {{5, kHead.size() + 1}}),
           consumesMore,
       }) {
    CHECK(!Known(verdict).covers(kHead));
  }
  const std::string longHead(Precedents::kLongestHead + 1, 'x');
  Precedents precedents;
  precedents.add(kClient, longHead, verdictOn(longHead.size()), 0);
  CHECK(precedents.find(kClient, longHead, 1) == nullptr);
}

TEST("at most so many are kept, and the oldest goes first") {
  Known known(verdictOn(kHead.size()));
  for (size_t i = 0; i < Precedents::kMost; ++i) {
    CHECK(known.covers(kHead));
    const std::string head(1, static_cast<char>(i));
    known.precedents.add(kClient, head, verdictOn(head.size()), 1);
  }
  CHECK(!known.covers(kHead));
  CHECK(known.covers(std::string(1, 0)));
}
