import { join } from 'node:path';
import { describeCause, RecorderError, type RecorderErrorCode } from '../../record/errors.ts';
import { eventLine, RECORD_VERSION } from '../../record/format.ts';
import type { SegmentOwner } from '../../record/owner.ts';
import type { RecordEventType, RecordStream } from '../../record/port.ts';
import { segmentFileName } from '../../record/segment.ts';
import { type RecordClock, Timestamps } from '../../record/timestamp.ts';
import { SegmentFile, type SegmentIo } from './segment-file.ts';
import { createSyncQueue, type SyncQueue } from './sync-queue.ts';

export interface StreamSettings {
  /** Folder of the connection. */
  readonly folder: string;
  readonly namespace: string;
  readonly name: string;
  readonly owner: SegmentOwner;
  readonly io: SegmentIo;
  readonly clock: RecordClock;
  readonly segmentBytes: number;
  readonly syncDelayMs: number;
  readonly heartbeatMs: number;
  /** Called when a write failed, and when one succeeded again (undefined). */
  readonly onHealth: (failure: RecorderError | undefined) => void;
}

/** A turn that grows past this is written before the turn ends: bounds memory, changes no promise. */
const TURN_CHARACTERS = 1 << 20;
/** Events kept while nothing can be written; later ones are counted and refused. */
const KEPT_CHARACTERS = 8 << 20;
/** A full disk is asked again this often at most, so that refused commands cost no more than accepted ones. */
const RETRY_MS = 100;
const SCRATCH_BYTES = 256 * 1024;
/** Shared by all streams: a write is over when `flush` returns. */
const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
const SESSION = /"session":"([^"\\]+)"/;

/** The events of one proxy process and one connection. See docs/record.md. */
export class SegmentedStream implements RecordStream {
  readonly #settings: StreamSettings;
  readonly #times: Timestamps;
  readonly #sync: SyncQueue;
  readonly #sessions = new Set<string>();
  #n = 0;
  #writtenN = 0;
  /** Bytes handed to the kernel, over all segments. */
  #written = 0;
  #pending = '';
  #pendingEvents = 0;
  #dropped = 0;
  /** Events were lost to a lack of memory and no caller of `flush` was told yet. */
  #owesFailure = false;
  #file: SegmentFile | undefined;
  #fileDay = 0;
  #number = 0;
  #previous: string | undefined;
  #failure: RecorderError | undefined;
  #failedSince = '';
  #failedAt = 0;
  #timer: NodeJS.Timeout | undefined;
  #heartbeat: NodeJS.Timeout;
  #stopping = false;
  #closed = false;

  constructor(settings: StreamSettings) {
    this.#settings = settings;
    this.#times = new Timestamps(settings.clock);
    this.#sync = createSyncQueue((error) => this.#abandon(error));
    this.#heartbeat = setInterval(() => this.#beat(), settings.heartbeatMs);
    this.#heartbeat.unref();
  }

  /** Opens the first segment. @throws RecorderError */
  open(): void {
    this.append('recorder.start', `"owner":${JSON.stringify(this.#settings.owner)}`);
    this.flush();
  }

  get failure(): RecorderError | undefined {
    return this.#failure;
  }

  append(event: RecordEventType, members: string): number {
    const room = this.#pending.length <= TURN_CHARACTERS || this.#makeRoom();
    const n = ++this.#n;
    if (!room) {
      this.#dropped++;
      this.#owesFailure = true;
      return n;
    }
    this.#pending += eventLine(n, this.#times.now(), event, members);
    this.#pendingEvents++;
    this.#timer ??= this.#arm();
    if (event === 'session.start' || event === 'session.end' || event === 'session.refused')
      this.#track(event, members);
    return n;
  }

