import {
  type KubernetesEffect,
  type KubernetesMeaning,
  type KubernetesRequest,
  kubernetesCommand,
} from '../../../../policy/kubernetes/commands.ts';
import type { RequestInfo } from '../request/request-info.ts';
import type { RequestBody } from './body.ts';
import { effectsOf, gainsOwner, itself } from './effects.ts';
import { isObject, member, text } from './json.ts';
import { type Pinned, pin } from './pin.ts';
import type { Path } from './pointer.ts';
import type { Asking, MeaningAnswer, MeantRequest, Understanding } from './port.ts';
import { holdsNumbers, isCustom, replicasIn, replicasPath } from './scale.ts';
import { worstOfUpdate } from './worst.ts';

/** A write whose outcome the API server can be asked for. */
export interface Refinable {
  readonly request: MeantRequest;
  readonly asked: KubernetesRequest;
  readonly body: Exclude<RequestBody, { type: 'none' }>;
  readonly worst: KubernetesMeaning;
  readonly understanding: Understanding;
}

/** Somebody else may write between the two questions; then they are asked again. */
const ATTEMPTS = 4;

type State =
  | { readonly type: 'object'; readonly object: unknown; readonly version: string }
  | { readonly type: 'absent' }
  /** The caller may not read it, or it cannot be read. */
  | { readonly type: 'unknown' };

