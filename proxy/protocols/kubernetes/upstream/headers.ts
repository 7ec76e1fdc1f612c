import { eachField } from '../../http/core/headers.ts';
import type { HeaderFields } from '../../http/core/port.ts';

/**
 * What of a client's head goes to the API server: by allow-list, so that nothing by which a front proxy, an authenticating proxy or an API
 * server of tomorrow tells who asks can come from an agent.
 */
const PASSED: ReadonlySet<string> = new Set([
  'accept',
  'accept-encoding',
  'cache-control',
  'content-type',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-unmodified-since',
  'kubectl-command',
  'kubectl-session',
  'traceparent',
  'tracestate',
  'user-agent',
]);

/** Never, even to what stands behind the API server's own proxy: what authenticates there is not the agent's to send. */
const NEVER: ReadonlySet<string> = new Set(['audit-id', 'authorization', 'cookie', 'proxy-authorization']);
const NEVER_PREFIX = /^(impersonate-|x-remote-|x-forwarded-|x-client-|x-ssl-|ssl-client-)/;
const TOKEN_PROTOCOL = 'base64url.bearer.authorization.k8s.io.';

/** @param proxied the request goes through the API server to a pod, service or node, whose fields are not known here */
export function passedHeaders(headers: HeaderFields, proxied: boolean): HeaderFields {
  const passed: string[] = [];
  for (const [name, value] of eachField(headers)) {
    if (NEVER.has(name) || NEVER_PREFIX.test(name)) continue;
    if (name === 'sec-websocket-protocol') {
      const rest = withoutToken(value);
      if (proxied && rest !== '') passed.push(name, rest);
    } else if (proxied || PASSED.has(name)) passed.push(name, value);
  }
  return passed;
}

const elements = (value: string): string[] => value.split(',').map((each) => each.trim());

function withoutToken(value: string): string {
  return elements(value)
    .filter((each) => !each.startsWith(TOKEN_PROTOCOL))
    .join(', ');
}

/**
 * The token of a browser's WebSocket, which can send no Authorization (k8s.io/apiserver,
 * authentication/request/websocket/protocol.go): one subprotocol that holds it, beside one that is meant. Undefined: there is none.
 */
export function websocketToken(headers: HeaderFields): string | undefined {
  let upgrade = false;
  const protocols: string[] = [];
  for (const [name, value] of eachField(headers)) {
    if (name === 'upgrade' && value.toLowerCase() === 'websocket') upgrade = true;
    if (name === 'sec-websocket-protocol') protocols.push(...elements(value));
  }
  const tokens = protocols.filter((each) => each.startsWith(TOKEN_PROTOCOL));
  const [first] = tokens;
  if (!upgrade || first === undefined || tokens.length !== 1 || protocols.length < 2) return undefined;
  const token = Buffer.from(first.slice(TOKEN_PROTOCOL.length), 'base64url').toString('latin1');
  return /^[\x21-\x7e]+$/.test(token) ? token : undefined;
}
