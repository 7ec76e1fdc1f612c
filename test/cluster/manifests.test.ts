/** What the CRDs say, asked of a real API server: the same verdict as `sallyport validate` gives without one. */
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse, parseAllDocuments, stringify } from 'yaml';
import { loadResources } from '../../api/load.ts';
import { checkRules } from '../../api/rules.ts';
import { applied, type ManifestChange } from '../integration/validate-manifests.ts';
import { describeWith } from '../support/requires.ts';
import { repositoryRoot } from '../support/sallyport.ts';
import { type ControlPlane, controlPlaneNeeds, startControlPlane } from './control-plane.ts';

interface Golden {
  readonly bases: Readonly<Record<string, Manifest>>;
  readonly cases: readonly (ManifestChange & { readonly base: string })[];
}

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata?: { readonly name?: string; readonly namespace?: string };
}

const PLURALS: Readonly<Record<string, string>> = {
  AccessConnection: 'accessconnections',
  AccessPolicy: 'accesspolicies',
  MaskingRule: 'maskingrules',
  ApprovalRequest: 'approvalrequests',
};
const FOLDER = path.join(repositoryRoot, 'test', 'golden', 'manifests');
const EXAMPLES = path.join(repositoryRoot, 'examples');
const goldens = readdirSync(FOLDER).map((file) => ({
  file,
  golden: parse(readFileSync(path.join(FOLDER, file), 'utf8')) as Golden,
}));

/** Whether `sallyport validate` has an error to report. */
async function refusedByValidate(manifest: unknown): Promise<boolean> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-manifest-'));
  try {
    await writeFile(path.join(folder, 'object.yaml'), stringify(manifest));
    const { findings } = await loadResources([folder], checkRules);
    return findings.some(({ severity }) => severity === 'error');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describeWith(controlPlaneNeeds, 'manifests, on a real API server', () => {
  let cluster: (ControlPlane & AsyncDisposable) | undefined;
  beforeAll(async () => {
    cluster = await startControlPlane();
    await cluster.applyCrds();
  }, 1_200_000);
  afterAll(() => cluster?.stop());

  /** As `kubectl apply` asks, which has unknown fields refused; nothing is kept. */
  async function verdict(manifest: Manifest): Promise<{ readonly refused: boolean; readonly message: string }> {
    const plural = PLURALS[manifest.kind] ?? 'nothing';
    const { namespace = 'default' } = manifest.metadata ?? {};
    const target = `/apis/${manifest.apiVersion}/namespaces/${namespace}/${plural}?dryRun=All&fieldValidation=Strict`;
    const answer = await (cluster as ControlPlane).request('POST', target, manifest);
    const { message = '' } = answer.body as { readonly message?: string };
    return { refused: answer.status !== 201, message };
  }

  describe.each(goldens)('$file', ({ golden: { bases, cases } }) => {
    test.each(Object.entries(bases))('accepts base %s', async (_, base) => {
      expect(await verdict(base)).toEqual({ refused: false, message: '' });
    });

    const titled = cases.map((each) => ({
      ...each,
      title: `${each.base}: ${each.remove ?? JSON.stringify(each.set)}`,
    }));
    test.each(titled)('$title', async ({ base, ...change }) => {
      const manifest = applied(bases[base], change) as Manifest;
      const server = await verdict(manifest);
      expect({ refused: server.refused, message: server.message }).toEqual({
        refused: await refusedByValidate(manifest),
        message: server.message,
      });
    });
  });

  const examples = readdirSync(EXAMPLES, { recursive: true, encoding: 'utf8' }).filter((name) => /\.ya?ml$/.test(name));
  test.each(examples)('accepts examples/%s', async (name) => {
    const documents = parseAllDocuments(readFileSync(path.join(EXAMPLES, name), 'utf8')).map(
      (document) => document.toJSON() as Manifest | null,
    );
    const ours = documents.filter((manifest) => manifest !== null && manifest.kind in PLURALS) as Manifest[];
    for (const namespace of new Set(documents.map((manifest) => manifest?.metadata?.namespace ?? 'default'))) {
      await cluster?.apply(stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }));
    }
    for (const manifest of ours) expect(await verdict(manifest)).toEqual({ refused: false, message: '' });
    // What is not ours, such as a Role, is checked too; a file of settings is for the command line.
    const others = documents.filter((manifest) => manifest !== null && !/^sallyport\.dev\//.test(manifest.apiVersion));
    if (others.length === 0) return;
    const input = others.map((manifest) => stringify(manifest)).join('---\n');
    await cluster?.kubectl(['apply', '--dry-run=server', '-f', '-'], { input });
  });
});
