import { ANNOTATIONS, LABELS, NAMES } from '../../api/cluster.ts';
import type { AccessConnection, AccessPolicy, MaskingRule, Problem } from '../../api/resources.ts';
import { CONFIG_MAPS, DEPLOYMENTS, type Deployment } from '../../kube/builtin.ts';
import { type Controller, createController, type ReconcileResult } from '../../kube/controller.ts';
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import { compile } from '../../policy/compile.ts';
import { selectsConnection } from '../../policy/select-connection.ts';
import { allowedNamespaces } from '../bundle/document.ts';
import type { AgentPod, ControllerContext, Stored } from '../context.ts';
import { ACCESS_CONNECTIONS, ACCESS_POLICIES, MASKING_RULES } from '../resources.ts';
import { connectionFindings, type ProxyState, type SidecarState, sessionsOf } from '../status/connection.ts';
import { createLeaseLives, type LeaseLives } from '../status/lease-lives.ts';
import { maskingReport, maskingStatus, ruleColumns } from '../status/masking.ts';
import { policyFindings, proxyCount } from '../status/policy.ts';
import { reportOf } from '../status/reports.ts';
import { createStatusWriter, type StatusWriter } from '../status/writer.ts';
import { presentBundle } from './bundle.ts';
import { followSpec } from './follow.ts';

/** Tells injected pods that would be injected differently today; undefined: has no connector. */
export type JudgePod = (pod: AgentPod) => 'Current' | 'Outdated' | 'Changed' | undefined;

export interface StatusOptions {
  /** A judge of all pods as connections and namespaces are now. */
  readonly judge: () => JudgePod;
}

/** Writes the status of AccessConnections, AccessPolicies and MaskingRules. Key: their namespace. */
export function createStatusController(context: ControllerContext, options: StatusOptions): Controller {
  const { connections, policies, maskingRules, leases, pods, failures, log, metrics } = context;
  const writer = createStatusWriter(context);
  const lives = createLeaseLives(leases, context.now);
  const controller = createController({
    name: 'status',
    workers: 2,
    log,
    metrics,
    reconcile: (key, signal) => reconcileStatus(context, options, { writer, lives }, key, signal),
  });
  const all = (): Set<string> =>
    new Set(
      [...connections.list(), ...policies.list(), ...maskingRules.list()].map(({ metadata }) => metadata.namespace),
    );
  // Guardrails are about every namespace, and every namespace about guardrails.
  const concerned = (namespace: string): Iterable<string> =>
    namespace === context.namespace ? all() : [namespace, context.namespace];
  for (const copy of [connections, policies, maskingRules] as const) {
    followSpec(controller, copy as unknown as typeof connections, ({ metadata }) => concerned(metadata.namespace));
  }
  const both = (namespace: string | undefined): string[] =>
    namespace === undefined ? [] : [...new Set([namespace, context.namespace])];
  for (const { metadata } of leases.list()) for (const key of both(metadata.namespace)) controller.add(key);
  leases.onChange((change) => {
    const { namespace = '', annotations } = change.object.metadata;
    const before = change.type === 'updated' ? change.previous.metadata.annotations : undefined;
    // That a Lease was renewed says nothing new, and happens all the time; its end is waited for by a timer.
    if (before !== undefined && before[ANNOTATIONS.proxyReport] === annotations?.[ANNOTATIONS.proxyReport]) return;
    controller.add(namespace);
    if (before?.[ANNOTATIONS.bundleHash] !== annotations?.[ANNOTATIONS.bundleHash]) controller.add(context.namespace);
  });
  followSpec(controller, context.applier.copy(DEPLOYMENTS), ({ metadata }) => both(metadata.namespace));
  context.applier.copy(DEPLOYMENTS).onChange((change) => {
    const before = change.type === 'updated' ? blockedBy(change.previous) : undefined;
    if (change.type !== 'deleted' && before !== blockedBy(change.object))
      for (const key of both(change.object.metadata.namespace)) controller.add(key);
  });
  controller.follow(context.applier.copy(CONFIG_MAPS), ({ metadata }) =>
    metadata.name === NAMES.bundle ? both(metadata.namespace) : [],
  );
  failures.onChange((namespace) => {
    controller.add(namespace);
    controller.add(context.namespace);
  });
  pods.onChange((change) => {
    const before = change.type === 'updated' ? change.previous : undefined;
    if (before !== undefined && podEssence(before) === podEssence(change.object)) return;
    if (change.object.metadata.annotations?.[ANNOTATIONS.injectedVersion] === undefined) return;
    for (const namespace of new Set(connections.list().map(({ metadata }) => metadata.namespace))) {
      controller.addAfter(namespace, 1000);
    }
  });
  return controller;
}

