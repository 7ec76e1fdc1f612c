import type { ApprovalRequirement } from '../../../../policy/decision.ts';
import type { ApprovalTicket, EffectPreview } from '../../../ports.ts';
import { type LaneReport, laneError } from '../errors.ts';
import { fingerprintOf, MOST_SHOWN, NO_PREVIEW, present, type Shown } from '../held/present.ts';
import { measure, type PreviewGround, preview } from '../held/preview.ts';
import type { Verdict } from '../judge.ts';
import * as encode from '../wire/encode.ts';
import { storeRefused } from './approval-words.ts';
import type { AskedCommand } from './hold.ts';
import { meaningOf, namedStatements } from './meaning.ts';
import type { Outbound } from './outbound.ts';
import { type Portal, Reply } from './replies.ts';
import type { LaneSession } from './session-state.ts';

/** The preview is waited for this long before people are asked; one that takes longer is handed in later. In milliseconds. */
const PREVIEW_WAIT_MS = 250;

/** A command that people were asked about, with what they may still ask themselves. */
export interface Asked {
  readonly ticket: ApprovalTicket;
  readonly shown: Shown;
  readonly ground: PreviewGround;
  readonly previewing: Promise<EffectPreview>;
}

/** Makes of a command what people read, and hands it to the store. */
export class Asking {
  readonly #session: LaneSession;
  readonly #out: Outbound;

  constructor(session: LaneSession, out: Outbound) {
    this.#session = session;
    this.#out = out;
  }

  #failed(what: string, error: unknown): void {
    this.#session.ports.failed(this.#session.id, what, error instanceof Error ? error : new Error(String(error)));
  }

  /**
   * Asks the store, outside of any transaction. Undefined: the signal has fired before there was anything to ask.
   * @throws when the server refuses to tell what the session is set to
   */
  async submit(
    requirements: readonly ApprovalRequirement[],
    verdict: Verdict,
    command: AskedCommand,
    signal: AbortSignal,
  ): Promise<Asked | LaneReport | undefined> {
    const session = this.#session;
    await this.#endImplicit(command.portal);
    const meaning = await meaningOf(session, verdict.analysis);
    if (signal.aborted) return undefined;
    await this.#findTypes(command.portal);
    if (signal.aborted) return undefined;
    const shown = shownOf(command, verdict);
    const { text, parameters, formats } = shown;
    const named = [...namedStatements(session, verdict.analysis)].map(
      ([name, statement]) => [name, { ...statement, parameters: [], formats: [], types: [] }] as const,
    );
    const presentation = present(shown, verdict, new Map(named), session.masking.content);
    const bytes = Buffer.byteLength(presentation.display);
    if (bytes > MOST_SHOWN) return laneError('SPG029', String(bytes));
    const ground: PreviewGround = {
      environment: { ...verdict.environment, prepared: () => undefined },
      // A login made for the session is not the preview's: that one has the same rights under a name of its own.
      role: meaning.settings['role'] || undefined,
      settings: meaning.changed,
      dial: (dialled) => session.dial(dialled),
    };
    const previewing = preview(shown, ground, signal);
    const soon = await sooner(previewing, PREVIEW_WAIT_MS);
    const submitted = await session.ports.approvals.submit({
      connection: session.connection,
      subject: session.identity.subject,
      sessionId: session.id,
      target: { database: session.database },
      text,
      values: parameters.map((bytes, index) => ({ format: formats[index] === 1 ? 'binary' : 'text', bytes })),
      settings: meaning.settings,
      requirements,
      fingerprint: fingerprintOf(text, verdict),
      presentation: { ...presentation, preview: soon ?? NO_PREVIEW('it is still being made') },
    });
    if ('state' in submitted) return storeRefused(submitted, requirements);
    if (soon === undefined) this.#handIn(submitted, previewing);
    return { ticket: submitted, shown, ground, previewing };
  }

  /**
   * Parse and Bind have opened an implicit transaction, and Parse has locked the tables of the statement: nothing has run in it, so
   * it is ended here, and the portal is bound again before it runs.
   */
  async #endImplicit(portal: Portal | undefined): Promise<void> {
    const session = this.#session;
    if (!session.inBatch) return;
    this.#askFor();
    this.#out.batchEnded();
    if (portal !== undefined) portal.unbound = true;
    await session.drained();
  }

  /** A message of the gateway's own, and a Sync behind it; the client hears of neither. */
  #askFor(reply?: Reply, bytes: Buffer = Buffer.alloc(0)): void {
    const end = new Reply('sync');
    for (const own of reply === undefined ? [end] : [reply, end]) {
      own.swallow = true;
      this.#session.replies.push(own);
    }
    this.#out.inject(Buffer.concat([bytes, encode.sync()]));
  }

  /** Binary values are read by their types, which only the server knows when the client left them open. */
  async #findTypes(portal: Portal | undefined): Promise<void> {
    if (portal === undefined) return;
    const { statement, parameters, formats } = portal;
    const open = parameters.some((value, index) => value !== null && formats[index] === 1 && !statement.types[index]);
    if (!open || statement.bySql) return;
    const reply = new Reply('describeStatement');
    reply.prepared = statement;
    this.#askFor(reply, encode.describe('S', statement.name));
    await this.#session.drained();
  }

  #handIn(ticket: ApprovalTicket, previewing: Promise<EffectPreview>): void {
    previewing
      .then((made) => ticket.previewed(made))
      .catch((error: unknown) => this.#failed('a preview could not be handed in', error));
  }

  /** Until the signal fires, an approver may have the rows counted. */
  countOnRequest({ ticket, shown, ground, previewing }: Asked, signal: AbortSignal): void {
    let counting = false;
    const unsubscribe = ticket.onCountWanted(() => {
      if (counting || signal.aborted) return;
      counting = true;
      previewing
        .then((known) => measure(shown, ground, known, signal))
        .then((measured) => ticket.previewed(measured))
        .catch((error: unknown) => this.#failed('a count could not be handed in', error))
        .finally(() => {
          counting = false;
        });
    });
    signal.addEventListener('abort', unsubscribe, { once: true });
  }
}

function shownOf({ text, portal, parameters = [], formats = [] }: AskedCommand, { analysis }: Verdict): Shown {
  if (portal === undefined) return { text, analysis, parameters, formats, types: [] };
  return { text, analysis, parameters: portal.parameters, formats: portal.formats, types: portal.statement.types };
}

/** The value when it comes within so many milliseconds. */
async function sooner<T>(work: Promise<T>, milliseconds: number): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), milliseconds);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
