/** A server of MCP with the reference SDK: tools, resources and prompts as the conformance tests ask for them, and tools of a small shop. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type http from 'node:http';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  CallToolRequestSchema,
  type CallToolResult,
  CompleteRequestSchema,
  ErrorCode,
  GetPromptRequestSchema,
  ListPromptsRequestSchema,
  ListResourcesRequestSchema,
  ListResourceTemplatesRequestSchema,
  ListToolsRequestSchema,
  McpError,
  ReadResourceRequestSchema,
  SetLevelRequestSchema,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';

/** A card number that detectors find, and a mail address. */
export const CARD = '4111 1111 1111 1111';
export const MAIL = 'ada@example.com';

export interface ShopServer {
  readonly handle: http.RequestListener;
  /** Calls that arrived, in order. */
  readonly calls: readonly { readonly tool: string; readonly arguments: unknown }[];
}

const PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const SOUND = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=';

const text = (said: string): CallToolResult => ({ content: [{ type: 'text', text: said }] });

const TOOLS: Readonly<Record<string, CallToolResult>> = {
  test_simple_text: text('This is a simple text response for testing.'),
  test_image_content: { content: [{ type: 'image', data: PIXEL, mimeType: 'image/png' }] },
  test_audio_content: { content: [{ type: 'audio', data: SOUND, mimeType: 'audio/wav' }] },
  test_embedded_resource: {
    content: [
      { type: 'resource', resource: { uri: 'test://embedded-resource', mimeType: 'text/plain', text: 'embedded' } },
    ],
  },
  test_multiple_content_types: {
    content: [
      { type: 'text', text: 'Multiple content types test:' },
      { type: 'image', data: PIXEL, mimeType: 'image/png' },
      { type: 'resource', resource: { uri: 'test://mixed', mimeType: 'application/json', text: '{"test":"data"}' } },
    ],
  },
  test_error_handling: {
    isError: true,
    content: [{ type: 'text', text: 'This tool intentionally returns an error for testing' }],
  },
  test_tool_with_logging: text('logged'),
  test_tool_with_progress: text('done'),
  search_orders: text('3 orders'),
  read_customer: {
    content: [{ type: 'text', text: JSON.stringify({ card: CARD, mail: MAIL }) }],
    structuredContent: { card: CARD, mail: MAIL },
  },
  refund: text('refunded'),
  delete_customer: text('deleted'),
};

function createShop(calls: { tool: string; arguments: unknown }[]): Server {
  const server = new Server(
    { name: 'shop', version: '1.0.0' },
    { capabilities: { tools: {}, resources: { subscribe: true }, prompts: {}, logging: {}, completions: {} } },
  );
  server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: Object.keys(TOOLS).map((name) => ({ name, description: `does ${name}`, inputSchema: { type: 'object' } })),
  }));
  server.setRequestHandler(CallToolRequestSchema, async ({ params }, { _meta, sendNotification }) => {
    calls.push({ tool: params.name, arguments: params.arguments });
    if (params.name === 'test_tool_with_logging')
      for (const data of ['Tool execution started', 'Tool processing data', 'Tool execution completed'])
        await sendNotification({ method: 'notifications/message', params: { level: 'info', data } });
    const progressToken = _meta?.progressToken;
    if (params.name === 'test_tool_with_progress' && progressToken !== undefined)
      for (const progress of [0, 50, 100])
        await sendNotification({ method: 'notifications/progress', params: { progressToken, progress, total: 100 } });
    const result = TOOLS[params.name];
    if (result === undefined) throw new McpError(ErrorCode.InvalidParams, `no tool ${params.name}`);
    return result;
  });
  server.setRequestHandler(ListResourcesRequestSchema, () => ({
    resources: [{ uri: 'test://static-text', name: 'text', mimeType: 'text/plain' }],
  }));
  server.setRequestHandler(ListResourceTemplatesRequestSchema, () => ({
    resourceTemplates: [{ uriTemplate: 'test://template/{id}/data', name: 'template' }],
  }));
  server.setRequestHandler(ReadResourceRequestSchema, ({ params: { uri } }) => ({
    contents: [
      uri === 'test://static-binary'
        ? { uri, mimeType: 'image/png', blob: PIXEL }
        : { uri, mimeType: 'text/plain', text: `This is the content of ${uri}: id 123` },
    ],
  }));
  server.setRequestHandler(SubscribeRequestSchema, () => ({}));
  server.setRequestHandler(UnsubscribeRequestSchema, () => ({}));
  server.setRequestHandler(SetLevelRequestSchema, () => ({}));
  server.setRequestHandler(CompleteRequestSchema, () => ({ completion: { values: ['a'], total: 1, hasMore: false } }));
  server.setRequestHandler(ListPromptsRequestSchema, () => ({
    prompts: [{ name: 'test_simple_prompt', description: 'a prompt' }],
  }));
  server.setRequestHandler(GetPromptRequestSchema, ({ params }) => ({
    messages: [
      { role: 'user', content: { type: 'text', text: `prompt: ${Object.values(params.arguments ?? {}).join(', ')}` } },
    ],
  }));
  return server;
}

/** @param json answers as JSON in place of event streams */
export function createShopServer({ json = false }: { readonly json?: boolean } = {}): ShopServer {
  const transports = new Map<string, StreamableHTTPServerTransport>();
  const calls: { tool: string; arguments: unknown }[] = [];
  const handle: http.RequestListener = (request, response) => {
    const known = transports.get(String(request.headers['mcp-session-id']));
    const begin = async (): Promise<StreamableHTTPServerTransport> => {
      const made: StreamableHTTPServerTransport = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        enableJsonResponse: json,
        onsessioninitialized: (id) => void transports.set(id, made),
      });
      // Its optional members are declared without undefined, which exactOptionalPropertyTypes tells apart.
      await createShop(calls).connect(made as Transport);
      return made;
    };
    // Whoever started this server may read along: the body is read while the stream is new.
    const body = bodyOf(request);
    (known === undefined ? begin() : Promise.resolve(known))
      .then(async (transport) => transport.handleRequest(request, response, await body))
      .catch((error: Error) => response.destroy(error));
  };
  return { handle, calls };
}

async function bodyOf(request: http.IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(request, 'end');
  return chunks.length === 0 ? undefined : JSON.parse(Buffer.concat(chunks).toString('utf8'));
}
