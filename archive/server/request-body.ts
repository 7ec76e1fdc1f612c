import type { IncomingMessage } from 'node:http';
import { ArchiveError } from '../errors.ts';

/** What all requests together may hold in memory. */
export interface BodyBudget {
  /** Bytes of one request. */
  readonly maxBytes: number;
  /** Takes room for a request, or says that there is none now. */
  take(bytes: number): boolean;
  giveBack(bytes: number): void;
}

export function createBodyBudget(maxBytes: number, totalBytes: number): BodyBudget {
  let taken = 0;
  return {
    maxBytes,
    take(bytes) {
      if (taken + bytes > totalBytes) return false;
      taken += bytes;
      return true;
    },
    giveBack(bytes) {
      taken -= bytes;
    },
  };
}

/** Bytes that the request announces. @throws ArchiveError SPH007 when they are too many, or not announced */
export function announcedBytes(request: IncomingMessage, maxBytes: number): number {
  const length = request.headers['content-length'];
  if (length === undefined || !/^\d{1,12}$/.test(length)) throw new ArchiveError('SPH007', ['no announced', maxBytes]);
  if (Number(length) > maxBytes) throw new ArchiveError('SPH007', [length, maxBytes]);
  return Number(length);
}

/** Exactly as many bytes as were announced: Node's parser ends the message there. @throws the stream's error when it ends early */
export async function readBody(request: IncomingMessage, length: number): Promise<Buffer> {
  const body = Buffer.allocUnsafeSlow(length);
  let at = 0;
  for await (const chunk of request) {
    if (!Buffer.isBuffer(chunk)) continue;
    at += chunk.copy(body, at);
  }
  return body.subarray(0, at);
}
