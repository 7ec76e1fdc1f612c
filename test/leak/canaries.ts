/**
 * The protected values, and every form in which one of them could come out. Letters are so rare together that any five of them in a
 * row are a leak; digits are unique to their column, so that a leak tells where it came from.
 */

/** Five letters in a row of this, in any case and either direction, appear in nothing else that the programs print. */
const LETTERS = 'zqxjkvwpfy';
const WINDOW = 5;

const day = (iso: string): number => Math.round((Date.parse(iso) - Date.parse('2000-01-01')) / 86_400_000);

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

export const text = (digits: string): string => `${LETTERS}/${digits}@${LETTERS}`;

/** Digits of the texts, by the column that holds them. */
export const TEXTS = {
  ssn: '4417829301',
  email: '5528930412',
  card: '6639041523',
  photo: '7740152634',
  profile: '8851263745',
  phones: '9962374856',
  people: '3195827406',
  derived: '2084716395',
  audit: '1973605284',
  vault: '8630274951',
} as const;

export const PIN = 1_918_273_645;
export const CODE = 1_827_364_501;
export const BORN = '1873-11-29';
export const BALANCE = '73519284.61937';

interface Form {
  readonly of: string;
  /** Lower case, a character for each byte. */
  readonly bytes: string;
}

const latin = (value: string | Buffer): string => Buffer.from(value).toString('latin1').toLowerCase();
const reversed = (value: string): string => [...value].reverse().join('');

/** Base64 of the same bytes at each of the three places where they can begin, without what depends on the neighbours. */
function base64(value: string): string[] {
  return [0, 1, 2].map((offset) => {
    const encoded = Buffer.from(' '.repeat(offset) + value).toString('base64');
    return encoded.slice(offset === 0 ? 0 : 4, -4);
  });
}

function textual(of: string, value: string): Form[] {
  const forms = [
    value,
    reversed(value),
    Buffer.from(value).toString('hex'),
    encodeURIComponent(value),
    ...base64(value),
  ];
  return forms.filter((form) => form.length > 5).map((form) => ({ of, bytes: latin(form) }));
}

function letterForms(): Form[] {
  const forms: Form[] = [];
  for (let at = 0; at + WINDOW <= LETTERS.length; at++) {
    const part = LETTERS.slice(at, at + WINDOW);
    for (const form of [
      part,
      reversed(part),
      Buffer.from(part).toString('hex'),
      Buffer.from(part.toUpperCase()).toString('hex'),
    ])
      forms.push({ of: 'some text', bytes: latin(form) });
  }
  for (const form of [...base64(LETTERS), ...base64(LETTERS.toUpperCase())])
    forms.push({ of: 'some text', bytes: latin(form) });
  return forms;
}

/** Binary numeric: base 10000, most significant first (manual of the server's source, numeric_send). */
const BALANCE_BINARY = Buffer.from(new Uint16Array([7351, 9284, 6193, 7000]).buffer).swap16();

const FORMS: readonly Form[] = [
  ...letterForms(),
  ...Object.entries(TEXTS).flatMap(([of, digits]) => textual(of, digits)),
  ...textual('pin', String(PIN)),
  ...textual('codes', String(CODE)),
  ...textual('balance', BALANCE),
  ...textual('balance', '73519284'),
  ...['1873-11-29', '18731129', '29.11.1873', '29/11/1873', '11/29/1873', '11-29-1873', 'nov 29 1873'].map((form) => ({
    of: 'born',
    bytes: latin(form),
  })),
  { of: 'pin', bytes: latin(int32(PIN)) },
  { of: 'codes', bytes: latin(int32(CODE)) },
  { of: 'pin', bytes: latin(int32(PIN).toString('hex')) },
  { of: 'born', bytes: latin(int32(day(BORN))) },
  { of: 'balance', bytes: latin(BALANCE_BINARY) },
];

/**
 * What is random by design, either way round: a mask token, the hash of the line before in the record, and its signed notes.
 * Thousands of them hold any five letters sooner or later, and say nothing of a value.
 */
const RANDOM =
  /(?<=sptok_)[a-z2-7]{26}|[a-z2-7]{26}(?=_kotps)|(?<="prev":")[a-z0-9_-]{43}(?=")|(?<="note":")[^"]*(?=")/g;
/** What came back, as the record keeps it. Its base64 is read as what it says: letters that happen to stand in it are no text. */
const RECORDED_DATA = /(?<="data":")[A-Za-z0-9+/]+={0,2}(?=")/g;

/** What of the protected values is in these bytes, each with what surrounds it; empty when nothing is. */
export function findCanaries(bytes: Buffer | string): string[] {
  const decoded = Buffer.from(bytes)
    .toString('latin1')
    .replace(RECORDED_DATA, (data) => Buffer.from(data, 'base64').toString('latin1'));
  const haystack = decoded.toLowerCase().replace(RANDOM, '');
  const found: string[] = [];
  for (const form of FORMS) {
    const at = haystack.indexOf(form.bytes);
    if (at < 0) continue;
    const around = haystack.slice(Math.max(0, at - 60), at + form.bytes.length + 60);
    found.push(`${form.of} as ${JSON.stringify(form.bytes)} in ${JSON.stringify(around)}`);
  }
  return found;
}
