/** `sallyport replay`: what real sessions recorded, decided again under the same and under other policies. */
import { cp, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import * as encode from '../../proxy/protocols/postgres/wire/encode.ts';
import { sallyportHere } from '../support/in-process.ts';
import { type LaneGround, startLaneGround } from '../support/lane-ground.ts';
import { describeWith, postgresServer } from '../support/requires.ts';
import { type CliResult, createToken, sallyport } from '../support/sallyport.ts';
import { unnamed, WireClient } from '../support/wire-client.ts';

const policy = (rules: string, more = ''): string => `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agents}
spec:
  connections: {names: [shop, quiet]}
  subjects: [{serviceAccount: {name: agent}}, {group: okta:dba}]
  rules:
${rules}
---
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: pii}
spec:
  connections: {names: [shop, quiet]}
  columns:
    - match: ["public.people.email"]
${more}`;

const RULES = `    - name: read
      effect: Allow
      sql: {statements: [Read, Session], relations: ["public.*"], functions: ["public.*"]}
    - name: write
      effect: Allow
      sql: {statements: [Write, Transaction], relations: ["public.orders"]}
    - name: no-truncate
      effect: Deny
      sql: {statements: [Truncate]}
    - name: deletes
      effect: RequireApproval
      sql: {statements: [Delete]}
      approval: {requiredApprovals: 1, timeout: 1m, hold: Reject, approvers: {groups: ["okta:dba"]}}
`;

const STATEMENTS = [
  'SELECT id, email FROM people',
  'SELECT id FROM people WHERE id = 1',
  'SELECT id FROM people WHERE id = 2',
  'SELECT total(id) FROM orders',
  'SELECT * FROM order_emails',
  'INSERT INTO orders VALUES (3)',
  'UPDATE orders SET id = id + 10 WHERE id = 3',
  'DELETE FROM orders WHERE id = 13',
  'TRUNCATE orders',
  'DROP TABLE orders',
  'SELECT * FROM archive.old',
  'BEGIN; SELECT id FROM orders; COMMIT',
  'PREPARE p AS SELECT id FROM orders',
  'EXECUTE p',
  'SELECT broken FROM nowhere',
  "SELECT email FROM people WHERE email = 'a'",
  'SELEC 1',
];

interface Answer {
  readonly judged: number;
  readonly changed: number;
  readonly groups: readonly {
    readonly change: string;
    readonly because: string;
    readonly commands: number;
    readonly examples: readonly { readonly text: string }[];
  }[];
  readonly unjudged: readonly { readonly reason: string; readonly commands: number }[];
}

describeWith([postgresServer(18)], 'the back-test', () => {
  let ground: LaneGround;
  beforeAll(async () => {
    ground = await startLaneGround({
      version: 18,
      schema: `CREATE TABLE people (id int, email text); INSERT INTO people VALUES (1, 'a@example.com');
        CREATE TABLE orders (id int); CREATE SCHEMA archive; CREATE TABLE archive.old (id int);
        CREATE VIEW order_emails AS SELECT o.id, p.email FROM orders o JOIN people p ON p.id = o.id;
        CREATE FUNCTION total(int) RETURNS int LANGUAGE sql AS 'SELECT $1'`,
      connections: { shop: '', quiet: 'audit: {level: Metadata}' },
      resources: { 'policy.yaml': policy(RULES) },
    });
    const agent = await ground.through('shop', 'agent');
    for (const sql of STATEMENTS) await agent.query(sql);
    agent.send(unnamed('SELECT id FROM orders WHERE id = $1', ['1']), encode.sync());
    await agent.until('Z');
    const quiet = await ground.through('quiet', 'agent');
    await quiet.query('SELECT id FROM people');
    const password = await createToken(ground.state, {
      subject: 'okta:ana@example.com',
      groups: ['okta:dba'],
      claims: { team: 'blue' },
    });
    const person = await WireClient.connect({ port: ground.port('shop'), database: 'app', password });
    await person.query('SELECT id FROM orders');
    for (const client of [agent, quiet, person]) {
      client.send(encode.terminate());
      await client.toEnd();
    }
    // Everything is on disk once it has ended.
    await ground.gateway.stop();
  });
  afterAll(() => ground[Symbol.asyncDispose]());

  let folders = 0;
  /** A folder with the ground's resources, but with this policy. */
  async function policies(yaml: string): Promise<string> {
    const folder = path.join(ground.folder, `policies-${++folders}`);
    await mkdir(folder, { mode: 0o700 });
    await cp(ground.resources, folder, { recursive: true });
    await writeFile(path.join(folder, 'policy.yaml'), yaml);
    return folder;
  }

  const replay = (folder: string, ...more: string[]): Promise<CliResult> =>
    sallyportHere(['replay', '--policies', folder, '--state', ground.state, ...more]);

  async function answer(folder: string, ...more: string[]): Promise<Answer & { readonly status: CliResult['status'] }> {
    const { status, stdout, stderr } = await replay(folder, '-o', 'json', ...more);
    expect(stderr).toBe('');
    return { ...(JSON.parse(stdout) as Answer), status };
  }

  test.each([['offline'], ['with the database']])('under the same policies nothing changes, %s', async (how) => {
    const found = await answer(ground.resources, ...(how === 'offline' ? [] : ['--database']));
    expect(found.groups).toEqual([]);
    expect(found.status).toBe(0);
    expect(found.judged).toBe(STATEMENTS.length + 2);
    expect(found.unjudged).toEqual([{ reason: 'its text is not recorded (audit level Metadata)', commands: 1 }]);
    expect((await answer(ground.resources, '--strict')).status).toBe(1);
  });

  test('each way in which a verdict can change, by rule, with examples', async () => {
    const changed = RULES.replace('effect: RequireApproval', 'effect: Deny')
      .replace(/ {6}approval: .*\n/, '')
      .replace('statements: [Truncate]', 'statements: [Insert]')
      .replace('[Write, Transaction]', '[Write, Transaction, Truncate]');
    const held = `${changed}    - name: ask
      effect: RequireApproval
      sql: {statements: [Update], relations: ["public.orders"]}
      approval: {requiredApprovals: 1, timeout: 1m, hold: Reject, approvers: {groups: ["okta:dba"]}}
`;
    const folder = await policies(policy(held));
    const found = await answer(folder);
    expect(found.status).toBe(1);
    expect(found.groups.map(({ change, because, commands }) => [change, because, commands])).toEqual([
      ['allow-to-deny', 'default/agents/no-truncate', 1],
      ['allow-to-approval', 'default/agents/ask', 1],
      ['deny-to-allow', 'default/agents/write', 1],
      ['approval-to-deny', 'default/agents/deletes', 1],
    ]);
    expect(found.groups[0]?.examples[0]).toMatchObject({ text: 'INSERT INTO orders VALUES (3)' });

    const text = await replay(folder);
    expect(text.status).toBe(1);
    expect(text.stdout).toContain('4 of 19 commands would come out differently');
    expect(text.stdout).toMatch(/Allow → Deny\n {2}default\/agents\/no-truncate: 1 command, 1 session, 1 subject\n/);
    expect(text.stdout).toContain('not judged: 1 command\n  1: its text is not recorded');

    const accepts = [
      'allow-to-deny=default/agents/no-truncate',
      'allow-to-approval',
      'deny-to-allow',
      'approval-to-deny',
    ];
    const flags = (changes: readonly string[]): string[] => changes.flatMap((change) => ['--accept', change]);
    expect((await replay(folder, ...flags(accepts))).status).toBe(0);
    expect((await replay(folder, ...flags(accepts.slice(1)))).status).toBe(1);
    const junit = await replay(folder, '-o', 'junit', ...flags(accepts.slice(1)));
    expect(junit.stdout).toContain('<testsuites tests="5" failures="1"');
    expect((await replay(folder, '--accept', 'allow-to-maybe')).status).toBe(2);
  });

  test('what nothing allows any more names what used to allow it; filters narrow it', async () => {
    const folder = await policies(policy(RULES.replace('relations: ["public.*"]', 'relations: ["public.people"]')));
    const found = await answer(folder);
    expect(found.groups.map(({ change, because }) => [change, because])).toEqual([
      ['allow-to-deny', 'no rule allows it (was default/agents/read)'],
      // What it reads in its condition.
      ['allow-to-deny', 'no rule allows it (was default/agents/read, default/agents/write)'],
      ['approval-to-deny', 'no rule allows it (was default/agents/deletes)'],
    ]);
    expect(found.groups[0]?.examples.map(({ text }) => text)).toContain('SELECT total(id) FROM orders');
    expect((await answer(folder, '--as', 'okta:ana@example.com')).changed).toBe(1);
    expect(await answer(folder, '--until', '2020-01-01')).toMatchObject({ judged: 0, changed: 0, status: 0 });
    expect(await answer(folder, '--connection', 'quiet')).toMatchObject({ judged: 0, changed: 0 });
  });

  test('masks: gone by name, added as the catalog says, through views too', async () => {
    const without = policy(RULES).replace('public.people.email', 'public.people.phone');
    const gone = await answer(await policies(without.replace('metadata: {name: pii}', 'metadata: {name: phones}')));
    expect(gone.groups).toMatchObject([{ change: 'masks-removed', because: 'default/pii', commands: 2 }]);

    const more = policy(
      RULES.replace('"public.*"]\n', '"public.*"]\n'),
      `---
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: ids}
spec:
  connections: {names: [shop]}
  columns:
    - match: ["public.people.id"]
`,
    );
    const added = await answer(await policies(more), '--database');
    expect(added.groups).toMatchObject([
      { change: 'allow-to-deny', because: 'masking (SPG401)' },
      {
        change: 'masks-added',
        because: 'default/ids',
        commands: 1,
        examples: [{ text: 'SELECT id, email FROM people' }],
      },
    ]);
  });

  test('where a policy looks at claims, nothing is claimed', async () => {
    const claims = RULES.replace(
      '    - name: write',
      `    - name: blue
      effect: Deny
      sql: {statements: [Read]}
      when: 'has(subject.claims.team) && subject.claims.team == "blue"'
    - name: write`,
    );
    const found = await answer(await policies(policy(claims)));
    expect(found.judged).toBe(0);
    expect(found.unjudged[0]).toEqual({
      reason: 'AccessPolicy default/agents looks at claims of the token, which are not recorded',
      commands: STATEMENTS.length + 2,
    });
    const token = policy(RULES).replace('{group: okta:dba}', '{token: {issuer: okta, claims: {team: blue}}}');
    const person = await answer(await policies(token));
    expect(person.judged).toBe(STATEMENTS.length + 1);
    expect(person.changed).toBe(0);
  });

  test('as a process, its exit status is for CI', async () => {
    const parameters = ['replay', '--state', ground.state, '--policies'];
    expect((await sallyport([...parameters, ground.resources])).status).toBe(0);
    const narrow = await policies(policy(RULES.replace('relations: ["public.*"]', 'relations: ["public.people"]')));
    expect((await sallyport([...parameters, narrow])).status).toBe(1);
  });

  test('policies that cannot be used, and a record that is not there, say so', async () => {
    const broken = await replay(await policies('kind: AccessPolicy'));
    expect(broken.status).toBe(1);
    expect(broken.stderr).toContain('SPC030');
    const nowhere = await sallyportHere([
      'replay',
      '--policies',
      ground.resources,
      '--state',
      path.join(ground.folder, 'none'),
    ]);
    expect(nowhere).toMatchObject({ status: 1, stderr: expect.stringContaining('SPR008') });
    expect((await sallyportHere(['replay'])).status).toBe(2);
  });
});
