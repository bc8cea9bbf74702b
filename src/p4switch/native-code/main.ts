/**
 * For native/Makefile: OUT SPEC... writes the C of the specs to OUT. One that can not be compiled is named, with the reason,
 * and left to DPDK's interpreter: the engine is built all the same.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { CalicoP4Error } from '../../errors';
import { parseSpec } from '../spec/parser';
import { writeProgram } from './program';

const [out, ...files] = process.argv.slice(2);
if (out === undefined) {
  process.stderr.write('native-code: give a file to write, and specs\n');
  process.exit(2);
}
const programs: string[] = [];
for (const file of files) {
  try {
    const text = readFileSync(file, 'utf8');
    programs.push(writeProgram({ name: file, text, spec: parseSpec(text) }, `program_${programs.length}`));
  } catch (error) {
    if (!(error instanceof CalicoP4Error)) throw error;
    process.stderr.write(`native: ${file} is left to DPDK's interpreter: ${error.message}\n`);
  }
}
writeFileSync(
  out,
  `/* Written by the build (src/p4switch/native-code). */
#include "compiled_code.h"

/* Comparisons of a byte with large numbers, and with 0, are the program's. */
#pragma GCC diagnostic ignored "-Wtype-limits"

${programs.map((p) => `${p}\n\n`).join('')}const struct compiled_code *const compiled_codes[] = {
${programs.map((_, n) => `\t&program_${n},\n`).join('')}	NULL,
};
`,
);
