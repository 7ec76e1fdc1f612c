/** Fidelity in numbers: what is rare is only seen in many. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Client, type ClientChannel } from 'ssh2';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeWith } from '../../support/requires.ts';
import { type SshGround, startSshGround } from '../../support/ssh-ground.ts';
import { sshServer } from '../../support/sshd.ts';

const EXECS = 10_000;
const CONNECTIONS = 4;
/** At once on a connection. */
const CHANNELS = 4;
const TRANSFERS = 100;
const SIZE = 16 << 20;

const POLICY = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: programs}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - name: programs
      effect: Allow
      ssh: {operations: [Exec], loginUsers: [deploy], commands: ["exit *", sha256sum, "cat **"]}
`;

const digestOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

function execute(client: Client, command: string): Promise<ClientChannel> {
  return new Promise((resolve, reject) => {
    client.exec(command, (error, channel) => (error === undefined ? resolve(channel) : reject(error)));
  });
}

/** Exit status, once the channel has closed. */
async function statusOf(channel: ClientChannel): Promise<number> {
  const [status] = (await once(channel, 'close')) as [number];
  return status;
}

describeWith(sshServer, 'an SSH session is faithful', () => {
  let g: SshGround;
  let folder: string;
  let clients: Client[];
  /** Random, the first 256 bytes every value there is. */
  const bytes = randomBytes(SIZE);
  for (let value = 0; value < 256; value++) bytes[value] = value;
  const digest = digestOf(bytes);

  beforeAll(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-fidelity-'));
    g = await startSshGround({ resources: { 'policy.yaml': POLICY } });
    clients = await Promise.all(
      Array.from({ length: CONNECTIONS }, async () => {
        const client = new Client();
        const ready = once(client, 'ready');
        const { privateKey } = g.keys.agent;
        client.connect({ host: '127.0.0.1', port: g.port(), username: 'deploy', privateKey });
        await ready;
        return client;
      }),
    );
  });
  afterAll(async () => {
    for (const client of clients ?? []) {
      const closed = once(client, 'close');
      client.end();
      await closed;
    }
    await g?.[Symbol.asyncDispose]();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  test(`${EXECS} commands on ${CONNECTIONS} connections end with exactly their status`, {
    timeout: 600_000,
  }, async () => {
    let next = 0;
    const wrong: { index: number; status: number }[] = [];
    const worker = async (client: Client): Promise<void> => {
      for (let index = next++; index < EXECS; index = next++) {
        const channel = await execute(client, `exit ${index % 256}`);
        const closed = statusOf(channel);
        channel.resume();
        channel.stderr.resume();
        const status = await closed;
        if (status !== index % 256) wrong.push({ index, status });
      }
    };
    await Promise.all(clients.flatMap((client) => Array.from({ length: CHANNELS }, () => worker(client))));
    expect(wrong).toEqual([]);
  });

  test(`${TRANSFERS} uploads of ${SIZE} random bytes arrive whole`, { timeout: 600_000 }, async () => {
    const [client] = clients as [Client];
    const digests = new Set<string>();
    for (let index = 0; index < TRANSFERS; index++) {
      const channel = await execute(client, 'sha256sum');
      const closed = statusOf(channel);
      channel.end(bytes);
      let said = '';
      for await (const chunk of channel) said += String(chunk);
      expect(await closed).toBe(0);
      digests.add(said.trim());
    }
    expect([...digests]).toEqual([`${digest}  -`]);
  });

  test(`${TRANSFERS} downloads of ${SIZE} random bytes arrive whole`, { timeout: 600_000 }, async () => {
    const file = path.join(folder, 'bytes');
    await writeFile(file, bytes);
    await chmod(folder, 0o755);
    const [client] = clients as [Client];
    const digests = new Set<string>();
    for (let index = 0; index < TRANSFERS; index++) {
      const channel = await execute(client, `cat ${file}`);
      const closed = statusOf(channel);
      const hash = createHash('sha256');
      for await (const chunk of channel) hash.update(chunk as Buffer);
      expect(await closed).toBe(0);
      digests.add(hash.digest('hex'));
    }
    expect([...digests]).toEqual([digest]);
  });
});
