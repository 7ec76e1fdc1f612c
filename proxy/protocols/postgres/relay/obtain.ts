import { isUtf8 } from 'node:buffer';
import { type LaneReport, laneError } from '../errors.ts';
import {
  analyseNow,
  analyseText,
  cachedVerdict,
  createVerdict,
  decideAnalysis,
  redecide,
  type Verdict,
} from '../judge.ts';
import { isUserCode, mayMoveNames } from '../sql/hidden-code.ts';
import { shapeKey } from '../sql/shape.ts';
import type { Analysis } from '../sql/types.ts';
import { STATUS } from '../wire/messages.ts';
import { askServer } from './ask.ts';
import type { Prepared } from './replies.ts';
import { effectiveSearchPath, roleOfLogin } from './search-path.ts';
import type { LaneSession } from './session-state.ts';

/** The message has to be handled again once this has resolved. */
export interface Stall {
  readonly until: Promise<unknown>;
}

export function isStall(value: object): value is Stall {
  return 'until' in value;
}

export function isReport(value: object): value is LaneReport {
  return 'state' in value;
}

/**
 * Finds the verdict for a text: from the caches where nothing has moved, otherwise by bringing policy, catalog and names up to date
 * first. Every wait is a Stall: the caller comes back with the same message.
 */
export class Obtainer {
  readonly #session: LaneSession;
  /** The answers under way may change prepared statements or names: nothing is judged before they are in. */
  fenceNext = false;
  /** Analysis that a wait has brought, for the message that is handled again. */
  #ready: { readonly text: string; readonly analysis: Analysis } | undefined;
  /** Text for which the catalog was just read anew: it is not read a second time for it. */
  #refreshedFor: string | undefined;

  constructor(session: LaneSession) {
    this.#session = session;
  }

  verdict(bytes: Buffer, start: number, end: number): Verdict | LaneReport | Stall {
    const stall = this.#upToDate();
    if (stall !== undefined) return stall;
    const session = this.#session;
    const cached = cachedVerdict(session.environment, bytes, start, end);
    if (cached !== undefined) return cached;
    if (!isUtf8(bytes.subarray(start, end))) return laneError('SPG004');
    const text = bytes.toString('utf8', start, end);
    return this.#byText(text, shapeKey(bytes, start, end));
  }