function parseObject({ body }: MeaningAnswer): unknown {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

async function readState(info: RequestInfo, target: string, { ask, signal }: Asking): Promise<State> {
  if (info.verb === 'create') return { type: 'absent' };
  const path = target.split('?', 1)[0] ?? target;
  // A pod says all of its debug containers itself.
  const object = info.subresource === 'ephemeralcontainers' ? path.replace(/\/ephemeralcontainers\/?$/, '') : path;
  const answer = await ask({ method: 'GET', target: object }, signal);
  if (answer.status === 404) return { type: 'absent' };
  const value = answer.status === 200 ? parseObject(answer) : undefined;
  const version = text(member(value, 'metadata', 'resourceVersion'));
  return value === undefined || version === '' ? { type: 'unknown' } : { type: 'object', object: value, version };
}

function tried(target: string): string {
  if (/[?&]dryRun=All(&|$)/.test(target)) return target;
  return `${target}${target.includes('?') ? '&' : '?'}dryRun=All`;
}

const WRITES: ReadonlyMap<string, 'POST' | 'PUT' | 'PATCH'> = new Map([
  ['create', 'POST'],
  ['update', 'PUT'],
  ['patch', 'PATCH'],
]);

/** A webhook that has effects of its own is not called on trial, and the API server says no instead. */
function isNotTried({ status, body }: MeaningAnswer): boolean {
  return status === 400 && /does not support dry run|dryRun/i.test(body.toString('utf8'));
}

interface Trial {
  readonly before: unknown;
  readonly after: unknown;
  /** What the answer holds for. Absent: nothing makes sure that it holds later too. */
  readonly pinned?: Pinned;
  readonly scales: boolean | undefined;
  /** Where an object that is made says how many there are. */
  readonly replicaPaths?: readonly Path[] | undefined;
}

/** Asks for the object as it is and as it would be. Undefined: that cannot be found out. */
async function attempt(
  { request, body, understanding: { info } }: Refinable,
  asking: Asking,
): Promise<Trial | { readonly refused: MeaningAnswer } | undefined> {
  const { ask, discovery, signal } = asking;
  if (!(await discovery.dryRuns(info, ask, signal))) return undefined;
  const scales = isCustom(info) ? await discovery.scales(info, ask, signal) : undefined;
  let state = await readState(info, request.target, asking);
  for (let left = ATTEMPTS; left > 0; left--) {
    if (state.type === 'unknown') return undefined;
    const pinned = state.type === 'object' ? pin(body, state.version) : undefined;
    const answer = await ask(
      {
        method: WRITES.get(info.verb) ?? 'PATCH',
        target: tried(request.target),
        contentType: body.written.contentType,
        body: pinned?.bytes ?? body.written.bytes,
      },
      signal,
    );
    if (isOutdated(state, pinned, answer)) {
      const read = state.type === 'object' ? state.version : '';
      state = await readState(info, request.target, asking);
      // Nobody has written meanwhile: it is a conflict of another kind.
      if (state.type === 'object' && state.version === read) return isSuccess(answer) ? undefined : { refused: answer };
      continue;
    }
    if (isNotTried(answer)) return undefined;
    if (!isSuccess(answer)) return { refused: answer };
    const after = parseObject(answer);
    // Answers of success that are no object of the kind tell nothing.
    if (after === undefined || member(after, 'kind') === 'Status') return undefined;
    const before = state.type === 'object' ? state.object : undefined;
    const made = before === undefined && isCustom(info) && scales !== false && holdsNumbers(after);
    const replicaPaths = made ? await discovery.replicaPaths(info, ask, signal) : undefined;
    return { before, after, scales, replicaPaths, ...(pinned === undefined ? {} : { pinned }) };
  }
  return undefined;
}

function isSuccess({ status }: MeaningAnswer): boolean {
  return status >= 200 && status <= 299;
}

/** Somebody wrote between the two questions, as the API server says or as the client's own version shows. */
function isOutdated(state: State, pinned: Pinned | undefined, answer: MeaningAnswer): boolean {
  if (state.type !== 'object' || pinned === undefined) return false;
  return pinned.named === undefined ? answer.status === 409 : pinned.named !== state.version && isSuccess(answer);
}

/** What changes nothing in a number asks for no more than there is. */
function unchanged(info: RequestInfo, { before, after }: Trial): KubernetesEffect {
  const path = replicasPath(info) ?? ['spec', 'replicas'];
  const absent = info.subresource === 'scale' ? 0 : 1;
  const [previous, next] = [before, after].map((object) => replicasIn(object, path, absent));
  return {
    ...itself(info, after),
    operation: 'ScaleIn',
    ...(next === undefined ? {} : { replicas: next }),
    ...(previous === undefined ? {} : { previousReplicas: previous }),
  };
}

function meaningOf({ body, worst, understanding: { info } }: Refinable, trial: Trial): KubernetesMeaning | undefined {
  const { before, after, pinned, scales, replicaPaths } = trial;
  const unpinned = before !== undefined && pinned === undefined;
  // What is replaced is what the body says, whatever is there by then; a patch makes of another state another thing.
  if (unpinned && body.type === 'patch') return undefined;
  const effects = unpinned ? worstOfUpdate(info, after) : effectsOf(info, { before, after, scales, replicaPaths });
  const scaled = effects.some(({ operation }) => /^Scale/.test(operation));
  const scalesAlone = info.subresource === 'scale' || worst.only === true;
  const all = scalesAlone && !scaled ? [...effects, unchanged(info, trial)] : effects;
  const also = [
    ...((before === undefined || unpinned) && info.verb !== 'create' ? ['create'] : []),
    ...(before !== undefined && gainsOwner(trial) ? ['delete'] : []),
  ];
  return {
    effects: all,
    ...(worst.only === true ? { only: true } : {}),
    ...(also.length === 0 ? {} : { also }),
    object: after,
  };
}

function bodyOf({ bytes, named }: Pinned, contentType: string): NonNullable<Understanding['body']> {
  return named === undefined ? { bytes, contentType, pinned: true } : { bytes, contentType };
}

/**
 * Asks the API server what would become of a write: for the object as it is, and for the answer to the same bytes with `dryRun=All`. The
 * bytes are those that are forwarded: where they change an object, they name the version of it that was judged.
 */
export async function refine(refinable: Refinable, asking: Asking): Promise<Understanding> {
  const { asked, body, understanding } = refinable;
  const { refine: _asked, ...known } = understanding;
  const trial = await attempt(refinable, asking);
  if (trial === undefined) return known;
  if ('refused' in trial) return { ...known, command: known.certain ?? known.command, refused: trial.refused };
  const { before, after } = trial;
  const dryRun = { before, after, pinned: before === undefined || trial.pinned !== undefined };
  const meaning = meaningOf(refinable, trial);
  if (meaning === undefined) return { ...known, dryRun };
  return {
    ...known,
    command: kubernetesCommand(asked, meaning),
    dryRun,
    ...(trial.pinned === undefined ? {} : { body: bodyOf(trial.pinned, body.written.contentType) }),
  };
}
