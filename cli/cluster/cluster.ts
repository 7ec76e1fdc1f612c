import type { Command } from 'commander';
import { API_VERSION, DEFAULT_OPERATOR_NAMESPACE, GROUP } from '../../api/cluster.ts';
import type { AccessConnection, AccessPolicy, ApprovalRequest, MaskingRule } from '../../api/resources.ts';
import { type ClusterAccess, loadKubeConfig } from '../../kube/access.ts';
import { createKubeClient } from '../../kube/client.ts';
import { isForbidden, isNotFound } from '../../kube/errors.ts';
import { type KubeClient, type KubeObject, resourceType } from '../../kube/types.ts';
import { CliError } from '../errors.ts';
import type { CliIo } from '../io.ts';
import type { PlaceOptions } from '../places/place-options.ts';
import { packageVersion } from '../version.ts';

const [, VERSION = ''] = API_VERSION.split('/');
const ours = <T extends KubeObject>(plural: string, kind: string) => resourceType<T>(GROUP, VERSION, plural, kind);
export const CONNECTIONS = ours<AccessConnection & KubeObject>('accessconnections', 'AccessConnection');
export const POLICIES = ours<AccessPolicy & KubeObject>('accesspolicies', 'AccessPolicy');
export const MASKING_RULES = ours<MaskingRule & KubeObject>('maskingrules', 'MaskingRule');
export const APPROVAL_REQUESTS = ours<ApprovalRequest & KubeObject>('approvalrequests', 'ApprovalRequest');

/** The flags of kubectl that say which cluster and which namespace. */
export function withClusterOptions(command: Command): Command {
  return command
    .option('--kubeconfig <file>', 'kubeconfig file (default: as kubectl finds it)')
    .option('--context <name>', 'context of the kubeconfig (default: the current one)')
    .option('-n, --namespace <namespace>', 'namespace (default: that of the context)')
    .option('-A, --all-namespaces', 'all namespaces');
}

/** Where the operator is installed, which is where guardrails are too. */
export function withOperatorNamespace(command: Command): Command {
  return command.option(
    '--operator-namespace <namespace>',
    'where Sallyport is installed, with its guardrails',
    DEFAULT_OPERATOR_NAMESPACE,
  );
}

export interface Cluster {
  readonly client: KubeClient;
  readonly access: ClusterAccess;
  /** The one that is meant; undefined with -A. */
  readonly namespace: string | undefined;
  /** The one that a name without a namespace is in. */
  readonly homeNamespace: string;
  readonly operatorNamespace: string;
  /** Flags that make kubectl speak to the same cluster. */
  readonly kubectlFlags: readonly string[];
}

/** @throws KubeError SPB015, SPB016, SPB017 */
export async function openCluster(options: PlaceOptions, io: CliIo): Promise<Cluster> {
  const { kubeconfig, context, operatorNamespace = DEFAULT_OPERATOR_NAMESPACE } = options;
  const access = await loadKubeConfig({ env: io.env, kubeconfig, context, prefer: 'files' });
  const homeNamespace = options.namespace ?? access.namespace ?? 'default';
  return {
    client: createKubeClient({ access, userAgent: `kubectl-sallyport/${packageVersion()}` }),
    access,
    namespace: options.allNamespaces === true ? undefined : homeNamespace,
    homeNamespace,
    operatorNamespace,
    kubectlFlags: [
      ...(kubeconfig === undefined ? [] : ['--kubeconfig', kubeconfig]),
      ...(context === undefined ? [] : ['--context', context]),
    ],
  };
}

/** What may not be read is undefined: who asks is told that it was left out. @throws KubeError of any other kind */
export async function whereAllowed<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (isForbidden(error)) return undefined;
    throw error;
  }
}

/** @throws CliError SPC065 when the cluster has no such resource kinds; KubeError */
export async function listed<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (isNotFound(error)) throw new CliError('SPC065', [GROUP], error);
    throw error;
  }
}
