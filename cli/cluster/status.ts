import { type Command, Option } from 'commander';
import type { ProxyReport } from '../../api/bundle-document.ts';
import { ANNOTATIONS, LABELS, NAMES } from '../../api/cluster.ts';
import type { AccessConnection, AccessPolicy, ApprovalRequest, MaskingRule } from '../../api/resources.ts';
import { isOpen, stateOf } from '../../approval/state.ts';
import { CONFIG_MAPS, type ConfigMap, LEASES, type Lease } from '../../kube/builtin.ts';
import { painter } from '../commands/explain-format.ts';
import type { CliIo } from '../io.ts';
import { OUTPUTS, type Output, objectText } from '../output.ts';
import type { PlaceOptions } from '../places/place-options.ts';
import {
  APPROVAL_REQUESTS,
  type Cluster,
  CONNECTIONS,
  listed,
  MASKING_RULES,
  openCluster,
  POLICIES,
  whereAllowed,
  withClusterOptions,
} from './cluster.ts';
import { statusText } from './status-format.ts';

interface StatusOptions extends PlaceOptions {
  readonly output: Output;
}

/** A proxy replica as its Lease tells of it. */
export interface ReplicaStatus {
  readonly name: string;
  /** RFC 3339; undefined: it has said nothing yet. */
  readonly renewed: string | undefined;
  /** No renewal for longer than its Lease lasts. */
  readonly silent: boolean;
  readonly bundle: string | undefined;
  readonly report: ProxyReport | undefined;
}

/** What one namespace of connections is up to. */
export interface NamespaceStatus {
  readonly namespace: string;
  readonly connections: readonly AccessConnection[];
  readonly policies: readonly AccessPolicy[];
  readonly maskingRules: readonly MaskingRule[];
  /** Hash of the bundle that the operator has written; undefined: none. */
  readonly bundle: string | undefined;
  /** Undefined: they may not be read. */
  readonly proxies: readonly ReplicaStatus[] | undefined;
  readonly requests: readonly ApprovalRequest[] | undefined;
}

const EXAMPLES = `
Exit status: 0 when every connection is ready, 1 when one is not.

Examples:
  kubectl sallyport status
  kubectl sallyport status -A
  kubectl sallyport status -n shop -o json`;

/** Adds `status`. */
export function registerStatus(program: Command, io: CliIo): void {
  withClusterOptions(
    program
      .command('status')
      .description('Show connections, policies, what keeps them from working, proxies, and what waits for approval'),
  )
    .addOption(new Option('-o, --output <format>', 'output format').choices(OUTPUTS).default('text'))
    .addHelpText('after', EXAMPLES)
    .action((options: StatusOptions) => status(options, io));
}

async function status(options: StatusOptions, io: CliIo): Promise<void> {
  const cluster = await openCluster(options, io);
  const now = Date.now();
  const statuses = await readStatus(cluster, now);
  if (options.output === 'text')
    io.stdout.write(statusText(statuses, cluster.namespace, painter(io.isTTY && !io.env['NO_COLOR'])));
  else for (const each of statuses) io.stdout.write(objectText(each, options.output));
  const ready = statuses.flatMap(({ connections }) => connections).every(isReady);
  io.setExitCode(ready ? 0 : 1);
}

export function isReady({ metadata, status: told }: AccessConnection): boolean {
  const condition = told?.conditions?.find(({ type }) => type === 'Ready');
  return condition?.status === 'True' && (condition.observedGeneration ?? 0) >= (metadata.generation ?? 0);
}

/** By namespace, in the order of their names. @throws KubeError; CliError SPC065 */
export async function readStatus({ client, namespace }: Cluster, now: number): Promise<NamespaceStatus[]> {
  const place = namespace === undefined ? {} : { namespace };
  const [connections, policies, maskingRules, requests, leases, bundles] = await Promise.all([
    listed(() => client.listAll(CONNECTIONS, place)),
    listed(() => client.listAll(POLICIES, place)),
    listed(() => client.listAll(MASKING_RULES, place)),
    whereAllowed(() => listed(() => client.listAll(APPROVAL_REQUESTS, place))),
    whereAllowed(() => client.listAll(LEASES, { ...place, labelSelector: `${LABELS.name}=${NAMES.proxy}` })),
    whereAllowed(() => client.listAll(CONFIG_MAPS, { ...place, fieldSelector: `metadata.name=${NAMES.bundle}` })),
  ]);
  const named = [...connections.items, ...policies.items, ...maskingRules.items].map(
    ({ metadata }) => metadata.namespace,
  );
  return [...new Set(named)].sort().map((name) => {
    const here = <T extends { readonly metadata: { readonly namespace?: string } }>(items: readonly T[]): T[] =>
      items.filter(({ metadata }) => metadata.namespace === name);
    return {
      namespace: name,
      connections: here(connections.items),
      policies: here(policies.items),
      maskingRules: here(maskingRules.items),
      bundle: bundleHash(here(bundles?.items ?? [])[0]),
      proxies: leases === undefined ? undefined : here(leases.items).map((lease) => replicaOf(lease, now)),
      requests: requests === undefined ? undefined : here(requests.items).filter((request) => isWaiting(request, now)),
    };
  });
}

const isWaiting = (request: ApprovalRequest, now: number): boolean =>
  isOpen(stateOf(request)) && Date.parse(request.spec.expiresAt) > now;

const bundleHash = (configMap: ConfigMap | undefined): string | undefined =>
  configMap?.metadata.annotations?.[ANNOTATIONS.bundleHash] ?? configMap?.data?.['hash'];

function replicaOf({ metadata, spec }: Lease, now: number): ReplicaStatus {
  const renewed = spec?.renewTime ?? undefined;
  const lasts = (spec?.leaseDurationSeconds ?? 0) * 1000;
  return {
    name: spec?.holderIdentity ?? metadata.name,
    renewed,
    silent: renewed === undefined || Date.parse(renewed) + lasts < now,
    bundle: metadata.annotations?.[ANNOTATIONS.bundleHash],
    report: reportOf(metadata.annotations?.[ANNOTATIONS.proxyReport]),
  };
}

/** Written by a proxy: what is not as it should be is not shown. */
function reportOf(text: string | undefined): ProxyReport | undefined {
  try {
    const value: unknown = JSON.parse(text ?? 'null');
    const whole =
      typeof value === 'object' && value !== null && ['sessions', 'egress', 'problems'].every((name) => name in value);
    return whole ? (value as ProxyReport) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
