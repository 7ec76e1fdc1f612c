import {
  type CelInput,
  CelScalar,
  type CelValue,
  celList,
  celMap,
  celUint,
  isCelList,
  isCelMap,
  isCelType,
  isCelUint,
  objectType,
} from '@bufbuild/cel';
import type { ExprValue } from '@bufbuild/cel-spec/cel/expr/eval_pb.js';
import type { Value } from '@bufbuild/cel-spec/cel/expr/value_pb.js';
import { equals, type Registry } from '@bufbuild/protobuf';
import { isReflectMessage } from '@bufbuild/protobuf/reflect';
import { anyUnpack } from '@bufbuild/protobuf/wkt';

/** A value of the conformance data as input of the evaluator. */
export function toInput(value: Value, registry: Registry): CelInput {
  const { kind } = value;
  switch (kind.case) {
    case 'nullValue':
      return null;
    case 'boolValue':
    case 'int64Value':
    case 'doubleValue':
    case 'stringValue':
    case 'bytesValue':
      return kind.value;
    case 'uint64Value':
      return celUint(kind.value);
    case 'enumValue':
      return BigInt(kind.value.value);
    case 'objectValue': {
      const message = anyUnpack(kind.value, registry);
      if (message === undefined) throw new Error(`no type ${kind.value.typeUrl}`);
      return message;
    }
    case 'mapValue':
      return celMap(
        new Map(
          kind.value.entries.map((entry) => {
            const key = entry.key === undefined ? '' : toInput(entry.key, registry);
            if (typeof key !== 'string' && typeof key !== 'bigint' && typeof key !== 'boolean' && !isCelUint(key)) {
              throw new Error('map key of unknown type');
            }
            return [key, entry.value === undefined ? null : toInput(entry.value, registry)] as const;
          }),
        ),
      );
    case 'listValue':
      return celList(kind.value.values.map((element) => toInput(element, registry)));
    case 'typeValue':
      return scalarType(kind.value) ?? objectType(kind.value);
    default:
      throw new Error('a value without a kind');
  }
}

function scalarType(name: string): CelInput | undefined {
  return Object.values(CelScalar).find((scalar) => scalar.name === name);
}

export function bindingOf(value: ExprValue, registry: Registry): CelInput {
  if (value.kind.case !== 'value') throw new Error('a binding without a value');
  return toInput(value.kind.value, registry);
}

/** The same value of the same type; NaN is the same as itself, and the order of a map means nothing. */
export function isSame(a: CelValue, b: CelValue): boolean {
  if (isCelList(a) || isCelList(b)) {
    if (!isCelList(a) || !isCelList(b) || a.size !== b.size) return false;
    const others = [...b];
    return [...a].every((element, index) => isSame(element, others[index] ?? null));
  }
  if (isCelMap(a) || isCelMap(b)) {
    if (!isCelMap(a) || !isCelMap(b) || a.size !== b.size) return false;
    const others = [...b.entries()];
    return [...a.entries()].every(([key, value]) => others.some(([k, v]) => isSame(key, k) && isSame(value, v)));
  }
  if (isCelUint(a) || isCelUint(b)) return isCelUint(a) && isCelUint(b) && a.value === b.value;
  if (a instanceof Uint8Array || b instanceof Uint8Array) {
    return a instanceof Uint8Array && b instanceof Uint8Array && Buffer.compare(a, b) === 0;
  }
  if (isReflectMessage(a) || isReflectMessage(b)) {
    return isReflectMessage(a) && isReflectMessage(b) && a.desc === b.desc && equals(a.desc, a.message, b.message);
  }
  if (isCelType(a) || isCelType(b)) return isCelType(a) && isCelType(b) && a.name === b.name;
  return Object.is(a, b) || (a === 0 && b === 0);
}
