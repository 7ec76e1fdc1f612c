import { isUtf8 } from 'node:buffer';
import { FX_FAILURE, FX_OK, FX_PERMISSION_DENIED } from '../sftp/constants.ts';
import { FileProtocolError, fileErrorText } from '../sftp/errors.ts';
import { createTransfer, type Transfer } from '../sftp/open-files.ts';
import { printable, unusable, within } from '../sftp/paths.ts';
import type { ByteSink, FileGrant, FileJudge, FileRequest, FileSession } from '../sftp/port.ts';
import { createTeller } from '../sftp/teller.ts';
import { createResponses } from './responses.ts';

export interface ScpOptions {
  /** `sink`: the target runs `scp -t` and writes what the client sends. `source`: it runs `scp -f`, and the client gets what it reads. */
  readonly role: 'sink' | 'source';
  /** Absolute, as the command names them: one for a sink. */
  readonly paths: readonly string[];
  readonly recursive: boolean;
  readonly judge: FileJudge;
  readonly toClient: ByteSink;
  readonly toServer: ByteSink;
}

/** A file or folder that is announced, or the end of a folder, or times for what follows. */
type ScpRecord =
  | { readonly type: 'file'; readonly size: number; readonly name: string; readonly mode: string }
  | { readonly type: 'folder'; readonly name: string; readonly mode: string }
  | { readonly type: 'end' | 'times' }
  /** The sender could not read something, and says so. */
  | { readonly type: 'error' };

/** Longest line: a name has 255 bytes at most, a message may quote a path. */
const MAX_LINE = 8192;
/** Folders in folders. */
const MAX_DEPTH = 256;
const LINE_END = 0x0a;

type State =
  | { readonly type: 'record' }
  | { readonly type: 'contents'; readonly file: Announced; left: number }
  /** After the contents: whether the sender could read all of them. */
  | { readonly type: 'status'; readonly file: Announced };

interface Announced {
  readonly grant: FileGrant;
  readonly transfer: Transfer;
}

/**
 * The protocol of scp before it was SFTP (`scp -O`; described by its code alone: scp.c of OpenSSH, `source` and `sink`). One side sends
 * records, and contents after those that the other accepts. Each file and folder is judged under the path that it will have, or has, and
 * those that are refused are refused in the protocol: the others go on. Nobody is ahead of the other: a side that sends before it was
 * answered waits, so that contents are never taken for records.
 */
