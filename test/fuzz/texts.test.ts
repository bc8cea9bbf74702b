/** Text from outside: it is read, or refused with an error of the program's own that names what is wrong. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { loadConfig } from '../../src/driver/config';
import { readNames } from '../../src/driver/names';
import { CalicoP4Error, type ErrorCode } from '../../src/errors';
import { parseP4InfoText } from '../../src/p4info/text-format';
import { createInterpreter } from '../../src/p4switch/interpreter/interpreter';
import { parseSpec } from '../../src/p4switch/spec/parser';
import { buildFrame } from '../../src/packet/build';
import { parsePacketFile } from '../../src/packet/describe';
import { describeStep } from '../../src/translators/policy/outcomes';
import { SPEC } from '../unit/p4switch/server/small-pipeline';
import { fuzz, timeoutOf } from './support/budget';
import { changedWords } from './support/words';

const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-fuzz-'));
const pipelines = path.join(__dirname, '../../pipelines/p4-dpdk');
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** Anything but an error of the given code, with a message, is a failure. */
function readOrRefuse(code: ErrorCode, read: () => void): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof CalicoP4Error) || error.code !== code) throw error;
    expect(error.message.length).toBeGreaterThan(10);
  }
}

/** The code of the error that `read` throws. */
function codeOf(read: () => unknown): ErrorCode | 'read' {
  try {
    read();
  } catch (error) {
    if (error instanceof CalicoP4Error) return error.code;
    throw error;
  }
  return 'read';
}

function fileOf(text: string): string {
  const file = path.join(folder, 'file');
  writeFileSync(file, text);
  return file;
}

const CONFIG = `target:
  address: 127.0.0.1:9559
  kind: p4-dpdk
  deviceId: 1
  electionId: "7"
  tls: {ca: /ca.pem, cert: /cert.pem, key: /key.pem}
ports: {uplink: 0, host: 1, firstPod: 2}
felix:
  link: unix:/run/felix.sock
  heartbeatSeconds: 10
namesFile: ""
logLevel: info
`;

const ENVIRONMENT = [
  'CALICO_P4_TARGET_ADDRESS',
  'CALICO_P4_TARGET_DEVICE_ID',
  'CALICO_P4_TARGET_ELECTION_ID',
  'CALICO_P4_TARGET_TLS_CA',
  'CALICO_P4_PORTS_FIRST_POD',
  'CALICO_P4_FELIX_HEARTBEAT_SECONDS',
  'CALICO_P4_LOG_LEVEL',
  'CALICO_P4_NO_SUCH_KEY',
];

