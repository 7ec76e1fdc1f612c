/**
 * A gateway's approvals as a process of its own, driven by lines of JSON: `{"submit": N}` holds command N, `{"consume": N}` uses it.
 * A grant is written to a file before it is told, as a command would be on its way: what is there has run.
 */
import { appendFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { held, requirement } from '../../../proxy/approval/approval.fixture.ts';
import { createConfiguredApprovers } from '../../../proxy/approval/configured-approvers.ts';
import { type FolderApprovalsOptions, folderContext } from '../../../proxy/approval/folder-approvals.ts';
import { createHolder } from '../../../proxy/approval/folders.ts';
import { createApprovals } from '../../../proxy/approval/store.ts';
import { keepSwept, SWEEP_FOLDER } from '../../../proxy/approval/sweep.ts';
import type { ApprovalTicket } from '../../../proxy/ports.ts';

export interface HolderSetup {
  readonly folder: string;
  readonly usedFolder: string;
  readonly configuration: string;
  /** One line for each grant. */
  readonly grants: string;
}

export interface Order {
  readonly submit?: number;
  readonly consume?: number;
  readonly decided?: number;
}

/** A command of its own for each number, refused at first, so that the request outlives the session. */
export const command = (number: number) =>
  held({
    text: `DELETE FROM orders WHERE id = ${number}`,
    subject: { username: `okta:${number}`, groups: [], claims: {} },
    requirements: [requirement({ hold: 'Reject' })],
  });

const [text] = process.argv.slice(2);
if (text !== undefined) {
  const setup = JSON.parse(text) as HolderSetup;
  const options: FolderApprovalsOptions = {
    folder: setup.folder,
    usedFolder: setup.usedFolder,
    signers: createConfiguredApprovers(setup.configuration, { warn: () => {} }),
    holder: createHolder(process.pid),
    now: Date.now,
    monotonic: () => performance.now(),
    log: { warn: () => {} },
  };
  const context = folderContext(options);
  await keepSwept(context, SWEEP_FOLDER, new AbortController().signal);
  const store = createApprovals(context);
  const tickets = new Map<number, ApprovalTicket>();
  const tell = (value: object): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
  const obey = async (order: Order): Promise<void> => {
    if (order.submit !== undefined) {
      const got = await store.submit(command(order.submit));
      if ('decided' in got) tickets.set(order.submit, got);
      tell('decided' in got ? { name: got.name, approved: got.approved } : { code: got.code });
    }
    if (order.decided !== undefined) {
      tell(await (tickets.get(order.decided)?.decided(new AbortController().signal) ?? Promise.resolve({})));
    }
    if (order.consume !== undefined) {
      const ticket = tickets.get(order.consume);
      const got = await ticket?.consume();
      if (got?.state === 'Consumed') {
        appendFileSync(setup.grants, `${ticket?.name}\n`);
        tell({ granted: ticket?.name });
        await got.settle('Executed');
        tell({ settled: ticket?.name });
      } else tell({ code: got?.code });
    }
  };
  createInterface({ input: process.stdin }).on('line', (line) => void obey(JSON.parse(line) as Order));
  tell({ ready: true });
}
