/** Client certificates of an authority that Sallyport holds, and roles that are members of what the connection names. */
import { chown, copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { expect, test, vi } from 'vitest';
import { startCredentialGround } from '../../support/credential-ground.ts';
import { startPostgres } from '../../support/postgres.ts';
import { serverUser } from '../../support/postgres-template.ts';
import { describeWith, postgresServer } from '../../support/requires.ts';
import { createToken, sallyport, startSallyport } from '../../support/sallyport.ts';

vi.setConfig({ testTimeout: 120_000 });

for (const version of [15, 18] as const) {
  describeWith([postgresServer(version)], `memberOf, PostgreSQL ${version}`, () => {
    test('a login has the rights of the roles that the connection names, which get what it leaves', async () => {
      await using ground = await startCredentialGround({
        version,
        rules: `    - name: all
      effect: Allow
      sql: {statements: ["*"], relations: ["*.*"]}
`,
        role: '      memberOf: [readers, makers]\n',
        besides: `CREATE ROLE readers; CREATE ROLE makers; GRANT SELECT ON orders TO readers;
          GRANT CREATE, USAGE ON SCHEMA public TO makers`,
      });
      if (version >= 16) {
        // Since 16, CREATEROLE alone gives nobody else's roles away.
        await expect(ground.client()).rejects.toMatchObject({
          code: '08004',
          message: expect.stringContaining('readers'),
        });
        await ground.server.sql('GRANT readers, makers TO sallyport_admin WITH ADMIN OPTION, INHERIT FALSE, SET FALSE');
      }
      const memberships = (): Promise<unknown> =>
        ground.server.sql(`SELECT roleid::regrole::text, admin_option FROM pg_auth_members
          WHERE member = 'sallyport_admin'::regrole ORDER BY 1, 2`);
      const before = await memberships();
      const client = await ground.client();
      expect((await client.query('SELECT count(*)::int AS n FROM orders')).rows).toEqual([{ n: 100 }]);
      // Policy allows it, the roles do not.
      await expect(client.query('DELETE FROM orders')).rejects.toMatchObject({ code: '42501' });
      await client.query('CREATE TABLE left_behind (id int)');
      await client.end();
      await expect.poll(() => ground.logins()).toEqual([]);
      const [owner] = await ground.server.sql(
        "SELECT relowner::regrole::text AS owner FROM pg_class WHERE relname = 'left_behind'",
        undefined,
        'app',
      );
      expect(owner).toEqual({ owner: 'readers' });
      // The admin role is a member of nothing for longer than that took.
      expect(await memberships()).toEqual(before);
    });
  });
}

for (const version of [15, 18] as const) {
  describeWith([postgresServer(version)], `client certificates, PostgreSQL ${version}`, () => {
    test('sallyport ca postgres prints what the server needs; a session signs in with a certificate of minutes', async () => {
      const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-ca-'));
      try {
        const state = path.join(folder, 'state');
        const out = path.join(folder, 'sallyport-ca.crt');
        const made = await sallyport([
          'ca',
          'postgres',
          'default/app-ca',
          '--state',
          state,
          '--out',
          out,
          '--role',
          'app',
          '--database',
          'app',
        ]);
        expect(made).toMatchObject({ status: 0, stderr: '' });
        expect(made.stdout).toContain(`ssl_ca_file = '${out}'`);
        const hba = made.stdout.trimEnd().split('\n').at(-1) ?? '';
        expect(hba).toBe('hostssl app app all cert');
        const certificate = await readFile(out, 'utf8');
        // The same again, now on standard output; never a key.
        const again = await sallyport(['ca', 'postgres', 'app-ca', '--state', state]);
        expect(again.stdout.startsWith(certificate)).toBe(true);
        expect(made.stdout + again.stdout).not.toContain('PRIVATE KEY');

        await using server = await startPostgres({
          version,
          tls: true,
          hba: [hba],
          settings: { log_connections: true },
        });
        const trusted = path.join(server.dataDirectory, 'clients.crt');
        await copyFile(out, trusted);
        if (serverUser !== undefined) await chown(trusted, serverUser.uid, serverUser.gid);
        await server.sql(`ALTER SYSTEM SET ssl_ca_file = 'clients.crt'`);
        await server.sql('SELECT pg_reload_conf()');
        await server.sql('CREATE ROLE app LOGIN; CREATE ROLE other LOGIN');
        await server.sql('CREATE DATABASE app OWNER app');
        await server.sql(
          'CREATE TABLE orders (id int); INSERT INTO orders VALUES (1); GRANT SELECT ON orders TO app',
          undefined,
          'app',
        );
        const resources = path.join(folder, 'resources');
        await mkdir(resources, { mode: 0o700 });
        const yaml = (role: string): string => `apiVersion: sallyport.dev/v1alpha1
kind: AccessConnection
metadata: {name: app}
spec:
  protocol: Postgres
  target: {host: localhost, port: ${server.port}, database: app, tls: {caRef: {name: server-ca}}}
  credential:
    clientCertificate: {caSecretRef: {name: app-ca}, role: ${role}, ttl: 1m}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: server-ca}
data:
  ca.crt: |
${(server.tls?.authority.ca ?? '').replace(/^/gm, '    ')}
---
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agents}
spec:
  connections: {names: [app]}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - name: read
      effect: Allow
      sql: {statements: [Read], relations: ["public.*"]}
`;
        await writeFile(path.join(resources, 'app.yaml'), yaml('app'));
        await using gateway = await startSallyport({
          resources: [resources],
          state,
          listen: ['default/app=127.0.0.1:0'],
        });
        const password = await createToken(state, { subject: 'system:serviceaccount:default:agent' });
        const connect = async (): Promise<pg.Client> => {
          const client = new pg.Client({
            host: '127.0.0.1',
            port: gateway.connection('app').port,
            user: 'agent',
            database: 'app',
            password,
          });
          client.on('error', () => {});
          await client.connect();
          return client;
        };
        const client = await connect();
        expect((await client.query('SELECT current_user AS role, id FROM orders')).rows).toEqual([
          { role: 'app', id: 1 },
        ]);
        await client.end();
        const place = path.join(state, 'record', 'default', 'app');
        const record = async (): Promise<string> =>
          (await Promise.all((await readdir(place)).map((file) => readFile(path.join(place, file), 'utf8')))).join('');
        await expect.poll(record).toContain('"e":"credential.revoked"');
        const events = (await record())
          .split('\n')
          .filter((line) => line.includes('"e":"credential.'))
          .map((line) => JSON.parse(line) as Record<string, unknown>);
        expect(events.map(({ e, type, username }) => [e, type, username])).toEqual([
          ['credential.issued', 'postgres certificate', 'app'],
          ['credential.used', 'postgres certificate', 'app'],
          ['credential.revoked', 'postgres certificate', 'app'],
        ]);
        expect(Date.parse(String(events[0]?.['expires'])) - Date.now()).toBeLessThanOrEqual(60_000);
        for (const text of [server.log(), gateway.output(), await record()]) expect(text).not.toContain('PRIVATE KEY');
        // The server compares the name: a certificate for app does not open another role.
        let known = gateway.output().split('"event":"reload"').length - 1;
        const reloaded = gateway.event((event) => event.event === 'reload' && known-- === 0);
        await writeFile(path.join(resources, 'app.yaml'), yaml('other'));
        await reloaded;
        await expect(connect()).rejects.toMatchObject({ code: expect.stringMatching(/^08/) });
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });
  });
}
