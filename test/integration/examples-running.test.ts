/** The examples about what happens over time and around a policy: an outside issuer, revocation, observing, ceilings, the record. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { account, EXAMPLES, exampleDatabases, exampleText, refusal, startExample } from '../support/example-ground.ts';
import { signingKey, startIssuer } from '../support/oidc-issuer.ts';
import { type Postgres, startPostgres } from '../support/postgres.ts';
import { describeWith, postgresServer, program } from '../support/requires.ts';
import { sallyport, startSallyport } from '../support/sallyport.ts';

// Each starts gateways and programs of its own, on machines that may be busy.
vi.setConfig({ testTimeout: 120_000 });

const ORDERS = `CREATE TABLE orders (id int PRIMARY KEY, total int);
  INSERT INTO orders SELECT n, n * 10 FROM generate_series(1, 20000) n`;
const WAREHOUSE = `CREATE SCHEMA mart; CREATE TABLE mart.facts AS SELECT generate_series(1, 20000) AS id;
  CREATE TABLE staging AS SELECT 1 AS id`;
const CLAIMS = `CREATE TABLE claims (id int, email text); INSERT INTO claims VALUES (1, 'ada@example.com')`;
const SHOP = `CREATE TABLE orders (id int PRIMARY KEY, total int, status text);
  INSERT INTO orders SELECT n, n * 10, 'new' FROM generate_series(1, 200) n;
  CREATE TABLE customers (id int PRIMARY KEY, email text, ssn text, card_number text);
  INSERT INTO customers VALUES (1, 'ada@example.com', '219-09-9999', '4111111111111111')`;

const subjects = (
  connection: string,
  entries: string,
  statements = 'Read',
): string => `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: callers-of-${connection}}
spec:
  connections: {names: [${connection}]}
  subjects: [${entries}]
  rules:
    - name: read
      effect: Allow
      sql: {statements: [${statements}], relations: ["public.*"]}
`;

function eventsOf(segment: string): Record<string, unknown>[] {
  const lines = segment.trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Every event of a connection's record. */
async function recorded(state: string, connection: string): Promise<Record<string, unknown>[]> {
  const folder = path.join(state, 'record', ...connection.split('/'));
  const texts = await Promise.all((await readdir(folder)).map((file) => readFile(path.join(folder, file), 'utf8')));
  return texts.flatMap(eventsOf);
}

