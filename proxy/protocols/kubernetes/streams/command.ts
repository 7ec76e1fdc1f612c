import { type KubernetesReport, reportOf } from '../errors.ts';
import { acceptChannels } from './channel-client.ts';
import type { CommandClient, CommandClientHandlers } from './command-port.ts';
import { dialCommand } from './command-upstream.ts';
import { CLIENT_LEFT, streamError } from './errors.ts';
import type { Transport } from './negotiate.ts';
import type { StreamAdmitted, StreamCall } from './port.ts';
import { followProgram, type Program } from './program.ts';
import { type ProgramQuery, programTarget } from './query.ts';
import { programFacts } from './record.ts';
import { acceptSpdy } from './spdy-client.ts';
import { createStdinRelay } from './stdin-relay.ts';
import { answerRefusal, endOf, lines, reportLines, statusBytes } from './told.ts';
import { whyUnmaskable } from './unmaskable.ts';

type CommandTransport = Exclude<Transport, { readonly type: 'tunnel' }>;

/** kubectl ends a WebSocket that was silent for a minute; who waits for people, or reads slowly, is not read itself. */
const HEARTBEAT_MS = 10_000;

/**
 * An exec or attach, from its request to its end. The client is upgraded as late as can be, so that what is refused is a plain answer,
 * which every client shows; but kubectl since 1.31 takes any plain answer to its WebSocket for a server that knows none, and asks once
 * more over SPDY. Who reads a Status is therefore upgraded and reads a denial as the Status of the command: one request is one denial.
 * @throws RecorderError
 */
export async function serveCommand(call: StreamCall, asked: ProgramQuery, transport: CommandTransport): Promise<void> {
  const { exchange, session, kind } = call;
  const readsStatus = transport.type === 'channels' && transport.readsStatus;
  const leaving = new AbortController();
  let client: CommandClient | undefined;
  let program: Program | undefined;
  let clientOver = false;
  /** It is over: who has not read the end yet is not waited for beyond the session. */
  let told = false;
  /** Its client has read the end, or has gone. */
  const gone = Promise.withResolvers<void>();
  const relay = createStdinRelay({
    stdin: (bytes) => program?.stdin(bytes),
    resized: (size) => program?.resized(size),
  });
  const handlers: CommandClientHandlers = {
    stdin: relay.stdin,
    stdinEnd: relay.end,
    resize: relay.resize,
    closed(error) {
      clientOver = true;
      relay.close();
      leaving.abort(error ?? new Error('the client left'));
      program?.clientGone();
      gone.resolve();
    },
  };

  const accept = (): CommandClient => {
    client ??=
      transport.type === 'channels'
        ? acceptChannels(exchange, transport.protocol, handlers)
        : acceptSpdy(exchange, transport.protocol, asked, handlers);
    return client;
  };
  const toStderr = transport.type === 'channels' && !readsStatus;

  /** In the words of whatever the client reads now. */
  async function refuse(report: KubernetesReport): Promise<void> {
    if (clientOver) return;
    if (client === undefined && (!readsStatus || exchange.signal.aborted)) return answerRefusal(report, call);
    if (toStderr) accept().output(asked.tty ? 'data' : 'stderr', lines(reportLines(report, session.id), asked.tty));
    accept().finish(statusBytes(report, call));
  }

  const ended = (): void => {
    leaving.abort(exchange.signal.reason);
    if (client === undefined) return;
    const report = endOf(exchange.signal);
    if (report.code === CLIENT_LEFT) handlers.closed(undefined);
    else if (told) client.destroy();
    else if (program === undefined) client.finish(statusBytes(report, call));
    else program.stop(report);
  };
  exchange.signal.addEventListener('abort', ended, { once: true });
  const heartbeat = setInterval(() => client?.heartbeat(), HEARTBEAT_MS).unref();
  try {
    const admission = await session.admit({
      signal: leaving.signal,
      note: (text) => void accept().output(asked.tty || !asked.stderr ? 'data' : 'stderr', lines(text, asked.tty)),
      unmaskable: (masks) => whyUnmaskable(kind, asked, masks),
      facts: programFacts(kind === 'exec' ? 'Exec' : 'Attach', asked, session.audit.level),
    });
    if ('denied' in admission) await refuse(admission.denied);
    else await run(admission.admitted);
    told = true;
    if (client !== undefined) await gone.promise;
  } finally {
    exchange.signal.removeEventListener('abort', ended);
    clearInterval(heartbeat);
    relay.close();
  }

  async function run(admitted: StreamAdmitted): Promise<void> {
    const made = followProgram({ call, asked, admitted, client: accept, toStderr });
    if (clientOver || leaving.signal.aborted) {
      made.notStarted('SPL106');
      return;
    }
    program = made;
    const { withdrawn } = admitted;
    const withdraw = (): void => made.stop(reportOf(withdrawn.reason));
    withdrawn.addEventListener('abort', withdraw, { once: true });
    if (withdrawn.aborted) withdraw();
    const target = programTarget(kind, call.namespace, call.pod, asked);
    try {
      const dialled = await dialCommand(call.upstream, target, made.handlers, leaving.signal);
      if ('upstream' in dialled) {
        made.started(dialled.upstream);
        accept();
        // What its client has sent is for nobody any more.
        if (withdrawn.aborted) relay.close();
        relay.connect(dialled.upstream);
      } else if (!withdrawn.aborted) {
        made.notStarted(`HTTP ${dialled.status}`);
        await refused(dialled, admitted);
      }
    } catch (error) {
      if (!leaving.signal.aborted) session.failed('a stream could not be had of the API server', error as Error);
      made.notStarted(leaving.signal.aborted ? 'SPL106' : 'SPL104');
      if (!withdrawn.aborted) await refuse(streamError('SPL104'));
    }
    await made.over;
    withdrawn.removeEventListener('abort', withdraw);
  }

  /**
   * The API server's own words: such as that there is no such container. What people agreed to is not asked for again by a client that
   * would try once more over SPDY: it reads them as the Status of its command.
   */
  async function refused(
    { status, contentType, body }: { readonly status: number; readonly contentType: string; readonly body: Buffer },
    { granted }: StreamAdmitted,
  ): Promise<void> {
    if (clientOver) return;
    if (client === undefined && !granted) {
      await exchange.answer(status, ['content-type', contentType], body);
      return;
    }
    accept().finish(statusOfAnswer(body, status));
  }
}

/** A Status is passed on as it is; any other text becomes one. */
function statusOfAnswer(body: Buffer, code: number): Buffer {
  const text = body.toString('utf8');
  try {
    const value = JSON.parse(text) as { readonly kind?: unknown } | null;
    if (value?.kind === 'Status') return body;
  } catch {
    // Not JSON: its text is the message.
  }
  const status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message: text.trim(), code };
  return Buffer.from(JSON.stringify(status));
}
