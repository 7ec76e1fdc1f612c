/** Clients of Kubernetes that nobody told of Sallyport: several versions of kubectl, client-node, Python's client, client-go. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { CoreV1Api, KubeConfig, Watch } from '@kubernetes/client-node';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { goProgram } from '../support/go-programs.ts';
import { type KubectlVersion, kubectlOf } from '../support/kubectl-versions.ts';
import { pythonFolder } from '../support/python-packages.ts';
import { describeWith, program } from '../support/requires.ts';
import { controlPlaneNeeds } from './control-plane.ts';
import { type KubeLaneGround, startKubeLaneGround } from './kube-lane-ground.ts';
import { kubectl as newestKubectl } from './programs.ts';

const LIMIT = { timeout: 120_000 };
const run = promisify(execFile);

const configMap = (name: string, value: string): string =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}}\ndata: {key: ${value}}\n`;

const PYTHON = `
import itertools, json, os
from kubernetes import client, config, watch
config.load_kube_config(os.environ['KUBECONFIG'])
api = client.CoreV1Api()
out = {'version': client.VersionApi().get_code().git_version}
api.create_namespaced_config_map('default', {'metadata': {'name': 'python'}, 'data': {'key': 'a'}})
out['patched'] = api.patch_namespaced_config_map('python', 'default', {'data': {'key': 'b'}}).data['key']
page = api.list_namespaced_config_map('default', limit=1)
out['more'] = page.metadata._continue is not None
seen = watch.Watch().stream(api.list_namespaced_config_map, 'default', timeout_seconds=5)
out['seen'] = sorted(e['object'].metadata.name for e in itertools.islice(seen, 2))
try:
    api.list_namespaced_secret('kube-system')
except client.ApiException as error:
    out['denied'] = [error.status, json.loads(error.body)['reason']]
api.delete_namespaced_config_map('python', 'default')
print(json.dumps(out))
`;

describeWith([...controlPlaneNeeds, program('python3')], 'clients of the Kubernetes lane', () => {
  let ground: KubeLaneGround;
  beforeAll(async () => {
    ground = await startKubeLaneGround();
  }, 120_000);
  afterAll(() => ground?.[Symbol.asyncDispose]());

  const versions: readonly (KubectlVersion | '1.34')[] = ['1.28', '1.31', '1.34'];
  it.each(versions)('kubectl %s', LIMIT, async (version) => {
    const file = version === '1.34' ? await newestKubectl() : await kubectlOf(version);
    const name = `kubectl-${version.replace('.', '-')}`;
    const kubectl = async (parameters: readonly string[], input?: string): Promise<string> => {
      const result = await ground.kubectl(parameters, { program: file, ...(input === undefined ? {} : { input }) });
      expect({ parameters, ...result }).toMatchObject({ status: 0 });
      return result.stdout;
    };
    expect(await kubectl(['version', '-o', 'json'])).toContain(`"minor": "${version.split('.')[1]}`);
    await kubectl(['apply', '-f', '-'], configMap(name, 'one'));
    await kubectl(['apply', '-f', '-'], configMap(name, 'two'));
    await kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], configMap(name, 'three'));
    await kubectl([
      'patch',
      'configmap',
      name,
      '--type=json',
      '-p',
      '[{"op":"replace","path":"/data/key","value":"four"}]',
    ]);
    await kubectl(['label', 'configmap', name, 'a=b']);
    expect(await kubectl(['get', 'configmap', name, '-o', 'jsonpath={.data.key}'])).toBe('four');
    expect(await kubectl(['get', 'configmaps', '-l', 'a=b', '--chunk-size=1'])).toMatch(/^NAME +DATA +AGE\n/);
    expect(await kubectl(['create', 'deployment', name, '--image=example.invalid/x'])).toContain('created');
    expect(await kubectl(['explain', 'pods.spec.containers'])).toContain('FIELDS');
    expect(await kubectl(['auth', 'can-i', 'list', 'pods'])).toBe('yes\n');
    expect(await kubectl(['api-resources', '--api-group=apps', '-o', 'name'])).toContain('deployments.apps');
    expect(await kubectl(['delete', 'deployment', name])).toContain('deleted');
    expect(await kubectl(['delete', 'configmap', name])).toContain('deleted');
    const denied = await ground.kubectl(['get', 'secrets', '-A'], { program: file });
    expect(denied.stderr).toMatch(/^Error from server \(Forbidden\): sallyport: denied: .*SPL001/);
  });

  it('client-node', LIMIT, async () => {
    const config = new KubeConfig();
    config.loadFromFile(await ground.kubeconfig());
    const api = config.makeApiClient(CoreV1Api);
    const seen = Promise.withResolvers<string>();
    const watching = await new Watch(config).watch(
      '/api/v1/namespaces/default/configmaps',
      { allowWatchBookmarks: true },
      (type, object: { metadata: { name: string } }) => {
        if (type === 'ADDED' && object.metadata.name === 'node') seen.resolve(type);
      },
      () => {},
    );
    try {
      await api.createNamespacedConfigMap({ namespace: 'default', body: { metadata: { name: 'node' } } });
      await expect(seen.promise).resolves.toBe('ADDED');
      const { items } = await api.listNamespacedConfigMap({ namespace: 'default', limit: 50 });
      expect(items.map(({ metadata }) => metadata?.name)).toContain('node');
      await expect(api.listNamespacedSecret({ namespace: 'kube-system' })).rejects.toMatchObject({ code: 403 });
      await api.deleteNamespacedConfigMap({ namespace: 'default', name: 'node' });
    } finally {
      watching.abort();
    }
  });

  it("Python's client", LIMIT, async () => {
    const folder = await pythonFolder(['kubernetes==34.1.0']);
    const environment = { ...process.env, PYTHONPATH: folder, KUBECONFIG: await ground.kubeconfig() };
    const { stdout } = await run('python3', ['-c', PYTHON], { env: environment });
    expect(JSON.parse(stdout)).toEqual({
      version: 'v1.34.4',
      patched: 'b',
      more: true,
      seen: ['kube-root-ca.crt', 'python'],
      denied: [403, 'Forbidden'],
    });
  });

  it('client-go with protobuf and an informer', LIMIT, async () => {
    const file = await goProgram(path.join(import.meta.dirname, 'kubeclient'));
    const { stdout } = await run(file, { env: { ...process.env, KUBECONFIG: await ground.kubeconfig() } });
    const result = JSON.parse(stdout) as Record<string, unknown>;
    expect(result).toMatchObject({
      ...{ version: 'v1.34.4', created: true, patched: 'c', pages: 2, listed: 4, deleted: true },
      ...{ forbidden: true, reason: 'Forbidden' },
      causes: expect.arrayContaining(['SallyportCode', 'SallyportSession']),
      seen: expect.arrayContaining(['add go-0', 'add go-2', 'delete go-0']),
    });
  });
});
