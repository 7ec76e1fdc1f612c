import { describe, expect, it } from 'vitest';
import type { Resources } from '../api/resources.ts';
import { compile } from './compile.ts';
import { allow, compiled, connection, deny, GUARDRAILS, guardrail, hold, mask, policy } from './testing/build.ts';

const codes = (resources: Partial<Resources>): string[] => compiled(resources).problems.map((problem) => problem.code);
const reads = policy('reads', [allow('read', ['Read'], ['public.*'])]);

describe('connections', () => {
  it('come with every default filled in', () => {
    const { bundle } = compiled({
      connections: [connection('orders', { limits: { maxSessionDuration: '8h', maxRowsReturned: 5 } })],
    });
    expect(bundle.connection('shop', 'orders')).toEqual({
      namespace: 'shop',
      name: 'orders',
      uid: '',
      labels: {},
      protocol: 'Postgres',
      mode: 'Enforce',
      maxPolicyStalenessMs: 300_000,
      target: { host: 'orders-db', port: 5432, database: 'orders', tls: { mode: 'VerifyFull' }, hostKeys: [] },
      ssh: { authorizedKeys: [], trustedUserCAs: [], maxConnectionsPerSubject: 64 },
      http: { maxBodyBytes: 1_048_576, cookies: 'Remove', responseTimeoutMs: 60_000, mcpPaths: [] },
      credential: { secretRef: { name: 'db' } },
      limits: { maxSessionDurationMs: 28_800_000, maxRowsReturned: 5 },
      audit: { level: 'Full', maxResponseBytes: 65_536, retentionDays: 400 },
    });
    expect(bundle.connection('shop', 'none')).toBeUndefined();
  });

  it('of one target are listed oldest first', () => {
    const target = { host: 'h', port: 1, database: 'd' };
    const young = connection('a', { target });
    young.metadata.creationTimestamp = '2026-02-01T00:00:00Z';
    const old = connection('b', { target });
    old.metadata.creationTimestamp = '2026-01-01T00:00:00Z';
    const { bundle, problems } = compiled({ connections: [young, old] });
    expect(bundle.connections.map(({ name }) => name)).toEqual(['b', 'a']);
    expect(problems).toMatchObject([{ code: 'SPP008', object: { name: 'a' }, path: ['spec', 'target'] }]);
    expect(problems[0]?.message).toContain('shop/b');
  });
});

