import type { CompiledConnection } from '../../../policy/bundle.ts';
import type { EffectiveLimits } from '../../../policy/decision.ts';
import type { BodyMasks } from '../../masking/body/port.ts';
import type { CountMask } from '../../masking/port.ts';
import { HttpRefused } from './core/errors.ts';
import { eachField, field, listElements, withoutFields } from './core/headers.ts';
import type { BodyTransform, HeaderFields, RequestHead, ResponseHead, Rewritten } from './core/port.ts';
import type { Concealer } from './credentials/conceal.ts';
import { laneError } from './errors.ts';
import { maskRefused } from './masks.ts';
import { targetHost, targetOrigin } from './understand.ts';

/** What becomes of answers of one request. */
export interface AnswerRules {
  readonly connection: CompiledConnection;
  readonly request: RequestHead;
  readonly masks: BodyMasks;
  readonly count: CountMask;
  readonly concealer: Concealer | undefined;
  readonly limits: EffectiveLimits;
  /** Milliseconds since 1970; after it nothing more is passed on. */
  readonly deadline: number;
  /** Of a dialect, before masking; undefined: the answer is none of it, or goes as it is. */
  respond(head: ResponseHead): { readonly head: ResponseHead; readonly transform: BodyTransform } | undefined;
}

/**
 * An answer as the client gets it: a dialect takes out what the caller may not see, masking rules are applied, the credential is looked
 * for in fields, body and trailers, and limits end it.
 * @throws HttpRefused: then nothing of it is shown
 */
export function rewrite(answer: ResponseHead, rules: AnswerRules): Rewritten {
  const { connection, request, concealer, limits, masks } = rules;
  const bare = request.method === 'HEAD' || answer.status === 204 || answer.status === 304;
  const spoken = bare ? undefined : rules.respond(answer);
  const transforms: BodyTransform[] = spoken === undefined ? [] : [spoken.transform];
  let head = spoken?.head ?? answer;
  if (!masks.empty) {
    const made = masks.answer(head, { method: request.method, count: rules.count });
    if (made.body === 'refused') throw maskRefused(made.error, 502);
    head = made.head;
    if (made.body === 'masked') transforms.push(made.transform);
  }
  const rewritten = transforms.length > 0;
  if (concealer !== undefined && !bare) {
    const codings = listElements(head.headers, 'content-encoding').filter((each) => each.toLowerCase() !== 'identity');
    if (codings.length > 0) throw new HttpRefused(laneError('SPE108'));
    transforms.push(concealer.body());
  }
  const { maxBytesReturned, maxDurationMs } = limits;
  if (!bare && maxBytesReturned !== undefined) checkLength(head.headers, maxBytesReturned);
  const plain = masks.empty && concealer === undefined;
  return {
    head: { status: head.status, headers: fieldsOf(head.headers, connection, request, concealer) },
    transform: transforms.length === 0 ? undefined : chained(transforms),
    keepsLength: !rewritten,
    trailers: plain ? undefined : (fields) => trailersOf(fields, rules),
    sent:
      maxBytesReturned === undefined && maxDurationMs === undefined
        ? undefined
        : limited(maxBytesReturned, maxDurationMs, rules.deadline),
  };
}

function trailersOf(fields: HeaderFields, { masks, count, concealer }: AnswerRules): HeaderFields {
  if (fields.length === 0) return fields;
  const masked = masks.empty ? fields : masks.trailers(fields, count);
  return concealed(masked, concealer);
}

function fieldsOf(
  headers: HeaderFields,
  connection: CompiledConnection,
  request: RequestHead,
  concealer: Concealer | undefined,
): HeaderFields {
  let fields = headers;
  if (connection.http.cookies === 'Remove') fields = withoutFields(fields, COOKIES);
  // By base URL a client would leave Sallyport with the first redirect that the target writes with its own name.
  if (request.authority !== targetHost(connection)) fields = relative(fields, connection, request);
  return concealed(fields, concealer);
}

const COOKIES: ReadonlySet<string> = new Set(['set-cookie', 'set-cookie2']);
const REFERENCES: ReadonlySet<string> = new Set(['location', 'content-location']);

/** References to the target itself as paths; those to anywhere else stay as they are, and the client follows them by itself or not. */
function relative(fields: HeaderFields, connection: CompiledConnection, request: RequestHead): HeaderFields {
  if (field(fields, 'location') === undefined && field(fields, 'content-location') === undefined) return fields;
  const origin = targetOrigin(connection);
  return [...eachField(fields)].flatMap(([name, value]) => {
    if (!REFERENCES.has(name) || !/^[a-z][a-z0-9+.-]*:|^\/\//i.test(value)) return [name, value];
    const url = URL.parse(value, `${origin}${request.target}`);
    const own = url !== null && url.origin === new URL(origin).origin && url.username === '' && url.password === '';
    return own ? [name, `${url.pathname}${url.search}${url.hash}`] : [name, value];
  });
}

function concealed(fields: HeaderFields, concealer: Concealer | undefined): HeaderFields {
  if (concealer === undefined) return fields;
  return [...eachField(fields)].flatMap(([name, value]) => [name, concealer.text(value)]);
}

function checkLength(headers: HeaderFields, most: number): void {
  const length = Number(field(headers, 'content-length') ?? 0);
  if (length > most) throw new HttpRefused(laneError('SPE110', most));
}

/** Counts what goes out. What it throws breaks the answer off. */
function limited(most: number | undefined, durationMs: number | undefined, deadline: number): (chunk: Buffer) => void {
  let bytes = 0;
  return ({ length }) => {
    bytes += length;
    if (most !== undefined && bytes > most) throw new HttpRefused(laneError('SPE110', most));
    if (durationMs !== undefined && Date.now() > deadline)
      throw new HttpRefused(laneError('SPE111', durationMs / 1000));
  };
}

/** One after the other. */
function chained(transforms: readonly BodyTransform[]): BodyTransform {
  const [only] = transforms;
  if (transforms.length === 1 && only !== undefined) return only;
  return {
    write(chunk) {
      let part: Buffer | undefined = chunk;
      for (const transform of transforms) {
        if (part === undefined || part.length === 0) return undefined;
        part = transform.write(part);
      }
      return part;
    },
    end() {
      let rest: Buffer | undefined;
      for (const transform of transforms) {
        const before: Buffer | undefined = rest === undefined || rest.length === 0 ? undefined : transform.write(rest);
        // What was written last may be a part of a buffer that the end uses again.
        const kept = before === undefined ? undefined : Buffer.from(before);
        const after = transform.end();
        rest = kept === undefined ? after : after === undefined ? kept : Buffer.concat([kept, after]);
      }
      return rest;
    },
  };
}
