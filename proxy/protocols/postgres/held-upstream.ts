import type { Wire } from '../../listener/wire.ts';
import { CredentialError } from './credentials/errors.ts';
import type { LeasedConnection } from './per-command/succession.ts';
import { createPerCommandUpstream } from './per-command/wire.ts';
import { reportOf } from './refusal.ts';
import type { LaneSession } from './relay/session-state.ts';

/** The connection, or one after another, that a session has to its target, with the credential behind it. */
export interface HeldUpstream {
  readonly wire: Wire;
  /** Undefined between two commands, where each has a credential of its own. */
  current(): LeasedConnection | undefined;
  /** After the wire was closed. Never throws. */
  release(): Promise<void>;
}

/** @param open signs in anew, for a credential that is good for one command */
export function holdUpstream(
  first: LeasedConnection,
  open: (signal: AbortSignal) => Promise<LeasedConnection>,
  session: () => LaneSession,
): HeldUpstream {
  const { lease, upstream } = first;
  if (!lease.perCommand) return { wire: upstream.wire, current: () => first, release: () => lease.release() };
  return createPerCommandUpstream({
    first,
    open,
    onLogin(username) {
      session().login = username;
    },
    onFailed: (error) => session().fail(reportOf(error)),
    settingsRefused(sqlstate) {
      const { namespace, name } = session().connection;
      return new CredentialError('SPK008', [`${namespace}/${name}`, sqlstate]);
    },
    now: Date.now,
  });
}
