/** Each example about policy and masking on PostgreSQL, run as it stands: what its comment promises is what happens. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { account, EXAMPLES, exampleDatabases, refusal, startExample } from '../support/example-ground.ts';
import { type Postgres, startPostgres } from '../support/postgres.ts';
import { describeWith, postgresServer, program } from '../support/requires.ts';
import { sallyport } from '../support/sallyport.ts';

// Each starts gateways and programs of its own, on machines that may be busy.
vi.setConfig({ testTimeout: 120_000 });

const SHOP = `
  CREATE TABLE customers (id int PRIMARY KEY, name text, email text, ssn text, card_number text, notes text, profile jsonb);
  INSERT INTO customers VALUES
    (1, 'Ada', 'ada@example.com', '219-09-9999', '4111111111111111', 'paid with 5555 5555 5555 4444, file EMP-123456',
      '{"customer": {"email": "ada@example.com"}, "login": {"password": "hunter2", "ssn": "219-09-9999"}}'),
    (2, 'Grace', 'grace@example.com', '457-55-5462', '5500005555555559', 'nothing', '{}');
  CREATE TABLE orders (id int PRIMARY KEY, total int);
  INSERT INTO orders SELECT n, n * 10 FROM generate_series(1, 20) n;
  CREATE SCHEMA audit;
  CREATE TABLE audit.events (id int PRIMARY KEY, email text, what text);
  INSERT INTO audit.events VALUES (1, 'ada@example.com', 'refund');`;

/** Grants that an example leaves to another policy. */
function allow(connection: string, name: string): string {
  return `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: ${name}-of-${connection}}
spec:
  connections: {names: [${connection}]}
  subjects: [{serviceAccount: {name: ${name}}}, {group: "okta:privacy-officers"}]
  rules:
    - name: all
      effect: Allow
      sql: {statements: [Read, Write, DDL], relations: ["*.*"]}
`;
}

function connection(name: string, server: Postgres, labels = ''): string {
  return `apiVersion: sallyport.dev/v1alpha1
kind: AccessConnection
metadata:
  name: ${name}
  labels: {${labels}}
spec:
  protocol: Postgres
  target: {host: ${server.host}, port: ${server.port}, database: orders}
  credential:
    secretRef: {name: ${name}-db}
`;
}

const NEEDS = [postgresServer(15), program('psql', 'postgresql-client'), program('pg_dump', 'postgresql-client')];

