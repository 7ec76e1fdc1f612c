/** The project's Helm chart on a cluster of a test. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { repositoryRoot } from '../support/sallyport.ts';
import type { ControlPlane } from './control-plane.ts';
import { helm } from './programs.ts';

const run = promisify(execFile);

export const CHART = path.join(repositoryRoot, 'charts/sallyport');
export const OPERATOR_NAMESPACE = 'sallyport-system';

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

/** Values such as `fences.enabled=false`, as `--set-json` takes them. */
export type Values = readonly string[];

const settings = (values: Values): string[] => values.flatMap((value) => ['--set-json', value]);

/** What the chart makes of these values. Hooks are left out, since they are not part of an installation. @throws with what helm says */
export async function renderChart(values: Values = [], hooks = false): Promise<readonly Manifest[]> {
  const parameters = ['template', 'sallyport', CHART, '--namespace', OPERATOR_NAMESPACE, ...settings(values)];
  const { stdout } = await run(await helm(), hooks ? parameters : [...parameters, '--no-hooks'], {
    maxBuffer: 64 * 1024 * 1024,
  });
  return parseAllDocuments(stdout)
    .map((document) => document.toJS() as Manifest | null)
    .filter((manifest) => manifest !== null);
}

/** `helm` against a cluster. @throws with what it says */
export async function helmOn(cluster: ControlPlane, parameters: readonly string[]): Promise<string> {
  const { stdout } = await run(await helm(), ['--kubeconfig', cluster.kubeconfig, ...parameters], {
    maxBuffer: 64 * 1024 * 1024,
    env: { ...process.env, HELM_CACHE_HOME: path.join(cluster.folder, 'helm') },
  });
  return stdout;
}

/** `helm install`. @throws with what it says */
export const installChart = (cluster: ControlPlane, values: Values = []): Promise<string> =>
  helmOn(cluster, [
    ...['install', 'sallyport', CHART, '--namespace', OPERATOR_NAMESPACE, '--create-namespace'],
    ...settings(values),
  ]);
