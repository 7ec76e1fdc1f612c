import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { startPostgres } from './postgres.ts';
import { describeWith, postgresServer, program } from './requires.ts';

for (const version of [15, 17, 18] as const) {
  describeWith([postgresServer(version)], `PostgreSQL ${version}`, () => {
    test('starts, answers over TCP with a password, and is gone after disposal', async () => {
      let url: string;
      {
        await using server = await startPostgres({ version, settings: { application_name: "it's" } });
        url = server.databaseUrl;
        const client = await server.connect();
        const { rows } = await client.query('SHOW server_version_num');
        await client.end();
        expect(Math.floor(Number(rows[0].server_version_num) / 10_000)).toBe(version);
        expect(await server.sql('SELECT 1 AS a; SELECT 2 AS a')).toEqual([{ a: 2 }]);
        await expect(server.connect({ password: 'wrong' })).rejects.toThrow('password authentication failed');
      }
      expect(url).toContain('postgres://postgres:');
    });

    test('keeps its data over kill -9 and start', async () => {
      await using server = await startPostgres({ version, settings: { fsync: true, synchronous_commit: true } });
      await server.sql('CREATE TABLE t AS SELECT 7 AS a');
      const { port, pid } = server;
      const open = await server.connect();
      open.on('error', () => {});
      await server.kill9();
      await expect(server.sql('SELECT a FROM t')).rejects.toThrow();
      await server.start();
      expect(server.port).toBe(port);
      expect(server.pid).not.toBe(pid);
      expect(await server.sql('SELECT a FROM t')).toEqual([{ a: 7 }]);
    });
  });
}

describeWith([postgresServer(15), program('openssl')], 'PostgreSQL with TLS', () => {
  test('presents a certificate that its authority vouches for, and refuses plaintext when hba says so', async () => {
    await using server = await startPostgres({
      version: 15,
      tls: true,
      hba: ['hostssl all all 127.0.0.1/32 scram-sha-256'],
    });
    const ca = await readFile(server.tls!.caPath, 'utf8');
    const client = await server.connect({ ssl: { ca, servername: 'localhost' } });
    const { rows } = await client.query('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()');
    await client.end();
    expect(rows).toEqual([{ ssl: true }]);
    await expect(server.connect()).rejects.toThrow('no encryption');
    await expect(server.connect({ ssl: { servername: 'localhost' } })).rejects.toThrow();
  });
});
