import { expect, test } from 'vitest';
import type { Loaded } from '../../api/load.ts';
import type { AccessConnection } from '../../api/resources.ts';
import { checkApis } from './validate-apis.ts';

function codes(spec: object): readonly string[] {
  const connection = { metadata: { namespace: 'shop', name: 'api' }, spec };
  const loaded = {
    resources: { connections: [connection as unknown as AccessConnection], policies: [], maskingRules: [] },
    places: new Map(),
  } as unknown as Loaded;
  return checkApis(loaded).map(({ severity, code }) => `${severity} ${code}`);
}

const clear = { tls: { mode: 'Disable' } };

test.each([
  ['the API server of this cluster', 'Kubernetes', { host: 'kubernetes.default.svc' }, { impersonate: {} }, []],
  [
    'another one, by its own account',
    'Kubernetes',
    { host: 'api.example.com' },
    { impersonate: {} },
    ['warning SPC047'],
  ],
  [
    'another one, by a Secret',
    'Kubernetes',
    { host: 'api.example.com' },
    { impersonate: { secretRef: { name: 'a' } } },
    [],
  ],
  [
    'a credential in the clear',
    'HTTP',
    { host: 'stock.shop.svc', ...clear },
    { secretRef: { name: 'a' } },
    ['warning SPC048'],
  ],
  ['a credential to this machine', 'HTTP', { host: '127.0.0.1', ...clear }, { secretRef: { name: 'a' } }, []],
  ['plaintext without a credential', 'HTTP', { host: 'stock.shop.svc', ...clear }, undefined, []],
  [
    'a database in the clear, which has other means',
    'Postgres',
    { host: 'db.shop.svc', ...clear },
    { secretRef: { name: 'a' } },
    [],
  ],
])('%s', (_what, protocol, target, credential, expected) => {
  expect(codes({ protocol, target, credential })).toEqual(expected);
});
