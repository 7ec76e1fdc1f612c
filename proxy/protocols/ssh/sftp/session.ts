import { isDeepStrictEqual } from 'node:util';
import { statusAnswer, statusOf } from './answers.ts';
import { createOpenHandles } from './by-handle.ts';
import * as n from './constants.ts';
import type { SessionContext } from './context.ts';
import { FileProtocolError, fileErrorText } from './errors.ts';
import { createExchange } from './exchange.ts';
import { knownExtensions } from './extensions.ts';
import { packet, readFields } from './fields.ts';
import { createFrameReader } from './frames.ts';
import { createPathNames } from './names.ts';
import { printable } from './paths.ts';
import { type Plan, type PlannedRequest, planOf } from './plan.ts';
import type { ByteSink, FileGrant, FileJudge, FileSession } from './port.ts';
import { parseRequest } from './requests.ts';
import { createResolver } from './resolver.ts';
import { createTeller } from './teller.ts';

export interface SftpOptions {
  readonly judge: FileJudge;
  readonly toClient: ByteSink;
  readonly toServer: ByteSink;
  /** Requests on their way to the server; a client with more waits. */
  readonly maxOutstanding?: number;
  readonly maxOpenFiles?: number;
}

/** Clients keep up to 64 requests on their way by themselves, some as many as a file has blocks. */
const MAX_OUTSTANDING = 1024;
/** Clients have one open, file systems over SFTP some dozens. */
const MAX_OPEN_FILES = 256;

/**
 * One SFTP session (draft-ietf-secsh-filexfer-02, as OpenSSH speaks it) in which each request is decided before the server gets it.
 * Requests go on in the order in which they came: one that is held holds those behind it, while answers go on. Bytes that are given to it
 * are its own from then on, and are changed in place.
 */
