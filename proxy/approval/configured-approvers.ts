import { stat } from 'node:fs/promises';
import { type ApproverConfiguration, readConfiguration } from '../../api/configuration.ts';
import { parsePublicKey } from '../../approval/keys.ts';
import type { ConnectionName, Signer, SignerDirectory, Signers, Voter } from '../../approval/signers.ts';
import { NO_SIGNERS } from '../../approval/signers.ts';
import { keyId } from '../../approval/vote.ts';
import { compileGlob } from '../../policy/glob.ts';
import type { ApprovalLog } from './context.ts';
import { causeOf } from './errors.ts';

/** The approvers of a configuration: each has a key of their own and signs for themselves alone. */
export function signersOf(approvers: readonly ApproverConfiguration[]): Signers {
  if (approvers.length === 0) return NO_SIGNERS;
  const keys = new Map<string, Signer>();
  const people = approvers.map(({ name, publicKey, groups = [], subjects = [], connections }) => {
    const key = parsePublicKey(publicKey);
    if (key !== undefined) keys.set(keyId(key), { kind: 'voter', name, key });
    const globs = connections?.map(compileGlob);
    const voter: Voter = { name, groups, subjects };
    const may = (connection: ConnectionName): boolean =>
      globs === undefined || globs.some((glob) => glob.matches(`${connection.namespace}/${connection.name}`));
    return { voter, may };
  });
  return {
    signer: (id) => keys.get(id),
    // Groups are those of the configuration: nobody vouches for their own.
    voter: (name, _groups, connection) =>
      Promise.resolve(people.find(({ voter, may }) => voter.name === name && may(connection))?.voter),
    voters: (connection) => people.filter(({ may }) => may(connection)).map(({ voter }) => voter),
  };
}

/** Nobody, for as long as the file is broken: unlike `NO_SIGNERS` it says that approvals are set up. */
const NOBODY: Signers = { ...NO_SIGNERS };

/** A file that was written a moment ago may be written again without its times telling. */
const UNSETTLED_MS = 2000;

/**
 * The approvers of a configuration file, read again whenever it changed: it is looked at for each count of votes, so that there is no
 * moment in which a right that was taken away still counts. While the file is broken nobody has a right.
 * @param path undefined: a gateway without a configuration, and so without approvers
 */
export function createConfiguredApprovers(path: string | undefined, log: ApprovalLog): SignerDirectory {
  let known: { readonly stamp: string; readonly settled: boolean; readonly signers: Signers } | undefined;
  let told: string | undefined;
  let running: Promise<Signers> | undefined;
  let queued: Promise<Signers> | undefined;

  function warn(message: string, detail: string): Signers {
    if (told !== detail) log.warn({ error: detail }, message);
    told = detail;
    return NOBODY;
  }

  async function read(file: string): Promise<Signers> {
    let stamp: string;
    let settled: boolean;
    try {
      const { ino, size, mtimeMs, ctimeMs } = await stat(file);
      stamp = [ino, size, mtimeMs, ctimeMs].join(' ');
      settled = Date.now() - ctimeMs > UNSETTLED_MS;
    } catch (error) {
      known = undefined;
      return warn('the configuration cannot be read, so nobody may approve', causeOf(error));
    }
    if (known?.settled === true && known.stamp === stamp) return known.signers;
    const { configuration, findings } = await readConfiguration(file);
    const signers =
      configuration === undefined
        ? warn('the configuration is broken, so nobody may approve', findings[0]?.message ?? 'unknown')
        : signersOf(configuration.approvers);
    if (configuration !== undefined) told = undefined;
    known = { stamp, settled, signers };
    return signers;
  }

  function start(file: string): Promise<Signers> {
    running = read(file).finally(() => {
      running = undefined;
    });
    return running;
  }

  return {
    current() {
      if (path === undefined) return Promise.resolve(NO_SIGNERS);
      if (running === undefined) return start(path);
      // Who comes while a read runs cannot know whether it saw the newest file: all of them share the next one.
      queued ??= running.then(() => {
        queued = undefined;
        return start(path);
      });
      return queued;
    },
  };
}
