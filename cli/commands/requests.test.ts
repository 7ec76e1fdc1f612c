import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  codeOf,
  type Ground,
  ground,
  held,
  NEVER,
  requirement,
  ticketOf,
} from '../../proxy/approval/approval.fixture.ts';
import { createConfiguredApprovers } from '../../proxy/approval/configured-approvers.ts';
import type { CliIo } from '../io.ts';
import { runProgram } from '../program.ts';

let home: string;
let g: Ground;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'sallyport-requests-'));
});
afterEach(async () => {
  await g?.close();
  await rm(home, { recursive: true, force: true });
});

interface Ran {
  readonly out: string;
  readonly err: string;
  readonly status: number;
}

async function run(words: readonly string[], more: Partial<CliIo> = {}): Promise<Ran> {
  let [out, err, status] = ['', '', 0];
  await runProgram({
    stdout: { write: (text) => (out += text) },
    stderr: { write: (text) => (err += text) },
    env: { HOME: home },
    cwd: home,
    pid: process.pid,
    arguments: words,
    isTTY: false,
    signal: new AbortController().signal,
    onHangup: () => {},
    setExitCode: (code) => {
      status = code;
    },
    ...more,
  });
  return { out, err, status };
}

const config = (): string => join(home, 'sallyport.yaml');

/** Makes the key of each and a configuration with all of them, and a store that goes by it. */
async function start(people: readonly string[], more = ''): Promise<void> {
  const entries: string[] = [];
  for (const name of people) {
    const { out } = await run(['approver', 'create', name]);
    entries.push(out.slice(out.indexOf('  - name')) + more);
  }
  await mkdir(join(home, 'store'), { mode: 0o700 });
  await writeFile(
    config(),
    `apiVersion: sallyport.dev/v1alpha1\nkind: SallyportConfiguration\napprovals: {store: store}\napprovers:\n${entries.join('')}`,
  );
  const signers = createConfiguredApprovers(config(), { warn: () => {} });
  g = await ground([], { folder: join(home, 'store'), signers, now: Date.now, monotonic: () => performance.now() });
}

const submit = async (change: Parameters<typeof held>[0] = {}) => ticketOf(await g.store.submit(held(change)));

describe('approver create', () => {
  test('keeps the key private, prints the public half, and never replaces a key', async () => {
    const { out, status } = await run(['approver', 'create', 'ada', '-o', 'json']);
    expect(status).toBe(0);
    const { publicKey, keyFile } = JSON.parse(out) as { publicKey: string; keyFile: string };
    expect(publicKey).toMatch(/^[A-Za-z0-9+/]{43}=$/);
    expect(keyFile).toBe(join(home, '.config/sallyport/approvers/ada.key'));
    expect((await stat(keyFile)).mode & 0o777).toBe(0o600);
    const key = await readFile(keyFile, 'utf8');
    expect(out).not.toContain(key.split('\n')[1]);
    expect(await run(['approver', 'create', 'ada'])).toMatchObject({
      status: 1,
      err: expect.stringContaining('SPV031'),
    });
    expect(await readFile(keyFile, 'utf8')).toBe(key);
    expect((await run(['approver', 'create', '../ada'])).err).toContain('SPV033');
  });
});

