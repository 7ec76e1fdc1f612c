import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import type { FollowedEvent } from '../../record/follow.ts';
import { parseEvent, type RecordedEvent } from '../../record/format.ts';
import { sessionQuery } from '../../record/query.ts';
import { connectionFolder, parseSegmentFileName, type SegmentFilter } from '../../record/segment.ts';
import type { SessionSummary } from '../../record/sessions.ts';
import { CliError } from '../errors.ts';
import type { RecordPlace, RecordReader } from '../places/record.ts';
import { type ArchiveClient, openArchive } from './archive-client.ts';
import { openCluster, withClusterOptions, withOperatorNamespace } from './cluster.ts';

/** The record in the archive of a cluster. */
export function clusterRecord(): RecordPlace {
  return {
    options: (command) => withArchiveOptions(withOperatorNamespace(withClusterOptions(command))),
    async open(options, io) {
      const cluster = await openCluster(options, io);
      const archive = await openArchive(cluster, options, io);
      return archiveRecord(archive, cluster.namespace, cluster.homeNamespace, io.signal);
    },
  };
}

function withArchiveOptions(command: Command): Command {
  return command
    .option('--archive <url>', 'address of the archive’s port for people (default: through kubectl port-forward)')
    .option('--archive-ca <file>', 'authority of its certificate (default: as the operator says in the cluster)');
}

function archiveRecord(
  archive: ArchiveClient,
  namespace: string | undefined,
  homeNamespace: string,
  signal: AbortSignal,
): RecordReader {
  const made: string[] = [];

  async function* objects(path: string, until: AbortSignal): AsyncGenerator<object> {
    const response = await archive.get(path, until);
    for await (const line of linesOf(response)) {
      const value: unknown = line === '' ? undefined : JSON.parse(line);
      if (typeof value === 'object' && value !== null) yield value;
    }
  }

  async function fetched(segments: readonly ListedSegment[]): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'sallyport-record-'));
    made.push(folder);
    const root = join(folder, 'record');
    await mkdir(root, { mode: 0o700 });
    for (const segment of segments) {
      const place = connectionFolder(root, segment.namespace, segment.name);
      await mkdir(place, { recursive: true, mode: 0o700 });
      const path = `/v1/segments/${segment.namespace}/${segment.name}/${segment.file}`;
      const bytes = await archive.get(path, signal);
      await pipeline(bytes, createWriteStream(join(place, segment.file), { mode: 0o600, flags: 'wx' }));
    }
    return root;
  }

  return {
    scope(connection) {
      if (connection !== undefined) return { namespace: homeNamespace, ...connection };
      return namespace === undefined ? {} : { namespace };
    },
    async *sessions(filter) {
      for await (const object of objects(`/v1/sessions?${sessionQuery(filter)}`, signal)) {
        if (isSummary(object)) yield object;
      }
    },
    async *events(session) {
      const response = await archive.get(`/v1/sessions/${encodeURIComponent(session)}/events`, signal);
      for await (const line of linesOf(response)) {
        const event: RecordedEvent | undefined = parseEvent(line);
        if (event !== undefined) yield event;
      }
    },
    async *follow(filter, until) {
      try {
        for await (const object of objects(`/v1/events?${sessionQuery(filter)}`, until)) {
          if (isFollowed(object)) yield object;
        }
      } catch (error) {
        if (!until.aborted) throw error;
      }
    },
    async folder(filter) {
      const segments: ListedSegment[] = [];
      for await (const object of objects(`/v1/segments?${sessionQuery(onlyPlace(filter))}`, signal)) {
        if (isSegment(object)) segments.push(object);
      }
      return fetched(segments);
    },
    async [Symbol.asyncDispose]() {
      await archive[Symbol.asyncDispose]();
      for (const folder of made) await rm(folder, { recursive: true, force: true });
    },
  };
}

const onlyPlace = ({ namespace, name }: SegmentFilter): SegmentFilter => ({
  ...(namespace === undefined ? {} : { namespace }),
  ...(name === undefined ? {} : { name }),
});

/** @throws CliError SPC066 when the answer ends before its end */
async function* linesOf(response: IncomingMessage): AsyncGenerator<string> {
  const broken = Promise.withResolvers<never>();
  // Readline would take an answer that was cut off for one that is over.
  response.once('error', (error) => broken.reject(new CliError('SPC066', [], error)));
  broken.promise.catch(() => undefined);
  const lines = createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY })[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await Promise.race([lines.next(), broken.promise]);
      if (next.done === true) break;
      yield next.value;
    }
    if (!response.complete) throw new CliError('SPC066', []);
  } finally {
    response.destroy();
  }
}

interface ListedSegment {
  readonly namespace: string;
  readonly name: string;
  readonly file: string;
}

/** Names come from another machine, and become paths here. @see connectionFolder for the other two */
function isSegment(value: object): value is ListedSegment {
  return (
    'namespace' in value &&
    typeof value.namespace === 'string' &&
    'name' in value &&
    typeof value.name === 'string' &&
    'file' in value &&
    typeof value.file === 'string' &&
    parseSegmentFileName(value.file) !== undefined
  );
}

function isSummary(value: object): value is SessionSummary {
  return 'session' in value && typeof value.session === 'string' && 'start' in value && typeof value.start === 'string';
}

function isFollowed(value: object): value is FollowedEvent {
  return (
    'connection' in value &&
    typeof value.connection === 'string' &&
    'event' in value &&
    typeof value.event === 'object' &&
    value.event !== null &&
    'e' in value.event &&
    typeof value.event.e === 'string'
  );
}
