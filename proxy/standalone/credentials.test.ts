import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Configuration, DEFAULT_CONFIGURATION } from '../../api/configuration.ts';
import { type Loaded, loadResources } from '../../api/load.ts';
import { checkRules } from '../../api/rules.ts';
import type { CompiledConnection } from '../../policy/bundle.ts';
import { compile } from '../../policy/compile.ts';
import type { CredentialSource } from '../ports.ts';
import { createStandaloneCredentials } from './credentials.ts';

let folder: string;
let loaded: Loaded;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-credentials-'));
  await mkdir(join(folder, 'resources'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const CONNECTION = `apiVersion: sallyport.dev/v1alpha1
kind: AccessConnection
metadata: {name: orders, namespace: shop}
spec:
  protocol: Postgres
  target: {host: orders-db, port: 5432, database: orders, tls: {caRef: {name: ca}}}
  credential: {secretRef: {name: db}}
`;

async function resources(rest = ''): Promise<CompiledConnection> {
  await writeFile(join(folder, 'resources', 'a.yaml'), CONNECTION + rest);
  loaded = await loadResources([join(folder, 'resources')], checkRules);
  expect(loaded.findings).toEqual([]);
  const [connection] = compile(loaded.resources, { guardrailNamespace: 'sallyport-system' }).bundle.connections;
  if (connection === undefined) throw new Error('the connection is missing');
  return connection;
}

function source(
  credentials: Configuration['credentials'] = new Map(),
  environment: Record<string, string> = {},
): CredentialSource {
  const configuration = { ...DEFAULT_CONFIGURATION, credentials };
  return createStandaloneCredentials({ loaded: () => loaded, configuration, state: folder, environment });
}

async function file(path: string, text: string): Promise<void> {
  await mkdir(join(folder, path, '..'), { recursive: true });
  await writeFile(join(folder, path), text);
}

const SECRET =
  '---\napiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\nstringData: {username: app, password: from-the-folder}\n';

describe('where a credential comes from', () => {
  test('a Secret beside the connection, of its own namespace only', async () => {
    const connection = await resources(SECRET);
    expect(await source().postgres(connection)).toEqual({
      type: 'password',
      username: 'app',
      password: 'from-the-folder',
    });
    const other = await resources(SECRET.replace('namespace: shop', 'namespace: other'));
    await expect(source().postgres(other)).rejects.toMatchObject({ code: 'SPA008' });
  });

  test('files of the state folder, read again for every session, without the line feed at their end', async () => {
    const connection = await resources();
    await file('secrets/shop/db/username', 'app\n');
    await expect(source().postgres(connection)).rejects.toMatchObject({
      code: 'SPA007',
      message: 'the Secret shop/db has no key password',
    });
    await file('secrets/shop/db/password', 'one\n');
    const credentials = source();
    expect(await credentials.postgres(connection)).toMatchObject({ username: 'app', password: 'one' });
    await file('secrets/shop/db/password', ' two ');
    expect(await credentials.postgres(connection)).toMatchObject({ password: ' two ' });
  });

  test('a mounted folder, or the environment, when the configuration names the Secret; then nothing else', async () => {
    const connection = await resources(SECRET);
    await file('mounted/username', 'mounted');
    const directory = join(folder, 'mounted');
    await expect(source(new Map([['shop/db', { directory }]])).postgres(connection)).rejects.toMatchObject({
      code: 'SPA007',
    });
    await file('mounted/password', 'm');
    expect(await source(new Map([['shop/db', { directory }]])).postgres(connection)).toMatchObject({
      username: 'mounted',
      password: 'm',
    });
    const named = new Map([['shop/db', { environment: { username: 'U', password: 'P' } }]]);
    expect(await source(named, { U: 'env', P: 'e' }).postgres(connection)).toMatchObject({
      username: 'env',
      password: 'e',
    });
    await expect(source(named, { U: 'env' }).postgres(connection)).rejects.toMatchObject({ code: 'SPA007' });
  });

  test('a certificate signs in as its common name, or as the user that is named', async () => {
    const connection = await resources();
    const path = (name: string): string => join(folder, name);
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-days',
        '2',
        '-subj',
        '/O=shop/CN=agent',
        '-keyout',
        path('k'),
        '-out',
        path('c'),
      ],
      { stdio: 'ignore' },
    );
    await file('secrets/shop/db/tls.crt', await readFile(path('c'), 'utf8'));
    await expect(source().postgres(connection)).rejects.toMatchObject({
      code: 'SPA007',
      message: 'the Secret shop/db has no key tls.key',
    });
    await file('secrets/shop/db/tls.key', await readFile(path('k'), 'utf8'));
    expect(await source().postgres(connection)).toMatchObject({ type: 'certificate', username: 'agent' });
    await file('secrets/shop/db/username', 'other\n');
    expect(await source().postgres(connection)).toMatchObject({ type: 'certificate', username: 'other' });
    await rm(join(folder, 'secrets/shop/db/username'));
    await file('secrets/shop/db/tls.crt', 'not a certificate');
    await expect(source().postgres(connection)).rejects.toMatchObject({
      code: 'SPA007',
      message: 'the Secret shop/db has no key username',
    });
  });

  test('certificate authorities, from a ConfigMap or a file', async () => {
    const connection = await resources();
    await expect(source().certificateAuthorities(connection)).rejects.toMatchObject({ code: 'SPA009' });
    await file('secrets/shop/ca/ca.crt', 'PEM\n');
    expect(await source().certificateAuthorities(connection)).toBe('PEM\n');
    const map = await resources(
      '---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: ca, namespace: shop}\ndata: {ca.crt: "in the map"}\n',
    );
    expect(await source().certificateAuthorities(map)).toBe('in the map');
  });
});

