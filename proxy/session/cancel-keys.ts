import { randomPart } from './random.ts';

/**
 * Cancel keys that the gateway gives to clients: the target's real process id (clients show it, and NOTIFY carries it) with a secret
 * of our own. The first byte of a secret names the worker process, so that a CancelRequest, which may arrive at any of them, finds
 * the one that has the session.
 */
export interface CancelKeys {
  /** @param bytes 4 for protocol 3.0, up to 256 for 3.2 */
  issue(processId: number, bytes: number, cancel: () => void): { readonly secret: Buffer; revoke(): void };
  /** True when the key was known here and its session was asked to cancel. */
  cancel(processId: number, secret: Uint8Array): boolean;
  /** Worker that a secret belongs to. */
  workerOf(secret: Uint8Array): number;
}

export function createCancelKeys(worker: number): CancelKeys {
  const sessions = new Map<string, () => void>();
  const keyOf = (processId: number, secret: Uint8Array): string =>
    `${processId}:${Buffer.from(secret).toString('hex')}`;
  return {
    issue(processId, bytes, cancel) {
      const secret = randomPart(bytes);
      secret[0] = worker;
      const key = keyOf(processId, secret);
      sessions.set(key, cancel);
      return { secret, revoke: () => void sessions.delete(key) };
    },
    cancel(processId, secret) {
      const found = sessions.get(keyOf(processId, secret));
      found?.();
      return found !== undefined;
    },
    workerOf: (secret) => secret[0] ?? 0,
  };
}
