import { type ConnectionLayer, DisconnectReason } from './port.ts';
import type { Transport } from './ssh2.ts';

/** Numbers of RFC 4254, section 9. */
const FIRST = 80;
const LAST = 127;
/** Messages that a peer can have had under way before anybody listens: reading has stopped by then. */
const BACKLOG = 1024;

export interface LayerControl {
  readonly layer: ConnectionLayer;
  /** Messages of the connection protocol count from now on; before, they are against the rules. */
  open(): void;
  /** The transport has ended. */
  ended(error: Error | undefined): void;
}

/**
 * The connection layer over a transport whose user is signed in, or about to be. Takes the transport's listeners over: until somebody
 * listens nothing is read.
 * @param onOther gets what is not of the connection protocol, such as late requests for authentication
 */
export function createLayer(transport: Transport, onOther: (payload: Buffer) => void): LayerControl {
  let listener: ((payload: Buffer) => void) | undefined;
  let backlog: Buffer[] = [];
  let opened = false;
  let finish: (error: Error | undefined) => void = () => {};
  const closed = new Promise<Error | undefined>((resolve) => {
    finish = resolve;
  });

  transport.onMessage = (payload) => {
    const type = payload[0] ?? 0;
    if (type < FIRST || type > LAST) {
      onOther(payload);
      return;
    }
    if (!opened) {
      transport.disconnect(DisconnectReason.PROTOCOL_ERROR, 'a channel before the sign-in');
      return;
    }
    if (listener !== undefined) {
      listener(payload);
      return;
    }
    if (backlog.push(payload) > BACKLOG)
      transport.disconnect(DisconnectReason.PROTOCOL_ERROR, 'too many messages at once');
  };
  transport.pause();

  const layer: ConnectionLayer = {
    get peerVersion() {
      return transport.peerVersion;
    },
    send(payload) {
      transport.send(payload);
      return !transport.congested;
    },
    get congested() {
      return transport.congested;
    },
    onPayload(next) {
      listener = next;
      const waiting = backlog;
      backlog = [];
      for (const payload of waiting) next(payload);
      transport.resume();
    },
    onDrain(next) {
      transport.onDrain = next;
    },
    pause: () => transport.pause(),
    resume: () => transport.resume(),
    unimplemented: () => transport.unimplemented(),
    disconnect: (reason, text) => transport.disconnect(reason, text),
    closed,
  };
  return {
    layer,
    open() {
      opened = true;
    },
    ended: (error) => finish(error),
  };
}
