import type { CompiledConnection, PolicyScope } from '../../policy/bundle.ts';
import type { Command } from '../../policy/command.ts';
import type { Decision } from '../../policy/decision.ts';
import type { Subject } from '../../policy/subject.ts';
import type { Catalog } from '../../proxy/protocols/postgres/catalog/types.ts';
import { effectiveSearchPath } from '../../proxy/protocols/postgres/relay/search-path.ts';
import { analyse } from '../../proxy/protocols/postgres/sql/analyse.ts';
import { protect } from '../../proxy/protocols/postgres/sql/protection.ts';
import { splitSearchPath } from '../../proxy/protocols/postgres/sql/settings.ts';
import type { Analysis, Protection, StatementEffect } from '../../proxy/protocols/postgres/sql/types.ts';
import type { AskedCommand, AskingSession } from '../../record/replay/asked.ts';
import type { Policies } from '../commands/offline-decision.ts';
import { claimReaders } from './claims.ts';
import { differences, isVerdict, type JudgedChange, verdictDifference } from './compare.ts';
import { requestOf } from './requests.ts';

/** How one recorded command would come out. */
export type Judged =
  | { readonly type: 'unjudged'; readonly reason: string }
  | { readonly type: 'judged'; readonly changes: readonly JudgedChange[] };

/** Decides recorded commands again, each in its session: what earlier ones of it prepared and set counts. */
export interface Judge {
  judge(asked: AskedCommand): Judged;
}

interface SessionState {
  readonly connection: CompiledConnection;
  readonly scope: PolicyScope;
  readonly readers: readonly string[];
  readonly key: string;
  readonly catalog: Catalog | undefined;
  readonly protection: Protection | undefined;
  readonly prepared: Map<string, Analysis>;
  readonly temporary: Set<string>;
  searchPath: readonly string[];
}

const OTHER_WAY = '/* function call */';
const MOST_CACHED = 20_000;
/** @param catalogs of the connections whose database was asked, by NAMESPACE/NAME */
export function createJudge(policies: Policies, catalogs: ReadonlyMap<string, Catalog>): Judge {
  const { bundle, loaded, configuration } = policies;
  const scopes = new Map<string, Omit<SessionState, 'prepared' | 'temporary' | 'searchPath'>>();
  const sessions = new Map<string, SessionState | string>();
  const analyses = new Map<string, Analysis>();
  const decisions = new Map<string, Decision>();

  /** The session's state, or why none of its commands can be judged. */
  function stateOf(session: AskingSession): SessionState | string {
    const known = sessions.get(session.session);
    if (known !== undefined) return known;
    // Sessions come interleaved, and those that are over are not told apart: the oldest go first.
    if (sessions.size >= MOST_CACHED) for (const oldest of sessions.keys()) if (sessions.delete(oldest)) break;
    const made = open(session);
    sessions.set(session.session, made);
    return made;
  }

  function open(session: AskingSession): SessionState | string {
    const label = `${session.namespace}/${session.name}`;
    const connection = bundle.connection(session.namespace, session.name);
    if (connection === undefined) return `these policies have no AccessConnection ${label}`;
    if (connection.protocol === 'SSH') return 'commands of SSH are not judged here';
    const { username, groups, serviceAccount, issuer, onBehalfOf } = session;
    if (username === undefined || groups === undefined) return 'who asked is not recorded with groups';
    const subject: Subject = {
      username,
      groups,
      claims: {},
      ...(serviceAccount === undefined ? {} : { serviceAccount }),
      ...(issuer === undefined ? {} : { issuer }),
      ...(onBehalfOf === undefined ? {} : { onBehalfOf }),
    };
    const key = JSON.stringify([label, username, [...groups].sort(), serviceAccount, issuer, onBehalfOf]);
    let shared = scopes.get(key);
    if (shared === undefined) {
      const scope = bundle.scope(subject, connection);
      const readers = claimReaders(loaded, configuration.guardrailNamespace, subject, connection);
      const catalog = catalogs.get(label);
      const protection = catalog === undefined || !scope.masks.hasColumns ? undefined : protect(catalog, scope.masks);
      shared = { connection, scope, readers, key, catalog, protection };
      scopes.set(key, shared);
    }
    return { ...shared, prepared: new Map(), temporary: new Set(), searchPath: firstPath(shared.catalog) };
  }

  function analysisOf(state: SessionState, text: string): Analysis {
    const { catalog, protection, scope, prepared, temporary, searchPath } = state;
    const names = {
      searchPath,
      role: catalog?.role ?? '',
      catalog,
      temporary,
      relationsAlike: !scope.relationSensitive,
      prepared: (name: string) => prepared.get(name),
    };
    const plain = prepared.size === 0 && temporary.size === 0;
    const key = JSON.stringify([state.key, searchPath, text]);
    const known = plain ? analyses.get(key) : undefined;
    if (known !== undefined) return known;
    const made = analyse(text, names, scope.masks, protection);
    if (plain) {
      if (analyses.size >= MOST_CACHED) analyses.clear();
      analyses.set(key, made);
    }
    return made;
  }

  function decisionOf(state: SessionState, asked: Command, { session, command }: AskedCommand): Decision {
    const key = JSON.stringify([state.key, state.searchPath, asked.text]);
    const plain = state.prepared.size === 0 && state.temporary.size === 0;
    const known = plain ? decisions.get(key) : undefined;
    if (known !== undefined) return known;
    const made = state.scope.decide(asked, {
      now: new Date(command.time),
      session: {
        id: session.session,
        startedAt: new Date(session.startedAt),
        clientAddress: (session.client ?? '').replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1'),
        applicationName: session.application ?? '',
        commands: command.seq - 1,
      },
    });
    if (plain && made.reuse !== 'never') {
      if (decisions.size >= MOST_CACHED) decisions.clear();
      decisions.set(key, made);
    }
    return made;
  }

  return {
    judge(asked) {
      const { command } = asked;
      const state = stateOf(asked.session);
      if (typeof state === 'string') return unjudged(state);
      const { text } = command;
      if (text === undefined) return unjudged('its text is not recorded (audit level Metadata)');
      if (!isVerdict(command.verdict)) return unjudged('the gateway refused it before policy was asked');
      const [reader] = state.readers;
      if (state.connection.protocol !== 'Postgres') {
        if (reader !== undefined) return unjudged(readsClaims(reader));
        const request = requestOf(state.connection, state.scope, text);
        if (typeof request === 'string') return unjudged(request);
        return { type: 'judged', changes: verdictDifference(state, command, decisionOf(state, request, asked)) };
      }
      if (text.startsWith(OTHER_WAY)) return unjudged('it called a function by its number, not by SQL');
      const analysis = analysisOf(state, text);
      const effects = analysis.statements.flatMap((statement) => statement.effects);
      const missing = effects.find((effect) => effect.type === 'execute' && !state.prepared.has(effect.name));
      if (missing !== undefined) return unjudged('it executes a statement by a name that the record does not explain');
      const judged: Judged =
        reader === undefined
          ? {
              type: 'judged',
              changes: differences(state, asked.command, analysis, decisionOf(state, analysis.command, asked)),
            }
          : unjudged(readsClaims(reader));
      if (command.outcome === 'executed') for (const effect of effects) applyEffect(state, effect);
      return judged;
    },
  };
}

