import type { SshCommand } from '../../../../policy/command.ts';
import { destinationOf, type ForwardAddress, forwardCommand } from '../../../../policy/ssh/commands.ts';
import type { ChannelInfo, ChannelObserver, ChannelPurpose, GlobalRequest, Side } from '../bridge/port.ts';
import { Refused, type SshReport, sshError } from '../errors.ts';
import { type Admission, type Admitted, admitCommand } from './run.ts';
import type { Session } from './session.ts';

const NO_SETTINGS = { environment: new Map<string, string>(), terminal: undefined };

/** One thing that was granted without a program: a forwarded port or socket, a display, an agent. */
export interface Granted {
  readonly observer: ChannelObserver;
  /** Aborted at the limits of the rule that granted it. */
  readonly until: AbortSignal;
  close(): void;
}

/** Counts what passes, ends it at its limits, and tells the record at the end. */
export function followForward(session: Session, channel: number, { seq, grant, limits }: Admitted): Granted {
  const { maxDurationMs, maxBytesReturned = Number.POSITIVE_INFINITY } = limits;
  const ending = new AbortController();
  let code: string | undefined;
  const stop = (report: SshReport): void => {
    code ??= report.code;
    ending.abort(new Refused(report));
  };
  const timer =
    maxDurationMs === undefined
      ? undefined
      : setTimeout(() => stop(sshError('SPS010', maxDurationMs / 1000)), maxDurationMs).unref();
  const startedAt = performance.now();
  let bytesIn = 0;
  let bytesOut = 0;
  let over = false;
  return {
    until: ending.signal,
    observer: {
      data(piece: Buffer, from: Side) {
        if (from === 'client') bytesIn += piece.length;
        else bytesOut += piece.length;
        // Told within the bridge's own work on this piece.
        if (bytesOut > maxBytesReturned) setImmediate(() => stop(sshError('SPS011', maxBytesReturned)));
      },
    },
    close() {
      if (over) return;
      over = true;
      clearTimeout(timer);
      const durationMicros = (performance.now() - startedAt) * 1000;
      const said = code === undefined ? {} : { code };
      session.record.ended(seq, { channel, ...said, bytesIn, bytesOut, durationMicros });
      if (grant !== undefined) session.holding.settle(grant, 'Executed');
    },
  };
}

/** What a client wants to be forwarded to, where the purpose of a channel is that. */
export function localForward(purpose: ChannelPurpose, loginUser: string): SshCommand | undefined {
  if (purpose.type === 'direct-tcpip')
    return forwardCommand('LocalForward', { host: purpose.host, port: purpose.port }, { loginUser });
  if (purpose.type === 'direct-streamlocal@openssh.com')
    return forwardCommand('LocalForward', { socket: purpose.path }, { loginUser });
  return undefined;
}

/** Admits a command that has no stderr: what needs people is asked for, and passes once they agreed. */
export function admitWithoutProgram(
  session: Session,
  command: SshCommand,
  channel: number,
  more: { readonly note?: (text: string) => void; readonly signal?: AbortSignal } = {},
): Promise<Admission> {
  const [facts] = command.statements;
  const { operation = 'Opaque', destination = '' } = facts ?? {};
  return admitCommand(session, {
    command,
    facts: {
      channel,
      operation,
      user: session.loginUser,
      ...(destination === '' ? {} : { destination }),
    },
    settings: NO_SETTINGS,
    signal: more.signal ?? session.signal,
    ...(more.note === undefined ? {} : { note: more.note }),
  });
}

type RemoteRequest = Extract<GlobalRequest, { host: string } | { path: string }>;

const addressOf = (request: RemoteRequest): ForwardAddress =>
  'path' in request ? { socket: request.path } : { host: request.host, port: request.port };

/** Ports and sockets that the target listens on for the client. */
export interface RemoteForwards {
  /** Undefined: it may be forwarded. */
  request(request: RemoteRequest): Promise<SshReport | undefined>;
  /** Whether a channel that the target opens is of one of them. */
  covers(channel: ChannelInfo, purpose: ChannelPurpose): Granted | undefined;
  close(): void;
}

/** Serial that stands for the connection itself in the record. */
const NO_CHANNEL = -1;

export function createRemoteForwards(session: Session): RemoteForwards {
  const granted = new Map<string, Granted>();

  return {
    async request(request) {
      const address = addressOf(request);
      const destination = destinationOf(address);
      if (request.type.startsWith('cancel-')) {
        granted.get(destination)?.close();
        granted.delete(destination);
        return undefined;
      }
      const command = forwardCommand('RemoteForward', address, { loginUser: session.loginUser });
      const admission = await admitWithoutProgram(session, command, NO_CHANNEL);
      if ('report' in admission) return admission.report;
      granted.get(destination)?.close();
      const forward = followForward(session, NO_CHANNEL, admission.admitted);
      granted.set(destination, forward);
      forward.until.addEventListener(
        'abort',
        () => {
          forward.close();
          if (granted.get(destination) === forward) granted.delete(destination);
        },
        { once: true },
      );
      return undefined;
    },
    covers(_channel, purpose) {
      if (purpose.type === 'forwarded-streamlocal@openssh.com')
        return granted.get(destinationOf({ socket: purpose.path }));
      if (purpose.type !== 'forwarded-tcpip') return undefined;
      const { host, port } = purpose;
      // Port 0 has the target choose one; which it chose only the client was told.
      return granted.get(destinationOf({ host, port })) ?? granted.get(destinationOf({ host, port: 0 }));
    },
    close() {
      for (const forward of granted.values()) forward.close();
      granted.clear();
    },
  };
}
