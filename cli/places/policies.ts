import type { Command } from 'commander';
import type { Bundle } from '../../policy/bundle.ts';
import { loadPolicies } from '../commands/offline-decision.ts';
import { addGroup } from '../commands/subject-options.ts';
import type { CliIo } from '../io.ts';
import type { PlaceOptions } from './place-options.ts';

/** Policies that a command asks, compiled, wherever they are. */
export interface PolicyDesk {
  readonly bundle: Bundle;
  /** The namespace of a connection that is named without one. */
  readonly homeNamespace: string;
}

export interface PolicyPlace {
  options(command: Command): Command;
  open(options: PlaceOptions & { readonly file?: readonly string[] }, io: CliIo): Promise<PolicyDesk>;
}

/** Resources of files. */
export function folderPolicies(): PolicyPlace {
  return {
    options: (command) =>
      command
        .requiredOption('-f, --file <path>', 'folder or file of resources; may be repeated', addGroup, [])
        .option('-c, --config <file>', 'SallyportConfiguration, for its guardrail namespace'),
    async open({ file = [], config }, io) {
      const { bundle } = await loadPolicies(file, config, io);
      return { bundle, homeNamespace: 'default' };
    },
  };
}
