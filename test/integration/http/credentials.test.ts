import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { createAuthority } from '../../support/certificates.ts';
import { type HttpLaneGround, startHttpLane } from '../../support/http-lane-ground.ts';
import { type Issuer, signingKey, startIssuer } from '../../support/oidc-issuer.ts';

const POLICY = `
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agents}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - {name: all, effect: Allow, http: {methods: ["*"], paths: ["/**"]}}
`;
const PASSWORD = 'open sesame: "42"';
const TOKEN_SECONDS = 600;

/** Tokens that the origin does not take any more. */
const revoked = new Set<string>();

describe('what Sallyport signs in to HTTP targets with', () => {
  const cleanup = new AsyncDisposableStack();
  let g: HttpLaneGround;
  let issuer: Issuer;
  /** Of clients of the TLS origin. */
  const certified: (string | undefined)[] = [];
  let tlsPort = 0;

  beforeAll(async () => {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-http-credentials-'));
    cleanup.defer(() => rm(folder, { recursive: true, force: true }));
    const authority = await createAuthority(folder);
    const server = await authority.issue('origin', ['IP:127.0.0.1']);
    const client = await authority.issue('sallyport');
    const origin = https.createServer(
      { cert: server.certificate, key: server.key, ca: authority.ca, requestCert: true, rejectUnauthorized: false },
      (request, response) => {
        const { subject } = (request.socket as TLSSocket).getPeerCertificate();
        certified.push(typeof subject?.CN === 'string' ? subject.CN : undefined);
        response.end(`hello ${request.headers.authorization ?? 'nobody'}`);
      },
    );
    origin.listen(0, '127.0.0.1');
    await once(origin, 'listening');
    tlsPort = (origin.address() as AddressInfo).port;
    cleanup.defer(() => {
      origin.closeAllConnections();
      origin.close();
    });
    issuer = await startIssuer([await signingKey('ES256')], { tokenSeconds: TOKEN_SECONDS });
    cleanup.defer(() => issuer.stop());
    const secured = { target: { host: '127.0.0.1', port: tlsPort, tls: { caRef: { kind: 'Secret', name: 'ca' } } } };
    const oauth = (secret: string) => ({
      credential: {
        oauthClientCredentials: {
          tokenURL: `${issuer.issuer}/token`,
          secretRef: { name: secret },
          resource: 'urn:api',
        },
      },
    });
    g = await startHttpLane({
      resources: { 'policy.yaml': POLICY },
      connections: {
        basic: { credential: { secretRef: { name: 'basic' } } },
        bearer: { credential: { secretRef: { name: 'bearer' } } },
        oauth: oauth('oauth'),
        refused: oauth('wrong'),
        mutual: { ...secured, credential: { secretRef: { name: 'mutual' } } },
        untrusted: { target: { host: '127.0.0.1', port: tlsPort }, credential: { secretRef: { name: 'bearer' } } },
        missing: { credential: { secretRef: { name: 'nothing' } } },
      },
      secrets: {
        basic: { username: 'gateway', password: PASSWORD },
        bearer: { token: 'abcdefghijklmnop' },
        oauth: { 'client-id': 'nightly-job', 'client-secret': 'a-secret-of-the-issuer' },
        wrong: { 'client-id': 'nightly-job', 'client-secret': 'another-secret' },
        mutual: { 'tls.crt': client.certificate, 'tls.key': client.key, token: 'mutual-token-1' },
        ca: { 'ca.crt': authority.ca },
      },
      origin: (request, response) => {
        const { authorization = '' } = request.headers;
        if (revoked.has(authorization)) response.writeHead(401, { 'www-authenticate': 'Bearer' }).end('no longer');
        else response.end(`${authorization} ${Buffer.from(authorization.split(' ')[1] ?? '', 'base64').toString()}`);
      },
    });
    const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: true });
    cleanup.defer(() => sockets.close());
    g.origin.server.on('upgrade', (request: http.IncomingMessage, socket, head) => {
      sockets.handleUpgrade(request, socket, head, (made: WebSocket) => {
        made.on('message', (data) =>
          made.send(String(data) === 'key' ? `it is ${request.headers.authorization}` : data),
        );
      });
    });
  });
  afterAll(async () => {
    await g?.[Symbol.asyncDispose]();
    await cleanup.disposeAsync();
  });

  const sent = (): string => g.origin.seen.at(-1)?.headers.authorization ?? '';

  test('is basic authentication of user name and password, and neither comes back', async () => {
    const { body } = await g.ask('/', { connection: 'basic' });
    expect(sent()).toBe(`Basic ${Buffer.from(`gateway:${PASSWORD}`).toString('base64')}`);
    expect(body).toMatch(/^Basic \*+ gateway:\*+$/);
  });

  test('is a bearer token', async () => {
    const { body } = await g.ask('/', { connection: 'bearer' });
    expect(sent()).toBe('Bearer abcdefghijklmnop');
    expect(body).toMatch(/^Bearer \*{16} /);
  });

  test('is a token of an authorization server, fetched once for many requests', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => g.ask('/', { connection: 'oauth' })));
    const tokens = new Set(g.origin.seen.slice(-8).map(({ headers }) => headers.authorization));
    expect(tokens.size).toBe(1);
    const [token = ''] = tokens;
    expect(token).toMatch(/^Bearer ey/);
    for (const { status, body } of answers) {
      expect(status).toBe(200);
      expect(body).not.toContain(token.slice(7));
    }
    const events = await g.recorded((event) => event.e === 'credential.used' && event['type'] === 'oauth');
    expect(events.find((event) => event['type'] === 'oauth')).toMatchObject({
      username: 'nightly-job',
      reference: 'Secret default/oauth',
      expires: expect.stringMatching(/^20/),
    });
    expect(JSON.stringify(events)).not.toContain(token.slice(7));
  });

  test('is a fresh token where the target takes the old one no more, and only what is safe is sent twice', async () => {
    await g.ask('/', { connection: 'oauth' });
    const first = sent();
    revoked.add(first);
    const before = g.origin.seen.length;
    const { status, body } = await g.ask('/again?a=1', { connection: 'oauth' });
    expect(status).toBe(200);
    expect(g.origin.seen.slice(before).map(({ url }) => url)).toEqual(['/again?a=1', '/again?a=1']);
    expect(sent()).not.toBe(first);
    expect(body).not.toContain(sent().slice(7));
    revoked.add(sent());
    const posted = await g.ask('/', { connection: 'oauth', method: 'POST', body: 'x' });
    expect(posted.status).toBe(401);
    expect(g.origin.seen).toHaveLength(before + 3);
    // The next request has another one.
    expect((await g.ask('/', { connection: 'oauth', method: 'POST', body: 'x' })).status).toBe(200);
  });

  test('is refused with a code where the authorization server gives no token', async () => {
    const before = g.origin.seen.length;
    const answer = await g.ask('/', { connection: 'refused' });
    expect(answer.json()).toMatchObject({
      status: 502,
      code: 'SPE107',
      detail: expect.stringContaining('invalid_client'),
    });
    expect(g.gateway.output()).not.toContain('another-secret');
    const missing = await g.ask('/', { connection: 'missing' });
    expect(missing.json()).toMatchObject({ status: 502, code: 'SPE106' });
    expect(g.origin.seen).toHaveLength(before);
  });

  test('is a client certificate, with a token besides; and an origin that is not trusted gets nothing', async () => {
    const { body } = await g.ask('/', { connection: 'mutual' });
    expect(certified.at(-1)).toBe('sallyport');
    expect(body).toMatch(/^hello Bearer \*+$/);
    const before = certified.length;
    const refused = await g.ask('/', { connection: 'untrusted' });
    expect(refused.json()).toMatchObject({ status: 502, code: 'SPU006' });
    expect(certified).toHaveLength(before);
  });

  test('does not come back through a WebSocket: the connection ends before it', async () => {
    const { WebSocket: Client } = await import('ws');
    const client = new Client(g.url('bearer').replace('http', 'ws'), {
      headers: { authorization: `Bearer ${await g.token()}` },
    });
    const messages: string[] = [];
    client.on('message', (data) => messages.push(String(data)));
    await once(client, 'open');
    client.send('hello');
    await once(client, 'message');
    const closed = once(client, 'close');
    client.on('error', () => {});
    client.send('key');
    await closed;
    expect(messages).toEqual(['hello']);
    const events = await g.recorded((event) => event.e === 'command.failed' && event['code'] === 'SPE112');
    expect(events.find((event) => event['code'] === 'SPE112')).toMatchObject({ status: 101 });
  });
});

