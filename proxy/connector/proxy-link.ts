import type { SecureContext, TLSSocket } from 'node:tls';
import { type Control, createControl } from './control.ts';
import { dialInTurn } from './dial-in-turn.ts';
import { ConnectorError, reasonOf } from './errors.ts';
import type { ConnectorLog } from './log.ts';
import type { Replicas } from './replicas.ts';
import { dialReplica, openTunnel } from './tunnel.ts';
import { pause } from './wait.ts';
import type { WatchedFile } from './watched-file.ts';

/** The way to the proxies of one namespace: new tunnels, and what else they are told. */
export interface ProxyLink {
  /**
   * A tunnel to a target, through the replica that is kept to or, when that fails, another. @throws ConnectorError when none took it,
   * SPN007 or SPN008
   */
  open(target: { readonly host: string; readonly port: number }, signal: AbortSignal): Promise<TLSSocket>;
  /** Shows a token that has changed to every replica that has tunnels. To be called every few seconds. */
  refreshIdentity(signal: AbortSignal): Promise<void>;
  /** What the probe of a target found. Resolves once a proxy has it. */
  report(probe: { host: string; port: number; reachable: boolean }, signal: AbortSignal): Promise<void>;
  close(): void;
}

export interface ProxyLinkOptions {
  readonly replicas: Replicas;
  /** Name of the Service, for messages. */
  readonly name: string;
  readonly serverName: string;
  readonly port: number;
  readonly token: WatchedFile;
  readonly context: () => SecureContext;
  readonly version: string;
  readonly log: ConnectorLog;
  readonly now: () => number;
}

/** Between the rounds over all replicas: a proxy that is being replaced is there again in a moment. */
const ROUNDS_MS = [0, 500, 1500];
const RETRY_MS = { first: 1000, last: 60_000 };

/** Longer than a handshake takes within a cluster. */
const HEAD_START_MS = 400;

/** What is known of one replica while it has tunnels. */
interface Replica {
  tunnels: number;
  /** The token that the oldest of its sessions goes by. */
  told: string;
  readonly control: Control;
  retryAt: number;
  retryMs: number;
}

export function createProxyLink(options: ProxyLinkOptions): ProxyLink {
  const { replicas, name, serverName, port, token, context, version, log, now } = options;
  const inUse = new Map<string, Replica>();

  const dial = (address: string, signal: AbortSignal): Promise<TLSSocket> =>
    dialReplica({ address, port, serverName }, context(), signal);
  const controlOf = (address: string): Control => createControl((signal) => dial(address, signal), version);

  function count(address: string, socket: TLSSocket, shown: string): void {
    const replica = inUse.get(address) ?? {
      tunnels: 0,
      told: shown,
      control: controlOf(address),
      retryAt: 0,
      retryMs: RETRY_MS.first,
    };
    replica.tunnels += 1;
    inUse.set(address, replica);
    socket.once('close', () => {
      replica.tunnels -= 1;
      if (replica.tunnels > 0) return;
      replica.control.close();
      inUse.delete(address);
    });
  }

  async function openOver(
    socket: TLSSocket,
    address: string,
    target: { host: string; port: number },
    signal: AbortSignal,
  ): Promise<TLSSocket> {
    const shown = token.read();
    const tunnel = await openTunnel(socket, { ...target, token: shown, version }, signal);
    count(address, tunnel, shown);
    return tunnel;
  }

  async function renew(address: string, replica: Replica, fresh: string, signal: AbortSignal): Promise<void> {
    try {
      const { draining } = await replica.control.put('/v1/identity', fresh, undefined, signal);
      replica.told = fresh;
      log.info('the identity of this pod was renewed', { replica: address });
      replica.retryMs = RETRY_MS.first;
      if (draining) replicas.avoid(address);
    } catch (error) {
      if (signal.aborted) return;
      replica.retryAt = now() + replica.retryMs;
      replica.retryMs = Math.min(replica.retryMs * 2, RETRY_MS.last);
      log.failure(new ConnectorError('SPN011', [address, reasonOf(error)], error));
    }
  }

  async function reportOnce(probe: unknown, signal: AbortSignal): Promise<void> {
    const [address] = await replicas.inOrder();
    if (address === undefined) throw new ConnectorError('SPN004', [name, 'the name has no address']);
    const known = inUse.get(address)?.control;
    const control = known ?? controlOf(address);
    try {
      await control.put('/v1/probe', token.read(), probe, signal);
    } catch (error) {
      replicas.avoid(address);
      throw error;
    } finally {
      if (known === undefined) control.close();
    }
  }

  return {
    async open(target, signal) {
      const tried = new Set<string>();
      for (const delay of ROUNDS_MS) {
        await pause(delay, signal);
        const first = await replicas.inOrder();
        for await (const dialled of dialInTurn(first, dial, HEAD_START_MS, signal, replicas.afresh)) {
          signal.throwIfAborted();
          const { address } = dialled;
          tried.add(address);
          try {
            if (dialled.socket === undefined) throw dialled.error;
            const socket = await openOver(dialled.socket, address, target, signal);
            replicas.keepTo(address);
            return socket;
          } catch (error) {
            if (signal.aborted) throw error;
            const isOfReplica = error instanceof ConnectorError && ['SPN005', 'SPN006', 'SPN009'].includes(error.code);
            if (!isOfReplica) throw error;
            replicas.avoid(address);
            log.failure(error);
          }
        }
      }
      signal.throwIfAborted();
      throw new ConnectorError('SPN007', [name, tried.size]);
    },
    async refreshIdentity(signal) {
      if (inUse.size === 0) return;
      const fresh = token.read();
      const due = [...inUse].filter(([, replica]) => replica.told !== fresh && replica.retryAt <= now());
      await Promise.all(due.map(([address, replica]) => renew(address, replica, fresh, signal)));
    },
    async report(probe, signal) {
      for (let delay = RETRY_MS.first; ; delay = Math.min(delay * 2, RETRY_MS.last)) {
        try {
          return await reportOnce(probe, signal);
        } catch (error) {
          if (signal.aborted) return;
          log.failure(new ConnectorError('SPN014', [name, reasonOf(error)], error));
        }
        await pause(delay, signal);
      }
    },
    close() {
      for (const { control } of inUse.values()) control.close();
    },
  };
}