describe('the hash', () => {
  const hash = (resources: Partial<Resources>): string => compiled(resources).bundle.hash;
  const other = policy('other', [
    deny('a', { sql: { statements: ['Insert', 'Delete'] } }),
    allow('b', ['Select'], ['a.b', 'c.d']),
  ]);
  const shuffled = policy('other', [
    allow('b', ['Select'], ['c.d', 'a.b']),
    deny('a', { sql: { statements: ['Delete', 'Insert'] } }),
  ]);

  it('does not depend on any order', () => {
    expect(hash({ policies: [reads, other] })).toBe(hash({ policies: [shuffled, reads] }));
    expect(hash({})).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  it('changes with everything that a decision may look at', () => {
    const all = [
      hash({}),
      hash({ policies: [reads] }),
      hash({ policies: [policy('reads', [allow('read', ['Read'], ['public.*'], { message: 'x' })])] }),
      hash({ policies: [guardrail('reads', [allow('read', ['Read'], ['public.*'])])] }),
      hash({ connections: [connection('orders', {}, { a: 'b' })] }),
      hash({ maskingRules: [mask('m', { columns: [{ match: ['*.*.a'] }] })] }),
      compile({ connections: [connection()], policies: [], maskingRules: [] }, { guardrailNamespace: 'x' }).bundle.hash,
    ];
    expect(new Set(all).size).toBe(all.length);
  });
});

describe('problems', () => {
  it('none in good policies', () => {
    expect(
      compiled({ policies: [reads, guardrail('g', [deny('d', { kubernetes: { verbs: ['delete'] } })])] }).problems,
    ).toEqual([]);
  });

  it('say where they are and what to write instead', () => {
    const { problems } = compiled({
      policies: [policy('p', [allow('r', ['Read'], ['*.*'])], { connections: { names: ['orders', 'odrers'] } })],
    });
    expect(problems).toEqual([
      {
        code: 'SPP001',
        severity: 'warning',
        object: { kind: 'AccessPolicy', namespace: 'shop', name: 'p' },
        path: ['spec', 'connections', 'names', 1],
        message: 'names the AccessConnection odrers, which does not exist in namespace shop',
        fix: 'correct the name, or create the connection',
      },
    ]);
  });

  it.each<[string, string, Partial<Resources>]>([
    [
      'SPP001',
      'a masking rule for a connection that is not there',
      { maskingRules: [mask('m', { connections: { names: ['x'] }, columns: [{ match: ['*.*.a'] }] })] },
    ],
    [
      'SPP002',
      'a selector that selects nothing',
      { policies: [policy('p', reads.spec.rules, { connections: { selector: { matchLabels: { a: 'b' } } } })] },
    ],
    ['SPP002', 'all of nothing', { connections: [], policies: [reads] }],
    [
      'SPP003',
      'exceptions that leave nobody',
      {
        policies: [
          policy('p', reads.spec.rules, {
            subjects: [{ serviceAccount: { name: 'a' } }, { group: 'x:y' }],
            exceptSubjects: [{ group: 'x:y' }, { serviceAccount: { namespace: 'shop', name: '*' } }],
          }),
        ],
      },
    ],
    ['SPP004', 'a rule of another protocol', { policies: [policy('p', [deny('h', { http: { methods: ['GET'] } })])] }],
    ['SPP004', 'a condition that is always false', { policies: [policy('p', [deny('h', { when: '1 > 2' })])] }],
    [
      'SPP004',
      'a condition that always fails',
      { policies: [policy('p', [allow('h', ['Read'], ['*.*'], { when: '1 / 0 > 2' })])] },
    ],
    [
      'SPP004',
      'relations of what has none',
      { policies: [policy('p', [deny('h', { sql: { statements: ['DropDatabase', 'Set'], relations: ['a.*'] } })])] },
    ],
    [
      'SPP005',
      'approval of what nothing allows',
      { policies: [reads, policy('h', [hold('h', { sql: { statements: ['Delete'] } })])] },
    ],
    [
      'SPP005',
      'approval of other relations',
      { policies: [reads, policy('h', [hold('h', { sql: { relations: ['audit.*'] } })])] },
    ],
    ['SPP006', 'an Allow in the guardrail namespace', { policies: [guardrail('g', reads.spec.rules)] }],
    [
      'SPP007',
      'names in the guardrail namespace',
      { policies: [guardrail('g', [deny('d')], { connections: { names: ['orders'] } })] },
    ],
    ['SPP009', 'a condition that does not compile', { policies: [policy('p', [deny('d', { when: 'nwo > 1' })])] }],
    [
      'SPP011',
      'a content pattern that does not compile',
      { maskingRules: [mask('m', { content: [{ pattern: '(?=a)' }] })] },
    ],
    ['SPP012', 'an object that is there twice', { policies: [reads, reads] }],
  ])('%s: %s', (code, _, resources) => {
    expect(codes(resources)).toEqual([code]);
  });

  it('of approvals meet relations through patterns and functions', () => {
    for (const sql of [
      { relations: ['*.orders'] },
      { functions: ['pg_catalog.pg_sleep'] },
      { statements: ['Select' as const] },
    ]) {
      expect(codes({ policies: [reads, policy('h', [hold('h', { sql })])] })).toEqual([]);
    }
    expect(codes({ policies: [reads, policy('h', [hold('h')])] })).toEqual([]);
  });

  it('point at the condition', () => {
    const { problems } = compiled({
      policies: [policy('p', [allow('a', ['Read'], ['*.*']), deny('d', { when: 'nwo > 1' })])],
    });
    expect(problems[0]).toMatchObject({ severity: 'error', path: ['spec', 'rules', 1, 'when'] });
    expect(problems[0]?.message).toContain('"nwo" is not known');
    expect(problems[0]?.fix).toContain('matches whatever');
  });

  it('tell when the bundle grows too large, at its largest object', () => {
    const options = { guardrailNamespace: GUARDRAILS, maxBytes: 500 };
    const big = policy('big', [
      allow(
        'r',
        ['Read'],
        Array.from({ length: 50 }, (_, index) => `public.t${index}`),
      ),
    ]);
    const { problems, bundle } = compile(
      { connections: [connection()], policies: [reads, big], maskingRules: [] },
      options,
    );
    expect(problems).toMatchObject([{ code: 'SPP010', object: { name: 'big' } }]);
    expect(bundle.connections).toHaveLength(1);
  });

  it('come in the same order, whatever the order of the objects', () => {
    const objects = [
      policy('a', [deny('d', { when: '!' })]),
      policy('b', [deny('d', { when: '!' }), deny('c', { when: '1 > 2' })]),
    ];
    expect(compiled({ policies: objects }).problems).toEqual(compiled({ policies: [...objects].reverse() }).problems);
  });
});
