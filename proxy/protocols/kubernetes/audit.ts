import { KUBERNETES_EXTRA } from '../../../api/cluster.ts';
import { ruleName } from '../../../policy/rule.ts';
import type { AuditLevel } from '../../../record/events.ts';
import type { VerifiedIdentity } from '../../ports.ts';
import type { Verdict } from './admission/verdict.ts';
import type { RequestInfo } from './request/request-info.ts';

/**
 * Requests in the shape of audit.k8s.io/v1 (k8s.io/apiserver/pkg/apis/audit/v1/types.go), so that what reads the audit log of an API
 * server reads ours. `auditID` goes to the API server with the request (`Audit-ID`), so that its own audit log has the same. The event of
 * stage `RequestReceived` stands in `command.received`; what is added to it at the end, in `command.executed` or `command.failed`.
 */
export interface AuditEvent {
  readonly kind: 'Event';
  readonly apiVersion: 'audit.k8s.io/v1';
  readonly level: 'Metadata';
  readonly auditID: string;
  readonly stage: 'RequestReceived';
  readonly requestURI?: string;
  readonly verb: string;
  /** As Sallyport knows the caller. */
  readonly user: { readonly username: string; readonly groups?: readonly string[] };
  /** Whom the API server sees, where the connection impersonates. */
  readonly impersonatedUser?: { readonly username: string };
  readonly sourceIPs: readonly string[];
  readonly userAgent?: string;
  readonly objectRef?: AuditObject;
  /** RFC 3339 with microseconds. */
  readonly requestReceivedTimestamp: string;
  readonly stageTimestamp: string;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface AuditObject {
  readonly resource: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly apiGroup?: string;
  readonly apiVersion: string;
  readonly subresource?: string;
}

/** What the end of a request adds to its event. */
export interface AuditEnd {
  readonly auditID: string;
  readonly stage: 'ResponseComplete' | 'Panic';
  readonly responseStatus: { readonly metadata: Readonly<Record<string, never>>; readonly code: number };
  readonly stageTimestamp: string;
}

export interface AuditedRequest {
  readonly auditID: string;
  /** Path and query as they go to the API server. */
  readonly target: string;
  readonly info: RequestInfo | undefined;
  readonly method: string;
  readonly identity: VerifiedIdentity;
  readonly impersonates: boolean;
  /** `ADDRESS:PORT`. */
  readonly peer: string;
  readonly userAgent: string | undefined;
  readonly session: string;
  /** Milliseconds since 1970. */
  readonly receivedAt: number;
  readonly verdict: Verdict | undefined;
}

/** MicroTime of Kubernetes. */
const time = (at: number): string => new Date(at).toISOString().replace('Z', '000Z');

export function auditObject({
  resource,
  namespace,
  name,
  apiGroup,
  apiVersion,
  subresource,
}: RequestInfo): AuditObject {
  return {
    resource,
    ...(namespace === '' ? {} : { namespace }),
    ...(name === '' ? {} : { name }),
    ...(apiGroup === '' ? {} : { apiGroup }),
    apiVersion,
    ...(subresource === '' ? {} : { subresource }),
  };
}

const addressOf = (peer: string): string => peer.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');

export function auditReceived(request: AuditedRequest, level: AuditLevel, now: number): AuditEvent {
  const { info, identity, verdict } = request;
  const { username, groups } = identity.subject;
  const user = { username, ...(groups.length === 0 ? {} : { groups }) };
  return {
    kind: 'Event',
    apiVersion: 'audit.k8s.io/v1',
    level: 'Metadata',
    auditID: request.auditID,
    stage: 'RequestReceived',
    // Selectors and the names of objects are the caller's own words.
    ...(level === 'Metadata' ? {} : { requestURI: request.target }),
    verb: info?.verb ?? request.method.toLowerCase(),
    user,
    ...(request.impersonates ? { impersonatedUser: { username } } : {}),
    sourceIPs: [addressOf(request.peer)],
    ...(request.userAgent === undefined || level === 'Metadata' ? {} : { userAgent: request.userAgent.slice(0, 256) }),
    ...(info?.isResourceRequest === true ? { objectRef: auditObject(info) } : {}),
    requestReceivedTimestamp: time(request.receivedAt),
    stageTimestamp: time(now),
    annotations: annotationsOf(request.session, verdict),
  };
}

function annotationsOf(session: string, verdict: Verdict | undefined): Readonly<Record<string, string>> {
  const rules = verdict?.decision.rules.map(ruleName).join(', ') ?? '';
  return {
    [KUBERNETES_EXTRA.session]: session,
    'sallyport.dev/decision': verdict?.decision.verdict ?? 'Deny',
    ...(rules === '' ? {} : { 'sallyport.dev/rules': rules }),
  };
}

/** @param status that the client got; undefined: no whole answer came */
export function auditEnd(auditID: string, status: number | undefined, now: number): AuditEnd {
  return {
    auditID,
    stage: status === undefined ? 'Panic' : 'ResponseComplete',
    responseStatus: { metadata: {}, code: status ?? 0 },
    stageTimestamp: time(now),
  };
}
