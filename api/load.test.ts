import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Finding, type Loaded, loadResources } from './load.ts';
import { checkRules } from './rules.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-load-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const put = (name: string, text: string): Promise<void> => writeFile(join(folder, name), text);
const load = (...paths: string[]): Promise<Loaded> => loadResources(paths.length === 0 ? [folder] : paths, checkRules);
const short = ({ file, line, column, code, message, fix }: Finding): string =>
  `${file.slice(folder.length + 1)}:${line}:${column} ${code} ${message}${fix === undefined ? '' : ` | ${fix}`}`;

async function findings(text: string): Promise<string[]> {
  await put('a.yaml', text);
  return (await load()).findings.map(short);
}

const CONNECTION = `apiVersion: sallyport.dev/v1alpha1
kind: AccessConnection
metadata: {name: orders}
spec:
  protocol: Postgres
  target: {host: orders-db, port: 5432, database: orders}
  credential: {secretRef: {name: db}}
`;

describe('what cannot be read', () => {
  test('links in a circle end, however many there are', async () => {
    await mkdir(join(folder, 'a'));
    for (const name of ['one', 'two', 'three']) await symlink(join('..', 'a'), join(folder, 'a', name));
    expect((await load()).findings.map(short)).toEqual([
      expect.stringMatching(/^:1:1 SPA001 .* cannot be read: .*one links to a folder that it lies in/),
    ]);
  });

  test('what is no file is not waited for', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(join(folder, 'x.yaml'), resolve));
    const { findings: found } = await load();
    await new Promise((resolve) => server.close(resolve));
    expect(found.map(short)).toEqual([
      expect.stringMatching(/^:1:1 SPA001 .* cannot be read: .*x\.yaml is not a file/),
    ]);
  });

  test('of many syntax errors the first few are told', async () => {
    expect(await findings('['.repeat(500))).toHaveLength(5);
  });

  test('names that every object of JavaScript has are no advice', async () => {
    const found = await findings(`${CONNECTION}  constructor: 1\n  toString: 1\n__proto__: {x: 1}\n`);
    expect(found.join('\n')).toContain('spec has no field "constructor"');
    expect(found.join('\n')).not.toMatch(/native code|\[object/);
  });
});

describe('what is read', () => {
  test('objects get their defaults and their namespace', async () => {
    await put('a.yaml', CONNECTION);
    const { resources, findings: found } = await load();
    expect(found).toEqual([]);
    const [connection] = resources.connections;
    expect(connection?.metadata).toEqual({ name: 'orders', namespace: 'default' });
    expect(connection?.spec.mode).toBe('Enforce');
  });

  test('several documents, JSON, folders in folders and links; not hidden files, not tests of policies', async () => {
    await mkdir(join(folder, 'deep', '..data'), { recursive: true });
    await put(
      'a.yaml',
      `---\n${CONNECTION}---\n# nothing here\n---\n${CONNECTION.replace('name: orders}', 'name: two}')}`,
    );
    await put('deep/..data/b.yml', CONNECTION.replace('name: orders}', 'name: three}'));
    await symlink(join('..data', 'b.yml'), join(folder, 'deep', 'b.yml'));
    await put(
      'c.json',
      JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'ca' }, data: { 'ca.crt': 'x' } }),
    );
    await put('.hidden.yaml', 'kind: [');
    await put('p.test.yaml', 'kind: [');
    const { resources, keyValues, findings: found } = await load();
    expect(found).toEqual([]);
    expect(resources.connections.map(({ metadata }) => metadata.name)).toEqual(['orders', 'two', 'three']);
    expect(keyValues.map(({ kind, name }) => `${kind} ${name}`)).toEqual(['ConfigMap ca']);
  });

  test('a List is its items, with their places', async () => {
    const text = `apiVersion: v1
kind: List
items:
  - apiVersion: sallyport.dev/v1alpha1
    kind: AccessPolicy
    metadata: {name: p}
    spec: {connections: {all: true}, subjects: [{everyone: true}], rules: [{name: r, effect: Refuse}]}
`;
    expect(await findings(text)).toEqual([
      'a.yaml:7:86 SPA003 AccessPolicy default/p: spec.rules[0].effect cannot be "Refuse" | Write Allow, Deny or RequireApproval.',
    ]);
  });

  test('a file that is named twice is read once', async () => {
    await put('a.yaml', CONNECTION);
    const { resources, findings: found } = await load(folder, join(folder, 'a.yaml'));
    expect(found).toEqual([]);
    expect(resources.connections.length).toBe(1);
  });

  test('kinds of others are passed over and told', async () => {
    await put(
      'a.yaml',
      'apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: on}\nrules: [{verbs: [yes]}]\n',
    );
    const { findings: found, passedOver } = await load();
    expect(found).toEqual([]);
    expect(passedOver).toEqual([
      { file: join(folder, 'a.yaml'), line: 1, column: 1, apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role' },
    ]);
  });

  test('Secrets: base64 and plain, the plain one wins', async () => {
    await put(
      's.yaml',
      'apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\ndata: {a: eA==, b: eQ==}\nstringData: {b: "z"}\n',
    );
    const [secret] = (await load()).keyValues;
    expect([...(secret?.values ?? [])].map(([key, value]) => [key, value.toString()])).toEqual([
      ['a', 'x'],
      ['b', 'z'],
    ]);
    expect(secret?.namespace).toBe('shop');
  });
});

