import { readFile, stat } from 'node:fs/promises';
import { type Document, LineCounter, parseAllDocuments } from 'yaml';
import { apiMessage } from './errors.ts';
import { filesOf, MAX_FILE_BYTES } from './files.ts';
import { type KeyValueManifest, type KeyValues, readKeyValues } from './key-values.ts';
import { booleansOfKubectl } from './kubectl-booleans.ts';
import { type Locate, locator, type Place } from './places.ts';
import type { AccessConnection, AccessPolicy, MaskingRule, Resources } from './resources.ts';
import { API_VERSION, checkStructure, KINDS, type Kind, pruneNulls } from './schema.ts';
import { closest } from './spelling.ts';
import { pathText, structureProblems } from './structure-error.ts';

export type { KeyValues } from './key-values.ts';
export type { Locate, Place } from './places.ts';

/** Something wrong in a file, at a place that an editor can jump to. */
export interface Finding extends Place {
  readonly severity: 'error' | 'warning';
  readonly code: string;
  readonly message: string;
  /** What to write instead. */
  readonly fix?: string;
}

/** An object that means nothing to Sallyport, such as a Role. */
export interface PassedOver extends Place {
  readonly apiVersion: string;
  readonly kind: string;
}

export interface Loaded {
  /** Objects without an error, with their defaults and their namespace. */
  readonly resources: Resources;
  readonly keyValues: readonly KeyValues[];
  readonly findings: readonly Finding[];
  /** By `KIND/NAMESPACE/NAME`. */
  readonly places: ReadonlyMap<string, Locate>;
  /** Files that were read, for watching. */
  readonly files: readonly string[];
  readonly passedOver: readonly PassedOver[];
}

export interface RuleViolation {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** Checks of one object besides its structure: the CRD's CEL rules. Paths are within the object. */
export type CheckObject = (kind: Kind, object: unknown) => readonly RuleViolation[];

const MAX_ALIASES = 100;
/** Of one document: what follows the first few is mostly their consequence. */
const MAX_SYNTAX_ERRORS = 5;
const DEFAULT_NAMESPACE = 'default';
/** Files of `sallyport run -c` and `sallyport test`, which may lie beside the resources. */
const OTHER_KINDS = new Set(['SallyportConfiguration', 'SallyportTest']);

interface Manifest extends KeyValueManifest {
  readonly apiVersion?: unknown;
  readonly kind?: unknown;
  readonly metadata?: Readonly<Record<string, unknown>> | null;
  readonly items?: unknown;
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

type Code = 'SPA001' | 'SPA002' | 'SPA003' | 'SPA004' | 'SPA005' | 'SPA012' | 'SPA013' | 'SPA014' | 'SPA020';

/**
 * Reads every YAML file under the paths. What is wrong becomes findings, with file, line and column; only objects without an error
 * are among the resources. Kinds that are not ours, such as RBAC, are passed over.
 */
export async function loadResources(paths: readonly string[], checkObject: CheckObject): Promise<Loaded> {
  const findings: Finding[] = [];
  const places = new Map<string, Locate>();
  const connections: AccessConnection[] = [];
  const policies: AccessPolicy[] = [];
  const maskingRules: MaskingRule[] = [];
  const keyValues: KeyValues[] = [];
  const passedOver: PassedOver[] = [];
  const files: string[] = [];

  function report(
    place: Place,
    code: Code,
    fill: readonly string[],
    fix?: string,
    severity: Finding['severity'] = 'error',
  ): void {
    const row = apiMessage(code, fill);
    const advice = fix ?? row.fix;
    findings.push({ severity, ...place, code, message: row.message, ...(advice === '' ? {} : { fix: advice }) });
  }

  /** Whether the object is ours; reports what only looks like it, since a Deny that is silently left out would open a door. */
  function recognise(manifest: Manifest, locate: Locate): Kind | 'Secret' | 'ConfigMap' | undefined {
    const { apiVersion, kind } = manifest;
    if (typeof apiVersion !== 'string' || typeof kind !== 'string') {
      const missing = typeof apiVersion === 'string' ? 'kind' : 'apiVersion';
      report(
        locate([missing]),
        'SPA003',
        ['the object', `it has no ${missing}`],
        `Write apiVersion: ${API_VERSION} and the kind.`,
      );
      return undefined;
    }
    if (apiVersion === 'v1' && (kind === 'Secret' || kind === 'ConfigMap')) return kind;
    const ours = Object.hasOwn(KINDS, kind);
    if (apiVersion === API_VERSION && (ours || OTHER_KINDS.has(kind))) return ours ? (kind as Kind) : undefined;
    const group = apiVersion.split('/')[0] ?? '';
    if (ours || group === 'sallyport.dev' || closest(group, ['sallyport.dev']) !== undefined) {
      if (apiVersion !== API_VERSION) {
        report(
          locate(['apiVersion']),
          'SPA003',
          [kind, `there is no apiVersion ${apiVersion}`],
          `Write ${API_VERSION}.`,
        );
      } else {
        const meant = closest(kind, Object.keys(KINDS));
        const fix = meant === undefined ? `Kinds are ${Object.keys(KINDS).join(', ')}.` : `Write ${meant}.`;
        report(locate(['kind']), 'SPA003', [kind, 'there is no such kind'], fix);
      }
      return undefined;
    }
    passedOver.push({ ...locate([]), apiVersion, kind });
    return undefined;
  }

  function object(manifest: Manifest, locate: Locate): void {
    if (manifest.apiVersion === 'v1' && manifest.kind === 'List' && Array.isArray(manifest.items)) {
      manifest.items.forEach((item: unknown, index) => {
        entry(item, (path) => locate(['items', index, ...path]));
      });
      return;
    }
    const kind = recognise(manifest, locate);
    if (kind === undefined) return;
    const { metadata } = manifest;
    const namespace = typeof metadata?.['namespace'] === 'string' ? metadata['namespace'] : DEFAULT_NAMESPACE;
    const name = typeof metadata?.['name'] === 'string' ? metadata['name'] : '';
    const label = `${kind} ${namespace}/${name === '' ? '(no name)' : name}`;
    const key = `${kind}/${namespace}/${name}`;
    const first = name === '' ? undefined : places.get(key);
    if (first !== undefined) {
      const place = first(['metadata', 'name']);
      report(locate(['metadata', 'name']), 'SPA004', [label, `${place.file}:${place.line}:${place.column}`]);
      return;
    }
    places.set(key, locate);
    if (kind === 'Secret' || kind === 'ConfigMap') {
      if (name === '') report(locate(['metadata']), 'SPA003', [label, 'metadata needs name'], 'Add metadata.name.');
      const { object: store, problems } = readKeyValues(manifest, kind, namespace, name);
      for (const { path, message, fix } of problems) report(locate(path), 'SPA003', [label, message], fix);
      if (name !== '' && problems.length === 0) keyValues.push(store);
      return;
    }
    if (correct(kind, manifest, label, locate)) keep(kind, { ...manifest, metadata: { ...metadata, namespace } });
  }

  function correct(kind: Kind, manifest: Manifest, label: string, locate: Locate): boolean {
    for (const path of pruneNulls(kind, manifest))
      report(locate(path), 'SPA020', [label, pathText(path)], undefined, 'warning');
    const wrong = checkStructure(kind, manifest);
    for (const { path, message, fix } of structureProblems(wrong)) {
      report(locate(path), 'SPA003', [label, message], fix);
    }
    if (wrong.length > 0) return false;
    const broken = checkObject(kind, manifest);
    for (const { path, message } of broken) report(locate(path), 'SPA012', [label, pathText(path), message]);
    return broken.length === 0;
  }

  function keep(kind: Kind, complete: unknown): void {
    switch (kind) {
      case 'AccessConnection':
        connections.push(complete as AccessConnection);
        return;
      case 'AccessPolicy':
        policies.push(complete as AccessPolicy);
        return;
      case 'MaskingRule':
        maskingRules.push(complete as MaskingRule);
        return;
      case 'ApprovalRequest':
        // Made by the gateway itself; one in a folder is checked and means nothing.
        return;
      default: {
        const never: never = kind;
        throw new Error(`unknown kind ${String(never)}`);
      }
    }
  }

  function entry(value: unknown, locate: Locate): void {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      report(
        locate([]),
        'SPA003',
        ['the document', 'it is not an object'],
        `Write apiVersion: ${API_VERSION}, kind, metadata and spec.`,
      );
    } else object(value as Manifest, locate);
  }

