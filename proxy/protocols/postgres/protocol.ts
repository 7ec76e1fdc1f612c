import type { Lane, LaneContext } from '../../lane.ts';
import { createCancelKeys } from '../../session/cancel-keys.ts';
import { createJudgements } from '../../session/judgements.ts';
import { catalogColumns } from './catalog/columns.ts';
import { createCatalogs } from './catalogs.ts';
import { createPostgresLeases } from './credentials/leases.ts';
import { createJudgement } from './judge.ts';
import { createPostgresLane } from './lane.ts';

/** The PostgreSQL lane of a process, with the catalogs and the logins that its sessions share. */
export function createPostgresProtocol(context: LaneContext): Lane {
  const { bundles, credentials, recorder, installation } = context;
  const catalogs = createCatalogs({ credentials, log: context.log });
  const leases = createPostgresLeases({
    credentials,
    catalogs: catalogs.of,
    recorder,
    observer: context.credentialObserver,
    installation: installation.id,
    process: installation.process,
    isAlive: installation.isAlive,
    connections: () => bundles.current().connections,
    sweeps: context.worker === 0,
  });
  const lane = createPostgresLane({
    ports: { ...context, leases, judgement: createJudgements(createJudgement) },
    verifier: context.verifier,
    authentication: {
      tls: context.tls,
      plaintextLoopback: context.plaintextLoopback,
      timeoutMs: context.limits.authenticationTimeoutMs,
    },
    recorder,
    cancelKeys: createCancelKeys(context.worker),
    cancelElsewhere: context.cancelElsewhere,
    catalogs: leases.catalogOf,
    observer: context.observer,
    connectTimeoutMs: context.connectTimeoutMs,
    stopping: context.stopping,
  });
  return {
    ...lane,
    columns(connection) {
      const catalog = catalogs.inForce(connection);
      return catalog === undefined ? undefined : catalogColumns(catalog);
    },
    async close(signal) {
      await leases.close(signal);
      catalogs.close();
    },
  };
}
