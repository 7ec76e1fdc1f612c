/** A network namespace for a node, so that nothing changes on the machine and two nodes may have the same addresses. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Of the node. The kubelet refuses a loopback address. */
export const NODE_ADDRESS = '10.99.0.1';
/** Nobody: packets to the rest of the world have a way out and get no answer. */
const NOWHERE = '10.99.0.2';

export interface ClusterNetwork {
  readonly name: string;
  /** Of the namespace, as `nsenter --net=` takes it. */
  readonly file: string;
}

export const networkName = (folder: string): string => path.basename(folder);

/** The command in the namespace. `nsenter`, because `ip netns exec` hides the cgroup mounts. */
export function insideOf(network: ClusterNetwork | undefined) {
  return (program: string, parameters: readonly string[]): readonly [string, readonly string[]] =>
    network === undefined
      ? [program, parameters]
      : ['nsenter', [`--net=${network.file}`, '--', program, ...parameters]];
}

export async function createNetwork(folder: string): Promise<ClusterNetwork> {
  const name = networkName(folder);
  const network = { name, file: `/run/netns/${name}` };
  await run('ip', ['netns', 'add', name]);
  const steps = [
    'ip link set lo up',
    // A bridge with a veth in it, because a bridge without ports has no carrier.
    'ip link add node0 type bridge',
    `ip addr add ${NODE_ADDRESS}/24 dev node0`,
    'ip link add node1 type veth peer name node2',
    'ip link set node1 master node0',
    'ip link set node1 up',
    'ip link set node2 up',
    'ip link set node0 up',
    `ip route add default via ${NOWHERE} dev node0`,
    'sysctl -qw net.ipv4.ip_forward=1',
  ];
  for (const step of steps) {
    const [program = '', ...parameters] = step.split(' ');
    const [entered, rest] = insideOf(network)(program, parameters);
    await run(entered, rest);
  }
  return network;
}