  function document(path: string, parsed: Document.Parsed, lines: LineCounter): void {
    const place = (offset: number): Place => {
      const { line, col } = lines.linePos(offset);
      return { file: path, line, column: col };
    };
    for (const error of parsed.errors.slice(0, MAX_SYNTAX_ERRORS))
      report(place(error.pos[0]), 'SPA002', [yamlMessage(error.message)]);
    if (parsed.errors.length > 0) return;
    const locate = locator(path, parsed, lines, []);
    let value: unknown;
    try {
      value = parsed.toJS({ maxAliasCount: MAX_ALIASES });
    } catch (error) {
      report(locate([]), 'SPA002', [yamlMessage(textOf(error))]);
      return;
    }
    if (value === null || value === undefined) return;
    const before = passedOver.length;
    entry(value, locate);
    if (passedOver.length > before) return;
    for (const { offset, source } of booleansOfKubectl(parsed)) {
      report(place(offset), 'SPA014', [source], `Write "${source}", or true or false.`);
    }
  }

  async function file(path: string): Promise<void> {
    const top = { file: path, line: 1, column: 1 };
    let text: string;
    try {
      const { size } = await stat(path);
      if (size > MAX_FILE_BYTES) {
        report(top, 'SPA013', [path, String(size), String(MAX_FILE_BYTES)]);
        return;
      }
      text = await readFile(path, 'utf8');
    } catch (error) {
      report(top, 'SPA001', [path, textOf(error)]);
      return;
    }
    files.push(path);
    const lines = new LineCounter();
    try {
      for (const parsed of parseAllDocuments(text, {
        lineCounter: lines,
        uniqueKeys: true,
        merge: true,
        prettyErrors: false,
      })) {
        if ('contents' in parsed) document(path, parsed as Document.Parsed, lines);
      }
    } catch (error) {
      // Brackets nested thousands deep end the parser itself.
      if (!(error instanceof RangeError)) throw error;
      report(top, 'SPA002', ['it is nested too deep']);
    }
  }

  const seen = new Set<string>();
  for (const path of paths) {
    let inside: string[];
    try {
      inside = await filesOf(path);
    } catch (error) {
      report({ file: path, line: 1, column: 1 }, 'SPA001', [path, textOf(error)]);
      continue;
    }
    for (const each of inside) {
      // A folder and a file in it may both be named.
      if (seen.has(each)) continue;
      seen.add(each);
      await file(each);
    }
  }
  return { resources: { connections, policies, maskingRules }, keyValues, findings, places, files, passedOver };
}

/** The parser's sentence without the piece of the file that follows it, which may be of a Secret. */
function yamlMessage(message: string): string {
  const [first = ''] = message.split('\n');
  return first.replace(/: ".*$/, '').slice(0, 200);
}
