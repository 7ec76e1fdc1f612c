import path from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * Seconds that the longest test files take on two cores, as a full run prints them. They need not be exact: they say what to start
 * first. A file that is not here takes less than 20, or is new.
 */
export const SECONDS: Readonly<Record<string, number>> = {
  'proxy/approval/store.test.ts': 21,
  'test/cluster/approvals-faults.test.ts': 39,
  'test/cluster/approvals-lane.test.ts': 36,
  'test/cluster/approvals.test.ts': 37,
  'test/cluster/chart.test.ts': 34,
  'test/cluster/connector.test.ts': 31,
  'test/cluster/fences.test.ts': 52,
  'test/cluster/ground.test.ts': 45,
  'test/cluster/injection.test.ts': 29,
  'test/cluster/installation.test.ts': 57,
  'test/cluster/kube-leader.test.ts': 34,
  'test/cluster/kube-reflector.test.ts': 70,
  'test/cluster/manifests.test.ts': 27,
  'test/cluster/operator-faults.test.ts': 107,
  'test/cluster/operator-objects.test.ts': 38,
  'test/cluster/operator-rights.test.ts': 46,
  'test/cluster/operator-status.test.ts': 29,
  'test/cluster/plugin-archive.test.ts': 48,
  'test/cluster/plugin-cluster.test.ts': 69,
  'test/cluster/proxy-bundle.test.ts': 34,
  'test/cluster/proxy-connector.test.ts': 30,
  'test/cluster/proxy-identity.test.ts': 29,
  'test/cluster/proxy-replicas.test.ts': 51,
  'test/e2e/api-lanes.test.ts': 90,
  'test/e2e/node.test.ts': 41,
  'test/e2e/operations.test.ts': 128,
  'test/e2e/quickstart.test.ts': 150,
  'test/integration/approval/credentials.test.ts': 36,
  'test/integration/approval/lane-changes.test.ts': 52,
  'test/integration/approval/lane-faults.test.ts': 93,
  'test/integration/approval/processes.test.ts': 27,
  'test/integration/archive/kill.test.ts': 36,
  'test/integration/credentials/certificate.test.ts': 33,
  'test/integration/credentials/session.test.ts': 40,
  'test/integration/credentials/statement.test.ts': 31,
  'test/integration/demo.test.ts': 66,
  'test/integration/differential.test.ts': 27,
  'test/integration/drivers.test.ts': 43,
  'test/integration/dump-restore.test.ts': 32,
  'test/integration/examples-running.test.ts': 86,
  'test/integration/examples.test.ts': 72,
  'test/integration/guard-attacks.test.ts': 122,
  'test/integration/leak-harness.test.ts': 249,
  'test/integration/package.test.ts': 28,
  'test/integration/postgres-bad-input.test.ts': 22,
  'test/integration/postgres-extended.test.ts': 22,
  'test/integration/postgres-faults.test.ts': 122,
  'test/integration/postgres-lane.test.ts': 155,
  'test/integration/regression.test.ts': 170,
  'test/integration/ssh-faults.test.ts': 34,
  'test/integration/ssh/clients.test.ts': 36,
  'test/integration/ssh/fidelity.test.ts': 117,
  'test/integration/tpcb.test.ts': 20,
  'test/integration/webhooks/notifications.test.ts': 71,
};

/** Files with the longest first; those without a measure keep their order, behind the others. */
export function longestFirst<T>(
  files: readonly T[],
  fileOf: (file: T) => string,
  seconds: Readonly<Record<string, number>>,
): T[] {
  const of = (file: T): number => seconds[fileOf(file)] ?? 0;
  return files.toSorted((one, other) => of(other) - of(one));
}

/**
 * Starts the longest test files of each group first, so that none runs alone at the end while the second worker has nothing to do.
 * Vitest itself knows durations from an earlier run only, and a fresh clone has none.
 */
export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const fileOf = ({ moduleId, project }: TestSpecification): string =>
      path.relative(project.vitest.config.root, moduleId).split(path.sep).join('/');
    const groupOf = ({ project }: TestSpecification): number => project.config.sequence.groupOrder;
    return longestFirst(sorted, fileOf, SECONDS).toSorted((one, other) => groupOf(one) - groupOf(other));
  }
}
