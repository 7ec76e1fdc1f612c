import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { stateOf } from '../../../approval/state.ts';
import { type Person, person } from '../../../proxy/approval/approval.fixture.ts';
import { castVote, findRequest } from '../../../proxy/approval/ballot-box.ts';
import { createRequestFiles, type RequestFiles } from '../../../proxy/approval/files.ts';
import { createHolder } from '../../../proxy/approval/folders.ts';
import type { HolderSetup, Order } from './holder-process.ts';

let root: string;
let ada: Person;
let files: RequestFiles;
const children: ChildProcess[] = [];

const configuration = (): string => join(root, 'sallyport.yaml');
const configure = (people: readonly Person[]): Promise<void> =>
  writeFile(
    configuration(),
    JSON.stringify({
      apiVersion: 'sallyport.dev/v1alpha1',
      kind: 'SallyportConfiguration',
      approvers: people.map(({ entry }) => entry),
    }),
  );

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'sallyport-processes-'));
  await chmod(root, 0o755);
  await writeFile(join(root, 'grants'), '');
  ada = person('ada');
  await configure([ada]);
  files = createRequestFiles(join(root, 'store'), createHolder(process.pid));
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  await rm(root, { recursive: true, force: true });
});

interface Gateway {
  readonly child: ChildProcess;
  /** The next line that it prints; undefined once it has ended. */
  next(): Promise<Record<string, unknown> | undefined>;
  order(order: Order): void;
  ask(order: Order): Promise<Record<string, unknown> | undefined>;
}

