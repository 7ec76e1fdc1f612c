/** A record and what follows it, for tests of sinks. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Registry } from 'prom-client';
import type { SinkConfiguration } from '../../../api/configuration-outgoing.ts';
import { type FollowersOptions, startFollowers } from '../../../archive/followers.ts';
import { createRecorder, type Recorder } from '../../../proxy/recording/writer.ts';

export interface SinkGround extends AsyncDisposable {
  readonly folder: string;
  readonly root: string;
  readonly recorder: Recorder;
  /** Log lines of the followers: `warn`, `error` and `info` by their message. */
  readonly messages: string[];
  /** Starts what follows the record; stopped again with the ground. */
  follow(options: Partial<FollowersOptions> & { readonly sinks?: readonly SinkConfiguration[] }): Promise<Following>;
}

export interface Following {
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number | undefined>;
  /** Stops, having delivered what is left. */
  stop(): Promise<void>;
}

/** Short waits, so that a receiver that comes back is found at once. */
const BACKOFF = { firstMs: 20, maxMs: 100, random: Math.random };

export async function sinkGround(): Promise<SinkGround> {
  const folder = await mkdtemp(path.join(tmpdir(), 'sinks-'));
  const root = path.join(folder, 'record');
  const recorder = createRecorder({ root, pid: process.pid, segmentBytes: 100_000, syncDelayMs: 10 });
  const messages: string[] = [];
  const running = new Set<Following>();
  const note = (facts: Readonly<Record<string, unknown>>, message: string): void => {
    messages.push(`${String(facts['code'] ?? '')} ${message} ${JSON.stringify(facts)}`.trim());
  };
  return {
    folder,
    root,
    recorder,
    messages,
    async follow(options) {
      const registry = new Registry();
      const followers = await startFollowers({
        root,
        positions: path.join(folder, 'positions'),
        sinks: [],
        archive: undefined,
        store: undefined,
        version: '0',
        registry,
        log: { info: note, warn: note, error: note },
        backoff: BACKOFF,
        ...options,
      });
      const following: Following = {
        async metric(name, labels = {}) {
          const metric = await registry.getSingleMetric(name)?.get();
          const found = metric?.values.find((value) =>
            Object.entries(labels).every(([label, wanted]) =>
              Object.entries(value.labels).some(([l, v]) => l === label && v === wanted),
            ),
          );
          return found?.value;
        },
        async stop() {
          running.delete(following);
          await followers.stop(AbortSignal.timeout(10_000));
        },
      };
      running.add(following);
      return following;
    },
    async [Symbol.asyncDispose]() {
      for (const following of [...running]) await following.stop();
      await recorder.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
