import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:https';
import { connect as connectPlain } from 'node:net';
import { connect } from 'node:tls';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createKeyRing } from '../pki/key-ring.ts';
import { newAuthority, newMaterial } from '../pki/material.ts';
import type { AdmissionHandler } from './admission.ts';
import { caBundlePatch } from './ca-bundle.ts';
import { hostNames } from './injection/host-names.ts';
import { loopbackAddresses } from './injection/loopback.ts';
import { serveWebhooks, type WebhookServer } from './server.ts';
import { createServingCertificate, LEAF_MS } from './serving-certificate.ts';

const quiet = { info: () => {}, warn: () => {}, error: () => {} };
const certificateOf = (keys: ReturnType<typeof createKeyRing>, now = Date.now) =>
  createServingCertificate({
    keys,
    namespace: 'sallyport-system',
    now,
    onFailure: (error) => {
      throw error;
    },
  });

const review = { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' };
const asked = {
  ...review,
  request: { uid: 'u1', kind: {}, resource: { resource: 'pods' }, userInfo: {}, operation: 'CREATE', object: {} },
};

describe('the server', () => {
  const keys = createKeyRing(newMaterial(Date.now()), Date.now);

  async function serving(handler: AdmissionHandler, more: object = {}): Promise<WebhookServer> {
    const certificate = certificateOf(keys);
    const options = { host: '127.0.0.1', port: 0, handlers: { '/inject': handler }, log: quiet, ...more };
    return serveWebhooks({ ...options, certificate: certificate.context });
  }

  function post(
    server: WebhookServer,
    body: string,
    path = '/inject',
    localAddress = '127.0.0.1',
  ): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          host: '127.0.0.1',
          port: server.address.port,
          path,
          localAddress,
          agent: false,
          method: 'POST',
          ca: keys.trust(),
          headers: { 'content-type': 'application/json' },
        },
        (response) => {
          let text = '';
          response.on('data', (chunk: Buffer) => {
            text += chunk.toString();
          });
          response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
        },
      );
      sent.on('error', reject);
      sent.end(body);
    });
  }

  test('a client that names no server is answered, patch and warnings in place', async () => {
    const patch = [{ op: 'add', path: '/a', value: 1 }] as const;
    const server = await serving(() => ({ allowed: true, patch, warnings: ['careful'] }));
    const { body } = await post(server, JSON.stringify(asked));
    const { response } = JSON.parse(body) as { response: { patch: string; warnings: string[] } };
    expect(response).toMatchObject({ uid: 'u1', allowed: true, patchType: 'JSONPatch', warnings: ['careful'] });
    expect(JSON.parse(Buffer.from(response.patch, 'base64').toString())).toEqual(patch);
    await server.close();
  });

  test('what a handler throws, or does not say in time, refuses; the reason stays in the log', async () => {
    const failing = await serving(() => {
      throw new Error('secret detail');
    });
    const failed = await post(failing, JSON.stringify(asked));
    expect(failed.body).toContain('SPW022');
    expect(failed.body).not.toContain('secret detail');
    await failing.close();
    const slow = await serving(
      (_request, signal) =>
        new Promise((resolve) => {
          signal.addEventListener('abort', () => setImmediate(() => resolve({ allowed: true })));
        }),
      { decideWithinMs: 20 },
    );
    expect((await post(slow, JSON.stringify(asked))).body).toContain('SPW023');
    await slow.close();
  });

  test('what is no review, too long, or elsewhere has a status of HTTP', async () => {
    const server = await serving(() => ({ allowed: true }), { maxBodyBytes: 1000 });
    expect((await post(server, '{')).status).toBe(400);
    expect((await post(server, JSON.stringify({ ...asked, pad: 'x'.repeat(2000) }))).status).toBe(413);
    expect((await post(server, JSON.stringify(asked), '/nowhere')).status).toBe(404);
    await server.close();
  });

  test.each([
    ['says nothing', ''],
    ['stops in its headers', 'POST /inject HTTP/1.1\r\nHost: x\r\n'],
    [
      'stops in its body',
      'POST /inject HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{',
    ],
  ])('a client that %s keeps no connection', async (_what, text) => {
    const server = await serving(() => ({ allowed: true }), { requestMs: 50 });
    const socket = connect({ host: '127.0.0.1', port: server.address.port, ca: keys.trust() }, () => {
      socket.write(text);
    });
    socket.resume();
    await once(socket, 'close');
    await server.close();
  });

  test('one address leaves room for others', async () => {
    const server = await serving(() => ({ allowed: true }));
    const dial = () => connectPlain({ host: '127.0.0.1', port: server.address.port });
    const many = Array.from({ length: 512 }, dial);
    await Promise.all(many.map((socket) => once(socket, 'connect')));
    const more = dial().on('error', () => {});
    await once(more, 'close');
    expect((await post(server, JSON.stringify(asked), '/inject', '127.0.0.2')).status).toBe(200);
    for (const socket of many) socket.on('error', () => {}).destroy();
    await server.close();
  });

  test('a new certificate is shown to the next connection, without a restart', async () => {
    const ring = createKeyRing(newMaterial(Date.now()), Date.now);
    const certificate = certificateOf(ring);
    const server = await serveWebhooks({
      host: '127.0.0.1',
      port: 0,
      handlers: {},
      certificate: certificate.context,
      log: quiet,
    });
    const shown = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = connect({ host: '127.0.0.1', port: server.address.port, ca: ring.trust() }, () => {
          resolve(socket.getPeerX509Certificate()?.issuer ?? '');
          socket.destroy();
        });
        socket.on('error', reject);
      });
    const before = await shown();
    const signer = newAuthority(Date.now());
    ring.replace({ ...ring.material, signer, former: [ring.material.signer.certificate] });
    const after = await shown();
    expect(after).not.toBe(before);
    expect(after).toBe(new X509Certificate(signer.certificate).subject);
    await server.close();
  });
});

