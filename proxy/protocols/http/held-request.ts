import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import type { ApprovalRequirement } from '../../../policy/decision.ts';
import type { BodyMasks } from '../../masking/body/port.ts';
import type { HeldCommand, Presentation } from '../../ports.ts';
import { HttpRefused } from './core/errors.ts';
import { eachField, field, fieldValues } from './core/headers.ts';
import type { HeaderFields, HttpSession, RequestHead } from './core/port.ts';
import { laneError } from './errors.ts';
import type { AskedRequest } from './port.ts';
import { otherPreferences } from './prefer.ts';
import { needsBody, targetHost } from './understand.ts';
import { effectsOf, type Verdict } from './verdict.ts';

/** Longest request that is shown to approvers, in bytes. */
export const MOST_SHOWN = 65_536;
const SUMMARY = 120;

/**
 * Fields that say nothing of what a request does, or that differ at each attempt: a retry with others is the same request. Everything
 * else is what people approve.
 */
const INCIDENTAL: ReadonlySet<string> = new Set([
  'accept-encoding',
  'accept-language',
  'baggage',
  'cache-control',
  'date',
  'idempotency-key',
  'pragma',
  'prefer',
  'priority',
  'sec-fetch-dest',
  'sec-fetch-mode',
  'sec-fetch-site',
  'sec-fetch-user',
  'sentry-trace',
  'te',
  'traceparent',
  'tracestate',
  'user-agent',
  'x-correlation-id',
  'x-request-id',
]);

/** The fields that an approval covers, by name; repeated ones in their order. A cookie is shown as a digest. */
function settingsOf(headers: HeaderFields, also?: ReadonlySet<string>): Readonly<Record<string, string>> {
  const settings: Record<string, string> = {};
  for (const [name] of eachField(headers)) {
    if (INCIDENTAL.has(name) || also?.has(name) === true || Object.hasOwn(settings, `header.${name}`)) continue;
    const value = fieldValues(headers, name).join(', ');
    settings[`header.${name}`] = name === 'cookie' ? digest(value) : value;
  }
  const preferences = otherPreferences(headers);
  return preferences === '' ? settings : { ...settings, 'header.prefer': preferences };
}

const digest = (text: string | Buffer): string => `sha256:${createHash('sha256').update(text).digest('hex')}`;

export interface HeldInit {
  readonly session: HttpSession;
  readonly head: RequestHead;
  /** As they go to the target, without the credential. */
  readonly headers: HeaderFields;
  readonly asked: AskedRequest;
  /** Whole; undefined: there is none. */
  readonly body: Buffer | undefined;
  readonly verdict: Verdict;
  readonly requirements: readonly ApprovalRequirement[];
  readonly masks: BodyMasks;
}

/** The request as it is held: the retry of the same one has the same hash. @throws HttpRefused SPE109, SPE113 */
export function heldRequest(init: HeldInit): HeldCommand {
  const { session, headers, asked, verdict, requirements } = init;
  const { connection } = session;
  const body = asked.dialect?.approved ?? init.body;
  return {
    connection,
    subject: session.identity.subject,
    sessionId: session.id,
    target: { host: targetHost(connection) },
    text: asked.text,
    values: body === undefined || body.length === 0 ? [] : [{ format: isUtf8(body) ? 'text' : 'binary', bytes: body }],
    settings: settingsOf(headers, asked.dialect?.incidental),
    requirements,
    fingerprint: fingerprintOf(session, verdict, asked),
    presentation: present(init),
  };
}

/**
 * The same request with another body, unless a rule looks at bodies: then what was approved may be what stands in it. The text of a
 * dialect's command says what its body asks for, so that one that a rule looks into is not to be had again with other values.
 */
function fingerprintOf(
  { scope }: HttpSession,
  { decision }: Verdict,
  { text, dialect }: AskedRequest,
): string | undefined {
  if (decision.reuse === 'never' || needsBody(scope)) return undefined;
  if (dialect !== undefined && decision.reuse !== 'shape') return undefined;
  return digest(text);
}

function present({ headers, asked, body, verdict, masks, session }: HeldInit): Presentation {
  const redactions = new Set<string>();
  const hidden = (text: string): string => masks.text(text, (name) => redactions.add(name));
  const text = hidden(asked.text);
  const fields = Object.entries(settingsOf(headers, asked.dialect?.incidental)).map(
    ([name, value]) => `${name.slice('header.'.length)}: ${hidden(value)}`,
  );
  const display = [text, ...fields, '', bodyText(asked.dialect?.approved ?? body, headers, masks, redactions)].join(
    '\n',
  );
  const bytes = Buffer.byteLength(display);
  if (bytes > MOST_SHOWN) throw new HttpRefused(laneError('SPE109', MOST_SHOWN));
  return {
    summary: [...text].slice(0, SUMMARY).join(''),
    display,
    redactions: [...redactions].sort(),
    effects: effectsOf(verdict).map(hidden),
    preview: {
      cascades: [],
      unavailable: `what a request does at ${targetHost(session.connection)} cannot be estimated without sending it`,
    },
  };
}

/** All of it: text as it is, JSON indented, anything else in base64. */
function bodyText(body: Buffer | undefined, headers: HeaderFields, masks: BodyMasks, redactions: Set<string>): string {
  if (body === undefined || body.length === 0) return '(no body)';
  const shown = maskedBody(body, headers, masks, redactions);
  if (!isUtf8(shown)) return `(${body.length} bytes in base64)\n${shown.toString('base64')}`;
  const text = shown.toString('utf8');
  return isJsonText(text) ? indented(text) : text;
}

function isJsonText(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * White space alone is changed, so that what is read is what is sent: written anew by a parser, a name that is there twice would be
 * there once, and a number could be another. @param text valid JSON
 */
function indented(text: string): string {
  let depth = 0;
  const line = (): string => `\n${'  '.repeat(depth)}`;
  return text.replace(/"(?:[^"\\]|\\.)*"|[{[]\s*[}\]]|[{}[\],:]|\s+/g, (token) => {
    switch (token[0]) {
      case '{':
      case '[':
        if (token.length > 1) return `${token[0]}${token.at(-1)}`;
        depth++;
        return token + line();
      case '}':
      case ']':
        depth--;
        return line() + token;
      case ',':
        return token + line();
      case ':':
        return ': ';
      case '"':
        return token;
      default:
        return '';
    }
  });
}

/** Masked as an answer of this kind would be. @throws HttpRefused SPE113 where nothing of it may be shown */
function maskedBody(body: Buffer, headers: HeaderFields, masks: BodyMasks, redactions: Set<string>): Buffer {
  if (masks.empty) return body;
  const kind = ['content-type', 'content-encoding'].flatMap((name) => {
    const value = field(headers, name);
    return value === undefined ? [] : [name, value];
  });
  const made = masks.answer({ status: 200, headers: kind }, { method: 'POST', count: (name) => redactions.add(name) });
  switch (made.body) {
    case 'untouched':
      return body;
    case 'refused':
      throw new HttpRefused(
        laneError('SPE113', 'masking lets nobody see the body of this request, so nobody can approve it'),
      );
    case 'masked': {
      const { transform } = made;
      const parts = [transform.write(Buffer.from(body)), transform.end()];
      return Buffer.concat(parts.filter((part) => part !== undefined).map((part) => Buffer.from(part)));
    }
    default:
      return made satisfies never;
  }
}
