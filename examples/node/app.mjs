// Answers GET /REGION with the S3 prefixes of that region. Knows nothing of vsock, and of no proxy.
import http from 'node:http';
import https from 'node:https';

const RANGES = 'https://ip-ranges.amazonaws.com/ip-ranges.json';

function fetchPrefixes(region, callback) {
  const request = https.get(RANGES, { timeout: 10_000 }, (response) => {
    const chunks = [];
    response.on('data', (chunk) => chunks.push(chunk));
    response.on('end', () => {
      const { prefixes } = JSON.parse(Buffer.concat(chunks));
      callback(undefined, prefixes.filter((each) => each.service === 'S3' && each.region === region).map((each) => each.ip_prefix));
    });
  });
  request.on('timeout', () => request.destroy(new Error('no answer in time')));
  request.on('error', callback);
}

http
  .createServer((request, response) => {
    fetchPrefixes(request.url.slice(1), (error, prefixes) => {
      response.writeHead(error === undefined ? 200 : 502, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify(prefixes ?? String(error)));
    });
  })
  .listen(3000, '127.0.0.1');
