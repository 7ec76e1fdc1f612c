/**
 * `make demo-cluster`: installs Sallyport on a cluster and walks through it. Ends with status 0 when every step came out as it says.
 *
 * Without KUBECONFIG it is the cluster of `make cluster`, with the images of this working tree. On any other, KUBECONFIG says which, and
 * nothing can be loaded there from here: its images are said by variables (`groundOf`).
 */
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { CONNECTOR_IMAGE, SALLYPORT_IMAGE, SHOP_IMAGE } from '../../test/cluster/images.ts';
import { helm, kubectl } from '../../test/cluster/programs.ts';
import { chartParameters, OPERATOR_NAMESPACE } from '../../test/e2e/install.ts';
import {
  AGENTS,
  agentManifests,
  approverManifests,
  DATABASE_HOST,
  POLICY_FILES,
  SHOP,
  type ShopImage,
  shopManifests,
} from '../../test/e2e/shop.ts';
import { cacheFolder } from '../../test/support/cache.ts';
import { repositoryRoot } from '../../test/support/sallyport.ts';
import { complaints, createNarrator, type Outcome, type Told } from '../narrator.ts';

const ANSWER_MS = 300_000;
const OFFICIAL_POSTGRES: ShopImage = { name: 'postgres:17', user: 999, group: 999 };

interface Step extends Told {
  readonly program: 'helm' | 'kubectl' | 'kubectl-sallyport';
  readonly parameters: readonly string[];
  readonly input?: string;
  /** Runs once the program has printed this, with what it matched. */
  readonly meanwhile?: { readonly when: RegExp; readonly step: (match: string) => Step };
}

interface Ground {
  readonly kubeconfig: string;
  readonly image: string;
  readonly connectorImage: string;
  readonly shop: ShopImage;
}

const foreign = (
  kubeconfig: string,
): string => `the cluster of ${kubeconfig} is not the one of \`make cluster\`, and gets no images from here. Either

  push them where it can pull, and say what they are called:
    docker build -t REGISTRY/sallyport . && docker push REGISTRY/sallyport
    docker build -t REGISTRY/sallyport-connector -f Dockerfile.connector . && docker push REGISTRY/sallyport-connector
    SALLYPORT_IMAGE=REGISTRY/sallyport SALLYPORT_CONNECTOR_IMAGE=REGISTRY/sallyport-connector make demo-cluster
  (SALLYPORT_POSTGRES_IMAGE: a copy of Docker Hub's ${OFFICIAL_POSTGRES.name}, where that cannot be pulled)

  or load those of this working tree into its nodes, such as with kind:
    node_modules/.bin/node test/cluster/main.ts prepare
    for image in .cache/images/*.image; do kind load image-archive $image; done
    SALLYPORT_IMAGES=loaded make demo-cluster`;

/** Where images come from. @throws with what to do, when it is a cluster that has none */
function groundOf(env: NodeJS.ProcessEnv): Ground {
  const own = path.join(cacheFolder, 'cluster.kubeconfig');
  const kubeconfig = env['KUBECONFIG'] ?? own;
  if (path.resolve(kubeconfig) === own) {
    if (!existsSync(own)) throw new Error('there is no cluster: run `make cluster`, or set KUBECONFIG to one');
    return { kubeconfig, image: SALLYPORT_IMAGE, connectorImage: CONNECTOR_IMAGE, shop: SHOP_IMAGE };
  }
  if (env['SALLYPORT_IMAGES'] === 'loaded')
    return { kubeconfig, image: SALLYPORT_IMAGE, connectorImage: CONNECTOR_IMAGE, shop: SHOP_IMAGE };
  const { SALLYPORT_IMAGE: image, SALLYPORT_CONNECTOR_IMAGE: connectorImage, SALLYPORT_POSTGRES_IMAGE: postgres } = env;
  if (image === undefined || connectorImage === undefined) throw new Error(foreign(kubeconfig));
  return {
    kubeconfig,
    image,
    connectorImage,
    shop: postgres === undefined ? OFFICIAL_POSTGRES : { ...OFFICIAL_POSTGRES, name: postgres },
  };
}

const asAdmin = (title: string, decided: string, parameters: readonly string[], more: Partial<Step> = {}): Step => ({
  title,
  actor: 'platform',
  program: 'kubectl',
  parameters,
  decided,
  succeeds: true,
  shows: [],
  hides: [],
  ...more,
});

const AGENT = ['exec', '-n', AGENTS, 'deploy/agent', '-c', 'agent', '--'];
const asAgent = (title: string, decided: string, sql: string, more: Partial<Step>): Step =>
  asAdmin(title, decided, [...AGENT, 'psql', `host=${DATABASE_HOST} dbname=orders user=me`, '-c', sql], {
    actor: 'agent',
    hides: [/@example\.com/],
    ...more,
  });

