import type { Lane, LaneContext } from '../../lane.ts';
import { createHttpLane } from './core/lane.ts';
import { createUpstreams } from './core/upstream/pools.ts';
import { createSignIns } from './credentials/sign-in.ts';
import { createHttpApplication } from './lane.ts';
import { createMasksOf } from './masks.ts';
import { createBoundMcp } from './mcp/bound.ts';
import { createVerdicts } from './verdicts.ts';

/** The HTTP lane of a process. */
export function createHttpProtocol(context: LaneContext): Lane {
  const { credentials, cluster, connectTimeoutMs, credentialObserver, log } = context;
  const upstreams = createUpstreams({ connectTimeoutMs });
  const signIns = createSignIns({
    credentials,
    cluster,
    now: Date.now,
    failed: (connection, error) => {
      const { code } = error as Error & { code?: string };
      log.warn({ connection, code, cause: causeOf(error) }, error.message);
    },
    issued: (connection, seconds) => credentialObserver.ended(connection, 'token', seconds),
  });
  const lane = createHttpLane(
    context,
    createHttpApplication({
      ...context,
      signIns,
      upstreams,
      masksOf: createMasksOf(credentials),
      verdicts: createVerdicts(),
      dialects: [createBoundMcp()],
    }),
  );
  return {
    ...lane,
    async close(signal) {
      await lane.close(signal);
      await upstreams.close();
    },
  };
}

const causeOf = ({ cause }: Error): string | undefined => (cause instanceof Error ? cause.message : undefined);
