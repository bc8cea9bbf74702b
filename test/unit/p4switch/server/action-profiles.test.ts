import { ActionProfileGroup, ActionProfileMember, TableEntry } from 'p4runtime-js-bindings';
import { parseP4InfoText } from '../../../../src/p4info/text-format';
import { createInterpreter } from '../../../../src/p4switch/interpreter/interpreter';
import { startSwitchServer, type SwitchServer } from '../../../../src/p4switch/server/server';
import { Atomicity, type PartialEntity, TestController, Update_Type } from './controller';

const { INSERT, MODIFY, DELETE } = Update_Type;

/** What p4c makes of a table with an ActionSelector `ways`: set_member_id and set_group_id, members, selector. */
const SPEC = `
struct ethernet_h {
	bit<48> dst
	bit<48> src
	bit<16> type
}
struct send_arg_t {
	bit<32> port
}
struct route_set_group_id_arg_t {
	bit<32> group_id
}
struct route_set_member_id_arg_t {
	bit<32> member_id
}
header ethernet instanceof ethernet_h
struct metadata_t {
	bit<32> input_port
	bit<32> output_port
	bit<48> flow
	bit<32> Main_ways_group_id
	bit<32> Main_ways_member_id
}
metadata instanceof metadata_t
action NoAction args none {
	return
}
action send args instanceof send_arg_t {
	mov m.output_port t.port
	return
}
action route_set_group_id args instanceof route_set_group_id_arg_t {
	mov m.Main_ways_group_id t.group_id
	return
}
action route_set_member_id args instanceof route_set_member_id_arg_t {
	mov m.Main_ways_member_id t.member_id
	return
}
table route {
	key {
		h.ethernet.dst exact
	}
	actions {
		route_set_group_id
		route_set_member_id
		NoAction
	}
	default_action NoAction args none
	size 0x10000
}
table ways {
	key {
		m.Main_ways_member_id exact
	}
	actions {
		NoAction
		send
	}
	default_action NoAction args none
	size 0x10000
}
selector ways_sel {
	group_id m.Main_ways_group_id
	selector {
		m.flow
	}
	member_id m.Main_ways_member_id
	n_groups_max 0x4
	n_members_per_group_max 0x20
}
apply {
	rx m.input_port
	mov m.output_port 0x63
	extract h.ethernet
	mov m.flow h.ethernet.src
	mov m.Main_ways_member_id 0x0
	mov m.Main_ways_group_id 0xFFFFFFFF
	table route
	jmpnh LABEL_END
	jmpeq LABEL_END_0 m.Main_ways_group_id 0xFFFFFFFF
	table ways_sel
	LABEL_END_0 :	table ways
	LABEL_END :	emit h.ethernet
	tx m.output_port
}
`;
const [ROUTE, WAYS, SEND, NO_ACTION] = [0x02000001, 0x11000001, 0x01000001, 0x01000002];
const P4INFO_TEXT = `
tables {
  preamble { id: ${ROUTE} name: "Main.route" alias: "route" }
  match_fields { id: 1 name: "dst" bitwidth: 48 match_type: EXACT }
  action_refs { id: ${NO_ACTION} }
  action_refs { id: ${SEND} }
  implementation_id: ${WAYS}
  size: 1024
}
actions { preamble { id: ${NO_ACTION} name: "NoAction" alias: "NoAction" } }
actions { preamble { id: ${SEND} name: "Main.send" alias: "send" } params { id: 1 name: "port" bitwidth: 32 } }
action_profiles {
  preamble { id: ${WAYS} name: "Main.ways" alias: "ways" }
  table_ids: ${ROUTE} with_selector: true size: 8 max_group_size: 16
}
`;

let server: SwitchServer;
let controller: TestController;
beforeAll(async () => {
  server = await startSwitchServer({
    address: '127.0.0.1:0',
    deviceId: 7n,
    createEngine: (spec) => createInterpreter(spec, { now: () => 0 }),
  });
  controller = new TestController(server.address);
  await controller.primary();
});
afterAll(async () => {
  controller.close();
  await server.stop();
});
beforeEach(async () => {
  expect(await controller.setPipeline(parseP4InfoText(P4INFO_TEXT), SPEC)).toEqual({});
  for (const id of [1, 2]) expect(await controller.outcome(INSERT, member(id, 10 + id))).toBe('OK');
});

function member(memberId: number, port?: number, profile = WAYS): PartialEntity {
  const action =
    port === undefined ? undefined : { actionId: SEND, params: [{ paramId: 1, value: Buffer.of(port) }] };
  return { $case: 'actionProfileMember', value: { actionProfileId: profile, memberId, action } };
}
function group(
  groupId: number,
  weights: Record<number, number>,
  maxSize = 16,
  profile = WAYS,
): PartialEntity {
  const members = Object.entries(weights).map(([id, weight]) => ({ memberId: Number(id), weight }));
  return { $case: 'actionProfileGroup', value: { actionProfileId: profile, groupId, members, maxSize } };
}
type Reference = NonNullable<
  NonNullable<Extract<PartialEntity, { $case?: 'tableEntry' }>['value']>['action']
