/** A channel whose data is somebody's own: windows of ours towards both sides, and order kept between what is sent and what passes. */
import { type Channel, type ChannelEnd, other } from './channel.ts';
import { dataMessage, exitSignal, exitStatus, Message, numbers, Violation } from './messages.ts';
import type { ChannelOutlet, ChannelOwner, ChannelRequest, DataStream, OwnChannel, Side } from './port.ts';

/** What a sender may have under way to us. */
const WINDOW = 512 * 1024;
/** Credit is given back in pieces of this size at least. */
const CREDIT = 64 * 1024;
/** Pieces that wait are put together up to this size: a window's worth of single bytes would take a hundred times its memory. */
const MERGED = 32 * 1024;
/** What may wait for the owner, however small, and for the window behind which requests pass. */
const MAX_WAITING = 65_536;
const MAX_REQUESTS = 1024;

interface WaitingData {
  readonly type: 'data';
  piece: Buffer;
  readonly stream: DataStream;
  /** Room of its own, in which the piece lies and may grow. */
  room?: Buffer;
}

type Incoming =
  | WaitingData
  | { readonly type: 'request'; readonly payload: Buffer; readonly request: ChannelRequest }
  | { readonly type: 'end'; readonly payload: Buffer; readonly close: boolean };

type Outgoing =
  | { readonly type: 'data'; stream: DataStream; bytes: Buffer; readonly sent: () => void }
  /** Passes behind the data before it. */
  | { readonly type: 'pass'; readonly run: () => void };

export interface OwnedChannel {
  data(from: Side, piece: Buffer, stream: DataStream): void;
  request(from: Side, payload: Buffer, request: ChannelRequest): void;
  /** EOF or CLOSE. */
  end(from: Side, payload: Buffer, close: boolean): void;
  /** The side's window has grown, or its connection has been written out. */
  continue(side: Side): void;
  /** No more is of use: waiting promises are let go. */
  drop(): void;
}

export interface OwnedContext {
  /** Sends a message about the channel to a side; false: congested. */
  send(side: Side, payload: Buffer): boolean;
  congested(side: Side): boolean;
  /** Passes a request on, with its reply seen to. */
  passRequest(from: Side, payload: Buffer, request: ChannelRequest): void;
  passEof(from: Side): void;
  passClose(from: Side): void;
  /** Ends the channel from here: CLOSE to both sides. */
  close(): void;
  failed(error: unknown): void;
}

