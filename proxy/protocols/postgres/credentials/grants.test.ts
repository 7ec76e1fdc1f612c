import { describe, expect, test } from 'vitest';
import type { Rights } from '../../../../policy/rights.ts';
import { allow, connection, policy, scopeOf } from '../../../../policy/testing/build.ts';
import { type Grantable, grantableOf, planGrants } from './grants.ts';
import { loginName, parseRightsTag, parseTag, quoteName, quoteText, rightsName, rightsTag, tagText } from './names.ts';

const rights = (...rules: Parameters<typeof policy>[1]): Rights =>
  scopeOf({ connections: [connection()], policies: [policy('p', rules)] }).rights;
const READ = rights(allow('r', ['Read'], ['public.*']));
const WRITE = rights(allow('w', ['Read', 'Write', 'Truncate', 'Vacuum', 'CreateTable', 'CreateSchema'], ['public.*']));

function item(type: Grantable['type'], name: string, more: Partial<Grantable> = {}): Grantable {
  const schema = type === 'SCHEMA' ? name : type === 'DATABASE' ? '' : 'public';
  return {
    type,
    target: `"${name}"`,
    schema,
    name,
    reachable: true,
    managed: true,
    passable: new Set(),
    own: false,
    held: new Set(),
    open: new Set(),
    ...more,
  };
}

describe('from rights to GRANT and REVOKE', () => {
  test('reading gets SELECT and USAGE, and nothing is left of what was more', () => {
    const items = [
      item('TABLE', 'orders', { held: new Set(['SELECT', 'INSERT']) }),
      item('TABLE', 'new'),
      item('SEQUENCE', 'ids', { ownedBy: { schema: 'public', name: 'orders' }, held: new Set(['USAGE']) }),
      item('SCHEMA', 'public'),
      item('SCHEMA', 'hidden', { held: new Set(['USAGE']) }),
      item('DATABASE', 'app', { open: new Set(['CONNECT']) }),
    ];
    expect(planGrants('g', READ, 150_000, items)).toEqual({
      grants: [
        'GRANT SELECT ON TABLE "new" TO "g"',
        'GRANT SELECT ON SEQUENCE "ids" TO "g"',
        'GRANT USAGE ON SCHEMA "public" TO "g"',
      ],
      revokes: [
        'REVOKE INSERT ON TABLE "orders" FROM "g"',
        'REVOKE USAGE ON SEQUENCE "ids" FROM "g"',
        'REVOKE USAGE ON SCHEMA "hidden" FROM "g"',
      ],
      refused: [],
      stuck: [],
    });
  });

  test('writing also draws from the sequences of its tables; MAINTAIN where the server knows it', () => {
    const items = [
      item('TABLE', 'orders'),
      item('SEQUENCE', 'ids', { schema: 'other', ownedBy: { schema: 'public', name: 'orders' } }),
      item('SCHEMA', 'public'),
      item('DATABASE', 'app'),
    ];
    const { grants } = planGrants('g', WRITE, 170_000, items);
    expect(grants).toEqual([
      'GRANT DELETE, INSERT, MAINTAIN, SELECT, TRUNCATE, UPDATE ON TABLE "orders" TO "g"',
      'GRANT USAGE ON SEQUENCE "ids" TO "g"',
      'GRANT CREATE, USAGE ON SCHEMA "public" TO "g"',
      'GRANT CONNECT, CREATE ON DATABASE "app" TO "g"',
    ]);
    expect(planGrants('g', WRITE, 160_000, items).grants[0]).not.toContain('MAINTAIN');
  });

  test('what the admin role cannot give is said; what it cannot take, where it counts, is stuck', () => {
    const foreign = { managed: false, passable: new Set<string>() };
    expect(planGrants('g', READ, 150_000, [item('TABLE', 'theirs', foreign)]).refused).toEqual([
      'SELECT on public.theirs',
    ]);
    expect(
      planGrants('g', READ, 150_000, [item('TABLE', 'passed', { ...foreign, passable: new Set(['SELECT']) })]).refused,
    ).toEqual([]);
    const away = item('TABLE', 'away', { schema: 'closed', reachable: false, held: new Set(['SELECT']) });
    expect(planGrants('g', READ, 150_000, [away, item('SCHEMA', 'closed')])).toMatchObject({ revokes: [], stuck: [] });
    const used = planGrants('g', READ, 150_000, [away, item('SCHEMA', 'closed', { held: new Set(['USAGE']) })]);
    expect(used.stuck).toEqual(['SELECT on closed.away']);
  });

  test('what the role owns is left alone, and thousands of tables are cut into statements', () => {
    expect(
      planGrants('g', READ, 150_000, [item('TABLE', 'mine', { own: true, held: new Set(['INSERT']) })]),
    ).toMatchObject({ grants: [], revokes: [] });
    const many = Array.from({ length: 450 }, (_, n) => item('TABLE', `t${n}`));
    expect(planGrants('g', READ, 150_000, many).grants).toHaveLength(3);
  });

  test('rows of the query', () => {
    const row = ['SEQUENCE', 'public', 'a"b', '', 'public', 'orders', 't', 'f', 'USAGE', '', 'SELECT,USAGE', 't'];
    expect(grantableOf([row, ['', '1']])).toEqual([
      item('SEQUENCE', 'a"b', {
        target: '"public"."a""b"',
        ownedBy: { schema: 'public', name: 'orders' },
        held: new Set(['USAGE']),
        passable: new Set(['SELECT', 'USAGE']),
      }),
    ]);
  });
});

describe('names and tags', () => {
  const tag = {
    installation: 'i',
    connection: 'shop/db',
    owner: { pid: 7, process: 'p', boot: 'b', started: '1' },
    session: 's',
    expires: '2026-01-01T00:00:00.000Z',
  };

  test("a tag is known again; anything else is nobody's", () => {
    expect(parseTag(tagText(tag))).toEqual(tag);
    for (const comment of [
      '',
      'a role',
      'sallyport ',
      'sallyport {',
      'sallyport null',
      'sallyport {"installation":"i"}',
      tagText({ ...tag, expires: 'never' }),
    ])
      expect(parseTag(comment)).toBeUndefined();
    expect(parseRightsTag(rightsTag('i', 'shop/db'))).toEqual({ installation: 'i', connection: 'shop/db' });
    expect(parseRightsTag('something')).toBeUndefined();
  });

  test('quoting, and names that fit', () => {
    expect(quoteName('a"; DROP')).toBe('"a""; DROP"');
    expect(quoteText("it's")).toBe("'it''s'");
    expect(new Set(Array.from({ length: 100 }, loginName)).size).toBe(100);
    for (const name of [loginName(), rightsName('i', 'c', 'd', 'k')])
      expect(Buffer.byteLength(name)).toBeLessThanOrEqual(63);
    expect(rightsName('i', 'c', 'd', 'k')).not.toBe(rightsName('i', 'c', 'd', 'other'));
  });
});
