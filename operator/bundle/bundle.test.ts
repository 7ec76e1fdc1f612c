import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { MaskingRule } from '../../api/resources.ts';
import { sha256 } from '../../policy/canonical.ts';
import { connection } from '../desired/inputs.fixture.ts';
import { allowedNamespaces, bundleContent, gatewayPorts } from './document.ts';
import { contentHash, isSigned, nextSequence, PIECE_BYTES, packBundle, unpack } from './pack.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const key = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32).toString('base64');
const signer = (data: Uint8Array): Buffer => sign(null, data, privateKey);

const sources = {
  namespace: 'shop',
  guardrailNamespace: 'sallyport-system',
  connections: [connection('orders')],
  policies: [],
  maskingRules: [],
  namespaces: [],
  voteAuthorities: [key],
};

const noise = (bytes: number): MaskingRule => ({
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'MaskingRule',
  metadata: { namespace: 'shop', name: 'noise' },
  spec: { connections: { all: true }, columns: [{ match: [randomBytes(bytes).toString('base64')] }] },
});

describe('a bundle', () => {
  test('is signed over its bytes, and its hash is that of its text', () => {
    const bundle = packBundle(bundleContent(sources), 7, signer);
    expect(isSigned(bundle.pieces, bundle.signature, key)).toBe(true);
    const text = gunzipSync(Buffer.concat(bundle.pieces)).toString('utf8');
    expect(sha256(text)).toBe(bundle.hash);
    expect(JSON.parse(text)).toMatchObject({ version: 1, namespace: 'shop', sequence: 7 });
    const { hash, content, sequence } = bundle;
    expect(unpack(bundle.pieces)).toEqual({ hash, content, sequence });
  });

  test('any byte that is changed shows', () => {
    const bundle = packBundle(bundleContent(sources), 7, signer);
    const packed = Buffer.concat(bundle.pieces);
    fc.assert(
      fc.property(fc.nat(packed.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const changed = Buffer.from(packed);
        changed[at] = (changed[at] ?? 0) ^ mask;
        expect(isSigned([changed], bundle.signature, key)).toBe(false);
      }),
    );
  });

  test('status and annotations are not in it, so they change nothing', () => {
    const object = connection('orders');
    const busy = {
      ...object,
      metadata: { ...object.metadata, annotations: { note: 'x' } },
      status: { sessions: 4 },
    };
    expect(contentHash(bundleContent({ ...sources, connections: [busy] }))).toBe(contentHash(bundleContent(sources)));
  });

  test('is cut into pieces that a ConfigMap holds, and refused when it is too large', () => {
    const content = bundleContent({ ...sources, maskingRules: [noise(2 * PIECE_BYTES)] });
    const bundle = packBundle(content, 1, signer);
    expect(bundle.pieces.length).toBeGreaterThan(1);
    expect(bundle.pieces.every((piece) => piece.length <= PIECE_BYTES)).toBe(true);
    expect(isSigned(bundle.pieces, bundle.signature, key)).toBe(true);
    expect(() => packBundle(content, 1, signer, PIECE_BYTES)).toThrow(/more than the limit of/);
  });

  test('goes forward, also when the one before is gone or the clock goes back', () => {
    expect(nextSequence(5, 3)).toBe(6);
    expect(nextSequence(5, 1000)).toBe(1000);
    expect(nextSequence(undefined, 1000)).toBe(1000);
  });
});

describe('who may use a connection', () => {
  const namespaces = ['a', 'b', 'c'].map((name) => ({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: {
      name,
      labels: { team: name === 'b' ? 'y' : 'x' },
      ...(name === 'c' ? { deletionTimestamp: 'now' } : {}),
    },
  }));

  test.each([
    [undefined, ['shop']],
    [{ from: 'Same' as const }, ['shop']],
    [{ from: 'All' as const }, ['*']],
    [{ from: 'Selector' as const, selector: { matchLabels: { team: 'x' } } }, ['a']],
    [{ from: 'Selector' as const, selector: {} }, []],
    [{ from: 'Selector' as const }, []],
  ])('%j', (allowed, names) => {
    const object = connection('orders', allowed === undefined ? {} : { allowedNamespaces: allowed });
    expect(allowedNamespaces(object, namespaces)).toEqual(names);
  });
});

test('gateway ports are one for each connection, and of none that is reserved', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.stringMatching(/^[a-z0-9]{1,12}$/), { maxLength: 60 }), (names) => {
      const ports = Object.values(gatewayPorts(names.map((name) => connection(name, { routing: 'Gateway' }))));
      expect(new Set(ports).size).toBe(names.length);
      expect(ports.every((port) => port >= 20_000 && port < 30_000)).toBe(true);
    }),
  );
});
