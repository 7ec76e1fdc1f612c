import { expect, test } from 'vitest';
import type { Loaded } from '../../api/load.ts';
import type { AccessConnection } from '../../api/resources.ts';
import { checkSshKeys } from './validate-ssh.ts';

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIf1Q3nHGSeaXrGXGrTmk5HFyzUHc8LmQvTgV6G3vTyO';

function findings(spec: object): readonly string[] {
  const connection = { metadata: { namespace: 'shop', name: 'host' }, spec: { protocol: 'SSH', ...spec } };
  const loaded = {
    resources: { connections: [connection as unknown as AccessConnection], policies: [], maskingRules: [] },
    places: new Map(),
  } as unknown as Loaded;
  return checkSshKeys(loaded).map(({ severity, code, message }) => `${severity} ${code} ${message}`);
}

test('keys that can be used are passed over, and those that cannot are named with their place', () => {
  const trusted = { publicKey: KEY, subjects: [] };
  expect(
    findings({
      target: { hostKeys: [KEY, `@cert-authority ${KEY} ca`] },
      ssh: { authorizedKeys: [{ publicKey: `${KEY} me` }], trustedUserCAs: [trusted] },
    }),
  ).toEqual([]);
  expect(
    findings({
      target: { hostKeys: [KEY, KEY.slice(0, -4)] },
      ssh: {
        authorizedKeys: [{ publicKey: KEY.replace('ssh-ed25519', 'ssh-rsa') }],
        trustedUserCAs: [trusted, { ...trusted, publicKey: 'ssh-ed25519 AAAA' }],
      },
    }),
  ).toEqual([
    'error SPC044 AccessConnection shop/host: spec.target.hostKeys[1] is no key that can be used: it is cut off',
    'error SPC044 AccessConnection shop/host: spec.ssh.authorizedKeys[0].publicKey is no key that can be used: the type in front is not that of the key',
    'error SPC044 AccessConnection shop/host: spec.ssh.trustedUserCAs[1].publicKey is no key that can be used: it is cut off',
  ]);
});
