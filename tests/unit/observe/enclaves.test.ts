import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { mergeEnclaves, parseSamples } from '../../../src/observe/enclaves.ts';
import { renderMetrics } from '../../../src/observe/metrics.ts';
import { recordLog } from '../proxy/fixture.ts';
import { PROCESS, snapshot } from './fixture.ts';

const own = async () => ({
  status: 200,
  contentType: 'text/plain',
  body: await renderMetrics({ snapshot: snapshot(), process: PROCESS, version: '0.2.0' }, 'text'),
});
const REQUEST = { path: '/metrics', query: new URLSearchParams(), accept: '' };

async function merged(answers: Readonly<Record<number, string | Error>>): Promise<string> {
  const enclaves = Object.keys(answers).map((cid) => ({ cid: Number(cid), port: 9465 }));
  const pages = mergeEnclaves(
    { '/metrics': own },
    enclaves,
    ({ cid }) => {
      const answer = answers[cid];
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer ?? '');
    },
    recordLog('error').logFor('vsock_proxy'),
  );
  return (await pages['/metrics']?.(REQUEST))?.body ?? '';
}

describe('metrics of enclaves', () => {
  it('stand beside those of the parent, by family, with their CID', async () => {
    const text = await merged({ 16: (await own()).body, 17: new Error('ETIMEDOUT') });
    const lines = text.split('\n');
    assert(lines.includes('vsock_proxy_connections_open{cid="16",listener="vsock:3:8000"} 3'));
    assert(lines.includes('vsock_proxy_connect_seconds_bucket{cid="16",listener="vsock:3:8000",le="+Inf"} 8'));
    assert(lines.includes('vsock_proxy_enclave_up{cid="16"} 1'));
    assert(lines.includes('vsock_proxy_enclave_up{cid="17"} 0'));
    const names = lines
      .filter((line) => /^[a-z]/.test(line))
      .map((line) => line.replace(/[{ ].*/, '').replace(/_(bucket|sum|count)$/, ''));
    const runs = names.filter((name, index) => name !== names[index - 1]);
    assert.equal(new Set(runs).size, runs.length, 'a family stands together');
  });

  it('nothing else is taken of what an enclave sends', () => {
    const hostile = [
      '# HELP vsock_proxy_connections_open lies',
      'up{job="x"} 1',
      'vsock_proxy_unheard_of 1',
      'vsock_proxy_connections_open{listener="a"} 1 1700000000',
      'vsock_proxy_connections_open{listener="a\nb"} 1',
      'vsock_proxy_connections_open{listener="a",cid="99" 2',
      'vsock_proxy_connections_open{listener="a"} nonsense',
      '{evil="1"} 1',
    ].join('\n');
    assert.deepEqual([...parseSamples(hostile, 16)], []);
  });

  it('no line is taken for which a scraper would refuse those of the parent, too', () => {
    const hostile = [
      ...['{listener="a"b="c"}', '{cid="17"}', '{listener="a",listener="b"}', '{listener="a",,}', '{listener="a\0"}'],
      ...['{listener="a\\d"}', '{,}', '{listener=a}', '{listener="a"}}'],
    ].map((labels) => `vsock_proxy_connections_open${labels} 1`);
    const values = ['1.2.3', '--', 'e', '1e999', '-1e999', '0x1', '1_0', '.', '1e'];
    hostile.push(...values.map((value) => `vsock_proxy_connections_open{listener="a"} ${value}`));
    for (const line of hostile) assert.deepEqual([...parseSamples(line, 16)], [], JSON.stringify(line));
    const written = ['{listener="a\\"\\\\\\n",le="+Inf",} 1.5e-7', '{} -2', ' 1e+21', '{listener="ü"} NaN', ' +Inf'];
    for (const rest of written) {
      assert.equal([...parseSamples(`vsock_proxy_connections_open${rest}`, 16)].length, 1, rest);
    }
  });
});
