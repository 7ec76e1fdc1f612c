import { ANNOTATIONS, LABELS, NAMES, PORTS } from '../../api/cluster.ts';
import type { AnyObject } from '../../kube/builtin.ts';
import { credentialSources } from './credential-volume.ts';
import { labelsOf, podLabels } from './labels.ts';
import { CONTAINER_SECURITY, KEY_MODE, NOT_OF_THE_NODE, POD_SECURITY } from './pod-security.ts';
import { configurationHash, PROXY_CONFIGURATION_FILE } from './proxy-configuration.ts';
import type { ProxyInputs } from './proxy-inputs.ts';

const PATHS = {
  state: '/var/lib/sallyport',
  credentials: '/var/run/sallyport/credentials',
  tls: '/var/run/sallyport/tls',
  tokenKey: '/var/run/sallyport/token-key',
  configuration: '/etc/sallyport/proxy',
} as const;

/** Until a proxy that stops is killed: sessions end by themselves, and what is left of the record goes to the archive. */
const GRACE_SECONDS = 300;
/** The record that the archive does not have yet. */
const STATE_LIMIT = '4Gi';

const field = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });

function argumentsOf(inputs: ProxyInputs): string[] {
  const { operatorNamespace } = inputs;
  return [
    'proxy',
    ...inputs.trustedKeys.flatMap((key) => ['--trusted-key', key]),
    '--operator-namespace',
    operatorNamespace,
    '--archive',
    `https://${NAMES.archive}.${operatorNamespace}.svc:${PORTS.archive}`,
    '--state',
    PATHS.state,
    '--credentials',
    PATHS.credentials,
    '--tls',
    PATHS.tls,
    '--token-key',
    `${PATHS.tokenKey}/key`,
    ...(inputs.configuration === undefined ? [] : ['--config', `${PATHS.configuration}/${PROXY_CONFIGURATION_FILE}`]),
    ...inputs.extraArguments,
  ];
}

/** The proxies of one namespace. */
export function proxyDeployment(inputs: ProxyInputs): AnyObject {
  const { namespace, owners, replicas, configuration } = inputs;
  const selector = podLabels(NAMES.proxy, 'proxy');
  const labels = labelsOf(NAMES.proxy, 'proxy', namespace);
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: NAMES.proxy, namespace, labels, ownerReferences: owners },
    spec: {
      replicas,
      revisionHistoryLimit: 2,
      // A new replica takes sessions before an old one stops taking them.
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
      selector: { matchLabels: selector },
      template: {
        // Also in a namespace whose pods get connectors: a proxy is no agent.
        metadata: {
          labels: { ...labels, [LABELS.inject]: 'false' },
          annotations: {
            'kubectl.kubernetes.io/default-container': 'proxy',
            ...(configuration === undefined
              ? {}
              : { [ANNOTATIONS.configurationHash]: configurationHash(configuration) }),
          },
        },
        spec: {
          serviceAccountName: NAMES.proxy,
          automountServiceAccountToken: true,
          enableServiceLinks: false,
          terminationGracePeriodSeconds: GRACE_SECONDS,
          securityContext: POD_SECURITY,
          ...NOT_OF_THE_NODE,
          topologySpreadConstraints: ['kubernetes.io/hostname', 'topology.kubernetes.io/zone'].map((topologyKey) => ({
            maxSkew: 1,
            topologyKey,
            whenUnsatisfiable: 'ScheduleAnyway',
            labelSelector: { matchLabels: selector },
          })),
          initContainers: [],
          containers: [container(inputs)],
          volumes: volumes(inputs),
        },
      },
    },
  };
}

function container(inputs: ProxyInputs): Record<string, unknown> {
  const probe = (path: string) => ({ httpGet: { path, port: 'metrics' } });
  return {
    name: 'proxy',
    image: inputs.image,
    imagePullPolicy: inputs.imagePullPolicy,
    args: argumentsOf(inputs),
    env: [
      field('POD_NAME', 'metadata.name'),
      field('POD_NAMESPACE', 'metadata.namespace'),
      field('POD_IP', 'status.podIP'),
      field('POD_UID', 'metadata.uid'),
      field('NODE_NAME', 'spec.nodeName'),
    ],
    ports: [
      { name: 'tunnel', containerPort: PORTS.tunnel, protocol: 'TCP' },
      { name: 'metrics', containerPort: PORTS.metrics, protocol: 'TCP' },
    ],
    startupProbe: { ...probe('/healthz'), periodSeconds: 1, failureThreshold: 60 },
    readinessProbe: { ...probe('/readyz'), periodSeconds: 2, failureThreshold: 2 },
    livenessProbe: { ...probe('/healthz'), periodSeconds: 10, failureThreshold: 3 },
    resources: { requests: { cpu: '100m', memory: '160Mi' }, limits: { memory: '768Mi' } },
    securityContext: CONTAINER_SECURITY,
    volumeMounts: [
      { name: 'state', mountPath: PATHS.state },
      { name: 'credentials', mountPath: PATHS.credentials, readOnly: true },
      { name: 'tls', mountPath: PATHS.tls, readOnly: true },
      { name: 'token-key', mountPath: PATHS.tokenKey, readOnly: true },
      ...(inputs.configuration === undefined
        ? []
        : [{ name: 'configuration', mountPath: PATHS.configuration, readOnly: true }]),
    ],
  };
}

function volumes(inputs: ProxyInputs): Record<string, unknown>[] {
  return [
    { name: 'state', emptyDir: { sizeLimit: STATE_LIMIT } },
    {
      name: 'credentials',
      projected: { defaultMode: KEY_MODE, sources: credentialSources(inputs.connections, inputs.maskingRules) },
    },
    { name: 'tls', secret: { secretName: NAMES.proxyTls, defaultMode: KEY_MODE } },
    { name: 'token-key', secret: { secretName: NAMES.tokenKey, defaultMode: KEY_MODE } },
    ...(inputs.configuration === undefined
      ? []
      : [{ name: 'configuration', configMap: { name: NAMES.proxyConfiguration } }]),
  ];
}
