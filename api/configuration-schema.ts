import { Ajv } from 'ajv';
import { outgoingSchema } from './configuration-schema-outgoing.ts';

/** JSON Schema of SallyportConfiguration, with the description and the default of every field. docs/configuration.md is made from it. */
export interface ConfigurationSchema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: string;
  readonly enum?: readonly string[];
  readonly pattern?: string;
  readonly format?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
  readonly minProperties?: number;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, ConfigurationSchema>>;
  readonly additionalProperties?: false | ConfigurationSchema;
  readonly items?: ConfigurationSchema;
}

const DURATION = '^([0-9]{1,5}[hms])+$';
const ADDRESS = '^(\\[[0-9a-fA-F:]+\\]|[^:\\s\\[\\]]+):[0-9]{1,5}$';
const REFERENCE = '^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-a-z0-9.]*[a-z0-9])?$';
const PERSON = '^[A-Za-z0-9]([-A-Za-z0-9._@:/]*[A-Za-z0-9])?$';
const LABEL = '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$';

function closed(
  description: string,
  properties: Readonly<Record<string, ConfigurationSchema>>,
  required: readonly string[] = [],
): ConfigurationSchema {
  return { type: 'object', description, additionalProperties: false, required, properties };
}

const text = (description: string): ConfigurationSchema => ({
  type: 'string',
  minLength: 1,
  maxLength: 2048,
  description,
});
const duration = (description: string, value: string): ConfigurationSchema => ({
  type: 'string',
  pattern: DURATION,
  maxLength: 16,
  default: value,
  description: `${description} A duration in h, m and s, such as 1h30m.`,
});
const reference = (description: string): ConfigurationSchema => ({
  type: 'string',
  pattern: REFERENCE,
  maxLength: 317,
  description: `${description} Written NAMESPACE/NAME.`,
});
const address = (description: string): ConfigurationSchema => ({
  type: 'string',
  pattern: ADDRESS,
  maxLength: 260,
  description: `${description} Written HOST:PORT, an IPv6 address in brackets; port 0 takes any free one.`,
});
const whole = (description: string, minimum: number, maximum: number, value: number): ConfigurationSchema => ({
  type: 'integer',
  minimum,
  maximum,
  default: value,
  description,
});

/** Signature algorithms that an issuer may be pinned to: asymmetric ones only (RFC 7518, section 3.1; RFC 8037; RFC 9864). */
const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];

const ISSUER = closed(
  'An OpenID Connect issuer.',
  {
    alias: {
      type: 'string',
      pattern: LABEL,
      maxLength: 63,
      description:
        'Name in policies: its groups are ALIAS:GROUP and its users ALIAS:SUBJECT. Cannot be system, which belongs to Kubernetes.',
    },
    issuer: {
      ...text(
        'The exact iss of its tokens; keys are found through its discovery document, never through an address that a token names. http only on this machine.',
      ),
      pattern: '^https?://[^\\s?#]+$',
    },
    audience: { ...text('The one aud that tokens must have.'), default: 'sallyport' },
    jwksUri: { ...text('Where its keys are, when it has no discovery document.'), pattern: '^https?://[^\\s#]+$' },
    caFile: text('PEM file of certificate authorities to trust for it instead of the system’s.'),
    algorithms: {
      type: 'array',
      minItems: 1,
      maxItems: 16,
      description: 'Signature algorithms that are taken. Default: RS256, PS256, ES256, EdDSA and Ed25519.',
      items: { type: 'string', enum: ALGORITHMS },
    },
    maxTokenLifetime: duration('Longest exp - iat of a token; longer ones are refused.', '1h'),
    sessionGrace: duration(
      'How long a session may go on after its token has expired, at most 1h. New sessions are never opened with an expired token.',
      '0s',
    ),
    claims: closed('Which claims are read.', {
      username: { ...text('Claim that names the caller.'), default: 'sub' },
      groups: text('Claim that lists the groups, such as groups. Absent: its tokens have no groups.'),
      onBehalfOf: text('Claim that names the person behind the agent. Absent: nobody.'),
    }),
  },
  ['alias', 'issuer'],
);

const names = (description: string, pattern: string, maxLength: number): ConfigurationSchema => ({
  type: 'array',
  minItems: 1,
  maxItems: 64,
  description,
  items: { type: 'string', minLength: 1, maxLength, pattern },
});

