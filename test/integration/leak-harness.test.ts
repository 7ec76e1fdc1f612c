/**
 * The compromised agent: everything that it can send, through the real gateway to a real server. No protected value may come out in
 * anything that it receives, that the gateway prints, records or measures, or that it could read later.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { MASK_TOKEN } from '../../proxy/masking/token-format.ts';
import { MOVER, MOVER_ATTACKS } from '../leak/attacks-unseen.ts';
import { BYPASSES } from '../leak/bypasses.ts';
import { findCanaries } from '../leak/canaries.ts';
import { BENIGN, CORPUS } from '../leak/corpus.ts';
import { statement as generated } from '../leak/generate.ts';
import { DATABASE, groundYaml, READER, WRITER } from '../leak/ground.ts';
import { page, type RunSummary } from '../leak/report.ts';
import { attack, type ChannelSummary, count, type Ground, layGround, refreshCatalog } from '../leak/run.ts';
import { connectAgent, extended, type Step } from '../leak/wire.ts';
import { type Postgres, startPostgres } from '../support/postgres.ts';
import { describeWith, postgresServer } from '../support/requires.ts';
import { createToken, type Gateway, repositoryRoot, startSallyport } from '../support/sallyport.ts';

/** The older one runs where all are asked for: what masks is the same, and test/integration/guard-attacks.test.ts has both. */
const VERSIONS: readonly (15 | 18)[] = process.env.LEAK_VERSIONS === 'all' ? [15, 18] : [18];
/** Random statements on each version. */
const ROUNDS = Number(process.env.LEAK_ROUNDS ?? 1000);
const PAGE = path.join(repositoryRoot, 'docs', 'leak-harness.md');
const runs: RunSummary[] = [];

afterAll(async () => {
  // Of all versions or of none: a page of a part of them would be wrong about the rest.
  if (process.env.UPDATE_DOCS === '1' && runs.length === 2) await writeFile(PAGE, page(runs));
});

test('the published page is about this corpus', async () => {
  const published = await readFile(PAGE, 'utf8');
  for (const [channel, attacks] of Map.groupBy(CORPUS, (attack) => attack.channel)) {
    expect(published).toContain(`| ${channel} | ${attacks.length} |`);
  }
});

const shown = (steps: readonly Step[]): string =>
  steps.map((step) => (typeof step === 'string' ? step : JSON.stringify(step.bytes.toString('latin1')))).join(' | ');

test('there are at least 100 attacks and 30 benign statements', () => {
  expect(CORPUS.length).toBeGreaterThanOrEqual(100);
  expect(BENIGN.length).toBeGreaterThanOrEqual(30);
});

