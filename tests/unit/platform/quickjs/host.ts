/** As much of `host` as the modules of src/platform/quickjs ask for that reach nothing outside. Import it before them. */
import type { Host } from '../../../../src/platform/quickjs/host.ts';

const own: Pick<Host, 'decode' | 'encode' | 'decodeLatin1' | 'encodeLatin1'> = {
  decode: (bytes) => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes),
  encode: (text) => new TextEncoder().encode(text),
  decodeLatin1: (bytes) => Buffer.from(bytes).toString('latin1'),
  encodeLatin1: (text) => new Uint8Array(Buffer.from(text, 'latin1')),
};

Object.assign(globalThis, { host: own });
