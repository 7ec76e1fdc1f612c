import type { Bundle, CompiledConnection } from '../../../../policy/bundle.ts';
import type { Lane, LaneContext, OpenSession } from '../../../lane.ts';
import type { Wire } from '../../../listener/wire.ts';
import type { Proof } from '../../../ports.ts';
import { createJudgements } from '../../../session/judgements.ts';
import { createRefusals } from '../../../session/refusals.ts';
import { createBodyBudget } from './body-budget.ts';
import { type ClientConnection, createClientConnection } from './connection.ts';
import { HttpRefused, type HttpReport, httpError } from './errors.ts';
import type { HttpApplication } from './port.ts';
import type { ManagedSession } from './session.ts';
import { accept, mayBePlain, NotAccepted } from './wire/accept.ts';
import { serveHttp1 } from './wire/h1.ts';
import { serveHttp2 } from './wire/h2.ts';
import type { Incoming } from './wire/incoming.ts';

/** Between two looks at connections that are asked to end, in milliseconds. */
const DRAIN_LOOK_MS = 20;
/** Of bodies that are held whole at once, in bytes: an eighth of what a proxy in a cluster may have. */
const MAX_HELD_BODIES = 67_108_864;

type Names = readonly { readonly namespace: string; readonly name: string }[];

/** Connections behind the address that there are in a bundle. */
const present = (bundle: Bundle, names: Names): readonly CompiledConnection[] =>
  names.flatMap(({ namespace, name }) => bundle.connection(namespace, name) ?? []);

/** A lane over HTTP: clients, sessions and exchanges; what requests mean is the application's. */
export function createHttpLane(context: LaneContext, application: HttpApplication): Lane {
  const { observer } = context;
  const open = new Set<ManagedSession>();
  const opening = new Set<OpenSession>();
  const budget = createBodyBudget(MAX_HELD_BODIES);
  const clients = new Set<ClientConnection>();
  const recordRefused = createRefusals(context);
  const headTimeoutMs = context.limits.authenticationTimeoutMs;
  const ports = {
    ...context,
    judgement: createJudgements((scope, connection) => ({ scope, connection })),
  };
  let draining = false;

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
      const client = createClientConnection({
        ...{ context, ports, application, recordRefused, open, opening, budget, proof, names },
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
      const request = (incoming: Incoming): void => client.request(incoming);
      const gone = (): void => client.gone();
      if (accepted.protocol === 'h1') {
        const malformed = (report: HttpReport): Buffer | undefined => refusal(client, report);
        const h1 = serveHttp1(accepted.wire, accepted.first, { headTimeoutMs, request, malformed, closed: gone });
        client.attach({
          serial: true,
          drain: () => h1.drain(),
          sweep: (now) => h1.sweep(now),
          destroy: () => h1.destroy(),
        });
      } else {
        const { socket, encrypted } = accepted;
        socket.on('error', () => {});
        const h2 = serveHttp2(socket, encrypted || proof !== undefined, request, gone);
        // It reads from there on, and what was read before: a socket that flows would lose that.
        client.attach({ serial: false, ...h2 });
      }
    });
  }

  /** The connection of a client whose refusal cannot be put into words is closed. */
  function refusal(client: ClientConnection, report: HttpReport): Buffer | undefined {
    try {
      return client.malformed(report);
    } catch (failure) {
      context.log.error({ error: String(failure) }, 'a malformed request could not be refused');
      return undefined;
    }
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
    async close() {},
  };
}
