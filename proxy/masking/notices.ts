import type { ContentDetectors } from './detectors.ts';
import { MaskError } from './errors.ts';
import type { CountMask } from './port.ts';
import { SQLSTATE_CONDITIONS } from './sqlstates.ts';

/** How errors and notices of one statement are shown to somebody for whom something is masked. */
export interface ReportRedaction {
  /** The statement reads, writes or names a protected relation: nothing of the server's own words is shown. */
  readonly touchesProtected: boolean;
  readonly content?: ContentDetectors | undefined;
  readonly count?: CountMask;
}

/** Type byte and Int32 length before every backend message's body. */
const HEADER = 5;

const SEVERITIES: ReadonlySet<string> = new Set([
  'ERROR',
  'FATAL',
  'PANIC',
  'WARNING',
  'NOTICE',
  'DEBUG',
  'INFO',
  'LOG',
]);

/** Fields that are numbers: a function cannot put text into them. */
const NUMERIC = /^[0-9]{1,10}$/;
/** Fields that name a place in the server's own source. */
const SOURCE_PLACE = /^[A-Za-z0-9_.]{1,80}$/;

const uncounted: CountMask = () => {};

/**
 * Redacts one ErrorResponse or NoticeResponse (PostgreSQL protocol, section Error and Notice Message Fields): `message` is the whole
 * message, type and length included.
 *
 * When a protected relation is touched only severity, SQLSTATE, the position in the client's own text and the place in the server's
 * source are kept, and the message is the SQLSTATE's condition name. Otherwise integrity violations (class 23) lose their detail,
 * which quotes the row, and detectors search every other text.
 *
 * @returns the message to send instead, or undefined when it stays as it is
 * @throws MaskError SPM001 when the fields are not well-formed
 */
export function redactReport(message: Buffer, redaction: ReportRedaction): Buffer | undefined {
  const fields = readFields(message);
  return redaction.touchesProtected ? showCondition(message, fields) : searchFields(message, fields, redaction);
}

interface Field {
  readonly code: string;
  readonly text: string;
}

function readFields(message: Buffer): Field[] {
  const fields: Field[] = [];
  let at = HEADER;
  for (;;) {
    if (at >= message.length) throw new MaskError('SPM001', 'ErrorResponse or NoticeResponse');
    const code = message[at]!;
    if (code === 0) break;
    const end = message.indexOf(0, at + 1);
    if (end < 0) throw new MaskError('SPM001', 'ErrorResponse or NoticeResponse');
    fields.push({ code: String.fromCharCode(code), text: message.toString('utf8', at + 1, end) });
    at = end + 1;
  }
  if (at !== message.length - 1) throw new MaskError('SPM001', 'ErrorResponse or NoticeResponse');
  return fields;
}

function writeFields(type: number, fields: readonly Field[]): Buffer {
  const body = Buffer.from(`${fields.map(({ code, text }) => `${code}${text}\0`).join('')}\0`, 'utf8');
  const header = Buffer.allocUnsafe(HEADER);
  header[0] = type;
  header.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([header, body]);
}

/** A state that PostgreSQL knows: the server's, or the generic one of its class. A function can raise any five characters. */
function knownState(state: string | undefined): string {
  if (state !== undefined && SQLSTATE_CONDITIONS.has(state)) return state;
  const generic = `${state?.slice(0, 2) ?? ''}000`;
  return SQLSTATE_CONDITIONS.has(generic) ? generic : 'XX000';
}

function showCondition(message: Buffer, fields: readonly Field[]): Buffer {
  const state = knownState(fields.find((field) => field.code === 'C')?.text);
  const said =
    fields.find((field) => field.code === 'V')?.text ?? fields.find((field) => field.code === 'S')?.text ?? '';
  const severity = SEVERITIES.has(said) ? said : 'ERROR';
  const shown: Field[] = [
    { code: 'S', text: severity },
    { code: 'V', text: severity },
    { code: 'C', text: state },
    { code: 'M', text: SQLSTATE_CONDITIONS.get(state)! },
  ];
  for (const field of fields) {
    const kept = field.code === 'P' || field.code === 'L' ? NUMERIC : SOURCE_PLACE;
    if ('PFLR'.includes(field.code) && kept.test(field.text)) shown.push(field);
  }
  return writeFields(message[0]!, shown);
}

/** A replacement is free text, and a zero byte would end the string early. */
function withoutZero(text: string): string {
  return text.replaceAll('\0', '');
}

/** Fields that detectors do not search: they are chosen from lists, or numbers. */
const FIXED_FIELDS = 'SVCPpFLR';
const INTEGRITY_VIOLATION = '23';

function searchFields(message: Buffer, fields: readonly Field[], redaction: ReportRedaction): Buffer | undefined {
  const state = fields.find((field) => field.code === 'C')?.text ?? '';
  const shown: Field[] = [];
  let changed = false;
  for (const field of fields) {
    if (field.code === 'D' && state.startsWith(INTEGRITY_VIOLATION)) {
      changed = true;
      continue;
    }
    const text = FIXED_FIELDS.includes(field.code)
      ? undefined
      : redaction.content?.maskText(field.text, redaction.count ?? uncounted);
    if (text !== undefined) changed = true;
    shown.push(text === undefined ? field : { code: field.code, text: withoutZero(text) });
  }
  return changed ? writeFields(message[0]!, shown) : undefined;
}

/**
 * Masks what detectors find in the payload and channel of one NotificationResponse (`A`, Int32 length, Int32 process, two strings):
 * anybody may have sent it.
 * @returns the message to send instead, or undefined when it stays as it is
 * @throws MaskError SPM001 when it is not well-formed
 */
export function redactNotification(
  message: Buffer,
  content: ContentDetectors,
  count: CountMask = uncounted,
): Buffer | undefined {
  const channelEnd = message.indexOf(0, HEADER + 4);
  const payloadEnd = channelEnd < 0 ? -1 : message.indexOf(0, channelEnd + 1);
  if (payloadEnd < 0 || payloadEnd !== message.length - 1) throw new MaskError('SPM001', 'NotificationResponse');
  const channel = message.toString('utf8', HEADER + 4, channelEnd);
  const payload = message.toString('utf8', channelEnd + 1, payloadEnd);
  const shownChannel = content.maskText(channel, count);
  const shownPayload = content.maskText(payload, count);
  if (shownChannel === undefined && shownPayload === undefined) return undefined;
  const strings = Buffer.from(
    `${withoutZero(shownChannel ?? channel)}\0${withoutZero(shownPayload ?? payload)}\0`,
    'utf8',
  );
  const shown = Buffer.concat([message.subarray(0, HEADER + 4), strings]);
  shown.writeUInt32BE(shown.length - 1, 1);
  return shown;
}
