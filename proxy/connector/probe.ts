import { connect } from 'node:net';
import type { ConnectorTarget } from '../../api/connector-config.ts';
import { ConnectorError, reasonOf } from './errors.ts';
import type { ConnectorLog } from './log.ts';
import { pause } from './wait.ts';

/** What is known of a target's reachability past Sallyport. */
export type ProbeState =
  | { readonly type: 'unknown'; readonly reason: string }
  | { readonly type: 'closed' }
  | { readonly type: 'open'; readonly address: string };

export interface ProbeOptions {
  /** Addresses of a host by DNS, not by the hosts file of the pod; empty when there is no such name. */
  readonly resolve: (host: string) => Promise<readonly string[]>;
  /** Whether a connection to the address is accepted. */
  readonly accepts?: (address: string, port: number, signal: AbortSignal) => Promise<boolean>;
  readonly report: (reachable: boolean) => void;
  /** Called when what is known has changed. */
  readonly onState: (state: ProbeState) => void;
  readonly log: ConnectorLog;
  /**
   * Milliseconds: between attempts while a NetworkPolicy may not have come into force for a pod this new; until an open or unknown
   * target is tried again; until a closed one is.
   */
  readonly timing?: { readonly attempts: readonly number[]; readonly again: number; readonly later: number };
}

const TIMING = { attempts: [1000, 2000], again: 10_000, later: 3_600_000 };
const DIAL_MS = 2000;
const ADDRESSES = 16;

/** Whether somebody accepts a TCP connection. A refused one is closed too: nobody would speak there. */
export function acceptsConnection(address: string, port: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const end = (accepted: boolean) => (): void => {
      signal.removeEventListener('abort', giveUp);
      socket.destroy();
      resolve(accepted);
    };
    const giveUp = end(false);
    socket.setTimeout(DIAL_MS, giveUp);
    socket.once('connect', end(true));
    // Stays: an error may follow the time-out.
    socket.on('error', giveUp);
    if (signal.aborted) giveUp();
    else signal.addEventListener('abort', giveUp, { once: true });
  });
}

/** Dials a target past Sallyport now and then, until the signal ends, and tells what it finds. Never rejects. */
export async function probeTarget(target: ConnectorTarget, options: ProbeOptions, signal: AbortSignal): Promise<void> {
  const { resolve, accepts = acceptsConnection, report, onState, log, timing = TIMING } = options;
  const place = `${target.host}:${target.port}`;

  async function look(): Promise<ProbeState> {
    const addresses = (await resolve(target.host)).slice(0, ADDRESSES);
    const answers = await Promise.all(addresses.map((address) => accepts(address, target.port, signal)));
    const open = addresses.find((_, index) => answers[index]);
    return open === undefined ? { type: 'closed' } : { type: 'open', address: open };
  }

  async function lookPatiently(): Promise<ProbeState> {
    try {
      let state = await look();
      for (const delay of timing.attempts) {
        if (state.type === 'closed' || signal.aborted) return state;
        await pause(delay, signal);
        state = await look();
      }
      return state;
    } catch (error) {
      return { type: 'unknown', reason: reasonOf(error) };
    }
  }

  let reported: boolean | undefined;
  while (!signal.aborted) {
    const state = await lookPatiently();
    if (signal.aborted) return;
    onState(state);
    if (state.type === 'unknown') log.failure(new ConnectorError('SPN013', [place, state.reason]));
    else {
      const reachable = state.type === 'open';
      if (state.type === 'open') log.failure(new ConnectorError('SPN012', [place, state.address]));
      if (reported !== reachable) report(reachable);
      reported = reachable;
    }
    await pause(state.type === 'closed' ? timing.later : timing.again, signal);
  }
}
