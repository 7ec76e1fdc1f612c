/**
 * Joins the connection layers of client and target, message by message: windows, EOF, exit statuses and keep-alives are those of the two
 * ends, and what is decided is decided on the way. Channel numbers are our own towards both sides.
 */
import { DisconnectReason } from '../transport/port.ts';
import { type Channel, createChannelTable, type Deferred, type Held, isGone, other } from './channel.ts';
import { createGlobalRequests } from './globals.ts';
import { answer, createLeg, type Leg, setPaused } from './leg.ts';
import {
  DATA_HEADER,
  dataLength,
  dataMessage,
  EXTENDED_HEADER,
  exitStatus,
  extendedType,
  Message,
  numbers,
  openFailure,
  openSession,
  type RequestMessage,
  readOpen,
  readRequest,
  recipientOf,
  Violation,
} from './messages.ts';
import { createOwnedChannel, type OwnedContext } from './owned.ts';
import {
  type Bridge,
  type BridgeEnd,
  type BridgeOptions,
  type ChannelInfo,
  OpenFailure,
  type OpenVerdict,
  type RequestCall,
  type RequestVerdict,
  type Side,
} from './port.ts';
import { expectReply, repliesAfter, replyInOrder } from './replies.ts';
import { createStandby } from './standby.ts';

/** Largest piece of data that either leg is told it may send: what OpenSSH tells. */
const MAX_PACKET = 32_768;
/** Least that a peer may want to get in one piece: with 0 nothing could ever be sent, and with little each byte costs a message. */
const MIN_PACKET = 256;
const MAX_WINDOW = 2 ** 32 - 1;
/** Kept of a client's window for texts of ours, where it is large enough not to miss it. */
const RESERVE = 4096;
/** What may wait behind a request that is held. */
const MAX_HELD_MESSAGES = 256;
const MAX_HELD_BYTES = 1024 * 1024;
/** What a client with a terminal may type meanwhile, in bytes, and Ctrl-C as its terminal sends it. */
const TYPED = 1024;
const INTERRUPT = 0x03;
const DENIED_STATUS = 126;

/** Requests that start the program of a session (RFC 4254, section 6.5). */
const STARTS: ReadonlySet<string> = new Set(['exec', 'shell', 'subsystem']);
/** Requests about what runs already. */
const UNASKED: ReadonlySet<string> = new Set([
  'window-change',
  'signal',
  'break',
  'eow@openssh.com',
  'keepalive@openssh.com',
]);

const toError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

