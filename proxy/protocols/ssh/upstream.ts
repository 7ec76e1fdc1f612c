import type { CompiledConnection } from '../../../policy/bundle.ts';
import type { Wire } from '../../listener/wire.ts';
import type { CredentialLease, CredentialLeases, SshCredential, SshLeaseRequest } from '../../ports.ts';
import { dialTarget, labelOf } from '../../upstream/dial.ts';
import { UpstreamError } from '../../upstream/errors.ts';
import { pinnedHostKeys } from './credentials/host-keys.ts';
import { connectTarget } from './transport/connect.ts';
import { type ConnectionLayer, TargetFailure } from './transport/port.ts';

/** A connection to the target that is signed in. */
export interface TargetConnection {
  readonly layer: ConnectionLayer;
  readonly lease: CredentialLease<SshCredential>;
}

export interface SignInOptions {
  readonly connection: CompiledConnection;
  readonly leases: CredentialLeases<SshCredential, SshLeaseRequest>;
  readonly request: Omit<SshLeaseRequest, 'localAddress'>;
  readonly clientVersion: string;
  /** From dialling to the end of the sign-in, in milliseconds. */
  readonly timeoutMs: number;
  readonly onBanner?: (text: string) => void;
}

/**
 * Dials, leases a credential for the way that was dialled, and meanwhile agrees on keys; signs in with it once the target has proved itself by a pinned key.
 * @throws UpstreamError, SshCredentialError; the signal's reason; with the lease released
 */
export async function signIn({
  connection,
  leases,
  request,
  clientVersion,
  timeoutMs,
  onBanner,
}: SignInOptions): Promise<TargetConnection> {
  const hostKeys = pinnedHostKeys(connection);
  const timeout = AbortSignal.timeout(timeoutMs);
  const signal = AbortSignal.any([request.signal, timeout]);
  let wire: Wire;
  try {
    wire = await dialTarget(connection, signal);
  } catch (error) {
    request.signal.throwIfAborted();
    throw timeout.aborted ? new UpstreamError('SPU003', [labelOf(connection), 'connecting'], error) : error;
  }
  // Made and recorded while keys are agreed on; the sign-in waits for it, and says so where it fails.
  const leasing = leases.lease(connection, { ...request, localAddress: wire.socket.localAddress });
  const leased = leasing.catch(() => undefined);
  try {
    const layer = await connectTarget(wire, {
      hostKeys,
      hostNames: [connection.target.host],
      credential: async () => (await leasing).credential,
      clientVersion,
      timeoutMs,
      signal,
      ...(onBanner === undefined ? {} : { onBanner }),
    });
    return { layer, lease: await leasing };
  } catch (error) {
    wire.destroy();
    await (await leased)?.release();
    request.signal.throwIfAborted();
    throw failureOf(connection, error);
  }
}

function failureOf(connection: CompiledConnection, error: unknown): unknown {
  if (!(error instanceof TargetFailure)) return error;
  const label = labelOf(connection);
  switch (error.code) {
    case 'timeout':
    case 'aborted':
      return new UpstreamError('SPU003', [label, 'signing in'], error);
    case 'closed':
      return new UpstreamError('SPU004', [label, 'signing in'], error);
    case 'protocol':
      return new UpstreamError('SPU022', [label], error);
    case 'negotiation':
      return new UpstreamError('SPU023', [label], error);
    case 'host-key':
      return new UpstreamError('SPU024', [label], error);
    case 'authentication':
      return new UpstreamError('SPU025', [label], error);
    default:
      return error.code satisfies never;
  }
}
