#include "sha256.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace vsock_proxy {

namespace {

constexpr size_t kBlock = 64;

// Section 4.2.2.
constexpr uint32_t kRounds[] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

using State = std::array<uint32_t, 8>;

// Section 5.3.3.
constexpr State kStart = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                          0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

uint32_t rotate(uint32_t word, unsigned by) { return (word >> by) | (word << (32 - by)); }

// Section 6.2.2.
void mix(State& state, const unsigned char* block) {
  uint32_t words[64];
  for (size_t i = 0; i < 16; ++i) {
    words[i] = static_cast<uint32_t>(block[4 * i]) << 24 | static_cast<uint32_t>(block[4 * i + 1]) << 16 |
               static_cast<uint32_t>(block[4 * i + 2]) << 8 | static_cast<uint32_t>(block[4 * i + 3]);
  }
  for (size_t i = 16; i < 64; ++i) {
    const uint32_t far = rotate(words[i - 15], 7) ^ rotate(words[i - 15], 18) ^ (words[i - 15] >> 3);
    const uint32_t near = rotate(words[i - 2], 17) ^ rotate(words[i - 2], 19) ^ (words[i - 2] >> 10);
    words[i] = words[i - 16] + far + words[i - 7] + near;
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (size_t i = 0; i < 64; ++i) {
    const uint32_t choice = (e & f) ^ (~e & g);
    const uint32_t majority = (a & b) ^ (a & c) ^ (b & c);
    const uint32_t first =
        h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + choice + kRounds[i] + words[i];
    const uint32_t second = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + majority;
    h = g;
    g = f;
    f = e;
    e = d + first;
    d = c;
    c = b;
    b = a;
    a = first + second;
  }
  const State mixed = {a, b, c, d, e, f, g, h};
  for (size_t i = 0; i < state.size(); ++i) state[i] += mixed[i];
}

// Section 5.1.1: a one, zeros, and the length in bits at the end of a block.
std::string padding(uint64_t bytes) {
  const size_t zeros = (2 * kBlock - 9 - bytes % kBlock) % kBlock;
  std::string all(1, '\x80');
  all.append(zeros, '\0');
  for (int shift = 56; shift >= 0; shift -= 8) all.push_back(static_cast<char>(bytes * 8 >> shift & 0xff));
  return all;
}

}  // namespace

std::string sha256(const std::string& bytes) {
  State state = kStart;
  const size_t whole = bytes.size() / kBlock * kBlock;
  const std::string rest = bytes.substr(whole) + padding(bytes.size());
  const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
  for (size_t i = 0; i < whole; i += kBlock) mix(state, at + i);
  at = reinterpret_cast<const unsigned char*>(rest.data());
  for (size_t i = 0; i < rest.size(); i += kBlock) mix(state, at + i);

  std::string digest;
  for (const uint32_t word : state) {
    for (int shift = 28; shift >= 0; shift -= 4) digest.push_back("0123456789abcdef"[word >> shift & 0xf]);
  }
  return digest;
}

}  // namespace vsock_proxy
