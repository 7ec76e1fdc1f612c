/** Installs Sallyport as its users do: the chart, with helm. */
import path from 'node:path';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { CONNECTOR_IMAGE, SALLYPORT_IMAGE } from '../cluster/images.ts';
import { helm } from '../cluster/programs.ts';
import { repositoryRoot } from '../support/sallyport.ts';

export const OPERATOR_NAMESPACE = 'sallyport-system';
export const CHART = path.join(repositoryRoot, 'charts', 'sallyport');

const image = (prefix: string, reference: string): string[] => {
  // A registry may have a port.
  const [, repository = reference, tag = ''] = /^(.+?)(?::([^/:]+))?$/.exec(reference) ?? [];
  return ['--set-string', `${prefix}.repository=${repository},${prefix}.tag=${tag}`];
};

/** Parameters of helm that install the chart, or bring an installation to it, and wait until the operator serves. */
export const chartParameters = (product: string, connector: string): readonly string[] => [
  ...['upgrade', '--install', 'sallyport', CHART, '--namespace', OPERATOR_NAMESPACE, '--create-namespace'],
  ...['--wait', '--timeout', '5m', ...image('image', product), ...image('connectorImage', connector)],
];

/** Runs helm against the cluster; its standard output. */
export async function runHelm(cluster: ControlPlane, parameters: readonly string[]): Promise<string> {
  const environment = { KUBECONFIG: cluster.kubeconfig };
  const { stdout } = await cluster.exec(await helm(), parameters, {
    environment,
  });
  return stdout;
}

/** Installs the chart and waits until the operator serves. */
export async function installSallyport(cluster: ControlPlane, values: readonly string[] = []): Promise<void> {
  await runHelm(cluster, [...chartParameters(SALLYPORT_IMAGE, CONNECTOR_IMAGE), ...values]);
}

export const uninstallSallyport = (cluster: ControlPlane): Promise<string> =>
  runHelm(cluster, ['uninstall', 'sallyport', '--namespace', OPERATOR_NAMESPACE, '--wait', '--timeout', '5m']);
