import { Duplex } from 'node:stream';
import type { Wire } from '../../../../listener/wire.ts';

/**
 * A wire as a stream. Reads of a wire land in a buffer that all of them share, so what passes is copied: for what follows an upgrade,
 * where the parser of HTTP has let go of the socket.
 */
export function wireStream(wire: Wire): Duplex {
  let waiting: (() => void) | undefined;
  const stream = new Duplex({
    allowHalfOpen: true,
    read: () => wire.resume(),
    write(chunk: Buffer, _encoding, done) {
      if (wire.closed) {
        done(new Error('the connection is closed'));
        return;
      }
      wire.write(chunk);
      if (wire.congested) waiting = done;
      else done();
    },
    final(done) {
      wire.end();
      done();
    },
    destroy(error, done) {
      wire.destroy();
      done(error);
    },
  });
  const release = (): void => {
    const done = waiting;
    waiting = undefined;
    done?.();
  };
  wire.onBytes = (chunk) => {
    if (!stream.push(Buffer.from(chunk))) wire.pause();
  };
  wire.onEnd = () => stream.push(null);
  wire.onDrain = release;
  wire.onClose = (error) => {
    release();
    stream.destroy(error);
  };
  return stream;
}
