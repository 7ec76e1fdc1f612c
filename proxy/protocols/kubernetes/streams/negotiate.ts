import { field, fieldValues, listElements } from '../../http/core/headers.ts';
import type { RequestHead } from '../../http/core/port.ts';
import type { StreamKind } from './port.ts';

/** What a client speaks on the connection that it asks for. */
export type Transport =
  /** Channels of WebSocket messages: https://pkg.go.dev/k8s.io/apimachinery/pkg/util/httpstream/wsstream */
  | {
      readonly type: 'channels';
      readonly protocol: 'v5.channel.k8s.io' | 'v4.channel.k8s.io';
      /** It shows the Status of a command, or takes any plain answer for a server that knows no WebSocket and asks again. */
      readonly readsStatus: boolean;
    }
  | { readonly type: 'spdy'; readonly protocol: string }
  /** SPDY in messages of WebSocket. */
  | { readonly type: 'tunnel'; readonly protocol: string };

const V5 = 'v5.channel.k8s.io';
const V4 = 'v4.channel.k8s.io';
const FORWARD = 'portforward.k8s.io';
const TUNNELLED = 'SPDY/3.1+portforward.k8s.io';

const VERSION = 'x-stream-protocol-version';

/**
 * The transport, or why there is none. Protocols before v4 are not taken: they tell no exit code (v1 to v3), or write bytes as base64,
 * and no client of the last ten years needs them.
 */
export function negotiate(
  kind: StreamKind,
  head: Pick<RequestHead, 'method' | 'upgrade' | 'headers'>,
): Transport | string {
  switch (head.upgrade) {
    case 'websocket':
      return overWebSocket(kind, head);
    case 'spdy/3.1':
      return overSpdy(kind, head);
    case undefined:
      return 'it asks for no upgrade';
    default:
      return 'it asks for an upgrade to something else';
  }
}

function overWebSocket(
  kind: StreamKind,
  { method, headers }: Pick<RequestHead, 'method' | 'headers'>,
): Transport | string {
  if (method !== 'GET') return 'a WebSocket begins with GET';
  if (field(headers, 'sec-websocket-version') !== '13') return 'a WebSocket of another version';
  if (!/^[A-Za-z0-9+/]{22}==$/.test(field(headers, 'sec-websocket-key') ?? '')) return 'a WebSocket without its key';
  const offered = listElements(headers, 'sec-websocket-protocol');
  if (kind === 'portforward' && offered.includes(TUNNELLED)) return { type: 'tunnel', protocol: TUNNELLED };
  if (kind !== 'portforward' && offered.includes(V5)) {
    // Python's client offers these two: it shows what a command wrote, and of a Status nothing; of a plain answer it raises an exception.
    const shows = offered.length === 2 && offered.includes(V4);
    return { type: 'channels', protocol: V5, readsStatus: !shows };
  }
  if (offered.includes(V4)) return { type: 'channels', protocol: V4, readsStatus: false };
  return `the subprotocols ${shown(offered)}`;
}

function overSpdy(kind: StreamKind, { method, headers }: Pick<RequestHead, 'method' | 'headers'>): Transport | string {
  if (method !== 'POST' && method !== 'GET') return 'SPDY begins with POST';
  const offered = fieldValues(headers, VERSION).flatMap((value) => value.split(',').map((part) => part.trim()));
  const protocol = kind === 'portforward' ? FORWARD : V4;
  return offered.includes(protocol) ? { type: 'spdy', protocol } : `the stream protocols ${shown(offered)}`;
}

const shown = (offered: readonly string[]): string =>
  offered.length === 0 ? '(none)' : offered.join(', ').slice(0, 200);
