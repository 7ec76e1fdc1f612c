import { AUDIENCE, NAMES, PORTS, SSH_HOST } from '../../../api/cluster.ts';
import type { InjectionPlan } from './plan.ts';
import type { Container, EnvVar, Named, VolumeMount } from './pod.ts';

/** The pieces that an injected pod gets, each by its name. */

/** Volumes. What begins with `sallyport-` belongs to injection. */
export const VOLUMES = {
  token: 'sallyport-token',
  ca: 'sallyport-ca',
  trust: 'sallyport-trust',
  apiAccess: 'sallyport-api-access',
  gateway: 'sallyport-gateway',
  ssh: 'sallyport-ssh',
} as const;

/** Where the API server's admission mounts tokens, and where clients look for them. */
export const API_ACCESS_PATH = '/var/run/secrets/kubernetes.io/serviceaccount';
const RUN = '/var/run/sallyport';
const TRUST_BUNDLE = `${RUN}/trust/ca-bundle.crt`;
const TOKEN_SECONDS = 600;
/** 65532 is the image's own user; named here because the pod may ask for another. */
const CONNECTOR_USER = 65532;

/** Audiences of API servers that were set up as kubeadm does it. */
const API_AUDIENCE = /^https:\/\/kubernetes\.default\.svc(\.|$)/;

/** Whether the kubelet puts a token for the API server into this volume: one without an audience is for it. */
export function holdsApiToken(volume: Named): boolean {
  const { sources } = (volume['projected'] ?? {}) as { readonly sources?: unknown };
  if (!Array.isArray(sources)) return false;
  return (
    sources as readonly ({ readonly serviceAccountToken?: { readonly audience?: unknown } | null } | null)[]
  ).some((source) => {
    const token = source?.serviceAccountToken;
    if (token === undefined || token === null) return false;
    const { audience = '' } = token;
    return audience === '' || audience === null || API_AUDIENCE.test(String(audience));
  });
}

export const isApiAccess = (path: string): boolean => path.replace(/\/+$/, '') === API_ACCESS_PATH;

export interface Injector {
  /** Image of the connector. */
  readonly image: string;
  readonly version: string;
}

/** Bound to the pod, for Sallyport alone; the kubelet renews it when 80 % of its life are over. */
const tokenSource = { serviceAccountToken: { audience: AUDIENCE, expirationSeconds: TOKEN_SECONDS, path: 'token' } };
const caSource = { configMap: { name: NAMES.ca, items: [{ key: 'ca.crt', path: 'ca.crt' }] } };
const namespaceSource = {
  downwardAPI: { items: [{ path: 'namespace', fieldRef: { fieldPath: 'metadata.namespace' } }] },
};

const readOnly = (name: string, mountPath: string): VolumeMount => ({ name, mountPath, readOnly: true });

/** A native sidecar: it starts before every other container, and the kubelet ends it after them. */
export function connectorContainer({ config }: InjectionPlan, { image, version }: Injector): Container {
  return {
    name: NAMES.connector,
    image,
    imagePullPolicy: 'IfNotPresent',
    restartPolicy: 'Always',
    env: [
      { name: 'SALLYPORT_CONNECTOR', value: JSON.stringify(config) },
      { name: 'SALLYPORT_VERSION', value: version },
      // It moves bytes and computes nothing: without compilers 4 MB less, and no memory that is writable and executable.
      { name: 'NODE_OPTIONS', value: '--jitless' },
    ],
    startupProbe: {
      httpGet: { path: '/readyz', port: PORTS.connectorHealth },
      periodSeconds: 1,
      failureThreshold: 120,
    },
    resources: { requests: { cpu: '10m', memory: '64Mi' }, limits: { memory: '128Mi' } },
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
      runAsUser: CONNECTOR_USER,
      runAsGroup: CONNECTOR_USER,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    terminationMessagePolicy: 'FallbackToLogsOnError',
    volumeMounts: [
      readOnly(VOLUMES.token, `${RUN}/token`),
      readOnly(VOLUMES.ca, `${RUN}/ca`),
      { name: VOLUMES.trust, mountPath: `${RUN}/trust` },
      // Admission gives the API server's token to every container that has nothing at this place; the connector needs none.
      readOnly(VOLUMES.ca, API_ACCESS_PATH),
    ],
  };
}