export function createScpSession({ role, paths, recursive, judge, toClient, toServer }: ScpOptions): FileSession {
  const code = role === 'sink' ? 'SPS081' : 'SPS082';
  const toReceiver = role === 'sink' ? toServer : toClient;
  const toSender = role === 'sink' ? toClient : toServer;
  const responses = createResponses(toSender, role === 'sink' ? 'SPS082' : 'SPS081', role === 'sink');
  const tell = createTeller(judge);
  const ending = new AbortController();
  /** What the folder that is being sent may be called at the target; the top is not a folder yet. */
  const folders: (readonly string[])[] = [];
  let state: State = { type: 'record' };
  let line: Buffer[] = [];
  let lineLength = 0;
  let open: Announced | undefined;
  // The receiver begins.
  let ready: Promise<unknown> | undefined = responses.next();

  /** Every path that a name may stand for: whether the target of a sink is a folder already, only the target knows. */
  function pathsOf(name: string): readonly string[] {
    const folder = folders.at(-1);
    if (folder !== undefined) return folder.map((each) => within(each, name));
    if (role === 'sink') return paths.flatMap((each) => [each, within(each, name)]);
    return paths.filter((each) => each === '/' || each.slice(each.lastIndexOf('/') + 1) === name);
  }

  async function record(bytes: Buffer): Promise<void> {
    const parsed = parseRecord(bytes, code);
    switch (parsed.type) {
      case 'error':
        // Nobody answers these.
        return toReceiver(bytes);
      case 'times':
        await exchanged(bytes);
        return;
      case 'end':
        if (folders.pop() === undefined) throw new FileProtocolError(code, 'the end of a folder that was not begun');
        await exchanged(bytes);
        return;
      case 'folder':
        return folder(bytes, parsed);
      case 'file':
        return file(bytes, parsed);
      default:
        return parsed satisfies never;
    }
  }

  /** Passes on what the receiver answers. @returns whether it accepted */
  async function exchanged(bytes: Buffer): Promise<boolean> {
    const answer = responses.next();
    await toReceiver(bytes);
    return answer;
  }

  async function folder(bytes: Buffer, { name, mode }: Extract<ScpRecord, { type: 'folder' }>): Promise<void> {
    if (!recursive) throw new FileProtocolError(code, 'a folder, where there was no -r');
    if (folders.length >= MAX_DEPTH) throw new FileProtocolError(code, `more than ${MAX_DEPTH} folders in one another`);
    const places = pathsOf(name);
    const operation = role === 'sink' ? 'mkdir' : 'opendir';
    const grant = await admitted(name, { operation, accesses: accessesTo(places), detail: `mode ${mode}` });
    if (grant === undefined) return;
    const accepted = await exchanged(bytes);
    grant.done({ status: accepted ? FX_OK : FX_FAILURE });
    if (accepted) folders.push(places);
  }

  async function file(bytes: Buffer, announced: Extract<ScpRecord, { type: 'file' }>): Promise<void> {
    const { name, size, mode } = announced;
    const operation = role === 'sink' ? 'receive' : 'send';
    const accesses = accessesTo(pathsOf(name));
    const grant = await admitted(name, { operation, accesses, detail: `${size} bytes, mode ${mode}` });
    if (grant === undefined) return;
    if (role === 'source') {
      const { maxBytesReturned: most = Number.POSITIVE_INFINITY } = grant;
      const reason =
        grant.masker !== undefined
          ? `${fileErrorText('SPS084', accesses[0]?.path)}: use scp without -O`
          : size > most
            ? fileErrorText('SPS077', String(most))
            : undefined;
      if (reason !== undefined) {
        grant.done({ status: FX_PERMISSION_DENIED });
        return refuse(reason);
      }
    }
    open = { grant, transfer: createTransfer() };
    if (await exchanged(bytes)) {
      state = size === 0 ? { type: 'status', file: open } : { type: 'contents', file: open, left: size };
      return;
    }
    finish(open, FX_FAILURE);
  }

  function finish({ grant, transfer }: Announced, status: number | undefined): void {
    open = undefined;
    grant.done({ status, ...(status === undefined ? { interrupted: true as const } : {}), ...transfer.outcome() });
  }

  function accessesTo(places: readonly string[]): FileRequest['accesses'] {
    const access = role === 'sink' ? 'WriteFile' : 'ReadFile';
    return places.map((path) => ({ access, path }));
  }

  /** The grant of a request, or undefined when the sender was told that there is none. */
  async function admitted(name: string, request: FileRequest): Promise<FileGrant | undefined> {
    const reason = unusable(name) ?? (request.accesses.length === 0 ? 'it is not one that was asked for' : undefined);
    if (reason !== undefined) return refuse(fileErrorText('SPS072', reason));
    const verdict = await judge.judge(request, ending.signal);
    return verdict.granted ? verdict : refuse(verdict.message);
  }

  /** In the receiver's name. */
  async function refuse(message: string): Promise<undefined> {
    tell(message);
    await toSender(Buffer.from(`\x01${printable(message)}\n`));
    return undefined;
  }

  async function contents(bytes: Buffer, file: Announced, left: number): Promise<void> {
    const { transfer } = file;
    if (role === 'sink') transfer.written(BigInt(transfer.bytesWritten), bytes);
    else transfer.read(BigInt(transfer.bytesRead), bytes);
    state = left === bytes.length ? { type: 'status', file } : { type: 'contents', file, left: left - bytes.length };
    return toReceiver(bytes);
  }

  /** The line that ends in these bytes, or undefined while it goes on. */
  function wholeLine(bytes: Buffer): Buffer | undefined {
    lineLength += bytes.length;
    if (lineLength > MAX_LINE) throw new FileProtocolError(code, 'a line that is too long');
    line.push(bytes);
    if (bytes[bytes.length - 1] !== LINE_END) return undefined;
    const whole = Buffer.concat(line);
    line = [];
    lineLength = 0;
    return whole;
  }

  async function status(bytes: Buffer, file: Announced): Promise<void> {
    state = { type: 'record' };
    const accepted = await exchanged(bytes);
    if (bytes[0] !== 0) file.transfer.failed();
    finish(file, accepted && bytes[0] === 0 ? FX_OK : FX_FAILURE);
  }

  /** Takes what the state wants of the bytes from `at` on. @returns how many */
  function step(bytes: Buffer, at: number): { readonly taken: number; readonly wait: Promise<void> | undefined } {
    if (state.type === 'contents') {
      const part = bytes.subarray(at, at + state.left);
      return { taken: part.length, wait: contents(part, state.file, state.left) };
    }
    if (state.type === 'status' && lineLength === 0 && bytes[at] === 0)
      return { taken: 1, wait: status(bytes.subarray(at, at + 1), state.file) };
    const end = bytes.indexOf(LINE_END, at);
    const part = bytes.subarray(at, end < 0 ? bytes.length : end + 1);
    const whole = wholeLine(part);
    if (whole === undefined) return { taken: part.length, wait: undefined };
    return { taken: part.length, wait: state.type === 'status' ? status(whole, state.file) : record(whole) };
  }

  async function fromSender(bytes: Buffer): Promise<void> {
    try {
      await takeAll(bytes);
    } catch (error) {
      // What was waited for when the transfer ended does not come any more.
      if (!ending.signal.aborted) throw error;
    }
  }

  async function takeAll(bytes: Buffer): Promise<void> {
    if (ready !== undefined) {
      await ready;
      ready = undefined;
    }
    for (let at = 0; at < bytes.length && !ending.signal.aborted; ) {
      const { taken, wait } = step(bytes, at);
      at += taken;
      if (wait !== undefined) await wait;
    }
  }

  return {
    fromClient: role === 'sink' ? fromSender : responses.push,
    fromServer: role === 'sink' ? responses.push : fromSender,
    close() {
      if (ending.signal.aborted) return;
      ending.abort(new Error('the transfer is over'));
      responses.close();
      if (open !== undefined) finish(open, undefined);
    },
  };
}

/** @throws FileProtocolError for what OpenSSH's scp would not send */
function parseRecord(bytes: Buffer, code: 'SPS081' | 'SPS082'): ScpRecord {
  const first = bytes[0] ?? 0;
  if (first === 1 || first === 2) return { type: 'error' };
  if (!isUtf8(bytes)) throw new FileProtocolError(code, 'a name that is not UTF-8');
  const text = bytes.toString('utf8', 0, bytes.length - 1);
  if (text === 'E') return { type: 'end' };
  if (/^T\d{1,19} \d{1,6} \d{1,19} \d{1,6}$/.test(text)) return { type: 'times' };
  const [, kind, mode = '', size = '', name = ''] = /^([CD])([0-7]{4}) (\d{1,15}) ([^/]+)$/s.exec(text) ?? [];
  if (kind === undefined || name === '.' || name === '..')
    throw new FileProtocolError(code, `the record ${JSON.stringify(text.slice(0, 80))}`);
  return kind === 'C' ? { type: 'file', size: Number(size), name, mode } : { type: 'folder', name, mode };
}
