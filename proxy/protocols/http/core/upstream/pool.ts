import type { Duplex } from 'node:stream';
import { HttpRefused, httpError } from '../errors.ts';
import type { UpstreamPool, UpstreamTarget } from '../port.ts';
import { createConnect } from './connect.ts';
import { Call, type ConnectionOwner, TargetConnection } from './connection.ts';
import type { UpstreamsOptions } from './pools.ts';
import { requestHead } from './request-head.ts';

/** Connections to one target: as many as there are requests under way, and those that are kept for the next. */

const HEADERS_TIMEOUT_MS = 300_000;
/** Connections kept without a request. */
const MAX_IDLE = 256;
const MAX_TIMER_MS = 2_147_483_647;

export interface TargetPool extends UpstreamPool {
  /** Takes no more requests; what is under way ends by itself. */
  retire(): void;
  /** Ends everything now. */
  destroy(): void;
}

export function createPool(target: UpstreamTarget, options: UpstreamsOptions): TargetPool {
  const connect = createConnect(target, options.connectTimeoutMs);
  const host = hostOf(target);
  const all = new Set<TargetConnection>();
  /** The last one was used last. */
  const idle: TargetConnection[] = [];
  const opening = new Set<Call>();
  const deadlines = createDeadlines(all);
  let opened = 0;
  let closed = false;

  const owner: ConnectionOwner = {
    headersTimeoutMs: options.headersTimeoutMs ?? HEADERS_TIMEOUT_MS,
    now: deadlines.now,
    watch: deadlines.watch,
    released(connection) {
      if (closed || idle.length >= MAX_IDLE) connection.destroy();
      else idle.push(connection);
    },
    gone(connection) {
      all.delete(connection);
      const at = idle.lastIndexOf(connection);
      if (at >= 0) idle.splice(at, 1);
    },
  };

  function open(call: Call): void {
    opened++;
    opening.add(call);
    call.cancel = connect.wire((error, wire) => {
      opening.delete(call);
      if (call.over) {
        wire?.destroy();
        return;
      }
      call.cancel = undefined;
      if (wire === null) {
        call.over = true;
        call.handler.onError(error, { reused: false, answered: false });
        return;
      }
      const connection = new TargetConnection(wire, owner);
      all.add(connection);
      connection.start(call, owner.now());
    });
  }

  function retire(): void {
    closed = true;
    for (const connection of idle.splice(0)) connection.destroy();
  }

  return {
    target,
    get opened() {
      return opened;
    },
    get closed() {
      return closed;
    },
    send(request, handler) {
      if (closed) throw new HttpRefused(httpError('SPE021'));
      const call = new Call(request, handler, requestHead(request, host));
      const now = owner.now();
      let kept = request.fresh === true ? undefined : idle.pop();
      while (kept !== undefined && (kept.wire.closed || kept.deadline <= now)) {
        kept.destroy();
        kept = idle.pop();
      }
      if (kept === undefined) open(call);
      else kept.start(call, now);
      return call;
    },
    dial: (signal) => dial(connect, signal),
    retire,
    destroy() {
      retire();
      const stopping = new HttpRefused(httpError('SPE021'));
      for (const connection of [...all]) connection.fail(stopping);
      for (const call of [...opening]) {
        call.abort();
        call.handler.onError(stopping, { reused: false, answered: false });
      }
    },
  };
}

/** As it stands in a Host field: without the port that its scheme has anyway. */
function hostOf({ host, port, tls }: UpstreamTarget): string {
  const scheme = tls === undefined ? 'http' : 'https';
  return new URL(`${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`).host;
}

/** One timer for all connections of a pool: no request makes one. */
function createDeadlines(all: ReadonlySet<TargetConnection>): {
  now(): number;
  watch(deadline: number): void;
} {
  let timer: NodeJS.Timeout | undefined;
  let next = Number.POSITIVE_INFINITY;
  const now = (): number => performance.now();

  function watch(deadline: number): void {
    if (deadline >= next) return;
    next = deadline;
    clearTimeout(timer);
    timer = setTimeout(sweep, Math.min(MAX_TIMER_MS, Math.max(1, Math.ceil(deadline - now())))).unref();
  }
  function sweep(): void {
    next = Number.POSITIVE_INFINITY;
    const at = now();
    for (const connection of [...all]) {
      if (connection.deadline <= at) connection.expire();
      else watch(connection.deadline);
    }
  }
  return { now, watch };
}

function dial(connect: ReturnType<typeof createConnect>, signal: AbortSignal): Promise<Duplex> {
  return new Promise<Duplex>((resolve, reject) => {
    signal.throwIfAborted();
    const aborted = (): void => {
      cancel();
      reject(signal.reason);
    };
    const cancel = connect.stream((error, ready) => {
      signal.removeEventListener('abort', aborted);
      if (signal.aborted) ready?.destroy();
      else if (ready === null) reject(error);
      else {
        // Until whoever asked listens, an error is nobody's; its close tells of it.
        ready.on('error', () => {});
        resolve(ready);
      }
    });
    signal.addEventListener('abort', aborted, { once: true });
  });
}