export function injectedVolumes(plan: InjectionPlan, hasConnector: boolean): Named[] {
  return [
    ...(hasConnector
      ? [
          { name: VOLUMES.token, projected: { sources: [tokenSource] } },
          { name: VOLUMES.ca, configMap: { name: NAMES.ca } },
          { name: VOLUMES.trust, emptyDir: { sizeLimit: '4Mi' } },
        ]
      : []),
    ...(plan.apiServer === undefined
      ? []
      : [{ name: VOLUMES.apiAccess, projected: { sources: [tokenSource, caSource, namespaceSource] } }]),
    ...(plan.gateways.length === 0 ? [] : [{ name: VOLUMES.gateway, projected: { sources: [tokenSource, caSource] } }]),
    ...(plan.ssh === true ? [{ name: VOLUMES.ssh, configMap: { name: NAMES.ca, items: [KNOWN_HOSTS] } }] : []),
  ];
}

const KNOWN_HOSTS = { key: SSH_HOST.knownHosts, path: SSH_HOST.knownHosts };
/** What OpenSSH reads besides the user's own file (ssh(1), FILES). */
const KNOWN_HOSTS_PATH = '/etc/ssh/ssh_known_hosts';

/**
 * The authority of host keys, where SSH clients look for it. In place of the image's own file, and beside its other files: that is why it
 * is one file, which does not follow changes while the pod lives. A container that has a volume there keeps what it has.
 */
export function knownHostsMounts(plan: InjectionPlan, mounts: readonly VolumeMount[]): VolumeMount[] {
  const taken = mounts.some(({ mountPath }) => {
    const path = mountPath.replace(/\/+$/, '');
    return path === KNOWN_HOSTS_PATH || KNOWN_HOSTS_PATH.startsWith(`${path}/`);
  });
  if (plan.ssh !== true || taken) return [];
  return [{ ...readOnly(VOLUMES.ssh, KNOWN_HOSTS_PATH), subPath: SSH_HOST.knownHosts }];
}

export function agentMounts(plan: InjectionPlan, hasConnector: boolean): VolumeMount[] {
  return [
    ...(hasConnector ? [readOnly(VOLUMES.trust, `${RUN}/trust`)] : []),
    ...(plan.gateways.length === 0 ? [] : [readOnly(VOLUMES.gateway, `${RUN}/gateway`)]),
  ];
}

/** OpenSSL and Go; Node; Python's requests; curl; git; the SDKs of AWS; Deno. */
const TRUST_VARIABLES = [
  'SSL_CERT_FILE',
  'NODE_EXTRA_CA_CERTS',
  'REQUESTS_CA_BUNDLE',
  'CURL_CA_BUNDLE',
  'GIT_SSL_CAINFO',
  'AWS_CA_BUNDLE',
  'DENO_CERT',
].map((name) => ({ name, value: TRUST_BUNDLE }));
const GATEWAY_VARIABLES = [
  { name: 'SALLYPORT_TOKEN_FILE', value: `${RUN}/gateway/token` },
  { name: 'SALLYPORT_CA_FILE', value: `${RUN}/gateway/ca.crt` },
];
/** Variables that name files of ours. */
export const ENVIRONMENT_FILES: readonly EnvVar[] = [...TRUST_VARIABLES, ...GATEWAY_VARIABLES];

/** Set where the container does not set them itself. */
export function agentEnvironment({ apiServer, gateways }: InjectionPlan, hasConnector: boolean): EnvVar[] {
  return [
    ...(hasConnector ? TRUST_VARIABLES : []),
    ...(apiServer === undefined
      ? []
      : [
          { name: 'KUBERNETES_SERVICE_HOST', value: apiServer.host },
          { name: 'KUBERNETES_SERVICE_PORT', value: String(apiServer.port) },
          { name: 'KUBERNETES_SERVICE_PORT_HTTPS', value: String(apiServer.port) },
        ]),
    ...(gateways.length === 0 ? [] : GATEWAY_VARIABLES),
  ];
}
