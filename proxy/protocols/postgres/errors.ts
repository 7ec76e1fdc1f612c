import type { GateRefusal } from '../../ports.ts';

/**
 * Errors of the PostgreSQL lane: one table. `state` is the SQLSTATE that the client sees (manual, appendix A); the code stands in
 * DETAIL, with the session's id, so that a person can find the moment in the record. `{}` is filled by the place that raises it.
 */
export const LANE_ERRORS = {
  SPG001: { state: '42501', message: 'Sallyport denied this statement: {}', hint: '' },
  SPG002: { state: '42501', message: 'Sallyport holds this statement for approval: {}', hint: '' },
  SPG003: {
    state: '54000',
    message: 'the statement has {} bytes, more than the limit',
    hint: 'Send it in parts, or raise limits.maxStatementBytes in the configuration.',
  },
  SPG004: { state: '22021', message: 'the statement is not valid UTF-8', hint: 'Send statements in UTF-8.' },
  SPG005: {
    state: '08P01',
    message: 'protocol violation: {}',
    hint: 'Use a PostgreSQL client that speaks protocol 3.',
  },
  SPG006: {
    state: '54000',
    message: 'a message of {} bytes is more than the limit',
    hint: 'Send less at a time, or raise limits.maxMessageBytes in the configuration.',
  },
  SPG007: {
    state: '42501',
    message: 'a masked value cannot be written back or looked up',
    hint: 'The value is a mask that Sallyport made, not the data.',
  },
  SPG008: {
    state: '26000',
    message: 'prepared statement "{}" does not exist',
    hint: '',
  },
  SPG009: {
    state: '54000',
    message: 'the result has more than {} rows, the limit of this command',
    hint: 'Ask for fewer rows, with LIMIT or a narrower WHERE.',
  },
  SPG010: {
    state: '54000',
    message: 'the result has more than {} bytes, the limit of this command',
    hint: 'Ask for less at a time.',
  },
  SPG011: {
    state: '54000',
    message: 'the statement would change more than {} rows, the limit of this command',
    hint: 'Change fewer rows at a time, with a narrower WHERE.',
  },
  SPG012: {
    state: '57014',
    message: 'the statement ran longer than {} s, the limit of this command',
    hint: 'Ask for less, or at another time.',
  },
  SPG013: {
    state: '53400',
    message: 'more than {} commands in a minute',
    hint: 'Wait a minute, and send fewer commands.',
  },
  SPG014: { state: '57P01', message: 'the session ends: {}', hint: 'Connect again.' },
  SPG015: {
    state: '58030',
    message: 'the record cannot be written, so no command is forwarded',
    hint: 'The platform team finds the cause in the log of Sallyport and on its state folder.',
  },
  SPG016: { state: '08006', message: 'the target closed the connection', hint: 'Connect again.' },
  SPG017: {
    state: 'XX000',
    message: 'the target sent what Sallyport does not know: {}',
    hint: 'Report this with the version of the target.',
  },
  SPG018: {
    state: 'XX000',
    message: 'the result does not carry what the statement says: {}',
    hint: 'The definition of a table changed meanwhile. Connect again.',
  },
  SPG019: {
    state: '55000',
    message: 'this session may only have client_encoding UTF8 and standard_conforming_strings on',
    hint: 'Leave both as they are.',
  },
  SPG020: {
    state: '0A000',
    message: 'this has to be a message of its own: {}',
    hint: 'Send it alone, not in a pipeline.',
  },
  SPG021: {
    state: '53300',
    message: 'there are {} sessions already, the limit here',
    hint: 'Close sessions, or try again later.',
  },
  SPG022: {
    state: '28000',
    message: '{} may not use this connection',
    hint: 'Ask the platform team for an AccessPolicy that names you.',
  },
  SPG023: {
    state: '3D000',
    message: 'there is no connection for database "{}" at this address',
    hint: 'Write the database of the AccessConnection into the connection string.',
  },
  SPG024: {
    state: '42501',
    message: 'the catalog of the target cannot be read, so names cannot be judged',
    hint: 'Try again; the platform team finds the cause in the log of Sallyport.',
  },
  SPG025: {
    state: '54000',
    message: 'one row has more than {} bytes, more than can be masked',
    hint: 'Leave the large column out.',
  },
  SPG026: { state: '42501', message: 'function {} cannot be called directly', hint: 'Call it in a SELECT.' },
  SPG027: { state: '34000', message: 'portal "{}" does not exist', hint: '' },
  SPG028: {
    state: '42501',
    message: 'this statement needs approval, which is not waited for while a transaction is open: {}',
    hint: 'Others would wait for the locks of your transaction. Send it outside of BEGIN, and first in its pipeline.',
  },
  SPG029: {
    state: '54000',
    message: 'the statement needs approval and has {} bytes as an approver would read it, more than can be shown',
    hint: 'Nobody approves unseen: send less than 64 KiB at a time.',
  },
  SPG030: { state: '42501', message: 'the approval was not given: {}', hint: '' },
  SPG031: {
    state: '42501',
    message: 'COPY FROM STDIN cannot be held for approval',
    hint: 'Its rows come after the approval, so nobody could have seen them: use INSERT.',
  },
  SPG032: { state: '42501', message: 'this statement needs approval: {}', hint: '' },
  SPG033: { state: '57014', message: 'canceling statement due to user request', hint: '' },
  SPG034: {
    state: '55000',
    message: 'the session ends: its search_path can be read in several ways, so names cannot be judged',
    hint: 'Put each schema with unusual letters or spaces in double quotes, where search_path is set.',
  },
  SPG040: {
    state: '0A000',
    message: 'the credential of this connection is good for one command, and {} would have to outlive it',
    hint: 'Do without it, or ask the platform team for a connection with scope Session.',
  },
} as const;

/** What the server says itself, in its words and without a DETAIL of ours: drivers tell these cases by them. */
export const OF_THE_SERVER: ReadonlySet<string> = new Set(['SPG008', 'SPG027', 'SPG033']);

export type LaneErrorCode = keyof typeof LANE_ERRORS;

export interface LaneReport {
  readonly code: LaneErrorCode;
  readonly state: string;
  readonly message: string;
  readonly detail?: string;
  readonly hint: string;
}

/** What the gate says, as the client sees it: a denial, with the code of whoever denied. */
export function gateReport({ code, message, hint }: GateRefusal): LaneReport {
  return { code: code as LaneErrorCode, state: '42501', message, hint };
}

/** Why an identity ended before its time, as its sessions are told. */
export function withdrawnReport({ reason }: AbortSignal): LaneReport {
  const { code, message, hint } = reason as Partial<GateRefusal>;
  if (typeof code !== 'string' || typeof message !== 'string')
    return laneError('SPG014', 'your identity was withdrawn');
  return { code: code as LaneErrorCode, state: '28000', message: `the session ends: ${message}`, hint: hint ?? '' };
}

/** Fills a row of the table. `detail` and `hint` of the caller stand in place of the table's. */
export function laneError(code: LaneErrorCode, fill = '', more: { detail?: string; hint?: string } = {}): LaneReport {
  const row = LANE_ERRORS[code];
  const detail = more.detail === undefined ? {} : { detail: more.detail };
  return { code, state: row.state, message: row.message.replace('{}', fill), hint: more.hint || row.hint, ...detail };
}
