import type { Duplex } from 'node:stream';
import type { HttpReport } from '../errors.ts';
import { reportOf } from '../errors.ts';
import type { Outcome } from '../port.ts';

/** Joins two connections, back-pressure both ways, until both have ended or one breaks. */
export function splice(
  client: Duplex,
  target: Duplex,
  watch: ((from: 'client' | 'target', chunk: Buffer) => void) | undefined,
  stopped: () => HttpReport | undefined,
): Promise<Outcome> {
  return new Promise((resolve) => {
    let requestBytes = 0;
    let responseBytes = 0;
    let open = 2;
    let report: HttpReport | undefined;

    const pass = (from: Duplex, to: Duplex, side: 'client' | 'target'): void => {
      from.on('data', (chunk: Buffer) => {
        if (side === 'client') requestBytes += chunk.length;
        else responseBytes += chunk.length;
        try {
          watch?.(side, chunk);
        } catch (error) {
          report ??= reportOf(error);
          client.destroy();
          target.destroy();
          return;
        }
        if (!to.write(chunk)) from.pause();
      });
      to.on('drain', () => from.resume());
      from.on('end', () => to.end());
      // A broken connection is told by its close.
      from.on('error', () => {});
      from.on('close', () => {
        if (!to.destroyed && !from.readableEnded) to.destroy();
        if (--open > 0) return;
        report ??= stopped();
        // How the two take leave of each other is their protocol's: a closed connection is an end like any other.
        resolve({
          status: 101,
          requestBytes,
          responseBytes,
          complete: report === undefined,
          ...(report === undefined ? {} : { report }),
        });
      });
    };
    pass(client, target, 'client');
    pass(target, client, 'target');
    if (client.destroyed) target.destroy();
    if (target.destroyed) client.destroy();
  });
}
