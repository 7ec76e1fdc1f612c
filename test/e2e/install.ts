/** Installs Sallyport as its users do: the chart, with helm. */
import path from 'node:path';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { CONNECTOR_IMAGE, SALLYPORT_IMAGE } from '../cluster/images.ts';
import { helm } from '../cluster/programs.ts';
import { repositoryRoot } from '../support/sallyport.ts';

export const OPERATOR_NAMESPACE = 'sallyport-system';
export const CHART = path.join(repositoryRoot, 'charts', 'sallyport');

const image = (prefix: string, reference: string): string[] => {
  const [repository, tag] = reference.split(':');
  return ['--set', `${prefix}.repository=${repository},${prefix}.tag=${tag}`];
};

/** The chart's values for the images of this working tree. */
export const imageValues = (): string[] => [
  ...image('image', SALLYPORT_IMAGE),
  ...image('connectorImage', CONNECTOR_IMAGE),
];

/** Runs helm against the cluster; its standard output. */
export async function runHelm(cluster: ControlPlane, parameters: readonly string[]): Promise<string> {
  const environment = { KUBECONFIG: cluster.kubeconfig };
  const { stdout } = await cluster.exec(await helm(), ['--namespace', OPERATOR_NAMESPACE, ...parameters], {
    environment,
  });
  return stdout;
}

/** Installs the chart and waits until the operator serves. */
export async function installSallyport(cluster: ControlPlane, values: readonly string[] = []): Promise<void> {
  const wait = ['--create-namespace', '--wait', '--timeout', '5m'];
  await runHelm(cluster, ['install', 'sallyport', CHART, ...wait, ...imageValues(), ...values]);
}

export const uninstallSallyport = (cluster: ControlPlane): Promise<string> =>
  runHelm(cluster, ['uninstall', 'sallyport', '--wait', '--timeout', '5m']);
