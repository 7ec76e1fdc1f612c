/**
 * The import rules of the architecture. A folder's name tells what its files may touch; these rules keep that true.
 * Type-only imports count too: a contract that needs a lane's types is in the wrong place.
 */

/** A rule that modules below `from` never import what matches `to`. */
const forbid = (name, comment, from, to) => ({ name, comment, severity: 'error', from, to });

const TEST = '([.](test|fixture)[.]ts|^policy/testing/.*)$';
const OURS = '^(api|policy|approval|record|delivery|certificate|kube|operator|proxy|archive|cli|scripts|test|bench|demo)/';
/** What a pure engine has no business with: files, sockets, processes, threads, the clock of the machine. */
const IO = '^(node:)?(fs|net|tls|http|https|http2|dgram|dns|child_process|cluster|worker_threads|process|os|readline|repl|inspector)(/|$)';

module.exports = {
  forbidden: [
    forbid(
      'no-cycles-between-folders',
      'Folders that need each other are one part, or miss a third. Inside a folder files may recurse, as a grammar does.',
      { path: '^(.+)/[^/]+$' },
      { circular: true, via: { pathNot: '^$1/[^/]+$' } },
    ),
    forbid('resolvable', 'An import that resolves to nothing fails at run time.', {}, { couldNotResolve: true }),
    forbid(
      'declared-dependencies',
      'A package that package.json does not name comes and goes with other packages.',
      {},
      { dependencyTypes: ['npm-no-pkg', 'npm-unknown'] },
    ),
    forbid(
      'product-without-dev-dependencies',
      'The installed package has no development dependencies.',
      { path: '^(api|policy|approval|record|delivery|certificate|kube|operator|proxy|archive|cli)/', pathNot: TEST },
      { dependencyTypes: ['npm-dev'] },
    ),
    forbid(
      'product-without-tests',
      'Test ground, benchmarks and scripts are not shipped.',
      { path: '^(api|policy|approval|record|delivery|certificate|kube|operator|proxy|archive|cli)/', pathNot: TEST },
      { path: `^(test|bench|scripts|demo)/|${TEST}` },
    ),
    forbid(
      'api-and-policy-below-everything',
      'They are the language that all processes speak and know none of them.',
      { path: '^(api|policy)/', pathNot: TEST },
      { path: '^(approval|record|delivery|certificate|kube|operator|proxy|archive|cli)/' },
    ),
    forbid('api-below-policy', 'The API is data; what it means is decided in policy/.', { path: '^api/' }, { path: '^policy/' }),
    forbid(
      'votes-are-a-format',
      'The operator stamps them, voters sign them, the proxy counts them: it knows none of them.',
      { path: '^approval/', pathNot: TEST },
      { path: '^(record|delivery|certificate|kube|operator|proxy|archive|cli)/' },
    ),
    forbid(
      'record-is-a-format',
      'The proxy writes it, the archive keeps it, the command line reads it: it knows none of them.',
      { path: '^record/', pathNot: TEST },
      { path: '^(delivery|certificate|kube|operator|proxy|archive|cli)/' },
    ),
    forbid(
      'delivery-knows-nothing-of-ours',
      'Sending over HTTP, signed and again until it arrives: whatever is sent.',
      { path: '^delivery/', pathNot: TEST },
      { path: OURS, pathNot: '^delivery/' },
    ),
    forbid(
      'sinks-know-segments-alone',
      'A sink follows files of the record; it speaks neither to who writes nor to who serves them.',
      { path: '^archive/(sinks|follow)/', pathNot: TEST },
      { path: '^archive/(server|store)/' },
    ),
    forbid(
      'policy-does-no-io',
      'The same decision must come out in the proxy, in admission, in the CLI and in a replay.',
      { path: '^policy/', pathNot: TEST },
      { path: IO },
    ),
    forbid(
      'certificates-know-nothing-of-ours',
      'DER and X.509, for whoever issues them.',
      { path: '^certificate/', pathNot: TEST },
      { path: OURS, pathNot: '^certificate/' },
    ),
    forbid('kube-knows-nothing-of-ours', 'A client runtime for any resource.', { path: '^kube/' }, { path: OURS, pathNot: '^kube/' }),
    forbid(
      'operator-proxy-archive-apart',
      'Three processes with three sets of rights; what they share is api/, policy/, approval/, record/, delivery/, certificate/ and kube/.',
      { path: '^(operator|proxy|archive)/', pathNot: TEST },
      { path: '^(operator|proxy|archive)/', pathNot: '^$1/' },
    ),
    forbid(
      'nothing-imports-the-cli',
      'The command line wires; nothing depends on it.',
      { path: '^(api|policy|approval|record|delivery|certificate|kube|operator|proxy|archive)/' },
      { path: '^cli/' },
    ),
    forbid(
      'protocols-apart',
      'One protocol never imports another: a change to one lane cannot break the next.',
      { path: '^proxy/protocols/([^/]+)/', pathNot: '^proxy/protocols/kubernetes/' },
      { path: '^proxy/protocols/([^/]+)/', pathNot: '^proxy/protocols/$1/' },
    ),
    forbid(
      'kubernetes-over-http',
      'The API of Kubernetes is HTTP: it uses what lanes over HTTP share, and nothing of the HTTP lane itself.',
      { path: '^proxy/protocols/kubernetes/' },
      { path: '^proxy/protocols/', pathNot: '^proxy/protocols/(kubernetes|http/core)/' },
    ),
    forbid(
      'http-core-below-its-lanes',
      'Clients, sessions and the way to a target are the same for every lane over HTTP: what a request means is theirs.',
      { path: '^proxy/protocols/http/core/' },
      { path: '^proxy/protocols/', pathNot: '^proxy/protocols/http/core/' },
    ),
    forbid(
      'http-core-decides-nothing',
      'Types of policy alone: a decision is made by a lane.',
      { path: '^proxy/protocols/http/core/', pathNot: TEST },
      { path: '^(policy|proxy/(approval|masking|credentials))/', dependencyTypesNot: ['type-only'] },
    ),
    forbid(
      'shared-parts-know-no-protocol',
      'Identity, masking and record serve every lane.',
      { path: '^proxy/(identity|masking|recording|approval|decision)/', pathNot: TEST },
      { path: '^proxy/protocols/' },
    ),
    forbid(
      'connector-only-node',
      "It runs in the agent's pod: a small, protocol-blind pipe. What it is told and how things are called needs no package either.",
      { path: '^proxy/connector/', pathNot: TEST },
      { dependencyTypesNot: ['core'], pathNot: '^(proxy/connector/|api/(cluster|connector-config)[.]ts$)' },
    ),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(dist|coverage|[.]cache)/' },
    parser: 'tsc',
    moduleSystems: ['es6', 'cjs'],
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { conditionNames: ['import', 'node', 'default', 'types'], exportsFields: ['exports'] },
  },
};
