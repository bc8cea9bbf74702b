import { createHash } from 'node:crypto';
import type { HitList, Node } from './diagram-node';
import type { FlowMatch } from './flows';
import type { IntervalSet } from './intervals';
import type { Labels } from './labels';
import type { AnyForm, Hit, Tail } from './rule-form';
import type { AddressMatch, PortAlternatives, PortMatch, PortsByProtocol } from './rules';

/**
 * Short names of what numbers stand for, equal in every run for what is equal. Inside one run equal things are one object, and its
 * number its name; those numbers depend on what came before, and so say nothing to another run.
 */
export interface Contents {
  label(label: number): string;
  ports(set: IntervalSet): string;
  node(node: Node): string;
}

/** 96 bits: should two things ever have the same name, one of them gets another number, and rows are written for nothing. */
export function shortName(text: string): string {
  return createHash('sha256').update(text).digest('base64').slice(0, 16);
}

export function createContents(labels: Labels): Contents {
  const ofLabel = memoized((label: LabelKey) => shortName(textOf(label.number)));
  const labelKeys = new Map<number, LabelKey>();

  const textOf = (label: number): string => {
    const info = labels.info(label);
    switch (info.kind) {
      case 'family':
        return `family ${info.family}`;
      case 'set':
        return `set ${info.set}`;
      case 'nets':
        return `nets ${[...new Set(info.prefixes.map(({ key }) => key))].sort().join(' ')}`;
      case 'ports':
        return `ports ${info.set}`;
      case 'slice':
        return `slice ${info.protocol}:${info.port} ${textOf(info.group)}`;
    }
  };
  // Numbers of labels are not used twice (labels.ts).
  const label = (number: number): string => {
    let key = labelKeys.get(number);
    if (key === undefined) {
      key = { number };
      labelKeys.set(number, key);
    }
    return ofLabel(key);
  };
  const sorted = (some: readonly number[]): string => some.map(label).sort().join();

  const ports = memoized((set: IntervalSet) => shortName(set.bounds.join()));
  const byProtocol = ({ sets }: PortsByProtocol): string => sets.map(ports).join();
  const alternatives = (some: PortAlternatives | null): string =>
    some === null ? '-' : `${ports(some.intervals)} ${sorted(some.sets)}`;
  const portMatch = (match: PortMatch | null): string => {
    if (match === null) return '-';
    return match.kind === 'fixed'
      ? `= ${byProtocol(match.ports)}`
      : `? ${alternatives(match.positive)} / ${alternatives(match.negative)} / ${sorted(match.everySet)}`;
  };
  const address = (match: AddressMatch | null): string =>
    match === null ? '-' : `${sorted(match.allOf)} / ${sorted(match.noneOf)}`;
  const tail = memoized(({ dst, dstPorts, protocol, icmp }: Tail) =>
    shortName(
      [
        address(dst),
        portMatch(dstPorts),
        `${protocol.is ?? '-'} ${protocol.not ?? '-'}`,
        icmp === null ? '-' : ports(icmp),
      ].join('|'),
    ),
  );
  const flow = memoized(({ entries, others }: FlowMatch) =>
    shortName(
      [...entries]
        .map(([p, own]) => `${p} ${own === null ? '-' : `${ports(own.dports)} ${ports(own.sports)}`}`)
        .join('|') + (others ? '*' : ''),
    ),
  );
  const hit = memoized(({ step, action }: Hit) => shortName(`${action} ${JSON.stringify(step)}`));
  const hits = memoized((list: HitList): string =>
    shortName(`${list.before === null ? '' : hits(list.before)} ${hit(list.hit)}`),
  );
  const form = memoized((asked: AnyForm) => {
    const own = ((): string => {
      switch (asked.level) {
        case 0:
          return `${address(asked.match.src)}|${portMatch(asked.match.srcPorts)}|${tail(asked.tail)}`;
        case 1:
          return `${tail(asked.tail)}|${asked.srcPorts === null ? '-' : byProtocol(asked.srcPorts)}`;
        case 2:
          return flow(asked.flow);
        case 3:
          return `${ports(asked.dports)} ${ports(asked.sports)}`;
        case 4:
          return ports(asked.sports);
      }
    })();
    return shortName(`${asked.level}|${hit(asked.hit)}|${own}`);
  });

  return {
    label,
    ports,
    node(node) {
      if (node.kind === 'leaf') return hits(node.hits);
      const { page, level, protocol, tiers, forms } = node;
      // As the diagram tells branches apart (diagram.ts): the form of a pass, and how many rules it skips.
      const parts = forms.map((left, i) => {
        if (left.hit.action !== 'pass') return form(left);
        let end = i + 1;
        while (end < forms.length && tiers[end] === tiers[i]) end++;
        return `${form(left)}+${end - i - 1}`;
      });
      const at = `${page}/${level}.${protocol}.${node.hits === null ? '' : hits(node.hits)}`;
      return shortName(`${at}|${parts.join()}|${sorted(node.slices)}`);
    },
  };
}

interface LabelKey {
  readonly number: number;
}

/** Once for each object, as long as it is in use. */
function memoized<K extends object>(make: (key: K) => string): (key: K) => string {
  const known = new WeakMap<K, string>();
  return (key) => {
    let name = known.get(key);
    if (name === undefined) {
      name = make(key);
      known.set(key, name);
    }
    return name;
  };
}
