import type { Duplex } from 'node:stream';

/**
 * Carries bytes both ways until both sides have ended. The end of one direction is passed on and leaves the other open; a side that
 * stops reading stops the other from sending, since `pipe` holds no more than the two streams' own buffers. Resolves when both are
 * closed, with the error that ended it, if one did.
 */
export function pipeBoth(client: Duplex, upstream: Duplex): Promise<Error | undefined> {
  return new Promise((resolve) => {
    let open = 2;
    let first: Error | undefined;

    function follow(one: Duplex, other: Duplex): void {
      one.on('error', (error: Error) => {
        first ??= error;
        other.destroy();
      });
      one.once('close', () => {
        open -= 1;
        if (open === 0) resolve(first);
        else if (!one.readableEnded || other.writableFinished) other.destroy();
        // What was read before the end may still be on its way to a slow reader.
        else other.once('finish', () => other.destroy());
      });
    }

    follow(client, upstream);
    follow(upstream, client);
    client.pipe(upstream);
    upstream.pipe(client);
  });
}
