import { answersWith, dataOf, handleOf, mayBeFolder, nameAnswer, nameOf, statusAnswer, statusOf } from './answers.ts';
import * as n from './constants.ts';
import { FileProtocolError, fileErrorText } from './errors.ts';
import { createExchange } from './exchange.ts';
import { knownExtensions, lengthAndBytes } from './extensions.ts';
import { packet, readFields } from './fields.ts';
import { createFrameReader } from './frames.ts';
import { createMaskedRead, type MaskedRead } from './masked-read.ts';
import { createTransfer, type OpenFile } from './open-files.ts';
import { isNormal, normalise, printable, unusable } from './paths.ts';
import { attributeWords, opensForReading, type Plan, type PlannedRequest, planOf, type Resolver } from './plan.ts';
import type { ByteSink, FileGrant, FileJudge, FileSession } from './port.ts';
import { parseRequest, type SftpRequest } from './requests.ts';
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
/** Largest part of a file in one answer: its packet holds nine bytes more. */
const MAX_DATA = n.MAX_PACKET - 1024;
/** Clients have one open, file systems over SFTP some dozens. */
const MAX_OPEN_FILES = 256;

type Asked = Exclude<SftpRequest, PlannedRequest>;

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
  const files = new Map<string, OpenFile>();
  /** Grants of requests by path that the server has not answered. */
  const unanswered = new Set<FileGrant>();
  const tell = createTeller(judge);
  const ending = new AbortController();
  const { promise: versioned, resolve: versionCame } = Promise.withResolvers<void>();
  let begun = false;
  let greeted = false;
  let home: Promise<string> | undefined;

  // ── what is asked of the server meanwhile ──

  const resolver: Resolver = {
    async real(path) {
      const answer = await exchange.ask(n.REALPATH, n.NAME, path);
      if (answer[4] === n.STATUS) return { failed: statusOf(answer) };
      const real = nameOf(answer);
      const reason = unusable(real);
      if (real === undefined || reason !== undefined || !isNormal(real))
        return {
          failed: { code: n.FX_FAILURE, message: fileErrorText('SPS072', reason ?? 'the target did not resolve it') },
        };
      return { path: real };
    },
    home() {
      home ??= resolver.real('.').then((found) => ('path' in found ? found.path : '/'));
      return home;
    },
    async isFolder(path) {
      const answer = await exchange.ask(n.LSTAT, n.ATTRS, path);
      return answer[4] === n.ATTRS && mayBeFolder(answer);
    },
    readable: (path) => judge.permits({ access: 'ReadFile', path }) !== 'Deny',
    protects: (path, tree) => judge.protects(tree ? { path, tree } : { path }),
  };

  /** Whether the client may know of the path: what any access to it would tell anyway. */
  function known(path: string): boolean {
    return resolver.readable(path) || judge.permits({ access: 'WriteFile', path }) !== 'Deny';
  }

  // ── answers of our own ──

  function status(id: number, code: number, message: string): Promise<void> | undefined {
    return toClient(statusAnswer(id, code, message));
  }

  function deny(id: number, message: string): Promise<void> | undefined {
    tell(message);
    return status(id, n.FX_PERMISSION_DENIED, message);
  }

  // ── requests by path ──

  async function byPath(id: number, request: PlannedRequest): Promise<void> {
    if (request.type === 'open' && (request.flags & ~n.ALL_OPEN_FLAGS) !== 0)
      throw new FileProtocolError('SPS070', `an open with flags 0x${request.flags.toString(16)}`);
    if ((request.type === 'open' || request.type === 'opendir') && files.size >= maxOpenFiles)
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
      if (answerType === n.HANDLE) opened(answer, plan, request, grant);
      else grant.done({ status: answerType === n.STATUS ? statusOf(answer).code : n.FX_OK });
      return answer;
    });
  }

  function opened(answer: Buffer, plan: Plan, request: PlannedRequest, grant: FileGrant): void {
    const handle = handleOf(answer);
    if (files.has(handle)) throw new FileProtocolError('SPS071', 'a handle that is in use');
    const flags = request.type === 'open' ? request.flags : 0;
    const { masker } = grant;
    const reads = opensForReading(flags);
    files.set(handle, {
      kind: request.type === 'open' ? 'file' : 'folder',
      path: plan.request.accesses[0]?.path ?? '',
      reads,
      writes: (flags & n.WRITE_FLAG) !== 0,
      grant,
      transfer: createTransfer(),
      masked:
        masker === undefined || !reads || request.type !== 'open'
          ? undefined
          : createMaskedRead({ masker, fetch: (offset, length) => fetchPart(handle, offset, length) }),
    });
  }

  function fetchPart(handle: string, offset: bigint, length: number): Promise<Buffer> {
    const place = Buffer.alloc(12);
    place.writeBigUInt64BE(offset);
    place.writeUInt32BE(length, 8);
    const bytes = Buffer.from(handle, 'latin1');
    return exchange.ask(n.READ, n.DATA, lengthAndBytes(bytes), { raw: place });
  }

  // ── requests by handle ──

  /** The open file that a handle stands for, or undefined when the client was told that there is none. */
  function fileOf(handle: string, kind?: OpenFile['kind']): OpenFile | undefined {
    const file = files.get(handle);
    return file !== undefined && (kind === undefined || file.kind === kind) ? file : undefined;
  }

  function noFile(id: number): Promise<void> | undefined {
    return status(id, n.FX_FAILURE, fileErrorText('SPS073'));
  }

  function close(id: number, frame: Buffer, handle: string): Promise<void> | undefined {
    const file = fileOf(handle);
    if (file === undefined) return noFile(id);
    // From here on nothing goes by this handle, and the server may give it to another file.
    files.delete(handle);
    closing.add(file);
    return exchange.forward(frame, id, undefined, (answer) => {
      closing.delete(file);
      file.grant.done({ status: statusOf(answer).code, ...contentsOf(file) });
      return answer;
    });
  }
  const closing = new Set<OpenFile>();

  function read(id: number, frame: Buffer, request: Extract<Asked, { type: 'read' }>): Promise<void> | undefined {
    const file = fileOf(request.handle, 'file');
    if (file === undefined) return noFile(id);
    if (!file.reads) return deny(id, fileErrorText('SPS074', 'reading'));
    const limit = file.grant.maxBytesReturned ?? Number.POSITIVE_INFINITY;
    const overLimit = (): string => fileErrorText('SPS077', String(limit));
    if (file.transfer.bytesRead > limit) return status(id, n.FX_FAILURE, overLimit());
    const { masked } = file;
    if (masked !== undefined) return whileGranted(id, file, () => readMasked(id, file, masked, request));
    return whileGranted(id, file, () => readPlain(id, frame, file, request, limit, overLimit));
  }

  /** A file that stays open does not outlast the rule that it was opened by. */
  function whileGranted(
    id: number,
    { grant }: OpenFile,
    go: () => Promise<void> | undefined,
  ): Promise<void> | undefined {
    const changed = grant.changed();
    if (changed === undefined) return go();
    return changed.then((message) => (message === undefined ? go() : deny(id, message)));
  }

  function readPlain(
    id: number,
    frame: Buffer,
    file: OpenFile,
    request: Extract<Asked, { type: 'read' }>,
    limit: number,
    overLimit: () => string,
  ): Promise<void> | undefined {
    return exchange.forward(frame, id, n.DATA, (answer, type) => {
      if (type !== n.DATA) return answer;
      const data = dataOf(answer);
      if (data.length > request.length) throw new FileProtocolError('SPS071', 'more data than was asked for');
      file.transfer.read(request.offset, data);
      if (file.transfer.bytesRead <= limit) return answer;
      tell(overLimit());
      return statusAnswer(id, n.FX_FAILURE, overLimit());
    });
  }

  async function readMasked(
    id: number,
    file: OpenFile,
    masked: MaskedRead,
    { offset, length }: Extract<Asked, { type: 'read' }>,
  ): Promise<void> {
    const part = await masked.read(offset, Math.min(length, MAX_DATA));
    if ('status' in part) {
      if (part.status.code === n.FX_FAILURE) tell(part.status.message);
      return status(id, part.status.code, part.status.message);
    }
    file.transfer.read(offset, part.data);
    const limit = file.grant.maxBytesReturned ?? Number.POSITIVE_INFINITY;
    if (file.transfer.bytesRead > limit) {
      tell(fileErrorText('SPS077', String(limit)));
      return status(id, n.FX_FAILURE, fileErrorText('SPS077', String(limit)));
    }
    return toClient(packet(n.DATA, id, lengthAndBytes(part.data)));
  }

  function write(id: number, frame: Buffer, request: Extract<Asked, { type: 'write' }>): Promise<void> | undefined {
    const file = fileOf(request.handle, 'file');
    if (file === undefined) return noFile(id);
    if (!file.writes) return deny(id, fileErrorText('SPS074', 'writing'));
    return whileGranted(id, file, () => {
      file.transfer.written(request.offset, request.data);
      return exchange.forward(frame, id, undefined, (answer) => {
        if (statusOf(answer).code !== n.FX_OK) file.transfer.failed();
        return answer;
      });
    });
  }

  /** Attributes of a file that is open for writing: covered by its grant, and recorded. */
  async function setOpen(id: number, frame: Buffer, request: Extract<Asked, { type: 'fsetstat' }>): Promise<void> {
    const file = fileOf(request.handle, 'file');
    if (file === undefined) return noFile(id);
    if (!file.writes) return deny(id, fileErrorText('SPS074', 'writing'));
    const done = await judge.note({
      operation: 'fsetstat',
      accesses: [{ access: 'WriteFile', path: file.path }],
      detail: attributeWords(request.attributes),
    });
    return exchange.forward(frame, id, undefined, (answer) => {
      done({ status: statusOf(answer).code });
      return answer;
    });
  }

  /** From one open file to another, inside the server. */
  async function copy(id: number, frame: Buffer, request: Extract<Asked, { type: 'copy-data' }>): Promise<void> {
    const source = fileOf(request.source, 'file');
    const target = fileOf(request.destination, 'file');
    if (source === undefined || target === undefined) return noFile(id);
    if (!source.reads) return deny(id, fileErrorText('SPS074', 'reading'));
    if (!target.writes) return deny(id, fileErrorText('SPS074', 'writing'));
    if (source.masked !== undefined) return deny(id, fileErrorText('SPS084', source.path));
    if (judge.protects({ path: source.path }) && !judge.protects({ path: target.path }))
      return deny(id, fileErrorText('SPS083', source.path));
    const done = await judge.note({
      operation: 'copy-data',
      accesses: [
        { access: 'ReadFile', path: source.path },
        { access: 'WriteFile', path: target.path },
      ],
    });
    target.transfer.failed();
    return exchange.forward(frame, id, undefined, (answer) => {
      done({ status: statusOf(answer).code });
      return answer;
    });
  }

  // ── what paths are called ──

  /** Where a path leads is told only of what the client may know; of the rest it gets its own path back, made absolute. */
  async function realpath(id: number, path: string | undefined): Promise<void> {
    const reason = unusable(path);
    if (path === undefined || reason !== undefined)
      return deny(id, fileErrorText('SPS072', reason ?? 'it is not UTF-8'));
    const base = await resolver.home();
    const plain = normalise(base, path);
    const real = plain === base ? { path: base } : await resolver.real(path);
    if ('path' in real && (real.path === base || known(real.path))) return toClient(nameAnswer(id, real.path));
    if ('failed' in real && known(plain)) return status(id, real.failed.code, real.failed.message);
    return toClient(nameAnswer(id, plain));
  }

  /** `~user` and a user's home: told where it is the client's own, or a folder that it may know. */
  async function expand(id: number, frame: Buffer, path: string | undefined): Promise<void> {
    const reason = unusable(path);
    if (path === undefined || reason !== undefined)
      return deny(id, fileErrorText('SPS072', reason ?? 'it is not UTF-8'));
    const base = await resolver.home();
    return exchange.forward(frame, id, n.NAME, (answer, type) => {
      const expanded = type === n.NAME ? nameOf(answer) : undefined;
      if (expanded !== undefined && unusable(expanded) === undefined) {
        const plain = normalise(base, expanded);
        if (plain === base || known(plain)) return answer;
      }
      return statusAnswer(id, n.FX_PERMISSION_DENIED, fileErrorText('SPS072', 'it is not one that you may know of'));
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
    const type = frame[4] ?? 0;
    switch (request.type) {
      case 'read':
        return read(id, frame, request);
      case 'write':
        return write(id, frame, request);
      case 'close':
        return close(id, frame, request.handle);
      case 'readdir': {
        const file = fileOf(request.handle, 'folder');
        if (file === undefined) return noFile(id);
        return whileGranted(id, file, () => exchange.forward(frame, id, n.NAME));
      }
      case 'fstat':
        if (fileOf(request.handle) === undefined) return noFile(id);
        return exchange.forward(frame, id, answersWith(type));
      case 'fstatvfs':
        if (fileOf(request.handle) === undefined) return noFile(id);
        return exchange.forward(frame, id, n.EXTENDED_REPLY);
      case 'fsync':
        if (fileOf(request.handle, 'file')?.writes !== true) return noFile(id);
        return exchange.forward(frame, id, undefined);
      case 'fsetstat':
        return setOpen(id, frame, request);
      case 'copy-data':
        return copy(id, frame, request);
      case 'limits':
      case 'users-groups-by-id':
        return exchange.forward(frame, id, n.EXTENDED_REPLY);
      case 'realpath':
        return realpath(id, request.path);
      case 'expand-path':
      case 'home-directory':
        return expand(id, frame, request.path);
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
      for (const file of [...files.values(), ...closing])
        file.grant.done({ status: undefined, interrupted: true, ...contentsOf(file) });
      unanswered.clear();
      files.clear();
      closing.clear();
    },
  };
}

function contentsOf({ kind, transfer }: OpenFile): ReturnType<OpenFile['transfer']['outcome']> {
  return kind === 'file' ? transfer.outcome() : {};
}

/** Whether a request still means the very same packet. */
function sameMeaning(plan: Plan, again: Awaited<ReturnType<typeof planOf>>): boolean {
  return !('refused' in again) && again.failed === undefined && plan.frame.equals(again.frame);
}
