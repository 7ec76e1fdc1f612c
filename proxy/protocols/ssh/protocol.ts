import type { Lane, LaneContext } from '../../lane.ts';
import { createJudgements } from '../../session/judgements.ts';
import { createRegistrations } from './auth/registrations.ts';
import { createSshLeases } from './credentials/leases.ts';
import { createSshLane } from './lane.ts';

/** The SSH lane of a process. */
export function createSshProtocol(context: LaneContext): Lane {
  const leases = createSshLeases({ credentials: context.credentials, observer: context.credentialObserver });
  const registrations = createRegistrations(context.bundles);
  const lane = createSshLane({
    ports: { ...context, judgement: createJudgements((scope, connection) => ({ scope, connection })) },
    verifier: context.verifier,
    recorder: context.recorder,
    observer: context.observer,
    connectTimeoutMs: context.connectTimeoutMs,
    stopping: context.stopping,
    leases,
    registrations,
    hostKeys: context.sshHostKeys,
    loginGraceMs: context.limits.authenticationTimeoutMs,
  });
  return { ...lane, close: (signal) => leases.close(signal) };
}
