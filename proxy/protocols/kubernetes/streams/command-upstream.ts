import { CHANNEL, type CommandUpstream, type CommandUpstreamHandlers, channelMessage } from './command-port.ts';
import type { StreamUpstream } from './port.ts';
import { sizeMessage } from './terminal-size.ts';
import { type Dialled, dialWebSocket, openMessages } from './websocket.ts';

export type DialledCommand = { readonly upstream: CommandUpstream } | Exclude<Dialled, { readonly protocol: string }>;

/** v5 ends stdin by a message, API servers have it since 1.30; with v4, stdin ends with the connection alone. */
const PROTOCOLS = ['v5.channel.k8s.io', 'v4.channel.k8s.io'];

/**
 * Has the API server run a command, or attach.
 * @param target path and query
 * @throws when it cannot be reached
 */
export async function dialCommand(
  upstream: StreamUpstream,
  target: string,
  handlers: CommandUpstreamHandlers,
  signal: AbortSignal,
): Promise<DialledCommand> {
  const dialled = await dialWebSocket(upstream, target, PROTOCOLS, signal);
  if (dialled.socket === undefined) return dialled;
  const { socket, protocol } = dialled;

  function message(bytes: Buffer): Promise<void> | undefined {
    const rest = bytes.subarray(1);
    // Empty ones say that the connection stands.
    if (rest.length === 0) return undefined;
    switch (bytes[0]) {
      case CHANNEL.stdout:
        return handlers.output('data', rest);
      case CHANNEL.stderr:
        return handlers.output('stderr', rest);
      case CHANNEL.status:
        handlers.status(rest);
        return undefined;
      default:
        return undefined;
    }
  }

  const messages = openMessages(socket, { message, closed: handlers.closed });
  socket.resume();
  return {
    upstream: {
      stdin: (bytes) => messages.send(channelMessage(CHANNEL.stdin, bytes)),
      stdinEnd() {
        if (protocol === 'v5.channel.k8s.io') messages.send(channelMessage(CHANNEL.close, [CHANNEL.stdin]));
      },
      resize: (size) => void messages.send(channelMessage(CHANNEL.resize, sizeMessage(size))),
      close: messages.destroy,
    },
  };
}