>['type'];
function route(type: Reference, dst = 5): PartialEntity {
  const match = [
    { fieldId: 1, fieldMatchType: { $case: 'exact' as const, value: { value: Buffer.of(dst) } } },
  ];
  return { $case: 'tableEntry', value: { tableId: ROUTE, match, action: { type } } };
}
const toMember = (value: number): Reference => ({ $case: 'actionProfileMemberId', value });
const toGroup = (value: number): Reference => ({ $case: 'actionProfileGroupId', value });

/** How many of 200 flows to destination 5 leave by each port. */
function ports(): Record<number, number> {
  const count: Record<number, number> = {};
  for (let flow = 0; flow < 200; flow++) {
    const frame = Buffer.alloc(60);
    frame[5] = 5;
    frame[11] = flow;
    const port = server.engine()!.process(1, frame, false).out[0]!.port;
    count[port] = (count[port] ?? 0) + 1;
  }
  return count;
}

test('an entry that names a member does as the member says, and follows it', async () => {
  expect(await controller.outcome(INSERT, route(toMember(1)))).toBe('OK');
  expect(ports()).toEqual({ 11: 200 });
  expect(await controller.outcome(MODIFY, member(1, 42))).toBe('OK');
  expect(ports()).toEqual({ 42: 200 });
  expect(await controller.outcome(MODIFY, route(toMember(2)))).toBe('OK');
  expect(ports()).toEqual({ 12: 200 });
});

test('an entry that names a group spreads flows by the weights', async () => {
  // An id far beyond the selector's four groups: ids are the controller's.
  expect(await controller.outcome(INSERT, group(4_000_000_000, { 1: 1, 2: 3 }))).toBe('OK');
  expect(await controller.outcome(INSERT, route(toGroup(4_000_000_000)))).toBe('OK');
  const spread = ports();
  expect(Object.keys(spread)).toEqual(['11', '12']);
  expect(spread[12]!).toBeGreaterThan(spread[11]! * 2);
  expect(await controller.outcome(MODIFY, group(4_000_000_000, { 2: 1 }))).toBe('OK');
  expect(ports()).toEqual({ 12: 200 });
  expect(await controller.outcome(MODIFY, group(4_000_000_000, {}))).toBe('OK');
  expect(ports()).toEqual({ 99: 200 });
});

test('members, groups and entries are read back', async () => {
  await controller.outcome(INSERT, group(7, { 1: 2, 2: 1 }));
  await controller.outcome(INSERT, route(toGroup(7)));
  await controller.outcome(INSERT, route(toMember(1), 6));
  const values = async (e: PartialEntity) =>
    (await controller.read([e])).entities.map((x) => x.entity?.value);
  const wanted = (e: PartialEntity): object => e.value as object;
  expect(await values({ $case: 'actionProfileMember', value: {} })).toEqual(
    [member(1, 11), member(2, 12)].map((m) => ActionProfileMember.fromPartial(wanted(m))),
  );
  expect(await values(member(2))).toHaveLength(1);
  expect(await values(member(3))).toEqual([]);
  expect(await values({ $case: 'actionProfileGroup', value: { actionProfileId: WAYS } })).toEqual([
    ActionProfileGroup.fromPartial(wanted(group(7, { 1: 2, 2: 1 }))),
  ]);
  expect(await values(group(8, {}))).toEqual([]);
  expect(await values({ $case: 'tableEntry', value: { tableId: ROUTE } })).toEqual(
    [route(toGroup(7)), route(toMember(1), 6)].map((r) => TableEntry.fromPartial(wanted(r))),
  );
  const [defaultEntry] = await values({
    $case: 'tableEntry',
    value: { tableId: ROUTE, isDefaultAction: true },
  });
  expect(defaultEntry).toMatchObject({ action: { type: { value: { actionId: NO_ACTION } } } });
});

test('updates of a batch are applied in their order, whatever they are of', async () => {
  const result = await controller.write([
    [INSERT, member(3, 13)],
    [INSERT, group(7, { 3: 1 })],
    [INSERT, route(toGroup(7))],
    [MODIFY, route(toMember(3))],
    [DELETE, group(7, {})],
  ]);
  expect(result).toEqual({});
  expect(ports()).toEqual({ 13: 200 });
});

test('what is in use stays', async () => {
  await controller.outcome(INSERT, group(7, { 1: 1 }));
  await controller.outcome(INSERT, route(toGroup(7)));
  await controller.outcome(INSERT, route(toMember(2), 6));
  expect(await controller.outcome(DELETE, member(1))).toBe('FAILED_PRECONDITION');
  expect(await controller.outcome(DELETE, member(2))).toBe('FAILED_PRECONDITION');
  expect(await controller.outcome(DELETE, group(7, {}))).toBe('FAILED_PRECONDITION');
  for (const e of [route(toGroup(7)), route(toMember(2), 6), group(7, {}), member(1), member(2)]) {
    expect(await controller.outcome(DELETE, e)).toBe('OK');
  }
});

