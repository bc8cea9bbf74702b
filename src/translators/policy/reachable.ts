import type { ProgramRule } from './programs';
import type { SrcForm } from './rule-form';
import { nextReached, type Turn } from './turns';

/** The rules of a program that some packet can reach. */
export function reachable(program: readonly ProgramRule[]): readonly SrcForm[] {
  const out: SrcForm[] = [];
  const turns: Turn[] = [];
  for (let i = 0; i < program.length; i++) {
    const { form, turn } = program[i]!;
    out.push(form);
    turns.push(turn);
    if (!form.certain) continue;
    const next = nextReached(out, turns);
    while (i + 1 < program.length && program[i + 1]!.turn.at < next) i++;
  }
  return out;
}
