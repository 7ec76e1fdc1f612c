import type { BodyTransform } from '../core/port.ts';

/**
 * Takes the credential that a request was sent with out of what comes back: a target that echoes its requests (an error page, a debug
 * endpoint) must not hand it to the agent. Looked for are the value and the forms that programs commonly write it in; what a target
 * would compute from it, such as its letters in reverse, cannot be known.
 *
 * What is found becomes as many asterisks, so that lengths stay as the target said them.
 */
export interface Concealer {
  /** One value of a header, or any other text. */
  text(value: string): string;
  /** True when nothing of it is in the bytes. Keeps nothing between calls. */
  isClean(bytes: Buffer): boolean;
  /** For one body. Holds back as many bytes as the longest form has. */
  body(): BodyTransform;
  /** Of the longest form: what a part of a stream has to overlap with the next. */
  readonly longest: number;
}

const MASK = 0x2a;

/** @param secrets each at least 6 bytes long; undefined when there are none */
export function createConcealer(secrets: readonly string[]): Concealer | undefined {
  const forms = formsOf(secrets);
  if (forms.length === 0) return undefined;
  const longest = Math.max(...forms.map(({ length }) => length));

  const first = new Uint8Array(256);
  for (const form of forms) first[form[0] ?? 0] = 1;

  /** Where forms lie whole in the bytes: begin and end in turn, in no order. */
  function places(bytes: Buffer): number[] {
    const found: number[] = [];
    for (const form of forms) {
      for (let at = bytes.indexOf(form); at >= 0; at = bytes.indexOf(form, at + 1)) found.push(at, at + form.length);
    }
    return found;
  }

  /** @returns a copy where something was found, else the bytes */
  function hidden(bytes: Buffer, found: readonly number[]): Buffer {
    if (found.length === 0) return bytes;
    const copy = Buffer.from(bytes);
    for (let index = 0; index < found.length; index += 2) copy.fill(MASK, found[index], found[index + 1]);
    return copy;
  }

  /** Whether some form begins in the last bytes and could end in what comes. @returns where the first one begins */
  function unfinished(bytes: Buffer): number {
    for (let at = Math.max(0, bytes.length - longest + 1); at < bytes.length; at++) {
      if (first[bytes[at] ?? 0] === 0) continue;
      const rest = bytes.length - at;
      for (const form of forms)
        if (rest < form.length && form.compare(bytes, at, bytes.length, 0, rest) === 0) return at;
    }
    return bytes.length;
  }

  return {
    longest,
    text(value) {
      const bytes = Buffer.from(value, 'latin1');
      const found = places(bytes);
      return found.length === 0 ? value : hidden(bytes, found).toString('latin1');
    },
    isClean: (bytes) => forms.every((form) => !bytes.includes(form)),
    body() {
      let held: Buffer = Buffer.alloc(0);
      /** So many bytes of them belong to a form that was found already. */
      let covered = 0;
      return {
        write(chunk) {
          const bytes = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
          const found = places(bytes);
          if (covered > 0) found.push(0, covered);
          const end = unfinished(bytes);
          const clean = hidden(bytes, found);
          held = end === bytes.length ? Buffer.alloc(0) : Buffer.from(bytes.subarray(end));
          covered = 0;
          for (let index = 0; index < found.length; index += 2)
            if ((found[index] ?? 0) < end) covered = Math.max(covered, (found[index + 1] ?? 0) - end);
          return end === 0 ? undefined : clean.subarray(0, end);
        },
        end() {
          // The beginning of a secret at the end of a body is no accident either: nobody needs it.
          const rest = held.length >= SHORTEST_PART ? Buffer.alloc(held.length, MASK) : held;
          rest.fill(MASK, 0, covered);
          held = Buffer.alloc(0);
          covered = 0;
          return rest.length === 0 ? undefined : rest;
        },
      };
    },
  };
}

/** A part of a secret that is hidden where an answer ends in the middle of it. */
const SHORTEST_PART = 6;

function formsOf(secrets: readonly string[]): readonly Buffer[] {
  const texts = new Set<string>();
  for (const secret of secrets) for (const text of spellings(secret)) texts.add(text);
  const forms = [...texts].map((text) => Buffer.from(text, 'latin1'));
  // Longer ones first: what they cover needs no second look.
  return forms.sort((a, b) => b.length - a.length);
}

