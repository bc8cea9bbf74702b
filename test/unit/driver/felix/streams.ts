import path from 'node:path';
import type { Root, Type } from 'protobufjs';
import { loadSync } from 'protobufjs';
import { encodeFrame } from '../../../../src/driver/felix/frame-decoder';
import type { FelixModel } from '../../../../src/model/model';

/** A ToDataplane payload by its camel-case name, for example `{ inSync: {} }`. */
export type Payload = Readonly<Record<string, unknown>>;

/** The message type of that name in a form's .proto. */
export function messageType(form: string, name: string): Type {
  let root = roots.get(form);
  if (root === undefined) {
    root = loadSync(path.resolve(__dirname, '../../../../felix-proto', `${form}.proto`));
    roots.set(form, root);
  }
  return root.lookupType(`felix.${name}`);
}

const roots = new Map<string, Root>();

/** Frames as Felix of that form would send them, numbered from `first`. */
export function felixStream(form: string, payloads: readonly Payload[], first = 0): Buffer {
  const type = messageType(form, 'ToDataplane');
  return Buffer.concat(
    payloads.map((payload, i) =>
      encodeFrame(type.encode(type.fromObject({ ...payload, sequenceNumber: first + i })).finish()),
    ),
  );
}

/** A frame of raw ToDataplane fields after the sequence number, for what no form would send. */
export function rawFrame(sequence: number, body: Uint8Array): Buffer {
  return Buffer.from(encodeFrame(Buffer.concat([body, Uint8Array.of(15 * 8, sequence)])));
}

/** The model as it is now; the session's own goes on changing. */
export function snapshot(model: FelixModel): FelixModel {
  return {
    config: model.config,
    ipSets: new Map([...model.ipSets].map(([id, set]) => [id, { ...set, members: new Set(set.members) }])),
    policies: new Map(model.policies),
    profiles: new Map(model.profiles),
    workloads: new Map(model.workloads),
    hostEndpoints: new Map(model.hostEndpoints),
    hosts: new Map(model.hosts),
    pools: new Map(model.pools),
    routes: new Map(model.routes),
    vteps: new Map(model.vteps),
    wireguard: new Map(model.wireguard),
    wireguardV6: new Map(model.wireguardV6),
    encapsulation: model.encapsulation,
    inSync: model.inSync,
  };
}

/** The frames with sequence numbers that fit after `first`. */
export function renumbered(frames: readonly Buffer[], first: number): Buffer[] {
  const type = messageType('v3.33', 'ToDataplane');
  return frames.map((frame, i) => {
    // Appended: the last one of a field counts, and all else stays byte for byte. The scanner of the envelope does the same.
    const number = type.encode(type.create({ sequenceNumber: first + i })).finish();
    return Buffer.from(
      encodeFrame(Buffer.concat([frame.subarray(8), first + i === 0 ? Buffer.from([120, 0]) : number])),
    );
  });
}
