import { resolve } from 'node:path';
import type { Command } from 'commander';
import { type Configuration, DEFAULT_CONFIGURATION, loadConfiguration } from '../../api/configuration.ts';
import type { ApprovalRequest } from '../../api/resources.ts';
import type { Verdict } from '../../approval/vote.ts';
import { onlyApprover, readApproverKey } from '../../proxy/approval/approver-keys.ts';
import { castVote, findRequest, wantCount, whyNotCounted } from '../../proxy/approval/ballot-box.ts';
import { signersOf } from '../../proxy/approval/configured-approvers.ts';
import { ApprovalError } from '../../proxy/approval/errors.ts';
import { createRequestFiles } from '../../proxy/approval/files.ts';
import { approvalFolders, createHolder } from '../../proxy/approval/folders.ts';
import { awaitRequest, followRequests } from '../../proxy/approval/follow.ts';
import { type RequestStore, refOf } from '../../proxy/approval/request-store.ts';
import { type CliIo, defaultApproverKeys, defaultState, stateWords } from '../io.ts';
import type { PlaceOptions } from './place-options.ts';

/** Who votes, and how the vote gets there. */
export interface Voter {
  /** As requests and the record will name them. */
  readonly name: string;
  /** @throws when it is no longer the request that was shown, or nobody takes the vote */
  cast(verdict: Verdict, reason: string | undefined): Promise<ApprovalRequest>;
}

/** Requests for approval, wherever they are. */
export interface RequestDesk {
  /** Those that are meant; broken ones are told to `told`. */
  list(told: (error: Error) => void): Promise<ApprovalRequest[]>;
  /** @param name NAME, or NAMESPACE/NAME @throws ApprovalError SPV022, SPV023 */
  find(name: string): Promise<ApprovalRequest>;
  /** Each that is meant, and again whenever it changes, until the signal. */
  changes(signal: AbortSignal, told: (error: Error) => void): AsyncIterable<ApprovalRequest>;
  /** The request once the test holds; undefined when the signal came first. */
  awaitChange(
    request: ApprovalRequest,
    test: (request: ApprovalRequest) => boolean,
    signal: AbortSignal,
  ): Promise<ApprovalRequest | undefined>;
  /** Asks for an exact count of what the command would touch. */
  wantCount(request: ApprovalRequest): Promise<void>;
  /** @throws ApprovalError when they have no vote here */
  voter(shown: ApprovalRequest, verdict: Verdict, as: string | undefined): Promise<Voter>;
}

export interface RequestPlace {
  options(command: Command): Command;
  /** Of commands that vote: who does. */
  voterOptions(command: Command): Command;
  open(options: PlaceOptions, io: CliIo): Promise<RequestDesk>;
}

/** Requests in the folder of a gateway, where voters sign for themselves. */
export function folderRequests(io: CliIo): RequestPlace {
  return {
    options: (command) =>
      command
        .option('--state <dir>', `state folder of the gateway (${stateWords(io.env)})`)
        .option('-c, --config <file>', 'configuration of the gateway: where requests are, and who may approve')
        .option('-n, --namespace <namespace>', 'only this namespace (default: all)'),
    voterOptions: (command) =>
      command.option('--as <approver>', 'whose key signs (default: the only one that is here)'),
    async open(options) {
      const configuration =
        options.config === undefined ? undefined : await loadConfiguration(resolve(io.cwd, options.config));
      const state = resolve(io.cwd, options.state ?? configuration?.state ?? defaultState(io.env));
      const { folder } = approvalFolders(configuration ?? DEFAULT_CONFIGURATION, state);
      return folderDesk(createRequestFiles(folder, createHolder(io.pid)), configuration, options.namespace, io);
    },
  };
}

function folderDesk(
  store: RequestStore,
  configuration: Configuration | undefined,
  namespace: string | undefined,
  io: CliIo,
): RequestDesk {
  return {
    async list(told) {
      const found: ApprovalRequest[] = [];
      for (const each of namespace === undefined ? await store.namespaces() : [namespace]) {
        for (const name of await store.names(each)) {
          try {
            const stored = await store.read({ namespace: each, name });
            if (stored !== undefined) found.push(stored.request);
          } catch (error) {
            if (!(error instanceof ApprovalError)) throw error;
            told(error);
          }
        }
      }
      return found;
    },
    find: async (name) => (await findRequest(store, name, namespace)).request,
    changes: (signal, told) => followRequests(store, namespace, signal, told),
    awaitChange: (request, test, signal) => awaitRequest(store, refOf(request), test, signal),
    wantCount: async (request) => void (await wantCount(store, request, Date.now())),
    async voter(shown, verdict, as) {
      const keys = defaultApproverKeys(io.env);
      const name = as ?? (await onlyApprover(keys));
      const key = await readApproverKey(keys, name);
      if (configuration !== undefined) {
        const why = await whyNotCounted(shown, { voter: name, verdict }, key, signersOf(configuration.approvers));
        if (why !== undefined) throw new ApprovalError('SPV026', [name, shown.metadata.name, why]);
      }
      return {
        name,
        cast(cast, reason) {
          const ballot = { verdict: cast, voter: name, via: 'sallyport', now: Date.now() };
          return castVote(store, shown, reason === undefined ? ballot : { ...ballot, reason }, key);
        },
      };
    },
  };
}
