import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { developmentKey, signDevelopmentToken } from '../../proxy/identity/development.ts';
import type { CliIo } from '../io.ts';
import { groupExamples } from './group-examples.ts';
import { addTokenOptions, type TokenOptions, tokenRequest } from './token-request.ts';

const EXAMPLES = [
  'sallyport token create --as system:serviceaccount:shop:reporter',
  `PGPASSWORD=$(sallyport token create --as okta:ada@example.com --group team:data --ttl 1h) \\
    psql 'host=127.0.0.1 port=15432 dbname=shop sslmode=require'`,
  'sallyport token create --as github:deploy --claim repository=acme/shop --claim ref=refs/heads/main -o json',
];

/** Adds `sallyport token create`. */
export function register(program: Command, io: CliIo): void {
  const token = program
    .command('token')
    .description('Tokens of the development issuer, for this machine only')
    .addHelpText('afterAll', groupExamples(EXAMPLES));
  addTokenOptions(token.command('create'), io)
    .description('Print a token; nothing else goes to standard output')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'))
    .action((options: TokenOptions & { readonly output: 'text' | 'json' }) => create(options, io));
}

async function create(options: TokenOptions & { readonly output: 'text' | 'json' }, io: CliIo): Promise<void> {
  const key = await developmentKey(resolve(io.cwd, options.state));
  const now = Date.now();
  const request = tokenRequest(options);
  const token = await signDevelopmentToken(key, request, now);
  switch (options.output) {
    case 'text':
      io.stdout.write(`${token}\n`);
      return;
    case 'json': {
      const expiresAt = new Date((Math.floor(now / 1000) + request.ttlSeconds) * 1000).toISOString();
      io.stdout.write(`${JSON.stringify({ token, subject: request.subject, groups: request.groups, expiresAt })}\n`);
      return;
    }
    default:
      options.output satisfies never;
  }
}
