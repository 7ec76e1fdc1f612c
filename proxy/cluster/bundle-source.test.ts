import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { BundleDocument } from '../../api/bundle-document.ts';
import type { AccessConnection, AccessPolicy } from '../../api/resources.ts';
import type { ConfigMap } from '../../kube/builtin.ts';
import { canonicalJson, sha256 } from '../../policy/canonical.ts';
import type { VerifiedIdentity } from '../ports.ts';
import { readBundle, trustedKey } from './bundle-document.ts';
import { createClusterBundleSource } from './bundle-source.ts';
import { createClusterGate } from './gate.ts';

const operator = generateKeyPairSync('ed25519');
const raw = (key: KeyObject): string => key.export({ format: 'der', type: 'spki' }).subarray(-32).toString('base64');
const trusted = [trustedKey(raw(operator.publicKey))];

const orders: AccessConnection = {
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'AccessConnection',
  metadata: { name: 'orders', namespace: 'shop' },
  spec: {
    protocol: 'Postgres',
    target: { host: 'db', port: 5432, database: 'orders' },
    credential: { secretRef: { name: 'db' } },
    maxPolicyStaleness: '5m',
  },
};

const policy: AccessPolicy = {
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'AccessPolicy',
  metadata: { name: 'read', namespace: 'shop' },
  spec: {
    connections: { all: true },
    subjects: [{ everyone: true }],
    rules: [{ name: 'read', effect: 'Allow', sql: { statements: ['Read'], relations: ['*.*'] } }],
  },
};

function documentOf(change: Partial<BundleDocument> = {}): BundleDocument {
  return {
    version: 1,
    namespace: 'shop',
    guardrailNamespace: 'sallyport-system',
    sequence: 1,
    resources: { connections: [orders], policies: [policy], maskingRules: [] },
    allowedNamespaces: { orders: ['agents'] },
    gatewayPorts: {},
    voteAuthorities: [],
    ...change,
  };
}

interface Written {
  readonly key?: KeyObject;
  readonly pieces?: number;
  readonly context?: string;
  readonly packed?: Buffer;
}

function mapsOf(document: BundleDocument, { key, pieces = 1, context, packed }: Written = {}): Map<string, ConfigMap> {
  const text = canonicalJson(document);
  const bytes = packed ?? gzipSync(text);
  const signed = Buffer.concat([Buffer.from(context ?? 'sallyport.dev/bundle/v1\n'), bytes]);
  const size = Math.ceil(bytes.length / pieces);
  const maps = Array.from({ length: pieces }, (_, index): ConfigMap => {
    const name = index === 0 ? 'sallyport-bundle' : `sallyport-bundle-${index}`;
    return {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name, namespace: 'shop', annotations: { 'sallyport.dev/bundle-hash': sha256(text) } },
      binaryData: { bundle: bytes.subarray(index * size, (index + 1) * size).toString('base64') },
      ...(index === 0
        ? {
            data: {
              pieces: String(pieces),
              signature: sign(null, signed, key ?? operator.privateKey).toString('base64'),
              hash: sha256(text),
            },
          }
        : {}),
    };
  });
  return new Map(maps.map((map) => [map.metadata.name, map]));
}

const read = (maps: Map<string, ConfigMap>) => readBundle((name) => maps.get(name), 'shop', trusted);
const coded = (code: string) => expect.objectContaining({ code });

describe('a bundle in ConfigMaps', () => {
  test.each([1, 2, 11])('is put together from %i pieces', (pieces) => {
    expect(read(mapsOf(documentOf(), { pieces })).document).toEqual(JSON.parse(canonicalJson(documentOf())));
  });

  test('is refused when it is not there, or a piece is missing, or is of another bundle', () => {
    expect(() => read(new Map())).toThrow(coded('SPX001'));
    const torn = mapsOf(documentOf(), { pieces: 3 });
    torn.delete('sallyport-bundle-2');
    expect(() => read(torn)).toThrow(coded('SPX002'));
    const mixed = mapsOf(documentOf(), { pieces: 2 });
    mixed.set('sallyport-bundle-1', mapsOf(documentOf({ sequence: 2 }), { pieces: 2 }).get('sallyport-bundle-1')!);
    expect(() => read(mixed)).toThrow(coded('SPX002'));
    const many = mapsOf(documentOf());
    const first = many.get('sallyport-bundle')!;
    many.set('sallyport-bundle', { ...first, data: { ...first.data, pieces: '100000000' } });
    expect(() => read(many)).toThrow(coded('SPX002'));
  });

  test('is refused without the operator’s signature over these bytes as a bundle', () => {
    expect(() => read(mapsOf(documentOf(), { key: generateKeyPairSync('ed25519').privateKey }))).toThrow(
      coded('SPX003'),
    );
    expect(() => read(mapsOf(documentOf(), { context: 'sallyport.dev/vote/v1\n' }))).toThrow(coded('SPX003'));
    const maps = mapsOf(documentOf());
    const first = maps.get('sallyport-bundle')!;
    const { signature: _gone, ...data } = first.data!;
    maps.set('sallyport-bundle', { ...first, data });
    expect(() => read(maps)).toThrow(coded('SPX003'));
  });

  test('is refused for another namespace, and when it cannot be read', () => {
    expect(() => read(mapsOf(documentOf({ namespace: 'other' })))).toThrow(coded('SPX004'));
    expect(() => read(mapsOf(documentOf(), { packed: Buffer.from('no gzip') }))).toThrow(coded('SPX006'));
    expect(() => read(mapsOf(documentOf(), { packed: gzipSync('{"version":2}') }))).toThrow(coded('SPX006'));
    expect(() => read(mapsOf(documentOf(), { packed: gzipSync('null') }))).toThrow(coded('SPX006'));
    // A bomb: 65 MiB of zeros in 64 KiB.
    expect(() => read(mapsOf(documentOf(), { packed: gzipSync(Buffer.alloc(65 * 1024 * 1024)) }))).toThrow(
      coded('SPX006'),
    );
  });

  test('needs keys of 32 bytes', () => {
    for (const wrong of ['', 'AAAA', `${raw(operator.publicKey)}AA`, 'not base64 at all, of any length whatever..'])
      expect(() => trustedKey(wrong)).toThrow(coded('SPX021'));
  });
});