  /** The verdict of a prepared statement now: judged again when policy or the meaning of names has moved. */
  current(prepared: Prepared): Verdict | LaneReport | Stall {
    const stall = this.#upToDate();
    if (stall !== undefined) return stall;
    const session = this.#session;
    if (prepared.bySql || prepared.verdict.byName) {
      const now = this.#now(prepared);
      return now.analysis.staleCatalog ? (this.#refreshFor(prepared.text) ?? now) : now;
    }
    if (prepared.verdict.environment === session.environment) {
      if (!prepared.verdict.volatile) return prepared.verdict;
      prepared.verdict = redecide(session.judgement, prepared.verdict, this.#context());
      return prepared.verdict;
    }
    const again = this.#byText(prepared.text, undefined);
    if ('decision' in again) prepared.verdict = again;
    return again;
  }

  #context(): Parameters<typeof redecide>[2] {
    return { now: new Date(), session: this.#session.facts };
  }

  #byText(text: string, shape: string | undefined): Verdict | LaneReport | Stall {
    const session = this.#session;
    const known = session.environment.byText.get(text);
    if (known !== undefined) return known.volatile ? redecide(session.judgement, known, this.#context()) : known;
    const analysis = this.#analysis(text);
    if ('until' in analysis) return analysis;
    const refresh = analysis.staleCatalog ? this.#refreshFor(text) : undefined;
    if (refresh !== undefined) return refresh;
    return decideAnalysis(session.judgement, session.environment, analysis, this.#context(), shape);
  }

  /** A name was not found: once for each text, the catalog is read anew before a refusal is believed. */
  #refreshFor(text: string): Stall | undefined {
    const session = this.#session;
    if (!session.judgement.scope.nameSensitive || this.#refreshedFor === text) return undefined;
    this.#refreshedFor = text;
    return { until: session.catalogs.refresh() };
  }

  /** What a prepared statement does under the names of now. */
  #now(prepared: Prepared): Verdict {
    const session = this.#session;
    const { judgement, environment } = session;
    const { verdict } = prepared;
    if (verdict.environment === environment && !verdict.byName && !verdict.volatile) return verdict;
    const whole = analyseNow(judgement, environment, prepared.text, this.#preparedNow);
    const analysis = prepared.bySql ? (preparedIn(whole, prepared.name) ?? whole) : whole;
    const decision = judgement.scope.decide(analysis.command, this.#context());
    prepared.verdict = createVerdict(analysis, decision, environment, judgement.scope);
    return prepared.verdict;
  }

  /** Names of prepared statements that are being judged, so that one that executes itself comes to an end. */
  readonly #judging = new Set<string>();

  /** EXECUTE is judged by what the name means now, not by what it meant when it was prepared. */
  readonly #preparedNow = (name: string): Analysis | undefined => {
    const prepared = this.#session.prepared.get(name);
    if (prepared === undefined || this.#judging.has(name)) return undefined;
    this.#judging.add(name);
    try {
      return this.#now(prepared).analysis;
    } finally {
      this.#judging.delete(name);
    }
  };

  #analysis(text: string): Analysis | Stall {
    const session = this.#session;
    const ready = this.#ready;
    this.#ready = undefined;
    if (ready?.text === text) return ready.analysis;
    const analysis = analyseText(session.judgement, session.environment, text, this.#preparedNow);
    if (!(analysis instanceof Promise)) return analysis;
    return {
      until: analysis.then((done) => {
        this.#ready = { text, analysis: done };
      }),
    };
  }

  /** Whether what follows must wait for the answer: the statement changes names or prepared statements. */
  fences(verdict: Verdict): boolean {
    const { analysis } = verdict;
    const sensitive = this.#session.judgement.scope.nameSensitive;
    const { tuples } = analysis.command;
    const userCode =
      tuples.some(isUserCode) ||
      analysis.statements.some(({ effects }) => mayMoveNames(tuples, effects, verdict.environment.catalog));
    if (userCode && sensitive) {
      this.#session.namesMoved = true;
      this.#session.namesMovedInTransaction = true;
    }
    if (!verdict.hasEffects) return userCode && sensitive;
    return analysis.statements.some((statement) =>
      statement.effects.some(({ type }) => {
        switch (type) {
          case 'prepare':
          case 'deallocate':
          case 'discard':
            return true;
          case 'set':
          case 'createTemporary':
          case 'ddl':
            return sensitive;
          case 'transaction':
            return sensitive && (this.#session.namesMovedInTransaction || this.#session.uncommitted);
          case 'declare':
          case 'close':
            return this.#session.portals.size > 0;
          case 'show':
          case 'execute':
          case 'fetch':
          case 'copy':
            return false;
          default:
            return type satisfies never;
        }
      }),
    );
  }

  #upToDate(): Stall | undefined {
    const session = this.#session;
    if (session.cancelling !== undefined) return { until: session.cancelling };
    if (session.ports.bundles.current() !== session.bundle) return { until: session.rescope() };
    if (this.fenceNext) {
      if (session.replies.size > 0) return { until: this.#answers() };
      this.fenceNext = false;
    }
    const { nameSensitive, readOnly } = session.judgement.scope;
    // Within a transaction it stays what it was: the server would refuse to change it after the first query.
    if (session.readOnly !== readOnly && session.status === STATUS.idle && !session.inBatch) {
      return { until: this.#moveReadOnly(readOnly) };
    }
    return nameSensitive ? this.#names() : undefined;
  }

  /** The policy changed: a session that only read may write now, or the other way round. */
  async #moveReadOnly(readOnly: boolean): Promise<void> {
    const session = this.#session;
    await session.drained();
    if (session.ended) return;
    await askServer(session, [`SET default_transaction_read_only TO ${readOnly ? 'on' : 'off'}`]);
    session.readOnly = readOnly;
  }

  #answers(): Promise<void> {
    if (this.#session.inBatch) this.#session.send(FLUSH);
    return this.#session.drained();
  }

  #names(): Stall | undefined {
    const session = this.#session;
    if (session.catalogMoved) {
      session.catalogMoved = false;
      return { until: session.catalogs.refresh() };
    }
    const catalog = session.catalogs.current();
    if (catalog === undefined) return { until: session.catalogs.refresh() };
    // A schema of the path may have come into being, or gone.
    if (session.environment.catalog !== catalog) session.namesMoved = true;
    // In a failed transaction the server takes nothing that has names in it.
    if (session.namesMoved && session.status !== STATUS.failed) {
      if (session.replies.size > 0) return { until: this.#answers() };
      return { until: this.#probe() };
    }
    if (session.environment.catalog !== catalog || session.environment.uncommitted !== session.uncommitted)
      this.#move(session.environment.searchPath, session.environment.role);
    return undefined;
  }

  async #probe(): Promise<void> {
    const session = this.#session;
    // SHOW takes no snapshot and starts nothing.
    const [path = '', shownRole = '', login = ''] = await askServer(session, PROBE);
    if (session.ended) return;
    const catalog = session.catalogs.current() ?? (await session.catalogs.refresh());
    const own = login === session.login ? roleOfLogin(login, catalog) : login;
    const role = shownRole === 'none' ? own : shownRole;
    // Which schemas another role may use, the snapshot does not tell.
    const schemas = role === catalog.role ? effectiveSearchPath(path, role, catalog) : await this.#schemasOfRole();
    if (session.ended) return;
    if (schemas === undefined) {
      session.fail(laneError('SPG034'));
      return;
    }
    session.namesMoved = false;
    this.#move(schemas, role);
  }

  /** Asked of the server itself, which knows the rights of the role that the session has taken. */
  async #schemasOfRole(): Promise<string[]> {
    const [answer = '[]'] = await askServer(this.#session, [EFFECTIVE_SCHEMAS]);
    return [...new Set(JSON.parse(answer) as string[])].filter((name) => !name.startsWith('pg_temp_'));
  }

  #move(searchPath: readonly string[], role: string): void {
    const session = this.#session;
    const temporary = new Set(session.temporary);
    session.environment = session.judgement.environment({
      searchPath,
      role,
      catalog: session.catalogs.current(),
      temporary,
      uncommitted: session.uncommitted,
    });
  }
}

/** What a query string prepares under a name: the last wins, as it does on the server when the first was deallocated. */
function preparedIn(whole: Analysis, name: string): Analysis | undefined {
  const effects = whole.statements.flatMap((statement) => statement.effects);
  const found = effects.findLast((effect) => effect.type === 'prepare' && effect.name === name);
  return found?.type === 'prepare' ? found.inner : undefined;
}

/** Of SET SESSION AUTHORIZATION, which SHOW role does not tell. */
const SHOW_LOGIN = 'SHOW session_authorization';
const PROBE = ['SHOW search_path', 'SHOW role', SHOW_LOGIN] as const;

const EFFECTIVE_SCHEMAS = 'SELECT pg_catalog.array_to_json(pg_catalog.current_schemas(false))';

const FLUSH = Buffer.from([0x48, 0, 0, 0, 4]);