describe('approve and deny', () => {
  test('release what waits', async () => {
    await start(['ada']);
    const ticket = await submit();
    const decided = ticket.decided(NEVER);
    const { out, status } = await run(['approve', ticket.name, '--reason', 'planned', '-c', config()]);
    expect(await decided).toEqual({ state: 'Approved' });
    expect({ out, status }).toEqual({ out: `shop/${ticket.name} approved: Approved, votes 1/1\n`, status: 0 });
    expect(await ticket.consume()).toMatchObject({ votes: [{ voter: 'ada', reason: 'planned' }] });
    const again = await run(['approve', ticket.name, '-c', config(), '-o', 'json']);
    expect(again.status).toBe(1);
    expect(JSON.parse(again.err)).toMatchObject({
      error: { code: 'SPV024', message: expect.stringContaining('its command was run already') },
    });
  });

  test('deny ends it with the reason', async () => {
    await start(['ada']);
    const ticket = await submit();
    const decided = ticket.decided(NEVER);
    const { out } = await run(['deny', `shop/${ticket.name}`, '--reason', 'no', '-c', config(), '-o', 'json']);
    expect(JSON.parse(out)).toMatchObject({ verdict: 'Deny', counted: true, state: 'Denied' });
    expect(await decided).toMatchObject({ state: 'Denied', message: expect.stringMatching(/by ada: no$/) });
  });

  test('on a terminal the voter sees it and says yes', async () => {
    await start(['ada']);
    const command = held({ text: "DELETE FROM a\nWHERE b = '\u001b[2J'" });
    const ticket = ticketOf(
      await g.store.submit({ ...command, presentation: { ...command.presentation, display: command.text } }),
    );
    const asked: string[] = [];
    const answers = (...given: string[]) => ({
      ask: (question: string) => {
        asked.push(question);
        return Promise.resolve(given.shift() ?? '');
      },
    });
    const no = await run(['approve', ticket.name, '-c', config()], answers('looks fine', ''));
    expect(no).toMatchObject({ status: 1, err: expect.stringContaining('SPC080') });
    expect(no.out).toContain("    DELETE FROM a\n    WHERE b = '\\u001b[2J'\n");
    expect((await g.request(ticket.name)).spec.decisions).toEqual([]);
    expect((await run(['approve', ticket.name, '-c', config()], answers('looks fine', 'y'))).status).toBe(0);
    expect(asked.slice(2)).toEqual(['Reason (may be empty): ', 'Approve this command as ada? [y/N] ']);
    expect(await ticket.consume()).toMatchObject({ votes: [{ reason: 'looks fine' }] });
  });

  test('say why a vote would not count', async () => {
    await start(['ada', 'bob'], '    connections: ["shop/other"]\n');
    const text = await readFile(config(), 'utf8');
    await writeFile(config(), text.replace('    connections: ["shop/other"]\n', ''));
    const ticket = await submit({ requirements: [requirement({ requiredApprovals: 1 })] });
    const vote = (...words: string[]) => run(['approve', ticket.name, '-c', config(), ...words]);
    expect((await vote()).err).toContain('SPV030');
    expect((await vote('--as', 'carol')).err).toContain('SPV029');
    expect((await vote('--as', 'bob')).err).toContain('no right on this connection');
    expect((await run(['approve', 'nothing', '--as', 'ada', '-c', config()])).err).toContain('SPV022');
    expect((await run(['approve', '../../x', '--as', 'ada', '-c', config()])).err).toContain('SPV022');
    expect((await run(['deny'])).status).toBe(2);
  });

  test('a second vote is refused', async () => {
    await start(['ada', 'bob']);
    const ticket = await submit({ requirements: [requirement({ requiredApprovals: 2 })] });
    const vote = (name: string) => run(['approve', ticket.name, '--as', name, '-c', config()]);
    expect((await vote('ada')).out).toContain('Pending, votes 1/2');
    expect((await vote('ada')).err).toContain('SPV025');
    expect((await vote('bob')).out).toContain('Approved, votes 2/2');
    expect(codeOf(await ticket.consume())).toBe('granted');
  });

  test('a key that others may read is not used', async () => {
    await start(['ada']);
    const ticket = await submit();
    await writeFile(join(home, '.config/sallyport/approvers/ada.key'), 'x', { mode: 0o644 });
    const key = join(home, '.config/sallyport/approvers/ada.key');
    await rm(key);
    await writeFile(key, 'x', { mode: 0o644 });
    expect((await run(['approve', ticket.name, '-c', config()])).err).toContain('SPV028');
  });

  test('without a gateway the vote stays for it', async () => {
    await start(['ada']);
    const ticket = await submit();
    await g.store.close();
    const { out, status } = await run(['approve', ticket.name, '-c', config()]);
    expect({ out, status }).toEqual({
      out: `shop/${ticket.name}: your vote is there, and no gateway has counted it yet\n`,
      status: 0,
    });
  });
});

