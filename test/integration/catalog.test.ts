import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createCatalogCache } from '../../proxy/protocols/postgres/catalog/cache.ts';
import { catalogFingerprint } from '../../proxy/protocols/postgres/catalog/fingerprint.ts';
import { createCatalog } from '../../proxy/protocols/postgres/catalog/index.ts';
import { readCatalog } from '../../proxy/protocols/postgres/catalog/snapshot.ts';
import { type Postgres, startPostgres } from '../support/postgres.ts';
import { describeWith, postgresServer } from '../support/requires.ts';
import { SCHEMA, textQuery } from './guard-ground.ts';

/** DDL that changes what a name means, each of which a poll has to see. */
const CHANGES = [
  'CREATE TABLE fresh (a int)',
  'ALTER TABLE fresh ADD b text',
  'ALTER TABLE fresh RENAME b TO c',
  'ALTER TABLE fresh DROP a',
  'ALTER TABLE fresh RENAME TO fresher',
  'ALTER TABLE fresher SET SCHEMA other',
  'DROP TABLE other.fresher',
  'CREATE VIEW window_on AS SELECT id FROM orders',
  'CREATE OR REPLACE VIEW window_on AS SELECT id, note FROM orders',
  'DROP VIEW window_on',
  'CREATE SCHEMA extra',
  'ALTER SCHEMA extra RENAME TO extra2',
  "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1'",
  'ALTER FUNCTION f(int) VOLATILE',
  'CREATE OPERATOR ### (leftarg = text, rightarg = text, function = texteq)',
  'CREATE TABLE child () INHERITS (base)',
  'ALTER TABLE child NO INHERIT base',
];

