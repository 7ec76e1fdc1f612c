/** The Model Context Protocol through the HTTP lane: the reference SDK on both ends, and its conformance tests. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type HttpLaneGround, startHttpLane } from '../../support/http-lane-ground.ts';
import { CARD, createShopServer, MAIL, type ShopServer } from '../../support/mcp-server.ts';
import { repositoryRoot } from '../../support/sallyport.ts';

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
      http: {paths: [/mcp], mcp: {methods: [tools/call], tools: ["search_*", "read_*"]}}
    - name: everything-else-by-path
      effect: Allow
      http: {methods: ["*"], paths: ["/**"]}
    - name: small-refunds
      effect: Allow
      http: {paths: [/mcp], mcp: {methods: [tools/call], tools: [refund]}}
      when: command.mcp.arguments.amount <= 10.0
    - name: refunds
      effect: Allow
      message: Refunds need a person.
      http: {paths: [/mcp], mcp: {methods: [tools/call], tools: [refund]}}
      when: command.mcp.arguments.amount > 10.0
      approval: {approvers: {groups: [on-call]}, timeout: 2m}
---
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: testers}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: tester}}]
  rules:
    - name: all
      effect: Allow
      http: {paths: [/mcp], mcp: {methods: ["*"], tools: ["*"]}}
---
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: cards}
spec:
  connections: {all: true}
  exceptSubjects: [{serviceAccount: {name: tester}}]
  content:
    - {detectors: [CreditCard, Email], transform: {redact: {}}}
`;

const MCP = { http: { mcp: { paths: ['/mcp'] } } };

describe.each([{ json: false }, { json: true }])('MCP, answers as JSON: $json', ({ json }) => {
  let g: HttpLaneGround;
  let shop: ShopServer;
  let client: Client;
  beforeAll(async () => {
    shop = createShopServer({ json });
    g = await startHttpLane({
      resources: { 'policy.yaml': POLICY },
      connections: { tools: MCP },
      origin: (request, response) => shop.handle(request, response),
    });
    client = await connect(g, 'agent');
  });
  afterAll(async () => {
    await client?.close();
    await g?.[Symbol.asyncDispose]();
  });

  const call = async (name: string, args: Record<string, unknown> = {}): Promise<CallToolResult> =>
    (await client.callTool({ name, arguments: args })) as CallToolResult;

  test('a list of tools holds what the caller may use, and nothing else', async () => {
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name).sort()).toEqual(['read_customer', 'refund', 'search_orders']);
  });

  test('an allowed call runs, and its result is masked', async () => {
    expect((await call('search_orders')).content).toEqual([{ type: 'text', text: '3 orders' }]);
    const masked = JSON.stringify(await call('read_customer'));
    expect(masked).not.toContain(CARD);
    expect(masked).not.toContain(MAIL);
    expect(masked).toContain('structuredContent');
  });

  test('a denied call says why in its result, and never arrives', async () => {
    const denied = await call('delete_customer', { id: 1 });
    expect(denied.isError).toBe(true);
    expect(JSON.stringify(denied.content)).toContain('SPE100');
    expect(denied._meta).toMatchObject({ 'sallyport.dev/problem': { code: 'SPE100', status: 403 } });
    await expect(client.listResources()).rejects.toMatchObject({ code: -32_003, data: { code: 'SPE100' } });
    expect(shop.calls.map(({ tool }) => tool)).not.toContain('delete_customer');
  });

  test('an approval is for one exact call, whatever its id', async () => {
    expect((await call('refund', { amount: 5 })).content).toEqual([{ type: 'text', text: 'refunded' }]);
    const held = await call('refund', { amount: 50, order: 'o1' });
    expect(JSON.stringify(held.content)).toContain('SPE101');
    const request = await g.pending();
    expect(JSON.stringify(request)).toContain('o1');
    await g.vote(request);
    expect(JSON.stringify((await call('refund', { amount: 51, order: 'o1' })).content)).toContain('SPE101');
    expect((await call('refund', { amount: 50, order: 'o1' })).content).toEqual([{ type: 'text', text: 'refunded' }]);
    // Used up.
    expect(JSON.stringify((await call('refund', { amount: 50, order: 'o1' })).content)).toContain('SPE101');
    expect(shop.calls.filter(({ tool }) => tool === 'refund').map(({ arguments: given }) => given)).toEqual([
      { amount: 5 },
      { amount: 50, order: 'o1' },
    ]);
  });

  test('a session is of the subject that it was given to', async () => {
    const began = await g.ask('/mcp', {
      method: 'POST',
      headers: { accept: 'application/json, text/event-stream' },
      body: {
        ...{ jsonrpc: '2.0', id: 1, method: 'initialize' },
        params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
      },
    });
    const id = String(began.headers['mcp-session-id']);
    const use = async (method: string, token?: string) =>
      g.ask('/mcp', {
        method,
        headers: { accept: 'application/json, text/event-stream', 'mcp-session-id': id },
        ...(method === 'POST' ? { body: { jsonrpc: '2.0', id: 2, method: 'ping' } } : {}),
        ...(token === undefined ? {} : { token }),
      });
    const tester = await g.token('tester');
    for (const method of ['POST', 'GET', 'DELETE']) {
      const refused = await use(method, tester);
      expect({ method, status: refused.status, body: refused.body }).toEqual({
        method,
        status: 404,
        body: expect.stringContaining('SPJ007'),
      });
    }
    const ping = { jsonrpc: '2.0', id: 2, method: 'ping' };
    for (const more of [{ 'mcp-session-id': ['mine', id] }, { mcp_session_id: id }]) {
      const accept = { accept: 'application/json, text/event-stream' };
      const refused = await g.ask('/mcp', {
        method: 'POST',
        body: ping,
        token: tester,
        headers: { ...accept, ...more },
      });
      expect(refused.status).toBe(400);
    }
    expect((await use('DELETE')).status).toBe(200);
  });

  const DELETE = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'delete_customer' } };
  const fields = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  test.each<[string, string, http.OutgoingHttpHeaders, string | object]>([
    [
      'a name twice',
      '/mcp',
      fields,
      '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"delete_customer"}}',
    ],
    [
      'a name in another case too',
      '/mcp',
      fields,
      '{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"name":"delete_customer"}}',
    ],
    [
      'a batch with an allowed call',
      '/mcp',
      fields,
      [{ jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'search_orders' } }, DELETE],
    ],
    ['a notification', '/mcp', fields, { ...DELETE, id: undefined }],
    ['an answer that is a request', '/mcp', fields, { ...DELETE, result: {} }],
    ['a body that says it is text', '/mcp', { ...fields, 'content-type': 'text/plain' }, DELETE],
    [
      'a charset',
      '/mcp',
      { ...fields, 'content-type': 'application/json; charset=utf-16le' },
      Buffer.from(JSON.stringify(DELETE), 'utf16le'),
    ],
    ['a slash behind', '/mcp/', fields, DELETE],
    ['capitals', '/MCP', fields, DELETE],
    ['a parameter of the path', '/mcp;x=1', fields, DELETE],
    ['an encoded letter', '/mc%70', fields, DELETE],
    ['dot segments', '/x/../mcp', fields, DELETE],
    ['a field that disagrees', '/mcp', { ...fields, 'mcp-method': 'tools/call', 'mcp-name': 'search_orders' }, DELETE],
    ['another letter case of the method', '/mcp', fields, { ...DELETE, method: 'Tools/Call' }],
  ])('does not let a call through by %s', async (_what, target, headers, body) => {
    const answer = await g.ask(target, { method: 'POST', headers, body });
    expect(answer.body).toMatch(/SP[EJ]\d{3}/);
    expect(shop.calls.map(({ tool }) => tool)).not.toContain('delete_customer');
  });

  test('everything is in the record, with the tool', async () => {
    const events = await g.recorded(
      ({ e, text }) => e === 'command.received' && String(text).includes('delete_customer'),
    );
    expect(events.some(({ text }) => String(text).endsWith('tools/call delete_customer'))).toBe(true);
  });

  if (!json)
    test('the conformance tests come out as they do with the server alone', async () => {
      const tester = await g.token('tester');
      await using front = await withToken(g.url('tools'), tester);
      const [alone, through] = await Promise.all([
        conformance(`http://127.0.0.1:${g.origin.port}/mcp`),
        conformance(`${front.url}/mcp`),
      ]);
      expect(through).toEqual(alone);
      expect(Object.values(alone).filter((failed) => failed === 0).length).toBeGreaterThan(15);
    });
});

async function connect(g: HttpLaneGround, who: string): Promise<Client> {
  const token = await g.token(who);
  const client = new Client({ name: 'tester', version: '1.0.0' });
  const transport = new StreamableHTTPClientTransport(new URL(`${g.url('tools')}/mcp`), {
    requestInit: { headers: { authorization: `Bearer ${token}` } },
  });
  await client.connect(transport as Transport);
  return client;
}

/** For programs that cannot be given a token. */
async function withToken(to: string, token: string): Promise<AsyncDisposable & { readonly url: string }> {
  const server = http.createServer((request, response) => {
    const headers = { ...request.headers, host: new URL(to).host, authorization: `Bearer ${token}` };
    const onward = http.request(`${to}${request.url}`, { method: request.method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      response.flushHeaders();
      answer.pipe(response);
    });
    onward.once('error', () => response.destroy());
    response.once('close', () => onward.destroy());
    request.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Checks that failed, by scenario. */
async function conformance(url: string): Promise<Record<string, number>> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-conformance-'));
  try {
    const program = path.join(repositoryRoot, 'node_modules/@modelcontextprotocol/conformance/dist/index.js');
    // Its status says whether all passed; what did is compared.
    await new Promise<void>((resolve) => {
      execFile(process.execPath, [program, 'server', '--url', url, '--output-dir', folder], () => resolve());
    });
    const failed: Record<string, number> = {};
    for (const entry of await readdir(folder, { recursive: true })) {
      if (path.basename(entry) !== 'checks.json') continue;
      const checks = JSON.parse(await readFile(path.join(folder, entry), 'utf8')) as { status: string }[];
      const scenario = path
        .dirname(entry)
        .replace(/^server-/, '')
        .replace(/-\d{4}-.*$/, '');
      failed[scenario] = checks.filter(({ status }) => status === 'FAILURE').length;
    }
    // It sends names of other hosts, which the gateway answers for.
    delete failed['dns-rebinding-protection'];
    return failed;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
