import type { Duplex } from 'node:stream';

/**
 * Carries bytes both ways until both sides have ended. The end of one direction is passed on and leaves the other open; a side that
 * stops reading stops the other from sending, since `pipe` holds no more than the two streams' own buffers. Resolves when both are
 * closed, with the error of the upstream that took it from a client which was still there, if one did. How a client ends is its own
 * affair, and many end with a reset: a program closes its socket, and what is still on its way finds nobody.
 */
export function pipeBoth(client: Duplex, upstream: Duplex): Promise<Error | undefined> {
  return new Promise((resolve) => {
    let open = 2;
    let first: Error | undefined;

    function follow(one: Duplex, other: Duplex): void {
      one.on('error', (error: Error) => {
        const clientLeft = client.readableEnded || client.destroyed;
        if (one === upstream && !clientLeft) first ??= error;
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
