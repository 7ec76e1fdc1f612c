import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson, sha256 } from './canonical.ts';
import { durationMs } from './duration.ts';
import { compileGlob, compileQualifiedGlobs, globsOverlap } from './glob.ts';
import { matchesSubject, type SubjectEntry } from './match-subject.ts';
import { matchesLabels, selectsConnection } from './select-connection.ts';
import type { Subject } from './subject.ts';

describe('globs', () => {
  it.each([
    ['orders', 'orders', true],
    ['orders', 'orders2', false],
    ['ord*', 'orders', true],
    ['*ers', 'orders', true],
    ['o*d*s', 'orders', true],
    ['o*x*s', 'orders', false],
    ['ab*ba', 'aba', false],
    ['a*a', 'a', false],
    ['**', '', true],
    ['*', 'a.b', true],
    ['a.c', 'abc', false],
    ['[a-z]+', 'a', false],
    ['a?', 'ab', false],
    ['*aab', 'aaab', true],
  ])('%s on %s: %s', (pattern, text, matches) => {
    expect(compileGlob(pattern).matches(text)).toBe(matches);
  });

  const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 8 });
  const text = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 8 });

  it('match as the regular expression would', () => {
    fc.assert(
      fc.property(pattern, text, (glob, value) => {
        const reference = new RegExp(`^${glob.replaceAll('*', '.*')}$`);
        expect(compileGlob(glob).matches(value)).toBe(reference.test(value));
      }),
      { numRuns: 2000 },
    );
  });

  it('overlap when some text matches both', () => {
    expect(globsOverlap('public.*', '*.orders')).toBe(true);
    expect(globsOverlap('public.*', 'audit.*')).toBe(false);
    fc.assert(
      fc.property(pattern, pattern, text, (left, right, value) => {
        if (compileGlob(left).matches(value) && compileGlob(right).matches(value)) {
          expect(globsOverlap(left, right)).toBe(true);
        }
        expect(globsOverlap(left, right)).toBe(globsOverlap(right, left));
      }),
      { numRuns: 2000 },
    );
  });

  it('match schema and name each on its own', () => {
    const globs = compileQualifiedGlobs(['public.*', 'audit.events', '*.ssn_*']);
    expect(globs.matches('public', 'a.b')).toBe(true);
    expect(globs.matches('public.x', 'y')).toBe(false);
    expect(globs.matches('audit', 'events')).toBe(true);
    expect(globs.matches('audit', 'events2')).toBe(false);
    expect(globs.matches('Public', 'orders')).toBe(false);
    expect(globs.names('audit', 'events')).toBe(true);
    expect(globs.names('public', '*')).toBe(false);
    expect(globs.any).toBe(false);
    expect(compileQualifiedGlobs(['*.*']).any).toBe(true);
  });
});

