import { X509Certificate } from 'node:crypto';
import { ANNOTATIONS, LABELS, NAMES } from '../../../api/cluster.ts';
import type { Pod } from '../../../kube/builtin.ts';
import { createStalenessJudge } from '../../../operator/webhook/injection/stale.ts';
import { isReady, type NamespaceStatus } from '../status.ts';
import type { Facts } from './facts.ts';
import { type Diagnosis, diagnoses } from './finding.ts';

/** Checks of what runs: proxies, connections, agents' pods, archive, clocks. Pure: facts in, diagnoses out. */

/** Half of what the parts allow for each other. */
const SKEW_MS = 5_000;
const MOST_NAMED = 5;

const named = (names: readonly string[]): string =>
  `${names.slice(0, MOST_NAMED).join(', ')}${names.length > MOST_NAMED ? ` and ${names.length - MOST_NAMED} more` : ''}`;

export function checkConnections({ namespaces }: Facts): Diagnosis[] {
  const { ok, error, unknown } = diagnoses('connections');
  if (namespaces === undefined) return [unknown('AccessConnections', 'list accessconnections in all namespaces')];
  const all = namespaces.flatMap(({ connections }) => connections);
  const bad = all.filter((connection) => !isReady(connection));
  if (bad.length === 0) return [ok('AccessConnections', `${all.length}, all ready`)];
  return bad.map((connection) => {
    const told = connection.status?.conditions?.find(({ type }) => type === 'Ready');
    const name = `AccessConnection ${connection.metadata.namespace}/${connection.metadata.name}`;
    if (told === undefined) return error(name, 'no operator has looked at it', 'See the check of the operator.');
    return error(name, `${told.reason}: ${told.message}`, 'Its other conditions say more: kubectl sallyport status.');
  });
}

export function checkProxies(facts: Facts): Diagnosis[] {
  const { ok, unknown } = diagnoses('proxies');
  if (facts.namespaces === undefined || facts.proxies === undefined)
    return [unknown('proxies', 'list deployments and leases in all namespaces')];
  const served = facts.namespaces.filter(({ connections }) => connections.length > 0);
  const found = served.flatMap((status) => proxiesOf(status, facts));
  return found.length === 0 ? [ok('proxies', `of ${served.length} namespaces, with the policy in force`)] : found;
}

function proxiesOf({ namespace, proxies, bundle }: NamespaceStatus, facts: Facts): Diagnosis[] {
  const { error, warning, unknown } = diagnoses('proxies');
  const name = `Deployment ${namespace}/${NAMES.proxy}`;
  const see = `See kubectl -n ${namespace} describe pods -l ${LABELS.name}=${NAMES.proxy}, and the log of the proxy.`;
  const deployment = facts.proxies?.find(({ metadata }) => metadata.namespace === namespace);
  if (deployment === undefined) return [error(name, 'it is not there', 'The operator makes it: see its log.')];
  const found: Diagnosis[] = [];
  const { availableReplicas = 0 } = deployment.status ?? {};
  const { replicas = 1 } = deployment.spec ?? {};
  if (availableReplicas === 0) found.push(error(name, 'no replica is available', see));
  else if (availableReplicas < replicas)
    found.push(warning(name, `${availableReplicas} of ${replicas} replicas are available`, see));
  if (proxies === undefined) return [...found, unknown(`Leases of ${namespace}`, `list leases in ${namespace}`)];
  for (const replica of proxies) {
    const label = `proxy ${namespace}/${replica.name}`;
    if (replica.silent) {
      found.push(warning(label, `it has not reported since ${replica.renewed ?? 'it began'}`, see));
      continue;
    }
    if (bundle !== undefined && replica.bundle !== bundle)
      found.push(error(label, 'it enforces an older policy than the one that was written', see));
    const { auditFailure, problems = {} } = replica.report ?? {};
    if (auditFailure !== undefined)
      found.push(
        error(
          label,
          `the record cannot be written, so commands are refused: ${auditFailure}`,
          'Free or repair its volume.',
        ),
      );
    for (const [connection, problem] of Object.entries(problems))
      found.push(error(`AccessConnection ${namespace}/${connection}`, problem, 'Correct what it names.'));
  }
  const pem = facts.proxyCertificates.get(namespace);
  const now = facts.clocks.server ?? facts.clocks.here;
  if (pem !== undefined && Date.parse(new X509Certificate(pem).validTo) <= now)
    found.push(
      error(
        `Secret ${namespace}/${NAMES.proxyTls}`,
        'the certificate has expired',
        'The operator renews it: see its log.',
      ),
    );
  return found;
}

export function checkEgress({ namespaces }: Facts): Diagnosis[] {
  const { ok, error, warning, unknown } = diagnoses('egress');
  if (namespaces === undefined) return [unknown('egress of agents', 'list accessconnections in all namespaces')];
  const fix =
    'Use a network plugin that enforces NetworkPolicy and set target addresses, or spec.onBypass: Refuse to keep such pods from starting.';
  const found: Diagnosis[] = [];
  let probed = 0;
  for (const { namespace, connections, proxies = [] } of namespaces) {
    for (const { metadata, status } of connections) {
      const name = `AccessConnection ${namespace}/${metadata.name}`;
      const open = new Set(proxies.flatMap(({ report }) => report?.egress[metadata.name]?.open ?? []));
      const condition = status?.conditions?.find(({ type }) => type === 'EgressEnforced');
      if (open.size > 0) found.push(error(name, `reached without Sallyport from ${named([...open])}`, fix));
      else if (condition?.status === 'False') found.push(error(name, condition.message, fix));
      else if (condition?.status === 'True') probed++;
      else
        found.push(
          warning(
            name,
            'no connector has tried yet whether the target can be reached directly',
            'Start an injected pod.',
          ),
        );
    }
  }
  return found.length === 0 ? [ok('egress of agents', `tried for ${probed} connections, and kept in`)] : found;
}

