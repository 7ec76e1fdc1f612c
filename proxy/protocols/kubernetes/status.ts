import { neutralise } from '../../../record/display.ts';
import type { KubernetesReport, StatusCause } from './errors.ts';

/** What a request was about, as `details` of a Status names it. */
export interface StatusObject {
  /** Empty for the core group. */
  readonly group: string;
  /** The plural, as Kubernetes itself writes it there. */
  readonly kind: string;
  readonly name: string;
}

/** `metav1.Status` (k8s.io/apimachinery/pkg/apis/meta/v1/types.go). */
export interface KubernetesStatus {
  readonly kind: 'Status';
  readonly apiVersion: 'v1';
  readonly metadata: Readonly<Record<string, never>>;
  readonly status: 'Failure';
  readonly message: string;
  readonly reason: string;
  readonly details: {
    readonly name?: string;
    readonly group?: string;
    readonly kind?: string;
    readonly causes: readonly StatusCause[];
    readonly retryAfterSeconds?: number;
  };
  readonly code: number;
}

export interface Refusal {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
}

/** Some clients show nothing but the message, so everything that one can act on is in it; one paragraph, as kubectl prints it. */
function messageOf({ code, message, detail = '', hint }: KubernetesReport, session: string): string {
  const parts = [message, detail, hint].filter((part) => part !== '').map((part) => part.replace(/\.$/, ''));
  const where = session === '' ? code : `${code}, session ${session}`;
  return neutralise(`sallyport: ${parts.join('. ')} (${where})`);
}

/** The report as a Status. @param session empty where there is none yet */
export function statusOf(report: KubernetesReport, session: string, object?: StatusObject): KubernetesStatus {
  const causes = [
    { reason: 'SallyportCode', message: report.code },
    ...(session === '' ? [] : [{ reason: 'SallyportSession', message: session }]),
    ...(report.causes ?? []).map((cause) => ({ reason: `Sallyport${cause.reason}`, message: cause.message })),
  ].map(({ reason, message }) => ({ reason, message: neutralise(message) }));
  const { retryAfterSeconds } = report;
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message: messageOf(report, session),
    reason: report.reason,
    details: {
      ...(object === undefined || object.name === '' ? {} : { name: object.name }),
      ...(object === undefined || object.group === '' ? {} : { group: object.group }),
      ...(object === undefined || object.kind === '' ? {} : { kind: object.kind }),
      causes,
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    },
    code: report.status,
  };
}

/**
 * The answer of a request that was refused. Always JSON, whatever the client accepts: every client of Kubernetes reads a Status in JSON,
 * those that ask for protobuf too, by its Content-Type.
 */
export function refusalOf(report: KubernetesReport, session: string, object?: StatusObject): Refusal {
  const body = `${JSON.stringify(statusOf(report, session, object))}\n`;
  const headers: [string, string][] = [
    ['content-type', 'application/json'],
    ['cache-control', 'no-cache, private'],
  ];
  if (report.retryAfterSeconds !== undefined) headers.push(['retry-after', String(report.retryAfterSeconds)]);
  if (report.status === 401) headers.push(['www-authenticate', 'Bearer realm="sallyport"']);
  return { status: report.status, headers, body };
}

/** One event of a watch that says why it ends (k8s.io/apimachinery, meta/v1 WatchEvent of type ERROR). */
export function watchEnd(report: KubernetesReport, session: string): string {
  return `${JSON.stringify({ type: 'ERROR', object: statusOf(report, session) })}\n`;
}
