// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the dollar signs are the shell's
import fc from 'fast-check';
import { MARKERS } from '../../support/shell-oracle.ts';
import { LITERAL_LINES } from './literal-lines.ts';
import { OPAQUE_LINES } from './opaque-lines.ts';

/** Everything that means something to some shell, and what stands around it. */
const NASTY = [
  ...' \t\n\r\'"\\$`!*?[](){}<>|&;#~=%^:@+,-./019azAZ_'.split(''),
  ..."&& || |& ;; ;& ;;& &> &>> >& <& >> >| <> << <<- <<< >( <( $( $(( ${ $' $\" && 2>&1 2> 1> 3> &- >&- <&- \\\n '\\'' \"'\" '\"' =( !! ~+ {a,b} [[ ]]".split(
    ' ',
  ),
  ...'pwn if then fi do done case esac in function time coproc eval exec command builtin export x=1 PATH=/ é 日 \u00a0 \u2028 \u200b \u0000 \u001b'.split(
    ' ',
  ),
];
const nasty = fc.constantFrom(...NASTY);
const plain = fc.constantFrom(
  'a',
  'b1',
  '-x',
  '--y=z',
  '/p/q',
  '.',
  '..',
  '2',
  '10',
  '%1',
  'a:b',
  '@',
  '+',
  ',',
  '-',
  '--',
);
const insideSingle = fc.stringMatching(/^[ -&(-~\n\t]{0,6}$/);
const insideDouble = fc.array(
  fc.oneof(fc.stringMatching(/^[ #%-_a-~\n]{0,4}$/), fc.constantFrom('\\"', '\\\\', '\\$', '\\`', '\\a', "'")),
  { maxLength: 3 },
);
const piece = fc.oneof(
  { weight: 4, arbitrary: plain },
  { weight: 2, arbitrary: insideSingle.map((text) => `'${text}'`) },
  { weight: 2, arbitrary: insideDouble.map((parts) => `"${parts.join('')}"`) },
  { weight: 1, arbitrary: fc.stringMatching(/^[ -~]$/).map((char) => `\\${char}`) },
);
const word = fc.array(piece, { minLength: 1, maxLength: 3 }).map((pieces) => pieces.join(''));
const space = fc.constantFrom(' ', ' ', '  ', '\t', '');
const program = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom(...MARKERS) },
  { weight: 1, arbitrary: fc.constantFrom("l's'", 'c\\at', '"id"') },
);
/** `FILES` stands for the folder that lines may write to. */
const redirection = fc
  .tuple(
    fc.constantFrom('', '1', '2', ' ', '0'),
    fc.constantFrom('>', '>>', '>|', '<>', '<'),
    space,
    fc.constantFrom('FILES/a', 'FILES/b', "'FILES/c d'", 'FILES//e', 'FILES/./f', '/dev/null'),
  )
  .map(([fd, operator, gap, target]) => `${fd}${operator}${gap}${target}`);
const duplication = fc.constantFrom('2>&1', '>&2', '1>&2', '2>&-', '<&-', '>&1', '0<&0');
const argument = fc.oneof(
  { weight: 6, arbitrary: word },
  { weight: 1, arbitrary: redirection },
  { weight: 1, arbitrary: duplication },
);
const simple = fc
  .tuple(program, fc.array(fc.tuple(fc.constantFrom(' ', ' ', '\t', '  '), argument), { maxLength: 4 }))
  .map(([name, rest]) => name + rest.map(([gap, text]) => gap + text).join(''));
const operator = fc.constantFrom(';', '&&', '||', '|', '&', '\n', ';\n', '&&\n', '&\n', '\n\n');
const line = fc
  .tuple(
    simple,
    fc.array(fc.tuple(space, operator, space, simple), { maxLength: 3 }),
    fc.constantFrom('', ';', '&', '\n', ' '),
  )
  .map(([first, rest, end]) => first + rest.map((parts) => parts.join('')).join('') + end);

/** A line of the grammar, or a known one, with a few characters put in, taken out, doubled or changed. */
const mutated = fc
  .tuple(
    fc.oneof(
      line,
      fc.constantFrom(...LITERAL_LINES.map(([text]) => text)),
      fc.constantFrom(...OPAQUE_LINES.filter(({ length }) => length < 200)),
    ),
    fc.array(fc.tuple(fc.nat(200), nasty, fc.constantFrom('insert', 'replace', 'delete', 'double')), {
      minLength: 1,
      maxLength: 3,
    }),
  )
  .map(([text, changes]) => {
    let result = text;
    for (const [place, what, how] of changes) {
      const at = result.length === 0 ? 0 : place % (result.length + 1);
      const before = result.slice(0, at);
      const after = result.slice(at);
      if (how === 'insert') result = before + what + after;
      else if (how === 'replace') result = before + what + after.slice(1);
      else if (how === 'delete') result = before + after.slice(1);
      else result = before + after.slice(0, 1) + after;
    }
    return result;
  });
const soup = fc
  .array(fc.oneof(nasty, plain, program, fc.constant(' ')), { minLength: 1, maxLength: 9 })
  .map((parts) => parts.join(''));

/** Lines of all three kinds; the same seed gives the same lines. */
export function generatedLines(seed: number, count: number): readonly string[] {
  const any = fc.oneof(
    { weight: 3, arbitrary: line },
    { weight: 5, arbitrary: mutated },
    { weight: 2, arbitrary: soup },
  );
  return fc.sample(any, { seed, numRuns: count });
}