describe('what is wrong is said, with its place and what to write', () => {
  test.each([
    [
      'a misspelt field',
      CONNECTION.replace('protocol:', 'protocoll:'),
      [
        'a.yaml:5:3 SPA003 AccessConnection default/orders: spec has no field "protocoll" | Write protocol.',
        'a.yaml:4:1 SPA003 AccessConnection default/orders: spec needs protocol | Add protocol: What the target speaks.',
      ],
    ],
    [
      'a misspelt value',
      CONNECTION.replace('Postgres', 'postgres'),
      ['a.yaml:5:3 SPA003 AccessConnection default/orders: spec.protocol cannot be "postgres" | Write Postgres.'],
    ],
    [
      'a wrong type',
      CONNECTION.replace('5432', '"5432"'),
      [
        'a.yaml:6:29 SPA003 AccessConnection default/orders: spec.target.port is "5432" and must be a whole number | Write 5432, without quotes.',
      ],
    ],
    [
      'a password in the connection',
      `${CONNECTION}  password: hunter2\n`,
      [
        'a.yaml:8:3 SPA003 AccessConnection default/orders: spec has no field "password" | Put it into a Secret and name that in spec.credential.secretRef; it never stands in an AccessConnection.',
      ],
    ],
    [
      'a rule over several fields',
      CONNECTION.replace(', database: orders', ''),
      [
        'a.yaml:4:1 SPA012 AccessConnection default/orders breaks a rule of its schema: spec: target.database is required for Postgres, and only for Postgres',
      ],
    ],
    [
      'a misspelt kind',
      CONNECTION.replace('kind: AccessConnection', 'kind: AccesConnection'),
      ['a.yaml:2:1 SPA003 AccesConnection: there is no such kind | Write AccessConnection.'],
    ],
    [
      'another version',
      CONNECTION.replace('v1alpha1', 'v1'),
      ['a.yaml:1:1 SPA003 AccessConnection: there is no apiVersion sallyport.dev/v1 | Write sallyport.dev/v1alpha1.'],
    ],
    [
      'another group with our kind',
      CONNECTION.replace('sallyport.dev', 'example.com'),
      [
        'a.yaml:1:1 SPA003 AccessConnection: there is no apiVersion example.com/v1alpha1 | Write sallyport.dev/v1alpha1.',
      ],
    ],
    [
      'no kind',
      'apiVersion: v1\nmetadata: {name: x}\n',
      ['a.yaml:1:1 SPA003 the object: it has no kind | Write apiVersion: sallyport.dev/v1alpha1 and the kind.'],
    ],
    [
      'no object',
      '- a\n- b\n',
      [
        'a.yaml:1:1 SPA003 the document: it is not an object | Write apiVersion: sallyport.dev/v1alpha1, kind, metadata and spec.',
      ],
    ],
    [
      'labels in the wrong case',
      CONNECTION.replace('{name: orders}', '{name: orders, lables: {a: b}}'),
      ['a.yaml:3:26 SPA003 AccessConnection default/orders: metadata has no field "lables" | Write labels.'],
    ],
    [
      'a name that no object can have',
      CONNECTION.replace('name: orders}', 'name: Orders_DB}'),
      [
        'a.yaml:3:12 SPA003 AccessConnection default/Orders_DB: metadata.name cannot be "Orders_DB" | Write lower-case letters, digits, - and ., such as agent-reads-orders.',
      ],
    ],
    [
      'a key twice',
      `${CONNECTION}  mode: Observe\n  mode: Enforce\n`,
      ['a.yaml:9:3 SPA002 not YAML: Map keys must be unique | Correct the syntax at this place.'],
    ],
    [
      'a bracket that is not closed',
      'kind: [a\nb: c',
      [
        'a.yaml:2:1 SPA002 not YAML: Flow sequence in block collection must be sufficiently indented and end with a ] | Correct the syntax at this place.',
      ],
    ],
    [
      'a word that kubectl takes for a boolean',
      CONNECTION.replace('database: orders', 'database: no'),
      [
        'a.yaml:6:51 SPA014 kubectl reads a bare no as true or false, and not as a text | Write "no", or true or false.',
      ],
    ],
    [
      'an alias to nothing',
      `${CONNECTION}  mode: *nothing\n`,
      [
        'a.yaml:1:1 SPA002 not YAML: Unresolved alias (the anchor must be set before the alias): nothing | Correct the syntax at this place.',
      ],
    ],
  ])('%s', async (_, text, expected) => {
    const found = await findings(text);
    expect(found.length).toBeGreaterThanOrEqual(expected.length);
    for (const line of expected) expect(found).toContain(line);
  });

  test('objects defined twice name both places, in one file or in two', async () => {
    await put('a.yaml', `${CONNECTION}---\n${CONNECTION}`);
    await put('b.yaml', CONNECTION);
    const { findings: found, resources } = await load();
    expect(found.map(short)).toEqual([
      `a.yaml:11:12 SPA004 AccessConnection default/orders is defined twice, here and in ${folder}/a.yaml:3:12 | Keep one of the two.`,
      `b.yaml:3:12 SPA004 AccessConnection default/orders is defined twice, here and in ${folder}/a.yaml:3:12 | Keep one of the two.`,
    ]);
    expect(resources.connections.length).toBe(1);
  });

  test('a field that is written but empty is left out, as an API server would, and told', async () => {
    await put('a.yaml', `${CONNECTION}  limits:\n  mode: ~\n`);
    const { findings: found, resources } = await load();
    expect(found.map(({ severity, line, column, code }) => `${severity} ${line}:${column} ${code}`)).toEqual([
      'warning 8:3 SPA020',
      'warning 9:3 SPA020',
    ]);
    expect(resources.connections[0]?.spec).not.toHaveProperty('limits');
    expect(resources.connections[0]?.spec.mode).toBe('Enforce');
  });

  test('a Secret that the API server would refuse, without showing a value', async () => {
    const found = await findings(
      'apiVersion: v1\nkind: Secret\nmetadata: {name: db}\ndata: {a: hunter2!}\nstringData: {b: 20260101}\n',
    );
    expect(found).toEqual([
      'a.yaml:4:8 SPA003 Secret default/db: data.a is not base64 | Encode it, or write it under stringData as it is.',
      'a.yaml:5:14 SPA003 Secret default/db: stringData.b is not a text | Write the value in quotes.',
    ]);
    const broken = await findings('apiVersion: v1\nkind: Secret\nstringData:\n  password: "hunter2" "hunter3"\n');
    expect(broken.join()).toContain('SPA002');
    expect(broken.join()).not.toMatch(/hunter/);
  });

  test('one broken document does not hide what is wrong in the others', async () => {
    await put('a.yaml', `kind: [\n---\n${CONNECTION.replace('Postgres', 'Oracle')}`);
    await put('b.yaml', CONNECTION);
    const { findings: found, resources } = await load();
    expect(found.map(({ code }) => code)).toEqual(expect.arrayContaining(['SPA002', 'SPA003', 'SPA004']));
    expect(resources.connections).toEqual([]);
  });

  test('aliases that multiply, nesting without end, a folder that is not there', async () => {
    const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\n${['b', 'c', 'd', 'e'].map((key, index) => `${key}: &${key} [${Array(9).fill(`*${'abcd'[index]}`).join()}]`).join('\n')}\n`;
    expect((await findings(bomb)).join()).toContain('SPA002 not YAML: Excessive alias count');
    expect((await findings('['.repeat(200_000))).join()).toContain('SPA002');
    expect((await load(join(folder, 'nowhere'))).findings.map(({ code }) => code)).toEqual(['SPA001']);
  });
});
