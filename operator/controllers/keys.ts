import { NAMES } from '../../api/cluster.ts';
import { SECRETS, type Secret } from '../../kube/builtin.ts';
import { type Controller, createController } from '../../kube/controller.ts';
import type { Reflector } from '../../kube/types.ts';
import type { ControllerContext } from '../context.ts';
import { nextChange } from '../pki/material.ts';
import { materialOf, openKeys, renewKeys } from '../pki/store.ts';

const KEY = 'keys';
/** Also for a clock that is set: the end of an authority must not be missed by a timer that was started before. */
const MAX_WAIT_MS = 3_600_000;

/** Makes the keys anew when they are gone, and renews the authority in time. There is one key of this queue. */
export function createKeysController(context: ControllerContext, secret: Reflector<Secret>): Controller {
  const { client, namespace, keys, now, log, metrics, settings } = context;
  const controller = createController({
    name: KEY,
    log,
    metrics,
    async reconcile(_key, signal) {
      // Not from the copy: what is decided here is written, and must not undo what was just written.
      const found = await client.get(SECRETS, { namespace, name: NAMES.keys }, { signal });
      const wanted = { now: now(), generation: settings.signingKeyGeneration };
      const material =
        found === undefined
          ? await openKeys(client, namespace, wanted, signal)
          : await renewKeys(client, found, wanted, signal);
      keys.replace(material);
      return { requeueAfterMs: Math.max(1000, Math.min(nextChange(material) - now(), MAX_WAIT_MS)) };
    },
  });
  controller.add(KEY);
  controller.follow(secret, () => [KEY]);
  return controller;
}

/** Takes over what another replica wrote; on every replica. What cannot be read is said, and the last good keys stay. */
export function followKeys(
  secret: Reflector<Secret>,
  { keys, log }: Pick<ControllerContext, 'keys' | 'log'>,
): () => void {
  return secret.onChange((change) => {
    if (change.type === 'deleted') return;
    try {
      keys.replace(materialOf(change.object));
    } catch (error) {
      log.error({ err: error }, 'the new keys cannot be used; the old ones stay');
    }
  });
}
