import { CONFIG_MAPS, type ConfigMap } from '../../kube/builtin.ts';
import { type BundleContent, bundleContent } from '../bundle/document.ts';
import { contentHash, isSigned, nextSequence, type PackedBundle, packBundle, unpack } from '../bundle/pack.ts';
import type { ControllerContext } from '../context.ts';
import { bundleMapName } from '../desired/bundle-config-maps.ts';

export type BundleNeeds = Pick<
  ControllerContext,
  'namespace' | 'connections' | 'policies' | 'maskingRules' | 'namespaces' | 'keys' | 'applier' | 'now'
>;

/** What the proxies of a namespace are to enforce now. */
export function wantedContent(context: BundleNeeds, namespace: string): BundleContent {
  const both = [...new Set([namespace, context.namespace])];
  return bundleContent({
    namespace,
    guardrailNamespace: context.namespace,
    connections: context.connections.list(namespace).filter(({ metadata }) => metadata.deletionTimestamp === undefined),
    policies: both.flatMap((each) => context.policies.list(each)),
    maskingRules: both.flatMap((each) => context.maskingRules.list(each)),
    namespaces: context.namespaces.list(),
    voteAuthorities: context.keys.publicKeys(),
  });
}

/**
 * The bundle for this content: the one that is there when it says the same and is signed, else the next one. What somebody changed in
 * the ConfigMaps does not verify, and is replaced by a new one. @throws OperatorError SPO003
 */
export function bundleFor(context: BundleNeeds, namespace: string, content: BundleContent): PackedBundle {
  const present = presentBundle(context, namespace);
  if (present !== undefined && present.content === contentHash(content)) return present;
  const sequence = nextSequence(knownSequence(context, namespace), context.now());
  return packBundle(content, sequence, (data) => context.keys.sign(data));
}

/** By the ConfigMap with the signature, which was verified: it is asked for again and again, and may be large. */
const unpacked = new WeakMap<ConfigMap, ReturnType<typeof unpack>>();

/** The bundle in the ConfigMaps; undefined when there is none that proxies would take. */
export function presentBundle(context: BundleNeeds, namespace: string): PackedBundle | undefined {
  const map = (index: number) => context.applier.current(CONFIG_MAPS, namespace, bundleMapName(index));
  const first = map(0);
  const data = first?.data;
  if (first === undefined || data === undefined) return undefined;
  const { hash = '', content = '', signature = '' } = data;
  const pieces: Buffer[] = [];
  for (let index = 0; index < Number(data['pieces']) && index < 64; index++) {
    pieces.push(Buffer.from(map(index)?.binaryData?.['bundle'] ?? '', 'base64'));
  }
  const sequence = knownSequence(context, namespace);
  if (sequence === undefined || !isSigned(pieces, signature, context.keys.publicKey())) return undefined;
  // Only the pieces are signed: an older bundle of ours under the hashes of the newest would stay, and be taken for it.
  const said = unpacked.get(first) ?? unpack(pieces);
  unpacked.set(first, said);
  if (said.hash !== hash || said.content !== content || said.sequence !== sequence) return undefined;
  return { hash, content, sequence, signature, pieces };
}

function knownSequence(context: BundleNeeds, namespace: string): number | undefined {
  const text = context.applier.current(CONFIG_MAPS, namespace, bundleMapName(0))?.data?.['sequence'];
  const sequence = Number(text);
  // A number far ahead of the clock is not ours, and would only go on growing.
  return text !== undefined && Number.isSafeInteger(sequence) && sequence < context.now() + 86_400_000
    ? sequence
    : undefined;
}
