/**
 * The one kind of content that spans lines: a private key, from the line that begins it to the one that ends it (RFC 7468; PuTTY's
 * format ends with its MAC). What `findPrivateKeys` finds must come to it in one piece.
 */
export type KeyState = 'none' | 'pem' | 'putty';

const PEM_BEGIN = '-----BEGIN ';
const PEM_END = '-----END ';
const DASHES = '-----';
const LABEL = 64;
const PUTTY_BEGIN = 'PuTTY-User-Key-File-';
const PUTTY_END = 'Private-MAC:';

/** Whether a key may begin somewhere in bytes[start, end). */
export function mayBeginKey(bytes: Buffer, start: number, end: number): boolean {
  const view = bytes.subarray(start, end);
  return view.includes(PEM_BEGIN, 0, 'latin1') || view.includes(PUTTY_BEGIN, 0, 'latin1');
}

/** The state behind a line, which is whole. */
export function afterLine(state: KeyState, bytes: Buffer, start: number, end: number): KeyState {
  const line = bytes.toString('latin1', start, end);
  let now = state;
  let at = 0;
  for (;;) {
    if (now === 'putty') return line.indexOf(PUTTY_END, at) < 0 ? 'putty' : 'none';
    if (now === 'pem') {
      const closing = line.indexOf(PEM_END, at);
      const closed = closing < 0 ? -1 : line.indexOf(DASHES, closing + PEM_END.length);
      if (closed < 0) return 'pem';
      now = 'none';
      at = closed + DASHES.length;
      continue;
    }
    const putty = line.indexOf(PUTTY_BEGIN, at);
    const pem = line.indexOf(PEM_BEGIN, at);
    if (pem < 0 || (putty >= 0 && putty < pem)) {
      if (putty < 0) return 'none';
      now = 'putty';
      at = putty;
      continue;
    }
    at = pem + PEM_BEGIN.length;
    const dashes = line.slice(at, at + LABEL).indexOf(DASHES);
    const label = dashes < 0 ? line.slice(at, at + LABEL) : line.slice(at, at + dashes);
    if (label.includes('PRIVATE KEY')) now = 'pem';
  }
}