test('a leaf lives seven days and is replaced when two thirds are over', () => {
  let now = Date.now();
  const certificate = certificateOf(
    createKeyRing(newMaterial(now), () => now),
    () => now,
  );
  const first = certificate.context();
  now += LEAF_MS / 2;
  certificate.refresh();
  expect(certificate.context()).toBe(first);
  now += LEAF_MS / 4;
  certificate.refresh();
  expect(certificate.context()).not.toBe(first);
  expect(certificate.expiresAt().getTime()).toBeGreaterThan(now + LEAF_MS * 0.99);
});

test('caBundle is written where it differs, and only there', () => {
  const caBundle = Buffer.from('ours').toString('base64');
  const configuration = {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: { name: 'sallyport' },
    webhooks: [
      { name: 'a', clientConfig: { caBundle } },
      { name: 'b', clientConfig: {} },
    ],
  };
  expect(caBundlePatch(configuration, 'ours')).toEqual([
    { op: 'test', path: '/webhooks/1/name', value: 'b' },
    { op: 'add', path: '/webhooks/1/clientConfig/caBundle', value: caBundle },
  ]);
});

test('each host has an address of its own, whatever the others are called', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.domain(), { maxLength: 300 }), (hosts) => {
      const addresses = loopbackAddresses(hosts);
      expect(new Set(addresses.values()).size).toBe(hosts.length);
      for (const address of addresses.values())
        expect(address).toMatch(/^127\.77\.\d{1,3}\.([1-9]\d?|1\d\d|2[0-4]\d|25[0-4])$/);
      expect(loopbackAddresses([...hosts].reverse())).toEqual(addresses);
    }),
    { numRuns: 50 },
  );
});

test.each([
  ['db', 'shop', ['db', 'db.shop', 'db.shop.svc', 'db.shop.svc.cluster.local']],
  ['db', 'agents', ['db', 'db.shop', 'db.shop.svc', 'db.shop.svc.cluster.local']],
  ['db.shop.svc', 'shop', ['db.shop.svc', 'db', 'db.shop', 'db.shop.svc.cluster.local']],
  ['db.shop.svc', 'agents', ['db.shop.svc', 'db.shop', 'db.shop.svc.cluster.local']],
  ['db.shop', 'agents', ['db.shop', 'db.shop.svc', 'db.shop.svc.cluster.local']],
  ['db.example', 'agents', ['db.example']],
  ['db.eu.example.com', 'agents', ['db.eu.example.com']],
])('%s, dialled from namespace %s', (host, namespace, names) => {
  expect(hostNames(host, 'shop', namespace, (name) => name === 'shop')).toEqual(names);
});