export function createSftpSession(options: SftpOptions): FileSession {
  const { judge, toClient, toServer, maxOutstanding = MAX_OUTSTANDING, maxOpenFiles = MAX_OPEN_FILES } = options;
  const fromClient = createFrameReader('SPS070');
  const fromServer = createFrameReader('SPS071');
  const exchange = createExchange(toServer, maxOutstanding);
  /** Grants of requests by path that the server has not answered. */
  const unanswered = new Set<FileGrant>();
  const tell = createTeller(judge);
  const ending = new AbortController();
  const { promise: versioned, resolve: versionCame } = Promise.withResolvers<void>();
  let begun = false;
  let greeted = false;

  // ── answers of our own ──

  function status(id: number, code: number, message: string): Promise<void> | undefined {
    return toClient(statusAnswer(id, code, message));
  }

  function deny(id: number, message: string): Promise<void> | undefined {
    tell(message);
    return status(id, n.FX_PERMISSION_DENIED, message);
  }

  const context: SessionContext = { judge, exchange, toClient, status, deny, tell };
  const resolver = createResolver(judge, exchange);
  const handles = createOpenHandles(context);
  const names = createPathNames(context, resolver);

  // ── requests by path ──

  async function byPath(id: number, request: PlannedRequest): Promise<void> {
    if (request.type === 'open' && (request.flags & ~n.ALL_OPEN_FLAGS) !== 0)
      throw new FileProtocolError('SPS070', `an open with flags 0x${request.flags.toString(16)}`);
    if ((request.type === 'open' || request.type === 'opendir') && handles.size >= maxOpenFiles)
      return status(id, n.FX_FAILURE, fileErrorText('SPS076', String(maxOpenFiles)));
    const plan = await planOf(request, resolver);
    if ('refused' in plan) return deny(id, plan.refused);
    // Nothing is sent: that it cannot be done is told to those who could have done it, and to nobody else.
    if (plan.failed !== undefined && plan.request.accesses.every((one) => judge.permits(one) !== 'Deny'))
      return status(id, plan.failed.code, plan.failed.message);
    const grant = await judge.judge(plan.request, ending.signal);
    if (!grant.granted) return deny(id, grant.message);
    if (plan.failed !== undefined) {
      grant.done({ status: plan.failed.code });
      return status(id, plan.failed.code, plan.failed.message);
    }
    if (grant.held && !sameMeaning(plan, await planOf(request, resolver))) {
      grant.done({ status: n.FX_PERMISSION_DENIED });
      return deny(id, fileErrorText('SPS078'));
    }
    if (ending.signal.aborted) return grant.done({ status: undefined });
    unanswered.add(grant);
    return exchange.forward(plan.frame, id, plan.expected, (answer, answerType) => {
      unanswered.delete(grant);
      if (answerType === n.HANDLE) handles.opened(answer, plan, request, grant);
      else grant.done({ status: answerType === n.STATUS ? statusOf(answer).code : n.FX_OK });
      return answer;
    });
  }

  // ── the stream ──

  function initialise(frame: Buffer): Promise<void> | undefined {
    if (frame[4] !== n.INIT) throw new FileProtocolError('SPS070', 'it does not begin with INIT');
    const version = frame.length < 9 ? 0 : frame.readUInt32BE(5);
    if (version < n.VERSION) throw new FileProtocolError('SPS070', `version ${version}`);
    begun = true;
    return toServer(packet(n.INIT, n.VERSION));
  }

  function greet(frame: Buffer): Buffer {
    if (frame[4] !== n.VERSION_REPLY) throw new FileProtocolError('SPS071', 'it does not begin with VERSION');
    const fields = readFields(frame, 5, 'SPS071');
    const version = fields.uint32();
    if (version !== n.VERSION) throw new FileProtocolError('SPS071', `version ${version}`);
    greeted = true;
    versionCame();
    return packet(n.VERSION_REPLY, version, ...knownExtensions(fields));
  }

  function take(frame: Buffer): Promise<void> | undefined {
    if (ending.signal.aborted) return undefined;
    if (!begun) return initialise(frame);
    if (!greeted) return versioned.then(() => take(frame));
    const room = exchange.room();
    return room === undefined ? handle(frame) : room.then(() => take(frame));
  }

  function handle(frame: Buffer): Promise<void> | undefined {
    const request = parseRequest(frame);
    const id = frame.readUInt32BE(5);
    if ('handle' in request || 'source' in request) return handles.handle(frame, id, request);
    switch (request.type) {
      case 'limits':
      case 'users-groups-by-id':
        return exchange.forward(frame, id, n.EXTENDED_REPLY);
      case 'realpath':
        return names.realpath(id, request.path);
      case 'expand-path':
      case 'home-directory':
        return names.expand(id, frame, request.path);
      case 'unknown': {
        const name = printable(request.name.slice(0, 64));
        return status(id, n.FX_OP_UNSUPPORTED, fileErrorText('SPS075', name));
      }
      default:
        return byPath(id, request);
    }
  }

  function takeAll(frames: readonly Buffer[], from: number): Promise<void> | undefined {
    for (let i = from; i < frames.length; i++) {
      const wait = take(frames[i]!);
      if (wait !== undefined) return wait.then(() => takeAll(frames, i + 1));
    }
    return undefined;
  }

  /** What was waited for when the session ended does not come any more, and that is no mistake of anybody's. */
  const unlessOver = (error: unknown): void => {
    if (!ending.signal.aborted) throw error;
  };

  return {
    fromClient: (bytes) => takeAll(fromClient.push(bytes), 0)?.catch(unlessOver),

    fromServer(bytes) {
      if (ending.signal.aborted) return undefined;
      let wait: Promise<void> | undefined;
      for (const frame of fromServer.push(bytes)) {
        const forClient = greeted ? exchange.answered(frame) : greet(frame);
        if (forClient !== undefined) wait = toClient(forClient) ?? wait;
      }
      return wait;
    },

    close() {
      if (ending.signal.aborted) return;
      const reason = new Error('the SFTP session is over');
      ending.abort(reason);
      exchange.close(reason);
      versionCame();
      for (const grant of unanswered) grant.done({ status: undefined });
      unanswered.clear();
      handles.end();
    },
  };
}

/** Whether a request still means the very same packet, and touches the same files. */
function sameMeaning(plan: Plan, again: Awaited<ReturnType<typeof planOf>>): boolean {
  if ('refused' in again || again.failed !== undefined) return false;
  return plan.frame.equals(again.frame) && isDeepStrictEqual(plan.request, again.request);
}