describe('token keys', () => {
  test('one is made for a namespace and kept, the same for workers that start together', async () => {
    await resources();
    const keys = await Promise.all(Array.from({ length: 8 }, () => source().tokenKey('shop')));
    for (const key of keys) expect(Buffer.from(key).equals(keys[0]!)).toBe(true);
    expect(keys[0]).toHaveLength(32);
    expect(Buffer.from(await source().tokenKey('shop')).equals(keys[0]!)).toBe(true);
    expect(Buffer.from(await source().tokenKey('other')).equals(keys[0]!)).toBe(false);
    expect((await stat(join(folder, 'token-keys', 'shop'))).mode & 0o777).toBe(0o600);
    expect((await stat(join(folder, 'token-keys'))).mode & 0o777).toBe(0o700);
  });

  test('one that is named is used as it is, and refused when it could be guessed', async () => {
    await resources();
    const reference = { namespace: 'shop', name: 'tokens', key: 'key' };
    await expect(source().tokenKey('shop', reference)).rejects.toMatchObject({ code: 'SPA007' });
    await file('secrets/shop/tokens/key', 'short');
    await expect(source().tokenKey('shop', reference)).rejects.toMatchObject({ code: 'SPA017' });
    await file('secrets/shop/tokens/key', 'sixteen bytes or');
    expect(Buffer.from(await source().tokenKey('shop', reference)).toString()).toBe('sixteen bytes or');
  });

  test('a reference never leaves its folder', async () => {
    await resources();
    await file('outside', 'sixteen bytes or more');
    for (const key of ['..', '../outside', '../../outside', '.', 'a/b', '\0']) {
      await expect(source().tokenKey('shop', { namespace: 'shop', name: 'tokens', key })).rejects.toMatchObject({
        code: 'SPA007',
      });
      await expect(source().tokenKey('shop', { namespace: 'shop', name: key, key: 'outside' })).rejects.toMatchObject({
        code: 'SPA007',
      });
    }
    await expect(source().tokenKey('../secrets')).rejects.toMatchObject({ code: 'SPA007' });
  });
});
