/** One case as a report of JUnit's kind knows it. Durations in milliseconds. */
export interface ReportedCase {
  readonly suite: string;
  readonly name: string;
  readonly file: string;
  readonly line: number;
  readonly durationMs: number;
  /** Absent when it passed. */
  readonly failure?: string;
}

/** Characters that XML 1.0 cannot hold at all (section 2.2) become U+FFFD. */
const NOT_XML = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu;
const ENTITIES: Readonly<Record<string, string>> = {
  '<': '&lt;',
  '>': '&gt;',
  '&': '&amp;',
  '"': '&quot;',
  '\n': '&#10;',
};

function escapeXml(text: string): string {
  return text.replace(NOT_XML, '\ufffd').replace(/[<>&"\n]/g, (character) => ENTITIES[character] ?? character);
}

/** The XML that CI systems read (testsuites, testsuite, testcase, failure). */
export function junitXml(cases: readonly ReportedCase[]): string {
  const suites = new Map<string, ReportedCase[]>();
  for (const one of cases) suites.set(one.suite, [...(suites.get(one.suite) ?? []), one]);
  const failures = (list: readonly ReportedCase[]): number =>
    list.filter(({ failure }) => failure !== undefined).length;
  const time = (list: readonly ReportedCase[]): string =>
    (list.reduce((sum, { durationMs }) => sum + durationMs, 0) / 1000).toFixed(3);
  const body = [...suites].map(([name, list]) => {
    const rows = list.map(({ name: title, file, line, durationMs, failure }) => {
      const head = `    <testcase classname="${escapeXml(name)}" name="${escapeXml(title)}" file="${escapeXml(file)}" line="${line}" time="${(durationMs / 1000).toFixed(3)}"`;
      if (failure === undefined) return `${head}/>`;
      return `${head}>\n      <failure message="${escapeXml(failure)}"/>\n    </testcase>`;
    });
    return `  <testsuite name="${escapeXml(name)}" tests="${list.length}" failures="${failures(list)}" time="${time(list)}">\n${rows.join('\n')}\n  </testsuite>`;
  });
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites tests="${cases.length}" failures="${failures(cases)}" time="${time(cases)}">\n${body.join('\n')}\n</testsuites>\n`;
}
