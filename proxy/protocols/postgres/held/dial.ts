import type { CredentialLease, PostgresCredential } from '../../../ports.ts';
import type { LanePorts, LaneSession } from '../relay/session-state.ts';
import { connectUpstream, type UpstreamSession } from '../upstream.ts';

/** At one time, in this process. */
const MAX_PREVIEWS = 4;

/**
 * Connections for previews: read only, each with a lease of its own, and, as they come of agents that may ask often, few at a time.
 * Whoever gets one closes it. @throws what `lease` and `connectUpstream` throw, and when there are too many
 */
export function createPreviewDialler(
  ports: Pick<LanePorts, 'leases' | 'credentials'>,
  timeoutMs: number,
): (session: LaneSession, signal: AbortSignal) => Promise<UpstreamSession> {
  let open = 0;
  return async (session, signal) => {
    if (open >= MAX_PREVIEWS) throw new Error('there are too many previews at once');
    open++;
    const { connection, id, identity, judgement, record } = session;
    let lease: CredentialLease<PostgresCredential> | undefined;
    try {
      const { subject } = identity;
      const request = { session: id, subject, scope: judgement.scope, stream: record.stream, signal };
      lease = await ports.leases.lease(connection, request);
      const dialled = await connectUpstream({
        connection,
        credential: lease.credential,
        certificateAuthorities: await ports.credentials.certificateAuthorities(connection),
        database: session.database,
        parameters: {
          application_name: 'sallyport-preview',
          client_encoding: 'UTF8',
          standard_conforming_strings: 'on',
          default_transaction_read_only: 'on',
        },
        protocolMinor: 0,
        signal,
        timeoutMs,
      });
      const { release } = lease;
      dialled.wire.socket.once('close', () => {
        open--;
        void release();
      });
      return dialled;
    } catch (error) {
      open--;
      await lease?.release();
      throw error;
    }
  };
}
