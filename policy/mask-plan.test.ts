import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileMask, planMasks, stricter } from './mask-plan.ts';
import type { Transform } from './masking.ts';
import { agent, mask, scopeOf } from './testing/build.ts';

const plan = (...masks: ReturnType<typeof mask>[]) => planMasks(masks.map(compileMask));

describe('columns', () => {
  it('are redacted when the rule says no more', () => {
    const { column, empty, hasColumns } = plan(mask('pii', { columns: [{ match: ['*.*.email', 'public.c*.ssn'] }] }));
    expect({ empty, hasColumns }).toEqual({ empty: false, hasColumns: true });
    const redacted = { transform: { type: 'redact', with: '***' }, allowEquality: false, rules: ['shop/pii'] };
    expect(column('audit', 'people', 'email')).toEqual(redacted);
    expect(column('public', 'customers', 'ssn')).toEqual(redacted);
    expect(column('public', 'orders', 'ssn')).toBeUndefined();
    expect(column('public', 'customers', 'Email')).toBeUndefined();
  });

  it('give the same answer again', () => {
    const { column } = plan(mask('pii', { columns: [{ match: ['*.*.email'] }] }));
    expect(column('a', 'b', 'email')).toBe(column('a', 'b', 'email'));
    for (let index = 0; index < 25_000; index++) column('a', `t${index}`, 'email');
    expect(column('a', 'b', 'email')?.rules).toEqual(['shop/pii']);
    // Names must not run together in the memory.
    expect(column('a', 'b.email', 'x')).toBeUndefined();
  });

  it('take the stricter of two, and equality only when all allow it', () => {
    const tokenized = mask('a', {
      columns: [{ match: ['*.*.email'], transform: { tokenize: {} }, allowEquality: true }],
    });
    const partial = mask('b', {
      columns: [{ match: ['public.*.email'], transform: { partial: { keepLast: 4 } }, allowEquality: true }],
    });
    const plain = mask('c', { columns: [{ match: ['public.users.*'] }] });
    expect(plan(tokenized, partial).column('public', 'x', 'email')).toEqual({
      transform: { type: 'tokenize' },
      allowEquality: true,
      rules: ['shop/a', 'shop/b'],
    });
    expect(plan(partial, plain, tokenized).column('public', 'users', 'email')).toMatchObject({
      transform: { type: 'redact' },
      allowEquality: false,
      rules: ['shop/a', 'shop/b', 'shop/c'],
    });
  });

  it('name the key of a token in the namespace of the rule', () => {
    const keyed = mask(
      'k',
      { columns: [{ match: ['*.*.a'], transform: { tokenize: { keySecretRef: { name: 'tokens' } } } }] },
      'ops',
    );
    const { column, transforms } = plan(keyed);
    const transform = { type: 'tokenize', keyRef: { namespace: 'ops', name: 'tokens', key: 'key' } };
    expect(column('x', 'y', 'a')?.transform).toEqual(transform);
    expect(transforms).toEqual([transform]);
  });
});

describe('strictness', () => {
  const transform: fc.Arbitrary<Transform> = fc.oneof(
    fc.constant<Transform>({ type: 'nullify' }),
    fc.constantFrom('***', 'x').map((text): Transform => ({ type: 'redact', with: text })),
    fc
      .constantFrom('a', 'b')
      .map((name): Transform => ({ type: 'tokenize', keyRef: { namespace: 'n', name, key: 'k' } })),
    fc.record({ type: fc.constant('partial' as const), keepFirst: fc.nat(3), keepLast: fc.nat(3) }),
  );

  it('does not depend on order or grouping', () => {
    fc.assert(
      fc.property(transform, transform, transform, (a, b, c) => {
        expect(stricter(a, b)).toEqual(stricter(b, a));
        expect(stricter(stricter(a, b), c)).toEqual(stricter(a, stricter(b, c)));
        expect(stricter(a, a)).toEqual(a);
      }),
    );
  });

  it('keeps of two partial masks only what both keep', () => {
    expect(
      stricter({ type: 'partial', keepFirst: 4, keepLast: 0 }, { type: 'partial', keepFirst: 2, keepLast: 4 }),
    ).toEqual({
      type: 'partial',
      keepFirst: 2,
      keepLast: 0,
    });
  });
});

describe('fields and contents', () => {
  it('become one entry for each pattern and detector, in an order of their own', () => {
    const first = mask('a', { fields: [{ match: ['**.ssn', 'a.b'], transform: { nullify: {} } }] });
    const second = mask('b', {
      content: [{ detectors: ['JWT', 'Email'] }, { pattern: 'EMP-[0-9]{6}', transform: { redact: { with: '[e]' } } }],
    });
    const forth = plan(first, second);
    const back = plan(second, first);
    expect(forth).toMatchObject({ empty: false, hasColumns: false });
    expect(forth.fields).toHaveLength(2);
    expect(forth.content.map((entry) => entry.source)).toEqual(
      expect.arrayContaining([{ detector: 'JWT' }, { detector: 'Email' }, { pattern: 'EMP-[0-9]{6}' }]),
    );
    expect([forth.fields, forth.content]).toEqual([back.fields, back.content]);
  });
});

