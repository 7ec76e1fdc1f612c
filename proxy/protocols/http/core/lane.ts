import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Bundle, CompiledConnection } from '../../../../policy/bundle.ts';
import type { Lane, LaneContext, OpenSession } from '../../../lane.ts';
import type { Wire } from '../../../listener/wire.ts';
import type { Proof } from '../../../ports.ts';
import { createJudgements } from '../../../session/judgements.ts';
import { createRefusals } from '../../../session/refusals.ts';
import { type ClientConnection, createClientConnection } from './connection.ts';
import { HttpRefused, type HttpReport, httpError } from './errors.ts';
import type { HttpApplication } from './port.ts';
import type { ManagedSession } from './session.ts';
import { accept, mayBePlain, NotAccepted } from './wire/accept.ts';
import { createHttp1Server } from './wire/h1.ts';
import { serveHttp2 } from './wire/h2.ts';
import type { Incoming } from './wire/incoming.ts';
import { wireStream } from './wire/stream.ts';

/** Between two looks at connections that are asked to end, in milliseconds. */
const DRAIN_LOOK_MS = 20;

type Names = readonly { readonly namespace: string; readonly name: string }[];

/** Which answer of the gateway a failure of Node's parser is. */
function malformedReport(
  { code = '', reason = '' }: { code?: string; reason?: string },
  headTimeoutMs: number,
): HttpReport {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return httpError('SPE004', 'more than 16 KiB');
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return httpError('SPE002', 'extensions of chunks');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return httpError('SPE005', headTimeoutMs / 1000);
    default:
      return httpError('SPE001', reason === '' ? 'it cannot be read' : reason.toLowerCase());
  }
}

/** Connections behind the address that there are in a bundle. */
const present = (bundle: Bundle, names: Names): readonly CompiledConnection[] =>
  names.flatMap(({ namespace, name }) => bundle.connection(namespace, name) ?? []);

/** A lane over HTTP: clients, sessions and exchanges; what requests mean is the application's. */
export function createHttpLane(context: LaneContext, application: HttpApplication): Lane {
  const { observer } = context;
  const open = new Set<ManagedSession>();
  const opening = new Set<OpenSession>();
  const clients = new Set<ClientConnection>();
  const bySocket = new WeakMap<Socket, { readonly client: ClientConnection; readonly wire: Wire | undefined }>();
  const recordRefused = createRefusals(context);
  const headTimeoutMs = context.limits.authenticationTimeoutMs;
  const ports = {
    ...context,
    judgement: createJudgements((scope, connection) => ({ scope, connection })),
  };
  let draining = false;

  const h1 = createHttp1Server({
    headTimeoutMs,
    upgrades: (protocol) => /^(?:websocket|spdy\/3\.1)$/i.test(protocol),
    idle: (socket) => bySocket.get(socket)?.client.idle === true,
    request(socket, incoming) {
      const entry = bySocket.get(socket);
      if (entry === undefined) incoming.destroy();
      else entry.client.request(incoming);
    },
    malformed(socket, error) {
      try {
        bySocket.get(socket)?.client.malformed(socket, malformedReport(error, headTimeoutMs));
      } catch (failure) {
        context.log.error({ error: String(failure) }, 'a malformed request could not be refused');
        socket.destroy();
      }
    },
    restream(socket: Duplex) {
      const wire = bySocket.get(socket as Socket)?.wire;
      return wire === undefined ? socket : wireStream(wire);
    },
  });

  async function serve(wire: Wire, names: Names, signal: AbortSignal, proof?: Proof): Promise<void> {
    const plaintext = mayBePlain(wire, { plaintextLoopback: context.plaintextLoopback, inTunnel: proof !== undefined });
    let accepted: Awaited<ReturnType<typeof accept>>;
    try {
      accepted = await accept(wire, { tls: context.tls, plaintext, timeoutMs: headTimeoutMs, signal });
    } catch (error) {
      if (!(error instanceof NotAccepted)) throw error;
      notAccepted(wire, error);
      return;
    }
    let known: { readonly bundle: Bundle; readonly connections: readonly CompiledConnection[] } | undefined;
    const connections = (): readonly CompiledConnection[] => {
      const bundle = context.bundles.current();
      if (known?.bundle !== bundle) known = { bundle, connections: present(bundle, names) };
      return known.connections;
    };
    await new Promise<void>((resolve) => {
      const { socket, encrypted } = accepted;
      const client = createClientConnection({
        ...{ context, ports, application, recordRefused, open, opening, proof, encrypted, names },
        connections,
        peer: wire.peer,
        remoteAddress: wire.remoteAddress,
        draining: () => draining,
        closed: () => {
          clients.delete(client);
          resolve();
        },
      });
      clients.add(client);
      socket.on('error', () => {});
      if (accepted.protocol === 'h1') {
        bySocket.set(socket, { client, wire: socket === wire.socket ? wire : undefined });
        socket.once('close', () => client.gone());
        client.attach({
          serial: true,
          drain: () => socket.end(),
          destroy: () => socket.destroy(),
        });
        h1.accept(socket);
      } else {
        const request = (incoming: Incoming): void => client.request(incoming);
        const h2 = serveHttp2(socket, encrypted || proof !== undefined, request, () => client.gone());
        // It reads from there on, and what was read before: a socket that flows would lose that.
        client.attach({ serial: false, ...h2 });
      }
    });
  }

  function notAccepted(wire: Wire, error: NotAccepted): void {
    switch (error.because) {
      case 'plaintext': {
        const { status, headers, body } = application.refuse(httpError('SPE011'), {});
        const text = typeof body === 'string' ? body : body.toString();
        const fields = headers.flatMap((name, index) => (index % 2 === 0 ? [`${name}: ${headers[index + 1]}`] : []));
        const head = [
          `HTTP/1.1 ${status} Upgrade Required`,
          'upgrade: TLS/1.2',
          'connection: close, upgrade',
          ...fields,
        ];
        wire.write(Buffer.from(`${head.join('\r\n')}\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`));
        wire.end();
        observer.refused(wire.peer, new HttpRefused(httpError('SPE011')));
        return;
      }
      case 'tls':
        observer.refused(wire.peer, new HttpRefused(httpError('SPE001', 'TLS, which is not offered here')));
        break;
      case 'timeout':
        observer.refused(wire.peer, new HttpRefused(httpError('SPE005', headTimeoutMs / 1000)));
        break;
      case 'silent':
      case 'aborted':
        break;
      default:
        error.because satisfies never;
    }
    wire.destroy();
  }

  return {
    protocol: application.protocol,
    sessions: { [Symbol.iterator]: () => open.values() },
    serve,
    sweep(now) {
      for (const session of [...open]) session.sweep(now);
      for (const client of [...clients]) client.sweep(now);
    },
    async drain(signal) {
      draining = true;
      while (clients.size > 0 && !signal.aborted) {
        for (const client of [...clients]) client.drain();
        // A request ends when it ends: nothing tells of the last one but the connection.
        if (clients.size > 0) await new Promise((resolve) => setTimeout(resolve, DRAIN_LOOK_MS));
      }
      for (const session of [...open]) session.fail(httpError('SPE021'));
      for (const client of [...clients]) client.destroy();
    },
    async close() {
      h1.close();
    },
  };
}
