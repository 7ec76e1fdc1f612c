/**
 * Masking alone: nanoseconds per row of five columns, in the shapes that results have. Rows stand one behind the other in read
 * buffers, as they do on the wire. Prints a Markdown table.
 *
 *     node bench/masking.ts
 */
import type { Detector, Transform } from '../policy/masking.ts';
import { createContentDetectors } from '../proxy/masking/detectors.ts';
import type { ColumnTreatment } from '../proxy/masking/port.ts';
import { createRowMasker } from '../proxy/masking/rows.ts';
import { createByteSink } from '../proxy/masking/sink.ts';

const key = Buffer.from('bench key');
const BUFFER = 65_536;
const SECONDS = 0.7;

interface Result {
  readonly buffers: readonly Buffer[];
  readonly rows: number;
}

/** A result of rows like (12, name, e-mail, note, timestamp) packed into buffers. */
function makeResult(rows: number): Result {
  const buffers: Buffer[] = [];
  let parts: Buffer[] = [];
  let length = 0;
  const close = (): void => {
    buffers.push(Buffer.concat(parts));
    parts = [];
    length = 0;
  };
  for (let i = 0; i < rows; i++) {
    const values = [
      `${i}`,
      `Customer ${i % 977}`,
      `customer${i % 5000}@example.com`,
      'gone to lunch, back soon',
      '2024-05-17 10:20:30.123456+00',
    ];
    const fields = values.flatMap((value) => {
      const size = Buffer.alloc(4);
      size.writeInt32BE(value.length);
      return [size, Buffer.from(value)];
    });
    const body = Buffer.concat([Buffer.from([0, values.length]), ...fields]);
    const header = Buffer.from([0x44, 0, 0, 0, 0]);
    header.writeInt32BE(body.length + 4, 1);
    if (length + body.length + 5 > BUFFER) close();
    parts.push(header, body);
    length += 5 + body.length;
  }
  close();
  return { buffers, rows };
}

const TYPES = [23, 25, 25, 25, 1184] as const;

function columnsWith(transform: Transform | undefined): ColumnTreatment[] {
  return TYPES.map((typeOid, index) => {
    const base = { typeOid, format: 0 as const, rules: ['shop/pii'] };
    if (index !== 2 || transform === undefined) return base;
    return transform.type === 'tokenize' ? { ...base, transform, tokenKey: key } : { ...base, transform };
  });
}

const redact: Transform = { type: 'redact', with: '***' };
const four: Detector[] = ['CreditCard', 'USSocialSecurityNumber', 'PrivateKey', 'JWT'];

const CASES: readonly { name: string; transform?: Transform; detectors?: readonly Detector[]; pattern?: string }[] = [
  { name: 'redact', transform: redact },
  { name: 'nullify', transform: { type: 'nullify' } },
  { name: 'partial, last 4', transform: { type: 'partial', keepFirst: 0, keepLast: 4 } },
  { name: 'tokenize, 5,000 values', transform: { type: 'tokenize' } },
  { name: 'redact, and four detectors that find nothing', transform: redact, detectors: four },
  { name: 'Email detector, one find', detectors: ['Email'] },
  { name: "redact, and a user's pattern that finds nothing", transform: redact, pattern: 'EMP-[0-9]{6}' },
];

function measure(result: Result, test: (typeof CASES)[number]): number {
  const content = createContentDetectors(
    [
      ...(test.detectors ?? []).map((detector) => ({ source: { detector }, transform: redact, rule: 'shop/content' })),
      ...(test.pattern === undefined
        ? []
        : [{ source: { pattern: test.pattern }, transform: redact, rule: 'shop/content' }]),
    ],
    () => key,
  );
  const sink = createByteSink(2 * BUFFER);
  const pass = (): void => {
    const masker = createRowMasker(columnsWith(test.transform), content);
    for (const bytes of result.buffers) {
      sink.length = 0;
      masker.maskRun(bytes, 0, bytes.length, sink);
    }
  };
  const times: number[] = [];
  const until = performance.now() + SECONDS * 1000;
  while (performance.now() < until || times.length < 3) {
    const from = performance.now();
    pass();
    times.push(performance.now() - from);
  }
  times.sort((a, b) => a - b);
  return (times[times.length >> 1]! * 1e6) / result.rows;
}

const small = makeResult(100);
const large = makeResult(100_000);
console.log(
  '| one masked column of five | ns per row, 100 rows | ns per row, 100,000 rows | million rows per second |',
);
console.log('|---|---:|---:|---:|');
for (const test of CASES) {
  const few = measure(small, test);
  const many = measure(large, test);
  console.log(`| ${test.name} | ${few.toFixed(0)} | ${many.toFixed(0)} | ${(1000 / many).toFixed(1)} |`);
}