  flush(): void {
    if (this.#pending !== '' || this.#failure !== undefined) {
      const failure = this.#write();
      if (failure !== undefined) throw failure;
    }
    if (this.#owesFailure) {
      this.#owesFailure = false;
      throw new RecorderError('SPR010', { object: this.#object(), detail: 'space is back' });
    }
  }

  async sync(): Promise<void> {
    this.flush();
    await this.#sync.wait(this.#written, () => this.#file);
  }

  /** Writes `recorder.stop`, makes everything durable and closes. @throws RecorderError; closed even then. */
  async close(): Promise<void> {
    if (this.#closed) return;
    clearInterval(this.#heartbeat);
    // Nothing follows the last event: a segment that is full stays so.
    this.#stopping = true;
    this.append('recorder.stop', `"sessions":${JSON.stringify([...this.#sessions])}`);
    try {
      await this.sync();
    } finally {
      this.#closed = true;
      clearTimeout(this.#timer);
      await this.#sync.idle();
      this.#file?.close();
      this.#file = undefined;
    }
  }

  /** Sessions that run are named at the head of each segment: after a crash only the last segment must be read. */
  #track(event: RecordEventType, members: string): void {
    const session = SESSION.exec(members)?.[1];
    if (session === undefined) return;
    if (event === 'session.start') this.#sessions.add(session);
    else this.#sessions.delete(session);
  }

  #makeRoom(): boolean {
    if (this.#write() === undefined) return true;
    return this.#pending.length <= KEPT_CHARACTERS;
  }

  #arm(): NodeJS.Timeout {
    const delay = this.#failure === undefined ? this.#settings.syncDelayMs : RETRY_MS * 5;
    return setTimeout(() => this.#onTimer(), delay).unref();
  }

  /** What no caller waits for: reads become durable, and a failure is probed until it is over. `onHealth` hears of both. */
  #onTimer(): void {
    this.#timer = undefined;
    if (this.#closed) return;
    if (this.#pending !== '' || this.#failure !== undefined) this.#write();
    if (this.#failure !== undefined) this.#timer = this.#arm();
    else this.#sync.start(this.#written, () => this.#file);
  }

  #beat(): void {
    if (this.#failure === undefined) this.append('recorder.heartbeat', `"sessions":${this.#sessions.size}`);
  }

  /** One write of everything pending. Returns the failure in force, if any. */
  #write(): RecorderError | undefined {
    if (this.#closed) return new RecorderError('SPR005', { object: this.#object() });
    const now = this.#settings.clock.monotonic();
    if (this.#failure !== undefined && now - this.#failedAt < RETRY_MS) return this.#failure;
    const file = this.#usable(now);
    if (file === undefined) return this.#failure;
    const note = this.#failure === undefined ? '' : this.#recoveryNote();
    const text = note === '' ? this.#pending : this.#pending + note;
    const bytes = text.length * 3 <= SCRATCH_BYTES ? scratch : Buffer.from(text, 'utf8');
    const length = bytes === scratch ? scratch.write(text, 'utf8') : bytes.length;
    const taken = file.write(bytes, length);
    this.#written += taken;
    if (taken < length) {
      this.#keep(bytes, taken, length - Buffer.byteLength(note));
      return this.#fail('SPR001', file.error);
    }
    if (note !== '') this.#n++;
    this.#writtenN = this.#n;
    this.#pending = '';
    this.#pendingEvents = 0;
    if (this.#failure !== undefined) {
      this.#failure = undefined;
      this.#dropped = 0;
      this.#settings.onHealth(undefined);
    }
    if (this.#stopping) return undefined;
    if (file.size >= this.#settings.segmentBytes || this.#times.day !== this.#fileDay) return this.#rotate(file);
    return undefined;
  }

  #recoveryNote(): string {
    const members =
      `"reason":${JSON.stringify(this.#failure?.code)},"since":"${this.#failedSince}",` +
      `"dropped":${this.#dropped},"kept":${this.#pendingEvents}`;
    return eventLine(this.#n + 1, this.#times.now(), 'recorder.resumed', members);
  }

  /** What a failed write took stays taken; the rest, without the note about a recovery that did not happen, stays pending. */
  #keep(bytes: Buffer, taken: number, end: number): void {
    if (taken === 0) return;
    let events = 0;
    for (let at = bytes.indexOf(0x0a); at !== -1 && at < taken; at = bytes.indexOf(0x0a, at + 1)) events++;
    this.#writtenN += events;
    this.#pendingEvents -= events;
    this.#pending = taken >= end ? '' : bytes.toString('utf8', taken, end);
  }

  #usable(now: number): SegmentFile | undefined {
    let file = this.#file;
    if (file !== undefined) {
      try {
        if (!file.removed(now)) return file;
      } catch (error) {
        this.#fail('SPR001', error);
        return undefined;
      }
      this.#file = undefined;
      this.#sync.retire(file, this.#fail('SPR004', undefined, file.path));
      // At once, so that only those hear of it whose events were in that file.
      this.#sync.start(this.#written, () => this.#file);
      return undefined;
    }
    try {
      file = this.#openSegment();
    } catch (error) {
      this.#fail('SPR002', error);
      return undefined;
    }
    return file;
  }

  /** @throws the system's error. A file whose head could not be written whole is removed: on a full disk there would be one per attempt. */
  #openSegment(): SegmentFile {
    const { folder, owner, io, namespace, name } = this.#settings;
    const time = this.#times.now();
    const number = this.#number + 1;
    const file = new SegmentFile(join(folder, segmentFileName(time, owner.pid, owner.process, number)), io);
    const members =
      `"format":${RECORD_VERSION},"connection":${JSON.stringify({ namespace, name })},"segment":${number},` +
      `"previous":${JSON.stringify(this.#previous ?? null)},"owner":${JSON.stringify(owner)},` +
      `"sessions":${JSON.stringify([...this.#sessions])}`;
    const head = Buffer.from(eventLine(this.#writtenN, time, 'segment.start', members));
    if (file.write(head, head.length) < head.length) {
      file.close();
      io.remove(file.path);
      throw file.error;
    }
    this.#written += head.length;
    this.#number = number;
    this.#previous = file.path.slice(folder.length + 1);
    this.#file = file;
    this.#fileDay = this.#times.day;
    return file;
  }

  #rotate(file: SegmentFile): RecorderError | undefined {
    const line = Buffer.from(eventLine(this.#n + 1, this.#times.now(), 'segment.end', ''));
    const taken = file.write(line, line.length);
    this.#written += taken;
    if (taken < line.length) return this.#fail('SPR001', file.error);
    this.#writtenN = ++this.#n;
    this.#file = undefined;
    this.#sync.retire(file);
    try {
      this.#openSegment();
    } catch (error) {
      return this.#fail('SPR002', error);
    }
    return undefined;
  }

  /** After a failed fdatasync the kernel may have forgotten what it could not write: a second one on the same file would lie. */
  #abandon(error: unknown): RecorderError {
    const failure = this.#fail('SPR003', error);
    if (this.#file !== undefined) this.#sync.retire(this.#file, failure);
    this.#file = undefined;
    return failure;
  }

  #fail(code: RecorderErrorCode, cause: unknown, path = this.#settings.folder): RecorderError {
    const facts = {
      object: this.#object(),
      path,
      ...(cause === undefined ? {} : { detail: describeCause(cause), cause }),
    };
    const failure = new RecorderError(code, facts);
    if (this.#failure === undefined) this.#failedSince = this.#times.now();
    this.#failure = failure;
    this.#failedAt = this.#settings.clock.monotonic();
    this.#timer ??= this.#closed ? undefined : this.#arm();
    this.#settings.onHealth(failure);
    return failure;
  }

  #object(): string {
    return `${this.#settings.namespace}/${this.#settings.name}`;
  }
}
