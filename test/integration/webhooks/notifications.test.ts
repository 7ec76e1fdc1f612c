import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { ApprovalRequest } from '../../../api/generated/approvalrequests.ts';
import { DEFAULT_BACKOFF } from '../../../delivery/backoff.ts';
import { createNotificationMetrics } from '../../../proxy/notifications/metrics.ts';
import { createNotifier, deliverNotifications, NOTIFICATION_BACKOFF } from '../../../proxy/notifications/notifier.ts';
import { freePort, type Program, startProgram } from '../../support/program.ts';

const ARRIVAL = { timeout: 30_000, interval: 20 };
const secretText = (): string => `whsec_${randomBytes(32).toString('base64')}`;

let state = '';
beforeEach(async () => {
  state = await mkdtemp(path.join(tmpdir(), 'notifications-'));
});
afterEach(() => rm(state, { recursive: true, force: true }));

const receive = (port: number, secret: string, status = 204): Program =>
  startProgram(process.execPath, [path.join(import.meta.dirname, 'receiver.ts'), String(port), secret, String(status)]);

interface Received {
  readonly verified: boolean;
  readonly id: string;
  readonly url: string;
  readonly body: string;
}

const receivedBy = (program: Program): Received[] =>
  program
    .output()
    .split('\n')
    .filter((line) => line.startsWith('{"verified"'))
    .map((line) => JSON.parse(line) as Received);

function request(name: string): ApprovalRequest {
  return {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'ApprovalRequest',
    metadata: { name, namespace: 'shop', uid: `uid-of-${name}` },
    spec: {
      connectionRef: { name: 'orders', uid: 'connection' },
      requirements: [
        {
          policyRef: { namespace: 'shop', name: 'agents', rule: 'deletes', generation: 2 },
          requiredApprovals: 1,
        },
      ],
      requester: { username: 'system:serviceaccount:shop:agent', displayName: 'agent' },
      request: {
        protocol: 'Postgres',
        summary: "DELETE FROM orders WHERE email = 'canary@example.com'",
        display: "DELETE FROM orders\nWHERE email = 'canary@example.com'",
        effects: ['Delete on public.orders (est. 3 rows)'],
        reason: 'because of canary-reason',
        hash: 'sha256:1',
      },
      expiresAt: '2030-01-01T00:00:00Z',
    },
    status: { state: 'Pending' },
  };
}

interface Webhook {
  readonly url: string;
  readonly secretFile: string;
  readonly includeCommand: boolean;
}

function delivering(webhooks: readonly Webhook[], backoff = { ...DEFAULT_BACKOFF, firstMs: 20, maxMs: 100 }) {
  const stopping = new AbortController();
  const registry = new Registry();
  const messages: string[] = [];
  const log = {
    warn: (facts: Readonly<Record<string, unknown>>, message: string) =>
      void messages.push(`${message} ${JSON.stringify(facts)}`),
  };
  const options = { webhooks, state, now: Date.now, log };
  const running = deliverNotifications(
    { ...options, metrics: createNotificationMetrics(registry), backoff },
    stopping.signal,
  );
  return {
    notify: createNotifier(options),
    messages,
    metrics: () => registry.metrics(),
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await running;
    },
  };
}

async function webhook(port: number, secret: string, includeCommand = false): Promise<Webhook> {
  const secretFile = path.join(state, `secret-${port}`);
  await writeFile(secretFile, secret);
  return { url: `http://127.0.0.1:${port}/hooks/secret-path`, secretFile, includeCommand };
}

/** Messages that wait on the disk. */
async function waiting(): Promise<string[]> {
  const folder = path.join(state, 'notifications');
  const receivers = await readdir(folder);
  return (await Promise.all(receivers.map((name) => readdir(path.join(folder, name))))).flat();
}

it('tells of a request, signed, with what to type and without anything that the agent wrote', async () => {
  const port = await freePort();
  const secret = secretText();
  await using receiver = receive(port, secret);
  await receiver.printed('listening');
  await using gateway = delivering([await webhook(port, secret)]);
  gateway.notify(request('delete-1'), 'Created');
  gateway.notify(request('delete-1'), 'Voted');
  await vi.waitFor(() => expect(receivedBy(receiver)).toHaveLength(1), ARRIVAL);
  gateway.notify({ ...request('delete-1'), status: { state: 'Executed', outcome: 'DELETE 3' } }, 'Executed');
  await vi.waitFor(() => expect(receivedBy(receiver)).toHaveLength(2), ARRIVAL);
  const [asked, executed] = receivedBy(receiver);
  expect(asked?.verified).toBe(true);
  expect(JSON.parse(asked?.body ?? '')).toMatchObject({
    type: 'approval.requested',
    data: {
      name: 'delete-1',
      connection: 'shop/orders',
      requester: { username: 'system:serviceaccount:shop:agent' },
      rules: [{ rule: 'shop/agents/deletes@2', requiredApprovals: 1 }],
      summary: 'Delete on public.orders (est. 3 rows)',
      approve: "sallyport approve delete-1 -n shop --reason '...'",
    },
  });
  expect(JSON.parse(executed?.body ?? '')).toMatchObject({ type: 'approval.executed', data: { outcome: 'DELETE 3' } });
  expect(receiver.output()).not.toContain('canary');
  expect(await waiting()).toEqual([]);
  expect(await gateway.metrics()).toContain(
    `sallyport_notifications_total{receiver="127.0.0.1:${port}",result="delivered"} 2`,
  );
});

