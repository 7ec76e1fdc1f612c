import http from 'node:http';
import https from 'node:https';

export interface FetchJsonOptions {
  /** PEM of the authorities to trust instead of the system's. */
  readonly ca?: string;
  readonly signal: AbortSignal;
  readonly maxBytes: number;
}

const LOOPBACK_NAMES = new Set(['localhost', '127.0.0.1', '[::1]']);

/** Plain HTTP would let the network choose our keys, so it is for this machine only. */
export function isAcceptableAddress(url: URL): boolean {
  return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK_NAMES.has(url.hostname));
}

/**
 * GET of one JSON document. Follows no redirect (the address is the platform team's choice, never a server's), and reads no more
 * than `maxBytes`.
 * @throws Error with a message fit for operators; AbortError when the signal fires
 */
export function fetchJson(url: URL, options: FetchJsonOptions): Promise<unknown> {
  return new Promise((resolve, reject) => {
    if (!isAcceptableAddress(url)) {
      reject(new Error(`${url.origin} is neither https nor on this machine`));
      return;
    }
    const get = url.protocol === 'https:' ? https.get : http.get;
    const request = get(
      url,
      {
        agent: false,
        signal: options.signal,
        headers: { accept: 'application/json', 'user-agent': 'sallyport' },
        ...(options.ca === undefined ? {} : { ca: options.ca }),
      },
      (response) => {
        if (response.statusCode !== 200) {
          response.destroy();
          reject(new Error(`${url.href} answered ${response.statusCode}`));
          return;
        }
        const chunks: Buffer[] = [];
        let size = 0;
        response.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > options.maxBytes)
            response.destroy(new Error(`${url.href} answered more than ${options.maxBytes} bytes`));
          else chunks.push(chunk);
        });
        response.on('error', reject);
        response.on('end', () => {
          try {
            resolve(JSON.parse(Buffer.concat(chunks).toString('utf8')));
          } catch {
            reject(new Error(`${url.href} did not answer with JSON`));
          }
        });
      },
    );
    request.on('error', reject);
  });
}
