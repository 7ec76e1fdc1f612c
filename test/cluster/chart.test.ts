/** The chart and the kustomize base on a real API server: what they install, how they upgrade, what GitOps sees, and what is left behind. */
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { describeWith } from '../support/requires.ts';
import { repositoryRoot } from '../support/sallyport.ts';
import { CHART, helmOn, installChart, type Manifest, OPERATOR_NAMESPACE, renderChart } from './chart.ts';
import { type ControlPlane, controlPlaneNeeds, startControlPlane } from './control-plane.ts';

const RELEASE = ['sallyport', CHART, '--namespace', OPERATOR_NAMESPACE];
const BUNDLE = Buffer.from('-----BEGIN CERTIFICATE-----\n').toString('base64');

const key = ({ kind, metadata }: Manifest): string => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`;

/** What was said when it failed. */
const refusal = (attempt: Promise<unknown>): Promise<string> =>
  attempt.then(
    () => 'it went through',
    (error: unknown) => String(error),
  );

/** Without what only Helm writes. */
function comparable(manifest: Manifest): Manifest {
  const labels = { ...manifest.metadata.labels };
  delete labels['helm.sh/chart'];
  delete labels['app.kubernetes.io/managed-by'];
  const annotations = { ...manifest.metadata.annotations };
  delete annotations['helm.sh/resource-policy'];
  return { ...manifest, metadata: { ...manifest.metadata, labels, annotations } };
}

/** Every example, each in a namespace of its own, since some use the same names; guardrails say theirs. */
async function examples(): Promise<readonly object[]> {
  const folder = path.join(repositoryRoot, 'examples');
  const names = (await readdir(folder)).filter((name) => name.endsWith('.yaml'));
  const inFiles = names.map(async (name) => {
    const namespace = `example-${path.basename(name, '.yaml')}`;
    const documents = parseAllDocuments(await readFile(path.join(folder, name), 'utf8'));
    const manifests = documents.map((document) => document.toJS() as Manifest);
    return [
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
      ...manifests.map((manifest) => ({ ...manifest, metadata: { namespace, ...manifest.metadata } })),
    ];
  });
  return (await Promise.all(inFiles)).flat();
}

describeWith(controlPlaneNeeds, 'chart', () => {
  let cluster: ControlPlane & AsyncDisposable;

  beforeAll(async () => {
    cluster = await startControlPlane();
  });
  afterAll(() => cluster?.stop());

  /** As the operator does it, with a field manager of its own. */
  const fillIn = (kind: string): Promise<string> =>
    cluster.kubectl([
      ...['patch', kind, 'sallyport', '--type=json', '--field-manager=sallyport-webhooks', '-p'],
      JSON.stringify([{ op: 'add', path: '/webhooks/0/clientConfig/caBundle', value: BUNDLE }]),
    ]);

  test('helm lint has nothing to say, and a misspelt value is refused', async () => {
    expect(await helmOn(cluster, ['lint', '--strict', CHART])).toContain('0 chart(s) failed');
    expect(await refusal(renderChart(['operator.replica=3']))).toContain('replica');
    expect(await refusal(renderChart(['archive.size="20"']))).toContain('archive');
  });

  test('the kustomize base gives the same objects', async () => {
    const built = parseAllDocuments(await cluster.kubectl(['kustomize', path.join(repositoryRoot, 'config')]))
      .map((document) => document.toJS() as Manifest)
      .filter(({ kind }) => kind !== 'Namespace');
    const sorted = (manifests: readonly Manifest[]) => new Map(manifests.map((each) => [key(each), comparable(each)]));
    const chart = await renderChart();
    expect([...sorted(built).keys()].sort()).toEqual([...sorted(chart).keys()].sort());
    for (const [name, manifest] of sorted(chart)) expect(sorted(built).get(name), name).toEqual(manifest);
  });

  test('the overlay of the guide sets the images of operator, proxies and connectors', async () => {
    const guide = await readFile(path.join(repositoryRoot, 'docs/install.md'), 'utf8');
    const overlay = /```yaml\n([\s\S]*?kind: Kustomization[\s\S]*?)```/.exec(guide)?.[1] ?? '';
    const folder = path.join(cluster.folder, 'overlay');
    await cp(path.join(repositoryRoot, 'config'), path.join(cluster.folder, 'config'), { recursive: true });
    await mkdir(folder);
    await writeFile(path.join(folder, 'kustomization.yaml'), overlay.replaceAll('REGISTRY', 'registry.example'));
    const deployment = parseAllDocuments(await cluster.kubectl(['kustomize', folder]))
      .map((document) => document.toJS() as Manifest)
      .find(({ kind }) => kind === 'Deployment') as unknown as {
      spec: { template: { spec: { containers: { image: string; args: string[] }[] } } };
    };
    const [operator] = deployment.spec.template.spec.containers;
    expect(operator?.image).toBe('registry.example/sallyport:0.1.0');
    expect(operator?.args.slice(0, 4)).toEqual([
      'operator',
      '--image=registry.example/sallyport:0.1.0',
      '--connector-image=registry.example/sallyport-connector:0.1.0',
      '--image-pull-policy=IfNotPresent',
    ]);
  });

  test('no caBundle is in the chart', async () => {
    expect(JSON.stringify(await renderChart())).not.toContain('caBundle');
  });

  test('every optional part can be rendered', async () => {
    const all = await renderChart(
      [
        ...['metrics.serviceMonitor.enabled=true', 'metrics.rules.enabled=true', 'metrics.dashboard.enabled=true'],
        ...['imagePullSecrets=[{"name":"registry"}]', 'operator.priorityClassName="system-cluster-critical"'],
        'fences.exemptGroups=["break-glass"]',
      ],
      true,
    );
    const kinds = all.map(({ kind }) => kind);
    for (const kind of ['ServiceMonitor', 'PodMonitor', 'PrometheusRule', 'ConfigMap', 'Job'])
      expect(kinds).toContain(kind);
    const rules = all.find(({ kind }) => kind === 'PrometheusRule') as unknown as { spec: { groups: unknown[] } };
    expect(rules.spec.groups).toHaveLength(1);
  });

  test('it is installed, and its pods are let in under Pod Security restricted', async () => {
    await cluster.kubectl(['create', 'namespace', OPERATOR_NAMESPACE]);
    await cluster.kubectl(['label', 'namespace', OPERATOR_NAMESPACE, 'pod-security.kubernetes.io/enforce=restricted']);
    const notes = await installChart(cluster);
    expect(notes).toContain('kubectl apply -n shop -f examples/quickstart.yaml');
    const selector = ['-l', 'app.kubernetes.io/component=operator'];
    await cluster.kubectl(['-n', OPERATOR_NAMESPACE, 'wait', '--for=create', 'pod', ...selector, '--timeout=60s']);
  });

  test('upgrading changes the CRDs too, and what was there stays', async () => {
    await cluster.kubectl(['create', 'namespace', 'shop']);
    await cluster.kubectl(['-n', 'shop', 'apply', '-f', path.join(repositoryRoot, 'examples/quickstart.yaml')]);
    // An older version, which did not know a short name.
    await cluster.kubectl([
      ...['patch', 'crd', 'accessconnections.sallyport.dev', '--type=json', '--field-manager=helm', '-p'],
      '[{"op":"remove","path":"/spec/names/shortNames"}]',
    ]);
    await helmOn(cluster, ['upgrade', ...RELEASE, '--dry-run=server']);
    await helmOn(cluster, ['upgrade', ...RELEASE]);
    const crd = await cluster.get<{ spec: { names: { shortNames: string[] } } }>(
      'crd',
      'accessconnections.sallyport.dev',
    );
    expect(crd.spec.names.shortNames).toEqual(['aconn']);
    expect(await cluster.kubectl(['-n', 'shop', 'get', 'accessconnection', '-o', 'name'])).toContain('orders');
  });

  test('names that the fence keeps for the operator are not the chart’s, so that no version is refused over another', async () => {
    const rendered = await renderChart([], true);
    const fence = rendered.find(
      ({ kind, metadata }) => kind === 'ValidatingAdmissionPolicy' && metadata.name === 'sallyport-objects',
    );
    const pattern = /matches\('([^']+)'\)/.exec(JSON.stringify(fence))?.[1] ?? '';
    expect('sallyport-archive').toMatch(new RegExp(pattern));
    const reserved = rendered.filter(
      ({ metadata }) => metadata.namespace !== undefined && new RegExp(pattern).test(metadata.name),
    );
    expect(reserved).toEqual([]);
    // Once the fence stands; what is for the whole cluster may have any name.
    const create = (...what: string[]) => cluster.kubectl(['create', ...what, '--dry-run=server', '-o', 'name']);
    await vi.waitFor(() =>
      expect(create('configmap', 'sallyport-ca', '-n', 'shop')).rejects.toThrow(/belongs to the operator/),
    );
    expect(await create('clusterrolebinding', 'sallyport-archive', '--clusterrole=view', '--group=auditors')).toContain(
      'sallyport-archive',
    );
  });

  test('an upgrade leaves the caBundle that the operator filled in', async () => {
    for (const kind of ['mutatingwebhookconfiguration', 'validatingwebhookconfiguration']) await fillIn(kind);
    await helmOn(cluster, ['upgrade', ...RELEASE]);
    for (const kind of ['mutatingwebhookconfiguration', 'validatingwebhookconfiguration']) {
      const { webhooks } = await cluster.get<{ webhooks: { clientConfig: { caBundle?: string } }[] }>(
        kind,
        'sallyport',
      );
      expect(webhooks[0]?.clientConfig.caBundle).toBe(BUNDLE);
    }
  });

  test('uninstalling keeps resources, and what the operator applied is swept with the rights of the hook', async () => {
    const hooks = (await renderChart([], true)).filter(
      ({ metadata }) => metadata.annotations?.['helm.sh/hook'] !== undefined,
    );
    await cluster.apply(
      await cluster.kubectl(['create', 'configmap', 'left', '-n', 'shop', '--dry-run=client', '-o', 'json']),
    );
    await helmOn(cluster, ['uninstall', 'sallyport', '--namespace', OPERATOR_NAMESPACE, '--no-hooks', '--wait']);
    const ours = { 'app.kubernetes.io/managed-by': 'sallyport' };
    await cluster.apply(
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'List',
        items: [
          { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'sallyport-ca', namespace: 'shop', labels: ours } },
          { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'sallyport-keys', namespace: 'shop', labels: ours } },
          {
            apiVersion: 'rbac.authorization.k8s.io/v1',
            kind: 'ClusterRoleBinding',
            metadata: { name: 'sallyport-token-reviewer:shop', labels: ours },
            roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'sallyport-token-reviewer' },
          },
        ],
      }),
    );
    await cluster.apply(
      JSON.stringify({ apiVersion: 'v1', kind: 'List', items: hooks.filter(({ kind }) => kind !== 'Job') }),
    );
    const kubeconfig = await cluster.clientAs(`system:serviceaccount:${OPERATOR_NAMESPACE}:sallyport-uninstall`);
    const cli = path.join(repositoryRoot, 'cli/main.ts');
    const { stdout } = await cluster.exec(process.execPath, [cli, 'uninstall', '--yes', '--kubeconfig', kubeconfig]);
    expect(stdout).toContain('3 objects removed');
    for (const kind of ['configmap', 'secret', 'clusterrolebinding'])
      expect(
        await cluster.kubectl(['get', kind, '-A', '-l', 'app.kubernetes.io/managed-by=sallyport', '-o', 'name']),
      ).toBe('');
    // Somebody else's.
    expect(await cluster.kubectl(['-n', 'shop', 'get', 'configmap', 'left', '-o', 'name'])).toContain('left');
    // The resources of people outlive the installation.
    expect(await cluster.kubectl(['-n', 'shop', 'get', 'accessconnection', '-o', 'name'])).toContain('orders');
  });

  test('applied twice by a GitOps controller, with the operator at work in between, nothing differs', async () => {
    const manifests = path.join(cluster.folder, 'gitops.yaml');
    const rendered = (await renderChart()).map((manifest) => JSON.stringify(manifest)).join('\n---\n');
    await writeFile(manifests, `${rendered}\n---\n`);
    const gitops = ['--server-side', '--field-manager=gitops', '--force-conflicts', '-f', manifests];
    await cluster.kubectl(['apply', ...gitops]);
    await cluster.kubectl([
      'wait',
      '--for=condition=Established',
      '--timeout=60s',
      'crd',
      '-l',
      'app.kubernetes.io/part-of=sallyport',
    ]);
    const others = path.join(cluster.folder, 'examples.yaml');
    await writeFile(others, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: await examples() }));
    await cluster.kubectl(['apply', '--server-side', '--field-manager=gitops', '--force-conflicts', '-f', others]);
    await fillIn('mutatingwebhookconfiguration');
    await fillIn('validatingwebhookconfiguration');
    const diff = (file: string) =>
      refusal(cluster.kubectl(['diff', '--server-side', '--field-manager=gitops', '--force-conflicts', '-f', file]));
    expect(await diff(manifests)).toBe('it went through');
    expect(await diff(others)).toBe('it went through');
  });
});
