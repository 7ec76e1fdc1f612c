import { readFile } from 'node:fs/promises';
import { AwsV4Signer } from 'aws4fetch';
import { causeOf } from '../../delivery/errors.ts';
import { createHttpClient, type HttpClient } from '../../delivery/http.ts';
import { ArchiveError } from '../errors.ts';
import type { Batch, Destination } from '../follow/destination.ts';

/** An S3-compatible object store. Objects are pieces of segments; put together in order they are the segments, byte for byte. */
export interface S3Target {
  /** Without the bucket, such as https://s3.eu-central-1.amazonaws.com. */
  readonly endpoint: URL;
  readonly region: string;
  readonly bucket: string;
  /** In front of every key; empty or with a slash at its end. */
  readonly prefix: string;
  /** Read again for each object, so that keys are changed without a restart. */
  readonly accessKeyIdFile: string;
  readonly secretAccessKeyFile: string;
  /** Object Lock: until then nobody (COMPLIANCE), or nobody without a special right (GOVERNANCE), removes an object. */
  readonly objectLock: { readonly mode: 'COMPLIANCE' | 'GOVERNANCE'; readonly retentionDays: number } | undefined;
  /** How long lines may wait to become one object, in milliseconds. */
  readonly flushMs: number;
}

const MAX_OBJECT_BYTES = 4 * 1024 * 1024;
const DAY_MS = 86_400_000;

/**
 * `PREFIX/NAMESPACE/NAME/FILE/START-END`: sorted by name they are in order. The end is fixed before the first attempt, so an attempt that
 * is made again after a crash writes the same object.
 */
export function objectKey(
  prefix: string,
  { segment, offset, bytes }: Pick<Batch, 'segment' | 'offset' | 'bytes'>,
): string {
  const digits = (value: number): string => String(value).padStart(12, '0');
  const range = `${digits(offset)}-${digits(offset + bytes.length)}`;
  return `${prefix}${segment.namespace}/${segment.name}/${segment.file}/${range}`;
}

export function s3Sink(name: string, target: S3Target, ca: string | undefined): Destination {
  const client = createHttpClient(ca === undefined ? {} : { ca });
  return {
    name,
    maxBatchBytes: MAX_OBJECT_BYTES,
    lingerMs: target.flushMs,
    deliver: (batch, signal) => putObject(name, target, client, batch, Date.now(), signal),
    close: () => client.close(),
  };
}

async function putObject(
  name: string,
  target: S3Target,
  client: HttpClient,
  batch: Batch,
  now: number,
  signal: AbortSignal,
): Promise<void> {
  const [accessKeyId, secretAccessKey] = await Promise.all([
    readKey(target.accessKeyIdFile),
    readKey(target.secretAccessKeyFile),
  ]);
  const url = new URL(`/${target.bucket}/${objectKey(target.prefix, batch)}`, target.endpoint);
  const lock = target.objectLock;
  // Not on this thread: commands share it.
  const sha256 = Buffer.from(await crypto.subtle.digest('SHA-256', new Uint8Array(batch.bytes)));
  const signer = new AwsV4Signer({
    method: 'PUT',
    url: url.href,
    headers: {
      'content-type': 'application/jsonl',
      'x-amz-content-sha256': sha256.toString('hex'),
      // Object Lock wants a checksum of the body in the request; S3 keeps this one with the object.
      'x-amz-checksum-sha256': sha256.toString('base64'),
      ...(lock === undefined
        ? {}
        : {
            'x-amz-object-lock-mode': lock.mode,
            'x-amz-object-lock-retain-until-date': new Date(now + lock.retentionDays * DAY_MS).toISOString(),
          }),
    },
    accessKeyId,
    secretAccessKey,
    service: 's3',
    region: target.region,
  });
  const signed = await signer.sign();
  const answer = await client.send(
    {
      method: 'PUT',
      url: signed.url,
      headers: Object.fromEntries(signed.headers),
      body: batch.bytes,
      timeoutMs: 120_000,
      maxAnswerBytes: 4096,
    },
    signal,
  );
  if (answer.status === 200) return;
  // S3's own word for it, such as AccessDenied; the rest of the answer may quote the request.
  const code = /<Code>([A-Za-z0-9]{1,64})<\/Code>/.exec(answer.body.toString('utf8'))?.[1];
  const status = code === undefined ? answer.status : `${answer.status} ${code}`;
  throw new ArchiveError('SPH015', [name, status], undefined, answer.retryAfterMs);
}

async function readKey(file: string): Promise<string> {
  let content: string;
  try {
    content = (await readFile(file, 'utf8')).trim();
  } catch (error) {
    throw new ArchiveError('SPH014', [file, causeOf(error)], error);
  }
  if (content === '') throw new ArchiveError('SPH014', [file, 'it is empty']);
  return content;
}
