import { existsSync } from 'node:fs';
import path from 'node:path';
import type { Type } from 'protobufjs';
import { loadSync } from 'protobufjs';
import { CalicoP4Error } from '../../errors';
import type { Form } from './forms';

/** The messages of one form, by their field number in ToDataplane. */
export interface Contract {
  /** The message type of a payload; undefined when the form has no such payload. */
  payload(fieldNumber: number): Type | undefined;
}

/**
 * Loads a form's .proto. protobufjs compiles the decoders when they are first used, as fast as generated ones, so
 * nothing is generated ahead of time and nothing can be stale.
 */
export function loadContract(form: Form): Contract {
  const cached = contracts.get(form.name);
  if (cached !== undefined) {
    return cached;
  }
  const root = loadSync(path.join(protoFolder(), `${form.name}.proto`));
  const payloads = new Map<number, Type>();
  for (const field of root.lookupType('felix.ToDataplane').oneofs['payload']?.fieldsArray ?? []) {
    payloads.set(field.id, root.lookupType(`felix.${field.type}`));
  }
  const contract: Contract = { payload: (fieldNumber) => payloads.get(fieldNumber) };
  contracts.set(form.name, contract);
  return contract;
}

const contracts = new Map<string, Contract>();

/** felix-proto lies beside src, and beside dist when compiled: look upwards for it. */
export function protoFolder(): string {
  for (let folder = __dirname; ; folder = path.dirname(folder)) {
    const candidate = path.join(folder, 'felix-proto');
    if (existsSync(candidate)) {
      return candidate;
    }
    if (folder === path.dirname(folder)) {
      throw new CalicoP4Error(
        'USAGE',
        `the folder felix-proto is missing above ${__dirname}: install calico-p4 with all its files`,
      );
    }
  }
}
