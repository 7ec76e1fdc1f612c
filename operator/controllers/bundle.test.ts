import { expect, test } from 'vitest';
import { CONFIG_MAPS, type ConfigMap } from '../../kube/builtin.ts';
import type { PackedBundle } from '../bundle/pack.ts';
import { bundleConfigMaps } from '../desired/bundle-config-maps.ts';
import { createKeyRing } from '../pki/key-ring.ts';
import { newMaterial } from '../pki/material.ts';
import { type BundleNeeds, bundleFor, presentBundle, wantedContent } from './bundle.ts';

const NOW = Date.parse('2026-01-02T10:00:00Z');
const keys = createKeyRing(newMaterial(NOW), () => NOW);
const nothing = { list: () => [] };

/** An operator that finds these ConfigMaps in namespace shop. */
function finding(maps: readonly ConfigMap[]): BundleNeeds {
  const current = (type: unknown, _namespace: string, name: string) =>
    type === CONFIG_MAPS ? maps.find(({ metadata }) => metadata.name === name) : undefined;
  const stores = { connections: nothing, policies: nothing, maskingRules: nothing, namespaces: nothing };
  return {
    namespace: 'sallyport-system',
    now: () => NOW,
    keys,
    applier: { current },
    ...stores,
  } as unknown as BundleNeeds;
}

const mapsOf = (bundle: PackedBundle): ConfigMap[] => bundleConfigMaps('shop', [], bundle);

const empty = finding([]);
const content = wantedContent(empty, 'shop');
const older = bundleFor(empty, 'shop', { ...content, gatewayPorts: { old: 20_000 } });
const newest = bundleFor(finding(mapsOf(older)), 'shop', content);

test('a bundle that says what is wanted is left alone', () => {
  expect(bundleFor(finding(mapsOf(newest)), 'shop', content)).toEqual(newest);
});

test.each([
  ['the content', { content: newest.content }],
  ['content and hash', { content: newest.content, hash: newest.hash }],
  ['everything', { content: newest.content, hash: newest.hash, sequence: newest.sequence }],
])('an older bundle of ours is not taken for the newest because %s beside it is said to be', (_what, said) => {
  const forged = finding(mapsOf({ ...older, ...said }));
  expect(presentBundle(forged, 'shop')).toBeUndefined();
  const made = bundleFor(forged, 'shop', content);
  expect(made.content).toBe(newest.content);
  expect(made.pieces).not.toEqual(older.pieces);
  expect(made.sequence).toBeGreaterThan(older.sequence);
});