const LABEL = '{"spec":{"template":{"metadata":{"labels":{"sallyport.dev/inject":"true"}}}}}';
const VOTE = '[{"op":"add","path":"/spec/decisions/-","value":{"verdict":"Approve","reason":"agreed clean-up"}}]';

const rolledOut = (title: string): Step =>
  asAdmin(title, 'the real scheduler and kubelet', [
    ...['rollout', 'status', '-n', AGENTS, 'deploy/agent', '--timeout=120s'],
  ]);

function steps({ image, connectorImage, shop }: Ground, folder: string): Step[] {
  const files = Object.keys(POLICY_FILES).flatMap((name) => ['-f', path.join(folder, name)]);
  return [
    asAdmin('Sallyport is installed', 'its chart', [...chartParameters(image, connectorImage), '--timeout', '2m'], {
      program: 'helm',
      shownFrom: /^STATUS/,
    }),
    asAdmin("A shop: a database in the platform team's namespace", 'nothing of Sallyport yet', ['apply', '-f', '-'], {
      input: `${shopManifests(shop)}---\n${approverManifests()}`,
    }),
    asAdmin('It runs', 'the real scheduler and kubelet', [
      'rollout',
      'status',
      '-n',
      SHOP,
      'deploy/orders-db',
      '--timeout=180s',
    ]),
    asAdmin('Three files: a connection, a policy, a masking rule', 'accepted by their schemas', ['apply', ...files], {
      shows: [/accessconnection/, /accesspolicy/, /maskingrule/],
    }),
    asAdmin('Proxies start, and enforce them', 'every replica has told the hash of the policy that it enforces', [
      ...['wait', '-n', SHOP, 'accessconnection/orders', '--for=condition=Ready', '--timeout=180s'],
    ]),
    asAdmin('What an earlier walk left goes', 'nothing to do the first time', [
      ...['delete', '-n', AGENTS, 'deployment', 'agent', '--ignore-not-found'],
    ]),
    asAdmin('An agent that knows nothing of Sallyport', 'not labelled yet', ['apply', '-f', '-'], {
      input: agentManifests(shop, false),
    }),
    rolledOut('It runs'),
    asAgent('Its psql reaches the database and has no password', 'the database itself', 'SELECT 1', {
      succeeds: false,
      shows: [/no password supplied/],
    }),
    asAdmin('One label', 'the webhook adds the connector', ['patch', '-n', AGENTS, 'deployment', 'agent', '-p', LABEL]),
    rolledOut('Its pod starts again, with a connector'),
    asAgent(
      'The same psql goes through Sallyport: no password in the pod, e-mails are masked',
      'allowed by rule "read" of policy "agent", masked by rule "personal-data"',
      'SELECT * FROM customers',
      { shows: [/Ada/, /\*\*\*/] },
    ),
    asAgent('The agent drops a table', 'no rule allows it', 'DROP TABLE orders', {
      succeeds: false,
      shows: [/Sallyport denied/],
    }),
    asAgent(
      'The agent deletes: the statement is held until Ada has approved it',
      'allowed by rule "delete-orders" with an approval',
      'DELETE FROM orders WHERE id = (SELECT min(id) FROM orders)',
      {
        shows: [/holds this statement/, /DELETE 1/],
        meanwhile: {
          when: /Request ([a-z0-9-]+),/,
          step: (request) =>
            asAdmin(
              'Ada approves with plain kubectl',
              'RBAC gives her the verb "approve", policy names her; admission signs',
              [...['patch', '-n', SHOP, 'approvalrequest', request, '--as', 'ada', '--type=json', '-p', VOTE]],
              { actor: 'ada', shows: [/patched/] },
            ),
        },
      },
    ),
    asAdmin(
      'What was asked and what came of it',
      'ApprovalRequests stay for a month',
      ['get', '-n', SHOP, 'approvalrequests'],
      {
        shows: [/Executed/],
      },
    ),
    asAdmin(
      'What was recorded',
      'the archive asks the API server who reads, and whether they may',
      ['sessions', 'list', '-n', SHOP],
      { program: 'kubectl-sallyport', shows: [/serviceaccount:agents:agent/], hides: [/@example/] },
    ),
    asAdmin(
      'How the connection is doing',
      'a connector that gets past Sallyport says so: see EgressEnforced',
      [
        ...['get', '-n', SHOP, 'accessconnection', 'orders', '-o'],
        'jsonpath={range .status.conditions[*]}{.type}={.status}: {.message}{"\\n"}{end}',
      ],
      { shows: [/Ready=True/, /EgressEnforced=/] },
    ),
  ];
}

const PROGRAMS = {
  helm,
  kubectl,
  'kubectl-sallyport': async () => path.join(repositoryRoot, 'bin', 'kubectl-sallyport'),
};

