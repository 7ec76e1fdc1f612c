import { join } from 'node:path';
import { type Chain, createChain, originOf, type WrittenCheckpoint } from '../../record/chain.ts';
import { describeCause, RecorderError, type RecorderErrorCode } from '../../record/errors.ts';
import { type EventHead, eventBody } from '../../record/format.ts';
import type { LineWriter } from '../../record/line-writer.ts';
import type { CommandStream, RecordEventType } from '../../record/port.ts';
import { segmentFileName } from '../../record/segment.ts';
import { Timestamps } from '../../record/timestamp.ts';
import { createOpenSessions } from './open-sessions.ts';
import { linesIn, PendingLines } from './pending-lines.ts';
import { SegmentFile } from './segment-file.ts';
import { recorderResumed, recorderStart, segmentHead } from './stream-events.ts';
import type { StreamSettings } from './stream-settings.ts';
import { createSyncQueue, type SyncQueue } from './sync-queue.ts';

/** A turn that grows past this is written before the turn ends: bounds memory, changes no promise. */
const TURN_BYTES = 1 << 20;
/** Events kept while nothing can be written; later ones are counted and refused. */
const KEPT_BYTES = 8 << 20;
/** A full disk is asked again this often at most, so that refused commands cost no more than accepted ones. */
const RETRY_MS = 100;
const SCRATCH_BYTES = 256 * 1024;
/** Shared by all streams: a write is over when `flush` returns. */
const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);

/** The events of one proxy process and one connection. See docs/record.md. */
export class SegmentedStream implements CommandStream {
  readonly #settings: StreamSettings;
  readonly #times: Timestamps;
  readonly #sync: SyncQueue;
  readonly #chain: Chain;
  readonly #sessions = createOpenSessions();
  #n = 0;
  #writtenN = 0;
  /** Bytes handed to the kernel, over all segments. */
  #written = 0;
  readonly #pending = new PendingLines();
  /** Number of the last checkpoint asked for. */
  #checkpointN = 0;
  #dropped = 0;
  /** The event that was begun is kept. */
  #room = true;
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
  readonly #intervals: readonly NodeJS.Timeout[];
  #stopping = false;
  #closed = false;

