import { describe, expect, test } from 'vitest';
import { kubeconfigCredential } from './kubeconfig.ts';

const target = { host: 'api.example.com', port: 6443, tls: { mode: 'VerifyFull' } } as const;
const b64 = (text: string): string => Buffer.from(text).toString('base64');

interface Change {
  readonly cluster?: object;
  readonly user?: object;
  readonly top?: object;
}

const config = ({ cluster = {}, user = { token: 'secret-token' }, top = {} }: Change = {}): Buffer =>
  Buffer.from(
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [
        {
          name: 'c',
          cluster: {
            server: 'https://api.example.com:6443',
            'certificate-authority-data': b64('authority'),
            ...cluster,
          },
        },
      ],
      users: [{ name: 'u', user }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
      ...top,
    }),
  );

describe('a kubeconfig in a Secret', () => {
  test('gives a token and the authority', async () => {
    await expect(kubeconfigCredential('shop/other', config(), target)).resolves.toEqual({
      token: 'secret-token',
      certificateAuthorities: 'authority',
    });
  });

  test('gives a client certificate and the name to verify', async () => {
    const user = { 'client-certificate-data': b64('certificate'), 'client-key-data': b64('key') };
    const made = config({ user, cluster: { 'tls-server-name': 'kubernetes' } });
    await expect(kubeconfigCredential('shop/other', made, target)).resolves.toEqual({
      clientCertificate: { certificate: 'certificate', key: 'key' },
      certificateAuthorities: 'authority',
      serverName: 'kubernetes',
    });
  });

  test.each<readonly [string, Change]>([
    ['exec plugins are not run', { user: { exec: { command: 'sh' } } }],
    ['it names a file', { user: { tokenFile: '/etc/shadow' } }],
    ['it names a file', { user: { 'client-key': '/etc/key', 'client-certificate': '/etc/crt' } }],
    ['it names a file', { cluster: { 'certificate-authority': '/etc/ca' } }],
    ['it impersonates', { user: { token: 'x', as: 'admin' } }],
    ['basic authentication', { user: { username: 'a', password: 'b' } }],
    ['proxy-url', { cluster: { 'proxy-url': 'http://elsewhere' } }],
    ['does not verify', { cluster: { 'insecure-skip-tls-verify': true } }],
    ['not the target', { cluster: { server: 'https://elsewhere.example.com:6443' } }],
    ['not the target', { cluster: { server: 'https://api.example.com' } }],
    ['no https URL', { cluster: { server: 'http://api.example.com:6443' } }],
    ['has a path', { cluster: { server: 'https://api.example.com:6443/k8s/clusters/c' } }],
    ['needs its key', { user: { 'client-certificate-data': b64('certificate') } }],
    ['neither a token', { user: {} }],
    ['leads to no entry', { top: { 'current-context': 'other' } }],
    ['not a text', { user: { token: 7 } }],
  ])('is refused: %s (%#)', async (why, change) => {
    const refused = kubeconfigCredential('shop/other', config(change), target);
    await expect(refused).rejects.toMatchObject({ code: 'SPA030', message: expect.stringContaining(why) });
    await expect(refused).rejects.toMatchObject({ message: expect.not.stringContaining('secret-token') });
  });

  test('that is no YAML is refused without a word of it', async () => {
    const refused = kubeconfigCredential('shop/other', Buffer.from('token: [secret-token'), target);
    await expect(refused).rejects.toMatchObject({ message: expect.not.stringContaining('secret-token') });
  });
});
