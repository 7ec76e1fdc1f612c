import { readFile } from 'node:fs/promises';
import { causeOf } from '../../delivery/errors.ts';
import { createHttpClient } from '../../delivery/http.ts';
import { parseEvent, type RecordedEvent } from '../../record/format.ts';
import { ArchiveError } from '../errors.ts';
import type { Batch, Destination } from '../follow/destination.ts';

/** OpenTelemetry logs over HTTP in JSON (https://opentelemetry.io/docs/specs/otlp, OTLP/HTTP), without a library: it is one document. */
export interface OtlpTarget {
  /** Whole, such as https://collector:4318/v1/logs. */
  readonly url: URL;
  /** `Name: value` lines, such as an authorization; read again for each batch. */
  readonly headersFile: string | undefined;
  readonly version: string;
}

/** Severities of the OTLP data model. */
const INFO = 9;
const WARN = 13;

const text = (key: string, value: string) => ({ key, value: { stringValue: value } });
const integer = (key: string, value: number) => ({ key, value: { intValue: String(value) } });

/** What a collector gets. The body is the line as it stands in the record, so that it can be verified there too. */
export function logsRequest(batch: Batch, version: string): object {
  const { namespace, name, process } = batch.segment;
  const logRecords = linesOf(batch.bytes).map((line) => logRecord(line));
  return {
    resourceLogs: [
      {
        resource: {
          attributes: [
            text('service.name', 'sallyport'),
            text('service.version', version),
            text('service.instance.id', process),
            text('sallyport.connection', `${namespace}/${name}`),
          ],
        },
        scopeLogs: [{ scope: { name: 'sallyport.record', version }, logRecords }],
      },
    ],
  };
}

function linesOf(bytes: Buffer): string[] {
  return bytes.toString('utf8', 0, bytes.length - 1).split('\n');
}

function logRecord(line: string): object {
  const event = parseEvent(line);
  if (event === undefined) return { severityNumber: WARN, severityText: 'WARN', body: { stringValue: line } };
  const nanoseconds = nanosecondsOf(event.t);
  const warning = WARNINGS.has(event.e);
  return {
    ...(nanoseconds === undefined ? {} : { timeUnixNano: nanoseconds, observedTimeUnixNano: nanoseconds }),
    severityNumber: warning ? WARN : INFO,
    severityText: warning ? 'WARN' : 'INFO',
    eventName: `sallyport.${event.e}`,
    body: { stringValue: line },
    attributes: attributesOf(event),
  };
}

const WARNINGS = new Set([
  'command.denied',
  'file.denied',
  'command.failed',
  'session.refused',
  'session.interrupted',
  'recorder.resumed',
]);

function attributesOf(event: RecordedEvent): object[] {
  const { session, seq, code, verdict } = event;
  return [
    text('sallyport.event', event.e),
    integer('sallyport.n', event.n),
    ...(typeof session === 'string' ? [text('sallyport.session', session)] : []),
    ...(typeof seq === 'number' ? [integer('sallyport.seq', seq)] : []),
    ...(typeof code === 'string' ? [text('sallyport.code', code)] : []),
    ...(typeof verdict === 'string' ? [text('sallyport.verdict', verdict)] : []),
  ];
}

/** Nanoseconds since 1970 as decimal digits: more than a number can hold. */
function nanosecondsOf(time: string): string | undefined {
  const match = /^(.{19})\.(\d{6})Z$/.exec(time);
  const seconds = Date.parse(`${match?.[1] ?? ''}Z`) / 1000;
  return match === null || Number.isNaN(seconds) ? undefined : `${seconds}${match[2] ?? ''}000`;
}

export interface OtlpObserver {
  /** The collector took the batch and threw some of it away. It says so itself; nothing can be done here. */
  rejected(records: number): void;
}

export function otlpSink(
  name: string,
  target: OtlpTarget,
  ca: string | undefined,
  observer: OtlpObserver,
): Destination {
  const client = createHttpClient(ca === undefined ? {} : { ca });
  return {
    name,
    maxBatchBytes: 512 * 1024,
    lingerMs: 1000,
    async deliver(batch, signal) {
      const body = Buffer.from(JSON.stringify(logsRequest(batch, target.version)), 'utf8');
      const headers = { ...(await readHeaders(target.headersFile)), 'content-type': 'application/json' };
      const answer = await client.send(
        { method: 'POST', url: target.url, headers, body, timeoutMs: 30_000, maxAnswerBytes: 16_384 },
        signal,
      );
      if (answer.status !== 200) {
        throw new ArchiveError('SPH015', [name, answer.status], undefined, answer.retryAfterMs);
      }
      const rejected = rejectedRecords(answer.body);
      if (rejected > 0) observer.rejected(rejected);
    },
    close: () => client.close(),
  };
}

async function readHeaders(file: string | undefined): Promise<Record<string, string>> {
  if (file === undefined) return {};
  let content: string;
  try {
    content = await readFile(file, 'utf8');
  } catch (error) {
    throw new ArchiveError('SPH014', [file, causeOf(error)], error);
  }
  const headers: Record<string, string> = {};
  for (const [index, line] of content.split('\n').entries()) {
    if (line.trim() === '') continue;
    const match = /^([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)\r?$/.exec(line);
    if (match === null) throw new ArchiveError('SPH014', [file, `line ${index + 1} is no header`]);
    headers[(match[1] ?? '').toLowerCase()] = match[2] ?? '';
  }
  return headers;
}

/** `partialSuccess.rejectedLogRecords` of the answer. */
function rejectedRecords(body: Buffer): number {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8') || '{}');
  } catch {
    // Some receivers answer in their own words; the status has said that they took it.
    return 0;
  }
  if (typeof value !== 'object' || value === null || !('partialSuccess' in value)) return 0;
  const { partialSuccess } = value;
  if (typeof partialSuccess !== 'object' || partialSuccess === null) return 0;
  return 'rejectedLogRecords' in partialSuccess ? Number(partialSuccess.rejectedLogRecords) || 0 : 0;
}
