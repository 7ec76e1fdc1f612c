import type { StreamUpstream } from './port.ts';
import { podPath } from './query.ts';
import { createSpdySession, type SpdySession } from './spdy/session.ts';
import { type Dialled, dialWebSocket, openMessages } from './websocket.ts';

/** Connections to ports of a pod, by way of the API server. */
export interface ForwardUpstream extends Pick<SpdySession, 'open'> {
  close(): void;
}

export type DialledForward = { readonly upstream: ForwardUpstream } | Exclude<Dialled, { readonly protocol: string }>;

/**
 * SPDY in messages of a WebSocket, which API servers have had since 1.30.
 * @param closed called once, when the API server or the kubelet has ended it
 * @throws when it cannot be reached
 */
export async function dialForward(
  upstream: StreamUpstream,
  pod: { readonly namespace: string; readonly pod: string },
  closed: (error: Error | undefined) => void,
  signal: AbortSignal,
): Promise<DialledForward> {
  const target = `${podPath(pod.namespace, pod.pod)}/portforward`;
  const dialled = await dialWebSocket(upstream, target, ['SPDY/3.1+portforward.k8s.io'], signal);
  if (dialled.socket === undefined) return dialled;
  const { socket } = dialled;
  const messages = openMessages(socket, {
    message: (bytes) => session.receive(bytes),
    closed(error) {
      session.close();
      closed(error);
    },
  });
  const session = createSpdySession({ role: 'client', send: messages.send, mostStreams: 0 });
  socket.resume();
  return {
    upstream: {
      open: session.open,
      close() {
        session.close();
        messages.close();
      },
    },
  };
}
