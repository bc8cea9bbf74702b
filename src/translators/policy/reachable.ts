import type { Action } from './outcomes';
import type { ProgramRule } from './programs';
import type { Hit, SrcForm } from './rule-form';

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

/**
 * Whether nothing behind the last of `rules`, which always matches, can be reached. It ends its tier unless it only logs; the
 * tiers behind it are out of reach only if no rule of its tier may pass before it.
 */
export function endsProgram(
  action: Action,
  rules: readonly { readonly hit: Hit }[],
  tiers: readonly number[],
): boolean {
  if (action === 'log' || action === 'pass') return false;
  const tier = tiers[tiers.length - 1];
  return !rules.some((rule, i) => tiers[i] === tier && rule.hit.action === 'pass');
}
