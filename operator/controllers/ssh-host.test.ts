import { generateKeyPairSync } from 'node:crypto';
import { expect, test } from 'vitest';
import { SSH_HOST } from '../../api/cluster.ts';
import type { AccessConnection } from '../../api/resources.ts';
import { parseCertificate } from '../../certificate/openssh/certificate.ts';
import { parsePrivateKey } from '../../certificate/openssh/private-key.ts';
import { parsePublicKeyLine, publicKeyOf } from '../../certificate/openssh/public-key.ts';
import { certificateProblem } from '../../certificate/openssh/verify.ts';
import type { Secret } from '../../kube/builtin.ts';
import type { Applier } from '../apply/applier.ts';
import { createKeyRing } from '../pki/key-ring.ts';
import { newMaterial, readMaterial, renewed, writeMaterial } from '../pki/material.ts';
import { sshHostFor } from './ssh-host.ts';

const NOW = Date.parse('2030-01-01T00:00:00Z');
const DAY_MS = 86_400_000;

const connection = (name: string, host: string, more: Partial<AccessConnection['spec']> = {}): AccessConnection => ({
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'AccessConnection',
  metadata: { namespace: 'shop', name },
  spec: { protocol: 'SSH', target: { host, port: 22 }, ...more },
});

function ground(first = newMaterial(NOW)) {
  let now = NOW;
  let stored: Secret | undefined;
  const keys = createKeyRing(first, () => now);
  const applier = { current: () => stored } as unknown as Applier;
  return {
    keys,
    at: (ms: number) => {
      now = ms;
    },
    /** As the controller does: what was made is there the next time. */
    host(connections: readonly AccessConnection[]) {
      const made = sshHostFor({ keys, applier, now: () => now }, 'shop', connections);
      const data = Object.fromEntries(
        Object.entries(made.data).map(([name, value]) => [name, Buffer.from(value).toString('base64')]),
      );
      stored = { apiVersion: 'v1', kind: 'Secret', metadata: { namespace: 'shop', name: 'x' }, data };
      return made;
    },
    put(name: string, value: string) {
      stored = { ...stored!, data: { ...stored?.data, [name]: Buffer.from(value).toString('base64') } };
    },
  };
}

const certificateIn = (line = '') => parseCertificate(Buffer.from(line.split(' ')[1] ?? '', 'base64'));

test('one key, and a certificate for the hosts of each SSH connection that clients of the trust line believe', () => {
  const { host, keys } = ground();
  const { data } = host([
    connection('edge', 'Edge.example.com'),
    connection('git', 'git', { routing: 'Gateway' }),
    connection('box', 'box.ops'),
    connection('archive', 'sallyport-archive.sallyport-system.svc'),
    connection('orders', 'db', { protocol: 'Postgres' }),
  ]);
  expect(Object.keys(data)).toEqual([
    SSH_HOST.key,
    'ssh_host_edge-cert.pub',
    'ssh_host_git-cert.pub',
    'ssh_host_box-cert.pub',
  ]);
  const key = publicKeyOf(parsePrivateKey(data[SSH_HOST.key] ?? ''));
  const authority = parsePublicKeyLine(keys.sshKnownHosts().replace('@cert-authority * ', '').trim());
  for (const [name, host] of [
    ['edge', 'edge.example.com'],
    ['git', 'git-sallyport.shop.svc'],
    ['box', 'box.ops.svc.cluster.local'],
  ] as const) {
    const certificate = certificateIn(data[SSH_HOST.certificate(name)]);
    expect(certificate.key.blob).toEqual(key.blob);
    expect(
      certificateProblem(certificate, { use: 'host', authorities: [authority], principals: [host], now: NOW }),
    ).toBeUndefined();
  }
  // Behind a gateway the target's own name leads past Sallyport.
  expect(certificateIn(data['ssh_host_git-cert.pub']).principals).not.toContain('git');
  expect(ground().host([connection('orders', 'db', { protocol: 'Postgres' })]).data).toEqual({});
});

test('what is there stays until it nears its end, is about other hosts, or is of another authority', () => {
  const g = ground();
  const edge = [connection('edge', 'edge.example.com')];
  const { data: first, renewAt } = g.host(edge);
  expect(g.host(edge).data).toEqual(first);
  expect(renewAt).toBeGreaterThan(NOW + 50 * DAY_MS);
  const moved = g.host([connection('edge', 'other.example.com')]).data;
  expect(moved[SSH_HOST.key]).toBe(first[SSH_HOST.key]);
  expect(certificateIn(moved['ssh_host_edge-cert.pub']).principals).toEqual(['other.example.com']);
  const back = g.host(edge).data;
  g.at(renewAt + 1000);
  const renewal = g.host(edge).data;
  expect(renewal).not.toEqual(back);
  expect(renewal[SSH_HOST.key]).toBe(first[SSH_HOST.key]);
  g.put('ssh_host_edge-cert.pub', 'what somebody else wrote');
  expect(certificateIn(g.host(edge).data['ssh_host_edge-cert.pub']).principals).toEqual(['edge.example.com']);
  g.put(SSH_HOST.key, 'neither a key');
  expect(g.host(edge).data[SSH_HOST.key]).not.toBe(first[SSH_HOST.key]);
  g.keys.replace(newMaterial(NOW));
  const authorities = [publicKeyOf(g.keys.sshHostAuthority()!)];
  const certificate = certificateIn(g.host(edge).data['ssh_host_edge-cert.pub']);
  expect(certificateProblem(certificate, { use: 'host', authorities, now: renewAt + 1000 })).toBeUndefined();
});

test('keys of an older version get an authority for SSH hosts, and keep the rest', () => {
  const { sshHostAuthority: _none, ...old } = newMaterial(NOW);
  const before = { ...old, sshHostAuthority: undefined };
  expect(ground(before).host([connection('edge', 'edge')]).data).toEqual({});
  expect(ground(before).keys.sshKnownHosts()).toBe('');
  const after = renewed(before, NOW);
  expect(after).toMatchObject({ signer: old.signer, signingKey: old.signingKey });
  expect(readMaterial(writeMaterial(after))).toEqual(after);
  expect(renewed(after, NOW)).toBe(after);
  const wrong = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' });
  expect(() => readMaterial({ ...writeMaterial(after), 'ssh-host-ca.key': wrong.toString() })).toThrow('not Ed25519');
});
