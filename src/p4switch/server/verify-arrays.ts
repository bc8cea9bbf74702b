import { p4info as info } from 'p4runtime-js-bindings';
import type { Spec } from '../spec/ast';
import type { CounterLayout, MeterLayout, RegisterLayout } from './layout';
import { findSpecName, nameOf } from './names';
import { invalid } from './refusal';

/** p4c turns a counter into a register array; one that counts both into `<name>_packets` and `<name>_bytes`. */
export function counterLayout(counter: info.Counter, spec: Spec): CounterLayout {
  const { name } = nameOf(counter);
  const unit = counter.spec?.unit;
  const array = (suffix: string): string => {
    const found = findSpecName(nameOf(counter), spec.regarrays.keys(), suffix);
    if (found === undefined) throw invalid(`counter ${name} has no register array *${suffix} in the spec`);
    return found;
  };
  const both = unit === info.CounterSpec_Unit.BOTH;
  const packets = unit === info.CounterSpec_Unit.BYTES ? undefined : array(both ? '_packets' : '');
  const bytes = unit === info.CounterSpec_Unit.PACKETS ? undefined : array(both ? '_bytes' : '');
  const specSize = spec.regarrays.get((packets ?? bytes)!)!.size;
  if (counter.size > BigInt(specSize)) {
    throw invalid(`counter ${name} has ${counter.size} cells in the p4info, ${specSize} in the spec`);
  }
  return {
    id: counter.preamble!.id,
    name,
    size: counter.size > 0n ? Number(counter.size) : specSize,
    packets,
    bytes,
  };
}

export function registerLayout(register: info.Register, spec: Spec): RegisterLayout {
  const { name } = nameOf(register);
  const array = findSpecName(nameOf(register), spec.regarrays.keys());
  const regarray = array === undefined ? undefined : spec.regarrays.get(array);
  if (array === undefined || !regarray) throw invalid(`register ${name} of the p4info is not in the spec`);
  const type = register.typeSpec?.typeSpec;
  const bit =
    type?.$case === 'bitstring' && type.value.typeSpec?.$case === 'bit'
      ? type.value.typeSpec.value
      : undefined;
  if (!bit || bit.bitwidth <= 0 || bit.bitwidth > 64)
    throw invalid(`register ${name}: only bit<1> to bit<64> are supported`);
  if (register.size > regarray.size) {
    throw invalid(`register ${name} has ${register.size} cells in the p4info, ${regarray.size} in the spec`);
  }
  const size = register.size > 0 ? register.size : regarray.size;
  return { id: register.preamble!.id, name, array, size, bits: bit.bitwidth };
}

export function meterLayout(meter: info.Meter, spec: Spec): MeterLayout {
  const { name } = nameOf(meter);
  const array = findSpecName(nameOf(meter), spec.metarrays.keys());
  const metarray = array === undefined ? undefined : spec.metarrays.get(array);
  if (array === undefined || !metarray) throw invalid(`meter ${name} of the p4info is not in the spec`);
  const type = meter.spec?.type ?? info.MeterSpec_Type.TWO_RATE_THREE_COLOR;
  if (type !== info.MeterSpec_Type.TWO_RATE_THREE_COLOR)
    throw invalid(`meter ${name}: only meters of two rates and three colours are supported`);
  if (meter.size < 0n || meter.size > BigInt(metarray.size)) {
    throw invalid(`meter ${name} has ${meter.size} cells in the p4info, ${metarray.size} in the spec`);
  }
  const size = meter.size > 0n ? Number(meter.size) : metarray.size;
  return { id: meter.preamble!.id, name, array, size };
}
