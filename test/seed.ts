/**
 * The seed of every random test: fixed, so that a run of the suite says of the code what the last one said. CALICO_P4_TEST_SEED tries another;
 * `make fuzz` looks for new ones.
 */
import fc from 'fast-check';

export const SEED = Number(process.env['CALICO_P4_TEST_SEED'] ?? 20_261_124);

fc.configureGlobal({ seed: SEED });
