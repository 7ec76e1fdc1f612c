/**
 * Every message type of the PostgreSQL frontend/backend protocol 3.x (manual, section "Message Formats"), what the lane does with
 * it, and the test that shows it. `docs/wire-coverage.md` is generated from these tables; the relay refuses what is not in them.
 */
export interface MessageKind {
  readonly byte: string;
  readonly name: string;
  /** What happens to it, in words. */
  readonly handling: string;
  /** Test file, relative to the repository. */
  readonly test: string;
}

const LANE = 'test/integration/postgres-lane.test.ts';
const EXTENDED = 'test/integration/postgres-extended.test.ts';
const COPY = 'test/integration/postgres-copy.test.ts';
const BAD = 'test/integration/postgres-bad-input.test.ts';
const FAULTS = 'test/integration/postgres-faults.test.ts';
const HELD = 'test/integration/approval/lane.test.ts';
const IDENTITY = 'test/integration/identity-postgres.test.ts';

export const FRONTEND: readonly MessageKind[] = [
  {
    byte: 'Q',
    name: 'Query',
    handling:
      'parsed, decided, recorded, then forwarded byte for byte; one that needs approval waits; a denied one is answered or made to fail',
    test: LANE,
  },
  {
    byte: 'P',
    name: 'Parse',
    handling: 'parsed, decided, recorded, then forwarded; a denied one is replaced by one that fails',
    test: EXTENDED,
  },
  {
    byte: 'B',
    name: 'Bind',
    handling: 'statement looked up, judged again if policy or names moved; mask tokens refused in its values',
    test: EXTENDED,
  },
  { byte: 'D', name: 'Describe', handling: 'forwarded; the answer feeds the mask plan', test: EXTENDED },
  {
    byte: 'E',
    name: 'Execute',
    handling:
      'judged again if policy or names moved, held if it needs approval, recorded with its values, then forwarded',
    test: EXTENDED,
  },
  { byte: 'C', name: 'Close', handling: 'forwarded; the name is forgotten when the server confirms', test: EXTENDED },
  { byte: 'H', name: 'Flush', handling: 'forwarded', test: EXTENDED },
  {
    byte: 'S',
    name: 'Sync',
    handling:
      'forwarded; ends the skipping after an error; amid COPY data kept back, since the server ignores it there',
    test: EXTENDED,
  },
  {
    byte: 'F',
    name: 'FunctionCall',
    handling: 'resolved by OID and judged as a function, held if it needs approval, recorded, then forwarded',
    test: HELD,
  },
  { byte: 'd', name: 'CopyData', handling: 'streamed', test: COPY },
  { byte: 'c', name: 'CopyDone', handling: 'forwarded', test: COPY },
  { byte: 'f', name: 'CopyFail', handling: 'forwarded', test: COPY },
  { byte: 'X', name: 'Terminate', handling: 'forwarded; the session ends', test: LANE },
  {
    byte: 'p',
    name: 'PasswordMessage and SASL answers',
    handling: 'read during authentication, a protocol error afterwards',
    test: BAD,
  },
];

export const BACKEND: readonly MessageKind[] = [
  {
    byte: 'R',
    name: 'Authentication',
    handling: 'answered by the gateway during start-up, a protocol error afterwards',
    test: FAULTS,
  },
  { byte: 'K', name: 'BackendKeyData', handling: 'process id passed on, secret replaced by one of ours', test: LANE },
  {
    byte: 'S',
    name: 'ParameterStatus',
    handling:
      'forwarded; the session ends when client_encoding or standard_conforming_strings leave their pinned value',
    test: LANE,
  },
  { byte: 'v', name: 'NegotiateProtocolVersion', handling: 'answered by the gateway', test: IDENTITY },
  { byte: 'Z', name: 'ReadyForQuery', handling: 'forwarded; carries the transaction status', test: LANE },
  {
    byte: 'T',
    name: 'RowDescription',
    handling: 'forwarded; makes the mask plan of the rows that follow, and is compared with the prediction',
    test: LANE,
  },
  { byte: 't', name: 'ParameterDescription', handling: 'forwarded', test: EXTENDED },
  { byte: 'n', name: 'NoData', handling: 'forwarded', test: EXTENDED },
  { byte: 'D', name: 'DataRow', handling: 'masked in place of its columns, counted, streamed', test: LANE },
  {
    byte: 'C',
    name: 'CommandComplete',
    handling: 'forwarded; its count goes into the record and is held against the limits',
    test: LANE,
  },
  { byte: 'I', name: 'EmptyQueryResponse', handling: 'forwarded', test: LANE },
  { byte: 's', name: 'PortalSuspended', handling: 'forwarded', test: EXTENDED },
  { byte: '1', name: 'ParseComplete', handling: 'forwarded; the statement name is now in force', test: EXTENDED },
  { byte: '2', name: 'BindComplete', handling: 'forwarded', test: EXTENDED },
  { byte: '3', name: 'CloseComplete', handling: 'forwarded', test: EXTENDED },
  {
    byte: 'E',
    name: 'ErrorResponse',
    handling: 'redacted where the statement touches protected relations; replaced where the gateway made it',
    test: LANE,
  },
  { byte: 'N', name: 'NoticeResponse', handling: 'redacted as errors are', test: LANE },
  { byte: 'A', name: 'NotificationResponse', handling: 'forwarded; content detectors run on its payload', test: LANE },
  { byte: 'G', name: 'CopyInResponse', handling: 'forwarded', test: COPY },
  { byte: 'H', name: 'CopyOutResponse', handling: 'forwarded', test: COPY },
  { byte: 'd', name: 'CopyData', handling: 'content detectors run on its text, counted, streamed', test: COPY },
  { byte: 'c', name: 'CopyDone', handling: 'forwarded', test: COPY },
  { byte: 'V', name: 'FunctionCallResponse', handling: 'forwarded; refused where something is masked', test: EXTENDED },
  { byte: 'W', name: 'CopyBothResponse', handling: 'replication only: the session ends', test: FAULTS },
];

const code = (byte: string): number => byte.charCodeAt(0);

/** Codes by name, for the switches of the relay. */
export const F = {
  Query: code('Q'),
  Parse: code('P'),
  Bind: code('B'),
  Describe: code('D'),
  Execute: code('E'),
  Close: code('C'),
  Flush: code('H'),
  Sync: code('S'),
  FunctionCall: code('F'),
  CopyData: code('d'),
  CopyDone: code('c'),
  CopyFail: code('f'),
  Terminate: code('X'),
  Password: code('p'),
} as const;

export const B = {
  Authentication: code('R'),
  BackendKeyData: code('K'),
  ParameterStatus: code('S'),
  NegotiateProtocolVersion: code('v'),
  ReadyForQuery: code('Z'),
  RowDescription: code('T'),
  ParameterDescription: code('t'),
  NoData: code('n'),
  DataRow: code('D'),
  CommandComplete: code('C'),
  EmptyQuery: code('I'),
  PortalSuspended: code('s'),
  ParseComplete: code('1'),
  BindComplete: code('2'),
  CloseComplete: code('3'),
  Error: code('E'),
  Notice: code('N'),
  Notification: code('A'),
  CopyIn: code('G'),
  CopyOut: code('H'),
  CopyData: code('d'),
  CopyDone: code('c'),
  FunctionResult: code('V'),
  CopyBoth: code('W'),
} as const;

/** Transaction status of ReadyForQuery. */
export const STATUS = { idle: code('I'), transaction: code('T'), failed: code('E') } as const;
