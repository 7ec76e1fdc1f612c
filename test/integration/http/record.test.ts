/** Nothing reaches an origin that is not in the record: not when the gateway is killed, not when its disk is full. */

import { mkdir } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { expect, test } from 'vitest';
import { type HttpLaneGround, startHttpLane } from '../../support/http-lane-ground.ts';
import { recordedTexts } from '../../support/recorded.ts';
import { describeWith, root } from '../../support/requires.ts';
import { mountSmallDisk } from '../../support/small-disk.ts';

const POLICY = `
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agents}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - name: all
      effect: Allow
      http: {methods: [GET, POST], paths: ["/**"]}
`;
const LANE = { resources: { 'policy.yaml': POLICY }, connections: { api: {} } };
const MARK = /marked-\d+/;

const marks = (texts: readonly string[]): ReadonlySet<string> =>
  new Set(texts.flatMap((text) => MARK.exec(text) ?? []));
const reached = (g: HttpLaneGround): ReadonlySet<string> => marks(g.origin.seen.map(({ url }) => url));

/** Reads, whose record is only written, and writes, whose record is on disk before they leave. */
const send = (g: HttpLaneGround, index: number, agent: http.Agent) =>
  g.ask(`/marked-${index}`, { agent, ...(index % 2 === 0 ? {} : { method: 'POST', body: { index } }) });

test('kill -9 of the gateway: all that reached the origin is in the record', async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
  await using g = await startHttpLane({
    ...LANE,
    origin(request, response) {
      request.resume();
      response.end('ok');
      // In the middle of many.
      if (reached(g).size === 60) void g.gateway.stop('SIGKILL');
    },
  });
  const answers = await Promise.allSettled(Array.from({ length: 400 }, (_, index) => send(g, index, agent)));
  agent.destroy();
  await g.gateway.stop('SIGKILL');
  expect(answers.some(({ status }) => status === 'rejected')).toBe(true);
  expect(reached(g).size).toBeGreaterThanOrEqual(60);
  const recorded = marks(await recordedTexts(g.state));
  expect([...reached(g)].filter((mark) => !recorded.has(mark))).toEqual([]);
});

describeWith([root], 'a full disk under the HTTP lane', () => {
  test('stops requests with a clear error, and nothing unrecorded passes; with space it goes on', async () => {
    await using disk = await mountSmallDisk(6);
    const state = path.join(disk.folder, 'state');
    await mkdir(state, { mode: 0o700 });
    await using g = await startHttpLane({ ...LANE, gateway: { state } });
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    expect((await send(g, 0, agent)).status).toBe(200);
    await disk.fill();
    // A page of the segment may have room for some more.
    let sent = 1;
    let last = await send(g, sent, agent);
    while (last.status === 200 && sent < 100) last = await send(g, ++sent, agent);
    expect({ status: last.status, body: last.body }).toMatchObject({
      status: 503,
      body: expect.stringMatching(/SPR\d{3}/),
    });
    for (const index of [sent + 1, sent + 2]) expect((await send(g, index, agent)).status).toBe(503);
    await disk.free();
    await expect
      .poll(async () => (await fetch(g.gateway.metrics!.replace('/metrics', '/readyz'))).status, { timeout: 15_000 })
      .toBe(200);
    expect((await send(g, sent + 3, agent)).status).toBe(200);
    agent.destroy();
    const recorded = marks(await recordedTexts(state));
    expect([...reached(g)].filter((mark) => !recorded.has(mark))).toEqual([]);
    for (const index of [sent, sent + 1, sent + 2]) expect(reached(g)).not.toContain(`marked-${index}`);
  });
});