/** Starts to pass messages at once. The layers' listeners are the bridge's from here on. */
export function createBridge(options: BridgeOptions): Bridge {
  const { gatekeeper, limits, debug } = options;
  const client = createLeg('client', options.client);
  const mainTarget = options.target === undefined ? undefined : createLeg('target', options.target);
  const targets = new Set<Leg>(mainTarget === undefined ? [] : [mainTarget]);
  const channels = createChannelTable();
  const bytes = { client: 0, target: 0 };
  let serial = 0;
  let over = false;
  let finish: (end: BridgeEnd) => void = () => {};
  const ended = new Promise<BridgeEnd>((resolve) => {
    finish = resolve;
  });

  // ---- Flow: who waits for whom

  const settlePauses = (): void => {
    let congested = false;
    for (const leg of targets) if (leg.layer.congested) congested = true;
    setPaused(client, congested);
    const clientCongested = client.layer.congested;
    for (const leg of targets) setPaused(leg, clientCongested);
  };

  /** Passes a message on; its sender waits where it cannot be written out. */
  const pass = (leg: Leg, payload: Buffer): void => {
    if (!leg.layer.send(payload)) settlePauses();
  };

  const standby =
    mainTarget === undefined
      ? undefined
      : createStandby({
          send: (payload) => {
            if (!over) respond(mainTarget, payload);
          },
          reserve: channels.reserve,
          free: channels.free,
          minPacket: MIN_PACKET,
        });

  const respond = (leg: Leg, payload: Buffer): void => {
    answer(leg, payload);
    if (leg.choked) settlePauses();
  };

  const drained = (leg: Leg): void => {
    if (over) return;
    leg.choked = false;
    settlePauses();
    for (const channel of channels.all()) {
      if (channel.owned === undefined) continue;
      if (leg.side === 'client') channel.owned.continue('client');
      else if (channel.targetLeg === leg) channel.owned.continue('target');
    }
  };

  const legOf = (channel: Channel, side: Side): Leg | undefined => (side === 'client' ? client : channel.targetLeg);

  // ---- End

  const conclude = (end: BridgeEnd): void => {
    if (over) return;
    over = true;
    standby?.forbid();
    for (const channel of channels.all()) release(channel);
    finish(end);
  };

  const end = (text: string, reason: number, error: Error | undefined): void => {
    if (over) return;
    // A client that shares the connection with others never sees the reason of the disconnect.
    for (const channel of channels.all()) {
      const { info, client: to, ended } = channel;
      if (info.type === 'session' && to.peer >= 0 && !to.closeSent && !ended) writeText(channel, `${text}\n`);
    }
    conclude({ by: 'gateway', text, error });
    client.layer.disconnect(reason, text);
    for (const leg of targets) leg.layer.disconnect(DisconnectReason.BY_APPLICATION, 'bye');
  };

  const failed = (error: unknown): void => {
    if (error instanceof Violation) end(error.message, DisconnectReason.PROTOCOL_ERROR, error);
    else end('the gateway failed', DisconnectReason.BY_APPLICATION, toError(error));
  };

  /** Forgets a channel, whatever state it is in. */
  function release(channel: Channel): void {
    channels.remove(channel);
    channel.held?.withdraw();
    channel.owned?.drop();
    const leg = channel.targetLeg;
    if (leg !== undefined && leg !== mainTarget && targets.delete(leg)) {
      leg.over = true;
      leg.layer.disconnect(DisconnectReason.BY_APPLICATION, 'bye');
      settlePauses();
    }
    if (channel.asked) gatekeeper.channelClosed(channel.info);
  }

  // ---- Channels: end

  const sendClose = (channel: Channel, side: Side): void => {
    const to = channel[side];
    const leg = legOf(channel, side);
    if (to.closeSent || to.peer < 0 || leg === undefined) return;
    to.closeSent = true;
    pass(leg, numbers(Message.CHANNEL_CLOSE, to.peer));
    if (isGone(channel)) release(channel);
  };

  /** Ends a channel from here: nothing of it passes any more. */
  const close = (channel: Channel): void => {
    channel.ended = true;
    sendClose(channel, 'client');
    sendClose(channel, 'target');
  };

  const denied = (channel: Channel, wantReply: boolean, text: string, status: number): void => {
    const to = channel.client;
    channel.held = undefined;
    channel.ended = true;
    const run = (): void => {
      if (wantReply) respond(client, numbers(Message.CHANNEL_SUCCESS, to.peer));
      writeText(channel, text);
      respond(client, exitStatus(to.peer, status));
      respond(client, numbers(Message.CHANNEL_EOF, to.peer));
      close(channel);
    };
    replyInOrder(to.replies, run);
  };

  /** On the client's stderr, as far as its window goes. */
  function writeText(channel: Channel, text: string): number {
    const to = channel.client;
    let left = Buffer.from(text, 'utf8');
    left = left.subarray(0, Math.min(left.length, to.window));
    const { length } = left;
    to.window -= length;
    while (left.length > 0) {
      const piece = left.subarray(0, to.maxPacket);
      respond(client, dataMessage(to.peer, 'stderr', piece));
      left = left.subarray(piece.length);
    }
    return length;
  }

  // ---- Channels: opening

  const onOpen = (leg: Leg, payload: Buffer): void => {
    const message = readOpen(payload);
    const from = leg.side;
    const { type } = message.purpose;
    if (channels.size >= limits.channels) {
      const text = `no more than ${limits.channels} channels at once`;
      respond(leg, openFailure(message.sender, OpenFailure.RESOURCE_SHORTAGE, text));
      return;
    }
    if (from === 'target' && leg !== mainTarget) {
      respond(leg, openFailure(message.sender, OpenFailure.ADMINISTRATIVELY_PROHIBITED, 'not here'));
      return;
    }
    if (message.maxPacket < MIN_PACKET) {
      respond(leg, openFailure(message.sender, OpenFailure.RESOURCE_SHORTAGE, 'its packets are too small'));
      return;
    }
    const info: ChannelInfo = { serial: serial++, opener: from, type: type === 'other' ? message.purpose.name : type };
    const channel = channels.add(info, mainTarget);
    const opener = channel[from];
    opener.peer = message.sender;
    opener.window = message.window;
    opener.maxPacket = Math.min(message.maxPacket, MAX_PACKET);
    channel.asked = true;
    const decided = (verdict: OpenVerdict): void => {
      if (over) return;
      applyOpen(leg, channel, payload, message.at, verdict);
    };
    const verdict = gatekeeper.openChannel(info, message.purpose);
    if (verdict instanceof Promise) verdict.then(decided).catch(failed);
    else decided(verdict);
  };

  const applyOpen = (leg: Leg, channel: Channel, payload: Buffer, at: number, verdict: OpenVerdict): void => {
    const opener = channel[leg.side];
    const refuse = (reason: number, text: string): void => {
      respond(leg, openFailure(opener.peer, reason, text));
      release(channel);
    };
    if (verdict.verdict === 'refuse') {
      refuse(verdict.reason, verdict.text);
      return;
    }
    if (verdict.verdict === 'defer') {
      if (leg.side !== 'client' || channel.info.type !== 'session')
        throw new Error('only sessions of clients can be deferred');
      channel.targetLeg = undefined;
      channel.deferred = { requests: [] };
      respond(client, numbers(Message.CHANNEL_OPEN_CONFIRMATION, opener.peer, channel.id, 0, MAX_PACKET));
      return;
    }
    const to = leg.side === 'client' ? mainTarget : client;
    if (to === undefined) {
      refuse(OpenFailure.ADMINISTRATIVELY_PROHIBITED, 'not on this connection');
      return;
    }
    channel.observer = verdict.observer;
    verdict.until?.addEventListener('abort', () => stop(channel), { once: true });
    const receiver = channel[to.side];
    receiver.allowance = shownWindow(channel, opener.window, leg.side);
    if (leg.side === 'client' && channel.info.type === 'session' && openedAhead(channel)) return;
    payload.writeUInt32BE(channel.id, at);
    payload.writeUInt32BE(receiver.allowance, at + 4);
    payload.writeUInt32BE(opener.maxPacket, at + 8);
    channel.offered = true;
    pass(to, payload);
  };

  /** Whether the target has opened the session already, or is about to. */
  function openedAhead(channel: Channel): boolean {
    const { client: opener, target } = channel;
    const taken = standby?.take({ window: target.allowance, maxPacket: opener.maxPacket });
    if (taken === undefined) return false;
    channels.move(channel, taken.id);
    channel.offered = true;
    const { answer: known } = taken;
    if (known === undefined) return true;
    target.peer = known.peer;
    target.window = known.window;
    target.maxPacket = Math.min(known.maxPacket, MAX_PACKET);
    opener.allowance = shownWindow(channel, known.window, 'target');
    pass(
      client,
      numbers(Message.CHANNEL_OPEN_CONFIRMATION, opener.peer, channel.id, opener.allowance, target.maxPacket),
    );
    return true;
  }

  function stop(channel: Channel): void {
    if (!over && channels.get(channel.id) === channel) close(channel);
  }

  /** What the other side is told of a window. */
  function shownWindow(channel: Channel, window: number, from: Side): number {
    if (from !== 'client' || channel.info.type !== 'session' || window < 4 * RESERVE) return window;
    channel.reserve = RESERVE;
    return window - RESERVE;
  }

  const onOpenAnswer = (leg: Leg, payload: Buffer, confirmed: boolean): void => {
    const channel = channelOf(leg, payload);
    if (channel === undefined) return;
    const answering = channel[leg.side];
    const opener = channel[other(leg.side)];
    if (
      answering.peer >= 0 ||
      !channel.offered ||
      channel.deferred !== undefined ||
      (leg.side === 'client') === (channel.info.opener === 'client')
    )
      throw new Violation('an answer to no channel');
    if (confirmed) {
      if (payload.length < 17) throw new Violation('a message is cut off');
      answering.peer = payload.readUInt32BE(5);
      answering.window = payload.readUInt32BE(9);
      answering.maxPacket = Math.min(payload.readUInt32BE(13), MAX_PACKET);
      if (answering.maxPacket < MIN_PACKET) throw new Violation('packets that are too small');
    }
    if (leg !== mainTarget && leg.side === 'target') {
      viaAnswered(channel, payload, confirmed);
      return;
    }
    payload.writeUInt32BE(opener.peer, 1);
    if (!confirmed) {
      pass(leg.side === 'client' ? (mainTarget ?? client) : client, payload);
      release(channel);
      return;
    }
    opener.allowance = shownWindow(channel, answering.window, leg.side);
    payload.writeUInt32BE(channel.id, 5);
    payload.writeUInt32BE(opener.allowance, 9);
    payload.writeUInt32BE(answering.maxPacket, 13);
    const to = legOf(channel, other(leg.side));
    if (to !== undefined) pass(to, payload);
    // Its time was over before it was open.
    if (channel.ended) sendClose(channel, leg.side);
  };

  // ---- Channels: what is said on them

  /** Undefined: its sender has closed it, and is not to be heard about it any more. @throws Violation */
  function channelOf(leg: Leg, payload: Buffer): Channel | undefined {
    const channel = channels.get(recipientOf(payload));
    if (channel === undefined || (leg.side === 'target' && channel.targetLeg !== leg)) {
      if (leg === mainTarget && standby?.heard(payload) === true) return undefined;
      // As OpenSSH does: some clients open windows of what they have closed.
      if (payload[0] === Message.CHANNEL_WINDOW_ADJUST) return undefined;
      throw new Violation('a message about a channel that is not open');
    }
    const type = payload[0];
    const answering = type === Message.CHANNEL_OPEN_CONFIRMATION || type === Message.CHANNEL_OPEN_FAILURE;
    if (!answering && !isOpen(channel)) throw new Violation('a message about a channel that is not open');
    return channel[leg.side].closeReceived ? undefined : channel;
  }

  /** Both sides know it, or will as soon as its program starts. */
  function isOpen({ client: { peer }, target, targetLeg }: Channel): boolean {
    return peer >= 0 && (target.peer >= 0 || targetLeg !== mainTarget || mainTarget === undefined);
  }

  const hold = (channel: Channel, payload: Buffer): void => {
    const { held } = channel;
    if (held === undefined) return;
    held.bytes += payload.length;
    if (held.messages.push(payload) > MAX_HELD_MESSAGES || held.bytes > MAX_HELD_BYTES)
      throw new Violation('too much was sent behind a command that waits');
  };

  /** Of sizes that follow one another the last counts: whoever drags a window while it waits is no flood. */
  function forgetSize(held: Held): void {
    const last = held.messages.at(-1);
    if (last?.[0] !== Message.CHANNEL_REQUEST || readRequest(last).request.type !== 'window-change') return;
    held.messages.pop();
    held.bytes -= last.length;
  }

  const observe = (leg: Leg, done: void | Promise<void>): void => {
    if (done === undefined) return;
    leg.observing++;
    setPaused(leg, false);
    done.then(() => {
      leg.observing--;
      if (!over) settlePauses();
    }, failed);
  };

  const onData = (leg: Leg, payload: Buffer, header: typeof DATA_HEADER | typeof EXTENDED_HEADER): void => {
    const channel = channelOf(leg, payload);
    if (channel === undefined) return;
    const length = dataLength(payload, header);
    const from = channel[leg.side];
    if (channel.ended) return;
    if (length > from.allowance) throw new Violation('more data than the window of its channel allows');
    if (from.eof) throw new Violation('data behind the end of its channel');
    if (channel.held !== undefined && leg.side === 'client') {
      hold(channel, payload);
      if (channel.held.listening && payload.subarray(header).includes(INTERRUPT)) channel.held.withdraw();
      return;
    }
    from.allowance -= length;
    bytes[leg.side] += length;
    if (limits.bytes !== undefined && bytes.client + bytes.target > limits.bytes) {
      end(`no more than ${limits.bytes} bytes in one connection`, DisconnectReason.BY_APPLICATION, undefined);
      return;
    }
    const stream = header === DATA_HEADER ? 'data' : 'stderr';
    if (header === EXTENDED_HEADER && extendedType(payload) !== 'stderr')
      throw new Violation('extended data of an unknown type');
    if (channel.owned !== undefined) {
      channel.owned.data(leg.side, payload.subarray(header), stream);
      return;
    }
    const to = channel[other(leg.side)];
    const toLeg = leg.side === 'client' ? channel.targetLeg : client;
    if (to.peer < 0 || toLeg === undefined) throw new Violation('data on a channel that is not open yet');
    // The other end may have closed meanwhile, and hears no more.
    if (to.closeSent) return;
    to.window -= length;
    const observed = channel.observer?.data?.(payload.subarray(header), leg.side, stream);
    payload.writeUInt32BE(to.peer, 1);
    // False also while a key exchange keeps it for later.
    if (!toLeg.layer.send(payload)) settlePauses();
    else if (observed === undefined) leg.layer.release?.(payload);
    if (observed !== undefined) observe(leg, observed);
  };

  const onAdjust = (leg: Leg, payload: Buffer): void => {
    const channel = channelOf(leg, payload);
    if (channel === undefined) return;
    if (payload.length < 9) throw new Violation('a message is cut off');
    const amount = payload.readUInt32BE(5);
    const from = channel[leg.side];
    from.window += amount;
    if (from.window > MAX_WINDOW) throw new Violation('a window larger than the protocol allows');
    if (channel.ended) return;
    if (channel.owned !== undefined) {
      channel.owned.continue(leg.side);
      return;
    }
    const to = channel[other(leg.side)];
    const toLeg = legOf(channel, other(leg.side));
    if (to.peer < 0 || toLeg === undefined || to.closeSent) return;
    to.allowance += amount;
    payload.writeUInt32BE(to.peer, 1);
    pass(toLeg, payload);
  };

  const onEof = (leg: Leg, payload: Buffer): void => {
    const channel = channelOf(leg, payload);
    if (channel === undefined || channel.ended) return;
    if (channel.held !== undefined && leg.side === 'client') {
      hold(channel, payload);
      return;
    }
    channel[leg.side].eof = true;
    if (channel.owned !== undefined) channel.owned.end(leg.side, payload, false);
    else {
      channel.observer?.end?.(leg.side);
      passEof(channel, leg.side);
    }
  };

  function passEof(channel: Channel, from: Side): void {
    const to = channel[other(from)];
    const leg = legOf(channel, other(from));
    if (leg !== undefined && to.peer >= 0 && !to.closeSent) pass(leg, numbers(Message.CHANNEL_EOF, to.peer));
  }

  const onClose = (leg: Leg, payload: Buffer): void => {
    const channel = channelOf(leg, payload);
    if (channel === undefined) return;
    const { held } = channel;
    if (leg.side === 'client' && held !== undefined && !channel.ended) {
      // Nobody waits for what is held any more; the verdict comes all the same, and is not followed.
      held.withdrawn = true;
      channel.client.closeReceived = true;
      channel.held = undefined;
      held.withdraw();
      close(channel);
      if (isGone(channel)) release(channel);
      return;
    }
    channel[leg.side].closeReceived = true;
    if (channel.ended) {
      sendClose(channel, leg.side);
      if (isGone(channel)) release(channel);
      return;
    }
    if (channel.owned !== undefined) {
      channel.owned.end(leg.side, payload, true);
      return;
    }
    passClose(channel, leg.side);
  };

  function passClose(channel: Channel, from: Side): void {
    if (channel.deferred !== undefined) {
      channel.ended = true;
      sendClose(channel, from);
    } else sendClose(channel, other(from));
    if (isGone(channel)) release(channel);
  }

  const onReply = (leg: Leg, payload: Buffer): void => {
    const channel = channelOf(leg, payload);
    if (channel === undefined) return;
    const to = channel[other(leg.side)];
    if (to.replies[0] !== null) throw new Violation('an answer to no request');
    to.replies.shift();
    const toLeg = legOf(channel, other(leg.side));
    if (!channel.ended || to.replies.length > 0) {
      payload.writeUInt32BE(to.peer, 1);
      if (toLeg !== undefined && !to.closeSent) pass(toLeg, payload);
    }
    repliesAfter(to.replies);
    // While a program runs there is time for the next.
    if (leg === mainTarget && channel.info.type === 'session') standby?.prepare();
  };

  // ---- Requests on channels

  const passRequest = (channel: Channel, from: Side, payload: Buffer, wantReply: boolean): void => {
    const to = channel[other(from)];
    const leg = legOf(channel, other(from));
    if (leg === undefined || to.peer < 0 || to.closeSent) {
      if (wantReply) fail(channel, from);
      return;
    }
    if (wantReply) expectReply(channel[from].replies);
    payload.writeUInt32BE(to.peer, 1);
    pass(leg, payload);
  };

  function fail(channel: Channel, to: Side): void {
    const leg = legOf(channel, to);
    replyInOrder(channel[to].replies, () => {
      if (leg !== undefined && !channel[to].closeSent) respond(leg, numbers(Message.CHANNEL_FAILURE, channel[to].peer));
    });
  }

  const onRequest = (leg: Leg, payload: Buffer): void => {
    const channel = channelOf(leg, payload);
    if (channel === undefined || channel.ended) return;
    const message = readRequest(payload);
    const { request } = message;
    const from = leg.side;
    if (from === 'client' && channel.held !== undefined) {
      if (request.type === 'window-change') forgetSize(channel.held);
      hold(channel, payload);
      if (request.type === 'signal' || request.type === 'eow@openssh.com') channel.held.withdraw();
      return;
    }
    if (from === 'client' && !UNASKED.has(request.type)) {
      ask(channel, payload, message);
      return;
    }
    if (channel.deferred !== undefined) {
      if (request.type === 'window-change') defer(channel.deferred, payload);
      if (message.wantReply) fail(channel, 'client');
      return;
    }
    if (channel.owned !== undefined) {
      channel.owned.request(from, payload, request);
      return;
    }
    channel.observer?.request?.(request, from);
    passRequest(channel, from, payload, message.wantReply);
  };

  const ask = (channel: Channel, payload: Buffer, message: RequestMessage): void => {
    let controller: AbortController | undefined;
    let aborted = false;
    let noted = 0;
    const call: RequestCall = {
      channel: channel.info,
      request: message.request,
      get signal() {
        controller ??= new AbortController();
        if (aborted) controller.abort();
        return controller.signal;
      },
      listen() {
        const { held: waiting } = channel;
        if (waiting === undefined || waiting.listening || over || channel.ended) return;
        waiting.listening = true;
        channel.client.allowance += TYPED;
        respond(client, numbers(Message.CHANNEL_WINDOW_ADJUST, channel.client.peer, TYPED));
      },
      note(text) {
        if (aborted || over || channel.ended || channel.held === undefined) return;
        const left = Math.max(0, channel.reserve - noted);
        noted += writeText(channel, Buffer.from(text, 'utf8').subarray(0, left).toString('utf8'));
      },
    };
    const verdict = gatekeeper.request(call);
    if (!(verdict instanceof Promise)) {
      apply(channel, payload, message, verdict);
      return;
    }
    const held = {
      messages: [],
      bytes: 0,
      withdrawn: false,
      listening: false,
      withdraw() {
        aborted = true;
        controller?.abort();
      },
    };
    channel.held = held;
    verdict
      .then((settled) => {
        if (over || channel.ended || held.withdrawn) {
          if (settled.verdict === 'forward') settled.via?.disconnect(DisconnectReason.BY_APPLICATION, 'bye');
          return;
        }
        channel.held = undefined;
        // A verdict that came too late for who has withdrawn.
        if (aborted && settled.verdict === 'forward') {
          settled.via?.disconnect(DisconnectReason.BY_APPLICATION, 'bye');
          denied(channel, message.wantReply, 'withdrawn\n', DENIED_STATUS);
          return;
        }
        channel.reserve -= noted;
        apply(channel, payload, message, settled);
        replay(channel, held.messages);
      })
      .catch(failed);
  };

  /** What waited behind a held request, until the next one that is held. */
  const replay = (channel: Channel, messages: Buffer[]): void => {
    for (let i = 0; i < messages.length && !over; i++) {
      if (channel.held !== undefined) {
        for (const later of messages.slice(i)) hold(channel, later);
        return;
      }
      if (channels.get(channel.id) !== channel) return;
      dispatch(client, messages[i]!);
    }
  };

  const apply = (channel: Channel, payload: Buffer, message: RequestMessage, verdict: RequestVerdict): void => {
    switch (verdict.verdict) {
      case 'fail':
        if (message.wantReply) fail(channel, 'client');
        return;
      case 'deny':
        denied(channel, message.wantReply, verdict.text, verdict.exitStatus ?? DENIED_STATUS);
        return;
      case 'forward':
        if (verdict.observer !== undefined) channel.observer = verdict.observer;
        if (channel.deferred !== undefined) {
          startDeferred(channel, payload, message, verdict);
          return;
        }
        if (channel.owned !== undefined) {
          channel.owned.request('client', payload, message.request);
          return;
        }
        channel.observer?.request?.(message.request, 'client');
        passRequest(channel, 'client', payload, message.wantReply);
        if (verdict.own !== undefined) channel.owned = createOwnedChannel(channel, verdict.own, ownedContext(channel));
    }
  };

  const ownedContext = (channel: Channel): OwnedContext => ({
    send(side, payload) {
      const leg = legOf(channel, side);
      if (leg === undefined || over) return true;
      return leg.layer.send(payload);
    },
    congested: (side) => legOf(channel, side)?.layer.congested ?? false,
    passRequest(from, payload, request) {
      channel.observer?.request?.(request, from);
      passRequest(channel, from, payload, readRequest(payload).wantReply);
    },
    passEof: (from) => passEof(channel, from),
    passClose: (from) => passClose(channel, from),
    close: () => close(channel),
    failed,
  });

  // ---- Deferred channels: opened at the target when their program starts

  function defer({ requests }: Deferred, payload: Buffer): void {
    if (requests.push(payload) > MAX_HELD_MESSAGES) throw new Violation('too many requests before a program');
  }

  const startDeferred = (
    channel: Channel,
    payload: Buffer,
    message: RequestMessage,
    verdict: Extract<RequestVerdict, { verdict: 'forward' }>,
  ): void => {
    const { deferred } = channel;
    if (deferred === undefined) return;
    if (!STARTS.has(message.request.type)) {
      // Answered before the target has seen it, because clients wait for the answer before they go on.
      channel.observer?.request?.(message.request, 'client');
      if (message.wantReply) {
        payload[message.at] = 0;
        replyInOrder(channel.client.replies, () =>
          respond(client, numbers(Message.CHANNEL_SUCCESS, channel.client.peer)),
        );
      }
      defer(deferred, payload);
      return;
    }
    if (verdict.via === undefined) throw new Error('a deferred channel needs a connection');
    const leg = createLeg('target', verdict.via);
    targets.add(leg);
    channel.targetLeg = leg;
    channel.deferred = undefined;
    channel.target.allowance = shownWindow(channel, channel.client.window, 'client');
    // Until the target has opened the channel, what the client sends waits behind the request.
    channel.held = { messages: [], bytes: 0, withdraw: () => {}, withdrawn: false, listening: false };
    starting.set(channel, { payload, message, verdict, requests: deferred.requests });
    attach(leg);
    channel.offered = true;
    pass(leg, openSession(channel.id, channel.target.allowance, channel.client.maxPacket));
  };

  const starting = new WeakMap<
    Channel,
    {
      readonly payload: Buffer;
      readonly message: RequestMessage;
      readonly verdict: Extract<RequestVerdict, { verdict: 'forward' }>;
      readonly requests: Buffer[];
    }
  >();

  const viaAnswered = (channel: Channel, payload: Buffer, confirmed: boolean): void => {
    const start = starting.get(channel);
    if (start === undefined) throw new Violation('an answer to no channel');
    const messages = channel.held?.messages ?? [];
    channel.held = undefined;
    if (!confirmed) {
      channel.target.closeReceived = true;
      channel.target.closeSent = true;
    }
    if (channel.ended) {
      sendClose(channel, 'target');
      if (isGone(channel)) release(channel);
      return;
    }
    if (!confirmed) {
      const text = `the target opens no session: ${payload
        .subarray(13)
        .toString('utf8')
        .replace(/[^\x20-\x7e]/g, ' ')
        .trim()}\n`;
      denied(channel, start.message.wantReply, text, 255);
      return;
    }
    const { window } = channel.target;
    if (window > 0) {
      channel.client.allowance += window;
      respond(client, numbers(Message.CHANNEL_WINDOW_ADJUST, channel.client.peer, window));
    }
    for (const request of start.requests) passRequest(channel, 'client', request, false);
    apply(channel, start.payload, start.message, start.verdict);
    replay(channel, messages);
  };

  /** A connection of one channel has ended. */
  const viaClosed = (leg: Leg, error: Error | undefined): void => {
    leg.over = true;
    targets.delete(leg);
    for (const channel of channels.all()) {
      if (channel.targetLeg !== leg) continue;
      channel.target.closeReceived = true;
      channel.target.closeSent = true;
      if (error !== undefined) debug?.(`the connection of channel ${channel.info.serial} failed: ${error.message}`);
      if (channel.held !== undefined) denied(channel, false, 'the target closed the connection\n', 255);
      else if (channel.owned !== undefined) channel.owned.end('target', Buffer.alloc(0), true);
      else passClose(channel, 'target');
    }
    settlePauses();
  };

  const globals = createGlobalRequests({
    ...{ client, target: mainTarget, gatekeeper, pass, respond, failed },
    isOver: () => over,
    noMoreSessions: () => standby?.forbid(),
  });

  // ---- Dispatch

  function dispatch(leg: Leg, payload: Buffer): void {
    switch (payload[0]) {
      case Message.CHANNEL_DATA:
        onData(leg, payload, DATA_HEADER);
        return;
      case Message.CHANNEL_WINDOW_ADJUST:
        onAdjust(leg, payload);
        return;
      case Message.CHANNEL_EXTENDED_DATA:
        onData(leg, payload, EXTENDED_HEADER);
        return;
      case Message.CHANNEL_OPEN:
        if (leg === client) globals.after(() => onOpen(leg, payload));
        else onOpen(leg, payload);
        return;
      case Message.CHANNEL_OPEN_CONFIRMATION:
        onOpenAnswer(leg, payload, true);
        return;
      case Message.CHANNEL_OPEN_FAILURE:
        onOpenAnswer(leg, payload, false);
        return;
      case Message.CHANNEL_EOF:
        onEof(leg, payload);
        return;
      case Message.CHANNEL_CLOSE:
        onClose(leg, payload);
        return;
      case Message.CHANNEL_REQUEST:
        onRequest(leg, payload);
        return;
      case Message.CHANNEL_SUCCESS:
      case Message.CHANNEL_FAILURE:
        onReply(leg, payload);
        return;
      case Message.GLOBAL_REQUEST:
        globals.request(leg, payload);
        return;
      case Message.REQUEST_SUCCESS:
      case Message.REQUEST_FAILURE:
        globals.reply(leg, payload);
        return;
      default:
        leg.layer.unimplemented();
    }
  }

  function attach(leg: Leg): void {
    leg.layer.onDrain(() => drained(leg));
    leg.layer.closed.then((error) => {
      if (over || leg.over) return;
      if (leg !== client && leg !== mainTarget) {
        viaClosed(leg, error);
        return;
      }
      conclude({ by: leg.side, error });
      const reason = DisconnectReason.CONNECTION_LOST;
      if (leg.side === 'target') client.layer.disconnect(reason, 'the target closed the connection');
      for (const target of targets) target.layer.disconnect(DisconnectReason.BY_APPLICATION, 'bye');
    }, failed);
    leg.layer.onPayload((payload) => {
      if (over || leg.over) return;
      try {
        dispatch(leg, payload);
      } catch (error) {
        failed(error);
      }
    });
  }

  if (mainTarget !== undefined) attach(mainTarget);
  attach(client);

  return {
    ended,
    end: (text, reason = DisconnectReason.BY_APPLICATION) => end(text, reason, undefined),
    get channels() {
      return channels.size;
    },
    bytes,
  };
}
