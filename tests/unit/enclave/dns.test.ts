import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import * as packet from 'dns-packet';
import { type IpAddress, parseIpAddress } from '../../../src/access/address.ts';
import { answerQuery as answer, type FoundInZone, type LookUp } from '../../../src/enclave/dns-message.ts';

/** At once. */
function answerQuery(...query: Parameters<typeof answer>): Buffer | undefined {
  const reply = answer(...query);
  assert(!(reply instanceof Promise));
  return reply;
}

function ip(text: string): IpAddress {
  return parseIpAddress(text) ?? assert.fail(text);
}

const TABLE: Readonly<Record<string, readonly IpAddress[]>> = {
  'kms.example': [ip('127.64.0.1')],
  localhost: [ip('127.0.0.1'), ip('::1')],
  'many.example': Array.from({ length: 60 }, (_, index) => ip(`10.0.0.${index + 1}`)),
};
const lookUp: LookUp = (name) => (Object.hasOwn(TABLE, name) ? TABLE[name] : undefined);

interface Asked {
  readonly name?: string;
  readonly type?: string;
  readonly class?: packet.RecordClass;
  readonly additionals?: packet.Answer[];
  readonly transport?: 'udp' | 'tcp';
}

function query({ name = 'kms.example', type = 'A', class: ofClass = 'IN', additionals = [] }: Asked = {}): Buffer {
  const questions = [{ name, type: type as packet.RecordType, class: ofClass }];
  return packet.encode({ type: 'query', id: 4711, flags: packet.RECURSION_DESIRED, questions, additionals });
}

function edns(udpPayloadSize: number, ednsVersion = 0, options: packet.PacketOpt[] = []): packet.Answer {
  return { type: 'OPT', name: '.', udpPayloadSize, ednsVersion, extendedRcode: 0, flags: 0, flag_do: false, options };
}

/** What a resolver sees of a reply. */
function read(reply: Buffer | undefined) {
  assert(reply !== undefined, 'no reply');
  const {
    id,
    questions = [],
    answers = [],
    additionals = [],
    flag_tc: truncated,
    flag_ra: recursive,
  } = packet.decode(reply);
  const [extra] = additionals;
  return {
    rcode: reply.readUInt16BE(2) & 0xf,
    id,
    names: questions.map(({ name }) => name),
    answers: answers.map((answer) => `${answer.name} ${answer.type} ${'data' in answer ? answer.data : ''}`),
    truncated,
    recursive,
    badVersion: extra?.type === 'OPT' && extra.extendedRcode === 1,
    edns: extra?.type === 'OPT',
  };
}

function ask(asked: Asked = {}) {
  return read(answerQuery(query(asked), asked.transport ?? 'udp', lookUp));
}

/** The bytes of a query, changed by hand. */
function bent(bend: (message: Buffer) => unknown, asked: Asked = {}): Buffer {
  const message = Buffer.from(query(asked));
  bend(message);
  return message;
}

const [FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED] = [1, 2, 3, 4, 5];