const podEssence = ({ metadata, finished }: AgentPod): string => JSON.stringify([metadata.annotations, finished]);

async function reconcileStatus(
  context: ControllerContext,
  { judge }: StatusOptions,
  { writer, lives }: { readonly writer: StatusWriter; readonly lives: LeaseLives },
  namespace: string,
  signal: AbortSignal,
): Promise<ReconcileResult | undefined> {
  const guardrails = namespace === context.namespace;
  const scope = guardrails ? undefined : namespace;
  const connections = context.connections.list(scope);
  const policies = context.policies.list(namespace);
  const maskingRules = context.maskingRules.list(namespace);
  if (connections.length + policies.length + maskingRules.length === 0) return undefined;
  const home = context.namespaces.get(undefined, namespace);
  if (home === undefined || home.metadata.deletionTimestamp !== undefined) return undefined;
  const both = [...new Set([namespace, context.namespace])];
  const { problems } = compile(
    {
      connections: [...connections],
      policies: guardrails ? policies : both.flatMap((each) => context.policies.list(each)),
      maskingRules: guardrails ? maskingRules : both.flatMap((each) => context.maskingRules.list(each)),
    },
    { guardrailNamespace: context.namespace },
  );
  const about = problemsByObject(problems);
  const proxies = new Map<string, ProxyState>();
  const proxiesOf = (of: string): ProxyState => {
    const known = proxies.get(of) ?? proxyState(context, lives, of);
    proxies.set(of, known);
    return known;
  };
  const waits: number[] = [];
  const judged = remembered(judge());
  for (const connection of context.connections.list(namespace)) {
    const state = proxiesOf(namespace);
    const masking = maskingStatus(connection, state.reports);
    const findings = connectionFindings({
      connection,
      problems: about(connection),
      proxies: state,
      sidecars: sidecarState(context, connection, judged),
      masking,
    });
    const isProgrammed = findings.some(({ type, status }) => type === 'Programmed' && status === 'True');
    const fields = {
      ...(isProgrammed && state.bundle !== undefined ? { policyHash: state.bundle } : {}),
      policies: countPolicies(context, connection),
      sessions: sessionsOf(connection.metadata.name, state.reports),
      ...(masking === undefined ? {} : { masking }),
    };
    waits.push(await writer.write(ACCESS_CONNECTIONS, connection, findings, fields, signal));
  }
  for (const [type, objects] of [
    [ACCESS_POLICIES, policies],
    [MASKING_RULES, maskingRules],
  ] as const) {
    for (const object of objects as readonly Stored<AccessPolicy | MaskingRule>[]) {
      const selected = connections.filter((connection) => selects(object, connection, context.namespace));
      const of = [...new Set(selected.map(({ metadata }) => metadata.namespace))].map(proxiesOf);
      const findings = policyFindings({ problems: about(object), connections: selected.length, proxies: of });
      const fields = {
        connections: selected.length,
        ...(type.kind === 'AccessPolicy'
          ? { proxies: proxyCount(of) }
          : columnFields(object as Stored<MaskingRule>, selected, proxiesOf)),
      };
      waits.push(await writer.write(type as ResourceType, object, findings, fields, signal));
    }
  }
  const ends = context.leases
    .list(namespace)
    .map((lease) => lives.endOf(lease) - context.now())
    .filter((left) => left > 0);
  const next = Math.min(...waits.filter((wait) => wait > 0), ...ends.map((left) => left + 1000));
  return Number.isFinite(next) ? { requeueAfterMs: next } : undefined;
}

