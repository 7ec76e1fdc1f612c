/**
 * AES-GCM packets (RFC 5647; the names `aes128-gcm@openssh.com` and `aes256-gcm@openssh.com`) over node:crypto. In place of ssh2's: a whole
 * packet is one call each way and one write, and packets may be as long as OpenSSH's, which a long command needs.
 */
import { createCipheriv, createDecipheriv, randomFillSync } from 'node:crypto';

const TAG = 16;
const BLOCK = 16;
/** PACKET_MAX_SIZE of OpenSSH. */
const MAX_PACKET = 256 * 1024;
const AUTHENTICATED = { authTagLength: TAG };

export type GcmName = 'aes-128-gcm' | 'aes-256-gcm';

/** Key and first nonce of one direction: four bytes that stay, eight that count packets. */
export interface GcmKeys {
  readonly name: GcmName;
  readonly key: Buffer;
  readonly iv: Buffer;
}

function increment(iv: Buffer): void {
  for (let i = 11; i >= 4; i--) {
    const next = (iv[i]! + 1) & 0xff;
    iv[i] = next;
    if (next !== 0) return;
  }
}

/** Padding is to be random (RFC 4253, section 6), which one call for many packets gives as well. */
const noise = Buffer.alloc(8192);
let used = noise.length;

function pad(packet: Buffer, from: number, length: number): void {
  if (used + length > noise.length) {
    randomFillSync(noise);
    used = 0;
  }
  noise.copy(packet, from, used, used + length);
  used += length;
}

/** Where a packet is put together: encryption does not return before it is done with it. */
let plain = Buffer.allocUnsafeSlow(65_536);

/** Takes pieces that are valid only during the call. */
export type Output = (piece: Buffer) => void;

export interface GcmSealer {
  /** Encrypts one payload as one packet. */
  seal(payload: Buffer): void;
}

export function createGcmSealer({ name, key, iv }: GcmKeys, output: Output): GcmSealer {
  const header = Buffer.allocUnsafe(4);
  return {
    seal(payload) {
      let padding = BLOCK - ((payload.length + 1) % BLOCK);
      if (padding < 4) padding += BLOCK;
      const length = 1 + payload.length + padding;
      if (length > plain.length) plain = Buffer.allocUnsafeSlow(length);
      plain[0] = padding;
      plain.set(payload, 1);
      pad(plain, 1 + payload.length, padding);
      header.writeUInt32BE(length);
      const cipher = createCipheriv(name, key, iv, AUTHENTICATED);
      cipher.setAAD(header);
      const body = cipher.update(plain.subarray(0, length));
      cipher.final();
      output(header);
      output(body);
      output(cipher.getAuthTag());
      increment(iv);
    },
  };
}

export interface GcmOpener {
  /**
   * Takes bytes as they come. Each payload is memory of its own. It stops behind a packet whose listener returns a number or false, as
   * ssh2's deciphers do: the keys have changed there.
   * @returns position behind the last byte used
   * @throws for a bad length, a bad tag, bad padding
   */
  open(bytes: Buffer, from: number, to: number): number | undefined;
}

/** @param onPacket what ssh2's payload listeners return: undefined to go on */
export function createGcmOpener(
  { name, key, iv }: GcmKeys,
  onPacket: (payload: Buffer) => number | boolean | undefined,
): GcmOpener {
  const header = Buffer.allocUnsafe(4);
  let headed = 0;
  let length = 0;
  /** Of a packet that comes in pieces: its encrypted body and tag. */
  let partial: Buffer | undefined;
  let filled = 0;

  function decrypt(packet: Buffer, start: number): Buffer {
    const decipher = createDecipheriv(name, key, iv, AUTHENTICATED);
    decipher.setAAD(header);
    decipher.setAuthTag(packet.subarray(start + length, start + length + TAG));
    const body = decipher.update(packet.subarray(start, start + length));
    decipher.final();
    increment(iv);
    const padding = body[0]!;
    if (padding < 4 || padding > length - 1) throw new Error('Bad padding');
    return body.subarray(1, length - padding);
  }

  return {
    open(bytes, from, to) {
      let at = from;
      while (at < to) {
        while (headed < 4 && at < to) header[headed++] = bytes[at++]!;
        if (headed < 4) return undefined;
        if (length === 0) {
          length = header.readUInt32BE();
          if (length < BLOCK || length > MAX_PACKET || length % BLOCK !== 0) throw new Error('Bad packet length');
        }
        const whole = length + TAG;
        let payload: Buffer;
        if (partial === undefined && to - at >= whole) {
          payload = decrypt(bytes, at);
          at += whole;
        } else {
          partial ??= Buffer.allocUnsafe(whole);
          const count = Math.min(whole - filled, to - at);
          bytes.copy(partial, filled, at, at + count);
          filled += count;
          at += count;
          if (filled < whole) return undefined;
          payload = decrypt(partial, 0);
          partial = undefined;
          filled = 0;
        }
        headed = 0;
        length = 0;
        const result = onPacket(payload);
        if (result !== undefined) return result === false ? at : Number(result);
      }
      return undefined;
    },
  };
}
