import type { BinaryOutput, MaskPlan } from '../../../policy/masking.ts';
import { type ContentDetectors, createContentDetectors } from '../detectors.ts';
import { MaskError } from '../errors.ts';
import { createFieldMasks } from '../fields.ts';
import type { CountMask, TokenKeys } from '../port.ts';
import { createDocumentRewriter, type DocumentMasks } from './documents.ts';
import { createEventRewriter } from './event-stream.ts';
import { createFormRewriter } from './form.ts';
import { fieldValues, mapFields, STRUCTURAL, tellsOfBytes, wholeAndPlain } from './header-fields.ts';
import { codingsOf, inflated } from './inflate.ts';
import { type BodyKind, bodyKind, type MediaType, parseMediaType, readable } from './media-type.ts';
import type {
  AnswerContext,
  AnswerHead,
  AnswerMask,
  BodyLimits,
  BodyMasks,
  BodyTransform,
  HeaderFields,
} from './port.ts';
import { createTextRewriter, maskOneText } from './text-lines.ts';

const MIB = 1024 * 1024;

export const BODY_LIMITS: BodyLimits = {
  scalar: 8 * MIB,
  key: 64 * 1024,
  depth: 512,
  event: MIB,
  inflated: 64 * MIB,
  ratio: 200,
};

/** The longest object that is put together to be masked as one: an API server takes no larger ones (3 MiB). */
const LONGEST_WHOLE = 16 * MIB;

/** What is masked in bodies, made ready. */
export interface ReadyMasks {
  readonly documents: DocumentMasks;
  readonly content: ContentDetectors | undefined;
  readonly limits: BodyLimits;
  /** For what cannot be looked into, and for bytes that are no text in what is said to be text. */
  readonly opaque: BinaryOutput;
}

/** @throws MaskError SPM003, SPM004, SPM007: a rule that cannot be followed */
export function readyMasks(plan: MaskPlan, keys: TokenKeys, changed: Partial<BodyLimits> = {}): ReadyMasks {
  const limits = { ...BODY_LIMITS, ...changed };
  const content = createContentDetectors(plan.content, keys);
  const fields = createFieldMasks(plan.fields, keys);
  return {
    documents: { root: fields?.root, content, limits: { ...limits, whole: LONGEST_WHOLE } },
    content,
    limits,
    opaque: plan.opaqueBodies,
  };
}

/**
 * Masks of HTTP bodies by the fields and contents of a plan.
 * @throws MaskError SPM003 a key of a token is missing, SPM004 a pattern is not RE2, SPM007 a path cannot be read
 */
export function createBodyMasks(plan: MaskPlan, keys: TokenKeys, limits: Partial<BodyLimits> = {}): BodyMasks {
  const masks = readyMasks(plan, keys, limits);
  const empty = masks.content === undefined && masks.documents.root === undefined;
  return {
    empty,
    request: (headers) => (empty ? headers : wholeAndPlain(headers)),
    answer: (head, about) => (empty ? { body: 'untouched', head } : maskAnswer(masks, head, about)),
    trailers: (headers, count) => (empty ? headers : maskFields(masks, headers, count)),
    text: (text, count) => (empty ? text : maskString(masks, text, count)),
  };
}

/** Answers that have no body (RFC 9110, section 6.4.1). */
function hasNoBody(method: string, status: number): boolean {
  return method === 'HEAD' || status === 204 || status === 304 || status < 200;
}

/** Which transform masks a body of this type; a MaskError when none can. */
export type TransformFor = (type: MediaType, kind: BodyKind) => BodyTransform | 'untouched' | MaskError;

/** How an answer is masked by its head, the transform of its body being chosen by its type. */
export function maskAnswer(
  masks: ReadyMasks,
  head: AnswerHead,
  { method, count }: AnswerContext,
  transformFor: TransformFor = (type, kind) => bodyTransform(masks, type, kind, count),
): AnswerMask {
  const types = fieldValues(head.headers, 'content-type');
  const type = parseMediaType(types[0]);
  const headers = maskFields(masks, head.headers, count);
  // What says that it is empty is held to that by the framing of the message.
  if (hasNoBody(method, head.status) || fieldValues(head.headers, 'content-length').join() === '0') {
    return {
      body: 'untouched',
      head: { ...head, headers: mapFields(headers, (name, value) => (tellsOfBytes(name) ? undefined : value)) },
    };
  }
  // Clients differ in which of two they take.
  if (types.length > 1) return refused(new MaskError('SPM010', 'more than one content type'));
  if (head.status === 206) return refused(new MaskError('SPM010', 'a part of a document'));
  const transform = transformFor(type, bodyKind(type));
  if (transform === 'untouched') return { body: 'untouched', head: { ...head, headers } };
  if (transform instanceof MaskError) return refused(transform);
  try {
    const codings = codingsOf(fieldValues(head.headers, 'content-encoding'));
    const shown = mapFields(headers, (name, value) =>
      tellsOfBytes(name) || name === 'content-encoding' ? undefined : value,
    );
    return {
      body: 'masked',
      head: { ...head, headers: shown },
      transform: inflated(codings, masks.limits, transform),
    };
  } catch (error) {
    if (error instanceof MaskError) return refused(error);
    throw error;
  }
}