test(
  'configuration: YAML and environment',
  async () => {
    const environment = fc.dictionary(fc.constantFrom(...ENVIRONMENT), fc.string({ maxLength: 12 }), {
      maxKeys: 2,
    });
    const text = fc.oneof(
      { weight: 4, arbitrary: changedWords(CONFIG, /([\s,{}:"]+)/) },
      { weight: 1, arbitrary: fc.string({ maxLength: 200 }) },
      { weight: 1, arbitrary: fc.json() },
    );
    await fuzz(
      'configuration',
      500,
      fc.property(text, environment, (yaml, env) => {
        readOrRefuse('CONFIG_INVALID', () => loadConfig(env, fileOf(yaml)));
      }),
    );
  },
  timeoutOf('configuration'),
);

test.each([
  [
    'aliases of aliases',
    Array.from({ length: 30 }, (_, i) => `a${i}: &a${i} [${`*a${i - 1},`.repeat(i === 0 ? 0 : 9)}]`).join(
      '\n',
    ),
  ],
  ['deep nesting', '['.repeat(200_000)],
  ['deep nesting that closes', `target: ${'['.repeat(20_000)}${']'.repeat(20_000)}`],
  ['a key of the prototype', '__proto__: {target: {kind: embedded}}'],
  ['a cycle', 'target: &t {address: *t}'],
  ['another document', '---\nlogLevel: info\n---\nlogLevel: debug'],
  ['binary', 'logLevel: !!binary aW5mbw=='],
])('configuration: %s', (_, yaml) => {
  const started = performance.now();
  const file = fileOf(yaml);
  expect(codeOf(() => loadConfig({}, file))).toBe('CONFIG_INVALID');
  expect(performance.now() - started).toBeLessThan(10_000);
});

const PACKETS = `{"id":"1","from":"uplink","src":"10.0.0.1","dst":"10.0.0.2","proto":"tcp","sport":40000,"dport":80,"tcpFlags":"SA"}
{"id":2,"from":"cali1","src":"fd00::1","dst":"fd00::2","proto":"icmpv6","icmpType":1,"icmpCode":0,"inner":{"src":"fd00::2","dst":"fd00::1","proto":17,"sport":1,"dport":2}}
{"id":3,"from":"host","src":"10.0.0.1","dst":"10.0.0.2","proto":132,"sctpChunk":"INIT","payload":100,"fragment":{"id":7,"offset":8,"more":true}}
`;

test(
  'packet files, and the frames that they give',
  async () => {
    await fuzz(
      'packet files',
      500,
      fc.property(fc.oneof(changedWords(PACKETS, /([\s,{}:"]+)/), fc.json()), (text) => {
        readOrRefuse('USAGE', () => {
          for (const { packet } of parsePacketFile(text))
            expect(buildFrame(packet).length).toBeGreaterThan(14);
        });
      }),
    );
  },
  timeoutOf('packet files'),
);

const NAMES = JSON.stringify({
  version: 1,
  ports: [
    [0, 'uplink'],
    [1, 'host'],
  ],
  endpoints: [[1, 'k8s/shop/web-0/eth0']],
  outcomes: [
    { id: 0, verdict: 'deny', rules: [{ kind: 'miss' }] },
    {
      id: 3,
      verdict: 'allow',
      rules: [
        {
          kind: 'rule',
          tier: 'default',
          policy: { kind: 'NetworkPolicy', namespace: 'shop', name: 'web' },
          profile: null,
          direction: 'ingress',
          index: 0,
          action: 'allow',
        },
        {
          kind: 'missing-policy',
          tier: 'default',
          policy: { kind: 'K', namespace: '', name: 'x' },
          direction: 'egress',
        },
        { kind: 'end-of-tier', tier: 'default', direction: 'ingress' },
      ],
    },
  ],
});

test(
  'names files, and what is printed of them',
  async () => {
    await fuzz(
      'names files',
      500,
      fc.property(fc.oneof(changedWords(NAMES, /([,{}[\]:"]+)/), fc.json()), (text) => {
        readOrRefuse('USAGE', () => {
          for (const { rules } of readNames(fileOf(text)).outcomes.values()) {
            for (const step of rules) expect(typeof describeStep(step)).toBe('string');
          }
        });
      }),
    );
  },
  timeoutOf('names files'),
);

test(
  'p4info in the text format',
  async () => {
    const right = readFileSync(path.join(pipelines, 'calico.p4info.txtpb'), 'utf8');
    const text = fc.oneof(
      { weight: 5, arbitrary: changedWords(right, /([\s:{}"]+)/) },
      { weight: 1, arbitrary: fc.string({ maxLength: 100 }) },
    );
    await fuzz(
      'p4info',
      200,
      fc.property(text, (p4info) => {
        readOrRefuse('PIPELINE_MISMATCH', () => parseP4InfoText(p4info));
      }),
    );
  },
  timeoutOf('p4info'),
);

test(
  'spec, and packets through what it gives',
  async () => {
    const calico = readFileSync(path.join(pipelines, 'calico.spec'), 'utf8');
    const text = fc.oneof(
      { weight: 2, arbitrary: changedWords(calico, /([\s<>]+)/) },
      { weight: 4, arbitrary: changedWords(SPEC, /([\s<>]+)/) },
      { weight: 1, arbitrary: fc.string({ maxLength: 100 }) },
    );
    const frames = fc.array(fc.uint8Array({ minLength: 14, maxLength: 120 }), { maxLength: 3 });
    await fuzz(
      'spec',
      300,
      fc.property(text, frames, (spec, packets) => {
        readOrRefuse('SPEC_INVALID', () => {
          const engine = createInterpreter(parseSpec(spec), { now: () => 0 });
          for (const frame of packets) engine.process(0, frame, true);
        });
      }),
    );
  },
  timeoutOf('spec'),
);

test.each([
  ['a register array', 'regarray a size 0x80000000 initval 0'],
  [
    'many register arrays',
    Array.from({ length: 200 }, (_, i) => `regarray a${i} size 0x1000000 initval 0`).join('\n'),
  ],
])('spec: %s larger than memory is refused', (_, declaration) => {
  const spec = `${SPEC}\n${declaration}\n`;
  expect(codeOf(() => createInterpreter(parseSpec(spec), { now: () => 0 }))).toBe('SPEC_INVALID');
});