async function start(name: string, uid?: number): Promise<Gateway> {
  const setup: HolderSetup = {
    folder: join(root, 'store'),
    usedFolder: join(root, `used-${name}`),
    configuration: configuration(),
    grants: join(root, 'grants'),
  };
  const script = fileURLToPath(new URL('holder-process.ts', import.meta.url));
  const child = spawn(process.execPath, [script, JSON.stringify(setup)], {
    stdio: ['pipe', 'pipe', 'inherit'],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  children.push(child);
  // Whoever was killed reads no more.
  child.stdin.on('error', () => {});
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<Record<string, unknown> | undefined> => {
    const line = await lines.next();
    return line.done === true ? undefined : (JSON.parse(line.value) as Record<string, unknown>);
  };
  const order = (what: Order): void => void child.stdin.write(`${JSON.stringify(what)}\n`);
  expect(await next()).toEqual({ ready: true });
  return {
    child,
    next,
    order,
    ask(what) {
      order(what);
      return next();
    },
  };
}

async function approve(name: string): Promise<void> {
  const { request } = await findRequest(files, name, undefined);
  await castVote(files, request, { verdict: 'Approve', voter: 'ada', via: 'test', now: Date.now() }, ada.key);
}

const grants = async (): Promise<string[]> =>
  (await readFile(join(root, 'grants'), 'utf8')).split('\n').filter((line) => line !== '');

describe('two gateways with one store', () => {
  test('of all who race for an approved request exactly one gets it', async () => {
    const gateways = await Promise.all(['a', 'b', 'c'].map((name) => start(name)));
    const numbers = Array.from({ length: 20 }, (_, n) => n);
    const names: string[] = [];
    for (const number of numbers) {
      const told = await Promise.all(gateways.map((gateway) => gateway.ask({ submit: number })));
      const [first] = told;
      expect(told.map((each) => each?.['name'])).toEqual(gateways.map(() => first?.['name']));
      names.push(String(first?.['name']));
    }
    for (const name of names) await approve(name);
    for (const number of numbers) for (const gateway of gateways) gateway.order({ consume: number });
    // Of each number one is granted and settled, and the others are refused.
    const told = await Promise.all(
      gateways.map(async (gateway) => {
        const codes: unknown[] = [];
        let granted = 0;
        while (codes.length + granted < numbers.length) {
          const line = await gateway.next();
          if (line?.['granted'] !== undefined) granted++;
          else if (line?.['settled'] === undefined) codes.push(line?.['code']);
        }
        return codes;
      }),
    );
    expect((await grants()).sort()).toEqual([...names].sort());
    expect(new Set(told.flat())).toEqual(new Set(['SPV010']));
  });

  test('a vote reaches both, within a moment', async () => {
    const [a, b] = [await start('a'), await start('b')];
    const name = String((await a.ask({ submit: 1 }))?.['name']);
    await b.ask({ submit: 1 });
    a.order({ decided: 1 });
    b.order({ decided: 1 });
    await approve(name);
    expect(await Promise.all([a.next(), b.next()])).toEqual([{ state: 'Approved' }, { state: 'Approved' }]);
  });

  test('an approver who is taken out of the configuration counts no more', async () => {
    const a = await start('a');
    const name = String((await a.ask({ submit: 1 }))?.['name']);
    await approve(name);
    expect(await a.ask({ decided: 1 })).toEqual({ state: 'Approved' });
    await configure([person('bob')]);
    expect(await a.ask({ consume: 1 })).toEqual({ code: 'SPV011' });
    await writeFile(configuration(), 'approvers: [');
    expect(await a.ask({ consume: 1 })).toEqual({ code: 'SPV011' });
    await configure([ada]);
    expect(await a.ask({ consume: 1 })).toEqual({ granted: name });
  });
});

describe('a gateway that is killed', () => {
  test('leaves an orphan; approved later it passes once', async () => {
    const first = await start('a');
    const name = String((await first.ask({ submit: 1 }))?.['name']);
    first.child.kill('SIGKILL');
    await once(first.child, 'exit');
    const second = await start('a');
    expect(stateOf((await findRequest(files, name, undefined)).request)).toBe('Orphaned');
    await approve(name);
    expect(await second.ask({ submit: 1 })).toEqual({ name, approved: true });
    expect(await second.ask({ consume: 1 })).toEqual({ granted: name });
    expect(await second.next()).toEqual({ settled: name });
    expect(await second.ask({ submit: 1 })).toEqual({ name: `${name}-2`, approved: false });
  });

  test('at any moment of a release: nothing is granted twice, and nothing is approved by it', async () => {
    const name = String((await (await start('a')).ask({ submit: 1 }))?.['name']);
    await approve(name);
    const approved = new Set([name]);
    let current = name;
    for (let round = 0; round < 12; round++) {
      const gateway = await start('a');
      const got = await gateway.ask({ submit: 1 });
      current = String(got?.['name']);
      if (got?.['approved'] !== true) {
        // The one before was used, whether or not its command ran: a new one waits for a vote of its own.
        await approve(current);
        approved.add(current);
      }
      gateway.order({ consume: 1 });
      // Earlier or later each time, from before the release to after its outcome.
      const killed = once(gateway.child, 'exit');
      const busy = performance.now() + round * 2;
      while (performance.now() < busy) await new Promise((resolve) => setImmediate(resolve));
      gateway.child.kill('SIGKILL');
      await killed;
    }
    const ran = await grants();
    expect(new Set(ran).size).toBe(ran.length);
    for (const each of ran) expect(approved.has(each)).toBe(true);
    const last = await start('a');
    const got = await last.ask({ submit: 1 });
    if (got?.['approved'] === true) {
      expect(await last.ask({ consume: 1 })).toEqual({ granted: got['name'] });
      expect((await grants()).filter((each) => each === got['name']).length).toBe(1);
    } else expect(got?.['name']).not.toBe(current);
  });
});

describe('a store that cannot be written', () => {
  test('refuses, and never passes', async () => {
    const nobody = process.getuid?.() === 0 ? 65_534 : undefined;
    const store = join(root, 'store');
    const writer = await start('a');
    const name = String((await writer.ask({ submit: 1 }))?.['name']);
    await approve(name);
    writer.child.kill('SIGKILL');
    await once(writer.child, 'exit');
    // Readable for everybody, writable for nobody but root.
    await mkdir(join(root, 'used-b'), { mode: 0o777 });
    await chmod(join(root, 'used-b'), 0o777);
    await chmod(files.path({ namespace: 'shop', name }), 0o444);
    for (const folder of [store, join(store, 'shop')]) await chmod(folder, 0o555);
    try {
      const reader = await start('b', nobody);
      expect(await reader.ask({ submit: 1 })).toEqual({ name, approved: true });
      expect(await reader.ask({ consume: 1 })).toEqual({ code: 'SPV004' });
      expect(await reader.ask({ submit: 2 })).toEqual({ code: 'SPV004' });
      expect(await grants()).toEqual([]);
    } finally {
      for (const folder of [store, join(store, 'shop')]) await chmod(folder, 0o755);
    }
  });
});