suite('queries that get no answer', () => {
  test('what is too short to be a query, and responses, get no reply at all', () => {
    for (let length = 0; length < 12; length += 1) {
      assert.equal(answerQuery(query().subarray(0, length), 'udp', lookUp), undefined);
    }
    assert.equal(
      answerQuery(
        bent((message) => message.writeUInt16BE(0x8180, 2)),
        'udp',
        lookUp,
      ),
      undefined,
    );
  });

  test('a name that is not allowed does not exist', () => {
    for (const name of ['evil.example', 'kms.example.evil.example', 'sub.kms.example', 'toString', '__proto__']) {
      assert.equal(ask({ name }).rcode, NXDOMAIN, name);
    }
  });

  test('a name that cannot be one does not exist: numbers, white space, an empty label within, the root', () => {
    for (const name of ['2130706433', '127.1', 'a b.example', 'kms.example\0', '-a.example', '.']) {
      assert.equal(ask({ name }).rcode, NXDOMAIN, JSON.stringify(name));
    }
  });

  test('a dot inside a label does not make another name of it', () => {
    const message = Buffer.concat([query().subarray(0, 12), Buffer.from('\x0bkms.example\0\0\x01\0\x01', 'latin1')]);
    const reply = answerQuery(message, 'udp', lookUp) ?? assert.fail();
    assert.deepEqual(reply.subarray(12, 12 + 17), message.subarray(12));
  });

  for (const [what, message, rcode] of [
    ['another opcode', bent((m) => m.writeUInt16BE(0x2900, 2)), NOTIMP],
    ['no question', bent((m) => m.writeUInt16BE(0, 4)), FORMERR],
    ['two questions', bent((m) => m.writeUInt16BE(2, 4)), FORMERR],
    ['an answer', bent((m) => m.writeUInt16BE(1, 6)), FORMERR],
    ['an authority', bent((m) => m.writeUInt16BE(1, 8)), FORMERR],
    ['60,000 additional records', bent((m) => m.writeUInt16BE(60_000, 10)), FORMERR],
    ['a record for EDNS that is not there', bent((m) => m.writeUInt16BE(1, 10)), FORMERR],
    ['a label of 64 bytes', bent((m) => m.writeUInt8(64, 12)), FORMERR],
    ['a pointer into the header', bent((m) => m.writeUInt16BE(0xc000, 12)), FORMERR],
    ['a pointer to itself', bent((m) => m.writeUInt16BE(0xc00c, 12)), FORMERR],
    ['a name without an end', query().subarray(0, 20), FORMERR],
    ['a question without a class', query().subarray(0, -2), FORMERR],
  ] as const) {
    test(`${what}: refused without the question`, () => {
      const reply = read(answerQuery(Buffer.from(message), 'udp', lookUp));
      assert.deepEqual([reply.rcode, reply.id, reply.names], [rcode, 4711, []]);
    });
  }

  test('another class, and transfers of zones, are refused with the question', () => {
    for (const asked of [{ class: 'CH' }, { class: 'ANY' }, { type: 'AXFR' }, { type: 'IXFR' }] as const) {
      const reply = ask(asked);
      assert.deepEqual([reply.rcode, reply.names, reply.answers], [REFUSED, ['kms.example'], []]);
    }
  });

  test('another version of EDNS is refused by number', () => {
    const reply = ask({ additionals: [edns(1232, 1)] });
    assert.deepEqual([reply.rcode, reply.badVersion, reply.answers], [0, true, []]);
  });

  test('a query cut at any byte is refused or dropped, and never answered', () => {
    const message = query({ additionals: [edns(4096)] });
    for (let length = 0; length < message.length; length += 1) {
      const reply = answerQuery(Buffer.from(message.subarray(0, length)), 'tcp', lookUp);
      if (reply !== undefined) assert.equal(read(reply).rcode, FORMERR);
    }
  });
});

suite('queries that are answered', () => {
  test('the address of an allowed name, under the same id, with recursion offered', () => {
    assert.deepEqual(ask(), {
      rcode: 0,
      id: 4711,
      names: ['kms.example'],
      answers: ['kms.example A 127.64.0.1'],
      truncated: false,
      recursive: true,
      badVersion: false,
      edns: false,
    });
  });

  test('a name as it was spelt, capitals too, in question and answer', () => {
    const { names, answers } = ask({ name: 'kMs.ExAmPle' });
    assert.deepEqual([names, answers], [['kMs.ExAmPle'], ['kMs.ExAmPle A 127.64.0.1']]);
  });

  test('an allowed name has no other records, and does exist', () => {
    for (const type of ['AAAA', 'MX', 'TXT', 'NS', 'UNKNOWN_65', 'UNKNOWN_64', 'SOA']) {
      const reply = ask({ type });
      assert.deepEqual([reply.rcode, reply.answers, reply.names], [0, [], ['kms.example']], type);
    }
  });

  test('both families of the enclave itself', () => {
    assert.deepEqual(ask({ name: 'localhost' }).answers, ['localhost A 127.0.0.1']);
    assert.deepEqual(ask({ name: 'localhost', type: 'AAAA' }).answers, ['localhost AAAA ::1']);
    assert.deepEqual(ask({ name: 'localhost', type: 'ANY' }).answers.length, 2);
  });

  test('EDNS is answered with EDNS, with options or without', () => {
    const cookie = { code: 10, data: Buffer.alloc(8) } as unknown as packet.PacketOpt;
    for (const additionals of [[edns(1232)], [edns(0)], [edns(65_535, 0, [cookie])]]) {
      const reply = ask({ additionals });
      assert.deepEqual([reply.rcode, reply.edns, reply.answers], [0, true, ['kms.example A 127.64.0.1']]);
    }
  });

  test('what does not fit is asked for again over TCP, and comes there', () => {
    const small = ask({ name: 'many.example' });
    assert.deepEqual([small.truncated, small.answers.length], [true, 0]);
    assert.equal(ask({ name: 'many.example', additionals: [edns(512)] }).truncated, true);
    assert.equal(ask({ name: 'many.example', additionals: [edns(4096)] }).answers.length, 60);
    assert.equal(ask({ name: 'many.example', transport: 'tcp' }).answers.length, 60);
  });
});

