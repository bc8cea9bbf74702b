/** The numbers of the engine's protocol (docs/engine-protocol.md; native/engine/protocol.h has the same). */

/** 2: VLANs of ports. 3: meters. 4: whether the program is machine code. */
export const PROTOCOL_VERSION = 4;
/** Length of the body, operation, status, two bytes of zeros, id of the request. */
export const FRAME_HEADER = 12;
export const FRAME_BODY_MAX = 32 << 20;
/** Cursor of a read that came to its end. */
export const END = 0xffff_ffff;
export const LEARNER_BIT = 0x8000;

export const Op = {
  hello: 1,
  load: 2,
  activate: 3,
  describe: 4,
  program: 5,
  write: 6,
  readEntries: 7,
  readDefault: 8,
  readGroups: 9,
  readRegisters: 10,
  readLearned: 11,
  flushLearned: 12,
  tableStats: 13,
  engineStats: 14,
  attach: 15,
  detach: 16,
  ports: 17,
  inject: 18,
  idle: 19,
  bench: 20,
  quit: 21,
  readMeters: 22,
} as const;

export const Status = {
  ok: 0,
  invalid: 1,
  notFound: 2,
  exists: 3,
  full: 4,
  spec: 5,
  noProgram: 6,
  unsupported: 7,
  system: 8,
} as const;

export const Which = { running: 0, staged: 1 } as const;
export type Which = (typeof Which)[keyof typeof Which];

export const Change = {
  add: 1,
  modify: 2,
  put: 3,
  delete: 4,
  default: 5,
  group: 6,
  register: 7,
  meter: 8,
} as const;

export const PORT_KINDS = ['tap', 'packet', 'device', 'memory'] as const;
export type PortKind = (typeof PORT_KINDS)[number];

export const IDLE_MODES = ['sleep', 'adaptive', 'spin'] as const;
export type IdleMode = (typeof IDLE_MODES)[number];
