import { type Command, Option } from 'commander';
import { API_VERSION } from '../../api/schema.ts';
import type { CliIo } from '../io.ts';
import { packageVersion } from '../version.ts';

interface VersionOptions {
  readonly output: 'text' | 'json';
}

/** Adds `version`. */
export function register(program: Command, io: CliIo): void {
  program
    .command('version')
    .description('Show the version of Sallyport and of its API')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'))
    .addHelpText('after', '\nExamples:\n  sallyport version\n  sallyport version -o json')
    .action(({ output }: VersionOptions) => {
      const version = packageVersion();
      const text = `sallyport ${version} (${API_VERSION})`;
      io.stdout.write(`${output === 'json' ? JSON.stringify({ version, apiVersion: API_VERSION }) : text}\n`);
    });
}