const isOver = ({ status, metadata }: Pod): boolean =>
  metadata.deletionTimestamp !== undefined || status?.phase === 'Succeeded' || status?.phase === 'Failed';

export function checkPods(facts: Facts): Diagnosis[] {
  const { ok, error, warning, unknown } = diagnoses('pods');
  const { pods, namespaces, namespaceObjects, pluginVersion } = facts;
  if (pods === undefined || namespaces === undefined || namespaceObjects === undefined)
    return [unknown('pods of agents', 'list pods and namespaces')];
  const labels = new Map(namespaceObjects.map(({ metadata }) => [metadata.name, metadata.labels ?? {}]));
  const judge = createStalenessJudge({
    connections: namespaces.flatMap(({ connections }) => connections),
    namespaceLabels: (name) => labels.get(name),
    version: pluginVersion,
  });
  const found = {
    bare: new Map<string, string[]>(),
    Changed: new Map<string, string[]>(),
    Outdated: new Map<string, string[]>(),
  };
  let current = 0;
  for (const pod of pods) {
    if (isOver(pod)) continue;
    const { namespace = '', name, labels: own = {}, annotations = {} } = pod.metadata;
    const asks = (own[LABELS.inject] ?? labels.get(namespace)?.[LABELS.inject]) === 'true';
    const injected = annotations[ANNOTATIONS.injectedVersion] !== undefined;
    const state = injected ? judge(pod) : asks ? 'bare' : undefined;
    if (state === 'Current') current++;
    else if (state !== undefined) found[state].set(namespace, [...(found[state].get(namespace) ?? []), name]);
  }
  const restart = 'Restart what made them: kubectl rollout restart.';
  const told = (
    state: keyof typeof found,
    say: (object: string, message: string, fix: string) => Diagnosis,
    message: string,
  ): Diagnosis[] =>
    [...found[state]].map(([namespace, names]) => say(`pods ${namespace}/${named(names)}`, message, restart));
  const all = [
    ...told('bare', error, 'they ask for a connector and have none: they were made when nothing injected'),
    ...told('Changed', warning, 'their connector was told of other connections than there are now'),
    ...told('Outdated', warning, 'their connector is of another version'),
  ];
  return all.length === 0 ? [ok('pods of agents', `${current} injected, all current`)] : all;
}

export function checkArchive({ archive, archiveCa, operatorNamespace }: Facts): Diagnosis[] {
  const { ok, error, warning, unknown } = diagnoses('archive');
  const name = `StatefulSet ${operatorNamespace}/${NAMES.archive}`;
  if (archive === undefined) return [unknown(name, `get statefulsets in ${operatorNamespace}`)];
  if (archive === null) {
    const message = 'it is not there: the record stays on the proxies, and approvals cannot be used';
    return [error(name, message, 'The operator makes it with the first AccessConnection: see its log.')];
  }
  const status = archive['status'];
  const ready =
    typeof status === 'object' && status !== null && 'readyReplicas' in status ? Number(status.readyReplicas) : 0;
  if (ready === 0) {
    const message = 'it is not ready: proxies keep the record meanwhile, and approvals cannot be used';
    return [
      error(name, message, `See kubectl -n ${operatorNamespace} describe pod ${NAMES.archive}-0: often its volume.`),
    ];
  }
  if (archiveCa !== undefined && archiveCa?.data?.['ca.crt'] === undefined) {
    const message = 'it has no ca.crt: people who read the archive have to bring its authority';
    return [warning(`ConfigMap ${operatorNamespace}/${NAMES.archive}`, message, 'The operator makes it: see its log.')];
  }
  return [ok(name, 'it is ready')];
}

export function checkClocks({ clocks: { here, server }, namespaces }: Facts): Diagnosis[] {
  const { ok, warning, unknown } = diagnoses('clocks');
  if (server === undefined) return [unknown('the API server’s clock', 'create selfsubjectreviews')];
  const fix = 'Have both synchronised by NTP: tokens, certificates and votes have times.';
  const skew = here - server;
  const found: Diagnosis[] = [];
  // The API server tells whole seconds.
  if (Math.abs(skew) > SKEW_MS + 1000)
    found.push(warning('this machine', `its clock differs from the API server’s by ${Math.round(skew / 1000)} s`, fix));
  for (const { namespace, proxies = [] } of namespaces ?? []) {
    for (const { name, renewed } of proxies) {
      const ahead = Date.parse(renewed ?? '') - server;
      if (ahead > SKEW_MS)
        found.push(
          warning(
            `proxy ${namespace}/${name}`,
            `its clock is ${Math.round(ahead / 1000)} s ahead of the API server’s`,
            fix,
          ),
        );
    }
  }
  return found.length === 0 ? [ok('clocks', 'they agree')] : found;
}
