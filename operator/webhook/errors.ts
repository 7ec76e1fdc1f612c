/** Why a pod gets no connector, and why a review could not be judged: one table. `{}` is filled, in order. */
export const WEBHOOK_ERRORS = {
  SPW001: {
    message: 'the pod uses hostNetwork, so that it has no addresses of its own for the connector',
    hint: 'Remove hostNetwork, or use a connection with routing: Gateway and the label sallyport.dev/inject: "false".',
  },
  SPW002: {
    message: 'the pod uses hostPID, so that it could reach into the connector of any pod of its node',
    hint: 'Remove hostPID.',
  },
  SPW003: {
    message: "the pod uses shareProcessNamespace, so that its containers could read the connector's memory and token",
    hint: 'Remove shareProcessNamespace.',
  },
  SPW004: {
    message: 'container {} adds the capability {}, with which it could go around the connector',
    hint: 'Remove it from securityContext.capabilities.add.',
  },
  SPW005: {
    message: 'container {} is privileged, so that it could go around the connector',
    hint: 'Remove securityContext.privileged.',
  },
  SPW006: {
    message: 'the pod has a container called {}, and it is not the one that Sallyport injects',
    hint: 'Give it another name.',
  },
  SPW007: {
    message: 'the pod has a volume called {}, and it is not the one that Sallyport injects',
    hint: 'Give it another name; names that begin with sallyport- are taken.',
  },
  SPW008: {
    message: 'the pod cannot do without connection {}, which does not exist or does not allow namespace {}',
    hint: 'Create the AccessConnection, set its allowedNamespaces, or take it out of the annotation sallyport.dev/connections.',
  },
  SPW009: {
    message: 'the annotation sallyport.dev/connections is not a list of NAME or NAMESPACE/NAME: {}',
    hint: 'Write names separated by commas, such as orders,platform/warehouse.',
  },
  SPW010: {
    message: 'connection {} has an address as its target ({}), and a connector needs a name',
    hint: 'Use a DNS name as target.host, or routing: Gateway.',
  },
  SPW011: {
    message: 'hostAliases of the pod say where {} is, which is the target of connection {}',
    hint: 'Remove the alias: the connector answers for that name.',
  },
  SPW012: {
    message:
      'the pod sets the sysctl net.ipv4.ip_unprivileged_port_start to {}, and the connector has to listen on port {}',
    hint: 'Remove the sysctl, or set it to 0.',
  },
  SPW013: {
    message: 'namespace {} may use so many connections that their list ({} bytes) does not fit into a pod',
    hint: 'Narrow allowedNamespaces of connections that are not meant for it.',
  },
  SPW014: {
    message: 'a volume is mounted at {} in container {}, where Sallyport puts its own',
    hint: 'Mount it elsewhere.',
  },
  SPW015: {
    message: 'the pod is for Windows, where the connector does not run',
    hint: 'Use routing: Gateway and the label sallyport.dev/inject: "false".',
  },
  SPW016: {
    message: 'port {} of the target of connection {} is the one where the connector answers the kubelet',
    hint: 'Use routing: Gateway for this connection.',
  },
  SPW017: {
    message: 'connection {} is for {}, and so is {}, which serves this pod',
    hint: 'Narrow allowedNamespaces of one of the two, so that a pod may use one only.',
  },
  SPW018: {
    message: 'hostAliases of the pod use {}, an address on which connectors listen',
    hint: 'Remove the alias, or use another address.',
  },
  SPW019: {
    message: 'connection {} has {} as its target, a name that no connector may answer for',
    hint: "Names of Sallyport's own Services, and localhost, are no targets.",
  },
  SPW020: {
    message: 'what was sent is not a pod',
    hint: 'The webhook configuration asks for pods alone: compare it with the one of the installation.',
  },
  SPW021: {
    message: 'namespace {} and the connections are not known yet, because the operator has just started',
    hint: 'Try again in a moment.',
  },
  SPW022: {
    message: 'the request could not be judged',
    hint: 'Look for this code in the log of the operator.',
  },
  SPW023: {
    message: 'the request was not judged within {} ms',
    hint: 'Try again; look at the load of the operator.',
  },
  SPW024: {
    message:
      'volume {}, mounted at {} in container {}, has a token with which the pod could go past Sallyport to the API server',
    hint: 'Mount it at /var/run/secrets/kubernetes.io/serviceaccount, where it gets one for Sallyport instead, or give the token an audience.',
  },
  SPW030: {
    message: 'the certificate of the webhooks cannot be made: {}',
    hint: 'Check the Secret sallyport-keys in the namespace of the operator.',
  },
  SPW031: {
    message: 'caBundle of {} cannot be written: {}',
    hint: 'Check that the operator may get and update this webhook configuration.',
  },
  // The fence says these itself (charts/sallyport/templates/fences/agent-pods.yaml), without the operator.
  SPW060: {
    message: 'the pod asks for a connector and has none',
    hint: "The operator's webhook did not change it: look whether its configuration is there, with kubectl sallyport doctor.",
  },
  SPW061: {
    message: 'a pod with a connector uses neither hostNetwork, hostPID nor shareProcessNamespace',
    hint: 'Remove it from the pod, or find the webhook that added it.',
  },
  SPW062: {
    message: 'no container beside a connector is privileged or has NET_ADMIN, SYS_PTRACE or SYS_ADMIN',
    hint: 'Remove it from the container, or find the webhook that added it.',
  },
  SPW063: {
    message: 'the token of the connector is mounted in the connector alone, and nobody looks into its processes',
    hint: 'Remove the mount, or the target of the ephemeral container.',
  },
} as const;

export type WebhookErrorCode = keyof typeof WEBHOOK_ERRORS;

/** Message and advice of a code, filled in. */
export function webhookMessage(code: WebhookErrorCode, fills: readonly (string | number)[] = []): string {
  let next = 0;
  const row = WEBHOOK_ERRORS[code];
  return `${row.message.replaceAll('{}', () => String(fills[next++] ?? ''))}. ${row.hint}`;
}

/** Something of the webhooks themselves failed. */
export class WebhookError extends Error {
  override readonly name = 'WebhookError';
  readonly code: WebhookErrorCode;

  constructor(code: WebhookErrorCode, fills: readonly (string | number)[] = [], cause?: unknown) {
    super(webhookMessage(code, fills), cause === undefined ? undefined : { cause });
    this.code = code;
  }
}