const APPROVER = closed(
  'A person who may approve, with a key that only they have.',
  {
    name: {
      type: 'string',
      maxLength: 253,
      pattern: PERSON,
      description: 'Name in rules (approvers.users), in requests and in the record.',
    },
    publicKey: {
      type: 'string',
      pattern: '^[A-Za-z0-9+/]{43}=$',
      description: 'Their Ed25519 public key, as sallyport approver create prints it.',
    },
    groups: names('Groups for rules (approvers.groups).', PERSON, 256),
    connections: names(
      'Connections on which they may approve, written NAMESPACE/NAME; * stands for any characters. Default: all.',
      '^[-a-z0-9.*]+/[-a-z0-9.*]+$|^\\*$',
      317,
    ),
    subjects: names(
      'Subjects that are this same person, such as okta:ada@example.com: they do not approve what these ask for.',
      '^\\S+$',
      512,
    ),
  },
  ['name', 'publicKey'],
);

export const CONFIGURATION_SCHEMA: ConfigurationSchema = closed(
  'What is not a resource: issuers, addresses, limits. Unknown fields are refused. Relative paths start at the folder of the file.',
  {
    apiVersion: { type: 'string', const: 'sallyport.dev/v1alpha1', description: 'Always sallyport.dev/v1alpha1.' },
    kind: { type: 'string', const: 'SallyportConfiguration', description: 'Always SallyportConfiguration.' },
    metadata: { type: 'object', description: 'Ignored.' },
    issuers: {
      type: 'array',
      maxItems: 64,
      description: 'Issuers whose tokens are accepted, besides the development issuer of this machine.',
      items: ISSUER,
    },
    listen: {
      type: 'array',
      maxItems: 1024,
      description:
        'Where connections are listened on. A connection that is not here gets a port of 127.0.0.1 from 15432 upwards (SSH: 10022, HTTP: 10443, Kubernetes: 16443), by namespace and name.',
      items: closed(
        'One address.',
        { connection: reference('The AccessConnection.'), address: address('Where it is listened on.') },
        ['connection', 'address'],
      ),
    },
    metrics: closed('Where /metrics, /healthz and /readyz are served, in plain HTTP.', {
      address: { ...address('The address.'), default: '127.0.0.1:0' },
    }),
    state: text('Folder for keys and the record, mode 0700. Default: $XDG_STATE_HOME/sallyport; --state wins.'),
    guardrailNamespace: {
      type: 'string',
      pattern: LABEL,
      maxLength: 63,
      default: 'sallyport-system',
      description:
        'Namespace whose policies and masking rules are about the connections of all namespaces, and only narrow.',
    },
    limits: closed('Bounds on what a client may send.', {
      maxStatementBytes: whole(
        'Longest SQL text, in bytes; a longer one is refused with an error.',
        1024,
        16_777_216,
        262_144,
      ),
      maxMessageBytes: whole(
        'Longest protocol message, in bytes; a longer one ends the session.',
        65_536,
        1_073_741_823,
        67_108_864,
      ),
      authenticationTimeout: duration('How long a client may take to sign in.', '10s'),
    }),
    record: closed('The record of what was done.', {
      syncReads: {
        type: 'boolean',
        default: false,
        description:
          'Reads too are on disk (fdatasync) before they are forwarded. Without it that holds for changes, denials and holds, and reads follow within 100 ms.',
      },
      anchors: text(
        'Folder where signed checkpoints of the record are kept, best on another disk or where files can only be added to: what stands there cannot be cut off the record unseen. Default: anchors/ in the state folder.',
      ),
    }),
    ...outgoingSchema({ closed, text, address, duration, whole }),
    tls: closed(
      'Certificate shown to clients, read again when the files change. Absent: one made in the state folder.',
      {
        certificateFile: text('PEM file of the certificate and its chain.'),
        keyFile: text('PEM file of the private key.'),
      },
      ['certificateFile', 'keyFile'],
    ),
    approvals: closed('Requests for approval.', {
      store: text(
        'Folder of requests for approval, which several gateways may share. Default: approvals in the state folder.',
      ),
    }),
    approvers: {
      type: 'array',
      maxItems: 256,
      description:
        'People who may approve. Unlike the rest of this file, read again whenever it changes: a right that is taken away counts no more.',
      items: APPROVER,
    },
    credentials: {
      type: 'array',
      maxItems: 1024,
      description:
        'Where Secrets come from that are neither in the resource folder nor under secrets/NAMESPACE/NAME/ in the state folder. Read again for every session.',
      items: closed(
        'One Secret: exactly one of directory and environment.',
        {
          secret: reference('The Secret as resources name it.'),
          directory: text('A mounted folder with a file for each key.'),
          environment: {
            type: 'object',
            minProperties: 1,
            maxProperties: 64,
            description: 'Environment variable for each key, such as {password: ORDERS_PASSWORD}.',
            additionalProperties: text('Name of the variable.'),
          },
        },
        ['secret'],
      ),
    },
  },
  ['apiVersion', 'kind'],
);

/** Checks the structure and fills defaults in. */
export const checkConfiguration = new Ajv({
  allErrors: true,
  strict: false,
  verbose: true,
  useDefaults: true,
}).compile<object>(CONFIGURATION_SCHEMA);
