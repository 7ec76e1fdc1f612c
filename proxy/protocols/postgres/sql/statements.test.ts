import { expect, test } from 'vitest';
import { run, shown } from './analyse.fixture.ts';
import { STATEMENT_TABLE } from './statements.fixture.ts';

test.each(STATEMENT_TABLE)('%s', (sql, statement, tuples) => {
  const analysis = run(sql);
  const [first] = analysis.statements;
  const marks = `${first?.kind}${first?.writes ? ' writes' : ''}${first?.modifiesRows ? ' modifies' : ''}${first?.returnsRows ? ' rows' : ''}`;
  expect(analysis.parseError).toBeUndefined();
  expect(marks).toBe(statement);
  const refused = analysis.refusal === undefined ? '' : ` REFUSED ${analysis.refusal.code}`;
  expect(shown(analysis) + refused).toBe(tuples);
});