  constructor(settings: StreamSettings) {
    this.#settings = settings;
    this.#times = new Timestamps(settings.clock);
    this.#sync = createSyncQueue((error) => this.#abandon(error));
    const { namespace, name, owner, signer } = settings;
    this.#chain = createChain(originOf({ namespace, name, process: owner.process }), signer);
    this.#intervals = [
      setInterval(() => this.#beat(), settings.heartbeatMs).unref(),
      setInterval(() => this.#checkpoint(), settings.checkpointMs).unref(),
    ];
  }

  /** Opens the first segment. @throws RecorderError */
  open(): void {
    this.append('recorder.start', recorderStart(this.#settings.owner, this.#settings.signer));
    this.flush();
  }

  get failure(): RecorderError | undefined {
    return this.#failure;
  }

  get takenAt(): number {
    return this.#times.monotonic;
  }

  append(event: RecordEventType, members: string): number {
    const room = this.#hasRoom();
    const n = ++this.#n;
    this.#sessions.note(event, members);
    if (room) {
      this.#pending.push(n, this.#times, event, members);
      this.#timer ??= this.#arm();
    } else this.#drop();
    return n;
  }

  begin(head: EventHead): LineWriter {
    this.#room = this.#hasRoom();
    // The number is taken by `end`.
    return this.#pending.begin(this.#n + 1, this.#times, head);
  }

  end(): number {
    const n = ++this.#n;
    if (this.#room) {
      this.#pending.end();
      this.#timer ??= this.#arm();
    } else this.#drop();
    return n;
  }

  #hasRoom(): boolean {
    return (this.#dropped === 0 && this.#pending.size <= TURN_BYTES) || this.#makeRoom();
  }

  #drop(): void {
    this.#dropped++;
    this.#owesFailure = true;
  }

  flush(): void {
    if (this.#pending.length > 0 || this.#failure !== undefined) {
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
    for (const interval of this.#intervals) clearInterval(interval);
    // Nothing follows the last event: a segment that is full stays so.
    this.#stopping = true;
    try {
      // What was kept through a failure comes first; where it still cannot be written there is no end either, and the next start says so.
      if (this.#failure === undefined || this.#write() === undefined) this.#appendStop();
      await this.sync();
    } finally {
      this.#closed = true;
      clearTimeout(this.#timer);
      await this.#sync.idle();
      this.#file?.close();
      this.#file = undefined;
    }
  }

  #appendStop(): void {
    const sessions = this.#sessions.ids;
    for (const session of sessions)
      this.append('session.interrupted', `"session":"${session}","reason":"the gateway stopped"`);
    this.#pushSigned('recorder.stop', `"sessions":${JSON.stringify(sessions)}`);
  }

  #pushSigned(event: RecordEventType, members: string): void {
    const { n, time, body } = this.#signed(event, members);
    this.#pending.pushSigned(n, time, body);
    this.#timer ??= this.#arm();
  }

  /** Takes a number for an event whose line vouches for itself and all before it. */
  #signed(
    event: RecordEventType,
    members: string,
  ): { readonly n: number; readonly time: string; readonly body: string } {
    const n = ++this.#n;
    const time = this.#times.now();
    this.#checkpointN = n;
    return { n, time, body: eventBody(n, time, event, members) };
  }

  /** Once events were lost none is kept until `recorder.resumed` is written: the gap in the numbers stands right before it. */
  #makeRoom(): boolean {
    if (this.#write() === undefined) return true;
    return this.#dropped === 0 && this.#pending.size <= KEPT_BYTES;
  }

  #arm(): NodeJS.Timeout {
    const delay = this.#failure === undefined ? this.#settings.syncDelayMs : RETRY_MS * 5;
    return setTimeout(() => this.#onTimer(), delay).unref();
  }

  /** What no caller waits for: reads become durable, and a failure is probed until it is over. `onHealth` hears of both. */
  #onTimer(): void {
    this.#timer = undefined;
    if (this.#closed) return;
    if (this.#pending.length > 0 || this.#failure !== undefined) this.#write();
    if (this.#failure !== undefined) this.#timer = this.#arm();
    else this.#sync.start(this.#written, () => this.#file);
  }

  #beat(): void {
    if (this.#failure === undefined) this.append('recorder.heartbeat', `"sessions":${this.#sessions.count}`);
  }

  #checkpoint(): void {
    if (this.#settings.signer === undefined || this.#failure !== undefined || this.#n <= this.#checkpointN) return;
    this.#pushSigned('recorder.checkpoint', '');
  }

  /** Only what is on disk may be held against the record later: a power cut takes the rest away without anybody's doing. */
  #announce(checkpoints: readonly WrittenCheckpoint[]): void {
    if (checkpoints.length === 0) return;
    const { namespace, name, owner, onCheckpoint } = this.#settings;
    const durable = () => {
      for (const checkpoint of checkpoints) onCheckpoint({ namespace, name, process: owner.process, ...checkpoint });
    };
    // What happened to the disk is told by `onHealth`; a checkpoint that may be lost vouches for nothing.
    const lost = () => {};
    this.#sync.wait(this.#written, () => this.#file).then(durable, lost);
  }

  /** One write of everything pending. Returns the failure in force, if any. */
  #write(): RecorderError | undefined {
    if (this.#closed) return new RecorderError('SPR005', { object: this.#object() });
    // What is written was taken in this turn, or a timer ago; what a failure keeps may be older.
    const now = this.#failure === undefined ? this.#times.monotonic : this.#settings.clock.monotonic();
    if (this.#failure !== undefined && now - this.#failedAt < RETRY_MS) return this.#failure;
    const file = this.#usable(now);
    if (file === undefined) return this.#failure;
    const failure = this.#failure;
    const pending = this.#pending;
    let { bytes, size } = pending;
    if (failure === undefined && !pending.toBeSigned)
      this.#chain.linkInPlace(bytes, pending.starts, pending.length, size);
    else {
      const lines = pending.lines();
      if (failure !== undefined) lines.push(this.#resumed(failure));
      bytes = this.#chain.link(lines, scratch);
      size = bytes.length;
    }
    const taken = file.write(bytes, size);
    this.#written += taken;
    if (taken < size) {
      this.#keep(bytes, taken);
      return this.#fail('SPR001', file.error);
    }
    if (failure !== undefined) this.#n++;
    this.#writtenN = this.#n;
    const count = pending.length;
    pending.clear();
    this.#announce(this.#chain.written(count));
    if (this.#failure !== undefined) {
      this.#failure = undefined;
      this.#dropped = 0;
      this.#settings.onHealth(undefined);
    }
    if (this.#stopping) return undefined;
    if (file.size >= this.#settings.segmentBytes || this.#times.day !== this.#fileDay) return this.#rotate(file);
    return undefined;
  }

  #resumed(failure: RecorderError): string {
    const facts = { failure, since: this.#failedSince, dropped: this.#dropped, kept: this.#pending.length };
    return eventBody(this.#n + 1, this.#times.now(), 'recorder.resumed', recorderResumed(facts));
  }

  /** What a failed write took stays taken; the rest, without the note about a recovery that did not happen, stays pending. */
  #keep(bytes: Buffer, taken: number): void {
    if (taken === 0) return;
    const { count, start } = linesIn(bytes, taken);
    this.#announce(this.#chain.written(count, bytes.subarray(start, taken)));
    this.#pending.drop(count);
    this.#writtenN += count;
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
    const members = segmentHead({
      ...{ namespace, name, owner, number, previous: this.#previous },
      sessions: this.#sessions.ids,
    });
    const head = this.#chain.link([eventBody(this.#writtenN, time, 'segment.start', members)]);
    if (file.write(head, head.length) < head.length) {
      file.close();
      io.remove(file.path);
      throw file.error;
    }
    this.#chain.written(1);
    this.#written += head.length;
    this.#number = number;
    this.#previous = file.path.slice(folder.length + 1);
    this.#file = file;
    this.#fileDay = this.#times.day;
    return file;
  }

  #rotate(file: SegmentFile): RecorderError | undefined {
    const end = this.#signed('segment.end', '');
    const line = this.#chain.link([end]);
    const taken = file.write(line, line.length);
    this.#written += taken;
    if (taken < line.length) {
      this.#n--;
      return this.#fail('SPR001', file.error);
    }
    this.#writtenN = this.#n;
    this.#file = undefined;
    this.#sync.retire(file);
    this.#announce(this.#chain.written(1));
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
