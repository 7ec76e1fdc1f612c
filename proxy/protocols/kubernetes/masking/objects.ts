import type { MaskPlan } from '../../../../policy/masking.ts';
import { bodyTransform, maskAnswer, readyMasks } from '../../../masking/body/body-masks.ts';
import { mapFields, wholeAndPlain } from '../../../masking/body/header-fields.ts';
import { createJsonRewriter } from '../../../masking/body/json-rewriter.ts';
import type { BodyKind, MediaType } from '../../../masking/body/media-type.ts';
import type { JsonPlace } from '../../../masking/body/place.ts';
import type { AnswerHead, BodyTransform } from '../../../masking/body/port.ts';
import { createTextRewriter } from '../../../masking/body/text-lines.ts';
import { MaskError } from '../../../masking/errors.ts';
import type { CountMask, TokenKeys } from '../../../masking/port.ts';
import { contextOf } from './context.ts';
import { isMembers, type ObjectContext, type ObjectPlace, objectPlace } from './object-place.ts';
import type { ObjectMasks, ObjectRequest } from './port.ts';
import { revealedAt } from './reveal.ts';
import { compileRules } from './rules.ts';
import { maskedSelector } from './selectors.ts';
import { statusPlace } from './status.ts';
import { readColumns, rowPlace, type TableColumns, tablePlace } from './table.ts';
import { shownWarning } from './warnings.ts';
import { createObjectWrites } from './writes.ts';

const WITHHELD = Buffer.from('"***"', 'latin1');
/** Documents of the API itself: which resources there are, their schemas, whether the server is well. They hold no objects. */
const ABOUT_THE_API = /^\/(api|apis|openapi|version|healthz|livez|readyz|[.]well-known)(\/|$)/;

/**
 * Masks of objects of one API for one subject: values by what they are (`kubernetes` of a rule), fields by their path, content.
 * @throws MaskError SPM003 a key of a token is missing, SPM004 a pattern is not RE2, SPM007 a path cannot be read
 */
