import { type Command, InvalidArgumentError, Option } from 'commander';
import type { ApprovalRequest } from '../../api/resources.ts';
import { isOpen, stateOf } from '../../approval/state.ts';
import { ApprovalError } from '../../proxy/approval/errors.ts';
import { errorText } from '../errors.ts';
import type { CliIo } from '../io.ts';
import { objectText } from '../output.ts';
import { folderRequests, type RequestDesk, type RequestPlace } from '../places/requests.ts';
import { groupExamples } from './group-examples.ts';
import { type RequestOptions, withRequestOptions } from './request-options.ts';
import { requestLine, requestTable, requestText } from './requests-format.ts';
import { ruleStatistics, statisticsTable } from './requests-stats.ts';
import { seconds } from './token-request.ts';

const EXAMPLES = [
  'sallyport requests list --all -n shop',
  'sallyport requests show orders-3f9a1c2b4d5e --count',
  'sallyport requests watch -n shop',
  'sallyport requests stats -o json',
  'sallyport approve orders-3f9a1c2b4d5e --reason "planned clean-up"',
];

interface ListOptions extends RequestOptions {
  readonly all?: boolean;
}

interface ShowOptions extends RequestOptions {
  readonly count?: boolean;
  readonly wait: number;
}

/** Adds `requests list|show|watch|stats`. */
export function register(program: Command, io: CliIo, place: RequestPlace = folderRequests(io)): void {
  const requests = program
    .command('requests')
    .description('Look at commands that wait for somebody’s approval')
    .addHelpText('afterAll', groupExamples(EXAMPLES));
  withRequestOptions(requests.command('list').description('List the open requests, the oldest first'), place)
    .option('--all', 'also those that are decided, expired or used')
    .action((options: ListOptions) => list(place, options, io));
  withRequestOptions(
    requests
      .command('show')
      .description('Show one request whole: the command, who asks, which rule, what it would do')
      .argument('<name>', 'name of the request, or NAMESPACE/NAME'),
    place,
  )
    .option('--count', 'have the gateway count exactly which rows match, by a statement that only reads')
    .addOption(new Option('--wait <time>', 'how long to wait for the count').argParser(waitSeconds).default(30, '30s'))
    .action((name: string, options: ShowOptions) => show(place, name, options, io));
  withRequestOptions(
    requests.command('watch').description('Show open requests, and every change from now on'),
    place,
  ).action((options: RequestOptions) => watch(place, options, io));
  withRequestOptions(
    requests
      .command('stats')
      .description('For each rule: how often it asked, how fast people decided, how many approved'),
    place,
  ).action((options: RequestOptions) => stats(place, options, io));
}

function waitSeconds(text: string): number {
  const value = seconds(text);
  if (value < 1 || value > 600) throw new InvalidArgumentError('Write a time from 1s to 10m.');
  return value;
}

/** The oldest first; broken ones are told on stderr. */
async function readAll(desk: RequestDesk, io: CliIo): Promise<ApprovalRequest[]> {
  const found = await desk.list((error) => void io.stderr.write(errorText(error)));
  const age = ({ metadata }: ApprovalRequest): string => metadata.creationTimestamp ?? '';
  return found.sort((a, b) => (age(a) < age(b) ? -1 : age(a) > age(b) ? 1 : 0));
}

async function list(place: RequestPlace, options: ListOptions, io: CliIo): Promise<void> {
  const now = Date.now();
  const all = await readAll(await place.open(options, io), io);
  const open = (request: ApprovalRequest): boolean =>
    isOpen(stateOf(request)) && Date.parse(request.spec.expiresAt) > now;
  const listed = options.all === true ? all : all.filter(open);
  if (options.output === 'text') io.stdout.write(requestTable(listed, now));
  else for (const request of listed) io.stdout.write(objectText(request, options.output));
}

async function show(place: RequestPlace, name: string, options: ShowOptions, io: CliIo): Promise<void> {
  const desk = await place.open(options, io);
  let request = await desk.find(name);
  if (options.count === true) request = await counted(desk, request, options, io);
  io.stdout.write(options.output === 'text' ? requestText(request) : objectText(request, options.output));
}

/** The request once it has been counted anew, or the reason why that cannot be done is in it. */
async function counted(
  desk: RequestDesk,
  request: ApprovalRequest,
  options: ShowOptions,
  io: CliIo,
): Promise<ApprovalRequest> {
  const before = JSON.stringify(request.status?.preview);
  await desk.wantCount(request);
  const signal = AbortSignal.any([io.signal, AbortSignal.timeout(options.wait * 1000)]);
  const answered = await desk.awaitChange(
    request,
    ({ status }) => status?.preview !== undefined && JSON.stringify(status.preview) !== before,
    signal,
  );
  if (answered === undefined) throw new ApprovalError('SPV032', [request.metadata.name, options.wait]);
  return answered;
}

async function watch(place: RequestPlace, options: RequestOptions, io: CliIo): Promise<void> {
  const desk = await place.open(options, io);
  const known = new Map<string, string>();
  const told = (error: Error): void => void io.stderr.write(errorText(error));
  for await (const request of desk.changes(io.signal, told)) {
    const key = `${request.metadata.namespace}/${request.metadata.name}`;
    const before = known.get(key);
    const line = options.output === 'text' ? requestLine(request) : objectText(request, options.output);
    known.set(key, line);
    // What was over before anybody watched is nothing new.
    if (line === before || (before === undefined && !isOpen(stateOf(request)))) continue;
    io.stdout.write(line);
  }
}

async function stats(place: RequestPlace, options: RequestOptions, io: CliIo): Promise<void> {
  const statistics = ruleStatistics(await readAll(await place.open(options, io), io));
  if (options.output === 'text') io.stdout.write(statisticsTable(statistics));
  else for (const each of statistics) io.stdout.write(objectText(each, options.output));
}
