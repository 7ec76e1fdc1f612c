import { execFile } from 'node:child_process';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { environment, NO_MASKS, show } from '../../proxy/protocols/postgres/sql/analyse.fixture.ts';
import { analyse } from '../../proxy/protocols/postgres/sql/analyse.ts';
import type { Analysis } from '../../proxy/protocols/postgres/sql/types.ts';
import { type Postgres, startPostgres } from '../support/postgres.ts';
import { describeWith, postgresServer, program } from '../support/requires.ts';
import { clientProgram } from '../support/server-binaries.ts';

const run = promisify(execFile);

/** psql's commands that describe the database. */
const DESCRIBE =
  '\\d,\\d a,\\d+ a,\\d v,\\dt+,\\di+,\\ds,\\dv+,\\df,\\df+,\\dn+,\\du,\\dx,\\dT+,\\dp,\\ddp,\\dD,\\do,\\dc,\\dC,\\db+,\\dF,\\dFd,\\dL,\\dew,\\des,\\det,\\drds,\\dRp,\\dX,\\dy,\\sf f,\\sv v'.split(
    ',',
  );

describeWith(
  [postgresServer(15), program('psql', 'postgresql-client'), program('pg_dump', 'postgresql-client')],
  'what stock tools send',
  () => {
    let server: Postgres & AsyncDisposable;
    let env: NodeJS.ProcessEnv;

    beforeAll(async () => {
      server = await startPostgres({
        version: 15,
        settings: { log_statement: 'all', log_line_prefix: '@@%p ' },
      });
      env = {
        ...process.env,
        PGHOST: server.host,
        PGPORT: String(server.port),
        PGDATABASE: 'postgres',
        PGPASSWORD: server.password,
        PGUSER: server.user,
      };
      await run(
        clientProgram('psql'),
        [
          '-qc',
          `CREATE ROLE agent LOGIN PASSWORD 'agent'; CREATE SCHEMA audit; CREATE TABLE a (id serial PRIMARY KEY, b text DEFAULT 'x');
         CREATE TABLE audit.l (id int REFERENCES a (id)); CREATE VIEW v AS SELECT * FROM a; CREATE TYPE e AS ENUM ('a');
         CREATE FUNCTION f (int) RETURNS int LANGUAGE sql AS 'SELECT 1'; GRANT USAGE ON SCHEMA audit TO agent;
         GRANT SELECT ON a, a_id_seq, v, audit.l TO agent`,
        ],
        { env },
      );
      env = { ...env, PGUSER: 'agent', PGPASSWORD: 'agent' };
    });
    afterAll(() => server?.[Symbol.asyncDispose]());

    /** The statements that one program sent, as the server logged them, up to a marker that is sent behind it. */
    async function sent(marker: string, send: () => Promise<unknown>): Promise<readonly string[]> {
      const from = server.log().length;
      await send();
      await run(clientProgram('psql'), ['-qAtc', `SELECT '${marker}'`], { env });
      // The server's standard error arrives by itself: let the event loop turn until it has.
      const signal = AbortSignal.timeout(30_000);
      while (!server.log().includes(`SELECT '${marker}'`, from)) await setImmediate(undefined, { signal });
      return server
        .log()
        .slice(from)
        .split(/^@@\d+ /m)
        .flatMap((entry) => {
          const match = /^LOG: {2}(?:statement|execute [^:]*): ([\s\S]*)$/.exec(entry);
          return match?.[1] === undefined ? [] : [match[1].replaceAll('\n\t', '\n')];
        });
    }

    /** What of all this a policy would have to allow. */
    function needs(statements: readonly string[]): readonly string[] {
      const prepared = new Map<string, Analysis>();
      const found = new Set<string>();
      for (const sql of statements) {
        const analysis = analyse(sql, environment({ prepared: (name) => prepared.get(name) }), NO_MASKS, undefined);
        expect(analysis.parseError, sql).toBeUndefined();
        expect(analysis.refusal, sql).toBeUndefined();
        for (const statement of analysis.statements) {
          for (const effect of statement.effects)
            if (effect.type === 'prepare') prepared.set(effect.name, effect.inner);
        }
        for (const tuple of analysis.command.tuples) {
          if (tuple.type === 'relation' && tuple.harmlessCatalog === true) continue;
          if (tuple.type === 'kind' && tuple.harmless === true) continue;
          if (tuple.type === 'function' && (tuple.judgement === 'safe' || tuple.judgement === 'volatile')) continue;
          found.add(show({ ...tuple, statement: 0 }));
        }
      }
      return [...found].sort();
    }

    test('psql describes everything with no more than a right to read', async () => {
      const statements = await sent('end of psql', () =>
        run(
          clientProgram('psql'),
          DESCRIBE.flatMap((command) => ['-c', command]),
          { env },
        ),
      );
      expect(statements.length).toBeGreaterThan(40);
      expect(needs(statements)).toEqual(['Select']);
    });

    test('pg_dump needs Read, CopyTo and Lock on what it dumps', async () => {
      const statements = await sent('end of pg_dump', () =>
        run(clientProgram('pg_dump'), ['-n', 'audit', '-n', 'public', 'postgres'], { env }),
      );
      expect(statements.length).toBeGreaterThan(40);
      expect(needs(statements)).toEqual([
        'CopyTo audit.l',
        'CopyTo public.a',
        'Lock audit.l',
        'Lock public.a',
        'Select',
        'Select public.a_id_seq',
      ]);
    });
  },
);
