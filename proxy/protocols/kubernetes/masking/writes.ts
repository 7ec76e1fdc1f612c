import { parseAllDocuments } from 'yaml';
import type { MaskPlan } from '../../../../policy/masking.ts';
import { contentMarks, holdsToken, isMark } from '../../../masking/body/marks.ts';
import { parseMediaType } from '../../../masking/body/media-type.ts';
import { MaskError } from '../../../masking/errors.ts';
import { contextOf } from './context.ts';
import { isMembers, type ObjectContext, type ObjectPlace, objectPlace } from './object-place.ts';
import type { ObjectMasks, ObjectRequest } from './port.ts';
import type { KubernetesRules } from './rules.ts';

/** YAML with more aliases than this is not read: they multiply. */
const MOST_ALIASES = 100;
const MOST_DEPTH = 512;
const MOST_BYTES = 8 * 1024 * 1024;
/** Longest YAML that is parsed: longer objects in it are refused before, and elsewhere it means nothing to the API server. */
const MOST_YAML = 32 * 1024;

function written(path: readonly string[]): MaskError {
  const where = path.map((part) => (/^[-\w./]{1,63}$/.test(part) ? part : '*')).join('.');
  return new MaskError('SPM012', where === '' ? 'the body' : where);
}

export function createObjectWrites(plan: MaskPlan, rules: KubernetesRules): ObjectMasks['write'] {
  const marks = contentMarks(plan.content);

  function check(value: unknown, place: ObjectPlace | undefined, path: readonly string[]): MaskError | undefined {
    if (typeof value === 'string') {
      if (holdsToken(value) || marks.has(value)) return written(path);
      if (place?.inner !== undefined) return check(place.inner.value, place.inner.place, path);
      const mask = place?.mask;
      if (mask === undefined) return undefined;
      const text = mask.base64 === true ? Buffer.from(value, 'base64').toString('utf8') : value;
      return isMark(mask.transform, text) || holdsToken(text) ? written(path) : undefined;
    }
    if (typeof value !== 'object' || value === null) return undefined;
    // Deeper than any object of the API; what is down there was not looked at.
    if (path.length > MOST_DEPTH) return written(path.slice(0, 3));
    for (const [key, one] of Object.entries(value)) {
      if (holdsToken(key)) return written(path);
      const error = check(one, place?.mask === undefined ? place?.step(key) : place, [...path, key]);
      if (error !== undefined) return error;
    }
    return undefined;
  }

  return (body, contentType, request) => {
    const { name } = parseMediaType(contentType);
    const context = contextOf(rules, request, (text) => text);
    if (name.endsWith('protobuf')) return checkBytes(plan, body, request, context);
    if (holdsToken(body.toString('latin1'))) return written([]);
    const documents = read(body, name);
    if (documents === undefined) return undefined;
    for (const value of documents) {
      const error =
        name === 'application/json-patch+json' && Array.isArray(value)
          ? checkPatch(value, request, context)
          : check(value, objectPlace(value, context), []);
      if (error !== undefined) return error;
    }
    return undefined;
  };

  function checkPatch(
    operations: readonly unknown[],
    request: ObjectRequest,
    context: ObjectContext,
  ): MaskError | undefined {
    for (const operation of operations) {
      if (!isMembers(operation)) continue;
      const path = segmentsOf(operation['path']);
      const { value } = operation;
      if (operation['op'] === 'copy' || operation['op'] === 'move') {
        if (!rules.empty && !mayCopy(segmentsOf(operation['from']), context)) {
          return new MaskError('SPM013', `${operation['op']} in ${request.resource}`);
        }
      } else if (operation['op'] === 'test') {
        if (!rules.empty && !mayTest(path, value, context))
          return new MaskError('SPM013', `test in ${request.resource}`);
      } else {
        if (renames(path, operation['op'], context)) {
          return new MaskError('SPM013', `${String(operation['op'])} of ${path.at(-1)} in ${request.resource}`);
        }
        const whole = path.reduceRight((below: unknown, segment) => ({ [segment]: below }), value);
        const error = check(whole, objectPlace(whole, context), []) ?? checkVariable(path, value, context);
        if (error !== undefined) return error;
      }
    }
    return undefined;
  }

  /** The value of a variable whose name the patch does not tell. */
  function checkVariable(path: readonly string[], value: unknown, context: ObjectContext): MaskError | undefined {
    if (typeof value !== 'string' || !path.includes('env')) return undefined;
    const masks = plan.kubernetes.filter(({ place }) => place === 'env');
    const applies = context.rules.of(context.identity).strictest !== undefined;
    return applies && masks.some(({ transform }) => isMark(transform, value)) ? written(path) : undefined;
  }
}

