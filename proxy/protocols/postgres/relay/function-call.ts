import type { FunctionTuple, SqlCommand } from '../../../../policy/command.ts';
import { type LaneReport, laneError } from '../errors.ts';
import { createVerdict, type Verdict } from '../judge.ts';
import { judgeFunction } from '../sql/functions.ts';
import type { Analysis } from '../sql/types.ts';
import type { Stall } from './obtain.ts';
import type { LaneSession } from './session-state.ts';

/**
 * FunctionCall, the fast path that libpq's large objects use: the OID is resolved in the catalog and judged as the function that
 * it is. Its answer has no origin that masking could go by, so it is refused wherever something is masked.
 */
export function functionVerdict(session: LaneSession, oid: number): Verdict | LaneReport | Stall {
  if (!session.masking.masks.empty) return laneError('SPG026', String(oid));
  const catalog = session.catalogs.current();
  if (catalog === undefined) return { until: session.catalogs.refresh() };
  const found = catalog.functionByOid(oid);
  if (found === undefined) return laneError('SPG026', String(oid));
  const name = `${found.schema}.${found.name}`;
  const tuple: FunctionTuple = {
    type: 'function',
    schema: found.schema,
    name: found.name,
    statement: 0,
    judgement: judgeFunction(found),
  };
  const command: SqlCommand = {
    protocol: 'Postgres',
    text: `/* function call, OID ${oid} */ SELECT ${name}(...)`,
    statements: [
      { kind: 'Select', hasWhere: false, hasLimit: false, hasLiterals: false, relations: [], functions: [name] },
    ],
    tuples: [{ type: 'kind', kind: 'Select', statement: 0 }, tuple],
  };
  const analysis: Analysis = {
    command,
    statements: [
      {
        kind: 'Select',
        writes: true,
        modifiesRows: false,
        returnsRows: true,
        effects: [],
        touchesProtected: false,
        protectedParameters: [],
        protectedLiterals: [],
      },
    ],
    shapeStable: false,
    staleCatalog: false,
  };
  const decision = session.judgement.scope.decide(command, { now: new Date(), session: session.facts });
  return createVerdict(analysis, decision, session.environment, session.judgement.scope);
}