describeWith([postgresServer(18), program('psql', 'postgresql-client')], 'examples', () => {
  let server: Postgres & AsyncDisposable;
  beforeAll(async () => {
    server = await startPostgres({
      version: 18,
      tls: true,
      hba: ['hostssl all all 127.0.0.1/32 scram-sha-256', 'host shop shop_app 127.0.0.1/32 scram-sha-256'],
    });
    await exampleDatabases(server, {
      ...{ orders: ORDERS, legacy: ORDERS, dwh: WAREHOUSE, claims: CLAIMS },
      ...{ ledger: ORDERS, payments: ORDERS },
    });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test("ci-pipeline.yaml: a job's own token migrates the database; another branch's does not", async () => {
    const claims = { repository: 'acme/shop', ref: 'refs/heads/main', environment: 'production' };
    const issuer = await startIssuer([await signingKey('RS256')], { claims });
    try {
      await using example = await startExample({
        server,
        files: ['quickstart.yaml', 'ci-pipeline.yaml'],
        configuration: `issuers: [{alias: github, issuer: "${issuer.issuer}", maxTokenLifetime: 15m}]\n`,
      });
      const job = await example.open('orders', { token: await issuer.token() });
      await job.query('CREATE TABLE migrated (id int)');
      await job.query('ALTER TABLE migrated ADD COLUMN note text');
      await job.query('CREATE INDEX ON migrated (note)');
      await job.query("INSERT INTO migrated VALUES (1, 'new')");
      expect((await job.query('SELECT id, note FROM migrated')).rows).toEqual([{ id: 1, note: 'new' }]);
      expect((await job.query('UPDATE orders SET total = 0 WHERE id <= 10000')).rowCount).toBe(10_000);
      expect(await refusal(job, 'UPDATE orders SET total = 1')).toMatchObject({ code: '54000' });
      expect((await job.query('SELECT count(*)::int AS n FROM orders WHERE total = 1')).rows).toEqual([{ n: 0 }]);
      expect(await refusal(job, 'DROP TABLE migrated')).toMatchObject({ code: '42501' });

      for (const [name, value] of [
        ['ref', 'refs/heads/feature'],
        ['repository', 'acme/other'],
        ['environment', 'staging'],
      ] as const) {
        const before = claims[name];
        claims[name] = value;
        await expect(example.open('orders', { token: await issuer.token() })).rejects.toMatchObject({ code: '28000' });
        claims[name] = before;
      }
      const other = await issuer.token('another-service');
      await expect(example.open('orders', { token: other })).rejects.toMatchObject({ code: '28P01' });
    } finally {
      await issuer.stop();
    }
  });

  test('revoke-now.yaml: put into the folder, it ends the sessions of those callers at once, and of nobody else', async () => {
    const github = { as: 'github:job', claims: { repository: 'acme/old-deployer' } };
    const revoked = [{ as: 'okta:contractor@example.com' }, account('nightly', 'ci'), github];
    const stays = { as: 'github:job', claims: { repository: 'acme/new-deployer' } };
    const besides = subjects('orders', '{everyone: true}');
    await using example = await startExample({ server, files: ['quickstart.yaml'], besides });
    const clients = await Promise.all(revoked.map((caller) => example.open('orders', caller)));
    const staying = await example.open('orders', stays);
    // One is idle, one is in a transaction, one waits for its answer.
    await clients[1]!.query('BEGIN');
    await clients[1]!.query('SELECT 1');
    const running = clients[2]!.query('SELECT count(*) FROM orders a, orders b, orders c').then(
      () => 'answered',
      () => 'ended',
    );
    const ends = clients.map((client) => new Promise((resolve) => client.once('end', resolve)));
    const errors = clients
      .slice(0, 2)
      .map((client) => new Promise<Error>((resolve) => client.once('error', (error) => resolve(error))));
    await example.add('revoke-now.yaml');
    for (const error of await Promise.all(errors)) {
      expect(error).toMatchObject({ code: '57P01', message: expect.stringContaining('access was withdrawn') });
      expect(error).toHaveProperty('hint', 'Access was revoked. Ask the platform team.');
    }
    await Promise.all(ends);
    expect(await running).toBe('ended');
    for (const caller of revoked) {
      await expect(example.open('orders', caller)).rejects.toMatchObject({
        code: '28000',
        hint: 'Access was revoked. Ask the platform team.',
      });
    }
    expect((await staying.query('SELECT count(*)::int AS n FROM orders')).rows).toEqual([{ n: 20_000 }]);
    await (await example.open('orders', stays)).query('SELECT 1');
  });

  test('observe-first.yaml: what would be denied passes and is recorded with that verdict; Deny rules are in force', async () => {
    const besides = subjects('legacy', '{serviceAccount: {name: agent}}');
    await using example = await startExample({ server, files: ['observe-first.yaml', 'guardrails.yaml'], besides });
    const notices: (string | undefined)[] = [];
    const client = await example.open('legacy', account('agent'));
    client.on('notice', ({ message }) => notices.push(message));
    expect((await client.query('INSERT INTO orders VALUES (-1, 0)')).rowCount).toBe(1);
    await client.query('SELECT count(*) FROM orders');
    expect(await refusal(client, 'DROP TABLE orders')).toMatchObject({ detail: expect.stringContaining('no-drop') });
    await expect(example.open('legacy', account('stranger'))).rejects.toMatchObject({ code: '28000' });
    await client.end();
    await example.gateway.stop();
    const events = await recorded(example.state, 'default/legacy');
    const received = events.filter(({ e }) => e === 'command.received');
    expect(received.find(({ text }) => String(text).startsWith('INSERT'))).toMatchObject({ observed: 'Deny' });
    expect(received.find(({ text }) => String(text).startsWith('SELECT'))).not.toHaveProperty('observed');
    expect(events.find(({ e }) => e === 'command.denied')).toBeDefined();
  });

  test("shared-database.yaml: other namespaces' accounts and a group read the mart, up to the strictest ceiling", async () => {
    await using example = await startExample({ server, files: ['shared-database.yaml'] });
    const analyst = account('any-of-them', 'analytics');
    for (const caller of [analyst, { as: 'okta:ana@example.com', groups: ['okta:analysts'] }]) {
      const client = await example.open('warehouse', caller);
      expect((await client.query('SELECT id FROM mart.facts LIMIT 10000')).rowCount).toBe(10_000);
      const many = await refusal(client, 'SELECT id FROM mart.facts LIMIT 10001');
      expect(many).toMatchObject({ code: '54000', message: expect.stringContaining('10000 rows') });
      expect(await refusal(client, 'SELECT id FROM public.staging')).toMatchObject({ code: '42501' });
    }
    for (const caller of [account('agent'), account('agent', 'reporting')])
      await expect(example.open('warehouse', caller)).rejects.toMatchObject({ code: '28000' });

    const busy = await example.open('warehouse', account('busy', 'analytics'));
    for (let command = 0; command < 600; command++) await busy.query('SELECT 1');
    const tooMany = { code: '53400', message: expect.stringContaining('more than 600 commands in a minute') };
    expect(await refusal(busy, 'SELECT 1')).toMatchObject(tooMany);
  });

  test('retention-and-export.yaml: commands and masked answers are kept seven years, and nothing runs unrecorded', async () => {
    const masking = `apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: pii}
spec: {connections: {names: [claims]}, columns: [{match: ["*.*.email"]}]}
`;
    const besides = [subjects('claims', '{serviceAccount: {name: agent}}', 'Read, Write'), masking].join('---\n');
    const state = await mkdtemp(path.join(os.tmpdir(), 'sallyport-retention-'));
    try {
      const folder = path.join(state, 'record', 'default', 'claims');
      {
        await using example = await startExample({ server, files: ['retention-and-export.yaml'], besides, state });
        const client = await example.open('claims', account('agent'));
        await client.query('SELECT id, email FROM claims');
        const chunk = await vi.waitFor(async () => {
          const found = (await recorded(state, 'default/claims')).find(({ e }) => e === 'command.executed');
          expect(found?.['result']).toBeDefined();
          return found?.['result'] as { readonly data: string };
        });
        const answer = Buffer.from(chunk.data, 'base64').toString('latin1');
        expect(answer).toContain('***');
        expect(answer).not.toContain('ada@example.com');
        // A record that is removed under the gateway: what cannot be recorded does not run. Once it can be, all goes on.
        await rm(folder, { recursive: true });
        const error = await refusal(client, 'UPDATE claims SET id = 2');
        expect(error).toMatchObject({ code: '58030', message: expect.stringContaining('no command is forwarded') });
        const again = await vi.waitFor(() => example.open('claims', account('agent')), { timeout: 10_000 });
        expect((await again.query('SELECT id FROM claims')).rows).toEqual([{ id: 1 }]);
        await again.end();
        await example.gateway.stop();
      }
      // Two segments as they would be found after 2,550 and 2,560 days: one is younger than seven years, one is not.
      const [name = ''] = await readdir(folder);
      const text = await readFile(path.join(folder, name), 'utf8');
      expect(eventsOf(text).at(-1)).toMatchObject({ e: 'recorder.stop' });
      const old = [2550, 2560].map((days) => {
        const day = new Date(Date.now() - days * 86_400_000).toISOString().slice(0, 10);
        return { day, file: name.replace(/^\d{8}/, day.replaceAll('-', '')) };
      });
      for (const { day, file } of old)
        await writeFile(path.join(folder, file), text.replaceAll(/"t":"[\d-]{10}/g, `"t":"${day}`), { mode: 0o600 });
      await using _example = await startExample({ server, files: ['retention-and-export.yaml'], besides, state });
      await expect.poll(() => readdir(folder)).not.toContain(old[1]!.file);
      expect(await readdir(folder)).toEqual(expect.arrayContaining([name, old[0]!.file]));
    } finally {
      await rm(state, { recursive: true });
    }
  });

  test('short-lived-credentials.yaml: a login for each session or statement, with what policy gives, then none', async () => {
    await server.sql('ALTER ROLE sallyport CREATEROLE');
    try {
      const ca = (server.tls?.authority.ca ?? '').replace(/^/gm, '    ');
      const authority = `---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: ledger-ca}\ndata:\n  ca.crt: |\n${ca}\n`;
      await using example = await startExample({
        server,
        files: ['short-lived-credentials.yaml'],
        besides: `${subjects('ledger', '{serviceAccount: {name: agent}}')}---\n${subjects('payments', '{serviceAccount: {name: agent}}')}${authority}`,
      });
      const who = 'SELECT session_user AS login, count(*)::int AS n FROM orders';
      const ledger = await example.open('ledger', account('agent'));
      const [one, two] = [(await ledger.query(who)).rows[0], (await ledger.query(who)).rows[0]];
      expect(one).toEqual({ login: expect.stringMatching(/^sallyport_login_/), n: 20_000 });
      expect(two).toEqual(one);
      const payments = await example.open('payments', account('agent'));
      const [three, four] = [(await payments.query(who)).rows[0], (await payments.query(who)).rows[0]];
      expect(four.login).not.toBe(three.login);
      const granted = await server.sql(
        "SELECT DISTINCT privilege_type FROM information_schema.role_table_grants WHERE grantee LIKE 'sallyport_rights_%'",
        undefined,
        'ledger',
      );
      expect(granted).toEqual([{ privilege_type: 'SELECT' }]);
      await ledger.end();
      await payments.end();
      await expect
        .poll(() => server.sql("SELECT 1 FROM pg_roles WHERE rolname LIKE 'sallyport\\_login\\_%'"))
        .toEqual([]);
    } finally {
      await server.sql('ALTER ROLE sallyport NOCREATEROLE');
    }
  });

  test('standalone/: runs as it is, with its configuration; its cases come out as written', async () => {
    await server.sql("CREATE ROLE shop_app LOGIN PASSWORD 'only-the-gateway-knows'");
    await server.sql('CREATE DATABASE shop OWNER shop_app');
    await server.sql(`GRANT CREATE ON SCHEMA public TO shop_app; SET ROLE shop_app; ${SHOP}`, [], 'shop');
    const cases = await sallyport(['test', 'examples/standalone']);
    expect(cases).toMatchObject({ status: 0, stdout: expect.stringMatching(/\d passed, 0 failed\n$/) });

    const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-standalone-'));
    try {
      const state = path.join(folder, 'state');
      const ada = { environment: { XDG_CONFIG_HOME: path.join(folder, 'ada') } };
      const made = await sallyport(['approver', 'create', 'ada', '-o', 'json'], ada);
      const { publicKey } = JSON.parse(made.stdout) as { publicKey: string };
      // All that differs from the folder as it is: this server's port, ports that nobody else has, and a key that somebody has.
      await mkdir(path.join(folder, 'resources'), { mode: 0o700 });
      for (const file of await readdir(path.join(EXAMPLES, 'standalone'))) {
        const text = await exampleText(path.join('standalone', file), server);
        const moved = text
          .replace(/127\.0\.0\.1:(15432|9464)/g, '127.0.0.1:0')
          .replace(/publicKey: .*/, `publicKey: ${publicKey}`);
        await writeFile(path.join(folder, 'resources', file), moved, { mode: 0o600 });
      }
      await using gateway = await startSallyport({
        resources: [path.join(folder, 'resources')],
        state,
        parameters: ['-c', path.join(folder, 'resources', 'sallyport.yaml')],
        plaintextLoopback: false,
      });
      const connect = (as: string, ...parameters: string[]): ReturnType<typeof sallyport> =>
        sallyport(['connect', 'shop/orders', '--as', as, '--state', state, ...parameters]);
      const agent = 'system:serviceaccount:shop:agent';
      const psql = (sql: string): ReturnType<typeof sallyport> => connect(agent, '--', '-XAtc', sql);
      expect(await psql('SELECT ssn, card_number FROM customers')).toMatchObject({
        status: 0,
        stdout: '***|************1111\n',
      });
      expect(await psql('SELECT email FROM customers')).toMatchObject({ stdout: expect.stringMatching(/^sptok_/) });
      expect(await psql("UPDATE orders SET status = 'sent' WHERE id = 7")).toMatchObject({ stdout: 'UPDATE 1\n' });
      const wide = await psql("UPDATE orders SET status = 'sent' WHERE id > 0");
      expect(wide).toMatchObject({ status: 1, stderr: expect.stringContaining('more than 100 rows') });
      const whole = await psql("UPDATE orders SET status = 'sent'");
      expect(whole).toMatchObject({ status: 1, stderr: expect.stringContaining('Add a WHERE clause.') });
      const drop = await psql('DROP TABLE orders');
      expect(drop).toMatchObject({ status: 1, stderr: expect.stringContaining('Open a migration instead.') });
      const stranger = await connect('system:serviceaccount:shop:stranger', '--', '-c', 'SELECT 1');
      expect(stranger).toMatchObject({ status: 2, stderr: expect.stringContaining('may not use this connection') });
      const deleted = psql('DELETE FROM orders WHERE id = 9');
      const listed = async (): Promise<string> =>
        (await sallyport(['requests', 'list', '--state', state, '-o', 'json'])).stdout;
      await expect.poll(listed, { timeout: 30_000 }).toContain('ApprovalRequest');
      const request = JSON.parse(await listed()) as { metadata: { name: string } };
      const configuration = path.join(folder, 'resources', 'sallyport.yaml');
      const vote = ['approve', request.metadata.name, '-c', configuration, '--state', state, '--reason', 'cancelled'];
      expect(await sallyport(vote, ada)).toMatchObject({ status: 0 });
      expect(await deleted).toMatchObject({ status: 0, stdout: 'DELETE 1\n' });
      const answer = await fetch(gateway.metrics!);
      expect(await answer.text()).toContain('sallyport_');
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
