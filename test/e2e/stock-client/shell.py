"""What p4runtime-shell sees of the embedded switch with the P4-DPDK pipeline.

Usage: shell.py ADDRESS P4INFO SPEC. Prints one JSON object; the test that started it judges.
"""

import contextlib
import json
import logging
import os
import sys

import p4runtime_sh.shell as sh
from p4runtime_sh.p4runtime import P4RuntimeException, P4RuntimeWriteException

logging.disable(logging.CRITICAL)


def number(raw):
    return int.from_bytes(raw, "big")


def show(entry):
    """An entry as plain data."""
    message = entry.msg()
    match = {}
    for field in message.match:
        kind = field.WhichOneof("field_match_type")
        value = getattr(field, kind)
        name = sh.context.get_mf_name(sh.context.get_name_from_id(message.table_id), field.field_id)
        match[name] = {
            "exact": lambda v: number(v.value),
            "lpm": lambda v: f"{number(v.value)}/{v.prefix_len}",
            "ternary": lambda v: f"{number(v.value)}&&&{number(v.mask)}",
        }[kind](value)
    action = message.action.action
    name = sh.context.get_name_from_id(action.action_id)
    shown = {
        "table": entry.name,
        "match": match,
        "action": name.rsplit(".", 1)[-1],
        "params": [number(p.value) for p in action.params],
    }
    if message.priority:
        shown["priority"] = message.priority
    return shown


def read(table, change=lambda entry: None):
    pattern = sh.TableEntry(table)
    change(pattern)
    found = []
    pattern.read(lambda entry: found.append(show(entry)))
    return found


def failure(call):
    """Codes of the failed updates by their place in the batch."""
    try:
        call()
    except P4RuntimeWriteException as ex:
        return [error.canonical_code for _, error in ex.errors]
    except P4RuntimeException as ex:
        return ex.grpc_error.code().name
    return None


def pod(port=3, ep=77):
    entry = sh.TableEntry("port_in")(action="from_pod")
    entry.match["port"] = str(port)
    entry.action["ep"] = str(ep)
    entry.action["mac"] = "00:00:00:00:00:02"
    entry.action["port"] = str(port)
    entry.action["extras"] = "0"
    return entry


def tables(seen):
    ports = sh.TableEntry("dport_labels")(action="set_dport_labels")
    ports.match["page"] = "1"
    ports.match["proto"] = "6"
    ports.match["port"] = "0x1f90/12"
    for word, labels in enumerate((5, 0, 0, 1)):
        ports.action[f"w{word}"] = str(labels)
    net = sh.TableEntry("addr_labels_prefix")(action="set_prefix_labels", priority=104)
    net.match["page"] = "1"
    net.match["hi"] = "0&&&0xffffffffffffffff"
    net.match["lo"] = "0xffff0a000000&&&0xffffffffff000000"
    for word, labels in enumerate((12, 0, 0, 0, 0, 0, 0, 1)):
        net.action[f"w{word}"] = str(labels)
    for entry in (pod(), ports, net):
        entry.insert()
    seen["inserted"] = [entry for table in ("port_in", "dport_labels", "addr_labels_prefix") for entry in read(table)]
    seen["one"] = read("port_in", lambda p: p.match.set(port="3"))
    seen["twice"] = failure(pod().insert)
    pod(ep=78).modify()
    seen["modified"] = read("port_in")
    seen["absent"] = failure(pod(port=4).delete)
    for entry in (pod(), ports, net):
        entry.delete()
    seen["deleted"] = [entry for table in ("port_in", "dport_labels", "addr_labels_prefix") for entry in read(table)]


def counters(seen):
    cell = sh.CounterEntry("reasons")
    cell.index = 2
    cell.packet_count = 41
    cell.modify()
    cell = sh.CounterEntry("reasons")
    cell.index = 2
    seen["counter"] = [found.packet_count for found in cell.read()]
    seen["counters"] = len(list(sh.CounterEntry("reasons").read()))


def meters(seen):
    cell = sh.MeterEntry("packet_limits")
    cell.index = 5
    cell.cir, cell.cburst, cell.pir, cell.pburst = 1 << 40, 2, 1 << 41, 4
    cell.modify()
    # A target that takes meters and does nothing can not read them.
    cell = sh.MeterEntry("packet_limits")
    cell.index = 5
    try:
        seen["meter"] = [[m.cir, m.cburst, m.pir, m.pburst] for m in cell.read()]
    except Exception as error:
        seen["meter"] = type(error).__name__


def main(address, p4info, spec):
    seen = {}
    # The shell prints as it goes.
    with contextlib.redirect_stdout(open(os.devnull, "w")):
        sh.setup(
            device_id=1, grpc_addr=address, election_id=(0, 1), config=sh.FwdPipeConfig(p4info, spec), verbose=False
        )
        try:
            look(seen)
        finally:
            # A thread of the shell's would keep the process.
            sh.teardown()
    print(json.dumps(seen))


def look(seen):
    seen["version"] = str(sh.client.api_version())
    seen["tables"] = sorted(table.name.rsplit(".", 1)[-1] for table in sh.P4Objects(sh.P4Type.table))
    tables(seen)
    counters(seen)
    meters(seen)


main(*sys.argv[1:4])