const readsClaims = (reader: string): string => `${reader} looks at claims of the token, which are not recorded`;
const unjudged = (reason: string): Judged => ({ type: 'unjudged', reason });

/** A path that can be read in several ways ends a session at the gateway: no name after it means anything. */
const UNREADABLE: readonly string[] = [];

/** What a name without a schema means at first: as the database says, else as in `sallyport explain`. */
function firstPath(catalog: Catalog | undefined): readonly string[] {
  if (catalog === undefined) return ['public'];
  return effectiveSearchPath(catalog.defaultSearchPath, catalog.role, catalog) ?? UNREADABLE;
}

function applyEffect(state: SessionState, effect: StatementEffect): void {
  switch (effect.type) {
    case 'prepare':
      state.prepared.set(effect.name, effect.inner);
      return;
    case 'deallocate':
      if (effect.name === undefined) state.prepared.clear();
      else state.prepared.delete(effect.name);
      return;
    case 'createTemporary':
      state.temporary.add(effect.name);
      return;
    case 'discard':
      if (effect.target === 'ALL') state.prepared.clear();
      if (effect.target === 'ALL' || effect.target === 'TEMP') state.temporary.clear();
      return;
    case 'set': {
      if (effect.name !== 'search_path' || effect.local) return;
      const path = effect.value === undefined ? undefined : splitSearchPath(effect.value);
      const { catalog } = state;
      if (path === undefined) state.searchPath = firstPath(catalog);
      else if (catalog === undefined) state.searchPath = path.filter((name) => name !== '$user');
      else state.searchPath = effectiveSearchPath(effect.value ?? '', catalog.role, catalog) ?? UNREADABLE;
      return;
    }
    case 'transaction':
    case 'show':
    case 'execute':
    case 'declare':
    case 'fetch':
    case 'close':
    case 'copy':
    case 'ddl':
      return;
    default:
      effect satisfies never;
  }
}
