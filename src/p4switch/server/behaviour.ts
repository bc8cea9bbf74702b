/**
 * Where the server departs from the specification, in one place: the rest of it asks here. `infrap4d` does what IPDK's
 * infrap4d with the P4-DPDK driver does, as read from the source of both; so that what works against it works there.
 */
export interface Behaviour {
  readonly name: BehaviourName;
  /** False: MODIFY of a table entry or of a member is OK, there or not, and nothing happens. */
  readonly modifies: boolean;
  /** False: a default entry written without an action is OK, and the default action stays. */
  readonly resetsDefaults: boolean;
  /** False: Writes are CONTINUE_ON_ERROR; others are refused as a whole. */
  readonly rollsBack: boolean;
  /** False: entries that packets made can not be read, and so neither can all tables at once if one of them learns. */
  readonly readsLearned: boolean;
  /** False: a read of one entry that is not there fails with NOT_FOUND, where the specification answers nothing. */
  readonly readsAbsent: boolean;
  /** False: a read of many entries takes no filter but the table. */
  readonly filtersReads: boolean;
  /** False: metadata of entries is taken and not given back. */
  readonly keepsMetadata: boolean;
  /** True: values in replies have all their bytes, not only the significant ones. */
  readonly padsReplies: boolean;
  /** True: action parameters and exact fields that are left out are 0. */
  readonly fillsIn: boolean;
  readonly optionalMatch: boolean;
  readonly reconciles: boolean;
  /** True: direct counters, meters and idle timeouts are taken, and count nothing; false: they are refused. */
  readonly stubsDirect: boolean;
  /** What a request for device 0 gets: NOT_FOUND like every other device that is not there, or INVALID_ARGUMENT. */
  readonly zeroIsInvalidDevice: boolean;
  /** Controllers in arbitration at a time; streams are limited apart. */
  readonly maxControllers: number;
}

export type BehaviourName = 'specification' | 'infrap4d';

const SPECIFICATION: Behaviour = {
  name: 'specification',
  modifies: true,
  resetsDefaults: true,
  rollsBack: true,
  readsLearned: true,
  readsAbsent: true,
  filtersReads: true,
  keepsMetadata: true,
  padsReplies: false,
  fillsIn: false,
  optionalMatch: true,
  reconciles: true,
  stubsDirect: false,
  zeroIsInvalidDevice: false,
  maxControllers: Infinity,
};

const INFRAP4D: Behaviour = {
  name: 'infrap4d',
  modifies: false,
  resetsDefaults: false,
  rollsBack: false,
  readsLearned: false,
  readsAbsent: false,
  filtersReads: false,
  keepsMetadata: false,
  padsReplies: true,
  fillsIn: true,
  optionalMatch: false,
  reconciles: false,
  stubsDirect: true,
  zeroIsInvalidDevice: true,
  maxControllers: 5,
};

export function behaviour(name: BehaviourName): Behaviour {
  return name === 'infrap4d' ? INFRAP4D : SPECIFICATION;
}
