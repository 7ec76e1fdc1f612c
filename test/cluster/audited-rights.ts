/** Rights and what was done with them: rules of RBAC against the audit log of an API server. */

export interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

export interface AuditedRequest {
  readonly user: string;
  readonly group: string;
  /** With its subresource, `accessconnections/status`. */
  readonly resource: string;
  readonly name: string | undefined;
  readonly namespace: string | undefined;
  readonly verb: string;
  readonly code: number;
}

interface AuditEvent {
  readonly user: { readonly username: string };
  readonly verb: string;
  readonly objectRef?: {
    readonly apiGroup?: string;
    readonly resource?: string;
    readonly subresource?: string;
    readonly name?: string;
    readonly namespace?: string;
  };
  readonly responseStatus?: { readonly code?: number };
  readonly requestReceivedTimestamp: string;
}

/** As RBAC does it: group, resource, verb, and the name where the rule has names. */
export const allows = (rule: Rule, { group, resource, name, verb }: AuditedRequest): boolean =>
  rule.apiGroups.includes(group) &&
  rule.resources.includes(resource) &&
  rule.verbs.includes(verb) &&
  (rule.resourceNames === undefined || (name !== undefined && rule.resourceNames.includes(name)));

/** Requests for resources, of everybody. @param events lines of the log. @param outages what was asked within them does not count */
export function auditedRequests(
  events: readonly object[],
  outages: readonly { readonly from: Date; readonly to: Date }[] = [],
): readonly AuditedRequest[] {
  return (events as readonly AuditEvent[]).flatMap(({ user, verb, objectRef, responseStatus, ...event }) => {
    if (objectRef?.resource === undefined) return [];
    const at = new Date(event.requestReceivedTimestamp);
    if (outages.some(({ from, to }) => at >= from && at <= to)) return [];
    const { apiGroup = '', resource, subresource, name, namespace } = objectRef;
    const request = {
      user: user.username,
      group: apiGroup,
      resource: subresource === undefined ? resource : `${resource}/${subresource}`,
      name,
      namespace,
      verb,
      code: responseStatus?.code ?? 0,
    };
    // Server-side apply of what is not there needs both verbs, and the log names one.
    return verb === 'patch' && request.code === 201 ? [request, { ...request, verb: 'create' }] : [request];
  });
}

/**
 * Verbs of rules without which all of these requests would have been allowed just the same, as `VERB RESOURCE`.
 * @param applies whether a rule is in force where the request was made; default everywhere
 */
export function needlessVerbs(
  rules: readonly Rule[],
  requests: readonly AuditedRequest[],
  applies: (rule: Rule, request: AuditedRequest) => boolean = () => true,
): readonly string[] {
  const permits = (rule: Rule, request: AuditedRequest): boolean => applies(rule, request) && allows(rule, request);
  return rules.flatMap((rule) =>
    rule.resources.flatMap((resource) =>
      rule.verbs
        .filter((verb) =>
          requests
            .filter((request) => request.resource === resource && request.verb === verb && permits(rule, request))
            .every((request) => rules.some((other) => other !== rule && permits(other, request))),
        )
        .map((verb) => `${verb} ${resource}`),
    ),
  );
}
