/** How each part of the control plane is started. */
import path from 'node:path';
import type { ClusterPki, KeyPair } from './pki.ts';
import type { ComponentPlan } from './processes.ts';

export interface Layout {
  readonly folder: string;
  readonly kubecore: string;
  readonly pki: ClusterPki;
  /** Of the loopback address. */
  readonly etcdPort: number;
  readonly etcdPeerPort: number;
  readonly apiPort: number;
  /** The node's, where there is one. */
  readonly address: string | undefined;
}

export const SERVICE_RANGE = '10.96.0.0/16';
const KUBERNETES_SERVICE = '10.96.0.1';
export const POD_RANGE = '10.244.0.0/16';

/** Names and addresses under which the API server is called. */
export const apiServerHosts = (address: string | undefined): readonly string[] => [
  ...[
    'kubernetes',
    'kubernetes.default',
    'kubernetes.default.svc',
    'kubernetes.default.svc.cluster.local',
    'localhost',
  ].map((name) => `DNS:${name}`),
  ...['127.0.0.1', KUBERNETES_SERVICE, ...(address === undefined ? [] : [address])].map((ip) => `IP:${ip}`),
];

export function etcd({ folder, kubecore, etcdPort, etcdPeerPort }: Layout): ComponentPlan {
  const client = `http://127.0.0.1:${etcdPort}`;
  const peer = `http://127.0.0.1:${etcdPeerPort}`;
  return {
    name: 'etcd',
    command: [
      ...[kubecore, 'etcd', '--data-dir', path.join(folder, 'etcd')],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
      // What a crash of the machine would lose is not missed.
      ...['--unsafe-no-fsync', '--log-level', 'warn'],
    ],
  };
}

export interface ApiServerOptions {
  readonly serving: KeyPair;
  readonly kubeletClient: KeyPair;
  /** File of an audit policy: everything goes to `audit.log` in the folder. */
  readonly auditPolicy: string | undefined;
  readonly flags: readonly string[];
}

export const auditLog = (folder: string): string => path.join(folder, 'audit.log');

export function apiServer(
  layout: Layout,
  { serving, kubeletClient, auditPolicy, flags }: ApiServerOptions,
): ComponentPlan {
  const { folder, kubecore, pki, etcdPort, apiPort, address } = layout;
  const audit = [
    `--audit-policy-file=${auditPolicy}`,
    `--audit-log-path=${auditLog(folder)}`,
    '--audit-log-mode=blocking',
  ];
  return {
    name: 'kube-apiserver',
    command: [
      kubecore,
      'kube-apiserver',
      `--etcd-servers=http://127.0.0.1:${etcdPort}`,
      `--secure-port=${apiPort}`,
      // In a network namespace of its own all addresses are the cluster's; elsewhere nobody but this machine may reach it.
      ...(address === undefined
        ? ['--bind-address=127.0.0.1', '--advertise-address=127.0.0.1', '--endpoint-reconciler-type=none']
        : ['--bind-address=0.0.0.0', `--advertise-address=${address}`]),
      `--cert-dir=${path.join(folder, 'pki')}`,
      `--tls-cert-file=${serving.certificate}`,
      `--tls-private-key-file=${serving.key}`,
      `--client-ca-file=${pki.ca.certificate}`,
      `--service-account-key-file=${pki.tokens.publicKey}`,
      `--service-account-signing-key-file=${pki.tokens.key}`,
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-cluster-ip-range=${SERVICE_RANGE}`,
      '--authorization-mode=Node,RBAC',
      '--enable-admission-plugins=NodeRestriction',
      '--allow-privileged=true',
      `--kubelet-client-certificate=${kubeletClient.certificate}`,
      `--kubelet-client-key=${kubeletClient.key}`,
      `--kubelet-certificate-authority=${pki.ca.certificate}`,
      '--kubelet-preferred-address-types=InternalIP',
      '--profiling=false',
      ...(auditPolicy === undefined ? [] : audit),
      ...flags,
    ],
  };
}

export function controllerManager({ kubecore, pki }: Layout, kubeconfig: string): ComponentPlan {
  return {
    name: 'kube-controller-manager',
    command: [
      kubecore,
      'kube-controller-manager',
      `--kubeconfig=${kubeconfig}`,
      `--service-account-private-key-file=${pki.tokens.key}`,
      `--root-ca-file=${pki.ca.certificate}`,
      `--cluster-signing-cert-file=${pki.ca.certificate}`,
      `--cluster-signing-key-file=${pki.ca.key}`,
      '--use-service-account-credentials',
      '--leader-elect=false',
      '--secure-port=0',
      '--allocate-node-cidrs',
      `--cluster-cidr=${POD_RANGE}`,
      `--service-cluster-ip-range=${SERVICE_RANGE}`,
    ],
  };
}

export function scheduler({ kubecore }: Layout, kubeconfig: string): ComponentPlan {
  return {
    name: 'kube-scheduler',
    command: [kubecore, 'kube-scheduler', `--kubeconfig=${kubeconfig}`, '--leader-elect=false', '--secure-port=0'],
  };
}
