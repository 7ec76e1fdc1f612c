import type { Command } from 'commander';
import type { ApprovalRequest } from '../../api/resources.ts';
import { stateOf, whyClosed } from '../../approval/state.ts';
import type { Verdict } from '../../approval/vote.ts';
import { onlyApprover, readApproverKey } from '../../proxy/approval/approver-keys.ts';
import { castVote, whyNotCounted } from '../../proxy/approval/ballot-box.ts';
import { signersOf } from '../../proxy/approval/configured-approvers.ts';
import { ApprovalError } from '../../proxy/approval/errors.ts';
import { awaitRequest } from '../../proxy/approval/follow.ts';
import { refOf } from '../../proxy/approval/request-store.ts';
import { neutralise, safeJson } from '../../record/display.ts';
import { CliError } from '../errors.ts';
import { type CliIo, defaultApproverKeys } from '../io.ts';
import { openRequests, type RequestOptions, requestNamed, withRequestOptions } from './request-options.ts';
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
export function register(program: Command, io: CliIo): void {
  vote(program.command('approve').description('Approve a command that waits, after a look at it'), 'Approve', io);
  vote(program.command('deny').description('Deny a command that waits'), 'Deny', io);
}

function vote(command: Command, verdict: Verdict, io: CliIo): void {
  withRequestOptions(command, io)
    .argument('<name>', 'name of the request, or NAMESPACE/NAME')
    .option('--reason <text>', 'why, for the record and for whoever asked')
    .option('--as <approver>', 'whose key signs (default: the only one that is here)')
    .option('-y, --yes', 'do not ask on a terminal')
    .addHelpText(
      'after',
      `
Examples:
  sallyport ${command.name()} orders-3f9a1c2b4d5e
  sallyport ${command.name()} shop/orders-3f9a1c2b4d5e --reason "ticket 4711" --as ada -c sallyport.yaml
  sallyport ${command.name()} orders-3f9a1c2b4d5e --reason "ticket 4711" --yes -o json`,
    )
    .action((name: string, options: VoteOptions) => cast(name, verdict, options, io));
}

async function cast(name: string, verdict: Verdict, options: VoteOptions, io: CliIo): Promise<void> {
  const opened = await openRequests(options, io);
  const request = await requestNamed(opened, name, options);
  const closed = whyClosed(request, Date.now());
  if (closed !== undefined) throw new ApprovalError('SPV024', [request.metadata.name, closed]);
  const keys = defaultApproverKeys(io.env);
  const voter = options.as ?? (await onlyApprover(keys));
  const key = await readApproverKey(keys, voter);
  if (opened.configuration !== undefined) {
    const why = await whyNotCounted(request, { voter, verdict }, key, signersOf(opened.configuration.approvers));
    if (why !== undefined) throw new ApprovalError('SPV026', [voter, request.metadata.name, why]);
  }
  const reason = await confirmed(request, verdict, voter, options, io);
  const ballot = { verdict, voter, via: 'sallyport', now: Date.now(), ...(reason === undefined ? {} : { reason }) };
  const voted = await castVote(opened.files, request, ballot, key);
  const before = JSON.stringify(request.status);
  const counted = await awaitRequest(
    opened.files,
    refOf(request),
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
  if (options.output === 'json') {
    io.stdout.write(
      `${safeJson({ namespace, name, verdict, counted, state, ...(votes === undefined ? {} : { votes }) })}\n`,
    );
    return;
  }
  const words = verdict === 'Approve' ? 'approved' : 'denied';
  io.stdout.write(
    counted
      ? `${neutralise(`${namespace}/${name}`)} ${words}: ${state}${votes === undefined ? '' : `, votes ${votes}`}\n`
      : `${neutralise(`${namespace}/${name}`)}: your vote is there, and no gateway has counted it yet\n`,
  );
}
