import fs from 'node:fs';
import { dirname } from 'node:path';

/** What a segment needs of the file system, handed in so that tests can make each step fail. */
export interface SegmentIo {
  /** Makes the folder (mode 0700, parents too) and the file (mode 0600), which must not exist yet. Returns the descriptor. */
  create(path: string): number;
  /** Returns how many bytes were taken, which may be fewer. */
  write(descriptor: number, bytes: Buffer, offset: number, length: number): number;
  truncate(descriptor: number, length: number): void;
  /** How many names the file still has. */
  links(descriptor: number): number;
  syncData(descriptor: number): Promise<void>;
  /** Makes the names in a folder durable. */
  syncFolder(path: string): Promise<void>;
  close(descriptor: number): void;
  remove(path: string): void;
}

const { O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants;

export const fileSystem: SegmentIo = {
  create(path) {
    fs.mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    return fs.openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  },
  write: (descriptor, bytes, offset, length) => fs.writeSync(descriptor, bytes, offset, length),
  truncate: (descriptor, length) => fs.ftruncateSync(descriptor, length),
  links: (descriptor) => fs.fstatSync(descriptor).nlink,
  syncData: (descriptor) =>
    new Promise((resolve, reject) => fs.fdatasync(descriptor, (error) => (error === null ? resolve() : reject(error)))),
  async syncFolder(path) {
    const folder = await fs.promises.open(path, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  },
  close: (descriptor) => fs.closeSync(descriptor),
  remove: (path) => fs.unlinkSync(path),
};

/** How often a writer looks whether its segment still has a name: a write to a removed file succeeds without a word. */
const NAME_CHECK_MS = 100;

/** One open segment. Holds whole events only: what a failed write left of a line is cut off before anything else is written. */
export class SegmentFile {
  readonly path: string;
  /** Bytes of whole events in the file. */
  size = 0;
  /** Why the last `write` took less than all. */
  error: unknown;
  readonly #io: SegmentIo;
  readonly #descriptor: number;
  #torn = false;
  #nameChecked = 0;
  #named = false;

  /** @throws the system's error when the file cannot be made. */
  constructor(path: string, io: SegmentIo) {
    this.path = path;
    this.#io = io;
    this.#descriptor = io.create(path);
  }

  /**
   * Writes `length` bytes that end with a line feed. Returns how many of them are in the file now: all, or those up to the end
   * of the last whole event, with `error` set.
   */
  write(bytes: Buffer, length: number): number {
    let done = 0;
    try {
      if (this.#torn) this.#cut();
      while (done < length) {
        const taken = this.#io.write(this.#descriptor, bytes, done, length - done);
        if (taken <= 0) throw Object.assign(new Error('the system took no bytes'), { code: 'EIO' });
        done += taken;
      }
      this.size += length;
      return length;
    } catch (error) {
      this.error = error;
      const whole = done === 0 ? 0 : bytes.lastIndexOf(0x0a, done - 1) + 1;
      this.size += whole;
      if (done > whole) {
        this.#torn = true;
        this.#tryCut();
      }
      return whole;
    }
  }

  /** True when somebody removed the file. Looked up at most every 100 ms; `now` is monotonic, in milliseconds. */
  removed(now: number): boolean {
    if (now - this.#nameChecked < NAME_CHECK_MS) return false;
    this.#nameChecked = now;
    return this.#io.links(this.#descriptor) === 0;
  }

  /** Resolves once everything written before the call is on disk, the file's name too. @throws the system's error */
  async sync(): Promise<void> {
    await this.#io.syncData(this.#descriptor);
    if (this.#io.links(this.#descriptor) === 0)
      throw Object.assign(new Error(`${this.path} was removed`), { code: 'ENOENT' });
    if (this.#named) return;
    // Connection, namespace, record and state folder: each may have been made together with the segment.
    let folder = dirname(this.path);
    for (let level = 0; level < 4; level++, folder = dirname(folder)) await this.#io.syncFolder(folder);
    this.#named = true;
  }

  close(): void {
    this.#io.close(this.#descriptor);
  }

  #cut(): void {
    this.#io.truncate(this.#descriptor, this.size);
    this.#torn = false;
  }

  #tryCut(): void {
    try {
      this.#cut();
    } catch {
      // Still torn, and marked so: the next write begins with this again, and fails while it fails.
    }
  }
}
