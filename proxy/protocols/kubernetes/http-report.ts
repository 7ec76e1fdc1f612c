import type { HttpReport } from '../http/core/errors.ts';
import type { KubernetesReport, StatusReason } from './errors.ts';

export type HttpReportLike = HttpReport;

/** The reasons that API machinery itself gives these statuses (k8s.io/apimachinery, api/errors NewGenericServerResponse). */
const REASONS: Readonly<Record<number, StatusReason>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  408: 'Timeout',
  413: 'RequestEntityTooLarge',
  429: 'TooManyRequests',
  502: 'ServiceUnavailable',
  503: 'ServiceUnavailable',
  504: 'Timeout',
};

/** What the part of the lanes over HTTP that knows nothing of Kubernetes tells, as clients of Kubernetes are told it. */
export function ofHttp({ code, status, message, detail, hint }: HttpReport): KubernetesReport {
  const reason = REASONS[status] ?? (status < 500 ? 'BadRequest' : 'InternalError');
  return { code, status, reason, message, hint, ...(detail === undefined ? {} : { detail }) };
}
