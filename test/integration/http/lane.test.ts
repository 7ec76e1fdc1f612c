import http from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type HttpLaneGround, type Seen, startHttpLane } from '../../support/http-lane-ground.ts';

const KEY = 'sk_live/4+eC39HqLyjWDarjtT1zdp7dc&';

const POLICY = `
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agents}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - name: read
      effect: Allow
      http: {methods: [GET], paths: ["/v1/**"]}
    - name: search
      effect: Allow
      http: {methods: [POST], paths: ["/v1/search"]}
    - name: refund
      effect: Allow
      http: {methods: [POST], paths: ["/v1/refunds"]}
      when: command.http.body.amount <= 100.0
    - name: large
      effect: Allow
      message: Large refunds need a person.
      http: {methods: [POST], paths: ["/v1/large"]}
      approval: {approvers: {groups: [on-call]}, timeout: 2m}
    - name: exports
      effect: Allow
      http: {methods: [GET], paths: ["/limited/**"]}
      limits: {commandsPerMinute: 4, maxBytesReturned: 1000}
    - name: keys
      effect: Deny
      message: Keys are nobody's.
      http: {methods: ["*"], paths: ["/v1/keys/**"]}
`;

let seenFirst = (): void => {};

describe('requests through the HTTP lane', () => {
  let g: HttpLaneGround;
  beforeAll(async () => {
    g = await startHttpLane({
      resources: { 'policy.yaml': POLICY },
      connections: {
        api: { credential: { httpHeader: { name: 'X-Api-Key', secretRef: { name: 'api', key: 'key' } } } },
        plain: {},
      },
      secrets: { api: { key: `${KEY}\n` } },
      origin: (request, response) => {
        const url = new URL(request.url ?? '', 'http://origin');
        const key = String(request.headers['x-api-key']);
        switch (url.pathname) {
          case '/v1/moved':
            response.writeHead(302, { location: `${url.searchParams.get('to')}?key=${encodeURIComponent(key)}` }).end();
            return;
          case '/v1/cookie':
            response.writeHead(200, { 'set-cookie': 'session=1', 'x-key': key }).end(request.headers.cookie ?? 'none');
            return;
          case '/v1/base64':
            response.end(Buffer.from(`user:${key}`).toString('base64'));
            return;
          case '/v1/trailers':
            response.writeHead(200, { trailer: 'x-key' });
            response.write('body');
            response.addTrailers({ 'x-key': key });
            response.end();
            return;
          case '/limited/long':
            response.end('x'.repeat(1001));
            return;
          case '/limited/endless': {
            response.write('x'.repeat(900));
            setTimeout(() => response.end('x'.repeat(900)), 50);
            return;
          }
          case '/v1/events': {
            response.writeHead(200, { 'content-type': 'text/event-stream' });
            response.write('data: first\n\n');
            // The second comes once somebody has seen the first.
            seenFirst = () => void response.end('data: second\n\n');
            return;
          }
          case '/v1/status':
            response.writeHead(Number(url.searchParams.get('code'))).end('as it is');
            return;
          default: {
            const chunks: Buffer[] = [];
            request.on('data', (chunk: Buffer) => chunks.push(chunk));
            request.on('end', () => {
              const { method, headers } = request;
              const body = Buffer.concat(chunks).toString('utf8');
              response
                .writeHead(200, { 'content-type': 'application/json' })
                .end(JSON.stringify({ method, url: request.url, headers, body }));
            });
          }
        }
      },
    });
  });
  afterAll(() => g?.[Symbol.asyncDispose]());

  const last = (): Seen => g.origin.seen.at(-1) as Seen;

  test('that are allowed go on with the credential, and without the token of the agent', async () => {
    const answer = await g.ask('/v1/charges?limit=3&q=a%20b', {
      headers: { 'x-api-key': 'mine', 'x-api_key': 'mine too', cookie: 'a=1' },
    });
    expect(answer.status).toBe(200);
    expect(last()).toMatchObject({ method: 'GET', url: '/v1/charges?limit=3&q=a%20b' });
    expect(last().headers).toMatchObject({ 'x-api-key': KEY, host: `127.0.0.1:${g.origin.port}` });
    expect(last().headers).not.toHaveProperty('authorization');
    expect(last().headers).not.toHaveProperty('cookie');
    expect(JSON.stringify(last().headers)).not.toContain('mine');
  });

  test('never bring the credential back, in whatever form the target writes it', async () => {
    const key = encodeURIComponent(KEY);
    for (const target of ['/v1/echo', '/v1/base64', '/v1/cookie', '/v1/trailers', '/v1/moved?to=https://elsewhere/']) {
      const { body, headers, trailers } = await g.ask(target);
      const shown = body + JSON.stringify(headers) + JSON.stringify(trailers);
      for (const form of [KEY, key, JSON.stringify(KEY).slice(1, -1), Buffer.from(KEY).toString('base64').slice(4, 40)])
        expect(shown, target).not.toContain(form);
    }
    const events = JSON.stringify(await g.recorded());
    expect(events).not.toContain(KEY);
    expect(g.gateway.output()).not.toContain(KEY);
  });

  test('follow no redirect, and take it as it is but for the credential', async () => {
    const before = g.origin.seen.length;
    const elsewhere = await g.ask('/v1/moved?to=https://elsewhere.example/x');
    expect(elsewhere.status).toBe(302);
    expect(elsewhere.headers.location).toBe(
      `https://elsewhere.example/x?key=${'*'.repeat(encodeURIComponent(KEY).length)}`,
    );
    // One to the target itself stays with the gateway, whose name the client has used.
    const own = await g.ask(`/v1/moved?to=http://127.0.0.1:${g.origin.port}/v1/next`);
    expect(own.headers.location).toMatch(/^\/v1\/next\?key=\*+$/);
    expect(g.origin.seen).toHaveLength(before + 2);
  });

  test('have no cookies of the target where Sallyport signs in, and have them where it does not', async () => {
    const without = await g.ask('/v1/cookie', { headers: { cookie: 'a=1' } });
    expect(without.headers).not.toHaveProperty('set-cookie');
    expect(without.body).toBe('none');
    const own = await g.ask('/v1/cookie', { connection: 'plain', headers: { cookie: 'a=1' } });
    expect(own.headers['set-cookie']).toEqual(['session=1']);
    expect(own.body).toBe('a=1');
  });

  test('that no rule allows are answered with a problem that an agent can act on', async () => {
    const before = g.origin.seen.length;
    const answer = await g.ask('/v1/charges/1', { method: 'DELETE' });
    expect(answer.status).toBe(403);
    expect(answer.headers['content-type']).toBe('application/problem+json');
    expect(answer.json()).toMatchObject({
      type: 'urn:sallyport:problem:SPE100',
      title: 'Forbidden',
      status: 403,
      code: 'SPE100',
      detail: expect.stringMatching(/denied.*DELETE.*\/v1\/charges\/1/i),
      session: expect.stringMatching(/.+/),
      instance: expect.stringMatching(/^urn:sallyport:session:.+:1$/),
      howToAsk: expect.stringContaining('AccessPolicy'),
    });
    expect(answer.json()['allowed']).toContainEqual({
      methods: ['POST'],
      paths: ['/v1/refunds'],
      when: 'command.http.body.amount <= 100.0',
      rule: 'default/agents/refund',
    });
    const ruled = await g.ask('/v1/keys/1');
    expect(ruled.json()).toMatchObject({ reason: "Keys are nobody's.", rules: ['default/agents/keys'] });
    expect(ruled.json()['detail']).toContain('default/agents/keys');
    expect(g.origin.seen).toHaveLength(before);
    const { session } = ruled.json<{ session: string }>();
    const events = await g.recorded((event) => event.e === 'command.denied' && event['session'] === session);
    expect(events.find((event) => event.e === 'command.denied' && event['session'] === session)).toMatchObject({
      code: 'SPE100',
      rules: ['default/agents/keys@1'],
    });
  });

  test('without a token, or with another, reach nothing', async () => {
    const before = g.origin.seen.length;
    const nobody = await g.ask('/v1/charges', { token: '' });
    expect(nobody.status).toBe(401);
    expect(nobody.headers['www-authenticate']).toBe('Bearer realm="sallyport"');
    expect(nobody.json()).toMatchObject({ code: 'SPE007', status: 401 });
    const other = await g.ask('/v1/charges', { token: await g.token('other') });
    expect(other.json()).toMatchObject({ code: 'SPE008', status: 403 });
    expect(g.origin.seen).toHaveLength(before);
  });

  test('are judged by their JSON bodies, and reach nothing when the body can be read in two ways', async () => {
    const refund = (body: string | object, headers: http.OutgoingHttpHeaders = {}) =>
      g.ask('/v1/refunds', { method: 'POST', body, headers });
    expect((await refund({ amount: 50 })).status).toBe(200);
    expect(last().body).toBe('{"amount":50}');
    const before = g.origin.seen.length;
    expect((await refund({ amount: 5000 })).json()).toMatchObject({ code: 'SPE100' });
    expect((await refund({})).json()).toMatchObject({ code: 'SPE100' });
    expect((await refund('amount=50', { 'content-type': 'application/x-www-form-urlencoded' })).status).toBe(403);
    expect((await refund('', { 'content-type': 'application/json' })).status).toBe(403);
    for (const body of ['{"amount": 50, "amount": 5000}', '{"amount": 50, "Amount": 5000}', '\ufeff{"amount": 50}'])
      expect((await refund(body, { 'content-type': 'application/json' })).json()).toMatchObject({ code: 'SPE105' });
    expect((await refund('{"amount":50}', { 'content-type': 'text/plain' })).status).toBe(200);
    expect(g.origin.seen).toHaveLength(before + 1);
  });

  test('end at their limits', async () => {
    const long = await g.ask('/limited/long');
    expect(long.json()).toMatchObject({ code: 'SPE110', status: 502 });
    // It had begun: the client must not take what it has for the whole.
    await expect(g.ask('/limited/endless')).rejects.toThrow(/aborted|hang up/);
    const events = await g.recorded((event) => event.e === 'command.failed' && event['status'] === 200);
    expect(events.find((event) => event.e === 'command.failed' && event['status'] === 200)).toMatchObject({
      code: 'SPE110',
    });
    // Whether or not a minute ends meanwhile.
    const answers = await Promise.all(Array.from({ length: 12 }, () => g.ask('/limited/x')));
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThanOrEqual(4);
    expect(refused[0]?.json()).toMatchObject({ code: 'SPE104' });
    expect(refused[0]?.headers['retry-after']).toBe('60');
  });

  test('get events as they come', async () => {
    const { body } = await new Promise<{ body: string }>((resolve, reject) => {
      g.token()
        .then((token) => {
          const sent = http.get(
            `${g.url()}/v1/events`,
            { headers: { authorization: `Bearer ${token}` }, agent: false },
            (response) => {
              let text = '';
              response.on('data', (chunk: Buffer) => {
                text += chunk.toString();
                if (text === 'data: first\n\n') seenFirst();
              });
              response.on('end', () => resolve({ body: text }));
              response.on('error', reject);
            },
          );
          sent.on('error', reject);
        })
        .catch(reject);
    });
    expect(body).toBe('data: first\n\ndata: second\n\n');
  });

  test('are passed on as they are answered, whatever the status', async () => {
    for (const code of [204, 304, 401, 404, 500]) {
      const answer = await g.ask(`/v1/status?code=${code}`);
      expect(answer.status).toBe(code);
      expect(answer.body).toBe(code === 204 || code === 304 ? '' : 'as it is');
    }
  });

  test('are recorded with what was asked, what came back, and who signed in', async () => {
    const agent = new http.Agent({ keepAlive: true });
    await g.ask('/v1/search?x=1', {
      method: 'POST',
      body: { q: 'name' },
      agent,
      headers: { 'user-agent': 'test/1', 'x-secret': 'hush' },
    });
    agent.destroy();
    const found = (event: { e: string; [name: string]: unknown }) =>
      event.e === 'command.received' && String(event['text']).includes('/v1/search?x=1');
    const events = await g.recorded(found);
    const received = events.find(found);
    const of = (type: string) => events.find((event) => event.e === type && event['session'] === received?.['session']);
    expect(received).toMatchObject({
      seq: 1,
      text: `POST http://127.0.0.1:${g.origin.port}/v1/search?x=1`,
      verdict: 'Allow',
      rules: ['default/agents/search@1'],
      method: 'POST',
      target: '/v1/search?x=1',
      version: '1.1',
      headers: { 'content-type': 'application/json', 'user-agent': 'test/1' },
    });
    expect(JSON.stringify(events)).not.toContain('hush');
    expect(of('credential.used')).toMatchObject({
      type: 'header',
      username: 'x-api-key',
      reference: 'Secret default/api',
    });
    const executed = (
      await g.recorded((event) => event.e === 'session.end' && event['session'] === received?.['session'])
    ).find((event) => event.e === 'command.executed' && event['session'] === received?.['session']);
    expect(executed).toMatchObject({ seq: 1, status: 200, requestBytes: 12 });
    const { data = '' } = (executed?.['result'] ?? {}) as { data?: string };
    expect(JSON.parse(Buffer.from(data, 'base64').toString())).toMatchObject({ method: 'POST', body: '{"q":"name"}' });
  });

  test('whose bodies would need more memory than there is for them are put off, and pass when others are over', async () => {
    const token = await g.token();
    const refund = (): Promise<number> =>
      g.ask('/v1/refunds', { method: 'POST', body: { amount: 1, note: 'x'.repeat(100) } }).then(({ status }) => status);
    const megabyte = Buffer.alloc(1_048_576, 0x20);
    // All but the last byte of each: what has come is held until the rest does.
    const upload = (): http.ClientRequest => {
      const headers = { authorization: `Bearer ${token}`, 'content-length': megabyte.length };
      const request = http.request(`${g.url()}/v1/refunds`, { method: 'POST', headers });
      request.on('error', () => {});
      request.write(megabyte.subarray(1));
      return request;
    };
    const uploads = Array.from({ length: 64 }, upload);
    const full = async (): Promise<number> => {
      const status = await refund();
      // Its own few bytes may have been what the last of an upload did not fit beside: that one is put off, and another takes its place.
      if (status !== 503) uploads.push(upload());
      return status;
    };
    await expect.poll(full).toBe(503);
    const put = await g.ask('/v1/refunds', { method: 'POST', body: { amount: 1, note: 'x'.repeat(100) } });
    expect(put.headers['retry-after']).toBe('5');
    expect(put.json()).toMatchObject({ code: 'SPE026' });
    expect((await g.ask('/v1/anything')).status).toBe(200);
    for (const request of uploads) request.destroy();
    await expect.poll(refund).toBe(200);
  });
});
