import type pg from 'pg';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { createCatalog } from '../../proxy/protocols/postgres/catalog/index.ts';
import { readCatalog } from '../../proxy/protocols/postgres/catalog/snapshot.ts';
import { child } from '../../proxy/protocols/postgres/sql/ast.ts';
import { guard } from '../../proxy/protocols/postgres/sql/guard.ts';
import { parse } from '../../proxy/protocols/postgres/sql/parse.ts';
import { protect } from '../../proxy/protocols/postgres/sql/protection.ts';
import { type Postgres, startPostgres } from '../support/postgres.ts';
import { describeWith, postgresServer } from '../support/requires.ts';
import { ATTACKS, BENIGN } from './guard-attacks.ts';
import { CANARY, masks, SCHEMA, textQuery } from './guard-ground.ts';

test('there are at least 150 attacks and 30 benign statements', () => {
  expect(ATTACKS.length).toBeGreaterThanOrEqual(150);
  expect(BENIGN.length).toBeGreaterThanOrEqual(30);
});

for (const version of [15, 18] as const) {
  describeWith([postgresServer(version)], `masking on the tree and by origin, on PostgreSQL ${version}`, () => {
    let server: Postgres & AsyncDisposable;
    let databases = 0;
    let name = '';

    beforeAll(async () => {
      server = await startPostgres({ version });
      await server.sql('CREATE DATABASE model');
      const client = await server.connect({ database: 'model' });
      await client.query(SCHEMA);
      await client.end();
      return () => server[Symbol.asyncDispose]();
    });

    beforeEach(async () => {
      name = `attack${databases++}`;
      await server.sql(`CREATE DATABASE ${name} TEMPLATE model`);
    });

    afterEach(async () => {
      await server.sql(`DROP DATABASE ${name} WITH (FORCE)`);
    });

    /** One statement through layer A, the server, and masking by origin. Throws when a canary comes out. */
    async function send(sql: string, client: pg.Client, control: pg.Client): Promise<'refused' | 'ran' | 'failed'> {
      const content = await readCatalog(textQuery(control));
      const catalog = createCatalog(content, 1);
      const protection = protect(catalog, masks);
      const parsed = parse(sql);
      if (!parsed.ok) throw new Error(`${sql}: ${parsed.message}`);
      const names = async (text: string): Promise<string[]> => {
        // In a failed transaction nothing has names.
        const { rows } = await client.query<[string]>({ text, rowMode: 'array' });
        return rows.map((row) => row[0]);
      };
      const environment = {
        searchPath: await names('SELECT unnest(current_schemas(false))'),
        temporary: new Set(await names('SELECT relname::text FROM pg_class WHERE relnamespace = pg_my_temp_schema()')),
        role: content.role,
        catalog,
        prepared: () => undefined,
      };
      const verdicts = parsed.statements.map((statement) =>
        guard(child(statement, 'stmt') ?? {}, 'Select', environment, masks, protection),
      );
      if (verdicts.some((verdict) => verdict.refusal !== undefined)) return 'refused';
      if (/^COPY .* TO STDOUT$/i.test(sql)) return 'ran';
      await client.query('SAVEPOINT before').catch((error: unknown) => {
        expect(error).toMatchObject({ code: '25P01' });
      });
      let result: pg.QueryArrayResult<unknown[]>;
      try {
        result = await client.query<unknown[]>({ text: sql, rowMode: 'array' });
      } catch (error) {
        const shown = verdicts.some((verdict) => verdict.touchesProtected) ? '' : JSON.stringify(error);
        expect(shown, sql).not.toMatch(new RegExp(CANARY, 'i'));
        await client.query('ROLLBACK TO before').catch((second: unknown) => {
          expect(second).toMatchObject({ code: '25P01' });
        });
        return 'failed';
      }
      const masked = result.fields.map(({ tableID, columnID }) => protection.columns(tableID)?.has(columnID) === true);
      const outputs = verdicts.at(-1)?.outputs;
      if (outputs !== undefined)
        expect(
          outputs.map((column) => column !== null),
          sql,
        ).toEqual(masked);
      for (const row of result.rows) {
        row.forEach((value, index) => {
          if (masked[index] !== true) expect(JSON.stringify(value) ?? '', sql).not.toMatch(new RegExp(CANARY, 'i'));
        });
      }
      return 'ran';
    }

    async function session(statements: readonly string[]): Promise<string[]> {
      const client = await server.connect({ database: name });
      const control = await server.connect({ database: name });
      try {
        const outcomes: string[] = [];
        for (const sql of statements) outcomes.push(await send(sql, client, control));
        return outcomes;
      } finally {
        await client.end();
        await control.end();
      }
    }

    // Of those that run on, everything that comes back is masked or clean: `send` has looked at each value.
    test.each(ATTACKS.map((statements) => [statements.join('; '), statements] as const))(
      '%s',
      async (_, statements) => {
        const outcomes = await session(statements);
        expect(outcomes).toHaveLength(statements.length);
      },
    );

    test('at most a third of the benign statements is refused, and the others run', async () => {
      const outcomes = await Promise.all([session(BENIGN)]);
      const refused = BENIGN.filter((_, index) => outcomes[0]?.[index] === 'refused');
      expect(BENIGN.filter((_, index) => outcomes[0]?.[index] === 'failed')).toEqual([]);
      expect(refused.length, refused.join('\n')).toBeLessThanOrEqual(BENIGN.length / 3);
    });
  });
}