it('has the command in it where that is asked for', async () => {
  const port = await freePort();
  const secret = secretText();
  await using receiver = receive(port, secret);
  await using gateway = delivering([await webhook(port, secret, true)]);
  gateway.notify(request('delete-1'), 'Created');
  await vi.waitFor(() => expect(receivedBy(receiver)).toHaveLength(1), ARRIVAL);
  expect(JSON.parse(receivedBy(receiver)[0]?.body ?? '')).toMatchObject({
    data: { command: "DELETE FROM orders\nWHERE email = 'canary@example.com'", reason: 'because of canary-reason' },
  });
});

it('signs with every secret of the file, so that one is replaced without a message lost', async () => {
  const port = await freePort();
  const [old, fresh] = [secretText(), secretText()];
  const target = await webhook(port, old);
  await using gateway = delivering([target]);
  await using before = receive(port, old);
  gateway.notify(request('delete-1'), 'Created');
  await vi.waitFor(() => expect(receivedBy(before)).toMatchObject([{ verified: true }]), ARRIVAL);
  await writeFile(target.secretFile, `${fresh}\n${old}\n`);
  gateway.notify(request('delete-2'), 'Created');
  await vi.waitFor(() => expect(receivedBy(before)).toMatchObject([{ verified: true }, { verified: true }]), ARRIVAL);
  await before.stop();
  await using after = receive(port, fresh);
  gateway.notify(request('delete-3'), 'Created');
  await vi.waitFor(() => expect(receivedBy(after)).toMatchObject([{ verified: true }]), ARRIVAL);
});

it('a gateway that is restarted delivers what waited, each message with the id that it had', async () => {
  const port = await freePort();
  const secret = secretText();
  const target = await webhook(port, secret);
  {
    await using gateway = delivering([target]);
    gateway.notify(request('delete-1'), 'Created');
    gateway.notify(request('delete-2'), 'Created');
    await vi.waitFor(() => expect(gateway.messages.join()).toContain('SPD001'), ARRIVAL);
  }
  const kept = (await waiting()).map((file) => file.replace(/^\d+-|\.json$/g, ''));
  expect(kept).toHaveLength(2);
  await using receiver = receive(port, secret);
  await receiver.printed('listening');
  await using _gateway = delivering([target]);
  await vi.waitFor(() => expect(receivedBy(receiver)).toHaveLength(2), ARRIVAL);
  expect(
    receivedBy(receiver)
      .map(({ id }) => id)
      .sort(),
  ).toEqual(kept.sort());
  expect(receivedBy(receiver).every(({ verified }) => verified)).toBe(true);
});

it('follows no redirect, and a receiver that answers with errors keeps no other waiting', async () => {
  const [first, second] = [await freePort(), await freePort()];
  const secret = secretText();
  await using redirecting = receive(first, secret, 307);
  await using good = receive(second, secret);
  await Promise.all([redirecting.printed('listening'), good.printed('listening')]);
  await using gateway = delivering([await webhook(first, secret), await webhook(second, secret)]);
  gateway.notify(request('delete-1'), 'Created');
  await vi.waitFor(() => expect(receivedBy(good)).toHaveLength(1), ARRIVAL);
  await vi.waitFor(() => expect(receivedBy(redirecting).length).toBeGreaterThan(2), ARRIVAL);
  const attempts = receivedBy(redirecting);
  expect(new Set(attempts.map(({ url }) => url))).toEqual(new Set(['/hooks/secret-path']));
  expect(new Set(attempts.map(({ id }) => id)).size).toBe(1);
  const said = gateway.messages.join('\n') + (await gateway.metrics());
  expect(said).toContain('SPD003');
  expect(said).not.toContain('secret-path');
  expect(said).not.toContain(secret.slice(6));
});

it.runIf(process.env.CI === 'true' || process.env.SALLYPORT_SLOW === '1')(
  'a receiver that is down for a minute gets everything within seconds of its return, with the waits that users have',
  async () => {
    const port = await freePort();
    const secret = secretText();
    await using gateway = delivering([await webhook(port, secret)], NOTIFICATION_BACKOFF);
    const started = Date.now();
    for (let index = 0; index < 20; index++) gateway.notify(request(`delete-${index}`), 'Created');
    await new Promise((resolve) => setTimeout(resolve, 61_000));
    // Doubling waits: neither a flood, nor silence.
    const attempts = gateway.messages.filter((message) => message.includes('SPD001')).length;
    expect(attempts).toBeGreaterThanOrEqual(7);
    expect(attempts).toBeLessThanOrEqual(13);
    await using receiver = receive(port, secret);
    await vi.waitFor(() => expect(receivedBy(receiver)).toHaveLength(20), { timeout: 25_000, interval: 50 });
    expect(receivedBy(receiver).every(({ verified }) => verified)).toBe(true);
    expect(new Set(receivedBy(receiver).map(({ id }) => id)).size).toBe(20);
    expect(Date.now() - started).toBeLessThan(90_000);
    expect(await waiting()).toEqual([]);
  },
  180_000,
);
