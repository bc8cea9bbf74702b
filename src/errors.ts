/**
 * The one error class of the program: a stable code (documented in docs/errors.md, held in step by a test), a message
 * for the person who reads it (what failed, on which object, what to do), and a read-only context for logs.
 */
export class CalicoP4Error extends Error {
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly context: Readonly<Record<string, unknown>> = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'CalicoP4Error';
  }
}

/** Every code the program can fail with. Add here and in docs/errors.md. */
export const ERROR_CODES = [
  'FELIX_FRAME_TOO_LARGE',
  'FELIX_STREAM_TRUNCATED',
  'FELIX_MESSAGE_INVALID',
  'FELIX_FORM_UNKNOWN',
  'FELIX_FORM_CHANGED',
  'FELIX_SEQUENCE_GAP',
  'FELIX_LINK_CLOSED',
  'CONFIG_INVALID',
  'SPEC_INVALID',
  'PIPELINE_MISMATCH',
  'TARGET_UNREACHABLE',
  'TARGET_NOT_PRIMARY',
  'TARGET_WRITE_FAILED',
  'TARGET_TABLE_FULL',
  'POLICY_INVALID',
  'HOST_NETWORK_FAILED',
  'USAGE',
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];
