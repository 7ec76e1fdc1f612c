import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { type Configuration, DEFAULT_CONFIGURATION, loadConfiguration } from '../../api/configuration.ts';
import type { ApprovalRequest } from '../../api/resources.ts';
import { findRequest } from '../../proxy/approval/ballot-box.ts';
import { createRequestFiles, type RequestFiles } from '../../proxy/approval/files.ts';
import { approvalFolders, createHolder } from '../../proxy/approval/folders.ts';
import { type CliIo, defaultState, stateWords } from '../io.ts';

/** Options of everything that is about requests for approval. */
export interface RequestOptions {
  readonly state?: string;
  readonly config?: string;
  readonly namespace?: string;
  readonly output: 'text' | 'json';
}

export function withRequestOptions(command: Command, io: CliIo): Command {
  return command
    .option('--state <dir>', `state folder of the gateway (${stateWords(io.env)})`)
    .option('-c, --config <file>', 'configuration of the gateway: where requests are, and who may approve')
    .option('-n, --namespace <namespace>', 'only this namespace (default: all)')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'));
}

export interface OpenedRequests {
  readonly files: RequestFiles;
  /** Undefined: none was named. */
  readonly configuration: Configuration | undefined;
}

export async function openRequests(options: RequestOptions, io: CliIo): Promise<OpenedRequests> {
  const configuration =
    options.config === undefined ? undefined : await loadConfiguration(resolve(io.cwd, options.config));
  const state = resolve(io.cwd, options.state ?? configuration?.state ?? defaultState(io.env));
  const { folder } = approvalFolders(configuration ?? DEFAULT_CONFIGURATION, state);
  return { files: createRequestFiles(folder, createHolder(io.pid)), configuration };
}

export async function requestNamed(
  opened: OpenedRequests,
  name: string,
  options: RequestOptions,
): Promise<ApprovalRequest> {
  return (await findRequest(opened.files, name, options.namespace)).request;
}