function refused(error: MaskError): AnswerMask {
  return { body: 'refused', error };
}

/** The transform of a body that knows nothing of what the body means. */
export function bodyTransform(
  masks: ReadyMasks,
  type: MediaType,
  kind: BodyKind,
  count: CountMask,
): BodyTransform | 'untouched' | MaskError {
  const charset = readable(type.charset);
  if (kind !== 'opaque' && charset === 'no') return opaque(masks, 'a charset that is not known', count);
  switch (kind) {
    case 'json':
      if (charset !== 'utf-8') return new MaskError('SPM010', 'JSON that is not in UTF-8');
      return createDocumentRewriter(masks.documents, count);
    case 'events':
      return createEventRewriter(masks.documents, masks.limits.event, count);
    case 'form':
      return createFormRewriter(masks.documents, masks.limits.event, count);
    case 'text':
    case 'unknown':
      return createTextRewriter(masks.documents, charset === 'bytes' ? 'Search' : masks.opaque, count);
    case 'opaque':
      return opaque(masks, type.name, count);
  }
}

function opaque(masks: ReadyMasks, what: string, count: CountMask): BodyTransform | 'untouched' | MaskError {
  if (masks.opaque === 'Pass') return 'untouched';
  if (masks.opaque === 'Deny') return new MaskError('SPM010', what);
  return createTextRewriter(masks.documents, 'Search', count);
}

/** Values of header fields, also behind percent-encoding (a Location that quotes an address). */
function maskFields(masks: ReadyMasks, headers: HeaderFields, count: CountMask): HeaderFields {
  if (masks.content === undefined && masks.documents.root === undefined) return headers;
  return mapFields(headers, (name, value) => {
    if (STRUCTURAL.has(name) || tellsOfBytes(name)) return value;
    // Parts of a URL are searched by themselves, where a pattern may match something else.
    if (URLS.has(name)) return maskValue(masks, maskParts(masks, value, count), count);
    if (holdsNothing(masks, value)) return value;
    return maskValue(masks, value.includes('%') ? maskParts(masks, value, count) : value, count);
  });
}

/** What is neither plain text nor without brackets (a document) and percent signs (more text behind them) is looked at closely. */
const NEEDS_A_LOOK = /[^ -~]|[{[%]/;

/** Cheap: whether neither a document nor content can be found in the value. */
function holdsNothing({ content }: ReadyMasks, value: string): boolean {
  if (NEEDS_A_LOOK.test(value)) return false;
  if (content === undefined) return true;
  const bytes = Buffer.from(value, 'latin1');
  return content.find(bytes, 0, bytes.length).length === 0;
}

const URLS = new Set(['location', 'content-location', 'link', 'refresh']);

/** The parts of a URL, each by itself: what is between them could be taken for a part of a value. */
function maskParts(masks: ReadyMasks, value: string, count: CountMask): string {
  return value
    .split(/([/?&=#;,<>\s]+)/)
    .map((part) => {
      const decoded = part.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) =>
        String.fromCharCode(Number.parseInt(hex, 16)),
      );
      const shown = maskValue(masks, decoded, count);
      return shown === decoded ? part : encodeURIComponent(Buffer.from(shown, 'latin1').toString('utf8'));
    })
    .join('');
}

/** Latin-1 in, Latin-1 out; no character in it that ends a field. */
function maskValue(masks: ReadyMasks, value: string, count: CountMask): string {
  const shown = maskOneText(masks.documents, Buffer.from(value, 'latin1'), count);
  return shown === undefined ? value : shown.toString('latin1').replaceAll(/[\r\n\0]/g, ' ');
}

function maskString(masks: ReadyMasks, text: string, count: CountMask): string {
  return maskOneText(masks.documents, Buffer.from(text, 'utf8'), count)?.toString('utf8') ?? text;
}
