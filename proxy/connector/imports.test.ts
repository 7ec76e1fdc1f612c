import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { parseConfig } from './config.ts';
import { candidates, parseResolvConf } from './dns.ts';
import { createLog } from './log.ts';

const run = promisify(execFile);

/** Modules of Node's own that the connector's modules load, its main file aside: that would start. */
async function loaded(): Promise<string[]> {
  const script = `
    const before = new Set(process.moduleLoadList);
    await import('./proxy/connector/connector.ts');
    await import('./proxy/connector/dns.ts');
    console.log(JSON.stringify(process.moduleLoadList.filter((one) => !before.has(one))));`;
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script]);
  return (JSON.parse(stdout) as string[]).map((name) => name.replace(/^\S+ /, ''));
}

test('nothing large is loaded: each of these was there by an import that looked harmless', async () => {
  const names = await loaded();
  const large = [
    'undici',
    'webstreams',
    'readline',
    'repl',
    'child_process',
    'worker',
    'inspector',
    'http2',
    'wasm',
    'fetch',
  ];
  expect(names.filter((name) => large.some((one) => name.includes(one)))).toEqual([]);
  expect(names.filter((name) => name.includes('node_modules'))).toEqual([]);
  // 85 on Node 26.10.
  expect(names.length).toBeLessThan(110);
});

test('names are looked up in the order of the C library', () => {
  const settings = parseResolvConf(
    'nameserver 10.0.0.1\nsearch shop.svc.cluster.local svc.cluster.local.\noptions ndots:5\n',
  );
  expect(settings).toEqual({ search: ['shop.svc.cluster.local', 'svc.cluster.local'], ndots: 5 });
  expect(candidates('db.shop.svc', settings)).toEqual([
    'db.shop.svc.shop.svc.cluster.local',
    'db.shop.svc.svc.cluster.local',
    'db.shop.svc',
  ]);
  expect(candidates('a.b', { search: ['x'], ndots: 1 })).toEqual(['a.b', 'a.b.x']);
});

test.each([
  ['it is not set', undefined],
  ['it is not JSON', '{'],
  ['its version is not 1', '{"version":2,"targets":[]}'],
  ['targets[0].listen', JSON.stringify({ version: 1, targets: [{ host: 'a', port: 1, listen: '0.0.0.0' }] })],
  ['targets[0].host', JSON.stringify({ version: 1, targets: [{ host: 'a\r\nX: y', port: 1 }] })],
])('a configuration is refused with what is wrong: %s', (reason, text) => {
  expect(() => parseConfig(text)).toThrow(reason);
});

test('a kind of line that comes in a flood is counted instead of written', () => {
  const lines: string[] = [];
  let now = 0;
  const log = createLog({ write: (line) => lines.push(line), now: () => now, perWindow: 2, windowMs: 1000 });
  for (let index = 0; index < 5; index++) log.failure(new Error('no'));
  log.info('another');
  now = 1000;
  log.failure(new Error('no'));
  expect(lines.map((line) => (JSON.parse(line) as { leftOut?: number }).leftOut)).toEqual([
    undefined,
    undefined,
    undefined,
    3,
  ]);
});

test('the program says why it cannot start, and ends', async () => {
  const child = execFile(process.execPath, ['proxy/connector/main.ts'], { env: { SALLYPORT_CONNECTOR: '{}' } });
  let output = '';
  child.stdout?.on('data', (chunk: string) => {
    output += chunk;
  });
  const [status] = (await once(child, 'close')) as [number];
  expect(status).toBe(1);
  expect(JSON.parse(output)).toMatchObject({ code: 'SPN001', level: 'error' });
});