for (const version of [15, 17, 18] as const) {
  describeWith([postgresServer(version)], `the catalog of PostgreSQL ${version}`, () => {
    let server: Postgres & AsyncDisposable;
    let client: pg.Client;
    let control: pg.Client;

    beforeAll(async () => {
      server = await startPostgres({ version });
      client = await server.connect();
      control = await server.connect();
      await client.query(SCHEMA);
    });

    afterAll(async () => {
      await client.end();
      await control.end();
      await server[Symbol.asyncDispose]();
    });

    test('is read whole: relations, columns, inheritance, definitions, functions', async () => {
      const catalog = createCatalog(await readCatalog(textQuery(control)), 1);
      expect(Math.floor(catalog.serverVersion / 10_000)).toBe(version);
      expect(catalog.defaultSearchPath).toBe('"$user", public');
      expect(catalog.role).toBe('postgres');
      expect(catalog.hasSchema('other')).toBe(true);
      expect(catalog.hasSchema('nowhere')).toBe(false);
      const customers = catalog.relation('public', 'customers');
      expect(customers?.columns.map((column) => column.name)).toEqual([
        'id',
        'name',
        'ssn',
        'email',
        'card',
        'region',
        'tags',
      ]);
      expect(customers?.columns[1]).toMatchObject({ attnum: 2, typeOid: 25 });
      const base = catalog.relation('public', 'base');
      expect(catalog.relation('public', 'derived')?.parents).toEqual([base?.oid]);
      const contacts = catalog.relation('public', 'contacts');
      expect(contacts?.dependsOn).toEqual([customers?.oid]);
      expect(contacts?.definition).toMatch(/FROM public\.customers/);
      expect(catalog.relation('public', 'kept')?.kind).toBe('m');
      expect(catalog.relation('public', 'customers_pkey')?.kind).toBe('i');
      expect(catalog.functions('public', 'all_customers')[0]).toMatchObject({
        language: 'sql',
        volatility: 's',
        securityDefiner: false,
        result: { type: 'row', relation: customers?.oid },
      });
      expect(catalog.functions('public', 'pairs')[0]?.result).toEqual({ type: 'columns', names: ['a', 'b'] });
      expect(catalog.functions('pg_catalog', 'lower')[0]?.result).toEqual({ type: 'scalar' });
      expect(catalog.functions('pg_catalog', 'jsonb_array_elements')[0]?.result).toEqual({
        type: 'columns',
        names: ['value'],
      });
      expect(catalog.relation('pg_catalog', 'pg_class')?.columns[0]?.name).toBe('oid');
      expect(catalog.relation('information_schema', 'columns')?.kind).toBe('v');
    });

    test('tells whether functions of users may set what names mean', async () => {
      const moves = async (definition: string): Promise<boolean> => {
        await client.query(`CREATE FUNCTION mover() RETURNS text ${definition}`);
        const { movesNames } = await readCatalog(textQuery(control));
        await client.query('DROP FUNCTION mover()');
        return movesNames;
      };
      expect((await readCatalog(textQuery(control))).movesNames).toBe(false);
      for (const definition of [
        `LANGUAGE sql AS $$SELECT set_config('search_path', 'a', false)$$`,
        `LANGUAGE sql RETURN set_config('x.' || 'y', 'a', false)`,
        `LANGUAGE plpgsql AS $$BEGIN SET LOCAL ROLE postgres; RETURN ''; END$$`,
        `LANGUAGE plpgsql AS $$BEGIN SET SCHEMA 'a'; RETURN ''; END$$`,
        `LANGUAGE plpgsql AS $$DECLARE n text := 'a'; BEGIN RETURN set_config( n, 'a', false); END$$`,
      ])
        expect(await moves(definition), definition).toBe(true);
      for (const definition of [
        `LANGUAGE sql SET search_path = public AS $$SELECT 'a'$$`,
        `LANGUAGE sql AS $$SELECT set_config('app.tenant', 'a', false)$$`,
        `LANGUAGE plpgsql AS $$BEGIN SET session_replication_role = replica; RETURN ''; END$$`,
        `LANGUAGE sql RETURN upper('a')`,
      ])
        expect(await moves(definition), definition).toBe(false);
    });

    test('has a fingerprint that moves with each change, and not otherwise', async () => {
      const query = textQuery(control);
      let before = await catalogFingerprint(query);
      await client.query("INSERT INTO orders VALUES (1000, 1, 1, 'n', 's')");
      await client.query('CREATE TEMP TABLE passing (a int)');
      await client.query('DROP TABLE passing');
      expect(await catalogFingerprint(query)).toBe(before);
      for (const change of CHANGES) {
        await client.query(change);
        const after = await catalogFingerprint(query);
        expect(after, change).not.toBe(before);
        before = after;
      }
    });

    test('is read without waiting for a transaction that changes a view or its table', async () => {
      await client.query('BEGIN');
      await client.query('ALTER TABLE orders ADD held int');
      await client.query('DROP VIEW plain');
      const held = await readCatalog(textQuery(control));
      expect(held.complete).toBe(false);
      const find = (name: string) =>
        held.relations.find((relation) => relation.schema === 'public' && relation.name === name);
      expect(find('plain')?.definition).toBeUndefined();
      expect(find('contacts2')?.definition).toBeUndefined();
      expect(find('contacts')?.definition).toMatch(/SELECT/);
      await client.query('ROLLBACK');
      expect((await readCatalog(textQuery(control))).complete).toBe(true);
    });

    test('a cache keeps the snapshot while nothing changes, and counts generations', async () => {
      const cache = createCatalogCache(textQuery(control));
      expect(cache.current()).toBeUndefined();
      const first = await cache.refresh();
      expect(cache.current()).toBe(first);
      expect(await cache.refresh()).toBe(first);
      cache.invalidate();
      expect(cache.current()).toBeUndefined();
      expect(await cache.refresh()).toBe(first);
      await client.query('CREATE TABLE counted (a int)');
      const [second, third] = await Promise.all([cache.refresh(), cache.refresh()]);
      expect(second.generation).toBe(first.generation + 1);
      expect(third).toBe(second);
      expect(second.relation('public', 'counted')).toBeDefined();
    });
  });
}
