import type { AccessConnection, Resources } from '../../api/resources.ts';
import type { PolicyScope } from '../bundle.ts';
import type { RuleSpec } from '../rule.ts';
import { connection, policy, scopeOf } from './build.ts';

/** Short ways to write SSH rules in tests of the engine. */

export type SshSpec = NonNullable<RuleSpec['ssh']>;

export const HOST_KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIf1Q3nHGSeaXrGXGrTmk5HFyzUHc8LmQvTgV6G3vTyO';

export function sshConnection(name = 'web', spec: Partial<AccessConnection['spec']> = {}): AccessConnection {
  const { spec: base, ...rest } = connection(name);
  return {
    ...rest,
    spec: {
      ...base,
      protocol: 'SSH',
      target: { host: `${name}.internal`, port: 22, hostKeys: [HOST_KEY] },
      credential: { sshCertificate: { caSecretRef: { name: 'ca' }, principals: ['deploy'] } },
      ...spec,
    },
  };
}

export const allowSsh = (name: string, ssh: SshSpec, rest: Partial<RuleSpec> = {}): RuleSpec => ({
  name,
  effect: 'Allow',
  ssh: { loginUsers: ['deploy'], ...ssh },
  ...rest,
});
export const allowExec = (name: string, commands: string[], rest: Partial<RuleSpec> = {}): RuleSpec =>
  allowSsh(name, { operations: ['Exec'], commands }, rest);

/** The scope of everybody on one SSH connection. */
export function sshScope(rules: readonly RuleSpec[], resources: Partial<Resources> = {}): PolicyScope {
  return scopeOf({ connections: [sshConnection()], policies: [policy('p', rules)], ...resources }, undefined, 'web');
}
