import type { AccessConnection, AccessPolicy, MaskingRule } from '../../api/resources.ts';
import { isConflict, isNotFound } from '../../kube/errors.ts';
import { isOlder } from '../../kube/reflector.ts';
import { apiVersionOf, type KubeObject, type ResourceType } from '../../kube/types.ts';
import type { ControllerContext, Stored } from '../context.ts';
import { type Condition, type Finding, withTimes } from './conditions.ts';

const MANAGER = 'sallyport-status';
/** Session counts change with every session: written at most so often. */
const COUNT_MS = 10_000;

/** Writes status, and tells people of what changed in it. */
export interface StatusWriter {
  /** @returns milliseconds after which to write what was held back; 0: nothing was */
  write(
    type: ResourceType,
    object: Stored<AccessConnection | AccessPolicy | MaskingRule>,
    findings: readonly Finding[],
    fields: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<number>;
}

interface StatusShape {
  readonly observedGeneration?: number;
  readonly conditions?: readonly Partial<Condition>[];
  readonly [field: string]: unknown;
}

export function createStatusWriter({
  client,
  now,
  events,
}: Pick<ControllerContext, 'client' | 'now' | 'events'>): StatusWriter {
  /** What was written last, by UID. The copy is a moment behind: until it has this version, this is what stands there. */
  const last = new Map<string, { readonly status: StatusShape; readonly at: number; readonly version: string }>();
  return {
    async write(type, object, findings, fields, signal) {
      const { namespace, name, uid = '', generation, resourceVersion } = object.metadata;
      const recent = last.get(uid);
      const copied = object.status as StatusShape | undefined;
      const isBehind =
        recent !== undefined && now() - recent.at < BELIEVED_MS && isOlder(resourceVersion ?? '', recent.version);
      const present = isBehind ? recent.status : (copied ?? {});
      const conditions = withTimes(findings, present.conditions ?? [], generation, now());
      const status: StatusShape = {
        ...(generation === undefined ? {} : { observedGeneration: generation }),
        conditions,
        ...fields,
      };
      if (sameStatus(status, present)) return 0;
      const { sessions: _now, ...rest } = status;
      const { sessions: _before, ...known } = present;
      const wait = (recent?.at ?? 0) + COUNT_MS - now();
      if (sameStatus(rest, known) && wait > 0) return wait;
      let made: KubeObject;
      try {
        made = await client.apply(
          type,
          { apiVersion: apiVersionOf(type), kind: type.kind, metadata: { namespace, name, uid }, status } as KubeObject,
          { fieldManager: MANAGER, force: true, subresource: 'status', signal },
        );
      } catch (error) {
        // It was deleted meanwhile, and perhaps made anew: then that is another object, with a turn of its own.
        if (isNotFound(error) || isConflict(error)) return 0;
        throw error;
      }
      last.set(uid, { status, at: now(), version: made.metadata.resourceVersion ?? '' });
      if (last.size > MAX_REMEMBERED) last.delete(last.keys().next().value ?? '');
      tell(object, present, conditions);
      return 0;
    },
  };

  /** An Event for each change of Ready, and of what a person should hear of besides. */
  function tell(object: KubeObject, before: StatusShape, conditions: readonly Condition[]): void {
    for (const { type, status, reason, message } of conditions) {
      if (type !== 'Ready' && type !== 'EgressEnforced') continue;
      const old = before.conditions?.find((condition) => condition.type === type);
      if (old?.status === status && old.reason === reason) continue;
      if (status === 'Unknown' || (old === undefined && status === 'False' && reason === 'NoProxies')) continue;
      events.event(object, {
        type: status === 'True' ? 'Normal' : 'Warning',
        reason: status === 'True' && type !== 'Ready' ? type : reason,
        action: 'Reconcile',
        note: message,
      });
    }
  }
}

const MAX_REMEMBERED = 10_000;
/** After an etcd restore the copy never gets there. */
const BELIEVED_MS = 10_000;

/** What we write of a status; the rest belongs to others. */
function sameStatus(mine: StatusShape, present: StatusShape): boolean {
  return Object.entries(mine).every(([name, value]) => stable(value) === stable(present[name]));
}

/** JSON with sorted members: the API server gives them back in its own order. */
function stable(value: unknown): string {
  return JSON.stringify(value, (_name, each: unknown) =>
    typeof each === 'object' && each !== null && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1)))
      : each,
  );
}
