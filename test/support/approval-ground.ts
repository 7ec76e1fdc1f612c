/** A lane ground with people who may approve: requests as they lie in the store, and votes as people cast them. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { ApprovalRequest } from '../../api/resources.ts';
import { signVote } from '../../approval/vote.ts';
import { type Person, person } from '../../proxy/approval/approval.fixture.ts';
import { createRequestFiles, type RequestFiles } from '../../proxy/approval/files.ts';
import { createHolder } from '../../proxy/approval/folders.ts';
import { type LaneGround, type LaneGroundOptions, startLaneGround } from './lane-ground.ts';

export interface ApprovalGround extends AsyncDisposable {
  readonly lane: LaneGround;
  readonly files: RequestFiles;
  readonly configuration: string;
  readonly ada: Person;
  readonly ben: Person;
  /** All requests, oldest first. */
  requests(): Promise<readonly ApprovalRequest[]>;
  /** The first request, past or future, for which the test holds. */
  request(matches: (request: ApprovalRequest) => boolean): Promise<ApprovalRequest>;
  /** The only request that is pending, once there is one. */
  pending(): Promise<ApprovalRequest>;
  vote(request: ApprovalRequest, who?: Person, verdict?: 'Approve' | 'Deny'): Promise<void>;
  /** Waits for the only pending request and approves it. */
  approve(who?: Person): Promise<ApprovalRequest>;
}

const LOOK_MS = 25;
const PATIENCE_MS = 15_000;

export const stateOf = ({ status }: ApprovalRequest): string => status?.state ?? 'Pending';

/** @param options `gateway.parameters` may name further arguments; the configuration with its approvers is given here */
export async function startApprovalGround(options: LaneGroundOptions & { folder: string }): Promise<ApprovalGround> {
  const ada = person('ada', { groups: ['dba'] });
  const ben = person('ben', { groups: ['dba'] });
  const configuration = path.join(options.folder, 'sallyport.yaml');
  const store = path.join(options.folder, 'store');
  const content = {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'SallyportConfiguration',
    approvals: { store },
    approvers: [ada.entry, ben.entry],
  };
  await writeFile(configuration, JSON.stringify(content));
  const gateway = { ...options.gateway, parameters: ['-c', configuration, ...(options.gateway?.parameters ?? [])] };
  const lane = await startLaneGround({ ...options, gateway });
  const files = createRequestFiles(store, createHolder(process.pid));

  const ground: ApprovalGround = {
    lane,
    files,
    configuration,
    ada,
    ben,
    async requests() {
      const found: ApprovalRequest[] = [];
      for (const name of await files.names('default')) {
        const stored = await files.read({ namespace: 'default', name });
        if (stored !== undefined) found.push(stored.request);
      }
      return found.sort((a, b) =>
        String(a.metadata.creationTimestamp) < String(b.metadata.creationTimestamp) ? -1 : 1,
      );
    },
    async request(matches) {
      const end = Date.now() + PATIENCE_MS;
      for (;;) {
        const all = await ground.requests();
        const found = all.find(matches);
        if (found !== undefined) return found;
        if (Date.now() > end)
          throw new Error(`no such request among ${all.map((one) => `${one.metadata.name} ${stateOf(one)}`)}`);
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      }
    },
    pending: () => ground.request((request) => stateOf(request) === 'Pending'),
    async vote(request, who = ada, verdict = 'Approve') {
      const { name } = request.metadata;
      await files.update({ namespace: 'default', name }, (found) => {
        const decision = signVote(found, { verdict, voter: who.entry.name, via: 'test', now: Date.now() }, who.key);
        return { ...found, spec: { ...found.spec, decisions: [...(found.spec.decisions ?? []), decision] } };
      });
    },
    async approve(who) {
      const request = await ground.pending();
      await ground.vote(request, who);
      return request;
    },
    [Symbol.asyncDispose]: () => lane[Symbol.asyncDispose](),
  };
  return ground;
}
