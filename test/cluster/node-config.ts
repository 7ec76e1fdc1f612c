/** Configuration files of a node's parts. */
import path from 'node:path';
import { POD_RANGE } from './components.ts';
import { NODE_ADDRESS } from './network.ts';
import type { KeyPair } from './pki.ts';

const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** containerd 1.6 and 1.7 both read version 2. Everything that it keeps is below the folder. */
export function containerdConfig(folder: string, sandboxImage: string): string {
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  return `version = 2
root = "${folder}/containerd"
state = "${folder}/containerd-state"
[grpc]
  address = "${folder}/containerd.sock"
[${cri}]
  sandbox_image = "${sandboxImage}"
  # A machine that is a container or a sandbox itself may forbid lowering it; runc then fails with "can't get final child's PID".
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [${cri}.cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${folder}/cni"
  [${cri}.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [${cri}.containerd.runtimes.runc.options]
      Root = "${folder}/runc"
`;
}

/** One veth for each pod and routes on the node; addresses by file. No firewall: the tests set rules where they want some. */
export const podNetwork = (folder: string, name: string): string =>
  json({
    cniVersion: '0.4.0',
    name,
    plugins: [
      {
        type: 'ptp',
        ipMasq: false,
        ipam: {
          type: 'host-local',
          ranges: [[{ subnet: POD_RANGE.replace(/0\.0\/16$/, '0.0/24') }]],
          routes: [{ dst: '0.0.0.0/0' }],
          dataDir: path.join(folder, 'cni-addresses'),
        },
      },
    ],
  });

interface KubeletSurroundings {
  readonly folder: string;
  readonly cgroupRoot: string;
  readonly ca: string;
  readonly serving: KeyPair;
}

export const kubeletConfig = ({ folder, cgroupRoot, ca, serving }: KubeletSurroundings): string =>
  json({
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: ca } },
    authorization: { mode: 'Webhook' },
    tlsCertFile: serving.certificate,
    tlsPrivateKeyFile: serving.key,
    address: NODE_ADDRESS,
    healthzPort: 0,
    containerRuntimeEndpoint: `unix://${folder}/containerd.sock`,
    podLogsDir: path.join(folder, 'pod-logs'),
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${cgroupRoot}`,
    enforceNodeAllocatable: [],
    failCgroupV1: false,
    failSwapOn: false,
    clusterDNS: [NODE_ADDRESS],
    clusterDomain: 'cluster.local',
    resolvConf: '',
    // The machine's fullness is not what is tested.
    evictionHard: { 'memory.available': '100Mi', 'nodefs.available': '1%', 'imagefs.available': '1%' },
    imageGCHighThresholdPercent: 100,
    // Tests wait for what these bring.
    syncFrequency: '10s',
    fileCheckFrequency: '0s',
    httpCheckFrequency: '0s',
  });

export const kubeProxyConfig = (kubeconfig: string, node: string): string =>
  json({
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode: 'nftables',
    clusterCIDR: POD_RANGE,
    clientConnection: { kubeconfig },
    hostnameOverride: node,
    bindAddress: NODE_ADDRESS,
    healthzBindAddress: '',
    metricsBindAddress: '',
    // Limits of the whole machine.
    conntrack: { maxPerCore: 0, min: 0 },
  });

export const corefile = (kubeconfig: string): string => `.:53 {
  bind ${NODE_ADDRESS}
  errors
  kubernetes cluster.local in-addr.arpa {
    kubeconfig ${kubeconfig}
  }
}
`;