describe('the source of bundles', () => {
  function sourceOf(mark?: { sequence: number; hash: string }) {
    const state = { maps: new Map<string, ConfigMap>(), now: 0, refused: [] as string[], inForce: [] as number[] };
    const source = createClusterBundleSource({
      namespace: 'shop',
      trusted,
      map: (name) => state.maps.get(name),
      mark,
      monotonic: () => state.now,
      onInForce: ({ sequence }) => state.inForce.push(sequence),
      onRefused: ({ code }) => state.refused.push(code),
    });
    const write = (document: BundleDocument, written?: Written): void => {
      state.maps = mapsOf(document, written);
      source.look();
    };
    return { state, source, write };
  }
  const connection = (source: ReturnType<typeof sourceOf>['source']) => source.current().connection('shop', 'orders')!;
  const identity = (namespace: string): VerifiedIdentity => ({
    subject: { username: 'x', groups: [], claims: {}, pod: { namespace, name: 'p', uid: 'u' } },
    sessionExpiresAt: new Date(),
    tokenId: 't',
    tokenLifetimeSeconds: 1,
  });

  test('has nothing in force before the first good one', () => {
    const { source, state } = sourceOf();
    source.look();
    source.look();
    expect(state.refused).toEqual(['SPX001']);
    expect(source.document).toBeUndefined();
    expect(source.current().connections).toEqual([]);
    source.heard();
    expect(source.age()).toBe(Number.POSITIVE_INFINITY);
  });

  test('never goes back, nor sideways', () => {
    const { source, state, write } = sourceOf();
    write(documentOf({ sequence: 5 }));
    write(documentOf({ sequence: 4, allowedNamespaces: { orders: ['*'] } }));
    write(documentOf({ sequence: 5, allowedNamespaces: { orders: ['*'] } }));
    expect(state.refused).toEqual(['SPX005', 'SPX005']);
    expect(source.document?.allowedNamespaces).toEqual({ orders: ['agents'] });
    write(documentOf({ sequence: 6 }));
    expect(state.inForce).toEqual([5, 6]);
  });

  test('takes the bundle of its own mark again after a restart, and none before it', () => {
    const first = sourceOf();
    first.write(documentOf({ sequence: 5 }));
    const mark = first.source.mark!;
    const second = sourceOf(mark);
    second.write(documentOf({ sequence: 4 }));
    expect(second.source.document).toBeUndefined();
    second.write(documentOf({ sequence: 5 }));
    expect(second.source.mark).toEqual(mark);
  });

  test('swaps the compiled policy only when a decision could change', () => {
    const { source, write } = sourceOf();
    write(documentOf());
    const before = source.current();
    let told = 0;
    source.onChange(() => told++);
    write(documentOf({ sequence: 2, allowedNamespaces: {} }));
    expect(source.current()).toBe(before);
    write(documentOf({ sequence: 3, resources: { connections: [orders], policies: [], maskingRules: [] } }));
    expect(source.current()).not.toBe(before);
    expect(told).toBe(1);
  });

  test('grows old while the API server is away, or what is there is not the operator’s word; then everything is denied', () => {
    const { source, state, write } = sourceOf();
    const gate = createClusterGate(source);
    write(documentOf());
    const served = connection(source);
    state.now = 300_000;
    expect(gate.suspension(served)).toBeUndefined();
    state.now = 300_001;
    expect(gate.suspension(served)).toMatchObject({ code: 'SPX010' });
    source.heard();
    expect(gate.suspension(served)).toBeUndefined();
    write(documentOf({ sequence: 2 }), { key: generateKeyPairSync('ed25519').privateKey });
    state.now += 300_001;
    // The API server is there all the time.
    source.heard();
    expect(gate.suspension(served)).toMatchObject({ code: 'SPX010' });
    write(documentOf({ sequence: 2 }));
    expect(gate.suspension(served)).toBeUndefined();
  });

  test('lets pods of the allowed namespaces to a connection, and no others', () => {
    const { source, write } = sourceOf();
    const gate = createClusterGate(source);
    write(documentOf());
    expect(gate.refusal(connection(source), identity('agents'))).toBeUndefined();
    expect(gate.refusal(connection(source), identity('other'))).toMatchObject({ code: 'SPX011' });
    write(documentOf({ sequence: 2, allowedNamespaces: {} }));
    expect(gate.refusal(connection(source), identity('agents'))).toMatchObject({ code: 'SPX011' });
    write(documentOf({ sequence: 3, allowedNamespaces: { orders: ['*'] } }));
    expect(gate.refusal(connection(source), identity('other'))).toBeUndefined();
  });
});
