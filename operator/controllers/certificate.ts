import { createPrivateKey, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { NAMES } from '../../api/cluster.ts';
import type { AccessConnection } from '../../api/resources.ts';
import { SECRETS, type Secret } from '../../kube/builtin.ts';
import type { ControllerContext } from '../context.ts';
import { gatewayServiceName } from '../desired/services.ts';
import { isStale, type LeafRequest } from '../pki/key-ring.ts';
import { type Pair, renewalTime } from '../pki/material.ts';
import { isOwnName } from '../targets/own-names.ts';

/** Long enough for a weekend without operator, short enough that losing one is not for ever. */
const LIFETIME_MS = 90 * 86_400_000;

/** The proxy's: for its Services, for gateways, and for every target, since agents verify the name that they dial. */
export function proxyCertificate(namespace: string, connections: readonly AccessConnection[]): LeafRequest {
  const service = `${NAMES.proxy}.${namespace}.svc`;
  const gateways = connections.filter(({ spec }) => spec.routing === 'Gateway').flatMap(connectionHosts);
  const hosts = connections
    .flatMap(({ spec }) => namesOf(spec.target.host, namespace))
    .filter((name) => !isOwnName(name));
  return {
    commonName: `${namespace}/${NAMES.proxy}`,
    names: [
      ...new Set([
        service,
        `${service}.cluster.local`,
        `*.${NAMES.proxyReplicas}.${namespace}.svc`,
        ...gateways,
        ...hosts,
      ]),
    ].sort(),
    use: 'peer',
    lifetimeMs: LIFETIME_MS,
  };
}

/** The names that clients of one connection may dial it by. */
export function connectionHosts({ metadata, spec }: AccessConnection): string[] {
  const { namespace, name } = metadata;
  if (spec.routing === 'Gateway') {
    const service = gatewayServiceName(name);
    return [`${service}.${namespace}`, `${service}.${namespace}.svc`, `${service}.${namespace}.svc.cluster.local`];
  }
  return namesOf(spec.target.host, namespace).filter((host) => !isOwnName(host));
}

/** A target as agents may write it: the short names of a Service and its long ones are one target. */
function namesOf(host: string, namespace: string): string[] {
  if (isIP(host) !== 0) return [host];
  const labels = host.split('.');
  if (labels.length === 1) {
    const full = `${host}.${namespace}.svc`;
    return [host, `${host}.${namespace}`, full, `${full}.cluster.local`];
  }
  if (labels.length === 2) return [host, `${host}.svc`, `${host}.svc.cluster.local`];
  if (labels.at(-1) === 'svc') return [host, host.slice(0, -'.svc'.length), `${host}.cluster.local`];
  if (host.endsWith('.svc.cluster.local')) {
    return [host, host.slice(0, -'.cluster.local'.length), host.slice(0, -'.svc.cluster.local'.length)];
  }
  return [host];
}

export function archiveCertificate(namespace: string): LeafRequest {
  const service = `${NAMES.archive}.${namespace}.svc`;
  return {
    commonName: NAMES.archive,
    names: [service, `${service}.cluster.local`],
    use: 'peer',
    lifetimeMs: LIFETIME_MS,
  };
}

/** The pair that belongs into the Secret: the one that is there, or a new one where that nears its end or says something else. */
export function certificateFor(
  context: Pick<ControllerContext, 'keys' | 'applier' | 'now'>,
  at: { readonly namespace: string; readonly name: string },
  request: LeafRequest,
): { readonly pair: Pair; readonly renewAt: number } {
  const present = pairOf(context.applier.current(SECRETS, at.namespace, at.name));
  const keep = present !== undefined && !isStale(present.certificate, context.keys, request, context.now());
  const pair = keep ? present : context.keys.issue(request);
  return { pair, renewAt: renewalTime(pair.certificate) };
}

/** Undefined when it has none, or key and certificate do not belong together. */
function pairOf(secret: Secret | undefined): Pair | undefined {
  const text = (name: string): string => Buffer.from(secret?.data?.[name] ?? '', 'base64').toString('utf8');
  const [certificate, key] = [text('tls.crt'), text('tls.key')];
  try {
    return new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key)) ? { certificate, key } : undefined;
  } catch {
    // Neither PEM nor anything that was made here: made anew.
    return undefined;
  }
}
