import { CLIENT_LEFT, streamError } from './errors.ts';
import { acceptForward, type ForwardClient, type ForwardClientHandlers } from './forward-client.ts';
import { dialForward, type ForwardUpstream } from './forward-upstream.ts';
import type { Transport } from './negotiate.ts';
import type { StreamAdmitted, StreamCall } from './port.ts';
import { forwardFacts, recordOutcome } from './record.ts';
import { answerRefusal, endOf } from './told.ts';
import { whyUnmaskable } from './unmaskable.ts';

const HEARTBEAT_MS = 10_000;

/**
 * A port-forward, from its request to its end. Nothing can be told to its client but the answer to its request, so what is refused, or
 * waits, is a plain answer: kubectl since 1.31 asks once more over SPDY then, reads the same, and shows it; both are one request for
 * approval.
 * @param ports that the request names; over SPDY none, they come with each connection
 * @throws RecorderError
 */
export async function serveForward(call: StreamCall, ports: readonly number[], transport: Transport): Promise<void> {
  const { exchange, session } = call;
  const admission = await session.admit({
    signal: exchange.signal,
    unmaskable: (masks) => whyUnmaskable('portforward', undefined, masks),
    facts: forwardFacts(ports),
  });
  if ('denied' in admission) return answerRefusal(admission.denied, call);
  const forward = followForward(call, admission.admitted);
  try {
    const dialled = await dialForward(call.upstream, call, forward.upstreamClosed, exchange.signal);
    if ('upstream' in dialled) {
      forward.begin(dialled.upstream, (handlers) => acceptForward(exchange, transport, ports, handlers));
    } else {
      forward.notStarted(`HTTP ${dialled.status}`);
      await exchange.answer(dialled.status, ['content-type', dialled.contentType], dialled.body);
    }
  } catch (error) {
    const left = exchange.signal.aborted;
    if (!left) session.failed('a port-forward could not be had of the API server', error as Error);
    forward.notStarted(left ? 'SPL106' : 'SPL104');
    await answerRefusal(left ? endOf(exchange.signal) : streamError('SPL104'), call);
  }
  await forward.over;
}

interface Forward {
  upstreamClosed(error: Error | undefined): void;
  begin(upstream: ForwardUpstream, accept: (handlers: ForwardClientHandlers) => ForwardClient): void;
  notStarted(code: string): void;
  readonly over: Promise<void>;
}

/** Counts what passes, ends it at its limits, and tells the record at the end. */
function followForward(
  { session, exchange }: StreamCall,
  { seq, limits, granted, settle, withdrawn }: StreamAdmitted,
): Forward {
  const { maxDurationMs, maxBytesReturned = Number.POSITIVE_INFINITY } = limits;
  const startedAt = performance.now();
  const over = Promise.withResolvers<void>();
  const connected = new Set<number>();
  let bytesIn = 0;
  let bytesOut = 0;
  let upstream: ForwardUpstream | undefined;
  let client: ForwardClient | undefined;
  let done = false;
  const aborted = (): void => {
    const { code } = endOf(exchange.signal);
    end(code === CLIENT_LEFT ? undefined : code);
  };
  const withdraw = (): void => end('SPL107');
  withdrawn.addEventListener('abort', withdraw, { once: true });
  const timer = maxDurationMs === undefined ? undefined : setTimeout(() => end('SPL101'), maxDurationMs).unref();
  const heartbeat = setInterval(() => client?.heartbeat(), HEARTBEAT_MS).unref();

  function end(code?: string, outcome: 'Executed' | 'Failed' = 'Executed'): void {
    if (done) return;
    done = true;
    clearTimeout(timer);
    clearInterval(heartbeat);
    exchange.signal.removeEventListener('abort', aborted);
    withdrawn.removeEventListener('abort', withdraw);
    upstream?.close();
    client?.close();
    const durationMicros = (performance.now() - startedAt) * 1000;
    const ports = connected.size === 0 ? {} : { ports: [...connected].sort((a, b) => a - b) };
    const said = code === undefined ? {} : { code };
    recordOutcome(session.stream, session.id, seq, { ...said, bytesIn, bytesOut, ...ports, durationMicros });
    if (granted) settle(outcome);
    over.resolve();
  }

  const handlers: ForwardClientHandlers = {
    opened({ type, port, requestId }, stream) {
      if (upstream === undefined || done) return undefined;
      connected.add(port);
      const headers = new Map([
        ['streamtype', type],
        ['port', String(port)],
        ['requestid', requestId],
      ]);
      const there = upstream.open(headers, {
        data(bytes) {
          bytesOut += bytes.length;
          if (bytesOut <= maxBytesReturned) return stream.write(bytes);
          end('SPL102');
          return undefined;
        },
        end: stream.end,
        reset: stream.reset,
      });
      return {
        data(bytes) {
          bytesIn += bytes.length;
          return there.write(bytes);
        },
        end: there.end,
        reset: there.reset,
      };
    },
    closed(error) {
      if (error !== undefined && !done) session.failed('a port-forward of a client broke off', error);
      end();
    },
  };

  return {
    over: over.promise,
    upstreamClosed(error) {
      if (error !== undefined && !done) session.failed('a port-forward broke off', error);
      end(error === undefined ? undefined : 'SPL105');
    },
    begin(made, accept) {
      upstream = made;
      client = accept(handlers);
      if (done) {
        made.close();
        client.close();
      }
      exchange.signal.addEventListener('abort', aborted, { once: true });
      if (exchange.signal.aborted) aborted();
      if (withdrawn.aborted) withdraw();
    },
    notStarted: (code) => end(code, 'Failed'),
  };
}
