import type { Leg } from './leg.ts';
import type { OwnedChannel } from './owned.ts';
import type { ChannelInfo, ChannelObserver, Side } from './port.ts';
import type { ReplyQueue } from './replies.ts';

/** What one side of a channel has said and may say. */
export interface ChannelEnd {
  /** The peer's number for it; -1 before the peer has named one. */
  peer: number;
  /** Bytes that this side may still send. */
  allowance: number;
  /** Bytes that may still be sent to this side. */
  window: number;
  /** Largest piece of data that this side takes. */
  maxPacket: number;
  eof: boolean;
  closeReceived: boolean;
  closeSent: boolean;
  /** Answers to this side's requests, in the order of the requests: null comes from the other side, the rest is ours. */
  readonly replies: ReplyQueue;
}

/** What the client sent behind a request that waits for its verdict. */
export interface Held {
  readonly messages: Buffer[];
  bytes: number;
  withdraw: () => void;
  withdrawn: boolean;
  /** The client has a terminal, and may type: Ctrl-C withdraws. */
  listening: boolean;
}

/** A channel that the target does not know yet. */
export interface Deferred {
  /** Requests that were answered already, for when it does. */
  readonly requests: Buffer[];
}

export interface Channel {
  readonly info: ChannelInfo;
  /**
   * Our number for it, the same towards both sides: rewritten in every message, so that no number is taken again too early. Changed by the
   * table alone, before either side has heard of it.
   */
  id: number;
  readonly client: ChannelEnd;
  readonly target: ChannelEnd;
  /** Where the target side is; undefined while the channel is deferred. */
  targetLeg: Leg | undefined;
  observer: ChannelObserver | undefined;
  owned: OwnedChannel | undefined;
  held: Held | undefined;
  deferred: Deferred | undefined;
  /** Its window was lowered by so much, for texts of ours. */
  reserve: number;
  /** We have ended it: what comes is of no interest any more. */
  ended: boolean;
  /** The gatekeeper has heard of it. */
  asked: boolean;
  /** The other side has been asked to open it: before, it has nothing to answer. */
  offered: boolean;
}

const end = (peer: number): ChannelEnd => ({
  peer,
  allowance: 0,
  window: 0,
  maxPacket: 0,
  eof: false,
  closeReceived: false,
  closeSent: false,
  replies: [],
});

export function createChannel(info: ChannelInfo, id: number, targetLeg: Leg | undefined): Channel {
  return {
    info,
    id,
    client: end(-1),
    target: end(-1),
    targetLeg,
    observer: undefined,
    owned: undefined,
    held: undefined,
    deferred: undefined,
    reserve: 0,
    ended: false,
    asked: false,
    offered: false,
  };
}

export const other = (side: Side): Side => (side === 'client' ? 'target' : 'client');

/** Nothing of it can come any more. */
export function isGone({ client, target, deferred }: Channel): boolean {
  const targetGone = deferred !== undefined || (target.closeReceived && target.closeSent);
  return targetGone && client.closeReceived && client.closeSent;
}

/** Channels by number; the lowest number is taken first. */
export interface ChannelTable {
  readonly size: number;
  get(id: number): Channel | undefined;
  add(info: ChannelInfo, targetLeg: Leg | undefined): Channel;
  remove(channel: Channel): void;
  /** Takes a number for a channel that is none yet. */
  reserve(): number;
  free(id: number): void;
  /** Gives a channel another number. */
  move(channel: Channel, id: number): void;
  all(): Channel[];
}

export function createChannelTable(): ChannelTable {
  const channels: (Channel | undefined)[] = [];
  const reserved = new Set<number>();
  let size = 0;
  const lowest = (): number => {
    let id = 0;
    while (channels[id] !== undefined || reserved.has(id)) id++;
    return id;
  };
  return {
    get size() {
      return size;
    },
    get: (id) => channels[id],
    add(info, targetLeg) {
      const id = lowest();
      const channel = createChannel(info, id, targetLeg);
      channels[id] = channel;
      size++;
      return channel;
    },
    remove(channel) {
      if (channels[channel.id] !== channel) return;
      channels[channel.id] = undefined;
      size--;
    },
    reserve() {
      const id = lowest();
      reserved.add(id);
      return id;
    },
    free: (id) => void reserved.delete(id),
    move(channel, id) {
      channels[channel.id] = undefined;
      channel.id = id;
      channels[id] = channel;
    },
    all: () => channels.filter((channel) => channel !== undefined),
  };
}