describe('subjects', () => {
  const account: Subject = {
    username: 'system:serviceaccount:shop:agent',
    serviceAccount: { namespace: 'shop', name: 'agent' },
    groups: ['team:data'],
    claims: {},
  };
  const job: Subject = {
    username: 'github:repo:acme/shop',
    issuer: 'github',
    groups: [],
    claims: { repository: 'acme/shop', roles: ['a', 'b', ['c']], run: 42, protected: true, nothing: null, big: 1e30 },
  };
  const token = (claims: Record<string, string>, issuer = 'github'): SubjectEntry => ({ token: { issuer, claims } });

  it.each<[string, SubjectEntry, Subject, boolean]>([
    ['everyone', { everyone: true }, job, true],
    ['an account of the own namespace', { serviceAccount: { name: 'agent' } }, account, true],
    ['an account of another namespace', { serviceAccount: { namespace: 'other', name: 'agent' } }, account, false],
    ['all accounts of a namespace', { serviceAccount: { namespace: 'shop', name: '*' } }, account, true],
    ['no account for an outside issuer', { serviceAccount: { namespace: 'shop', name: '*' } }, job, false],
    ['no pattern in names', { serviceAccount: { name: 'ag*' } }, account, false],
    ['a group', { group: 'team:data' }, account, true],
    ['a group that only starts the same', { group: 'team:dat' }, account, false],
    ['a user', { user: 'github:repo:acme/shop' }, job, true],
    ['claims', token({ repository: 'acme/shop' }), job, true],
    ['all claims', token({ repository: 'acme/shop', ref: 'x' }), job, false],
    ['claims of this issuer only', token({ repository: 'acme/shop' }, 'gitlab'), job, false],
    ['a member of a list', token({ roles: 'b' }), job, true],
    ['no member of a list in a list', token({ roles: 'c' }), job, false],
    ['a number', token({ run: '42' }), job, true],
    ['a boolean', token({ protected: 'true' }), job, true],
    ['null is no value', token({ nothing: 'null' }), job, false],
    ['a number that JSON cannot keep', token({ big: '1e+30' }), job, false],
    ['nothing inherited', token({ toString: 'x', constructor: 'x' }), job, false],
    ['no empty claims', token({}), job, false],
    ['an entry that says nothing', {}, account, false],
  ])('%s', (_, entry, subject, matches) => {
    expect(matchesSubject(entry, subject, 'shop')).toBe(matches);
  });
});

describe('connections', () => {
  const orders = { namespace: 'shop', name: 'orders', labels: { data: 'personal', tier: 'gold' } };

  it('are selected in the own namespace, by guardrails in all', () => {
    expect(selectsConnection({ all: true }, 'shop', orders, 'guard')).toBe(true);
    expect(selectsConnection({ all: true }, 'other', orders, 'guard')).toBe(false);
    expect(selectsConnection({ all: true }, 'guard', orders, 'guard')).toBe(true);
    expect(selectsConnection({ names: ['orders'] }, 'shop', orders, 'guard')).toBe(true);
    expect(selectsConnection({ names: ['orders'] }, 'guard', orders, 'guard')).toBe(false);
    expect(selectsConnection({ names: ['orders'] }, 'shop', orders, 'shop')).toBe(false);
    expect(selectsConnection({}, 'shop', orders, 'guard')).toBe(false);
  });

  it.each([
    [{ matchLabels: { data: 'personal' } }, true],
    [{ matchLabels: { data: 'personal', tier: 'silver' } }, false],
    [{ matchLabels: { toString: 'x' } }, false],
    [{ matchExpressions: [{ key: 'tier', operator: 'In' as const, values: ['gold'] }] }, true],
    [{ matchExpressions: [{ key: 'none', operator: 'In' as const, values: ['gold'] }] }, false],
    [{ matchExpressions: [{ key: 'none', operator: 'NotIn' as const, values: ['gold'] }] }, true],
    [{ matchExpressions: [{ key: 'tier', operator: 'NotIn' as const, values: ['gold'] }] }, false],
    [{ matchExpressions: [{ key: 'tier', operator: 'Exists' as const }] }, true],
    [{ matchExpressions: [{ key: 'tier', operator: 'DoesNotExist' as const }] }, false],
    [{}, false],
  ])('by labels %j: %s', (selector, matches) => {
    expect(matchesLabels(selector, orders.labels)).toBe(matches);
  });
});

describe('small parts', () => {
  it('durations', () => {
    expect(durationMs('1h30m')).toBe(5_400_000);
    expect(durationMs('15s')).toBe(15_000);
    for (const wrong of ['', '15', '1d', '1h ', '-1h', '1.5h', '123456s']) expect(durationMs(wrong)).toBeUndefined();
  });

  it('canonical JSON knows neither the order of members nor that of lists', () => {
    expect(canonicalJson({ b: [2, 1], a: undefined, c: { y: 1, x: null } })).toBe('{"b":[1,2],"c":{"x":null,"y":1}}');
    expect(canonicalJson([{ b: 1, a: 2 }, 'x'])).toBe(canonicalJson(['x', { a: 2, b: 1 }]));
    expect(sha256('')).toBe('sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  });
});
