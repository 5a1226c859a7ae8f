/** The built executable as a relay: tests/integration/relay.ts, and what its own limits add. */
import { test } from 'node:test';
import { afterTest, connect, LOOPBACK, listen } from './loopback.ts';
import { startProxy } from './proxy.ts';
import { testRelay } from './relay.ts';

testRelay(({ connections, connectTimeout, ...options }) =>
  startProxy({
    ...options,
    host: LOOPBACK,
    args: connections === undefined ? [] : ['-w', `${connections}`],
    settings: connectTimeout === undefined ? '' : `timeouts: {connect: ${connectTimeout}}`,
  }),
);

test('limits.connections of the file is used, and -w wins over it', async () => {
  const port = await listen((socket) => socket.pipe(socket));
  const proxyTo = async (args: readonly string[]) => {
    const proxy = await startProxy({ host: LOOPBACK, port, settings: 'limits: {connections: 1}', args });
    afterTest(() => proxy.kill());
    return proxy;
  };
  const byFile = await proxyTo([]);
  await connect(byFile);
  await connect(byFile);
  await byFile.logged(/WARN .*Limit of 1 /);
  const byArgument = await proxyTo(['-w', '2']);
  for (let i = 0; i < 3; i += 1) await connect(byArgument);
  await byArgument.logged(/WARN .*Limit of 2 /);
});
