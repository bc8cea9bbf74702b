"""What a stock P4Runtime client (finsy) sees of the embedded switch with the P4-DPDK pipeline.

Usage: client.py ADDRESS P4INFO SPEC. Prints one JSON object; the test that started it judges.
"""

import asyncio
import json
import logging
import sys
from pathlib import Path

from finsy import (
    P4ClientError,
    P4CounterData,
    P4CounterEntry,
    P4TableAction,
    P4TableEntry,
    P4TableMatch,
    Switch,
    SwitchOptions,
)

logging.disable(logging.CRITICAL)


def show(entry):
    """An entry as plain data."""
    shown = {
        "table": entry.table_id,
        "match": {k: str(v) for k, v in sorted((entry.match or {}).items())},
        "action": entry.action.name,
        "args": dict(sorted(entry.action.args.items())),
    }
    if entry.priority:
        shown["priority"] = entry.priority
    if entry.is_default_action:
        shown["default"] = True
    if entry.metadata:
        shown["metadata"] = entry.metadata.decode()
    return shown


async def read(switch, *entities):
    return [show(e) async for e in switch.read(entities)]


async def failure(awaitable):
    """Codes of the failed updates by their place in the batch."""
    try:
        await awaitable
    except P4ClientError as ex:
        return {"code": ex.code.name, "updates": {i: e.canonical_code.name for i, e in ex.details.items()}}
    return None


POD = P4TableEntry("port_in", match=P4TableMatch(port=3), action=P4TableAction("from_pod", ep=77, mac=2, port=3, extras=0))
NET = P4TableEntry(
    "addr_labels_prefix",
    match=P4TableMatch(page=1, hi=(0, 0xFFFFFFFFFFFFFFFF), lo=(0xFFFF0A000000, 0xFFFFFFFFFF000000)),
    action=P4TableAction("set_prefix_labels", w0=12, w1=0, w2=0, w3=0, w4=0, w5=0, w6=0, w7=1),
    priority=104,
    metadata=b"10.0.0.0/8",
)
PORTS = P4TableEntry(
    "dport_labels",
    match=P4TableMatch(page=1, proto=6, port=(0x1F90, 12)),
    action=P4TableAction("set_dport_labels", w0=5, w1=0, w2=0, w3=1),
)


async def tables(switch, seen):
    seen["empty"] = await read(switch, P4TableEntry())
    await switch.insert([POD, NET, PORTS])
    seen["all"] = await read(switch, P4TableEntry())
    seen["one"] = await read(switch, P4TableEntry("port_in", match=P4TableMatch(port=3)))

    await switch.modify([P4TableEntry("port_in", match=P4TableMatch(port=3), action=P4TableAction("from_uplink", mac=5, port=3))])
    seen["modified"] = await read(switch, P4TableEntry("port_in"))

    seen["default"] = await read(switch, P4TableEntry("port_in", is_default_action=True))

    other = P4TableEntry("port_in", match=P4TableMatch(port=4), action=P4TableAction("from_host", mac=2, port=4))
    seen["twice"] = await failure(switch.insert([other, POD]))
    seen["continued"] = await read(switch, P4TableEntry("port_in", match=P4TableMatch(port=4)))

    await switch.delete([POD, other, NET, PORTS])
    seen["deleted"] = await read(switch, P4TableEntry())
    seen["deletedTwice"] = await failure(switch.delete([POD]))


async def counters(switch, seen):
    await switch.modify([P4CounterEntry("reasons", index=2, data=P4CounterData(packet_count=41))])
    seen["counter"] = [c.packet_count async for c in switch.read([P4CounterEntry("reasons", index=2)])]
    seen["counters"] = len([c async for c in switch.read([P4CounterEntry("outcomes")])])
    seen["counterBeyond"] = await failure(read(switch, P4CounterEntry("reasons", index=1000)))


async def main(address, p4info, spec):
    seen = {}
    options = SwitchOptions(p4info=Path(p4info), p4blob=Path(spec), device_id=1)
    async with Switch("first", address, options) as first:
        seen["version"] = str(first.p4runtime_version)
        seen["first"] = {"primary": first.is_primary, "election": first.election_id}
        # The same election id is taken, so finsy goes on with a lower one: a backup.
        async with Switch("second", address, SwitchOptions(device_id=1)) as second:
            seen["second"] = {"primary": second.is_primary, "election": second.election_id, "of": second.primary_id}
            seen["backupWrites"] = await failure(second.insert([POD]))
            seen["backupReads"] = await read(second, P4TableEntry())
            seen["backupKnows"] = second.p4info.tables["port_in"].size
            # A higher one takes over, and the first learns of it.
            async with Switch("third", address, SwitchOptions(device_id=1, initial_election_id=20)) as third:
                seen["third"] = {"primary": third.is_primary}
                seen["firstMeanwhile"] = {"primary": first.is_primary, "of": first.primary_id}
                seen["deposedWrites"] = await failure(first.insert([POD]))
                await tables(third, seen)
                await counters(third, seen)
    print(json.dumps(seen))


asyncio.run(main(*sys.argv[1:4]))
