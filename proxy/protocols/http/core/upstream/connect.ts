import net from 'node:net';
import tls, { type SecureContext } from 'node:tls';
import type { buildConnector } from 'undici';
import { defaultAuthorities, tlsFailure, upstreamFailure } from '../../../../upstream/dial.ts';
import { UpstreamError } from '../../../../upstream/errors.ts';
import type { UpstreamTarget } from '../port.ts';

/** Opening of connections to a target: TCP, and TLS with the target verified, with each way to fail told apart. */

const namesOf = ({ label }: UpstreamTarget): { namespace: string; name: string } => {
  const slash = label.indexOf('/');
  return { namespace: label.slice(0, slash), name: label.slice(slash + 1) };
};

/** @throws UpstreamError SPU006, SPU009 */
function contextOf(target: UpstreamTarget): SecureContext | undefined {
  if (target.tls === undefined) return undefined;
  const { certificateAuthorities, clientCertificate } = target.tls;
  try {
    return tls.createSecureContext({
      ca: certificateAuthorities ?? defaultAuthorities(),
      minVersion: 'TLSv1.2',
      ...(clientCertificate === undefined ? {} : { cert: clientCertificate.certificate, key: clientCertificate.key }),
    });
  } catch (error) {
    throw new UpstreamError(clientCertificate === undefined ? 'SPU006' : 'SPU009', [target.label, 'not in PEM'], error);
  }
}

/** Calls back with a socket that is ready, or with an UpstreamError. */
export type Connect = (done: (error: Error | null, socket: net.Socket | null) => void) => net.Socket | undefined;

/** @param timeoutMs for TCP and TLS together */
export function createConnect(target: UpstreamTarget, timeoutMs: number): Connect {
  const names = namesOf(target);
  const expected = target.tls?.serverName ?? target.host;
  let context: SecureContext | undefined;
  let sessions: Buffer | undefined;

  return (done) => {
    let secure = false;
    let socket: net.Socket;
    try {
      context ??= contextOf(target);
    } catch (error) {
      done(error as Error, null);
      return undefined;
    }
    const { host, port } = target;
    if (context === undefined) socket = net.connect({ host, port, noDelay: true, keepAlive: true });
    else {
      const encrypted = tls.connect({
        host,
        port,
        secureContext: context,
        ALPNProtocols: ['http/1.1'],
        rejectUnauthorized: true,
        ...(sessions === undefined ? {} : { session: sessions }),
        // SNI carries names only (RFC 6066, section 3).
        ...(net.isIP(expected) === 0 ? { servername: expected } : {}),
        checkServerIdentity: (_name, certificate) =>
          target.tls?.mode === 'VerifyFull' ? tls.checkServerIdentity(expected, certificate) : undefined,
      });
      encrypted.setNoDelay(true);
      encrypted.on('session', (session) => {
        sessions = session;
      });
      encrypted.once('connect', () => {
        secure = true;
      });
      socket = encrypted;
    }
    let timedOut = false;
    const deadline = setTimeout(() => {
      timedOut = true;
      socket.destroy(new Error('it took too long'));
    }, timeoutMs);
    const failed = (error: Error): void => {
      clearTimeout(deadline);
      socket.off(ready, succeeded);
      socket.on('error', () => {});
      done(failure(error), null);
    };
    const failure = (error: Error): Error => {
      const stage = secure ? 'negotiating TLS' : 'connecting';
      const known =
        timedOut || !secure ? upstreamFailure(names, stage, error, timedOut) : tlsFailure(names, expected, error);
      return known instanceof Error ? known : error;
    };
    const succeeded = (): void => {
      clearTimeout(deadline);
      socket.off('error', failed);
      done(null, socket);
    };
    const ready = context === undefined ? 'connect' : 'secureConnect';
    socket.once('error', failed);
    socket.once(ready, succeeded);
    return socket;
  };
}

/** As undici calls it. */
export const asConnector = (connect: Connect): buildConnector.connector =>
  ((_options, callback) => {
    connect((error, socket) => (callback as (error: Error | null, socket: net.Socket | null) => void)(error, socket));
  }) as buildConnector.connector;