for (const version of VERSIONS) {
  describeWith([postgresServer(version)], `a compromised agent, on PostgreSQL ${version}`, () => {
    let server: Postgres & AsyncDisposable;
    let gateway: Gateway & AsyncDisposable;
    let folder: string;
    let port: number;
    let writer: string;
    let reader: string;
    let ground: Ground;
    const run: { -readonly [K in keyof RunSummary]?: RunSummary[K] } = { version, bypasses: BYPASSES.length };

    beforeAll(async () => {
      folder = await mkdtemp(path.join(os.tmpdir(), 'leak-'));
      server = await startPostgres({ version, settings: { log_statement: 'all' } });
      await server.sql(`CREATE DATABASE ${DATABASE}`);
      const { password } = server;
      await mkdir(path.join(folder, 'resources'));
      await writeFile(
        path.join(folder, 'resources', 'ground.yaml'),
        groundYaml({ port: server.port, database: DATABASE, username: server.user, password }),
      );
      const state = path.join(folder, 'state');
      gateway = await startSallyport({
        resources: [path.join(folder, 'resources')],
        state,
        listen: ['default/leak=127.0.0.1:0'],
      });
      port = gateway.connection('leak').port;
      writer = await createToken(state, { subject: WRITER, ttl: '1h' });
      reader = await createToken(state, { subject: READER, ttl: '1h' });
      ground = await layGround(server, () => refreshCatalog(port, writer));
      return async () => {
        await gateway[Symbol.asyncDispose]();
        await server[Symbol.asyncDispose]();
        await rm(folder, { recursive: true, force: true });
        const { channels, benign, bypasses, generated: random } = run;
        if (channels && benign && bypasses && random)
          runs.push({ version, channels, benign, bypasses, generated: random });
      };
    });

    async function printedAndRecorded(): Promise<string> {
      const record = path.join(folder, 'state', 'record');
      const files = await readdir(record, { recursive: true, withFileTypes: true });
      const texts = await Promise.all(
        files.filter((file) => file.isFile()).map((file) => readFile(path.join(file.parentPath, file.name), 'latin1')),
      );
      const metrics = gateway.metrics === undefined ? '' : await (await fetch(gateway.metrics)).text();
      return [gateway.output(), metrics, ...texts].join('\n');
    }

    test('gets no protected value out by any attack', { timeout: 600_000 }, async () => {
      const summaries = new Map<string, ChannelSummary>();
      const leaked: string[] = [];
      for (const one of CORPUS) {
        const named = `${one.channel}: ${shown(one.steps)}`;
        const { outcome, leaks } = await attack(port, writer, one.steps).catch((error: unknown) => {
          throw new Error(named, { cause: error });
        });
        const laundered = await ground.settle();
        if (leaks.length > 0) leaked.push(`${named}\n    ${leaks[0]}`);
        if (laundered.length > 0) leaked.push(`${named}\n    left behind: ${laundered[0]}`);
        if (one.oracle === true && outcome === 'answered, masked') leaked.push(`${named}\n    was answered`);
        count(summaries, one, outcome);
      }
      expect(leaked.join('\n')).toBe('');
      expect(findCanaries(await printedAndRecorded())).toEqual([]);
      run.channels = summaries;
    });

    test('gets nothing out where functions of the owner move search_path', async () => {
      await server.sql(MOVER, undefined, DATABASE);
      await refreshCatalog(port, writer);
      const leaked: string[] = [];
      for (const { steps } of MOVER_ATTACKS) {
        const { leaks } = await attack(port, writer, steps);
        leaked.push(...[...leaks, ...(await ground.settle())].map((leak) => `${shown(steps)}\n    ${leak}`));
      }
      await server.sql('DROP SCHEMA tools CASCADE', undefined, DATABASE);
      await refreshCatalog(port, writer);
      expect(leaked.join('\n')).toBe('');
    });

    test('cannot write a mask back, or look one up, wherever it stands', async () => {
      const client = await connectAgent(port, DATABASE, writer);
      const shownRow = Buffer.concat(
        (await client.send('SELECT email FROM customers WHERE id = 1')).map(({ body }) => body),
      );
      await client.end();
      const [token] = MASK_TOKEN.exec(shownRow.toString('latin1')) ?? [''];
      expect(token).not.toBe('');
      const ways: readonly Step[][] = [
        [`UPDATE customers SET email = '${token}' WHERE id = 2`],
        [`UPDATE customers SET email = '${token}'::varchar WHERE id = 2`],
        [`UPDATE customers SET email = E'${token}' WHERE id = 2`],
        [`UPDATE customers SET email = $a$${token}$a$ WHERE id = 2`],
        [`UPDATE customers SET (name, email) = ('n', '${token}') WHERE id = 2`],
        [`INSERT INTO customers (id, email) VALUES (500, '${token}')`],
        [`INSERT INTO customers (id, email) SELECT 500, '${token}'`],
        [`INSERT INTO customers (id, email) VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET email = '${token}'`],
        [`SELECT id FROM customers WHERE email = '${token}'`],
        [`SELECT id FROM customers WHERE '${token}' = email`],
        [`SELECT id FROM customers WHERE email IN ('a', '${token}')`],
        [extended('UPDATE customers SET email = $1 WHERE id = 2', 0, [token])],
        [extended('SELECT id FROM customers WHERE email = $1', 1, [token])],
        ['PREPARE p (text) AS SELECT id FROM customers WHERE email = $1', `EXECUTE p ('${token}')`],
        ['PREPARE p (text) AS UPDATE customers SET email = $1 WHERE id = 2', `EXECUTE p ('${token}')`],
      ];
      for (const steps of ways)
        expect([shown(steps), (await attack(port, writer, steps)).outcome]).toEqual([shown(steps), 'refused']);
      expect(await ground.settle()).toEqual([]);
    });

    test('can still do its work', async () => {
      const refused: string[] = [];
      for (const statement of BENIGN) {
        const { outcome, leaks } = await attack(port, writer, [statement]);
        expect(leaks, statement).toEqual([]);
        if (outcome !== 'answered, masked') refused.push(statement);
        expect(await ground.settle(), statement).toEqual([]);
      }
      expect(refused.length).toBeLessThanOrEqual(BENIGN.length / 3);
      run.benign = { total: BENIGN.length, refused };
    });

    test('gets nothing to the server that policy forbids, however it is spelled', { timeout: 600_000 }, async () => {
      const wrong: string[] = [];
      for (const [index, { as, steps }] of BYPASSES.entries()) {
        const sent = steps(`/*bypass-${index}*/`);
        const { outcome, leaks } = await attack(port, as === 'reader' ? reader : writer, sent);
        if (leaks.length > 0) wrong.push(`${as}: ${shown(sent)}\n    ${leaks[0]}`);
        if (outcome !== 'refused' && outcome !== 'ended') wrong.push(`${as}: ${shown(sent)}\n    ${outcome}`);
        const before = ground.changes;
        await ground.settle();
        if (ground.changes !== before) wrong.push(`${as}: ${shown(sent)}\n    changed the database`);
      }
      await server.sql("SELECT 'the log is whole'");
      await expect.poll(() => server.log(), { timeout: 20_000 }).toContain('the log is whole');
      for (const [, index] of server.log().matchAll(/bypass-(\d+)\*/g)) {
        const { as, steps } = BYPASSES[Number(index)]!;
        wrong.push(`${as}: ${shown(steps('mark'))}\n    arrived at the server`);
      }
      expect([...new Set(wrong)].join('\n')).toBe('');
    });

    test('gets no protected value out by random statements', { timeout: 600_000 }, async () => {
      const direct = await server.connect({ database: DATABASE });
      let client = await connectAgent(port, DATABASE, writer);
      const counts = { refused: 0, failed: 0, masked: 0, clean: 0 };
      try {
        for (const [index, sql] of fc.sample(generated, { numRuns: ROUNDS, seed: version }).entries()) {
          if (client.closed) client = await connectAgent(port, DATABASE, writer);
          const answers = await client.send(index % 2 === 0 ? sql : extended(sql, index % 4 === 1 ? 1 : 0));
          expect(findCanaries(Buffer.concat(answers.map(({ body }) => body))), sql).toEqual([]);
          if (answers.some(({ type }) => type === 'E')) {
            const error = answers.find(({ type }) => type === 'E')!.body.toString('latin1');
            counts[error.includes('Sallyport') ? 'refused' : 'failed']++;
            continue;
          }
          const { rows } = await direct.query({ text: sql, rowMode: 'array', types: { getTypeParser: () => String } });
          counts[findCanaries(JSON.stringify(rows)).length > 0 ? 'masked' : 'clean']++;
        }
      } finally {
        await client.end();
        await direct.end();
      }
      run.generated = counts;
      // Were hardly any of them forwarded with something to mask, this would show nothing.
      expect(counts.masked).toBeGreaterThan(ROUNDS / 10);
    });
  });
}
