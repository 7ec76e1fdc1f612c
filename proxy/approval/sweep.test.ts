import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ground, held, person, ticketOf } from './approval.fixture.ts';
import { folderContext } from './folder-approvals.ts';
import { createHolder } from './folders.ts';
import { keepSwept, SWEEP_FOLDER } from './sweep.ts';

test('a gateway that was killed between use and its note leaves no request that looks as if it could still run', async () => {
  const ada = person('ada');
  const g = await ground([ada]);
  try {
    const { name } = ticketOf(await g.store.submit(held()));
    await g.vote(ada, name);
    await expect.poll(async () => (await g.request(name)).status?.state).toBe('Approved');
    const request = await g.request(name);
    await mkdir(join(g.folder, '.used'), { recursive: true });
    await writeFile(join(g.folder, '.used', request.metadata.uid ?? ''), '{}');
    // Its process is dead: no process has begun at that time under that number.
    await g.edit(name, (found) => ({
      ...found,
      status: {
        ...found.status,
        holder: { ...createHolder(process.pid), pid: 2 ** 22 + 1, host: createHolder(1).host },
      },
    }));
    const options = {
      folder: g.folder,
      usedFolder: join(g.folder, '..', 'used'),
      signers: { current: () => Promise.reject(new Error('nobody is asked')) },
      holder: createHolder(process.pid),
      now: Date.now,
      monotonic: () => performance.now(),
      log: { warn: () => {} },
    };
    await keepSwept(folderContext(options), SWEEP_FOLDER, AbortSignal.abort());
    expect((await g.request(name)).status?.state).toBe('Consumed');
  } finally {
    await g.close();
  }
});