suite('records that somebody else has to be asked for', () => {
  const records: Readonly<Record<string, FoundInZone>> = {
    'SRV _mongodb._tcp.example': {
      type: 'SRV',
      records: [{ priority: 1, weight: 2, port: 27_017, name: 'a.example' }],
    },
    'TXT example': { type: 'TXT', records: [['v=1 ', '\xff\0'], ['authSource=admin']] },
    'TXT none.example': { type: 'TXT', records: [] },
    'TXT failed.example': 'failed',
  };
  const askLater = async (name: string, type: string, transport: 'udp' | 'tcp' = 'udp') => {
    const reply = answer(query({ name, type }), transport, async (asked, ofType) => records[`${ofType} ${asked}`]);
    assert(reply instanceof Promise);
    return await reply;
  };

  test('that nobody can tell, or that are not there: each has its own code', async () => {
    assert.equal(read(await askLater('failed.example', 'TXT')).rcode, SERVFAIL);
    assert.equal(read(await askLater('no.example', 'TXT')).rcode, NXDOMAIN);
    const none = read(await askLater('none.example', 'TXT'));
    assert.deepEqual([none.rcode, none.answers], [0, []]);
  });

  test('of services, and texts byte for byte, under the name as it was spelt', async () => {
    const { answers: [service] = [] } = packet.decode(await askLater('_MongoDB._tcp.Example', 'SRV'));
    assert(service?.type === 'SRV');
    assert.deepEqual(
      [service.name, { ...service.data }],
      ['_MongoDB._tcp.Example', { priority: 1, weight: 2, port: 27_017, target: 'a.example' }],
    );
    const { answers: texts = [] } = packet.decode(await askLater('example', 'TXT'));
    assert.deepEqual(
      texts.map((text) => 'data' in text && text.data),
      [[Buffer.from('v=1 '), Buffer.from([0xff, 0])], [Buffer.from('authSource=admin')]],
    );
  });
});

test('random and mutated messages never throw, and no reply is longer than it may be', () => {
  let state = 1;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const seeds = [
    query(),
    query({ additionals: [edns(4096)] }),
    query({ name: 'many.example', additionals: [edns(600)] }),
    query({ name: `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(60)}` }),
  ];
  for (let round = 0; round < 50_000; round += 1) {
    const seed = seeds[random(seeds.length)] ?? assert.fail();
    const message =
      random(10) === 0 ? Buffer.from(Array.from({ length: random(80) }, () => random(256))) : Buffer.from(seed);
    for (let change = random(6); change > 0 && message.length > 0; change -= 1) {
      message[random(message.length)] = random(256);
    }
    const reply = answerQuery(message.subarray(0, message.length - random(4)), 'udp', lookUp);
    if (reply === undefined) continue;
    assert(reply.length <= 4096, message.toString('hex'));
    assert.equal(reply.readUInt16BE(0), message.readUInt16BE(0));
    assert((reply[2] ?? 0) >= 0x80);
  }
});
