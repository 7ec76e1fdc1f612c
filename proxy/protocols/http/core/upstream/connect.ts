import net from 'node:net';
import tls, { type SecureContext } from 'node:tls';
import { dialWire, streamWire, type Wire } from '../../../../listener/wire.ts';
import { defaultAuthorities, tlsFailure, upstreamFailure } from '../../../../upstream/dial.ts';
import { UpstreamError } from '../../../../upstream/errors.ts';
import type { UpstreamTarget } from '../port.ts';

/** Opening of connections to a target: TCP, and TLS with the target verified, with each way to fail told apart. */

const namesOf = ({ label }: UpstreamTarget): { namespace: string; name: string } => {
  const slash = label.indexOf('/');
  return { namespace: label.slice(0, slash), name: label.slice(slash + 1) };
};

/** @throws UpstreamError SPU006, SPU009 */
function contextOf({ certificateAuthorities, clientCertificate }: Tls, label: string): SecureContext {
  try {
    return tls.createSecureContext({
      ca: certificateAuthorities ?? defaultAuthorities(),
      minVersion: 'TLSv1.2',
      ...(clientCertificate === undefined ? {} : { cert: clientCertificate.certificate, key: clientCertificate.key }),
    });
  } catch (error) {
    throw new UpstreamError(clientCertificate === undefined ? 'SPU006' : 'SPU009', [label, 'not in PEM'], error);
  }
}

type Tls = NonNullable<UpstreamTarget['tls']>;

/** Told later, never at once: a connection that is ready, or why there is none; an UpstreamError in all but odd cases. */
export type Done<T> = (...result: [error: null, ready: T] | [error: Error, ready: null]) => void;

/** Ways to open one. Each returns what gives it up: `done` is told then too. */
export interface Connect {
  /** Paused. */
  wire(done: Done<Wire>): () => void;
  stream(done: Done<net.Socket>): () => void;
}

/** @param timeoutMs for TCP and TLS together */
export function createConnect(target: UpstreamTarget, timeoutMs: number): Connect {
  const names = namesOf(target);
  const { host, port } = target;

  /** Runs one way of opening under the deadline; what it throws is told apart. */
  function within<T>(
    open: (signal: AbortSignal) => Promise<T>,
    failure: (error: unknown, timedOut: boolean) => unknown,
    done: Done<T>,
  ): () => void {
    const given = new AbortController();
    let timedOut = false;
    const deadline = setTimeout(() => {
      timedOut = true;
      given.abort(new Error('it took too long'));
    }, timeoutMs);
    open(given.signal).then(
      (ready) => {
        clearTimeout(deadline);
        done(null, ready);
      },
      (error: unknown) => {
        clearTimeout(deadline);
        const known = failure(error, timedOut);
        done(known instanceof Error ? known : new Error(String(known)), null);
      },
    );
    return () => given.abort(new Error('it is not wanted any more'));
  }

  const unconnected = (error: unknown, timedOut: boolean): unknown =>
    upstreamFailure(names, 'connecting', error, timedOut);

  if (target.tls === undefined) {
    return {
      wire: (done) =>
        within(
          async (signal) => {
            const wire = await dialWire({ host, port }, signal);
            wire.socket.setKeepAlive(true);
            return wire;
          },
          unconnected,
          done,
        ),
      stream: (done) =>
        within(
          (signal) => opened(net.connect({ host, port, noDelay: true, keepAlive: true }), 'connect', signal),
          unconnected,
          done,
        ),
    };
  }
  const secured = createSecured(target, target.tls);
  const open = (done: Done<net.Socket>): (() => void) => {
    const state = { connected: false };
    return within(
      (signal) => secured(state, signal),
      (error, timedOut) => {
        if (!state.connected) return unconnected(error, timedOut);
        if (timedOut) return upstreamFailure(names, 'negotiating TLS', error, true);
        return tlsFailure(names, target.tls?.serverName ?? host, error);
      },
      done,
    );
  };
  return {
    stream: open,
    wire: (done) =>
      open((...[error, socket]) => (socket === null ? done(error, null) : done(null, streamWire(socket)))),
  };
}

function createSecured(
  target: UpstreamTarget,
  wanted: Tls,
): (state: { connected: boolean }, signal: AbortSignal) => Promise<net.Socket> {
  const { host, port, label } = target;
  const expected = wanted.serverName ?? host;
  let context: SecureContext | undefined;
  /** Of the last handshake: the next one is shorter by it. */
  let known: Buffer | undefined;
  return async (state, signal) => {
    context ??= contextOf(wanted, label);
    const socket = tls.connect({
      host,
      port,
      secureContext: context,
      ALPNProtocols: ['http/1.1'],
      rejectUnauthorized: true,
      ...(known === undefined ? {} : { session: known }),
      // SNI carries names only (RFC 6066, section 3).
      ...(net.isIP(expected) === 0 ? { servername: expected } : {}),
      checkServerIdentity: (_name, certificate) =>
        wanted.mode === 'VerifyFull' ? tls.checkServerIdentity(expected, certificate) : undefined,
    });
    socket.setNoDelay(true);
    socket.setKeepAlive(true);
    socket.on('session', (session) => {
      known = session;
    });
    socket.once('connect', () => {
      state.connected = true;
    });
    return opened(socket, 'secureConnect', signal);
  };
}

/** @throws the socket's error; the signal's reason */
function opened<T extends net.Socket>(socket: T, ready: 'connect' | 'secureConnect', signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      signal.removeEventListener('abort', aborted);
      socket.off('error', failed).off('close', closed).off(ready, succeeded);
    };
    const failed = (error: Error): void => {
      settle();
      // A late error of a destroyed socket has nobody to go to.
      socket.on('error', () => {});
      socket.destroy();
      reject(error);
    };
    const aborted = (): void => failed(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
    const closed = (): void => failed(new Error('closed before it was ready'));
    const succeeded = (): void => {
      settle();
      resolve(socket);
    };
    socket.once('error', failed).once('close', closed).once(ready, succeeded);
    if (signal.aborted) aborted();
    else signal.addEventListener('abort', aborted, { once: true });
  });
}
