/**
 * The rows of a recorded response, read back from its `result.chunk` events: DataRow and CopyData messages of PostgreSQL's protocol
 * (manual, section "Message Formats"), cut anywhere. Total: whatever the bytes are, it reads what can be read and says so where it
 * cannot. Memory is bounded by the largest message that is kept.
 */

export type RecordedRow =
  | { readonly type: 'row'; readonly cells: readonly (Buffer | null)[]; readonly cut: boolean }
  /** Bytes of a COPY TO STDOUT, as they came. */
  | { readonly type: 'copy'; readonly bytes: Buffer }
  /** The bytes are not what the encoding says: nothing after them can be read. */
  | { readonly type: 'unreadable' };

export interface RowReader {
  feed(bytes: Buffer): RecordedRow[];
  /** A message that never came whole: the first part of it, where that says anything. */
  end(): RecordedRow[];
}

/** Of one message, a row's values beyond this are left out. */
const KEPT_BYTES = 1 << 20;
const HEADER = 5;
const DATA_ROW = 0x44;
const COPY_DATA = 0x64;
/** As the lane: longer ones are refused there, so they are damage here. */
const LONGEST = 0x4000_0000;

export function createRowReader(): RowReader {
  /** What has come of the message under way, at most KEPT_BYTES of it. */
  let kept: Buffer[] = [];
  let keptLength = 0;
  /** Bytes of the message under way that are still to come; -1: its header is not complete. */
  let missing = -1;
  let broken = false;

  function keep(bytes: Buffer): void {
    const room = Math.max(0, KEPT_BYTES - keptLength);
    if (room === 0 || bytes.length === 0) return;
    // Copied: the caller's block would be kept alive by a few bytes of it.
    const part = Buffer.from(bytes.subarray(0, room));
    kept.push(part);
    keptLength += part.length;
  }

  function finish(whole: boolean): RecordedRow[] {
    const message = kept.length === 1 ? kept[0]! : Buffer.concat(kept);
    kept = [];
    keptLength = 0;
    missing = -1;
    if (message.length < HEADER) return message.length === 0 ? [] : unreadable();
    const body = message.subarray(HEADER);
    const complete = whole && message.readUInt32BE(1) + 1 === message.length;
    switch (message[0]) {
      case DATA_ROW:
        return dataRow(body, complete) ?? unreadable();
      case COPY_DATA:
        return body.length === 0 ? [] : [{ type: 'copy', bytes: body }];
      default:
        return unreadable();
    }
  }

  function unreadable(): RecordedRow[] {
    broken = true;
    return [{ type: 'unreadable' }];
  }

  return {
    feed(bytes) {
      const rows: RecordedRow[] = [];
      let at = 0;
      while (!broken && at < bytes.length) {
        if (missing < 0) {
          const take = Math.min(HEADER - keptLength, bytes.length - at);
          keep(bytes.subarray(at, at + take));
          at += take;
          if (keptLength < HEADER) break;
          const head = kept.length === 1 ? kept[0]! : Buffer.concat(kept);
          const length = head.readUInt32BE(1);
          const known = head[0] === DATA_ROW || head[0] === COPY_DATA;
          if (!known || length < 4 || length > LONGEST) {
            rows.push(...unreadable());
            break;
          }
          missing = length - 4;
        }
        const take = Math.min(missing, bytes.length - at);
        keep(bytes.subarray(at, at + take));
        at += take;
        missing -= take;
        if (missing === 0) rows.push(...finish(true));
      }
      return rows;
    },
    end() {
      if (broken || keptLength === 0) return [];
      return keptLength < HEADER ? unreadable() : finish(false);
    },
  };
}

/** DataRow body: Int16 count, then for each value Int32 length (-1: NULL) and its bytes. Undefined when it contradicts itself. */
function dataRow(body: Buffer, complete: boolean): RecordedRow[] | undefined {
  if (body.length < 2) return complete ? undefined : [];
  const count = body.readUInt16BE(0);
  const cells: (Buffer | null)[] = [];
  let at = 2;
  for (let i = 0; i < count; i++) {
    if (at + 4 > body.length) return complete ? undefined : [{ type: 'row', cells, cut: true }];
    const length = body.readInt32BE(at);
    at += 4;
    if (length === -1) {
      cells.push(null);
      continue;
    }
    if (length < 0) return undefined;
    if (at + length > body.length) {
      if (complete) return undefined;
      cells.push(body.subarray(at));
      return [{ type: 'row', cells, cut: true }];
    }
    cells.push(body.subarray(at, at + length));
    at += length;
  }
  if (complete && at !== body.length) return undefined;
  return [{ type: 'row', cells, cut: !complete }];
}
