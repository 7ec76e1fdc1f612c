import { once } from 'node:events';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { type HttpLaneGround, startHttpLane } from '../../support/http-lane-ground.ts';

const RULES = `
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agents}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - {name: all, effect: Allow, http: {methods: ["*"], paths: ["/**"]}}
    - name: ask
      effect: RequireApproval
      http: {methods: [PUT], paths: ["/**"]}
      approval: {timeout: 1m}
---
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: people}
spec:
  connections: {all: true}
  fields:
    - match: ["**.ssn"]
`;
const PEOPLE = {
  people: [
    { name: 'Ada', ssn: '078-05-1120' },
    { name: 'Ben', ssn: '219-09-9999' },
  ],
};

describe('masking of answers', () => {
  let g: HttpLaneGround;
  beforeAll(async () => {
    g = await startHttpLane({
      resources: { 'rules.yaml': RULES },
      connections: {
        api: { credential: { httpHeader: { name: 'x-api-key', secretRef: { name: 'api', key: 'key' } } } },
      },
      secrets: { api: { key: 'key-of-the-api' } },
      origin: (request, response) => {
        const body = Buffer.from(JSON.stringify({ ...PEOPLE, key: request.headers['x-api-key'] }));
        const head = { 'content-type': 'application/json', etag: '"1"' };
        if (request.url === '/gzip')
          response.writeHead(200, { ...head, 'content-encoding': 'gzip' }).end(gzipSync(body));
        else response.writeHead(200, { ...head, 'content-length': body.length }).end(body);
      },
    });
  });
  afterAll(() => g?.[Symbol.asyncDispose]());

  test.each(['/plain', '/gzip'])(
    'takes out what rules protect and the credential besides, and keeps the document whole: %s',
    async (target) => {
      const answer = await g.ask(target, { headers: { 'accept-encoding': 'gzip' } });
      expect(answer.status).toBe(200);
      const { people, key } = answer.json<typeof PEOPLE & { key: string }>();
      expect(people.map(({ name }) => name)).toEqual(['Ada', 'Ben']);
      expect(answer.body).not.toMatch(/078-05-1120|219-09-9999|key-of-the-api/);
      expect(key).toBe('*'.repeat(14));
      const events = await g.recorded((event) => event.e === 'command.executed' && event['masked'] !== undefined);
      expect(events.find((event) => event.e === 'command.executed' && event['masked'] !== undefined)).toMatchObject({
        masked: { 'default/people': 2 },
      });
      expect(Buffer.from(JSON.stringify(events)).toString()).not.toContain('078-05-1120');
      for (const { result } of events as unknown as { result?: { data: string } }[])
        expect(Buffer.from(result?.data ?? '', 'base64').toString()).not.toMatch(/078-05-1120|key-of-the-api/);
    },
  );

  test('is not undone by writing back what came from it', async () => {
    const { people } = (await g.ask('/plain')).json<typeof PEOPLE>();
    const before = g.origin.seen.length;
    const answer = await g.ask('/people', { method: 'POST', body: people[0] as object });
    expect(answer.json()).toMatchObject({ code: 'SPM012', status: 422 });
    expect(g.origin.seen).toHaveLength(before);
  });

  test('holds for what approvers read', async () => {
    const first = await g.ask('/people/1', { method: 'PUT', body: { name: 'Ada', ssn: '078-05-1120' } });
    const { request } = first.json<{ request: { name: string } }>();
    const { spec } = await g.request((found) => found.metadata.name === request.name);
    expect(spec.request.display).toContain('"name": "Ada"');
    expect(JSON.stringify(spec)).not.toContain('078-05-1120');
    expect(spec.request.redactions).toEqual(['default/people']);
  });

  test('keeps WebSockets away, through which nothing could be masked', async () => {
    const client = new WebSocket(g.url().replace('http', 'ws'), {
      headers: { authorization: `Bearer ${await g.token()}` },
    });
    const [, response] = (await once(client, 'unexpected-response')) as [unknown, { statusCode: number }];
    expect(response.statusCode).toBe(403);
    client.on('error', () => {});
    client.terminate();
  });
});
