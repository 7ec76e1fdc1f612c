import type { CompiledConnection } from '../../../policy/bundle.ts';
import type { Lane, LaneContext } from '../../lane.ts';
import { createHttpLane } from '../http/core/lane.ts';
import { createUpstreams } from '../http/core/upstream/pools.ts';
import { createKubernetesApplication } from './application.ts';
import { createLongRequests } from './long-requests.ts';
import { createMasks } from './masks.ts';
import { createDiscovery } from './meaning/discovery.ts';
import type { Discovery } from './meaning/port.ts';
import { createSignIns } from './upstream/sign-in.ts';

/** The Kubernetes lane of a process. */
export function createKubernetesProtocol(context: LaneContext): Lane {
  const { credentials, cluster, connectTimeoutMs, log } = context;
  const upstreams = createUpstreams({ connectTimeoutMs });
  const long = createLongRequests(context.bundles);
  const discoveries = new WeakMap<CompiledConnection, Discovery>();
  const application = createKubernetesApplication({
    ...context,
    signIns: createSignIns({
      credentials,
      cluster,
      now: Date.now,
      unknown: (connection) =>
        log.warn(
          { connection, code: 'SPL014' },
          'the API server answered 401: it does not know the credential of this connection',
        ),
    }),
    upstreams,
    long,
    masks: createMasks(credentials),
    discovery(connection) {
      const discovery = discoveries.get(connection) ?? createDiscovery(Date.now);
      discoveries.set(connection, discovery);
      return discovery;
    },
  });
  const lane = createHttpLane(context, application);
  return {
    ...lane,
    async close(signal) {
      long.close();
      await lane.close(signal);
      await upstreams.close();
    },
  };
}
