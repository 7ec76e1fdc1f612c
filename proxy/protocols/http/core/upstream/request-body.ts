import type { Readable } from 'node:stream';
import type { Wire } from '../../../../listener/wire.ts';
import { HttpRefused, httpError } from '../errors.ts';
import { TargetFailure } from './failure.ts';

/** A body that streams: with the length that its head said, or in chunks (RFC 9112, section 7.1), back-pressure on its source. */
export interface SentBody {
  /** The wire has room again. */
  drained(): void;
  /** Nothing of it goes out any more; its source is let go of. */
  stop(): void;
}

export interface BodyEvents {
  /** It went out whole. */
  whole(): void;
  /** It did not come whole, or not as long as it said. */
  failed(error: Error): void;
  /** The target has to take what was written, or the source has to bring more. */
  waiting(forTarget: boolean): void;
}

const LAST_CHUNK = Buffer.from('0\r\n\r\n');

/** @param length in bytes; undefined: in chunks */
export function sendBody(source: Readable, wire: Wire, length: number | undefined, events: BodyEvents): SentBody {
  let left = length ?? Number.POSITIVE_INFINITY;
  let over = false;

  function stop(): void {
    if (over) return;
    over = true;
    source.off('data', data).off('end', end).off('close', closed);
    source.destroy();
  }
  function fail(error: Error): void {
    if (over) return;
    stop();
    events.failed(error);
  }
  function data(chunk: Buffer): void {
    if (chunk.length === 0) return;
    left -= chunk.length;
    if (left < 0) {
      fail(new TargetFailure('request-length'));
      return;
    }
    wire.write(length === undefined ? asChunk(chunk) : chunk);
    if (!wire.congested) return;
    source.pause();
    events.waiting(true);
  }
  function end(): void {
    if (length !== undefined && left !== 0) {
      fail(new TargetFailure('request-length'));
      return;
    }
    if (over) return;
    if (length === undefined) wire.write(LAST_CHUNK);
    over = true;
    source.off('data', data).off('end', end).off('close', closed);
    events.whole();
  }
  const closed = (): void => fail(source.errored ?? new HttpRefused(httpError('SPE020')));

  // Stays: an error that comes when it is over is nobody's.
  source.on('error', fail).on('end', end).on('close', closed);
  if (source.destroyed) queueMicrotask(closed);
  else source.on('data', data);
  return {
    drained() {
      if (over) return;
      events.waiting(false);
      source.resume();
    },
    stop,
  };
}

function asChunk(data: Buffer): Buffer {
  const size = `${data.length.toString(16)}\r\n`;
  const chunk = Buffer.allocUnsafe(size.length + data.length + 2);
  chunk.write(size, 0, 'latin1');
  data.copy(chunk, size.length);
  chunk.write('\r\n', size.length + data.length, 'latin1');
  return chunk;
}