describeWith(NEEDS, 'examples', () => {
  let server: Postgres & AsyncDisposable;
  beforeAll(async () => {
    // Debian's pg_dump is no newer than 15, and refuses a newer server.
    server = await startPostgres({ version: 15, tls: true, hba: ['hostssl all all 127.0.0.1/32 scram-sha-256'] });
    await exampleDatabases(server, { orders: SHOP });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  const agent = account('agent');
  const table = (name: string): Promise<Record<string, unknown>[]> =>
    server.sql(`SELECT count(*)::int AS n FROM ${name}`, [], 'orders');

  test('quickstart.yaml: what it allows works, masked; everything else is denied; the target is verified', async () => {
    await using example = await startExample({ server, files: ['quickstart.yaml'] });
    const read = await example.psql('orders', agent, 'SELECT name, email, ssn, card_number FROM customers ORDER BY id');
    const rows = 'Ada|***|***|************1111\nGrace|***|***|************5559\n';
    expect(read).toEqual({ status: 0, stdout: rows, stderr: '' });
    const client = await example.open('orders', agent);
    for (const sql of [
      'INSERT INTO orders VALUES (99, 1)',
      'DELETE FROM orders',
      'SELECT * FROM audit.events',
      'CREATE TABLE t ()',
      'COPY orders TO STDOUT',
    ]) {
      const error = await refusal(client, sql);
      expect(error).toMatchObject({ code: '42501', message: expect.stringContaining('Sallyport denied this') });
      expect(error.hint).toBeTruthy();
    }
    expect(await table('orders')).toEqual([{ n: 20 }]);
    await expect(example.open('orders', account('stranger'))).rejects.toMatchObject({ code: '28000' });
    // Only the proxy sees the password.
    expect(example.gateway.output()).not.toContain('only-the-gateway-knows');

    await using untrusting = await startExample({ server, files: ['quickstart.yaml'], trustsServer: false });
    await expect(untrusting.open('orders', agent)).rejects.toThrow(/certificate of the target .* is not trusted/);
  });

  test('backup-reads-audit-schema.yaml: the backup job dumps all of it, unmasked; nobody else reads audit', async () => {
    const files = ['quickstart.yaml', 'backup-reads-audit-schema.yaml'];
    // "This replaces the rule pii of quickstart.yaml", as kubectl apply would.
    const quickstart = (await readFile(path.join(EXAMPLES, 'quickstart.yaml'), 'utf8')).split(/^---\n/m);
    const pii = quickstart.find((document) => document.includes('kind: MaskingRule')) ?? '';
    expect(pii).toContain('name: pii');
    await using example = await startExample({
      server,
      files,
      replace: new Map([[pii, '']]),
      besides: allow('orders', 'greedy'),
    });
    const backup = account('backup');
    const dump = await example.pgDump('orders', backup, []);
    expect(dump).toMatchObject({ status: 0, stderr: '' });
    expect(dump.stdout).toContain('1\tada@example.com\trefund\n');
    expect(dump.stdout).toContain('219-09-9999\t4111111111111111');
    expect(dump.stdout).toContain('CREATE TABLE audit.events');

    const client = await example.open('orders', agent);
    expect((await client.query('SELECT email FROM customers WHERE id = 1')).rows).toEqual([{ email: '***' }]);
    // Even whom another policy allows everything.
    const greedy = await example.open('orders', account('greedy'));
    for (const denied of [client, greedy]) {
      expect(await refusal(denied, 'SELECT * FROM audit.events')).toMatchObject({
        code: '42501',
        message: expect.stringContaining('Only the backup job reads the audit schema.'),
        detail: expect.stringContaining('audit-schema-is-for-backup/audit-closed'),
      });
    }
    const refused = await example.pgDump('orders', agent, ['--schema=audit']);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain('Only the backup job reads the audit schema.');
    expect(refused.stdout).not.toContain('refund');
  });

  test('mask-pii.yaml: cards keep four digits, numbers are redacted, e-mails are tokens; privacy officers see all', async () => {
    const besides = [connection('shop', server, 'data: personal'), allow('shop', 'agent')].join('---\n');
    await using example = await startExample({ server, files: ['mask-pii.yaml'], besides });
    const client = await example.open('shop', agent);
    const { rows } = await client.query('SELECT card_number, ssn, email, notes, profile FROM customers ORDER BY id');
    expect(rows[0]).toMatchObject({ card_number: '************1111', ssn: '***' });
    expect(rows[0].email).toMatch(/^sptok_[a-z2-7]{26}$/);
    // Same value, same token; in JSON, too. What looks like a card or matches the pattern is found in text.
    expect(rows[0].profile).toEqual({ customer: { email: rows[0].email }, login: { password: '***', ssn: '***' } });
    expect(rows[0].notes).not.toMatch(/5555|EMP/);
    expect(rows[0].notes).toMatch(/^paid with .*, file \[employee\]$/);
    expect(rows[1]).toMatchObject({ notes: 'nothing', profile: {} });
    expect((await client.query('SELECT id FROM customers WHERE email = $1', ['ada@example.com'])).rows).toEqual([
      { id: 1 },
    ]);
    expect(await refusal(client, "SELECT id FROM customers WHERE ssn = '219-09-9999'")).toMatchObject({
      code: '42501',
    });

    const officer = await example.open('shop', { as: 'okta:ana@example.com', groups: ['okta:privacy-officers'] });
    const seen = await officer.query('SELECT card_number, ssn, email FROM customers ORDER BY id LIMIT 1');
    expect(seen.rows).toEqual([{ card_number: '4111111111111111', ssn: '219-09-9999', email: 'ada@example.com' }]);
  });

  test('guardrails.yaml: nothing is dropped, emptied or changed whole on any connection, whatever its policies allow', async () => {
    const other = `${connection('other', server).replace('name: other', 'name: other\n  namespace: team')}---\n${allow('other', 'agent').replace('metadata: {', 'metadata: {namespace: team, ')}`;
    const besides = [connection('shop', server), allow('shop', 'agent'), other].join('---\n');
    await using example = await startExample({ server, files: ['guardrails.yaml'], besides });
    for (const [where, who] of [
      ['shop', agent],
      ['other', account('agent', 'team')],
    ] as const) {
      const client = await example.open(where, who);
      for (const sql of ['DROP TABLE orders', 'DROP SCHEMA audit CASCADE', 'DROP DATABASE orders', 'TRUNCATE orders']) {
        expect(await refusal(client, sql)).toMatchObject({
          message: expect.stringContaining(
            'Nothing is dropped or emptied through Sallyport. Open a migration instead.',
          ),
          detail: expect.stringContaining('sallyport-system/no-destruction/no-drop'),
        });
      }
      for (const sql of ['DELETE FROM orders', 'UPDATE orders SET total = 0']) {
        expect(await refusal(client, sql)).toMatchObject({
          message: expect.stringContaining('Add a WHERE clause.'),
          detail: expect.stringContaining('no-wide-delete'),
        });
      }
      const changed = await client.query('UPDATE orders SET total = total WHERE id = 1');
      expect(changed.rowCount).toBe(1);
    }
    expect(await table('orders')).toEqual([{ n: 20 }]);
  });

  test('deletes-after-hours.yaml: a delete is held out of hours and passes in them; the rule grants nothing', async () => {
    const hours = (zone: string): { hour: number; weekend: boolean } => {
      const format = new Intl.DateTimeFormat('en-GB', {
        timeZone: zone,
        hour: '2-digit',
        hourCycle: 'h23',
        weekday: 'short',
      });
      const parts = new Map(format.formatToParts(new Date()).map(({ type, value }) => [type, value]));
      return { hour: Number(parts.get('hour')), weekend: ['Sat', 'Sun'].includes(parts.get('weekday') ?? '') };
    };
    const zones = Array.from({ length: 24 }, (_, index) => `Etc/GMT${index < 12 ? '-' : '+'}${index % 12}`);
    // The clock is the machine's: so the office moves to where it is night, and to where it is about noon.
    const night = zones.find((zone) => hours(zone).hour === 2) ?? '';
    const noon = zones.find((zone) => [11, 12].includes(hours(zone).hour)) ?? '';
    for (const zone of [night, noon]) {
      const replace = new Map([['Europe/Berlin', zone]]);
      await using example = await startExample({
        server,
        files: ['deletes-after-hours.yaml'],
        besides: [
          connection('orders', server),
          allow('orders', 'janitor'),
          allow('orders', 'agent').replace('Read, Write, DDL', 'Read'),
        ].join('---\n'),
        replace,
      });
      const janitor = await example.open('orders', account('janitor'));
      const sql = 'DELETE FROM orders WHERE id = -1';
      if (zone === noon && !hours(zone).weekend) {
        expect((await janitor.query(sql)).rowCount).toBe(0);
      } else {
        const held = await refusal(janitor, sql);
        expect(held).toMatchObject({
          code: '42501',
          detail: expect.stringContaining('deletes-after-hours/needs-two-people'),
        });
        expect(held.message).toContain('Deletes between 18:00 and 08:00 and on weekends need two approvals.');
      }
      expect((await janitor.query('UPDATE orders SET total = total WHERE id = 1')).rowCount).toBe(1);
      const reader = await example.open('orders', agent);
      expect(await refusal(reader, sql)).toMatchObject({ message: expect.stringContaining('denied') });
    }
  });

  // What they do is in the cases beside them (`sallyport test examples`), and tried on real targets with their lanes.
  test.each([
    'approvers-rbac.yaml',
    'auditors-rbac.yaml',
    'http-api.yaml',
    'http-oauth.yaml',
    'kubectl-exec.yaml',
    'scale-out-approval.yaml',
    'ssh-hosts.yaml',
  ])('%s: validate has nothing against it', async (file) => {
    const files = file === 'kubectl-exec.yaml' ? [file, 'scale-out-approval.yaml'] : [file];
    const { status, stdout } = await sallyport([
      'validate',
      '-o',
      'json',
      ...files.flatMap((name) => ['-f', `examples/${name}`]),
    ]);
    expect(JSON.parse(stdout)).toMatchObject({ valid: true, errors: 0, warnings: 0 });
    expect(status).toBe(0);
  });
});