test('a request that waited for its token is decided on the policy that is in force then', async () => {
  await using cleanup = new AsyncDisposableStack();
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<void>();
  const tokens = http.createServer(async (request, response) => {
    request.resume();
    asked.resolve();
    await answer.promise;
    response.end(JSON.stringify({ access_token: 'a-token-of-the-issuer', token_type: 'Bearer', expires_in: 600 }));
  });
  tokens.listen(0, '127.0.0.1');
  await once(tokens, 'listening');
  cleanup.defer(() => {
    tokens.closeAllConnections();
    tokens.close();
  });
  const tokenURL = `http://127.0.0.1:${(tokens.address() as AddressInfo).port}/token`;
  const g = await startHttpLane({
    resources: { 'policy.yaml': POLICY },
    connections: { slow: { credential: { oauthClientCredentials: { tokenURL, secretRef: { name: 'oauth' } } } } },
    secrets: { oauth: { 'client-id': 'nightly-job', 'client-secret': 'a-secret-of-the-issuer' } },
  });
  cleanup.use(g);
  const waiting = g.ask('/danger', { method: 'POST', body: 'x' });
  await asked.promise;
  const denied = '    - {name: danger, effect: Deny, http: {methods: ["*"], paths: ["/danger"]}}\n';
  await g.edit('policy.yaml', POLICY + denied);
  answer.resolve();
  expect((await waiting).status).toBe(403);
  expect(g.origin.seen).toEqual([]);
});
