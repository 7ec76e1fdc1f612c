import { X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import { NAMES } from '../../api/cluster.ts';
import type { KeyRing } from '../pki/key-ring.ts';
import { WebhookError } from './errors.ts';

/** What the webhooks show to the API server: signed by this replica for itself, in memory alone. */
export interface ServingCertificate {
  /** For new connections. */
  context(): SecureContext;
  expiresAt(): Date;
  /** Makes a new one when two thirds of its life are over. To be called now and then. @throws WebhookError SPW030 */
  refresh(): void;
  /** Stops following the keys. */
  close(): void;
}

export interface ServingCertificateOptions {
  readonly keys: Pick<KeyRing, 'issue' | 'onChange'>;
  /** Where the operator is installed. */
  readonly namespace: string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Told of a certificate that could not be made when the keys changed; the one before stays in use. */
  readonly onFailure: (error: unknown) => void;
}

export const LEAF_MS = 7 * 86_400_000;

/** Names under which the API server knows the Service of the webhooks. */
export const servingNames = (namespace: string): string[] => [
  `${NAMES.webhook}.${namespace}.svc`,
  `${NAMES.webhook}.${namespace}.svc.cluster.local`,
  // An operator that runs as a process beside an API server, as in tests, is called by its address.
  'localhost',
  '127.0.0.1',
];

/**
 * Seven days, signed by the authority that signs now. An authority signs only a day after it was trusted first (pki/material.ts), so
 * that the API server never meets a certificate of one that it does not know from `caBundle`.
 *
 * @throws WebhookError SPW030
 */
export function createServingCertificate(options: ServingCertificateOptions): ServingCertificate {
  const { keys, namespace, now } = options;

  function make(): { context: SecureContext; from: number; to: number } {
    try {
      const { certificate, key } = keys.issue({
        commonName: `${NAMES.webhook}.${namespace}.svc`,
        names: servingNames(namespace),
        use: 'server',
        lifetimeMs: LEAF_MS,
      });
      const { validToDate } = new X509Certificate(certificate);
      const context = createSecureContext({ cert: certificate, key, minVersion: 'TLSv1.2' });
      return { context, from: now(), to: validToDate.getTime() };
    } catch (error) {
      throw new WebhookError('SPW030', [error instanceof Error ? error.message : String(error)], error);
    }
  }

  let current = make();
  const stop = keys.onChange(() => {
    try {
      current = make();
    } catch (error) {
      options.onFailure(error);
    }
  });
  return {
    context: () => current.context,
    expiresAt: () => new Date(current.to),
    refresh() {
      if (now() >= current.from + ((current.to - current.from) * 2) / 3) current = make();
    },
    close: stop,
  };
}
