import type { ByteSink } from './port.ts';

/** A ByteSink over one growing buffer. @param size bytes to begin with */
export function createByteSink(size = 65_536): ByteSink {
  const sink: ByteSink = {
    bytes: Buffer.allocUnsafeSlow(size),
    length: 0,
    reserve(count) {
      const needed = sink.length + count;
      if (needed <= sink.bytes.length) return;
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, sink.bytes.length * 2));
      sink.bytes.copy(grown, 0, 0, sink.length);
      sink.bytes = grown;
    },
  };
  return sink;
}
