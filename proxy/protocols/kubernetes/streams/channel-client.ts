import { CHANNEL, type CommandClient, type CommandClientHandlers, channelMessage } from './command-port.ts';
import type { StreamExchange } from './port.ts';
import { createSizeReader } from './terminal-size.ts';
import { acceptWebSocket, openMessages } from './websocket.ts';

/** A client that speaks v5 or v4 of the channel protocol over WebSocket. */
export function acceptChannels(
  exchange: StreamExchange,
  protocol: 'v5.channel.k8s.io' | 'v4.channel.k8s.io',
  handlers: CommandClientHandlers,
): CommandClient {
  const sizes = createSizeReader();
  const halfCloses = protocol === 'v5.channel.k8s.io';

  function message(bytes: Buffer): Promise<void> | undefined {
    const rest = bytes.subarray(1);
    switch (bytes[0]) {
      case CHANNEL.stdin:
        return rest.length === 0 ? undefined : handlers.stdin(rest);
      case CHANNEL.resize:
        for (const size of sizes(rest)) handlers.resize(size);
        return undefined;
      case CHANNEL.close:
        if (halfCloses && rest[0] === CHANNEL.stdin) handlers.stdinEnd();
        return undefined;
      // As API servers do, what comes on a channel that is not for clients is passed over.
      default:
        return undefined;
    }
  }

  const messages = openMessages(acceptWebSocket(exchange, protocol), { message, closed: handlers.closed });
  return {
    output: (stream, bytes) =>
      messages.send(channelMessage(stream === 'data' ? CHANNEL.stdout : CHANNEL.stderr, bytes)),
    finish(status) {
      messages.send(channelMessage(CHANNEL.status, status));
      messages.close();
    },
    heartbeat: messages.heartbeat,
    destroy: messages.destroy,
  };
}
