/** `connections` of AccessPolicy and MaskingRule: exactly one member is set. */
export interface ConnectionSelection {
  readonly all?: boolean;
  readonly names?: readonly string[];
  readonly selector?: LabelSelector;
}

export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
    readonly values?: readonly string[];
  }[];
}

/** What selection looks at of a connection. */
export interface Selectable {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * True when an object of `namespace` selects the connection. An object is about the connections of its own namespace; one in the
 * guardrail namespace about those of all namespaces, but there names mean nothing, since they would be read differently in each.
 */
export function selectsConnection(
  selection: ConnectionSelection,
  namespace: string,
  connection: Selectable,
  guardrailNamespace: string,
): boolean {
  const guardrail = namespace === guardrailNamespace;
  if (!guardrail && connection.namespace !== namespace) return false;
  if (selection.all === true) return true;
  if (selection.names !== undefined) return !guardrail && selection.names.includes(connection.name);
  return selection.selector !== undefined && matchesLabels(selection.selector, connection.labels);
}

/** Kubernetes' rules (apimachinery, labels.Selector): NotIn and DoesNotExist hold where the label is absent. */
export function matchesLabels(selector: LabelSelector, labels: Readonly<Record<string, string>>): boolean {
  const value = (key: string): string | undefined => (Object.hasOwn(labels, key) ? labels[key] : undefined);
  // An empty selector would be everything in Kubernetes; the schema refuses it because a lost field could make one.
  if (selector.matchLabels === undefined && selector.matchExpressions === undefined) return false;
  for (const [key, wanted] of Object.entries(selector.matchLabels ?? {})) if (value(key) !== wanted) return false;
  for (const { key, operator, values = [] } of selector.matchExpressions ?? []) {
    const actual = value(key);
    switch (operator) {
      case 'In':
        if (actual === undefined || !values.includes(actual)) return false;
        break;
      case 'NotIn':
        if (actual !== undefined && values.includes(actual)) return false;
        break;
      case 'Exists':
        if (actual === undefined) return false;
        break;
      case 'DoesNotExist':
        if (actual !== undefined) return false;
        break;
      default: {
        const never: never = operator;
        throw new Error(`label selector: operator ${String(never)} is not known`);
      }
    }
  }
  return true;
}