/** What is known now, or else what was: a proxy that has just started has read no catalog. */
function columnFields(
  rule: Stored<MaskingRule>,
  connections: readonly Stored<AccessConnection>[],
  proxiesOf: (namespace: string) => ProxyState,
): Readonly<Record<string, number>> {
  const { matchedColumns, unmatchedPatterns } = rule.status ?? {};
  const reports = connections
    .filter(({ spec }) => spec.protocol === 'Postgres')
    .map(({ metadata }) => maskingReport(metadata.name, proxiesOf(metadata.namespace).reports));
  return {
    ...(matchedColumns === undefined ? {} : { matchedColumns }),
    ...(unmatchedPatterns === undefined ? {} : { unmatchedPatterns }),
    ...ruleColumns(rule, reports),
  };
}

function problemsByObject(problems: readonly Problem[]): (object: KubeObject) => readonly Problem[] {
  const key = (kind: string, namespace: string | undefined, name: string): string => `${kind}/${namespace}/${name}`;
  const found = Map.groupBy(problems, ({ object }) => key(object.kind, object.namespace, object.name));
  return ({ kind, metadata }) => found.get(key(kind, metadata.namespace, metadata.name)) ?? [];
}

function selects(
  { metadata, spec }: Pick<AccessPolicy | MaskingRule, 'metadata' | 'spec'>,
  connection: Pick<AccessConnection, 'metadata'>,
  guardrailNamespace: string,
): boolean {
  const { namespace, name, labels = {} } = connection.metadata;
  return selectsConnection(spec.connections, metadata.namespace, { namespace, name, labels }, guardrailNamespace);
}

function countPolicies(context: ControllerContext, connection: Stored<AccessConnection>): number {
  return [...new Set([connection.metadata.namespace, context.namespace])]
    .flatMap((namespace) => context.policies.list(namespace))
    .filter((policy) => selects(policy, connection, context.namespace)).length;
}

function proxyState(context: ControllerContext, lives: LeaseLives, namespace: string): ProxyState {
  const deployment: Deployment | undefined = context.applier.current(DEPLOYMENTS, namespace, NAMES.proxy);
  return {
    bundle: presentBundle(context, namespace)?.hash,
    replicas: deployment?.spec?.replicas ?? context.settings.proxyReplicas,
    reports: context.leases
      .list(namespace)
      .filter(({ metadata }) => metadata.labels?.[LABELS.component] === 'proxy')
      .filter((lease) => lives.endOf(lease) >= context.now())
      .map(reportOf)
      .filter((report) => report !== undefined),
    failures: context.failures.get(namespace),
    blocked: deployment === undefined ? undefined : blockedBy(deployment),
  };
}

/** Pods are made by the controllers of Kubernetes: what keeps them from it, such as a quota, stands in the Deployment's status. */
const blockedBy = ({ status }: Deployment): string | undefined =>
  status?.conditions?.find(({ type, status: state }) => type === 'ReplicaFailure' && state === 'True')?.message;

/** Pods are judged once for all connections of a look. */
function remembered(judge: JudgePod): JudgePod {
  const known = new Map<AgentPod, ReturnType<JudgePod>>();
  return (pod) => {
    if (!known.has(pod)) known.set(pod, judge(pod));
    return known.get(pod);
  };
}

function sidecarState(
  { pods, namespaces }: ControllerContext,
  connection: Stored<AccessConnection>,
  judged: JudgePod,
): SidecarState {
  const allowed = allowedNamespaces(connection, namespaces.list());
  const candidates = allowed.includes('*') ? pods.list() : allowed.flatMap((namespace) => pods.list(namespace));
  let count = 0;
  const stale: string[] = [];
  for (const pod of candidates) {
    if (pod.finished === true || pod.metadata.annotations?.[ANNOTATIONS.injectedVersion] === undefined) continue;
    count++;
    if (judged(pod) !== 'Current') stale.push(`${pod.metadata.namespace}/${pod.metadata.name}`);
  }
  return { pods: count, stale: stale.sort() };
}