describe('requests', () => {
  test('list shows what is open, and with --all the rest', async () => {
    await start(['ada']);
    const one = await submit({ text: 'DELETE 1' });
    const two = await submit({ text: 'DELETE 2' });
    await two.withdraw('cancelled');
    const lines = (await run(['requests', 'list', '-c', config()])).out.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^NAMESPACE +NAME +STATE +WHO +CONNECTION +VOTES +LEFT +COMMAND$/);
    expect(lines.slice(1)).toEqual([
      expect.stringMatching(new RegExp(`^shop +${one.name} +Pending .* 0/1 +10 min +DELETE 1$`)),
    ]);
    const all = (await run(['requests', 'list', '--all', '-o', 'json', '-c', config()])).out.trimEnd().split('\n');
    expect(all.map((line) => JSON.parse(line).status.state)).toEqual(['Pending', 'Withdrawn']);
    expect((await run(['requests', 'list', '-n', 'other', '-c', config()])).out.split('\n').length).toBe(2);
  });

  test('broken files are named and the others are listed', async () => {
    await start(['ada']);
    const ticket = await submit();
    await writeFile(join(home, 'store/shop/broken.yaml'), 'a: [');
    const { out, err, status } = await run(['requests', 'list', '-c', config()]);
    expect(out).toContain(ticket.name);
    expect(err).toContain('SPV020');
    expect(err).toContain('broken.yaml');
    expect(status).toBe(0);
  });

  test('show --count waits for the measurement', async () => {
    await start(['ada']);
    const command = held({ subject: { username: 'okta:bot', groups: [], claims: {}, onBehalfOf: 'okta:eve' } });
    const preview = {
      estimate: { rows: 120, plan: 'Delete on orders\n  ->  Seq Scan' },
      cascades: ['ON DELETE CASCADE: public.order_items(order_id)'],
    };
    const ticket = ticketOf(
      await g.store.submit({
        ...command,
        requirements: [requirement({ message: 'Ask the owner.' })],
        presentation: { ...command.presentation, preview },
      }),
    );
    ticket.onCountWanted(() => {
      void ticket.previewed({ measured: { rows: 7, at: new Date().toISOString(), durationMs: 3 }, cascades: [] });
    });
    const { out } = await run(['requests', 'show', ticket.name, '--count', '-c', config()]);
    for (const part of [
      'Asked by:       okta:bot\n',
      'On behalf of:   okta:eve\n',
      'shop/deletes/ask wants 1 person of: whoever may approve on the connection (Ask the owner.)',
      'Access:         Delete on public.orders\n',
      'Estimate:       about 120 rows: a guess of the planner, nothing was run\n    Delete on orders\n      ->  Seq Scan\n',
      'Measured:       7 rows, counted at ',
      'Carried on:     ON DELETE CASCADE: public.order_items(order_id)\n',
    ]) {
      expect(out).toContain(part);
    }
  });

  test('show --count says when nothing was counted', async () => {
    await start(['ada']);
    const ticket = await submit();
    const { err, status } = await run(['requests', 'show', ticket.name, '--count', '--wait', '1s', '-c', config()]);
    expect({ status, code: err.includes('SPV032') }).toEqual({ status: 1, code: true });
  });

  test('watch shows what is open and each change', async () => {
    await start(['ada']);
    const ticket = await submit();
    const stop = new AbortController();
    let out = '';
    const seen = (text: string) =>
      new Promise<void>((resolve) => {
        waiting = () => out.includes(text) && resolve();
        waiting();
      });
    let waiting: () => unknown = () => {};
    const watching = run(['requests', 'watch', '-c', config()], {
      signal: stop.signal,
      stdout: {
        write: (text) => {
          out += text;
          waiting();
        },
      },
    });
    await seen(`shop/${ticket.name}  Pending`);
    await run(['deny', ticket.name, '-c', config()]);
    await seen(`shop/${ticket.name}  Denied`);
    const next = await submit({ text: 'DELETE 2' });
    await seen(`shop/${next.name}  Pending`);
    stop.abort();
    await watching;
  });

  test('stats by rule', async () => {
    await start(['ada']);
    for (const [text, verdict] of [
      ['DELETE 1', 'approve'],
      ['DELETE 2', 'deny'],
      ['DELETE 3', 'approve'],
    ] as const) {
      const ticket = await submit({ text });
      const decided = ticket.decided(NEVER);
      await run([verdict, ticket.name, '-c', config()]);
      await decided;
    }
    await submit({ text: 'DELETE 4' });
    const { out } = await run(['requests', 'stats', '-o', 'json', '-c', config()]);
    expect(JSON.parse(out)).toMatchObject({
      rule: 'shop/deletes/ask',
      asked: 4,
      approved: 2,
      denied: 1,
      open: 1,
      shareApproved: 2 / 3,
      medianMs: expect.any(Number),
    });
    expect((await run(['requests', 'stats', '-c', config()])).out).toMatch(
      /\nshop\/deletes\/ask +4 +2 +1 +0 +0 +1 +\S+ \S+ +67 %\n$/,
    );
  });
});
