/**
 * What the API server asks of an admission webhook and what it is told (admission.k8s.io/v1). A handler sees one request that was
 * checked against this shape and answers with what it decided; the envelope is the server's business.
 */

/** The part of `AdmissionReview.request` that handlers look at. `object` is as the API server would store it: check before use. */
export interface AdmissionRequest {
  readonly uid: string;
  readonly kind: { readonly group: string; readonly version: string; readonly kind: string };
  readonly resource: { readonly group: string; readonly version: string; readonly resource: string };
  readonly subResource?: string;
  /** Empty when the API server is to make the name up (`generateName`). */
  readonly name: string;
  readonly namespace: string;
  readonly operation: 'CREATE' | 'UPDATE' | 'DELETE' | 'CONNECT';
  readonly userInfo: {
    readonly username: string;
    readonly uid?: string;
    readonly groups: readonly string[];
    readonly extra: Readonly<Record<string, readonly string[]>>;
  };
  readonly object: unknown;
  readonly oldObject: unknown;
  readonly dryRun: boolean;
}

/** One step of a JSON Patch (RFC 6902). */
export type PatchOperation =
  | { readonly op: 'add' | 'replace'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string };

export type AdmissionResponse =
  | { readonly allowed: true; readonly patch?: readonly PatchOperation[]; readonly warnings?: readonly string[] }
  | {
      readonly allowed: false;
      /** HTTP status that the person sees, such as 403 or 422. */
      readonly status: number;
      /** Stable code of the area's table; it goes in front of the message. */
      readonly code: string;
      readonly message: string;
      readonly warnings?: readonly string[];
    };

/**
 * Decides on one request. `signal` ends when the API server has stopped waiting. What it throws refuses the request: the message
 * goes to the log, not to the person.
 */
export type AdmissionHandler = (
  request: AdmissionRequest,
  signal: AbortSignal,
) => AdmissionResponse | Promise<AdmissionResponse>;

/** Kubernetes shortens warnings past this, and drops them past 4096 characters in all. */
const WARNING_CHARACTERS = 256;
const WARNINGS = 12;

type Json = Readonly<Record<string, unknown>>;

const isRecord = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];

const OPERATIONS = new Set(['CREATE', 'UPDATE', 'DELETE', 'CONNECT']);

/** @returns undefined when the document is not an `AdmissionReview` of admission.k8s.io/v1 with a request */
export function parseReview(document: unknown): AdmissionRequest | undefined {
  if (!isRecord(document) || document['kind'] !== 'AdmissionReview') return undefined;
  if (document['apiVersion'] !== 'admission.k8s.io/v1') return undefined;
  const request = document['request'];
  if (!isRecord(request) || typeof request['uid'] !== 'string') return undefined;
  const { kind, resource, userInfo, operation } = request;
  if (!isRecord(kind) || !isRecord(resource) || !isRecord(userInfo)) return undefined;
  if (typeof operation !== 'string' || !OPERATIONS.has(operation)) return undefined;
  const extra = isRecord(userInfo['extra']) ? userInfo['extra'] : {};
  return {
    uid: request['uid'],
    kind: { group: text(kind['group']), version: text(kind['version']), kind: text(kind['kind']) },
    resource: {
      group: text(resource['group']),
      version: text(resource['version']),
      resource: text(resource['resource']),
    },
    ...(typeof request['subResource'] === 'string' ? { subResource: request['subResource'] } : {}),
    name: text(request['name']),
    namespace: text(request['namespace']),
    operation: operation as AdmissionRequest['operation'],
    userInfo: {
      username: text(userInfo['username']),
      ...(typeof userInfo['uid'] === 'string' ? { uid: userInfo['uid'] } : {}),
      groups: texts(userInfo['groups']),
      extra: Object.fromEntries(Object.entries(extra).map(([key, value]) => [key, texts(value)])),
    },
    object: request['object'] ?? undefined,
    oldObject: request['oldObject'] ?? undefined,
    dryRun: request['dryRun'] === true,
  };
}

const shortened = (warning: string): string =>
  warning.length <= WARNING_CHARACTERS ? warning : `${warning.slice(0, WARNING_CHARACTERS - 1)}…`;

function warningsOf(warnings: readonly string[]): string[] {
  const shown = warnings.slice(0, WARNINGS).map(shortened);
  const more = warnings.length - shown.length;
  return more > 0 ? [...shown, `and ${more} more`] : shown;
}

const REASONS: Readonly<Record<number, string>> = { 403: 'Forbidden', 409: 'Conflict', 422: 'Invalid' };

/** The `AdmissionReview` that answers the request of this UID. */
export function renderReview(uid: string, response: AdmissionResponse): unknown {
  const warnings =
    response.warnings === undefined || response.warnings.length === 0
      ? {}
      : { warnings: warningsOf(response.warnings) };
  const answer = response.allowed
    ? {
        allowed: true,
        ...(response.patch === undefined || response.patch.length === 0
          ? {}
          : { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(response.patch)).toString('base64') }),
      }
    : {
        allowed: false,
        status: {
          code: response.status,
          reason: REASONS[response.status] ?? 'InternalError',
          message: `${response.code}: ${response.message}`,
        },
      };
  return { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: { uid, ...answer, ...warnings } };
}
