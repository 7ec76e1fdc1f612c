import { generateKeyPairSync, verify, X509Certificate } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NAMES } from '../../api/cluster.ts';
import { parsePublicKey } from '../../approval/keys.ts';
import { CONFIG_MAPS, DEPLOYMENTS, LEASES, SECRETS, type Secret } from '../../kube/builtin.ts';
import type { KubeObject } from '../../kube/types.ts';
import { AUTHORITY_DAYS, newAuthority, writeMaterial } from '../../operator/pki/material.ts';
import { describeWith } from '../support/requires.ts';
import { controlPlaneNeeds } from './control-plane.ts';
import {
  connection,
  createOperatorGround,
  OPERATOR_NAMESPACE,
  type OperatorGround,
  policy,
} from './operator-ground.ts';

describeWith(controlPlaneNeeds, 'an operator that is disturbed', () => {
  let ground: OperatorGround;

  beforeEach(async () => {
    ground = await createOperatorGround();
  });
  afterEach(async () => {
    await ground[Symbol.asyncDispose]();
  });

  const apply = (...objects: readonly KubeObject[]): Promise<string> =>
    ground.plane.apply(objects.map((object) => JSON.stringify(object)).join('\n---\n'));
  const proxies = (namespace: string): Promise<KubeObject> =>
    ground.until(DEPLOYMENTS, { namespace }, ([object]) => object);
  const leader = (): Promise<string> =>
    ground.until(LEASES, { namespace: OPERATOR_NAMESPACE }, ([object]) => object?.spec?.holderIdentity || undefined);
  const data = async (namespace: string, name: string): Promise<Secret['data']> =>
    (await ground.client.get(SECRETS, { namespace, name }))?.data;

  test('two at once: one works, both have the same keys, and the other goes on when it is killed', async () => {
    const first = await ground.operator();
    const before = await leader();
    const second = await ground.operator();
    await ground.namespace('shop');
    await apply(connection('shop', 'orders'));
    await proxies('shop');
    const keys = await data(OPERATOR_NAMESPACE, NAMES.keys);
    await first.kill();
    await apply(policy('shop', 'readers'));
    const sequence = await ground.until(
      CONFIG_MAPS,
      { namespace: 'shop' },
      (objects) => objects.find(({ metadata }) => metadata.name === NAMES.bundle)?.data?.['sequence'],
    );
    await ground.until(CONFIG_MAPS, { namespace: 'shop' }, (objects) =>
      objects.some(
        ({ metadata, data: map }) => metadata.name === NAMES.bundle && Number(map?.['sequence']) >= Number(sequence),
      ),
    );
    await ground.until(
      LEASES,
      { namespace: OPERATOR_NAMESPACE },
      ([object]) => object?.spec?.holderIdentity !== before,
    );
    expect(await data(OPERATOR_NAMESPACE, NAMES.keys)).toEqual(keys);
    expect(await second.stop()).toBe(0);
  });

  test('killed at any step, the next one finishes', async () => {
    await ground.namespace('shop');
    await apply(connection('shop', 'orders'), connection('shop', 'stock', { routing: 'Gateway' }));
    const wanted = ['sallyport-proxy', 'sallyport-proxy-replicas', 'stock-sallyport'];
    // Each run is let go one object further than the one before.
    for (let steps = 1; steps <= 6; steps++) {
      const operator = await ground.operator();
      await ground.until(SECRETS, { namespace: OPERATOR_NAMESPACE }, ([object]) => object);
      const made = async (): Promise<number> => {
        const out = await ground.plane.kubectl([
          'get',
          'cm,secret,svc,role,netpol,deploy',
          '-n',
          'shop',
          '-l',
          'app.kubernetes.io/managed-by=sallyport',
          '-o',
          'name',
        ]);
        return out.split('\n').length - 1;
      };
      while ((await made()) < steps) expect(operator.log.some((line) => line.includes('"level":50'))).toBe(false);
      await operator.kill();
      // What was begun must be possible to begin again: also with half of it taken away.
      await ground.plane.kubectl(['delete', 'svc,role', '-n', 'shop', '-l', 'app.kubernetes.io/managed-by=sallyport']);
      await ground.plane.kubectl(['delete', 'lease', '-n', OPERATOR_NAMESPACE, NAMES.operator, '--ignore-not-found']);
    }
    await ground.operator();
    const services = await ground.until(
      { group: '', version: 'v1', plural: 'services', kind: 'Service', namespaced: true },
      { namespace: 'shop' },
      (objects) => objects.length === wanted.length && objects,
    );
    expect(services.map(({ metadata }) => metadata.name).sort()).toEqual(wanted);
    await proxies('shop');
  });

  test('the API server goes and comes back: what changed meanwhile is done', async () => {
    const operator = await ground.operator();
    await ground.namespace('shop');
    await apply(connection('shop', 'orders'));
    await proxies('shop');
    let [running, isOver] = [operator, false];
    // Away for longer than a Lease lasts, as on a busy machine, it is one for whom the operator ends; the kubelet would start it again.
    void operator.ended.then(async () => {
      if (!isOver) running = await ground.operator();
    });
    await ground.plane.apiServer.stop();
    await ground.plane.apiServer.start();
    await apply(connection('shop', 'stock'));
    await ground.until(DEPLOYMENTS, { namespace: 'shop' }, ([object]) =>
      JSON.stringify(object).includes('stock-login'),
    );
    isOver = true;
    expect(await running.stop()).toBe(0);
  });

  test('an expired authority is replaced, and every certificate with it', async () => {
    const { privateKey } = generateKeyPairSync('ed25519');
    const signingKey = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const signer = newAuthority(Date.now() - (AUTHORITY_DAYS + 1) * 86_400_000);
    const material = writeMaterial({ signer, next: undefined, former: [], signingKey, sshHostAuthority: undefined });
    await ground.client.create(SECRETS, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { namespace: OPERATOR_NAMESPACE, name: NAMES.keys },
      data: Object.fromEntries(
        Object.entries(material).map(([name, text]) => [name, Buffer.from(text).toString('base64')]),
      ),
    });
    await ground.namespace('shop');
    await apply(connection('shop', 'orders'));
    await ground.operator();
    const fresh = await ground.until(SECRETS, { namespace: 'shop' }, (objects) => {
      const pem = (name: string): string =>
        Buffer.from(
          objects.find(({ metadata }) => metadata.name === NAMES.proxyTls)?.data?.[name] ?? '',
          'base64',
        ).toString();
      if (pem('tls.crt') === '') return undefined;
      const [certificate, authority] = [new X509Certificate(pem('tls.crt')), new X509Certificate(pem('ca.crt'))];
      return certificate.checkIssued(authority) && authority.validToDate.getTime() > Date.now() && certificate;
    });
    expect(fresh.subjectAltName).toContain('DNS:sallyport-proxy.shop.svc');
    const kept = Buffer.from((await data(OPERATOR_NAMESPACE, NAMES.keys))?.['signing.key'] ?? '', 'base64').toString();
    expect(kept).toBe(signingKey);
  });

  test('its signing key is replaced: trusted by proxies first, then it signs, and they are not rolled for that', async () => {
    const trusted = (): Promise<readonly string[]> =>
      ground.until(DEPLOYMENTS, { namespace: 'shop' }, ([deployment]) => {
        const { containers } = (deployment?.spec as { template: { spec: { containers: { args: string[] }[] } } })
          ?.template.spec ?? { containers: [] };
        const args = containers[0]?.args ?? [];
        const keys = args.filter((_value, index) => args[index - 1] === '--trusted-key');
        return keys.length === 2 && keys;
      });
    const signer = (keys: readonly string[]): Promise<string> =>
      ground.until(
        CONFIG_MAPS,
        { namespace: 'shop', labelSelector: 'app.kubernetes.io/name=sallyport-bundle' },
        ([map]) => {
          const signed = Buffer.concat([
            Buffer.from('sallyport.dev/bundle/v1\n'),
            Buffer.from(map?.binaryData?.['bundle'] ?? '', 'base64'),
          ]);
          const signature = Buffer.from(map?.data?.['signature'] ?? '', 'base64');
          return keys.find((key) => verify(null, signed, parsePublicKey(key) ?? '', signature));
        },
      );
    await ground.namespace('shop');
    await apply(connection('shop', 'orders'));
    const before = await ground.operator();
    await proxies('shop');
    await before.stop();
    const operator = await ground.operator({ arguments: ['--signing-key-generation=2'] });
    const keys = await trusted();
    expect(await signer(keys)).toBe(keys[0]);
    const generation = (await proxies('shop')).metadata.generation;

    // As if a day had passed.
    const ref = { namespace: OPERATOR_NAMESPACE, name: NAMES.keys };
    const secret = await ground.client.get(SECRETS, ref);
    const state = JSON.parse(Buffer.from(secret?.data?.['signing.json'] ?? '', 'base64').toString()) as object;
    const passed = JSON.stringify({ ...state, nextSince: Date.now() - 86_400_000 });
    await ground.client.update(SECRETS, {
      ...secret!,
      data: { ...secret?.data, 'signing.json': Buffer.from(passed).toString('base64') },
    });
    expect(await signer(keys.slice(1))).toBe(keys[1]);
    expect(operator.log.filter((line) => line.includes('"level":50'))).toEqual([]);
    expect(await trusted()).toEqual(keys);
    expect((await proxies('shop')).metadata.generation).toBe(generation);
    expect(await data(OPERATOR_NAMESPACE, NAMES.keys)).not.toHaveProperty('next-signing.key');
  });
});