export function createOwnedChannel(channel: Channel, own: OwnChannel, context: OwnedContext): OwnedChannel {
  const incoming: Record<Side, Incoming[]> = { client: [], target: [] };
  /** Of the incoming, those that no window limits. */
  const requests = { client: 0, target: 0 };
  const outgoing: Record<Side, Outgoing[]> = { client: [], target: [] };
  const busy = { client: false, target: false };
  const ended = { client: false, target: false };
  const credit = { client: 0, target: 0 };
  let dropped = false;

  const endOf = (side: Side): ChannelEnd => channel[side];

  /** The sender may send as much again. */
  const give = (side: Side, count: number, atOnce = false): void => {
    credit[side] += count;
    const end = endOf(side);
    if (end.closeReceived || end.eof || (credit[side] < CREDIT && !atOnce) || credit[side] === 0) return;
    const granted = credit[side];
    credit[side] = 0;
    end.allowance += granted;
    context.send(side, numbers(Message.CHANNEL_WINDOW_ADJUST, end.peer, granted));
  };

  /** Sends what window and connection let through. */
  const pump = (side: Side): void => {
    const queue = outgoing[side];
    const end = endOf(side);
    while (!dropped) {
      const next = queue[0];
      if (next === undefined) return;
      if (next.type === 'pass') {
        queue.shift();
        next.run();
        continue;
      }
      if (end.closeSent || end.closeReceived) {
        queue.shift();
        next.sent();
        continue;
      }
      if (end.window === 0 || context.congested(side)) return;
      const count = Math.min(next.bytes.length, end.window, end.maxPacket);
      end.window -= count;
      const piece = next.bytes.subarray(0, count);
      const whole = count === next.bytes.length;
      // Before it is sent: a write that is done at once comes back here.
      if (whole) queue.shift();
      else next.bytes = next.bytes.subarray(count);
      context.send(side, dataMessage(end.peer, next.stream, piece));
      if (whole) next.sent();
    }
  };

  const behind = (side: Side, run: () => void): void => {
    if (outgoing[side].push({ type: 'pass', run }) > MAX_REQUESTS) throw new Violation('too many requests wait');
    pump(side);
  };

  const outlet: ChannelOutlet = {
    send(to, stream, bytes) {
      if (dropped || bytes.length === 0) return undefined;
      let waiting = true;
      let finish = (): void => {};
      const sent = (): void => {
        waiting = false;
        finish();
      };
      outgoing[to].push({ type: 'data', stream: to === 'target' ? 'data' : stream, bytes, sent });
      pump(to);
      if (!waiting || dropped) return undefined;
      return new Promise((resolve) => {
        finish = resolve;
      });
    },
    abort(text, status) {
      if (dropped) return;
      const { client } = channel;
      void outlet.send('client', 'stderr', Buffer.from(text, 'utf8'));
      behind('client', () => {
        context.send('client', exitStatus(client.peer, status));
        context.send('client', numbers(Message.CHANNEL_EOF, client.peer));
        context.close();
      });
    },
  };

  const owner: ChannelOwner = own(outlet);

  const handle = (from: Side, item: Incoming): void | Promise<void> => {
    switch (item.type) {
      case 'data': {
        const { length } = item.piece;
        const done = owner.data(item.piece, from, item.stream);
        if (done === undefined) {
          give(from, length);
          return undefined;
        }
        return done.then(() => give(from, length));
      }
      case 'request':
        owner.request?.(item.request, from);
        behind(other(from), () => context.passRequest(from, withoutWords(item.payload, item.request), item.request));
        return undefined;
      case 'end': {
        const pass = (): void =>
          behind(other(from), () => (item.close ? context.passClose(from) : context.passEof(from)));
        if (ended[from]) return pass();
        ended[from] = true;
        const done = owner.end?.(from);
        return done === undefined ? pass() : done.then(pass);
      }
    }
  };

  const work = (from: Side): void => {
    const queue = incoming[from];
    while (!busy[from] && !dropped) {
      const item = queue.shift();
      if (item === undefined) return;
      if (item.type === 'request') requests[from]--;
      let done: void | Promise<void>;
      try {
        done = handle(from, item);
      } catch (error) {
        context.failed(error);
        return;
      }
      if (done === undefined) continue;
      busy[from] = true;
      done.then(
        () => {
          busy[from] = false;
          work(from);
        },
        (error: unknown) => context.failed(error),
      );
    }
  };

  const take = (from: Side, item: Incoming): void => {
    const queue = incoming[from];
    const last = queue.at(-1);
    if (item.type === 'data' && last?.type === 'data' && merge(last, item)) return;
    if (item.type === 'request' && last?.type === 'request' && isSize(item) && isSize(last)) {
      queue[queue.length - 1] = item;
      return;
    }
    if (item.type === 'request' && ++requests[from] > MAX_REQUESTS) throw new Violation('too many requests wait');
    if (queue.push(item) > MAX_WAITING) throw new Violation('too much waits in too small pieces');
    if (from === 'client' && isWithdrawal(item)) owner.withdrawn?.();
    work(from);
  };

  // What the client may send so far comes from the target's window, which is not passed on any more.
  give('client', Math.max(0, WINDOW - channel.client.allowance), true);
  // And the target's from the client's window: a small one would never be given back, since credit is given in larger pieces.
  give('target', Math.max(0, WINDOW - channel.target.allowance), true);
  return {
    data: (from, piece, stream) => take(from, { type: 'data', piece, stream }),
    request: (from, payload, request) => take(from, { type: 'request', payload, request }),
    end: (from, payload, close) => take(from, { type: 'end', payload, close }),
    continue: pump,
    drop() {
      dropped = true;
      for (const side of ['client', 'target'] as const) {
        incoming[side].length = 0;
        for (const item of outgoing[side].splice(0)) if (item.type === 'data') item.sent();
      }
    },
  };
}

/** Puts a piece behind one that waits, where they are small. @returns whether it did */
function merge(into: WaitingData, { piece, stream }: WaitingData): boolean {
  const { length } = into.piece;
  const whole = length + piece.length;
  if (into.stream !== stream || whole > MERGED) return false;
  if (into.room === undefined || into.room.length < whole) {
    into.room = Buffer.allocUnsafeSlow(Math.min(MERGED, Math.max(1024, 2 * whole)));
    into.piece.copy(into.room);
  }
  piece.copy(into.room, length);
  into.piece = into.room.subarray(0, whole);
  return true;
}

/** What a target says beside a signal would pass by the owner. */
const withoutWords = (payload: Buffer, request: ChannelRequest): Buffer =>
  request.type === 'exit-signal' ? exitSignal(0, request.name, request.coreDumped) : payload;

/** Of sizes that follow one another the last counts. */
const isSize = ({ request }: Extract<Incoming, { type: 'request' }>): boolean => request.type === 'window-change';

function isWithdrawal(item: Incoming): boolean {
  return item.type === 'end' ? item.close : item.type === 'request' && item.request.type === 'eow@openssh.com';
}
