import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { agentsNetworkPolicy } from './agents-network-policy.ts';
import { archiveConfigMap } from './archive-config-map.ts';
import { archiveNetworkPolicy } from './archive-network-policy.ts';
import { archiveService } from './archive-service.ts';
import { archiveServiceAccount } from './archive-service-account.ts';
import { archiveStatefulSet } from './archive-stateful-set.ts';
import { bundleConfigMaps } from './bundle-config-maps.ts';
import { caConfigMap } from './ca-config-map.ts';
import { proxyDeployment } from './deployment.ts';
import { proxyDisruptionBudget } from './disruption-budget.ts';
import { impersonatorBinding } from './impersonator-binding.ts';
import { impersonatorRole, impersonatorRoleBinding } from './impersonator-role.ts';
import { AGENTS_INPUTS, ARCHIVE_INPUTS, IMPERSONATION, PROXY_INPUTS } from './inputs.fixture.ts';
import { podReaderBinding } from './pod-reader-binding.ts';
import { proxyConfigurationMap } from './proxy-configuration.ts';
import { proxyNetworkPolicy } from './proxy-network-policy.ts';
import { proxyRole } from './role.ts';
import { proxyRoleBinding } from './role-binding.ts';
import { tlsSecret, tokenKeySecret } from './secrets.ts';
import { proxyServiceAccount } from './service-account.ts';
import { gatewayServices, proxyReplicasService, proxyService } from './services.ts';
import { tokenRequester } from './token-requester.ts';
import { tokenReviewerBinding } from './token-reviewer-binding.ts';

/** Files with what each builder makes. UPDATE_GOLDEN=1 writes them anew: read the difference before it is committed. */
const folder = path.join(import.meta.dirname, '../../test/golden/operator');

const BUNDLE = {
  hash: 'sha256:aa',
  content: 'sha256:bb',
  sequence: 7,
  signature: 'c2lnbmF0dXJl',
  pieces: [Buffer.from('one'), Buffer.from('two')],
};
const PAIR = { certificate: 'CERTIFICATE', key: 'KEY' };
const CONFIGURATION = { files: { 'configuration.yaml': 'CONFIGURATION', 'ca.crt': 'AUTHORITY' }, issuerPorts: [443] };
const TLS = { namespace: 'shop', name: 'sallyport-proxy-tls', component: 'proxy', served: 'shop' } as const;

const OBJECTS: Readonly<Record<string, () => unknown>> = {
  'agents-network-policy': () => agentsNetworkPolicy(AGENTS_INPUTS),
  'agents-network-policy-locked': () => agentsNetworkPolicy({ ...AGENTS_INPUTS, locked: true }),
  'agents-network-policy-whole': () => agentsNetworkPolicy({ ...AGENTS_INPUTS, wholeNamespace: true }),
  'archive-config-map': () => archiveConfigMap(ARCHIVE_INPUTS, AGENTS_INPUTS.trust),
  'archive-network-policy': () => archiveNetworkPolicy(ARCHIVE_INPUTS),
  'archive-service': () => archiveService(ARCHIVE_INPUTS),
  'archive-service-account': () => archiveServiceAccount(ARCHIVE_INPUTS),
  'archive-stateful-set': () => archiveStatefulSet({ ...ARCHIVE_INPUTS, storageClass: 'fast' }),
  'bundle-config-maps': () => bundleConfigMaps('shop', PROXY_INPUTS.owners, BUNDLE),
  'ca-config-map': () => caConfigMap(AGENTS_INPUTS),
  deployment: () => proxyDeployment(PROXY_INPUTS),
  'deployment-configured': () => proxyDeployment({ ...PROXY_INPUTS, configuration: CONFIGURATION }),
  'disruption-budget': () => proxyDisruptionBudget(PROXY_INPUTS),
  'impersonator-binding': () => impersonatorBinding('shop'),
  'impersonator-role': () => [impersonatorRole('bots', IMPERSONATION), impersonatorRoleBinding('bots', IMPERSONATION)],
  'pod-reader-binding': () => podReaderBinding(AGENTS_INPUTS),
  'proxy-configuration': () => proxyConfigurationMap(PROXY_INPUTS, CONFIGURATION),
  'proxy-network-policy': () => proxyNetworkPolicy(PROXY_INPUTS),
  'proxy-network-policy-configured': () => proxyNetworkPolicy({ ...PROXY_INPUTS, configuration: CONFIGURATION }),
  role: () => proxyRole(PROXY_INPUTS),
  'role-binding': () => proxyRoleBinding(PROXY_INPUTS),
  'secret-tls': () => tlsSecret(TLS, PROXY_INPUTS.owners, PAIR, 'TRUST'),
  'secret-token-key': () => tokenKeySecret('shop', PROXY_INPUTS.owners, Buffer.from('key')),
  'service-account': () => proxyServiceAccount(PROXY_INPUTS),
  services: () => [proxyService(PROXY_INPUTS), proxyReplicasService(PROXY_INPUTS), ...gatewayServices(PROXY_INPUTS)],
  'token-requester': () => tokenRequester(PROXY_INPUTS),
  'token-reviewer-binding': () => tokenReviewerBinding('shop'),
};

describe('builders', () => {
  test.each(Object.entries(OBJECTS))('%s is as it was', async (name, build) => {
    const file = path.join(folder, `${name}.yaml`);
    const made = stringify(build(), { lineWidth: 0, aliasDuplicateObjects: false });
    if (process.env['UPDATE_GOLDEN'] === '1') {
      await mkdir(folder, { recursive: true });
      await writeFile(file, made);
    }
    expect(made).toBe(await readFile(file, 'utf8'));
  });

  test('every file is one that a builder makes', async () => {
    expect((await readdir(folder)).sort()).toEqual(
      Object.keys(OBJECTS)
        .map((name) => `${name}.yaml`)
        .sort(),
    );
  });
});
