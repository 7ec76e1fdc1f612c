import { readFileSync } from 'node:fs';
import { parse as parseCel } from '@bufbuild/cel';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { checkRules } from './rules.ts';
import { checkStructure, KINDS, type Kind, type Schema, schemaOf } from './schema.ts';

/** Rules of a kind that an object breaks, its structure being in order. */
function broken(kind: Kind, yaml: string): string[] {
  const object: unknown = parseAllDocuments(yaml)[0]?.toJS();
  expect(checkStructure(kind, object)).toEqual([]);
  return checkRules(kind, object).map(({ path, message }) => `${path.join('.')}: ${message}`);
}

const connection = (target: string, rest = ''): string => `
apiVersion: sallyport.dev/v1alpha1
kind: AccessConnection
metadata: {name: orders}
spec:
  protocol: Postgres
  target: {database: orders, port: 5432, ${target}}
  credential: {secretRef: {name: db}}
${rest}`;

function rulesOf(schema: Schema): string[] {
  return [
    ...(schema['x-kubernetes-validations'] ?? []).map(({ rule }) => rule),
    ...Object.values(schema.properties ?? {}).flatMap(rulesOf),
    ...(schema.items === undefined ? [] : rulesOf(schema.items)),
    ...(schema.additionalProperties === undefined ? [] : rulesOf(schema.additionalProperties)),
  ];
}

describe('rules of the schemas', () => {
  test.each(Object.keys(KINDS) as Kind[])('every rule of %s is found and parses', (kind) => {
    const rules = rulesOf(schemaOf(kind));
    const written =
      readFileSync(new URL(`../crds/${KINDS[kind]}.yaml`, import.meta.url), 'utf8').match(/- rule:/g) ?? [];
    expect(rules.length).toBe(written.length);
    for (const rule of rules) expect(() => parseCel(rule), rule).not.toThrow();
  });

  test('a certificate for the client needs TLS, and is the one way to sign in', () => {
    const certificate = (target: string, rest = ''): string =>
      connection(target).replace(
        'credential: {secretRef: {name: db}}',
        `credential: {clientCertificate: {caSecretRef: {name: ca}, role: app}${rest}}`,
      );
    expect(broken('AccessConnection', certificate('host: a'))).toEqual([]);
    expect(broken('AccessConnection', certificate('host: a, tls: {mode: Disable}'))).toEqual([
      expect.stringContaining('credential.clientCertificate needs TLS'),
    ]);
    expect(broken('AccessConnection', certificate('host: a', ', secretRef: {name: db}'))).toEqual([
      expect.stringContaining('exactly one of'),
    ]);
  });

  test.each(['orders-db', 'orders.db.example.com', '10.0.0.7', '2001:db8::7', '"::1"'])('takes host %s', (host) => {
    expect(
      broken('AccessConnection', connection(`host: ${host.includes(':') ? `"${host.replaceAll('"', '')}"` : host}`)),
    ).toEqual([]);
  });

  test.each([
    'Orders-DB',
    'https://orders',
    'orders:5432',
    '10.0.0.256',
    'fe80::1%eth0',
    '::ffff:10.0.0.1',
    '-orders',
    'a..b',
    '1.2.3',
  ])('refuses host %s', (host) => {
    expect(broken('AccessConnection', connection(`host: "${host}"`))).toEqual([
      'spec.target.host: host is a lower-case DNS name or an IP address, without scheme, port or path',
    ]);
  });

  test.each([
    ['10.0.0.0/24', true],
    ['192.0.2.7/32', true],
    ['2001:db8::/32', true],
    ['10.0.0.0/33', false],
    ['10.0.0.0', false],
    ['10.0.0.0/024', false],
    ['2001:db8::/129', false],
    ['10.0.0.0/8/8', false],
  ])('CIDR range %s: %s', (range, valid) => {
    const found = broken('AccessConnection', connection(`host: orders-db, addresses: ["${range}"]`));
    expect(found).toEqual(
      valid ? [] : ['spec.target.addresses.0: write a CIDR range, such as 10.0.0.0/24 or 192.0.2.7/32'],
    );
  });

  test('durations have bounds', () => {
    const policy = (timeout: string): string => `
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: p}
spec:
  connections: {all: true}
  subjects: [{everyone: true}]
  rules:
    - name: r
      effect: RequireApproval
      sql: {statements: [Delete]}
      approval: {timeout: ${timeout}}`;
    const wrong = ['spec.rules.0.approval.timeout: write a duration from 10s to 168h in h, m and s, such as 10m'];
    for (const good of ['10s', '1h30m', '168h']) expect(broken('AccessPolicy', policy(good))).toEqual([]);
    for (const bad of ['9s', '169h', '"10"', '10 m', '1d', '"-10m"'])
      expect(broken('AccessPolicy', policy(bad))).toEqual(wrong);
  });

  test('a rule about the old object says nothing on create, unless it asks for it', () => {
    const request = (decisions: string): string => `
apiVersion: sallyport.dev/v1alpha1
kind: ApprovalRequest
metadata: {name: a}
spec:
  connectionRef: {name: orders, uid: u}
  requirements:
    - policyRef: {namespace: default, name: p, rule: r, generation: 1}
      requiredApprovals: 1
  requester: {username: "system:serviceaccount:shop:agent", displayName: agent}
  request: {protocol: Postgres, summary: DELETE, hash: "sha256:${'0'.repeat(64)}"}
  expiresAt: "2026-01-01T00:00:00Z"
  decisions: ${decisions}`;
    expect(broken('ApprovalRequest', request('[]'))).toEqual([]);
    expect(broken('ApprovalRequest', request('[{verdict: Approve}]'))).toEqual([
      'spec: a new approval request has no decisions yet',
    ]);
  });

  test('an entry about objects of Kubernetes says one thing, and binaryOutput needs something to look for', () => {
    const masking = (rest: string): string => `
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: m}
spec:
  connections: {all: true}
  ${rest}`;
    for (const good of [
      'secrets: ["*"]',
      'fields: ["spec.key"], resources: [pods]',
      'env: [A], namespaces: ["shop-*"]',
    ])
      expect(broken('MaskingRule', masking(`kubernetes: [{${good}}]`))).toEqual([]);
    for (const bad of ['transform: {nullify: {}}', 'secrets: ["*"], env: ["*"]'])
      expect(broken('MaskingRule', masking(`kubernetes: [{${bad}}]`))).toEqual([
        'spec.kubernetes.0: each kubernetes entry needs exactly one of secrets, configMaps, env, annotations and fields',
      ]);
    expect(broken('MaskingRule', masking('kubernetes: [{secrets: ["*"], resources: [pods]}]'))).toEqual([
      expect.stringContaining('resources says which objects fields are of'),
    ]);
    expect(broken('MaskingRule', masking('kubernetes: [{fields: ["$.a[0]"]}]'))).toEqual([
      expect.stringContaining('write a dotted path'),
    ]);
    expect(broken('MaskingRule', masking('kubernetes: [{secrets: ["*"]}]\n  binaryOutput: Pass'))).toEqual([]);
    expect(broken('MaskingRule', masking('columns: [{match: [a.b.c]}]\n  binaryOutput: Pass'))).toEqual([
      expect.stringContaining('binaryOutput says how output and bodies are searched'),
    ]);
  });

  test('the same rule is told for each item that breaks it', () => {
    const found = broken('AccessConnection', connection('host: orders-db, addresses: [a/b, "10.0.0.0/8", c/d]'));
    expect(found.map((text) => text.split(':')[0])).toEqual(['spec.target.addresses.0', 'spec.target.addresses.2']);
  });
});
