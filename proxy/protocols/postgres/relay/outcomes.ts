import type { ApprovalGrant } from '../../../ports.ts';
import { Reply } from './replies.ts';
import type { LaneSession } from './session-state.ts';

/** A Sync has nothing of its own to remember. */
const SYNC = new Reply('sync');

/** What became of the commands that people approved: told to the store once it is certain. */
export class Outcomes {
  readonly #session: LaneSession;
  /** Approved, recorded, and about to be forwarded. */
  #granted: ApprovalGrant | undefined;
  /** One of this pipeline is followed to the Sync that ends it. */
  #toSync = false;
  /** Ran in a pipeline whose end is not known yet. */
  readonly #unsettled: { readonly grant: ApprovalGrant; failures: number }[] = [];

  constructor(session: LaneSession) {
    this.#session = session;
  }

  /** The command that is forwarded next runs by this right. */
  expect(grant: ApprovalGrant): void {
    this.#granted = grant;
  }

  /** Follows the command that was just released to its outcome. Nothing is told when the connection breaks: that is not known. */
  follow(reply: Reply): void {
    const grant = this.#granted;
    if (grant === undefined) return;
    this.#granted = undefined;
    const before = reply.settled;
    const session = this.#session;
    const inPipeline = reply.kind === 'execute';
    this.#toSync ||= inPipeline;
    reply.settled = (ok) => {
      before?.(ok);
      if (session.ended) return;
      // What a pipeline did is undone when something later in it fails.
      if (ok && inPipeline) this.#unsettled.push({ grant, failures: session.failures });
      else this.settle(grant, ok ? 'Executed' : 'Failed');
    };
  }

  /** The reply to a Sync: with it, what ran in the pipeline is committed or not. */
  sync(): Reply {
    if (!this.#toSync) return SYNC;
    this.#toSync = false;
    const reply = new Reply('sync');
    reply.settled = () => {
      for (const { grant, failures } of this.#unsettled.splice(0))
        this.settle(grant, failures === this.#session.failures ? 'Executed' : 'Failed');
    };
    return reply;
  }

  settle(grant: ApprovalGrant, outcome: 'Executed' | 'Failed'): void {
    grant
      .settle(outcome)
      .catch((error: Error) => this.#session.ports.failed(this.#session.id, 'the outcome could not be written', error));
  }
}
