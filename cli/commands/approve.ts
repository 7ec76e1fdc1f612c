import type { Command } from 'commander';
import type { ApprovalRequest } from '../../api/resources.ts';
import { stateOf, whyClosed } from '../../approval/state.ts';
import type { Verdict } from '../../approval/vote.ts';
import { ApprovalError } from '../../proxy/approval/errors.ts';
import { neutralise } from '../../record/display.ts';
import { CliError } from '../errors.ts';
import type { CliIo } from '../io.ts';
import { objectText } from '../output.ts';
import { folderRequests, type RequestPlace } from '../places/requests.ts';
import { type RequestOptions, withRequestOptions } from './request-options.ts';
import { requestText } from './requests-format.ts';

interface VoteOptions extends RequestOptions {
  readonly reason?: string;
  readonly as?: string;
  readonly yes?: boolean;
}

/** How long to look whether the gateway counted the vote: it does at once, where one runs. */
const COUNTED_WITHIN_MS = 1000;
const MAX_REASON = 2048;

/** Adds `approve` and `deny`. */
export function register(program: Command, io: CliIo, place: RequestPlace = folderRequests(io)): void {
  const approve = program.command('approve').description('Approve a command that waits, after a look at it');
  vote(approve, 'Approve', io, place);
  vote(program.command('deny').description('Deny a command that waits'), 'Deny', io, place);
}

function vote(command: Command, verdict: Verdict, io: CliIo, place: RequestPlace): void {
  place
    .voterOptions(withRequestOptions(command, place))
    .argument('<name>', 'name of the request, or NAMESPACE/NAME')
    .option('--reason <text>', 'why, for the record and for whoever asked')
    .option('-y, --yes', 'do not ask on a terminal')
    .addHelpText(
      'after',
      `
Examples:
  sallyport ${command.name()} orders-3f9a1c2b4d5e
  sallyport ${command.name()} shop/orders-3f9a1c2b4d5e --reason "ticket 4711" --as ada -c sallyport.yaml
  sallyport ${command.name()} orders-3f9a1c2b4d5e --reason "ticket 4711" --yes -o json`,
    )
    .action((name: string, options: VoteOptions) => cast(place, name, verdict, options, io));
}

async function cast(
  place: RequestPlace,
  name: string,
  verdict: Verdict,
  options: VoteOptions,
  io: CliIo,
): Promise<void> {
  const desk = await place.open(options, io);
  const request = await desk.find(name);
  const closed = whyClosed(request, Date.now());
  if (closed !== undefined) throw new ApprovalError('SPV024', [request.metadata.name, closed]);
  const voter = await desk.voter(request, verdict, options.as);
  const reason = await confirmed(request, verdict, voter.name, options, io);
  const voted = await voter.cast(verdict, reason);
  const before = JSON.stringify(request.status);
  const counted = await desk.awaitChange(
    request,
    ({ status }) => JSON.stringify(status) !== before,
    AbortSignal.any([io.signal, AbortSignal.timeout(COUNTED_WITHIN_MS)]),
  );
  tell(counted ?? voted, counted !== undefined, verdict, options, io);
}

/** On a terminal the voter sees the request and says yes. Returns the reason. @throws CliError SPC080 when they do not */
async function confirmed(
  request: ApprovalRequest,
  verdict: Verdict,
  voter: string,
  options: VoteOptions,
  io: CliIo,
): Promise<string | undefined> {
  let { reason } = options;
  if (io.ask !== undefined && options.yes !== true && options.output === 'text') {
    io.stdout.write(`${requestText(request)}\n`);
    reason ??= await io.ask('Reason (may be empty): ');
    const answer = await io.ask(`${verdict} this command as ${neutralise(voter)}? [y/N] `);
    if (!/^y(es)?$/i.test(answer.trim())) throw new CliError('SPC080', []);
  }
  const text = reason?.trim();
  if (text !== undefined && text.length > MAX_REASON) throw new CliError('SPC081', [String(MAX_REASON)]);
  return text === undefined || text === '' ? undefined : text;
}

function tell(request: ApprovalRequest, counted: boolean, verdict: Verdict, options: VoteOptions, io: CliIo): void {
  const { namespace, name } = request.metadata;
  const state = stateOf(request);
  const votes = request.status?.votes;
  if (options.output !== 'text') {
    const told = { namespace, name, verdict, counted, state, ...(votes === undefined ? {} : { votes }) };
    io.stdout.write(objectText(told, options.output));
    return;
  }
  const words = verdict === 'Approve' ? 'approved' : 'denied';
  io.stdout.write(
    counted
      ? `${neutralise(`${namespace}/${name}`)} ${words}: ${state}${votes === undefined ? '' : `, votes ${votes}`}\n`
      : `${neutralise(`${namespace}/${name}`)}: your vote is there, and no gateway has counted it yet\n`,
  );
}