test('a batch that fails leaves members and groups as they were', async () => {
  await controller.outcome(INSERT, group(7, { 1: 1 }));
  await controller.outcome(INSERT, route(toGroup(7)));
  const result = await controller.write(
    [
      [MODIFY, group(7, { 2: 1 })],
      [MODIFY, member(1, 50)],
      [INSERT, member(3, 13)],
      [INSERT, group(8, { 3: 1 })],
      [DELETE, route(toGroup(7))],
      [DELETE, group(7, {})],
      [DELETE, group(99, {})],
    ],
    { atomicity: Atomicity.ROLLBACK_ON_ERROR },
  );
  expect(result).toMatchObject({ each: [...Array<string>(6).fill('ABORTED'), 'NOT_FOUND'] });
  expect(ports()).toEqual({ 11: 200 });
  expect((await controller.read([{ $case: 'actionProfileMember', value: {} }])).entities).toHaveLength(2);
  expect((await controller.read([{ $case: 'actionProfileGroup', value: {} }])).entities).toHaveLength(1);
});

test.each<[string, string, Update_Type, PartialEntity]>([
  ['INVALID_ARGUMENT', 'an unknown profile', INSERT, member(3, 1, 5)],
  ['INVALID_ARGUMENT', 'member id 0', INSERT, member(0, 1)],
  ['INVALID_ARGUMENT', 'a member without an action', INSERT, member(3)],
  ['ALREADY_EXISTS', 'a member again', INSERT, member(1, 1)],
  ['NOT_FOUND', 'modify of a missing member', MODIFY, member(3, 1)],
  ['INVALID_ARGUMENT', 'modify of a member without an action', MODIFY, member(1)],
  ['NOT_FOUND', 'delete of a missing member', DELETE, member(3)],
  ['OK', 'delete of a member by its id alone', DELETE, member(1)],
  ['INVALID_ARGUMENT', 'group id 0', INSERT, group(0, { 1: 1 })],
  ['NOT_FOUND', 'a group with a missing member', INSERT, group(1, { 3: 1 })],
  ['NOT_FOUND', 'modify of a missing group', MODIFY, group(1, { 1: 1 })],
  ['NOT_FOUND', 'delete of a missing group', DELETE, group(1, {})],
  ['INVALID_ARGUMENT', 'weight 0', INSERT, group(1, { 1: 0 })],
  [
    'INVALID_ARGUMENT',
    'a member twice in a group',
    INSERT,
    {
      $case: 'actionProfileGroup',
      value: {
        actionProfileId: WAYS,
        groupId: 1,
        maxSize: 16,
        members: [1, 1].map((memberId) => ({ memberId, weight: 1 })),
      },
    },
  ],
  ['OK', 'a group with the id of a member', INSERT, group(1, { 2: 1 })],
  ['INVALID_ARGUMENT', 'no max_size', INSERT, group(1, { 1: 1 }, 0)],
  ['INVALID_ARGUMENT', 'max_size above that of p4info', INSERT, group(1, { 1: 1 }, 17)],
  ['RESOURCE_EXHAUSTED', 'more weight than max_size', INSERT, group(1, { 1: 3, 2: 2 }, 4)],
  ['NOT_FOUND', 'an entry to a missing member', INSERT, route(toMember(3))],
  ['NOT_FOUND', 'an entry to a missing group', INSERT, route(toGroup(3))],
  [
    'INVALID_ARGUMENT',
    'an entry with an action',
    INSERT,
    route({ $case: 'action', value: { actionId: SEND } }),
  ],
  ['UNIMPLEMENTED', 'a one-shot action set', INSERT, route({ $case: 'actionProfileActionSet', value: {} })],
])('%s: %s', async (code, _, type, entity) => {
  expect(await controller.outcome(type, entity)).toBe(code);
});

test('limits: members of the profile, groups of the selector, max_size fixed', async () => {
  for (let id = 3; id <= 8; id++) expect(await controller.outcome(INSERT, member(id, id))).toBe('OK');
  expect(await controller.outcome(INSERT, member(9, 9))).toBe('RESOURCE_EXHAUSTED');
  for (let id = 1; id <= 4; id++) expect(await controller.outcome(INSERT, group(id, { 1: 1 }))).toBe('OK');
  expect(await controller.outcome(INSERT, group(5, { 1: 1 }))).toBe('RESOURCE_EXHAUSTED');
  expect(await controller.outcome(INSERT, group(1, { 1: 1 }))).toBe('ALREADY_EXISTS');
  expect(await controller.outcome(MODIFY, group(1, { 1: 1 }, 8))).toBe('INVALID_ARGUMENT');
  expect(await controller.outcome(DELETE, group(2, {}))).toBe('OK');
  expect(await controller.outcome(INSERT, group(5, { 1: 1 }))).toBe('OK');
});

test('a default entry of an indirect table is constant', async () => {
  const entry: PartialEntity = { $case: 'tableEntry', value: { tableId: ROUTE, isDefaultAction: true } };
  expect(await controller.outcome(MODIFY, entry)).toBe('PERMISSION_DENIED');
});
