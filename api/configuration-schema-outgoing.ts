import type { ConfigurationSchema } from './configuration-schema.ts';

/** The part of the schema about what leaves the gateway: notifications, sinks, the archive, and the archive itself. */
interface Words {
  readonly closed: (
    description: string,
    properties: Readonly<Record<string, ConfigurationSchema>>,
    required?: readonly string[],
  ) => ConfigurationSchema;
  readonly text: (description: string) => ConfigurationSchema;
  readonly address: (description: string) => ConfigurationSchema;
  readonly duration: (description: string, value: string) => ConfigurationSchema;
  readonly whole: (description: string, minimum: number, maximum: number, value: number) => ConfigurationSchema;
}

const LABEL = '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$';

export function outgoingSchema({ closed, text, address, duration, whole }: Words): Record<string, ConfigurationSchema> {
  const url = (description: string): ConfigurationSchema => ({
    ...text(`${description} https, or http to this machine.`),
    pattern: '^https?://[^\\s#@]+$',
  });
  const secretFile = text(
    'File with the secret that messages are signed with: whsec_ and base64 of 24 to 64 bytes. Several lines while one is being replaced: each message then has a signature of each. Read again for every message.',
  );
  const caFile = text('PEM file of certificate authorities to trust for it instead of the system’s.');
  const sink = closed(
    'One place: exactly one of s3, otlp and webhook.',
    {
      name: {
        type: 'string',
        pattern: LABEL,
        maxLength: 63,
        description: 'Name in metrics and logs, and of the file that remembers how far it has come.',
      },
      s3: closed(
        'A bucket of an S3-compatible object store.',
        {
          endpoint: url('Address without the bucket, such as https://s3.eu-central-1.amazonaws.com.'),
          region: { ...text('Region of the bucket.'), default: 'us-east-1' },
          bucket: {
            type: 'string',
            pattern: '^[a-z0-9][-a-z0-9.]{1,61}[a-z0-9]$',
            description: 'The bucket, made with Object Lock.',
          },
          prefix: {
            type: 'string',
            pattern: '^([A-Za-z0-9._=-]+/)*$',
            maxLength: 255,
            default: '',
            description: 'In front of every key; ends with a slash.',
          },
          accessKeyIdFile: text('File with the access key id. Read again for every object.'),
          secretAccessKeyFile: text('File with the secret access key. Read again for every object.'),
          caFile,
          flushInterval: duration('How long lines may wait to become one object, at most 1h.', '1m'),
          objectLock: closed(
            'Each object is locked. Absent: it is not.',
            {
              mode: {
                type: 'string',
                enum: ['Compliance', 'Governance'],
                default: 'Compliance',
                description:
                  'Compliance: nobody removes an object before its time, not even the owner of the account. Governance: only who may bypass it.',
              },
              retentionDays: {
                type: 'integer',
                minimum: 1,
                maximum: 36_500,
                description: 'Days from the writing of an object until it may be removed.',
              },
            },
            ['retentionDays'],
          ),
        },
        ['endpoint', 'bucket', 'accessKeyIdFile', 'secretAccessKeyFile'],
      ),
      otlp: closed(
        'A collector of OpenTelemetry, or whatever takes its logs over HTTP.',
        {
          url: url('Whole address, such as https://collector:4318/v1/logs.'),
          headersFile: text('File of Name: value lines that are sent along. Read again for every request.'),
          caFile,
        },
        ['url'],
      ),
      webhook: closed(
        'Lines of the record as they are, signed.',
        { url: url('Where they are posted to.'), secretFile, caFile },
        ['url', 'secretFile'],
      ),
    },
    ['name'],
  );
  return {
    notifications: closed('Who is told of approvals.', {
      webhooks: {
        type: 'array',
        maxItems: 16,
        description: 'Receivers of signed messages (Standard Webhooks).',
        items: closed(
          'One receiver.',
          {
            url: url('Where messages are posted to.'),
            secretFile,
            includeCommand: {
              type: 'boolean',
              default: false,
              description:
                'Messages have the command and its reason too. Without it no text or value of the agent is in them.',
            },
          },
          ['url', 'secretFile'],
        ),
      },
    }),
    archive: closed('Where the record is kept besides the state folder: exactly one of directory and url.', {
      directory: text('A folder, kept by this process.'),
      url: {
        ...text('An archive (sallyport archive run), such as https://archive:8443.'),
        pattern: '^https://[^\\s/?#@]+/?$',
      },
      caFile: text('PEM file of the authority of the archive’s certificate.'),
      certificateFile: text('PEM file of the certificate whose common name says which proxy this is.'),
      keyFile: text('PEM file of its private key.'),
    }),
    sinks: {
      type: 'array',
      maxItems: 16,
      description: 'Where the record is sent besides: at least once, in order within a stream.',
      items: sink,
    },
    archiveServer: closed(
      'What sallyport archive run serves.',
      {
        address: address('Where proxies connect to.'),
        directory: text('Where segments are kept, mode 0700.'),
        certificateFile: text('PEM file of its certificate and its chain; read again when it changes.'),
        keyFile: text('PEM file of its private key.'),
        clientCaFile: text(
          'PEM file of the authorities whose certificates are proxies. Use one that is made for this.',
        ),
        proxies: {
          type: 'array',
          maxItems: 1024,
          description: 'The proxies that may write. Absent: each that has a certificate, to every namespace.',
          items: closed(
            'One proxy.',
            {
              name: text('Common name of its certificate.'),
              namespaces: {
                type: 'array',
                minItems: 1,
                maxItems: 256,
                description: 'Namespaces of the connections that it serves.',
                items: { type: 'string', pattern: LABEL, maxLength: 63 },
              },
            },
            ['name', 'namespaces'],
          ),
        },
        namespacesFromNames: {
          type: 'boolean',
          default: false,
          description:
            'Common names are NAMESPACE/sallyport-proxy, and each may write that namespace alone. The operator sets it; not together with proxies.',
        },
        readingAddress: address(
          'In a cluster: where people read the record, who the API server knows and who may audit. Absent: nowhere.',
        ),
        quotaBytes: {
          type: 'integer',
          minimum: 1_048_576,
          maximum: Number.MAX_SAFE_INTEGER,
          description: 'Bytes that one proxy may fill. Absent: no bound but the disk.',
        },
        minFreeBytes: whole(
          'Bytes of the disk that stay free: nothing is taken that would use them.',
          0,
          Number.MAX_SAFE_INTEGER,
          268_435_456,
        ),
        retentionDays: whole('Days that segments are kept from their last event on.', 1, 36_500, 400),
      },
      ['address', 'directory', 'certificateFile', 'keyFile', 'clientCaFile'],
    ),
  };
}
