import { other } from './channel.ts';
import type { Leg } from './leg.ts';
import { readGlobal, requestFailure, Violation } from './messages.ts';
import type { Gatekeeper, GlobalRequest, GlobalVerdict, Side } from './port.ts';
import { expectReply, type ReplyQueue, repliesAfter, replyInOrder } from './replies.ts';

/** What of the client may wait behind a global request that is being decided. */
const MAX_HELD = 64;
const KEEPALIVE = 'keepalive@openssh.com';

export interface GlobalContext {
  readonly client: Leg;
  readonly target: Leg | undefined;
  readonly gatekeeper: Gatekeeper;
  pass(leg: Leg, payload: Buffer): void;
  respond(leg: Leg, payload: Buffer): void;
  failed(error: unknown): void;
  isOver(): boolean;
  /** The client opens no more sessions, and the target is told so next. */
  noMoreSessions(): void;
}

/** Requests that are about no channel (RFC 4254, section 4), in order, with their answers. */
export function createGlobalRequests(context: GlobalContext): {
  request(leg: Leg, payload: Buffer): void;
  reply(leg: Leg, payload: Buffer): void;
  /** Runs what came from the client once the global requests before it are decided: a channel may lead to the port that one of them opens. */
  after(run: () => void): void;
} {
  const { client, target, gatekeeper, pass, respond, failed, isOver } = context;
  const globalReplies: Record<Side, ReplyQueue> = { client: [], target: [] };
  let held: (() => void)[] | undefined;

  const after = (run: () => void): void => {
    if (held === undefined) run();
    else if (held.push(run) > MAX_HELD) throw new Violation('too many requests without an answer');
  };

  const onGlobal = (leg: Leg, payload: Buffer): void => {
    const { name, wantReply, request } = readGlobal(payload);
    if (leg.side === 'target') {
      if (name === KEEPALIVE && leg === target) passGlobal(leg, client, payload, wantReply);
      else if (wantReply) failGlobal(leg);
      return;
    }
    after(() => decide(payload, name, wantReply, request));
  };

  const decide = (payload: Buffer, name: string, wantReply: boolean, request: GlobalRequest): void => {
    if (name === KEEPALIVE) {
      applyGlobal(payload, wantReply, { verdict: 'forward' });
      return;
    }
    if (request.type === 'no-more-sessions@openssh.com') context.noMoreSessions();
    const verdict = gatekeeper.globalRequest(request);
    if (!(verdict instanceof Promise)) {
      applyGlobal(payload, wantReply, verdict);
      return;
    }
    held = [];
    verdict
      .then((settled) => {
        const waiting = held ?? [];
        held = undefined;
        if (!isOver()) applyGlobal(payload, wantReply, settled);
        for (const later of waiting) if (!isOver()) after(later);
      })
      .catch(failed);
  };

  const applyGlobal = (payload: Buffer, wantReply: boolean, { verdict }: GlobalVerdict): void => {
    if (verdict === 'forward' && target !== undefined) passGlobal(client, target, payload, wantReply);
    else if (wantReply) failGlobal(client);
  };

  const passGlobal = (from: Leg, to: Leg, payload: Buffer, wantReply: boolean): void => {
    if (wantReply) expectReply(globalReplies[from.side]);
    pass(to, payload);
  };

  function failGlobal(leg: Leg): void {
    if (leg.side === 'target' && leg !== target) respond(leg, requestFailure());
    else replyInOrder(globalReplies[leg.side], () => respond(leg, requestFailure()));
  }

  const onGlobalReply = (leg: Leg, payload: Buffer): void => {
    const to = leg.side === 'client' ? target : client;
    const queue = globalReplies[other(leg.side)];
    if (to === undefined || queue[0] !== null || (leg.side === 'target' && leg !== target))
      throw new Violation('an answer to no request');
    queue.shift();
    pass(to, payload);
    repliesAfter(queue);
  };

  return { request: onGlobal, reply: onGlobalReply, after };
}
