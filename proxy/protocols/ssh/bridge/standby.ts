/**
 * A session channel of the target's that is open before its client asks for one: a client that opens sessions one behind the other, as those
 * that share a connection for many commands do, would wait for the target twice for each of them. Nothing runs on a channel that only is
 * open (RFC 4254, section 6.1): what runs is asked for on it, decided and recorded as on any other.
 */
import { Message, numbers, openSession, readRequest, Violation } from './messages.ts';

/**
 * From one session to the next that may follow, in milliseconds: so long a channel waits. Less than targets let pass between two keep-alives,
 * which they send on any channel that is open, and which the client has to answer.
 */
export const STANDBY_MS = 1000;

/** What a target was told of the client's side, or the target's side told. */
export interface Offer {
  /** Bytes that may be sent to it. */
  readonly window: number;
  readonly maxPacket: number;
}

/** The target's side of a channel that was taken. */
export interface Taken {
  /** Our number for it. */
  readonly id: number;
  /** Undefined: its answer is under way, and belongs to who has taken it. */
  readonly answer: (Offer & { readonly peer: number }) | undefined;
}

export interface Standby {
  /** A session is opened by the client, with this offer. The channel that stands by, where it was opened with the same. */
  take(offer: Offer): Taken | undefined;
  /** A program has been started, and there is time: opens one where it is likely to be wanted. */
  prepare(): void;
  /** A message of the target's about a channel that nobody has: whether it is this one's. @throws Violation */
  heard(payload: Buffer): boolean;
  /** None from here on: the client has said that it opens no more, after which servers end the connection of whoever does. */
  forbid(): void;
}

export interface StandbyContext {
  /** To the target: what is answered too fast for it makes it wait. */
  send(payload: Buffer): void;
  /** A number for a channel that is not in the table. */
  reserve(): number;
  free(id: number): void;
  readonly minPacket: number;
}

type State =
  | { readonly is: 'opening'; readonly id: number; readonly offer: Offer; unwanted: boolean }
  | {
      readonly is: 'open';
      readonly id: number;
      readonly offer: Offer;
      readonly peer: number;
      window: number;
      readonly maxPacket: number;
    }
  | { readonly is: 'closing'; readonly id: number; readonly peer: number };

const MAX_WINDOW = 2 ** 32 - 1;

export function createStandby(context: StandbyContext): Standby {
  let state: State | undefined;
  let last: Offer | undefined;
  /** A session was opened not long ago; and the one before it not long before. */
  let recent = false;
  let likely = false;
  /** The target opens no more: asked again, it would log a refusal for each command. */
  let refused = false;
  let timer: NodeJS.Timeout | undefined;

  function forget(): void {
    if (state !== undefined) context.free(state.id);
    state = undefined;
  }

  function retire(): void {
    if (state?.is === 'opening') state.unwanted = true;
    if (state?.is !== 'open') return;
    const { id, peer } = state;
    state = { is: 'closing', id, peer };
    context.send(numbers(Message.CHANNEL_CLOSE, peer));
  }

  function quiet(): void {
    recent = likely = false;
    retire();
  }

  function note(offer: Offer): void {
    likely = recent;
    recent = true;
    last = offer;
    if (timer === undefined) timer = setTimeout(quiet, STANDBY_MS).unref();
    else timer.refresh();
  }

  function answered(payload: Buffer): void {
    if (state?.is !== 'opening') throw new Violation('an answer to no channel');
    const { id, offer, unwanted } = state;
    if (payload[0] === Message.CHANNEL_OPEN_FAILURE) {
      refused = true;
      forget();
      return;
    }
    if (payload.length < 17) throw new Violation('a message is cut off');
    const [peer, window, maxPacket] = [payload.readUInt32BE(5), payload.readUInt32BE(9), payload.readUInt32BE(13)];
    if (maxPacket < context.minPacket) throw new Violation('packets that are too small');
    state = { is: 'open', id, offer, peer, window, maxPacket };
    if (unwanted) retire();
  }

  return {
    take(offer) {
      note(offer);
      if (state === undefined || state.is === 'closing' || (state.is === 'opening' && state.unwanted)) return undefined;
      if (state.offer.window !== offer.window || state.offer.maxPacket !== offer.maxPacket) {
        retire();
        return undefined;
      }
      const { id } = state;
      const answer =
        state.is === 'open' ? { peer: state.peer, window: state.window, maxPacket: state.maxPacket } : undefined;
      forget();
      return { id, answer };
    },
    prepare() {
      if (!likely || refused || state !== undefined || last === undefined) return;
      const id = context.reserve();
      state = { is: 'opening', id, offer: last, unwanted: false };
      context.send(openSession(id, last.window, last.maxPacket));
    },
    heard(payload) {
      if (state === undefined || payload.readUInt32BE(1) !== state.id) return false;
      const type = payload[0];
      if (type === Message.CHANNEL_OPEN_CONFIRMATION || type === Message.CHANNEL_OPEN_FAILURE) {
        answered(payload);
        return true;
      }
      if (state.is === 'opening') throw new Violation('a message about a channel that is not open');
      switch (type) {
        case Message.CHANNEL_CLOSE:
          if (state.is === 'open') context.send(numbers(Message.CHANNEL_CLOSE, state.peer));
          forget();
          return true;
        case Message.CHANNEL_EOF:
          // Nothing can run on it any more.
          retire();
          return true;
        case Message.CHANNEL_WINDOW_ADJUST:
          if (payload.length < 9) throw new Violation('a message is cut off');
          if (state.is !== 'open') return true;
          state.window += payload.readUInt32BE(5);
          if (state.window > MAX_WINDOW) throw new Violation('a window larger than the protocol allows');
          return true;
        case Message.CHANNEL_REQUEST:
          // Keep-alives of who wants one every moment, or what nobody here knows.
          if (readRequest(payload).wantReply && state.is === 'open')
            context.send(numbers(Message.CHANNEL_FAILURE, state.peer));
          return true;
        default:
          // Data and answers of no program.
          throw new Violation('a message about a channel on which nothing runs');
      }
    },
    forbid() {
      refused = true;
      clearTimeout(timer);
      retire();
    },
  };
}
