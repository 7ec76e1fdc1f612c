/** Drivers as their users run them: whatever they do comes out as it does directly, and masked columns come masked. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeWith, postgresServer } from '../support/requires.ts';
import { type Access, environmentOf, type Ground, startGround } from './drivers/ground.ts';
import { CHECKS, configOf, runCheck } from './drivers/node-postgres.ts';
import { go, pgxChecks, python, pythonPackages } from './drivers/programs.ts';

const run = promisify(execFile);
const folder = path.join(import.meta.dirname, 'drivers');

const MASKED_ROWS = [
  [1, '***', '***************1111'],
  [2, '***', '***************1111'],
];

/** What a program prints for one way in: an object of check to result. */
type Program = (access: Access, parameters?: readonly string[]) => Promise<Record<string, unknown>>;

async function pythonProgram(file: string): Promise<Program> {
  const packages = await pythonPackages();
  return async (access, parameters = []) => {
    const env = { ...environmentOf(access), PYTHONPATH: packages, PYTHONDONTWRITEBYTECODE: '1' };
    const { stdout } = await run('python3', [path.join(folder, file), ...parameters], { env, maxBuffer: 1 << 26 });
    return JSON.parse(stdout) as Record<string, unknown>;
  };
}

for (const version of [15, 18] as const) {
  describeWith([postgresServer(version)], `drivers with PostgreSQL ${version}`, () => {
    let ground: Ground;
    beforeAll(async () => {
      ground = await startGround(version);
    });
    afterAll(() => ground?.[Symbol.asyncDispose]());

    async function sameEverywhere(program: Program): Promise<void> {
      const direct = await program(ground.direct);
      expect(Object.keys(direct).length).toBeGreaterThan(10);
      for (const [name, result] of Object.entries(direct)) {
        expect(result, `${name}, directly`).not.toEqual(expect.stringMatching(/^(raised|failed)/));
      }
      for (const access of [ground.plain, ground.tls]) expect(await program(access), access.name).toEqual(direct);
    }

    describe('node-postgres', () => {
      test.each(Object.keys(CHECKS))('%s', async (name) => {
        const direct = await runCheck(name, ground.direct);
        expect(await runCheck(name, ground.plain), 'without TLS').toEqual(direct);
        expect(await runCheck(name, ground.tls), 'over TLS').toEqual(direct);
      });

      test('sees masked columns masked, and lives on after a denial', async () => {
        const client = new pg.Client(configOf(ground.masked));
        await client.connect();
        try {
          const rows: pg.QueryArrayConfig = {
            rowMode: 'array',
            text: 'SELECT id, email, card FROM people WHERE id <= $1 ORDER BY id',
            values: [2],
          };
          expect((await client.query(rows)).rows).toEqual(MASKED_ROWS);
          expect((await client.query({ ...rows, name: 'named' })).rows).toEqual(MASKED_ROWS);
          await expect(client.query('SELECT * FROM secrets')).rejects.toMatchObject({ code: '42501' });
          await expect(client.query('DELETE FROM people WHERE id = $1', [1])).rejects.toMatchObject({ code: '42501' });
          expect((await client.query(rows)).rows).toEqual(MASKED_ROWS);
        } finally {
          await client.end();
        }
      });
    });

    for (const [name, file] of [
      ['psycopg3', 'checks_psycopg3.py'],
      ['psycopg2', 'checks_psycopg2.py'],
    ] as const) {
      describeWith([python], name, () => {
        test('does what it does directly', { timeout: 120_000 }, async () => {
          await sameEverywhere(await pythonProgram(file));
        });

        test('sees masked columns masked, and lives on after a denial', { timeout: 120_000 }, async () => {
          const results = await (await pythonProgram('masked.py'))(ground.masked, [name]);
          const denied = ['InsufficientPrivilege', '42501'];
          expect(results).toEqual({
            text: MASKED_ROWS,
            denials: [denied, denied, denied, denied],
            usable: [500],
            'denied in a transaction': '42501',
            'after it': '25P02',
            'after rollback': [1],
            ...(name === 'psycopg2'
              ? {}
              : {
                  binary: MASKED_ROWS,
                  copy: '1\tname 1\n2\tname 2\n',
                  prepared: [MASKED_ROWS, MASKED_ROWS],
                }),
          });
        });
      });
    }

    describeWith([go], 'pgx', () => {
      let binary: string;
      // The first build compiles the standard library.
      beforeAll(async () => {
        binary = await pgxChecks();
      }, 300_000);

      test('does what it does directly', { timeout: 120_000 }, async () => {
        await sameEverywhere(async (access) => {
          const { stdout } = await run(binary, [], { env: environmentOf(access), maxBuffer: 1 << 26 });
          return JSON.parse(stdout) as Record<string, unknown>;
        });
      });
    });
  });
}
