import { NAMES } from '../../api/cluster.ts';
import {
  CONFIG_MAPS,
  DEPLOYMENTS,
  NETWORK_POLICIES,
  SECRETS,
  SERVICE_ACCOUNTS,
  SERVICES,
  STATEFUL_SETS,
} from '../../kube/builtin.ts';
import { type Controller, createController, type ReconcileResult } from '../../kube/controller.ts';
import type { KubeObject, OwnerReference, ResourceType } from '../../kube/types.ts';
import type { ControllerContext } from '../context.ts';
import { archiveConfigMap } from '../desired/archive-config-map.ts';
import { archiveNetworkPolicy } from '../desired/archive-network-policy.ts';
import { archiveService } from '../desired/archive-service.ts';
import { archiveServiceAccount } from '../desired/archive-service-account.ts';
import { archiveStatefulSet } from '../desired/archive-stateful-set.ts';
import { tlsSecret } from '../desired/secrets.ts';
import { applyAll, type Desired, desired } from './apply-all.ts';
import { archiveCertificate, certificateFor } from './certificate.ts';

const TYPES = [CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS, SERVICES, NETWORK_POLICIES, STATEFUL_SETS];
const KEY = 'archive';
const MAX_WAIT_MS = 86_400_000;

/** The archive of the installation, in the operator's namespace. There is one key. */
export function createArchiveController(context: ControllerContext): Controller {
  const { applier, log, metrics, keys } = context;
  const controller = createController({
    name: KEY,
    log,
    metrics,
    reconcile: (_key, signal) => reconcileArchive(context, signal),
  });
  controller.add(KEY);
  for (const type of TYPES as unknown as readonly ResourceType[]) {
    controller.follow(applier.copy(type), ({ metadata: { namespace, name } }) =>
      namespace === context.namespace && (name === NAMES.archive || name === NAMES.archiveTls) ? [KEY] : [],
    );
  }
  keys.onChange(() => controller.add(KEY));
  return controller;
}

async function reconcileArchive(context: ControllerContext, signal: AbortSignal): Promise<ReconcileResult> {
  const { namespace, settings, applier } = context;
  const inputs = {
    namespace,
    image: context.image,
    imagePullPolicy: settings.imagePullPolicy,
    volumeSize: settings.archiveVolumeSize,
    storageClass: settings.archiveStorageClass,
    retentionDays: settings.archiveRetentionDays,
    quotaBytes: settings.archiveQuotaBytes,
  };
  const owners = await operatorAsOwner(context, signal);
  const certificate = certificateFor(context, { namespace, name: NAMES.archiveTls }, archiveCertificate(namespace));
  const secret = tlsSecret(
    { namespace, name: NAMES.archiveTls, component: 'archive' },
    owners,
    certificate.pair,
    context.keys.trust(),
  );
  const wanted: Desired[] = [
    desired(SERVICE_ACCOUNTS, owned(archiveServiceAccount(inputs), owners)),
    desired(CONFIG_MAPS, owned(archiveConfigMap(inputs, context.keys.trust()), owners)),
    desired(SECRETS, secret),
    desired(NETWORK_POLICIES, owned(archiveNetworkPolicy(inputs), owners)),
    desired(SERVICES, owned(archiveService(inputs), owners)),
    desired(STATEFUL_SETS, owned(archiveStatefulSet(inputs), owners)),
  ];
  const [failed] = await applyAll(applier, wanted, 'sallyport-archive', signal);
  if (failed !== undefined) throw failed;
  return { requeueAfterMs: Math.max(1000, Math.min(certificate.renewAt - context.now(), MAX_WAIT_MS)) };
}

/** Uninstalling the operator takes the archive's objects along; its volume, with the record, stays. */
async function operatorAsOwner(
  { client, namespace }: ControllerContext,
  signal: AbortSignal,
): Promise<OwnerReference[]> {
  const deployment = await client.get(DEPLOYMENTS, { namespace, name: NAMES.operator }, { signal });
  const uid = deployment?.metadata.uid;
  return uid === undefined ? [] : [{ apiVersion: 'apps/v1', kind: 'Deployment', name: NAMES.operator, uid }];
}

const owned = <T extends KubeObject>(object: T, ownerReferences: readonly OwnerReference[]): T => ({
  ...object,
  metadata: { ...object.metadata, ownerReferences },
});
