import { dataOf, handleOf, statusAnswer, statusOf } from './answers.ts';
import * as n from './constants.ts';
import type { SessionContext } from './context.ts';
import { FileProtocolError, fileErrorText } from './errors.ts';
import { lengthAndBytes } from './extensions.ts';
import { packet } from './fields.ts';
import { createMaskedRead, type MaskedRead } from './masked-read.ts';
import { createTransfer, type OpenFile } from './open-files.ts';
import { attributeWords, opensForReading, type Plan, type PlannedRequest } from './plan.ts';
import type { FileGrant } from './port.ts';
import type { SftpRequest } from './requests.ts';

/** Requests about what is open. */
export type HandleRequest = Extract<SftpRequest, { handle: string } | { source: string }>;

type Asked = HandleRequest;

/** Files and folders that are open, by the handles that the server gave: each is good for what it was opened for, and for nothing else. */
export interface OpenHandles {
  readonly size: number;
  /** The server has opened what was granted. @param answer its HANDLE @throws FileProtocolError */
  opened(answer: Buffer, plan: Plan, request: PlannedRequest, grant: FileGrant): void;
  handle(frame: Buffer, id: number, request: HandleRequest): Promise<void> | undefined;
  /** The session is over: what is open gets its outcome. */
  end(): void;
}

/** Largest part of a file in one answer: its packet holds nine bytes more. */
const MAX_DATA = n.MAX_PACKET - 1024;

export function createOpenHandles({ judge, exchange, toClient, status, deny, tell }: SessionContext): OpenHandles {
  const files = new Map<string, OpenFile>();
  /** Closed by the client, not yet by the server. */
  const closing = new Set<OpenFile>();

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
    const refusal = await file.grant.changed();
    if (refusal !== undefined) return deny(id, refusal);
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
    const refusal = (await source.grant.changed()) ?? (await target.grant.changed());
    if (refusal !== undefined) return deny(id, refusal);
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

  return {
    get size() {
      return files.size;
    },
    opened,
    handle(frame, id, request) {
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
          return fileOf(request.handle) === undefined ? noFile(id) : exchange.forward(frame, id, n.ATTRS);
        case 'fstatvfs':
          return fileOf(request.handle) === undefined ? noFile(id) : exchange.forward(frame, id, n.EXTENDED_REPLY);
        case 'fsync':
          if (fileOf(request.handle, 'file')?.writes !== true) return noFile(id);
          return exchange.forward(frame, id, undefined);
        case 'fsetstat':
          return setOpen(id, frame, request);
        case 'copy-data':
          return copy(id, frame, request);
        default:
          return request satisfies never;
      }
    },
    end() {
      for (const file of [...files.values(), ...closing])
        file.grant.done({ status: undefined, interrupted: true, ...contentsOf(file) });
      files.clear();
      closing.clear();
    },
  };
}

function contentsOf({ kind, transfer }: OpenFile): ReturnType<OpenFile['transfer']['outcome']> {
  return kind === 'file' ? transfer.outcome() : {};
}