/** Runs a step; the one that waits for its output is run on the way. */
async function take(
  step: Step,
  number: string,
  ground: Ground,
  narrator: ReturnType<typeof createNarrator>,
): Promise<boolean> {
  const program = await PROGRAMS[step.program]();
  narrator.begin(number, step, [...step.program.split('-'), ...step.parameters].map(shellWord).join(' '));
  // The plugin calls kubectl to reach the archive.
  const tools = path.dirname(await kubectl());
  const child = spawn(program, step.parameters, {
    env: { ...process.env, KUBECONFIG: ground.kubeconfig, PATH: `${tools}:${process.env['PATH'] ?? ''}` },
    timeout: ANSWER_MS,
  });
  let output = '';
  let meanwhile: Promise<boolean> | undefined;
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      const match = meanwhile === undefined ? step.meanwhile?.when.exec(output) : undefined;
      if (match && step.meanwhile)
        meanwhile = take(step.meanwhile.step(match[1] ?? ''), `${number}a`, ground, narrator);
    });
  }
  child.stdin.end(step.input);
  const status = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
  });
  const outcome: Outcome = { status, output };
  const between = (await meanwhile) ?? step.meanwhile === undefined;
  if (step.meanwhile !== undefined) narrator.say(`\n   … and what the ${step.actor} sees (${number}):`);
  narrator.end(step, outcome);
  return between && complaints(step, outcome).length === 0;
}

interface Waiting {
  readonly metadata: { readonly namespace: string; readonly name: string };
  readonly status: {
    readonly initContainerStatuses?: readonly ContainerStatus[];
    readonly containerStatuses?: readonly ContainerStatus[];
  };
}
interface ContainerStatus {
  readonly image: string;
  readonly state?: { readonly waiting?: { readonly reason?: string; readonly message?: string } };
}

/** What keeps pods of the walk from running, as the kubelet says it; for whoever waited in vain. */
async function waitingPods({ kubeconfig }: Ground): Promise<string[]> {
  const namespaces = new Set([OPERATOR_NAMESPACE, SHOP, AGENTS]);
  const { stdout } = await promisify(execFile)(
    await kubectl(),
    ['--kubeconfig', kubeconfig, 'get', 'pods', '--all-namespaces', '-o', 'json'],
    { maxBuffer: 64 * 1024 * 1024, timeout: 30_000 },
  );
  const { items } = JSON.parse(stdout) as { readonly items: readonly Waiting[] };
  return items
    .filter(({ metadata }) => namespaces.has(metadata.namespace))
    .flatMap(({ metadata, status }) =>
      [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])].flatMap(({ image, state }) => {
        const { reason, message } = state?.waiting ?? {};
        if (reason === undefined || reason === 'PodInitializing' || reason === 'ContainerCreating') return [];
        return [`${metadata.namespace}/${metadata.name}, image ${image}: ${reason}: ${message ?? ''}`];
      }),
    );
}

async function explain(ground: Ground, narrator: ReturnType<typeof createNarrator>): Promise<void> {
  const waiting = await waitingPods(ground);
  if (waiting.length === 0) return;
  narrator.say('\nPods that do not run:');
  for (const line of waiting) narrator.say(`  ${line}`);
  if (waiting.some((line) => /: (ErrImage|ImagePull|InvalidImage)/.test(line)))
    narrator.say(
      '\nThe cluster does not get the images. See `make demo-cluster` without SALLYPORT_IMAGE for the ways.',
    );
}

const shellWord = (word: string): string => (/^[\w./:=,@-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

async function walk(): Promise<boolean> {
  const ground = groundOf(process.env);
  const narrator = createNarrator((text) => process.stdout.write(text), process.stdout.isTTY === true);
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-demo-'));
  try {
    for (const [name, content] of Object.entries(POLICY_FILES)) await writeFile(path.join(folder, name), content);
    let good = true;
    for (const [index, step] of steps(ground, folder).entries()) {
      good = await take(step, String(index + 1), ground, narrator);
      // Each stands on the one before it.
      if (!good) break;
    }
    if (!good) await explain(ground, narrator);
    narrator.say(good ? '\nEvery step came out as said.' : '\nA step came out differently: see ✗ above.');
    narrator.say(`\nIt stays. To try by hand:\n\n  export KUBECONFIG=${ground.kubeconfig}`);
    narrator.say(`  kubectl ${[...AGENT, 'psql'].join(' ')} "host=${DATABASE_HOST} dbname=orders user=me"`);
    narrator.say(
      `\nand to remove it:\n\n  helm uninstall sallyport -n ${OPERATOR_NAMESPACE} && kubectl delete namespace ${SHOP} ${AGENTS}`,
    );
    return good;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

try {
  process.exitCode = (await walk()) ? 0 : 1;
} catch (error) {
  process.stderr.write(`demo: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