export function createObjectMasks(plan: MaskPlan, keys: TokenKeys): ObjectMasks {
  const ready = readyMasks(plan, keys);
  const rules = compileRules(plan, keys);
  const empty = rules.empty && ready.content === undefined;
  const writes = createObjectWrites(plan, rules);

  /** Bytes that are one document, under a place of it. */
  function rewrite(bytes: Buffer, root: JsonPlace, count: CountMask): Buffer {
    const rewriter = createJsonRewriter({
      root,
      content: ready.content,
      count,
      limits: ready.documents.limits,
      nested: undefined,
      withheld: WITHHELD,
    });
    return Buffer.concat([rewriter.write(bytes), rewriter.end()].filter((part) => part !== undefined));
  }

  function contextFor(request: ObjectRequest, count: CountMask): ObjectContext {
    return contextOf(rules, request, (text, place) => rewrite(text, place, count));
  }

  /** The masks of a document that is there whole, by what it is. */
  function placeOf(value: unknown, columns: TableColumns, context: ObjectContext): ObjectPlace {
    if (isMembers(value)) {
      if (value['kind'] === 'Table' && Array.isArray(value['rows'])) return tablePlace(value, columns, context);
      if (value['kind'] === 'Status' && !('spec' in value)) return rules.empty ? NOTHING : statusPlace(value);
    }
    return objectPlace(value, context);
  }

  /** False: only content can be found in the bytes, so that nobody needs to know what each place is. */
  function mayHold(bytes: Buffer, { identity, kind }: ObjectContext): boolean {
    if (bytes.includes('"Table"') || bytes.includes('"Status"')) return true;
    const { places, fields } = rules.of({ ...identity, resource: undefined, name: undefined, namespace: undefined });
    const names = (word: string): boolean => bytes.includes(`${word}"`) || bytes.includes(`${word}\\`);
    if (fields.length > 0 || places.has('annotations') || places.has('fields')) return true;
    if (places.has('env') && names('value')) return true;
    if (places.has('env') && names('env')) return true;
    if (places.has('secrets') && (kind === 'Secret' || names('Secret') || names('SecretList'))) return true;
    return places.has('configMaps') && (kind === 'ConfigMap' || names('ConfigMap') || names('ConfigMapList'));
  }

  /** One document that is there whole. */
  function maskWhole(bytes: Buffer, columns: TableColumns, context: ObjectContext, count: CountMask): Buffer {
    if (ready.content === undefined && !mayHold(bytes, context)) return bytes;
    return rewrite(bytes, placeOf(parse(bytes), columns, context), count);
  }

  /** Objects are put together whole, one at a time; everything around them passes. */
  function listPlace(request: ObjectRequest, count: CountMask): JsonPlace {
    const context = contextFor(request, count);
    const columns: TableColumns = { names: undefined };
    const whole: JsonPlace = {
      mask: undefined,
      step: () => undefined,
      whole: (bytes) => maskWhole(bytes, columns, context, count),
    };
    const row: JsonPlace = {
      ...whole,
      whole: (bytes) => rewrite(bytes, rowPlace(parse(bytes), columns, context), count),
    };
    const definitions: JsonPlace = {
      ...whole,
      whole: (bytes) => {
        columns.names = readColumns(parse(bytes)) ?? columns.names;
        return rewrite(bytes, NOTHING, count);
      },
    };
    const around = objectPlace({}, context);
    const items: JsonPlace = { mask: undefined, step: () => whole };
    const rows: JsonPlace = { mask: undefined, step: () => row };
    const list: JsonPlace = {
      mask: undefined,
      step(key) {
        if (key === 'items') return items;
        if (key === 'rows') return rows;
        return key === 'columnDefinitions' ? definitions : around.step(key);
      },
    };
    if (request.verb === 'watch') {
      return {
        mask: undefined,
        step: (key) => (key === 'object' ? whole : key === 'type' ? around.step('kind') : undefined),
      };
    }
    return request.verb === 'list' || request.verb === 'deletecollection' ? list : whole;
  }

  function jsonTransform(status: number, request: ObjectRequest, count: CountMask): BodyTransform {
    const single = status >= 400 || request.subresource === 'proxy';
    return createJsonRewriter({
      root: listPlace(single ? { ...request, verb: 'get' } : request, count),
      content: ready.content,
      count,
      limits: ready.documents.limits,
      nested: undefined,
      withheld: WITHHELD,
    });
  }

  function transformFor(
    status: number,
    request: ObjectRequest,
    count: CountMask,
    type: MediaType,
    kind: BodyKind,
  ): BodyTransform | 'untouched' | MaskError {
    if (!request.isResourceRequest) {
      return ABOUT_THE_API.test(request.path) ? 'untouched' : bodyTransform(ready, type, kind, count);
    }
    if (kind === 'json' && (type.charset === undefined || type.charset === 'utf-8')) {
      return jsonTransform(status, request, count);
    }
    if (request.subresource === 'proxy') return bodyTransform(ready, type, kind, count);
    if (request.subresource === 'log') return createTextRewriter(ready.documents, plan.binaryOutput, count);
    // Errors of what is in front of the API server, which are made of words.
    if (status >= 400 && (kind === 'text' || kind === 'unknown')) {
      return createTextRewriter(ready.documents, plan.binaryOutput, count);
    }
    return new MaskError('SPM010', type.name === '' ? 'no content type' : type.name);
  }

  return {
    empty,
    wantsObjectsInTables: (request) => rules.shownInTables(contextOf(rules, request, (text) => text).identity),
    selects(request) {
      if (rules.empty) return undefined;
      return maskedSelector(
        rules.of({ ...contextOf(rules, request, (text) => text).identity, name: undefined }),
        request,
      );
    },
    isAbout({ namespace }) {
      // An object that stands in it may be of any kind.
      const identity = { resource: undefined, namespace: namespace === '' ? undefined : namespace, name: undefined };
      return !rules.empty && (rules.of(identity).strictest !== undefined || rules.of(identity).fields.length > 0);
    },
    reveals({ before, after, said }, request) {
      const context = contextOf(rules, request, (text) => text);
      return revealedAt(
        { value: before, place: objectPlace(before, context) },
        { value: after, place: objectPlace(after, context) },
        said,
      );
    },
    request: (headers) => (empty ? headers : wholeAndPlain(headers)),
    document(body, request, count) {
      if (empty) return body;
      return rewrite(body, placeOf(parse(body), { names: undefined }, contextFor(request, count)), count);
    },
    answer(head, request, count) {
      if (empty) return { body: 'untouched', head };
      const told = rules.empty || !request.isResourceRequest ? head : withShownWarnings(head);
      return maskAnswer(ready, told, { method: 'GET', count }, (type, kind) =>
        transformFor(head.status, request, count, type, kind),
      );
    },
    write: (body, contentType, request) => (empty ? undefined : writes(body, contentType, request)),
  };
}

function withShownWarnings(head: AnswerHead): AnswerHead {
  if (!head.headers.includes('warning')) return head;
  const shown = mapFields(head.headers, (name, value) => (name === 'warning' ? shownWarning(value) : value));
  return { ...head, headers: shown };
}

const NOTHING: ObjectPlace = { mask: undefined, step: () => undefined };

/** @throws MaskError SPM009 */
function parse(bytes: Buffer): unknown {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return value;
  } catch (error) {
    throw Object.assign(new MaskError('SPM009', 'an object that cannot be read'), { cause: error });
  }
}
