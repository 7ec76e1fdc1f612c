import { generateKeyPairSync } from 'node:crypto';
import { appendFile, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { recordRemovals } from '../../proxy/recording/ledger.ts';
import { createRecorder, type RecorderOptions } from '../../proxy/recording/writer.ts';
import { createAnchors } from '../anchors.ts';
import { sessionEnd } from '../events.ts';
import { type NoteSigner, noteSigner } from '../note.ts';
import type { RecordStream } from '../port.ts';
import { recoverRecord } from '../recover.ts';
import { removeExpiredSegments } from '../retention.ts';
import { listSegments } from '../segment.ts';
import type { StreamReport } from './stream.ts';
import { verifyRecord } from './verify.ts';

export function newSigner(): NoteSigner {
  return noteSigner(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
}

/** A record as gateways leave it, with its key and its anchors. */
export interface RealRecord {
  /** Holds `record` and `anchors`. */
  readonly state: string;
  readonly root: string;
  readonly anchors: string;
  readonly signer: NoteSigner;
  /** Content of all segments, by path below `root`. */
  readonly files: ReadonlyMap<string, Buffer>;
}

const DAY_MS = 86_400_000;

function manualClock() {
  let now = 0;
  const start = Date.UTC(2026, 0, 1, 12);
  return {
    wall: () => start + now,
    monotonic: () => now,
    advance: (ms: number) => {
      now += ms;
    },
  };
}

function session(stream: RecordStream, id: string, commands: number): void {
  stream.append('session.start', `"session":"${id}"`);
  for (let seq = 1; seq <= commands; seq++) {
    stream.append('command.received', `"session":"${id}","seq":${seq},"text":"SELECT 'ä😀\\ud800', ${seq}"`);
    stream.flush();
    stream.append('command.executed', `"session":"${id}","seq":${seq},"rows":${seq}`);
  }
  stream.append('session.end', sessionEnd({ session: id, reason: 'client closed', commands, denied: 0 }));
  stream.flush();
}

/**
 * Several connections and processes: one that ran for days and lost its first segments to retention, one that was killed and recovered with a torn
 * line and an open session, one of which nothing is left, and two that ended well. Made by the writer, the recovery and the retention themselves.
 */
export async function realRecord(): Promise<RealRecord> {
  const state = await mkdtemp(join(tmpdir(), 'verify-'));
  const root = join(state, 'record');
  const anchors = join(state, 'anchors');
  const signer = newSigner();
  const anchor = createAnchors(anchors, (error) => {
    throw error;
  });
  const clock = manualClock();
  const open = (options: Partial<RecorderOptions> = {}) => {
    const recorder = createRecorder({ root, pid: 4711, signer, clock, ...options });
    recorder.onCheckpoint(anchor);
    return recorder;
  };

  const gone = open();
  session(gone.stream('shop', 'gone'), 'g1', 2);
  await gone.close();
  const long = open({ segmentBytes: 1_500 });
  const stream = long.stream('shop', 'db');
  session(stream, 'a1', 9);
  stream.append('session.start', '"session":"a2"');
  clock.advance(3 * DAY_MS);
  session(stream, 'a3', 12);

  const killed = open();
  const crashing = killed.stream('shop', 'db');
  session(crashing, 'b1', 3);
  crashing.append('session.start', '"session":"b2"');
  await crashing.sync();
  const path = (await listSegments(root)).at(-1)?.path ?? '';
  const left = await readFile(path);
  await killed.close();
  // What kill -9 and a power cut leave: no end, and half a line.
  await writeFile(path, left);
  await rm(anchorOf(anchors, path));
  await appendFile(path, '{"v":1,"n":99,"t":"2026-01-0');
  await recoverRecord({ root, signer, clock, isAlive: ({ process }) => !path.includes(process), onCheckpoint: anchor });

  const checkpointed = open({ checkpointMs: 1 });
  const other = checkpointed.stream('shop', 'other');
  for (let count = 1; count <= 3; count++) {
    const written = Promise.withResolvers<void>();
    const stop = checkpointed.onCheckpoint(() => written.resolve());
    session(other, `c${count}`, 2);
    await written.promise;
    stop();
  }
  await checkpointed.close();
  await long.close();

  await removeExpiredSegments({
    ...{ root, anchors, now: new Date(clock.wall()), retentionDays: () => 2 },
    enter: (removed) => recordRemovals({ root, pid: 4711, signer, clock }, removed, anchor),
  });
  return { state, root, anchors, signer, files: await filesOf(root) };
}

function anchorOf(anchors: string, segment: string): string {
  const [, , process] = /-(\d+)-([0-9a-f]+)-\d+\.jsonl$/.exec(segment) ?? [];
  return join(anchors, 'shop', 'db', `${process}.jsonl`);
}

async function filesOf(root: string): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    files.set(path.slice(root.length + 1), await readFile(path));
  }
  return new Map([...files].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Verifies the record with these files in place of its own; undefined: the file is not there. */
export async function verifyChanged(
  record: RealRecord,
  changed: ReadonlyMap<string, Buffer | undefined>,
  options: { readonly anchors?: boolean; readonly key?: boolean } = {},
): Promise<{ readonly reports: StreamReport[]; readonly findings: string[] }> {
  const folder = await mkdtemp(join(tmpdir(), 'changed-'));
  try {
    await cp(record.root, join(folder, 'record'), { recursive: true });
    for (const [file, content] of changed) {
      const path = join(folder, 'record', file);
      await mkdir(dirname(path), { recursive: true });
      if (content === undefined) await rm(path);
      else await writeFile(path, content);
    }
    const reports = await verifyFolder(folder, record, options);
    const findings = reports.flatMap(({ finding }) =>
      finding === undefined
        ? []
        : [`${finding.file.slice(join(folder, 'record').length + 1)}:${finding.line} ${finding.problem}`],
    );
    return { reports, findings };
  } finally {
    await rm(folder, { recursive: true });
  }
}

export async function verifyFolder(
  folder: string,
  { anchors, signer }: Pick<RealRecord, 'anchors' | 'signer'>,
  options: { readonly anchors?: boolean; readonly key?: boolean } = {},
): Promise<StreamReport[]> {
  const reports: StreamReport[] = [];
  const verified = verifyRecord({
    paths: [folder],
    verifiers: options.key === false ? [] : [signer],
    ...(options.anchors === false ? {} : { anchors }),
  });
  for await (const report of verified) reports.push(report);
  return reports;
}
