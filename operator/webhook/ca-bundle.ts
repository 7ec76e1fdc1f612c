import { MUTATING_WEBHOOK_CONFIGURATIONS, VALIDATING_WEBHOOK_CONFIGURATIONS } from '../../kube/builtin.ts';
import { type Controller, createController } from '../../kube/controller.ts';
import { createReflector } from '../../kube/reflector.ts';
import type { KubeClient, KubeObject, Log, ResourceType } from '../../kube/types.ts';
import type { KeyRing } from '../pki/key-ring.ts';
import type { PatchOperation } from './admission.ts';
import { WebhookError } from './errors.ts';
import { WEBHOOK_CONFIGURATION } from './paths.ts';

/** As much of a webhook configuration as `caBundle` needs. */
export interface WebhookConfiguration extends KubeObject {
  readonly webhooks?: readonly {
    readonly name: string;
    readonly clientConfig: { readonly caBundle?: string };
  }[];
}

type Step = PatchOperation | { readonly op: 'test'; readonly path: string; readonly value: unknown };

/**
 * What makes every webhook of the configuration trust `trust` (PEM); empty when all do. Each step says which webhook it is about, so that
 * one that was reordered meanwhile is not given another's.
 */
export function caBundlePatch({ webhooks = [] }: WebhookConfiguration, trust: string): Step[] {
  const caBundle = Buffer.from(trust).toString('base64');
  return webhooks.flatMap(({ name, clientConfig }, index): Step[] =>
    clientConfig.caBundle === caBundle
      ? []
      : [
          { op: 'test', path: `/webhooks/${index}/name`, value: name },
          { op: 'add', path: `/webhooks/${index}/clientConfig/caBundle`, value: caBundle },
        ],
  );
}

const KINDS = [MUTATING_WEBHOOK_CONFIGURATIONS, VALIDATING_WEBHOOK_CONFIGURATIONS] as unknown as readonly [
  ResourceType<WebhookConfiguration>,
  ResourceType<WebhookConfiguration>,
];
const FIELD_MANAGER = 'sallyport-ca-bundle';

export interface CaBundleOptions {
  readonly client: KubeClient;
  readonly keys: Pick<KeyRing, 'trust' | 'onChange'>;
  readonly log: Log;
  /** Name of both configurations. Default `sallyport`. */
  readonly name?: string;
}

/**
 * Keeps `caBundle` of the installation's webhook configurations: all authorities that are trusted now. The chart leaves the field out and
 * another field manager writes it, so that nobody who applies the chart again sees a difference. Ends with the signal.
 */
export async function keepCaBundle(options: CaBundleOptions, signal: AbortSignal): Promise<void> {
  const { client, keys, log, name = WEBHOOK_CONFIGURATION } = options;
  const copies = KINDS.map((type) => createReflector({ client, type, log, fieldSelector: `metadata.name=${name}` }));

  async function reconcile(kind: string, inner: AbortSignal): Promise<void> {
    const copy = copies.find(({ type }) => type.kind === kind);
    const configuration = copy?.get(undefined, name);
    if (copy === undefined || configuration === undefined) return;
    const body = caBundlePatch(configuration, keys.trust());
    if (body.length === 0) return;
    try {
      await client.patch(copy.type, { name }, { type: 'json', body }, { fieldManager: FIELD_MANAGER, signal: inner });
    } catch (error) {
      throw new WebhookError('SPW031', [`${kind} ${name}`, error instanceof Error ? error.message : ''], error);
    }
    log.info({ kind, name }, 'caBundle was written');
  }

  const controller: Controller = createController({ name: 'ca-bundle', reconcile, workers: 1, log });
  const all = (): void => {
    for (const { kind } of KINDS) controller.add(kind);
  };
  const stops = [keys.onChange(all), ...copies.map((copy) => copy.onChange(() => controller.add(copy.type.kind)))];
  try {
    await Promise.all([...copies.map((copy) => copy.run(signal)), controller.run(signal)]);
  } finally {
    for (const stop of stops) stop();
  }
}
