/** The section `metrics`. */

import type { ObserverAddress } from '../../plan.ts';
import { type Malformed, malformed } from '../../platform/malformed.ts';
import { CID_ANY, CID_LOCAL, PORT_ANY } from '../../platform/vsock.ts';
import { parseListen } from './addresses.ts';
import { list, map, optional, text, wholeNumber } from './builder.ts';

const CIDS = { min: CID_LOCAL, max: CID_ANY - 1 };
const PORTS = { min: 1, max: PORT_ANY - 1 };
/** Every scrape sends a request to each of them. */
const MOST_ENCLAVES = 64;

const FORMS = 'write unix:PATH, tcp:IP:PORT or vsock:PORT';

function parseAddress(written: string): ObserverAddress | Malformed {
  const isOfSystemd = malformed('metrics cannot be served on a socket of systemd', FORMS);
  if (written.startsWith('systemd:')) return isOfSystemd;
  const address = parseListen(written, FORMS);
  return 'problem' in address || address.family !== 'systemd' ? address : isOfSystemd;
}

export const metrics = map(
  {
    description: 'Metrics for Prometheus and health checks, over HTTP',
    hint: 'it looks like this: metrics: {listen: "tcp:127.0.0.1:9465"}',
    absent: 'none, unless the environment variable VSOCK_PROXY_METRICS has an address',
  },
  {
    listen: text(
      'an address to listen on',
      {
        description:
          'The address of `/metrics`, `/healthz` and `/readyz`: `unix:PATH` (mode 660), `tcp:IP:PORT` or `vsock:PORT`',
        type: 'address',
        hint: FORMS,
      },
      parseAddress,
    ),
    enclaves: optional(
      list(
        {
          description:
            'Enclaves whose metrics are served together with those of this process, each with the label `cid`',
          hint: 'write a list, each item like {cid: 16, port: 9465}',
          absent: 'none',
        },
        map(
          { description: 'An enclave with a `metrics` section of its own' },
          {
            cid: wholeNumber({ description: 'The CID of the enclave; 1 is this machine itself, for tests' }, CIDS),
            port: wholeNumber({ description: 'The vsock port of its metrics' }, PORTS),
          },
        ),
        { most: { count: MOST_ENCLAVES, problem: `more than ${MOST_ENCLAVES} enclaves` } },
      ),
    ),
  },
);
