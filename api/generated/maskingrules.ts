// Generated from crds/maskingrules.yaml by scripts/generate-types.ts. Do not edit.

/**
 * Values that leave the targets only masked. In the operator's namespace: of all namespaces.
 */
export interface MaskingRule {
  apiVersion: 'sallyport.dev/v1alpha1';
  kind: 'MaskingRule';
  metadata: {
    name: string;
    namespace: string;
    uid?: string;
    generation?: number;
    creationTimestamp?: string;
    labels?: {
      [k: string]: string;
    };
    annotations?: {
      [k: string]: string;
    };
  };
  /**
   * What is masked. Masking rules only add up: nothing can unmask what another rule masks.
   */
  spec: {
    /**
     * The AccessConnections that this rule applies to: exactly one of all, names and selector.
     */
    connections: {
      /**
       * Every AccessConnection. Only true can be written.
       */
      all?: true;
      /**
       * Names of AccessConnections in this namespace.
       */
      names?: string[];
      /**
       * Labels of AccessConnections.
       */
      selector?: {
        /**
         * Every label must have this value.
         */
        matchLabels?: {
          [k: string]: string;
        };
        /**
         * Every requirement must hold.
         */
        matchExpressions?: {
          /**
           * Label key.
           */
          key: string;
          /**
           * How the label is compared.
           */
          operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
          /**
           * Values for In and NotIn.
           */
          values?: string[];
        }[];
      };
    };
    /**
     * Who sees the real values. Everybody else gets masked ones.
     */
    exceptSubjects?: {
      /**
       * A Kubernetes service account of this cluster.
       */
      serviceAccount?: {
        /**
         * Its namespace. Default: the namespace of this object.
         */
        namespace?: string;
        /**
         * Its name, or "*" for every service account of the namespace.
         */
        name: string;
      };
      /**
       * A group from an identity provider, as alias:group, such as okta:dba. Aliases are set where the operator is installed.
       */
      group?: string;
      /**
       * One person or workload from an identity provider, as alias:subject, such as okta:ana@example.com.
       */
      user?: string;
      /**
       * Callers whose token has these claims, such as one repository and branch of a CI system.
       */
      token?: {
        /**
         * Alias of the identity provider, such as github.
         */
        issuer: string;
        /**
         * Claims that must all be present with exactly these values.
         */
        claims: {
          [k: string]: string;
        };
      };
    }[];
    /**
     * SQL columns.
     */
    columns?: {
      /**
       * schema.table.column patterns, such as public.customers.email or *.*.ssn; * stands for any run of characters.
       */
      match: string[];
      /**
       * What replaces the value: exactly one. Default: redact.
       */
      transform?: {
        /**
         * A fixed text; NULL where the type cannot hold it.
         */
        redact?: {
          /**
           * The text.
           */
          with?: string;
        };
        /**
         * Keeps some characters, stars for the rest.
         */
        partial?: {
          /**
           * Characters kept at the start.
           */
          keepFirst?: number;
          /**
           * Characters kept at the end.
           */
          keepLast?: number;
        };
        /**
         * A token that is the same for the same value, so that joins and counts by hand still work.
         */
        tokenize?: {
          /**
           * Key for the tokens. Default: one that the operator makes for the namespace.
           */
          keySecretRef?: {
            /**
             * Name of a Secret in this namespace.
             */
            name: string;
            /**
             * Key inside the Secret.
             */
            key?: string;
          };
        };
        /**
         * NULL, or null in JSON.
         */
        nullify?: {
          [k: string]: unknown;
        };
      };
      /**
       * Let "column = value" through in conditions, so that lookups work. An agent that can ask it can test guesses.
       */
      allowEquality?: boolean;
    }[];
    /**
     * Fields of JSON responses (HTTP, Kubernetes) and of JSON columns.
     */
    fields?: {
      /**
       * Dotted paths, such as customer.email, items.*.ssn or **.password; * is one key or index, ** any depth.
       */
      match: string[];
      /**
       * What replaces the value: exactly one. Default: redact.
       */
      transform?: {
        /**
         * A fixed text; NULL where the type cannot hold it.
         */
        redact?: {
          /**
           * The text.
           */
          with?: string;
        };
        /**
         * Keeps some characters, stars for the rest.
         */
        partial?: {
          /**
           * Characters kept at the start.
           */
          keepFirst?: number;
          /**
           * Characters kept at the end.
           */
          keepLast?: number;
        };
        /**
         * A token that is the same for the same value, so that joins and counts by hand still work.
         */
        tokenize?: {
          /**
           * Key for the tokens. Default: one that the operator makes for the namespace.
           */
          keySecretRef?: {
            /**
             * Name of a Secret in this namespace.
             */
            name: string;
            /**
             * Key inside the Secret.
             */
            key?: string;
          };
        };
        /**
         * NULL, or null in JSON.
         */
        nullify?: {
          [k: string]: unknown;
        };
      };
    }[];
    /**
     * Values recognised by what they look like, in text that columns and fields do not cover.
     */
    content?: {
      /**
       * Built-in detectors. They validate check digits where there are any.
       */
      detectors?: (
        | 'CreditCard'
        | 'IBAN'
        | 'Email'
        | 'PhoneNumber'
        | 'USSocialSecurityNumber'
        | 'IPAddress'
        | 'JWT'
        | 'PrivateKey'
        | 'AWSAccessKey'
        | 'GitHubToken'
        | 'BearerToken'
        | 'PasswordInURL'
      )[];
      /**
       * Regular expression in RE2 syntax.
       */
      pattern?: string;
      /**
       * What replaces the value: exactly one. Default: redact.
       */
      transform?: {
        /**
         * A fixed text; NULL where the type cannot hold it.
         */
        redact?: {
          /**
           * The text.
           */
          with?: string;
        };
        /**
         * Keeps some characters, stars for the rest.
         */
        partial?: {
          /**
           * Characters kept at the start.
           */
          keepFirst?: number;
          /**
           * Characters kept at the end.
           */
          keepLast?: number;
        };
        /**
         * A token that is the same for the same value, so that joins and counts by hand still work.
         */
        tokenize?: {
          /**
           * Key for the tokens. Default: one that the operator makes for the namespace.
           */
          keySecretRef?: {
            /**
             * Name of a Secret in this namespace.
             */
            name: string;
            /**
             * Key inside the Secret.
             */
            key?: string;
          };
        };
        /**
         * NULL, or null in JSON.
         */
        nullify?: {
          [k: string]: unknown;
        };
      };
    }[];
    /**
     * Kubernetes: values inside objects, wherever one shows up in an answer: single, in lists, watches and tables, in annotations that hold an object, in templates of workloads. The type of a value stays.
     */
    kubernetes?: {
      /**
       * Keys of Secrets, such as "*" or tls.key; * stands for any run of characters. The value stays base64.
       */
      secrets?: string[];
      /**
       * Keys of ConfigMaps, as of secrets.
       */
      configMaps?: string[];
      /**
       * Names of environment variables of containers, as of secrets, in pods and in templates of any kind.
       */
      env?: string[];
      /**
       * Keys of annotations, as of secrets, on any object.
       */
      annotations?: string[];
      /**
       * Dotted paths from the root of an object, such as spec.apiKey or **.password; * is one key or index, ** any depth.
       */
      fields?: string[];
      /**
       * Which objects fields are of, such as pods, deployments.apps or *.example.com. Default: all.
       */
      resources?: string[];
      /**
       * Only objects of these namespaces; * stands for any run of characters. Default: all, also objects without one.
       */
      namespaces?: string[];
      /**
       * Only objects of these names; * stands for any run of characters. Default: all.
       */
      names?: string[];
      /**
       * What replaces the value: exactly one. Default: redact.
       */
      transform?: {
        /**
         * A fixed text; NULL where the type cannot hold it.
         */
        redact?: {
          /**
           * The text.
           */
          with?: string;
        };
        /**
         * Keeps some characters, stars for the rest.
         */
        partial?: {
          /**
           * Characters kept at the start.
           */
          keepFirst?: number;
          /**
           * Characters kept at the end.
           */
          keepLast?: number;
        };
        /**
         * A token that is the same for the same value, so that joins and counts by hand still work.
         */
        tokenize?: {
          /**
           * Key for the tokens. Default: one that the operator makes for the namespace.
           */
          keySecretRef?: {
            /**
             * Name of a Secret in this namespace.
             */
            name: string;
            /**
             * Key inside the Secret.
             */
            key?: string;
          };
        };
        /**
         * NULL, or null in JSON.
         */
        nullify?: {
          [k: string]: unknown;
        };
      };
    }[];
    /**
     * Output and bodies that are not text (not UTF-8, or with zero bytes; images, archives). SSH and logs of pods: Search, the default, searches every run of text in it and changes nothing else; Deny ends the command at the first such byte; Pass stops searching there, so that a program that prints one zero byte shows everything after it. HTTP and Kubernetes: Deny, the default, refuses such an answer. Of several rules the strictest holds.
     */
    binaryOutput?: 'Search' | 'Deny' | 'Pass';
    /**
     * SSH: files whose contents are protected when they are read by sftp or scp.
     */
    files?: {
      /**
       * Absolute paths; * stays inside one folder, ** crosses folders.
       */
      paths: string[];
      /**
       * Deny: they are not read. Mask: what is read of them is searched for the content of this rule and of the others that apply.
       */
      action?: 'Deny' | 'Mask';
    }[];
  };
  /**
   * Written by the operator.
   */
  status?: {
    /**
     * The metadata.generation that this status describes.
     */
    observedGeneration?: number;
    /**
     * Standard Kubernetes conditions. Ready is the summary; wait for it with kubectl wait --for=condition=Ready.
     */
    conditions?: {
      /**
       * Name of the condition.
       */
      type: string;
      /**
       * Whether it holds.
       */
      status: 'True' | 'False' | 'Unknown';
      /**
       * The metadata.generation this was computed from.
       */
      observedGeneration?: number;
      /**
       * When status last changed.
       */
      lastTransitionTime: string;
      /**
       * One CamelCase word for programs.
       */
      reason: string;
      /**
       * A sentence for people.
       */
      message: string;
    }[];
    /**
     * How many AccessConnections are selected.
     */
    connections?: number;
    /**
     * Columns of the catalogs that match.
     */
    matchedColumns?: number;
    /**
     * Patterns that match no column.
     */
    unmatchedPatterns?: number;
  };
}
