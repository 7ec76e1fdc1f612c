import { isIP } from 'node:net';
import type { Finding, Loaded } from '../../api/load.ts';
import { type CliErrorCode, cliMessage } from '../errors.ts';

const OWN_API_SERVER = /^kubernetes\.default(\.svc(\.cluster\.local)?)?$/;
const LOOPBACK = /^(localhost|127\..*|::1)$/;

/** Finds Kubernetes and HTTP connections that work and are not what somebody wants who has thought about it. */
export function checkApis({ resources, places }: Loaded): Finding[] {
  return resources.connections.flatMap(({ metadata, spec }) => {
    const label = `${metadata.namespace}/${metadata.name}`;
    const warning = (path: readonly string[], code: CliErrorCode, ...fills: readonly string[]): Finding => {
      const place = places.get(`AccessConnection/${label}`)?.(path) ?? { file: '', line: 1, column: 1 };
      return { severity: 'warning', ...place, code, ...cliMessage(code, [label, ...fills]) };
    };
    const { protocol, target, credential } = spec;
    if (protocol !== 'Kubernetes' && protocol !== 'HTTP') return [];
    const elsewhere =
      credential?.impersonate !== undefined &&
      credential.impersonate.secretRef === undefined &&
      isIP(target.host) === 0 &&
      !OWN_API_SERVER.test(target.host);
    const inTheClear = credential !== undefined && target.tls?.mode === 'Disable' && !LOOPBACK.test(target.host);
    return [
      ...(elsewhere ? [warning(['spec', 'credential', 'impersonate'], 'SPC047', target.host)] : []),
      ...(inTheClear ? [warning(['spec', 'target', 'tls', 'mode'], 'SPC048', target.host)] : []),
    ];
  });
}