/** As Latin-1, one character a byte. */
function spellings(secret: string): string[] {
  const bytes = Buffer.from(secret, 'utf8');
  const raw = bytes.toString('latin1');
  const found = [raw, ...base64Spellings(bytes), bytes.toString('hex'), bytes.toString('hex').toUpperCase()];
  const percent = (plain: RegExp, hex: (text: string) => string): string =>
    raw.replace(/[\s\S]/g, (one) =>
      plain.test(one) ? one : `%${hex(one.charCodeAt(0).toString(16).padStart(2, '0'))}`,
    );
  const upper = (text: string): string => text.toUpperCase();
  const lower = (text: string): string => text;
  // RFC 3986 unreserved, encodeURIComponent's, encodeURI's, application/x-www-form-urlencoded's, and everything.
  for (const plain of [/[\w.~-]/, /[\w.~!*'()-]/, /[\w.~!*'();/?:@&=+$,#-]/, /[\w.*-]/, /[^\s\S]/])
    for (const hex of [upper, lower]) found.push(percent(plain, hex));
  for (const hex of [upper, lower]) found.push(percent(/[\w.* -]/, hex).replaceAll(' ', '+'));
  // Twice, as where a URL is a parameter of another.
  const whole = secret.toWellFormed();
  for (const once of [encodeURIComponent(whole), encodeURI(whole)]) found.push(encodeURIComponent(once));
  const json = JSON.stringify(secret).slice(1, -1);
  for (const text of [json, json.replaceAll('/', '\\/'), secret.replaceAll('/', '\\/')])
    found.push(Buffer.from(text, 'utf8').toString('latin1'));
  // Characters that JSON writers escape besides, such as Go's and Rails'.
  found.push(json.replace(/[<>&'\u0080-\uffff]/g, unicodeEscape), json.replace(/[<>&\u0080-\uffff]/g, unicodeEscape));
  // Every character escaped, as some writers of JavaScript and of Java's property files do.
  const escaped = secret.replace(/[\s\S]/g, unicodeEscape);
  found.push(escaped, escaped.replace(/[0-9a-f]{4}/g, upper));
  for (const quotes of [
    { '"': '&quot;', "'": '&#39;' },
    { '"': '&#34;', "'": '&#39;' },
    { '"': '&quot;', "'": '&#x27;' },
    { '"': '"', "'": "'" },
  ]) {
    const html = secret.replace(/[&<>"']/g, (one) => HTML[one] ?? quotes[one as '"' | "'"]);
    found.push(Buffer.from(html, 'utf8').toString('latin1'));
  }
  return found.filter((text) => text.length >= SHORTEST_PART);
}

const HTML: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' };

const unicodeEscape = (one: string): string => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`;

/**
 * What is sure to stand in the base64 of a text that has the secret in it, wherever it lies: of the three places that it can have
 * towards groups of three bytes, the characters that nothing beside it decides.
 */
function base64Spellings(bytes: Buffer): string[] {
  const found: string[] = [];
  for (const offset of [0, 1, 2]) {
    const encoded = Buffer.concat([Buffer.alloc(offset), bytes])
      .toString('base64')
      .replace(/=+$/, '');
    const from = Math.ceil((offset * 8) / 6);
    const to = Math.floor(((offset + bytes.length) * 8) / 6);
    const sure = encoded.slice(from, to);
    found.push(sure, sure.replaceAll('+', '-').replaceAll('/', '_'));
    // As a text of its own, its end is known too.
    if (offset === 0) {
      const whole = bytes.toString('base64');
      found.push(whole, whole.replaceAll('+', '-').replaceAll('/', '_'), encodeURIComponent(whole), ...inLines(whole));
    }
  }
  return found;
}

/** Base64 in lines of its own: of 76 characters (RFC 2045) and of 64 (RFC 7468). Within other text its lines break anywhere. */
function inLines(whole: string): string[] {
  return [64, 76].flatMap((length) => {
    if (whole.length <= length) return [];
    const lines = whole.match(new RegExp(`.{1,${length}}`, 'g')) ?? [];
    return [lines.join('\n'), lines.join('\r\n')];
  });
}
