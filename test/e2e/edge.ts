/** A host of the shop that agents reach by ssh, with an sshd that trusts Sallyport's certificates. As manifests. */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { stringify } from 'yaml';
import { formatPrivateKey } from '../../certificate/openssh/private-key.ts';
import { formatPublicKey, publicKeyOf } from '../../certificate/openssh/public-key.ts';
import { AGENTS, SHOP, type ShopImage } from './shop.ts';

export const EDGE_HOST = 'edge.shop.svc';

const key = (): { readonly secret: string; readonly line: string } => {
  const { privateKey } = generateKeyPairSync('ed25519');
  return {
    secret: formatPrivateKey(privateKey, '', randomBytes(4).readUInt32BE()),
    line: formatPublicKey(publicKeyOf(privateKey)),
  };
};

/** Without root: sshd lets in the one user that it runs as. */
const START = `
set -eu
install -m 600 /start/host_key /data/host_key
exec /usr/sbin/sshd -D -e -f /start/sshd_config
`;
const SSHD_CONFIG = `
Port 22
HostKey /data/host_key
PidFile none
TrustedUserCAKeys /start/user_ca.pub
AuthorizedKeysFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
LogLevel VERBOSE
`;

const named = (name: string) => ({ name, namespace: SHOP });

/** Host, credential, AccessConnection and policy. Agents may ask who they are there. */
export function edgeManifests(image: ShopImage): string {
  const [host, authority] = [key(), key()];
  const labels = { app: 'edge' };
  const start = { 'start.sh': START, sshd_config: SSHD_CONFIG, 'user_ca.pub': authority.line, host_key: host.secret };
  const users = `root:x:0:0::/:/bin/sh\ndeploy:x:${image.user}:${image.group}::/tmp:/bin/sh\n`;
  const objects = [
    { apiVersion: 'v1', kind: 'Secret', metadata: named('edge-start'), stringData: { ...start, passwd: users } },
    {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: named('edge-ca'),
      type: 'kubernetes.io/ssh-auth',
      stringData: { 'ssh-privatekey': authority.secret },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: named('edge'),
      spec: {
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            securityContext: {
              runAsUser: image.user,
              runAsGroup: image.group,
              fsGroup: image.group,
              sysctls: [{ name: 'net.ipv4.ip_unprivileged_port_start', value: '0' }],
            },
            terminationGracePeriodSeconds: 0,
            containers: [
              {
                name: 'sshd',
                image: image.name,
                command: ['sh', '/start/start.sh'],
                securityContext: {
                  allowPrivilegeEscalation: false,
                  runAsNonRoot: true,
                  capabilities: { drop: ['ALL'] },
                  seccompProfile: { type: 'RuntimeDefault' },
                },
                readinessProbe: { tcpSocket: { port: 22 }, periodSeconds: 1 },
                volumeMounts: [
                  { name: 'data', mountPath: '/data' },
                  { name: 'start', mountPath: '/start' },
                  { name: 'start', mountPath: '/etc/passwd', subPath: 'passwd' },
                ],
              },
            ],
            volumes: [
              { name: 'data', emptyDir: {} },
              { name: 'start', secret: { secretName: 'edge-start' } },
            ],
          },
        },
      },
    },
    { apiVersion: 'v1', kind: 'Service', metadata: named('edge'), spec: { selector: labels, ports: [{ port: 22 }] } },
    {
      apiVersion: 'sallyport.dev/v1alpha1',
      kind: 'AccessConnection',
      metadata: named('edge'),
      spec: {
        protocol: 'SSH',
        target: { host: EDGE_HOST, port: 22, hostKeys: [host.line] },
        allowedNamespaces: { from: 'Selector', selector: { matchLabels: { 'kubernetes.io/metadata.name': AGENTS } } },
        credential: { sshCertificate: { caSecretRef: { name: 'edge-ca' }, principals: ['deploy'] } },
      },
    },
    {
      apiVersion: 'sallyport.dev/v1alpha1',
      kind: 'AccessPolicy',
      metadata: named('edge'),
      spec: {
        connections: { names: ['edge'] },
        subjects: [{ serviceAccount: { name: 'agent', namespace: AGENTS } }],
        rules: [
          {
            name: 'who-am-i',
            effect: 'Allow',
            ssh: { operations: ['Exec'], loginUsers: ['deploy'], commands: ['id **'] },
          },
        ],
      },
    },
  ];
  return objects.map((object) => stringify(object)).join('---\n');
}
