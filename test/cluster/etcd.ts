/** etcd, and what an operator of clusters does with it when things went wrong: restore yesterday's. */
import { cp, mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import type { ApiServerHandle, Start } from './api-server.ts';
import { etcd, type Layout } from './components.ts';

/** Names a snapshot; what is in it is etcd's. */
export interface EtcdSnapshot {
  readonly folder: string;
}

export interface EtcdHandle {
  /** What a backup of this moment would hold. Nobody is disturbed. */
  snapshot(): Promise<EtcdSnapshot>;
  /** Puts a snapshot in place as the manual of Kubernetes says: API server stopped, data replaced, both started. Resolves when both are ready. */
  restore(snapshot: EtcdSnapshot): Promise<void>;
  /** Ends it as a crash does: the API server stays and answers with errors. */
  kill(): Promise<void>;
  start(): Promise<void>;
}

export async function startEtcd(
  layout: Layout,
  start: Start,
): Promise<EtcdHandle & { restartsWith(apiServer: ApiServerHandle): void }> {
  const plan = etcd(layout);
  const data = path.join(layout.folder, 'etcd');
  let current = await start(plan);
  let apiServer: ApiServerHandle | undefined;
  return {
    restartsWith(handle) {
      apiServer = handle;
    },
    async snapshot() {
      const folder = await mkdtemp(path.join(layout.folder, 'snapshot-'));
      // Stopped in mid-step it is, for a reader of its files, as after a crash at that step, and that is what it can start from.
      process.kill(current.pid, 'SIGSTOP');
      try {
        await cp(data, folder, { recursive: true });
      } finally {
        process.kill(current.pid, 'SIGCONT');
      }
      return { folder };
    },
    async restore(snapshot) {
      await apiServer?.kill();
      await current.stop('SIGKILL');
      await rm(data, { recursive: true });
      await cp(snapshot.folder, data, { recursive: true });
      current = await start(plan);
      await apiServer?.start();
    },
    kill: () => current.stop('SIGKILL'),
    async start() {
      if (current.status() === undefined) throw new Error('etcd is running');
      current = await start(plan);
    },
  };
}