describe('who is masked', () => {
  const columns = [{ match: ['*.*.email'] }];

  it('everybody but the exceptions of the rule itself', () => {
    const excepted = mask('own', { columns, exceptSubjects: [{ serviceAccount: { name: 'agent' } }] });
    expect(scopeOf({ maskingRules: [excepted] }).masks.empty).toBe(true);
    expect(
      scopeOf({ maskingRules: [excepted] }, { ...agent, serviceAccount: { namespace: 'x', name: 'agent' } }).masks
        .empty,
    ).toBe(false);
    expect(
      scopeOf({ maskingRules: [excepted, mask('other', { columns })] }).masks.column('a', 'b', 'email')?.rules,
    ).toEqual(['shop/other']);
  });

  it('in all namespaces by a rule of the guardrail namespace, in no other by any other', () => {
    expect(scopeOf({ maskingRules: [mask('g', { columns }, 'sallyport-system')] }).masks.empty).toBe(false);
    expect(scopeOf({ maskingRules: [mask('g', { columns }, 'elsewhere')] }).masks.empty).toBe(true);
  });
});

describe('files', () => {
  const email = [{ detectors: ['Email' as const] }];

  it('are protected by their path, by the strictest rule', () => {
    const { file, hasFiles, empty } = plan(
      mask('a', {
        files: [{ paths: ['/srv/*/people.csv', '/etc/shadow'] }, { paths: ['/var/log/**'], action: 'Mask' }],
        content: email,
      }),
      mask('b', { files: [{ paths: ['/var/log/auth.log'] }] }),
    );
    expect({ hasFiles, empty }).toEqual({ hasFiles: true, empty: false });
    expect(file('/srv/eu/people.csv')).toEqual({ action: 'Deny', rules: ['shop/a'] });
    expect(file('/srv/eu/old/people.csv')).toBeUndefined();
    expect(file('/etc/shadow')).toEqual({ action: 'Deny', rules: ['shop/a'] });
    expect(file('/etc/shadow-')).toBeUndefined();
    expect(file('/var/log/a/b.log')).toEqual({ action: 'Mask', rules: ['shop/a'] });
    expect(file('/var/log/auth.log')).toEqual({ action: 'Deny', rules: ['shop/a', 'shop/b'] });
  });

  it('in a tree that is read as a whole are denied where one could be below', () => {
    const { file } = plan(
      mask('a', { files: [{ paths: ['/srv/*/people.csv', '/var/log/**'], action: 'Mask' }], content: email }),
    );
    expect(file('/srv', true)).toEqual({ action: 'Deny', rules: ['shop/a'] });
    expect(file('/srv/eu', true)).toEqual({ action: 'Deny', rules: ['shop/a'] });
    expect(file('/', true)).toEqual({ action: 'Deny', rules: ['shop/a'] });
    expect(file('/var/log/nginx', true)).toEqual({ action: 'Deny', rules: ['shop/a'] });
    expect(file('/home', true)).toBeUndefined();
    expect(file('/srv2', true)).toBeUndefined();
  });

  it('of a pattern that costs much in other engines are found in time that goes with the path', () => {
    const { file } = plan(mask('a', { files: [{ paths: [`/${'**a'.repeat(100)}/x`] }] }));
    expect(file(`/${'a'.repeat(4000)}`)).toBeUndefined();
    expect(file(`/${'a'.repeat(4000)}/x`)?.action).toBe('Deny');
  });
});

describe('binary output', () => {
  it('is searched unless a rule about content says otherwise, and the strictest holds', () => {
    const of = (...kinds: ('Search' | 'Deny' | 'Pass' | undefined)[]) =>
      plan(
        ...kinds.map((binaryOutput, index) =>
          mask(`m${index}`, {
            content: [{ detectors: ['Email'] }],
            ...(binaryOutput === undefined ? {} : { binaryOutput }),
          }),
        ),
        mask('columns', { columns: [{ match: ['*.*.email'] }] }),
      ).binaryOutput;
    expect(of(undefined)).toBe('Search');
    expect(of('Pass')).toBe('Pass');
    expect(of('Pass', undefined)).toBe('Search');
    expect(of('Search', 'Deny', 'Pass')).toBe('Deny');
    expect(plan().binaryOutput).toBe('Search');
  });
});

describe('objects of Kubernetes', () => {
  const rule = mask('k8s', {
    kubernetes: [
      { secrets: ['*', 'tls.*'], namespaces: ['shop'] },
      { fields: ['spec.key'], resources: ['widgets.example.com'], transform: { nullify: {} } },
      { fields: ['**.pin'] },
    ],
  });

  it('have one mask for each pattern', () => {
    const { kubernetes, empty, hasColumns } = plan(rule);
    expect({ empty, hasColumns }).toEqual({ empty: false, hasColumns: false });
    expect(kubernetes.map(({ place, match, resources, namespaces }) => [place, match, resources, namespaces])).toEqual(
      expect.arrayContaining([
        ['secrets', '*', [], ['shop']],
        ['secrets', 'tls.*', [], ['shop']],
        ['fields', 'spec.key', ['widgets.example.com'], []],
        ['fields', '**.pin', ['*'], []],
      ]),
    );
    expect(plan(mask('c', { columns: [{ match: ['*.*.a'] }] })).kubernetes).toEqual([]);
  });

  it('make bodies that cannot be looked into refused, unless every rule says otherwise', () => {
    const pass = mask('pass', { content: [{ detectors: ['Email'] }], binaryOutput: 'Pass' });
    expect(plan(rule).opaqueBodies).toBe('Deny');
    expect(plan(pass).opaqueBodies).toBe('Pass');
    expect(plan(pass, rule).opaqueBodies).toBe('Deny');
    expect(plan(pass, rule).binaryOutput).toBe('Pass');
    expect(plan(mask('c', { columns: [{ match: ['*.*.a'] }] })).opaqueBodies).toBe('Pass');
  });
});
