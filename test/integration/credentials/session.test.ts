/** Logins made for one session: what they may do, who can use them, and that they are gone afterwards. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { PostgresCredential } from '../../../proxy/ports.ts';
import {
  ADMIN_PASSWORD,
  type CredentialGround,
  EVERYTHING,
  READ,
  startCredentialGround,
  WRITE,
} from '../../support/credential-ground.ts';
import { startIssuer } from '../../support/credential-issuer.ts';
import { describeWith, postgresServer } from '../../support/requires.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const LOGIN = /^sallyport_login_[0-9a-f]{24}$/;

function signIn(ground: CredentialGround, credential: PostgresCredential): Promise<pg.Client> {
  if (credential.type !== 'password') throw new Error('not a password');
  return ground.server.connect({ user: credential.username, password: credential.password, database: 'app' });
}

async function stateOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof pg.DatabaseError) return error.code ?? '';
    throw error;
  }
  throw new Error('this passed');
}

for (const version of [15, 18] as const) {
  describeWith([postgresServer(version)], `logins for a session, PostgreSQL ${version}`, () => {
    let ground: CredentialGround;
    beforeAll(async () => {
      ground = await startCredentialGround({
        version,
        settings: { log_statement: 'all', log_connections: true },
        besides: `CREATE SCHEMA hidden; CREATE TABLE hidden.salaries (id int); CREATE TABLE public.foreign_owned (id int)`,
      });
    });
    afterAll(() => ground[Symbol.asyncDispose]());

    test('a session signs in as a login of its own, which is gone when it has ended; the record says all of it', async () => {
      const client = await ground.client();
      const { rows } = await client.query<{ login: string; n: number }>(
        'SELECT current_user AS login, count(*)::int AS n FROM orders',
      );
      expect(rows).toEqual([{ login: expect.stringMatching(LOGIN), n: 100 }]);
      const [{ login } = { login: '' }] = rows;
      expect(await ground.logins()).toEqual([login]);
      const [role] = await ground.server.sql(
        `SELECT rolsuper, rolcreatedb, rolcreaterole, rolinherit, rolconnlimit, rolvaliduntil > now() + interval '14 minutes' AS valid,
           rolvaliduntil < now() + interval '16 minutes' AS ends, shobj_description(oid, 'pg_authid') AS tag
         FROM pg_roles WHERE rolname = $1`,
        [login],
      );
      expect(role).toMatchObject({
        ...{ rolsuper: false, rolcreatedb: false, rolcreaterole: false, rolinherit: true, rolconnlimit: 1 },
        ...{ valid: true, ends: true, tag: expect.stringMatching(/^sallyport \{"installation":"[-0-9a-f]{36}"/) },
      });
      await client.end();
      await expect.poll(() => ground.logins()).toEqual([]);
      const events = (await ground.record()).filter(({ username }) => username === login);
      expect(events.map(({ e, type }) => [e, type])).toEqual([
        ['credential.issued', 'postgres role'],
        ['credential.used', 'postgres role'],
        ['credential.revoked', 'postgres role'],
      ]);
      expect(events[0]).toMatchObject({ session: expect.any(String), expires: expect.stringMatching(/Z$/) });
      const metrics = await (await fetch(ground.gateway.metrics!)).text();
      expect(metrics).toMatch(/sallyport_credential_lifetime_seconds_count\{type="role"\} 1/);
      expect(metrics).toMatch(/sallyport_token_lifetime_seconds_count [1-9]/);
    });

    test('a policy that only reads cannot write, and not see what it does not name, even past every check of ours', async () => {
      await using issuer = await startIssuer(ground);
      const lease = await issuer.lease();
      const client = await signIn(ground, lease.credential);
      expect((await client.query('SELECT count(*)::int AS n FROM orders')).rows).toEqual([{ n: 100 }]);
      for (const statement of [
        'INSERT INTO orders VALUES (1000, 1)',
        'UPDATE orders SET total = 0',
        'DELETE FROM orders',
        'TRUNCATE orders',
        "SELECT nextval('audit_id_seq')",
        'SELECT * FROM orders FOR UPDATE',
        'CREATE TABLE public.mine (id int)',
        'CREATE SCHEMA mine',
        'CREATE INDEX ON orders (total)',
        'SELECT * FROM hidden.salaries',
        'SET ROLE sallyport_admin',
        'CREATE ROLE more',
        'ALTER ROLE sallyport_admin PASSWORD NULL',
      ])
        expect([statement, await stateOf(client.query(statement))]).toEqual([statement, '42501']);
      // What the admin role cannot grant is said, and is missing: the server refuses it.
      expect(await stateOf(client.query('SELECT * FROM foreign_owned'))).toBe('42501');
      expect(issuer.warnings).toEqual([expect.stringContaining('SELECT on public.foreign_owned')]);
      // A second connection with the same login is one too many.
      expect(await stateOf(signIn(ground, lease.credential))).toBe('53300');
      await client.end();
      await lease.release();
      expect(await stateOf(signIn(ground, lease.credential))).toBe('28P01');
    });

    test('VALID UNTIL is kept by the server, in its own time', async () => {
      // Its clock says that it is an hour ago: what it issues for fifteen minutes has ended on a server that took its word.
      const hour = 3_600_000;
      await using issuer = await startIssuer({ ...ground, now: () => Date.now() - hour });
      const lease = await issuer.lease();
      expect(await stateOf(signIn(ground, lease.credential))).toBe('28P01');
      await lease.release();
      expect(await ground.logins()).toEqual([]);
    });

    test('rights move with the policy, also for a session that is open and idle', async () => {
      const client = await ground.client();
      const [{ login } = { login: '' }] = (await client.query('SELECT current_user AS login')).rows;
      const may = async (): Promise<unknown> =>
        (await ground.server.sql(`SELECT has_table_privilege($1, 'orders', 'UPDATE') AS may`, [login], 'app'))[0]?.[
          'may'
        ];
      expect(await may()).toBe(false);
      await ground.policy(WRITE);
      await expect.poll(may, { timeout: 5000 }).toBe(true);
      expect((await client.query('UPDATE orders SET total = 10 WHERE id = 1')).rowCount).toBe(1);
      expect((await client.query("INSERT INTO audit (note) VALUES ('x') RETURNING id")).rows).toEqual([
        { id: expect.any(Number) },
      ]);
      await ground.policy(READ);
      await expect.poll(may, { timeout: 5000 }).toBe(false);
      expect(await stateOf(client.query('UPDATE orders SET total = 11 WHERE id = 1'))).toBe('42501');
      await client.end();
    });

    test('a new table that policy names can be read at once, and one that moves out of its reach no more', async () => {
      const client = await ground.client();
      await client.query('SELECT 1');
      await ground.server.sql(
        `SET ROLE sallyport_admin; CREATE TABLE public.later AS SELECT 7 AS id`,
        undefined,
        'app',
      );
      expect((await client.query('SELECT id FROM later')).rows).toEqual([{ id: 7 }]);
      const [{ login } = { login: '' }] = (await client.query('SELECT current_user AS login')).rows;
      await ground.server.sql(
        'CREATE SCHEMA apart AUTHORIZATION sallyport_admin; ALTER TABLE public.later SET SCHEMA apart',
        undefined,
        'app',
      );
      const may = async (): Promise<unknown> =>
        (
          await ground.server.sql(`SELECT has_table_privilege($1, 'apart.later', 'SELECT') AS may`, [login], 'app')
        )[0]?.['may'];
      await expect.poll(may, { timeout: 10_000 }).toBe(false);
      // Where the admin role may not go it can take nothing, and the session may not go either: others are not held up by it.
      await ground.server.sql(
        'CREATE TABLE public.taken (id int); ALTER TABLE public.taken OWNER TO sallyport_admin',
        undefined,
        'app',
      );
      await client.query('SELECT * FROM taken');
      await ground.server.sql('CREATE SCHEMA closed; ALTER TABLE public.taken SET SCHEMA closed', undefined, 'app');
      const other = await ground.client();
      expect((await other.query('SELECT id FROM orders WHERE id = 1')).rows).toEqual([{ id: 1 }]);
      await other.end();
      await client.end();
    });

    test('what a session made is left to the role with its rights', async () => {
      await ground.policy(EVERYTHING);
      const first = await ground.client();
      await first.query('CREATE TABLE public.made (id int); CREATE FUNCTION public.f() RETURNS int RETURN 1');
      await first.query('INSERT INTO made VALUES (1)');
      await first.end();
      await expect.poll(() => ground.logins()).toEqual([]);
      const [owner] = await ground.server.sql(
        "SELECT relowner::regrole::text AS owner, (SELECT proowner::regrole::text FROM pg_proc WHERE proname = 'f') AS f FROM pg_class WHERE relname = 'made'",
        undefined,
        'app',
      );
      expect(owner).toEqual({
        owner: expect.stringMatching(/^sallyport_rights_[0-9a-f]{24}$/),
        f: expect.stringMatching(/^sallyport_rights_/),
      });
      const second = await ground.client();
      expect(
        (
          (await second.query(
            'ALTER TABLE made ADD COLUMN note text; SELECT id FROM made',
          )) as unknown as pg.QueryResult[]
        )[1]?.rows,
      ).toEqual([{ id: 1 }]);
      await second.query('DROP TABLE made; DROP FUNCTION f()');
      await second.end();
      await ground.policy(READ);
    });

    test('a session that is cut off in the middle of a long statement leaves no login', async () => {
      await ground.policy(EVERYTHING);
      const client = await ground.client();
      const running = client.query('SELECT pg_sleep(600)').catch(() => 'cut off');
      await expect
        .poll(() =>
          ground.server.sql(
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND usename LIKE 'sallyport_login%'",
          ),
        )
        .toHaveLength(1);
      (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
      expect(await running).toBe('cut off');
      await expect.poll(() => ground.logins(), { timeout: 20_000 }).toEqual([]);
      await ground.policy(READ);
    });

    test('fifty sessions at once', async () => {
      const clients = await Promise.all(Array.from({ length: 50 }, () => ground.client()));
      const names = await Promise.all(
        clients.map(
          async (client) =>
            (await client.query('SELECT current_user AS login FROM orders LIMIT 1')).rows[0]?.login as string,
        ),
      );
      expect(new Set(names).size).toBe(50);
      await Promise.all(clients.map((client) => client.end()));
      await expect.poll(() => ground.logins(), { timeout: 20_000 }).toEqual([]);
    });

    test('kill -9: the login cannot be used for longer than it says, and the next start drops it', async () => {
      const client = await ground.client();
      const [{ login } = { login: '' }] = (await client.query('SELECT current_user AS login')).rows;
      await ground.gateway.stop('SIGKILL');
      expect(await ground.logins()).toEqual([login]);
      const [role] = await ground.server.sql(
        `SELECT rolvaliduntil < now() + interval '16 minutes' AS ends FROM pg_roles WHERE rolname = $1`,
        [login],
      );
      expect(role).toEqual({ ends: true });
      await ground.restart();
      await expect.poll(() => ground.logins(), { timeout: 20_000 }).toEqual([]);
      await expect
        .poll(
          async () =>
            (await ground.record()).find(({ e, username }) => e === 'credential.revoked' && username === login),
          { timeout: 5000 },
        )
        .toMatchObject({ reason: 'its process had died', session: expect.any(String) });
      await client.end().catch(() => undefined);
    });

    test("a sweep takes what has expired, and nothing that lives or is somebody else's", async () => {
      await ground.server.sql(`CREATE ROLE sallyport_login_of_a_person LOGIN; CREATE ROLE sallyport_login_other LOGIN VALID UNTIL '2020-01-01';
        COMMENT ON ROLE sallyport_login_other IS 'not a tag'`);
      await using issuer = await startIssuer({ ...ground, isAlive: () => true });
      const lives = await issuer.lease('lives');
      await using past = await startIssuer({ ...ground, now: () => Date.now() - 7_200_000, installation: 'another' });
      const expired = await past.lease('expired');
      await issuer.leases.sweep();
      expect(await ground.logins()).toEqual(
        ['sallyport_login_of_a_person', 'sallyport_login_other', lives.credential.username].sort(),
      );
      expect(await ground.logins()).not.toContain(expired.credential.username);
      await lives.release();
      await ground.server.sql('DROP ROLE sallyport_login_of_a_person; DROP ROLE sallyport_login_other');
    });

    test('no password is in the log of the server, the record or our log', async () => {
      await using issuer = await startIssuer(ground);
      const lease = await issuer.lease();
      if (lease.credential.type !== 'password') throw new Error('not a password');
      const { password, scram } = lease.credential;
      await (await signIn(ground, lease.credential)).end();
      await lease.release();
      const texts = [ground.server.log(), ground.gateway.output(), JSON.stringify(await ground.record())];
      expect(texts[0]).toMatch(/statement: CREATE ROLE "sallyport_login_/);
      for (const text of texts) {
        for (const secret of [password, scram?.clientKey.toString('base64') ?? '', ADMIN_PASSWORD]) {
          // The one who set this server up has written the admin's password into a statement, before the gateway came.
          if (secret === ADMIN_PASSWORD && text === texts[0]) continue;
          expect(text.includes(secret)).toBe(false);
        }
      }
    });

    test('an admin role that may not make roles is said so; a way to more is refused', async () => {
      await ground.server.sql('ALTER ROLE sallyport_admin NOCREATEROLE');
      await using poor = await startIssuer(ground);
      await expect(poor.lease()).rejects.toMatchObject({ code: 'SPK001' });
      await ground.server.sql('ALTER ROLE sallyport_admin CREATEROLE');
      const yaml = path.join(ground.resources, 'app.yaml');
      const { readFile } = await import('node:fs/promises');
      const text = await readFile(yaml, 'utf8');
      for (const [role, code] of [
        ['postgres', 'SPK004'],
        ['sallyport_admin', 'SPK004'],
        ['no_such_role', 'SPK003'],
      ] as const) {
        await writeFile(yaml, text.replace('grantsFromPolicy: true', `memberOf: [${role}]`), { mode: 0o600 });
        await using issuer = await startIssuer(ground);
        await expect(issuer.lease()).rejects.toMatchObject({ code });
      }
      await writeFile(yaml, text, { mode: 0o600 });
    });
  });
}
