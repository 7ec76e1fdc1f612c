import type { ApprovalRequest } from '../../api/resources.ts';
import { type State, stateOf } from '../../approval/state.ts';
import type { ApprovalContext } from './context.ts';
import { ApprovalError } from './errors.ts';
import { splitName } from './hash.ts';
import type { RequestRef } from './request-store.ts';

/** What is remembered of a request, for limits and reuse; nothing is released on it. */
interface Entry {
  readonly name: string;
  readonly uid: string;
  readonly state: State;
  readonly username: string;
  readonly connection: string;
  readonly expiresAt: number;
  readonly fingerprint: string | undefined;
  readonly stamp: string;
}

/** The requests of one namespace, as of the last refresh. */
export interface NamespaceIndex {
  /** Reads what changed since; the first time, everything. */
  refresh(): Promise<void>;
  /** `undefined`: all may have changed. */
  dirty(name: string | undefined): void;
  /** Highest number of a name, 0 when there is none. */
  latest(base: string): number;
  pending(now: number): {
    readonly ofSubject: (username: string) => number;
    readonly onConnection: (name: string) => number;
  };
  /** Used requests whose approval may cover the same statement with other values, the newest first. */
  reusable(fingerprint: string): readonly RequestRef[];
  /** Counts a request from now on, before it is made: others that come meanwhile see it. */
  put(request: ApprovalRequest, stamp: string): void;
  /** The name is somebody else's, whether what is behind it was seen or not: it is not proposed again. */
  taken(name: string): void;
  remove(name: string): void;
}

/** Longer than any timeout (7 days) and reuse (1 day) together: what nobody touched since is over, and need not be read. */
const OVER_MS = 9 * 86_400_000;

export function createNamespaceIndex(context: ApprovalContext, namespace: string): NamespaceIndex {
  const { requests, log } = context;
  const entries = new Map<string, Entry>();
  const numbers = new Map<string, number>();
  const changed = new Set<string>();
  let everything = true;
  let refreshing: Promise<void> | undefined;

  function know(name: string): void {
    const split = splitName(name);
    if (split !== undefined) numbers.set(split.base, Math.max(numbers.get(split.base) ?? 0, split.number));
  }

  function put(request: ApprovalRequest, stamp: string): void {
    const { metadata, spec } = request;
    know(metadata.name);
    entries.set(metadata.name, {
      name: metadata.name,
      uid: metadata.uid ?? '',
      state: stateOf(request),
      username: spec.requester.username,
      connection: spec.connectionRef.name,
      expiresAt: Date.parse(spec.expiresAt),
      fingerprint: spec.reuseFor === undefined ? undefined : spec.request.fingerprint,
      stamp,
    });
  }

  async function readOne(name: string): Promise<void> {
    const ref = { namespace, name };
    try {
      const stamp = await requests.stamp(ref);
      if (stamp === undefined) {
        entries.delete(name);
        return;
      }
      know(name);
      if (entries.get(name)?.stamp === stamp) return;
      if (requests.writtenAt(stamp) < context.now() - OVER_MS) return;
      const stored = await requests.peek(ref);
      if (stored !== undefined) put(stored.request, stored.stamp);
    } catch (error) {
      if (!(error instanceof ApprovalError)) throw error;
      entries.delete(name);
      log.warn({ code: error.code, hint: error.hint }, error.message);
    }
  }

  async function refreshNow(): Promise<void> {
    if (everything) {
      for (const name of await requests.names(namespace)) changed.add(name);
      everything = false;
    }
    for (const name of [...changed]) {
      // Taken out first: what changes while it is read is seen by the next round. What cannot be read stays for it.
      changed.delete(name);
      try {
        await readOne(name);
      } catch (error) {
        changed.add(name);
        throw error;
      }
    }
  }

  return {
    refresh() {
      // Whoever comes while it runs has what changed before they came in the next round.
      const next = (refreshing ?? Promise.resolve()).then(refreshNow, refreshNow);
      refreshing = next;
      return next;
    },
    dirty(name) {
      if (name === undefined) for (const known of entries.keys()) changed.add(known);
      else changed.add(name);
    },
    latest: (base) => numbers.get(base) ?? 0,
    pending(now) {
      const open = [...entries.values()].filter(({ state, expiresAt }) => state === 'Pending' && expiresAt > now);
      return {
        ofSubject: (username) => open.filter((entry) => entry.username === username).length,
        onConnection: (name) => open.filter((entry) => entry.connection === name).length,
      };
    },
    reusable: (fingerprint) =>
      [...entries.values()]
        .filter(
          (entry) => entry.fingerprint === fingerprint && ['Consumed', 'Executed', 'Failed'].includes(entry.state),
        )
        .sort((a, b) => b.expiresAt - a.expiresAt)
        .map(({ name }) => ({ namespace, name })),
    put,
    taken: know,
    remove: (name) => void entries.delete(name),
  };
}
