/** A model as Felix would send it, for tests; `calico-p4 lab` sends its own the same way. */
export * from '../../src/lab/felix-frames';
