import type { ProgramRule } from './diagram';
import { endsProgram } from './diagram';
import type { SrcForm } from './rule-form';

/** The rules of a program that some packet can reach. */
export function reachable(program: readonly ProgramRule[]): readonly SrcForm[] {
  const out: SrcForm[] = [];
  const tiers: number[] = [];
  for (let i = 0; i < program.length; i++) {
    const { form, tier } = program[i]!;
    out.push(form);
    tiers.push(tier);
    if (!form.certain || form.hit.action === 'log') continue;
    if (endsProgram(form.hit.action, out, tiers)) break;
    while (program[i + 1]?.tier === tier) i++;
  }
  return out;
}
