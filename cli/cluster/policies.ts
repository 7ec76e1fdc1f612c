import { compile } from '../../policy/compile.ts';
import { loadParser } from '../../proxy/protocols/postgres/sql/parse.ts';
import { cliMessage } from '../errors.ts';
import type { CliIo } from '../io.ts';
import type { PolicyPlace } from '../places/policies.ts';
import {
  type Cluster,
  CONNECTIONS,
  listed,
  MASKING_RULES,
  openCluster,
  POLICIES,
  whereAllowed,
  withClusterOptions,
  withOperatorNamespace,
} from './cluster.ts';

/** Policies as they stand in a cluster: those of the connection's namespace, and the guardrails where they may be read. */
export function clusterPolicies(): PolicyPlace {
  return {
    options: (command) => withOperatorNamespace(withClusterOptions(command)),
    async open(options, io) {
      const cluster = await openCluster(options, io);
      const { client, namespace, homeNamespace } = cluster;
      const place = namespace === undefined ? {} : { namespace };
      const [connections, policies, maskingRules, guardrails] = await Promise.all([
        listed(() => client.listAll(CONNECTIONS, place)),
        listed(() => client.listAll(POLICIES, place)),
        listed(() => client.listAll(MASKING_RULES, place)),
        namespace === undefined || namespace === cluster.operatorNamespace ? undefined : guardrailsOf(cluster, io),
      ]);
      const { bundle } = compile(
        {
          connections: connections.items,
          policies: [...policies.items, ...(guardrails?.policies ?? [])],
          maskingRules: [...maskingRules.items, ...(guardrails?.maskingRules ?? [])],
        },
        { guardrailNamespace: cluster.operatorNamespace },
      );
      await loadParser();
      return { bundle, homeNamespace };
    },
  };
}

async function guardrailsOf({ client, operatorNamespace: namespace }: Cluster, io: CliIo) {
  const read = await whereAllowed(async () => {
    const [policies, maskingRules] = await Promise.all([
      client.listAll(POLICIES, { namespace }),
      client.listAll(MASKING_RULES, { namespace }),
    ]);
    return { policies: policies.items, maskingRules: maskingRules.items };
  });
  if (read === undefined) {
    // A guardrail can only take away: without it the answer may be Allow where the gateway denies.
    const { message, fix } = cliMessage('SPC068', [`guardrails of ${namespace}`]);
    io.stderr.write(`warning: ${message} [SPC068]\n  ${fix}\n`);
  }
  return read;
}
