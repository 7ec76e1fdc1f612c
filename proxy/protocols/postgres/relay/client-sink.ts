import type { Wire } from '../../../listener/wire.ts';
import type { ByteSink } from '../../../masking/port.ts';

/** What is rewritten for a client, gathered while one chunk of the server is walked; all sessions of the process share it. */

const SIZE = 262_144;
/** A buffer that grew beyond this for one large result is not kept. */
const KEEP = 1 << 22;

export const sink: ByteSink = {
  bytes: Buffer.allocUnsafeSlow(SIZE),
  length: 0,
  reserve(count) {
    if (this.length + count <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.bytes.length * 2, this.length + count));
    this.bytes.copy(grown, 0, 0, this.length);
    this.bytes = grown;
  },
};

export function append(source: Buffer, start: number, end: number): void {
  if (end <= start) return;
  sink.reserve(end - start);
  source.copy(sink.bytes, sink.length, start, end);
  sink.length += end - start;
}

/** Writes what was gathered. A buffer that the write still references is left to it. */
export function writeSink(client: Wire): void {
  if (client.write(sink.bytes.subarray(0, sink.length)) || sink.bytes.length > KEEP)
    sink.bytes = Buffer.allocUnsafeSlow(SIZE);
}
