import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DEFAULT_CONFIGURATION, loadConfiguration, parseAddress, readConfiguration } from './configuration.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-configuration-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const HEAD = 'apiVersion: sallyport.dev/v1alpha1\nkind: SallyportConfiguration\n';

async function file(text: string): Promise<string> {
  const path = join(folder, 'sallyport.yaml');
  await writeFile(path, HEAD + text);
  return path;
}

const KEY = `${'A'.repeat(43)}=`;
const OTHER_KEY = `${'B'.repeat(42)}A=`;

/** `line:column message` of each finding. */
async function wrong(text: string): Promise<string[]> {
  const { findings, configuration } = await readConfiguration(await file(text));
  expect(configuration === undefined).toBe(findings.length > 0);
  return findings.map(
    ({ line, column, message }) => `${line}:${column} ${message.replace('the configuration is not valid: ', '')}`,
  );
}

describe('configuration', () => {
  test('without anything the defaults hold, and they are those without a file', async () => {
    const { configuration } = await readConfiguration(await file(''));
    expect(configuration).toEqual(DEFAULT_CONFIGURATION);
    expect(configuration).toMatchObject({
      guardrailNamespace: 'sallyport-system',
      metrics: { host: '127.0.0.1', port: 0 },
      limits: { maxStatementBytes: 262_144, maxMessageBytes: 67_108_864, authenticationTimeoutMs: 10_000 },
      record: { syncReads: false },
    });
  });

  test('everything that can be written', async () => {
    const path = await file(`
state: state
listen: [{connection: shop/orders, address: "[::1]:6432"}]
metrics: {address: 127.0.0.1:9464}
guardrailNamespace: guard
limits: {maxStatementBytes: 2048, maxMessageBytes: 65536, authenticationTimeout: 1m30s}
record: {syncReads: true}
tls: {certificateFile: tls.crt, keyFile: /etc/tls.key}
issuers:
  - {alias: okta, issuer: "https://example.okta.com", sessionGrace: 1h, caFile: ca.pem, claims: {groups: roles}}
credentials:
  - {secret: shop/a, directory: secrets/a}
  - {secret: shop/b, environment: {password: B_PASSWORD}}
approvals: {store: requests}
approvers:
  - {name: ada, publicKey: ${KEY}, groups: [dba], connections: ["shop/*"], subjects: ["okta:ada"]}
`);
    expect(await loadConfiguration(path)).toEqual({
      notifications: { webhooks: [] },
      sinks: [],
      state: join(folder, 'state'),
      listen: new Map([['shop/orders', { host: '::1', port: 6432 }]]),
      metrics: { host: '127.0.0.1', port: 9464 },
      guardrailNamespace: 'guard',
      limits: { maxStatementBytes: 2048, maxMessageBytes: 65_536, authenticationTimeoutMs: 90_000 },
      record: { syncReads: true },
      tls: { certificateFile: join(folder, 'tls.crt'), keyFile: '/etc/tls.key' },
      issuers: [
        {
          alias: 'okta',
          issuer: 'https://example.okta.com',
          audience: 'sallyport',
          maxTokenLifetimeSeconds: 3600,
          sessionGraceSeconds: 3600,
          caFile: join(folder, 'ca.pem'),
          claims: { username: 'sub', groups: 'roles' },
        },
      ],
      credentials: new Map<string, unknown>([
        ['shop/a', { directory: join(folder, 'secrets/a') }],
        ['shop/b', { environment: { password: 'B_PASSWORD' } }],
      ]),
      approvals: { store: join(folder, 'requests') },
      approvers: [{ name: 'ada', publicKey: KEY, groups: ['dba'], connections: ['shop/*'], subjects: ['okta:ada'] }],
    });
  });

  test.each([
    ['listens: []', '3:1 the object has no field "listens"'],
    ['limits: {maxStatementBytes: 12}', '3:10 limits.maxStatementBytes is 12 and must be at least 1024'],
    ['limits: {authenticationTimeout: 10}', '3:10 limits.authenticationTimeout is 10 and must be a text'],
    ['limits: {authenticationTimeout: 0s}', '3:10 nobody could sign in within 0s'],
    ['listen: [{connection: orders, address: "a:1"}]', '3:11 listen[0].connection cannot be "orders"'],
    ['listen: [{connection: a/b, address: "::1:80"}]', '3:28 listen[0].address cannot be "::1:80"'],
    ['listen: [{connection: a/b, address: "h:99999"}]', '3:28 there is no port 99999'],
    [
      'listen: [{connection: a/b, address: "h:1"}, {connection: a/b, address: "h:2"}]',
      '3:46 the connection a/b is there twice',
    ],
    [
      'listen: [{connection: a/b, address: "h:1"}, {connection: a/c, address: "h:1"}]',
      '3:63 the address h:1 is there twice',
    ],
    ['listen: [{connection: a/b, address: "h:1"}]\nmetrics: {address: "h:1"}', '4:11 the address h:1 is there twice'],
    ['issuers: [{alias: system, issuer: "https://a"}]', '3:12 the alias system belongs to Kubernetes'],
    ['issuers: [{alias: a, issuer: "http://issuer"}]', '3:22 issuer has no TLS: its keys could be replaced on the way'],
    [
      'issuers: [{alias: a, issuer: "http://127.0.0.1.evil.example"}]',
      '3:22 issuer has no TLS: its keys could be replaced on the way',
    ],
    ['issuers: [{alias: a, issuer: "https://i", sessionGrace: 61m}]', '3:43 sessionGrace is more than one hour'],
    [
      'issuers: [{alias: a, issuer: "https://i", algorithms: [HS256]}]',
      '3:43 issuers[0].algorithms[0] cannot be "HS256"',
    ],
    [
      'issuers: [{alias: a, issuer: "https://i", algorithms: [none]}]',
      '3:43 issuers[0].algorithms[0] cannot be "none"',
    ],
    ['issuers: [{alias: a, issuer: "https://i"}, {alias: a, issuer: "https://j"}]', '3:45 the alias a is there twice'],
    ['credentials: [{secret: a/b}]', '3:15 a Secret has exactly one of directory and environment'],
    [
      'credentials: [{secret: a/b, directory: d, environment: {k: V}}]',
      '3:15 a Secret has exactly one of directory and environment',
    ],
    ['tls: {certificateFile: a}', '3:1 tls needs keyFile'],
    ['approvers: [{name: a, publicKey: AAAA}]', '3:23 approvers[0].publicKey cannot be "AAAA"'],
    [`approvers: [{name: a, publicKey: ${'A'.repeat(42)}B=}]`, '3:23 the key of a is not one in base64'],
    [
      `approvers: [{name: a, publicKey: ${KEY}}, {name: a, publicKey: ${OTHER_KEY}}]`,
      '3:83 the approver a is there twice',
    ],
    [`approvers: [{name: a, publicKey: ${KEY}}, {name: b, publicKey: ${KEY}}]`, `3:92 the key ${KEY} is there twice`],
    [
      `approvers: [{name: a, publicKey: ${KEY}}, {name: b, publicKey: ${OTHER_KEY}, subjects: [a]}]`,
      '3:150 a is a already, and two approvers are two people',
    ],
  ])('%s', async (text, expected) => {
    const found = await wrong(text);
    expect(found).toHaveLength(1);
    // The place of a list item may be the item or its field: what is said decides.
    expect(found[0]?.replace(/^\d+:\d+ /, '')).toBe(expected.replace(/^\d+:\d+ /, ''));
    expect(found[0]?.split(':')[0]).toBe(expected.split(':')[0]);
  });

  test('an issuer of this machine needs no TLS', async () => {
    for (const host of ['127.0.0.1:8080', 'localhost', '[::1]:80']) {
      expect(await wrong(`issuers: [{alias: a, issuer: "http://${host}"}]`)).toEqual([]);
    }
  });

  test('what is no configuration, no YAML, or not there', async () => {
    const path = join(folder, 'x.yaml');
    for (const [text, code] of [
      ['apiVersion: v1\nkind: Secret\n', 'SPA010'],
      ['a: [', 'SPA002'],
      ['', 'SPA010'],
      ['a: *b', 'SPA002'],
    ] as const) {
      await writeFile(path, text);
      expect((await readConfiguration(path)).findings.map((finding) => finding.code)).toContain(code);
    }
    expect((await readConfiguration(join(folder, 'none'))).findings.map(({ code }) => code)).toEqual(['SPA001']);
  });

  test('loading tells everything at once, with places', async () => {
    const path = await file('listens: []\nlimit: {}\n');
    await expect(loadConfiguration(path)).rejects.toMatchObject({
      code: 'SPA016',
      message: expect.stringMatching(/sallyport\.yaml:3:1: .*listens.*Write listen\.\n.*sallyport\.yaml:4:1: .*limit/),
    });
  });
});

test.each([
  ['127.0.0.1:80', { host: '127.0.0.1', port: 80 }],
  ['[::1]:0', { host: '::1', port: 0 }],
  ['db.example.com:65535', { host: 'db.example.com', port: 65_535 }],
])('address %s', (text, expected) => {
  expect(parseAddress(text)).toEqual(expected);
});

test.each(['', ':80', 'host', 'host:', 'host:65536', 'host:-1', 'host:8x', '::1:80', 'host: 80', 'host:1e3'])(
  'no address: %s',
  (text) => {
    expect(() => parseAddress(text)).toThrow(expect.objectContaining({ code: 'SPA015' }));
  },
);