/** A JSON pointer (RFC 6901), as the API server's library reads it: whatever stands before the first slash it overlooks. */
function segmentsOf(pointer: unknown): readonly string[] {
  if (typeof pointer !== 'string') return [];
  return pointer
    .split('/')
    .slice(1)
    .map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/** Lists whose members have a name and no value. */
const NAMED_WITHOUT_VALUE = new Set([
  'containers',
  'ephemeralContainers',
  'imagePullSecrets',
  'initContainers',
  'ports',
  'volumeDevices',
  'volumeMounts',
  'volumes',
]);

/**
 * Whether an operation takes away what a value is masked by: the name of the variable that it is of, or the kind of an object in another.
 * The answer would show the value under the new one.
 */
function renames(path: readonly string[], op: unknown, { rules, identity }: ObjectContext): boolean {
  if (op !== 'add' && op !== 'replace' && op !== 'remove') return false;
  const [last, before = ''] = [path.at(-1), path.at(-2)];
  const { places } = rules.of({ ...identity, resource: undefined, name: undefined });
  if (last === 'name' && places.has('env')) {
    return path[0] !== 'metadata' && !before.endsWith('Ref') && !NAMED_WITHOUT_VALUE.has(path.at(-3) ?? '');
  }
  if ((last === 'kind' || last === 'apiVersion') && path.length > 1) return !before.endsWith('Ref') && !rules.empty;
  return false;
}

const FREELY_COPIED = new Set(['labels', 'finalizers', 'ownerReferences']);

/** Whatever else is copied may be, or hold, a value that is masked where it stands and not where it goes. */
function mayCopy([first = '', second = '', third]: readonly string[], context: ObjectContext): boolean {
  if (first !== 'metadata') return false;
  if (FREELY_COPIED.has(second)) return true;
  if (second !== 'annotations' || third === undefined) return false;
  const rules = context.rules.of(context.identity);
  return rules.key('annotations', third) === undefined && !third.endsWith('last-applied-configuration');
}

/** Whoever may test a value may guess it. */
function mayTest(path: readonly string[], value: unknown, context: ObjectContext): boolean {
  const [first = '', second = ''] = path;
  if (first === 'metadata' && second !== 'annotations' && second !== '') return true;
  if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0;
  const whole = path.reduceRight((below: unknown, segment) => ({ [segment]: below }), value);
  const isVariable = path.at(-1) === 'value';
  if (isVariable && context.rules.of(context.identity).strictest !== undefined) return false;
  let place: ObjectPlace | undefined = objectPlace(whole, context);
  for (const segment of path) {
    if (place === undefined) return true;
    if (place.mask !== undefined) return false;
    place = place.step(segment);
  }
  return (
    place === undefined ||
    (place.mask === undefined && !(first === 'metadata' && second === 'annotations' && path.length < 3))
  );
}

/** Documents of JSON or YAML; undefined: it is neither, so that the API server refuses it. */
function read(body: Buffer, name: string): readonly unknown[] | undefined {
  if (body.length > MOST_BYTES) return undefined;
  const text = body.toString('utf8');
  try {
    const value: unknown = JSON.parse(text);
    return [value];
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  if (!name.endsWith('yaml') || body.length > MOST_YAML) return undefined;
  try {
    return parseAllDocuments(text).map((document): unknown => document.toJS({ maxAliasCount: MOST_ALIASES }));
  } catch (error) {
    if (error instanceof Error) return undefined;
    throw error;
  }
}

/**
 * Protobuf: tokens stand in it as they are. Values of maps (data of Secrets and ConfigMaps) are field 2 of an entry: a mark there stands
 * behind its tag and its length (https://protobuf.dev/programming-guides/encoding/).
 */
function checkBytes(
  plan: MaskPlan,
  body: Buffer,
  { resource }: ObjectRequest,
  { kind }: ObjectContext,
): MaskError | undefined {
  if (holdsToken(body.toString('latin1'))) return written([]);
  const of = kind === 'Secret' ? 'secrets' : kind === 'ConfigMap' ? 'configMaps' : undefined;
  const marked = plan.kubernetes.some(({ place, transform }) => {
    if (place !== of || transform.type !== 'redact') return false;
    const mark = Buffer.from(transform.with, 'utf8');
    return body.includes(Buffer.concat([Buffer.from([0x12, mark.length]), mark]));
  });
  return marked ? written([resource]) : undefined;
}
