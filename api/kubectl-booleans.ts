import { type Document, isScalar, visit } from 'yaml';

/**
 * kubectl reads YAML 1.1, where a bare yes, no, on, off, y and n are booleans; here they would be texts. The same file must mean the
 * same in both places.
 */
export function booleansOfKubectl(parsed: Document.Parsed): { offset: number; source: string }[] {
  const found: { offset: number; source: string }[] = [];
  visit(parsed, {
    Scalar(key, node) {
      if (key === 'key' || !isScalar(node) || node.type !== 'PLAIN') return;
      const source = node.source ?? '';
      if (/^(y|n|yes|no|on|off)$/i.test(source) && node.range != null) found.push({ offset: node.range[0], source });
    },
  });
  return found;
}
