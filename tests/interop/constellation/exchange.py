"""Runs from one end to the other, both ways: our program and our library with the real transmitter and receiver."""

import json
import os

from common import Collector, Feeder, begin, ours, theirs, vectors
from values import cut_to_microseconds, plain

from harness import Child, finish, free_ports, same

args, checks = begin("exchange", __doc__)
NAME = "Sputnik.One"
KIB = 1024
# Records, and the sizes of the blocks of each. The last sizes of the first column are those around the threshold and the largest.
VOLUMES = [
    (100_000, [64]),
    (2_000, []),
    (2_000, [0]),
    (2_000, [1]),
    (500, [255]),
    (500, [256]),
    (500, [KIB]),
    (100, [65_535]),
    (100, [65_536]),
    (20, [128 * KIB - 1]),
    (20, [128 * KIB]),
    (20, [128 * KIB + 1]),
    (10, [KIB * KIB]),
    (3, [8 * KIB * KIB]),
    (300, [0, 0, 0, 0]),
    (300, [300] * 17),
]
THRESHOLDS = (0, 128)
GOOD = {"condition_code": 0, "condition": "GOOD"}


class Ends:
    """The real ends, started when first needed and used for one run after the other."""

    transmitter = receiver = None

    @classmethod
    def transmit(cls):
        cls.transmitter = cls.transmitter or theirs("transmit", "--name", NAME)
        return cls.transmitter

    @classmethod
    def receive(cls):
        cls.receiver = cls.receiver or theirs("receive", "--quiet")
        return cls.receiver


def metadata(count, **more):
    condition = {**GOOD, **more}
    return [
        ["condition_code", {"t": "int", "v": str(condition["condition_code"])}],
        ["condition", {"t": "str", "v": condition["condition"]}],
        ["data_records", {"t": "int", "v": str(count)}],
    ]


def connect(transmitter, receiver, name=NAME):
    receiver.do("start")
    receiver.do("add", host=name, port=transmitter.port)


def run(transmitter, send, tags=(), configuration=(), end_tags=(), name=NAME):
    """One run of an end that takes orders; gives what `send` gave."""
    transmitter.do("bor", tags=list(tags), configuration=list(configuration))
    transmitter.do("start")
    sent = send()
    transmitter.do("stop", 60)
    count = transmitter.do("state")["sequence"]
    transmitter.do("eor", tags=list(end_tags), metadata=metadata(count))
    return sent


def whole_run(transmitter, receiver, send, **more):
    """What came out of one run, and what `send` gave."""
    connect(transmitter, receiver)
    sent = run(transmitter, send, **more)
    events = receiver.until("eor", 60)
    receiver.do("stop", 30)
    return events, sent


def add_volume(records, sizes, threshold):
    text = " + ".join(str(size) for size in sizes[:4]) + (" + ..." if len(sizes) > 4 else "") or "no"
    text = f"{records} records of {text} bytes at threshold {threshold}"

    @checks.check(f"library to package, {text}", 120)
    def to_package():
        transmitter = ours(args, "transmit", "--name", NAME, "--threshold", threshold)
        volume(transmitter, Ends.receive(), records, sizes)
        transmitter.close()

    @checks.check(f"package to library, {text}", 120)
    def to_library():
        receiver = ours(args, "receive", "--quiet")
        transmitter = Ends.transmit()
        transmitter.do("set", threshold=threshold)
        volume(transmitter, receiver, records, sizes)
        receiver.close()


def volume(transmitter, receiver, records, sizes):
    events, sent = whole_run(transmitter, receiver, lambda: transmitter.do("many", 100, records=records, sizes=sizes))
    same([event["event"] for event in events], ["bor", "eor"], "the events")
    same(events[-1]["run_metadata"], metadata(records), "the metadata")
    same(sent["bytes"], records * sum(sizes), "the bytes sent")
    totals = receiver.do("totals")
    same(totals, {**sent, "bytes_received": sent["bytes"]}, "the totals")
    same(receiver.do("states")["states"], {NAME: [3, records, 0]}, "the states")


# Tags


def tag_sets():
    """All tags of the golden vectors that both ends can have, and some of our own."""
    found = {}
    for case in vectors("cdtp2_valid.json")["vectors"]:
        for at, record in enumerate(case["records"]):
            if record["tags"] and all(isinstance(key, str) for key, _ in record["tags"]):
                found[f"{case['name']} {at}"] = [[key, plain(form)] for key, form in record["tags"]]
    assert len(found) > 40, f"only {len(found)} tag sets in the vectors"
    now = {"t": "time", "s": "1764000000", "ns": 123_456_789}
    deep = {"t": "int", "v": "1"}
    for _ in range(60):
        deep = {"t": "array", "v": [deep]}
    found["our times"] = [
        ["now", now],
        ["whole", {**now, "ns": 0}],
        ["micro", {**now, "ns": 1000}],
        ["before 1970", {**now, "s": "-1"}],
        ["year 1", {"t": "time", "s": "-62135596800", "ns": 0}],
        ["year 9999", {"t": "time", "s": "253402300799", "ns": 999_999_000}],
        ["2106", {"t": "time", "s": "4294967296", "ns": 0}],
        ["2514", {"t": "time", "s": "17179869184", "ns": 1000}],
        ["in a list", {"t": "array", "v": [now, {"t": "map", "v": [["when", now]]}]}],
    ]
    found["our nested"] = [["deep", deep], ["map", {"t": "map", "v": [["in", {"t": "map", "v": [["", {"t": "nil"}]]}]]}]]
    edges = [0, 1, 127, 128, 255, 256, 65_535, 65_536, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1]
    edges += [-1, -32, -33, -128, -129, -32_768, -32_769, -(2**31), -(2**31) - 1, -(2**63)]
    found["our integers"] = [[f"i{number}", {"t": "int", "v": str(number)}] for number in edges]
    texts = ["", "ä", "日本語", "\U0001f4a1", "a\0b", '"\\\n', "x" * 31, "x" * 32, "x" * 255, "x" * 256, "e\u0301", "\u202e"]
    found["our texts"] = [[text, {"t": "str", "v": text}] for text in texts]
    # Infinities, a signalling and a quiet NaN keep their bits; so does the smallest number.
    bits = ["8000000000000000", "7ff0000000000000", "fff0000000000000", "7ff8000000000000", "0000000000000001", "7fefffffffffffff"]
    found["our floats"] = [[text, {"t": "float", "v": text}] for text in bits]
    found["our bytes"] = [[f"b{size}", {"t": "bin", "v": "00ff" * (size // 2)}] for size in (0, 2, 254, 256, 65_534, 65_536)]
    return found


def tags_both_ways(transmitter, receiver, expected_of):
    sets = tag_sets()
    whole = [[name, {"t": "map", "v": tags}] for name, tags in sets.items()]

    def send():
        transmitter.do("records", list=[{"tags": tags, "blocks": ["00"]} for tags in sets.values()])

    (bor, *records, eor), _ = whole_run(transmitter, receiver, send, tags=whole, configuration=whole, end_tags=whole)
    same(len(records), len(sets), "the number of records")
    found = {name: record["tags"] for name, record in zip(sets, records)}
    for what, tags in (
        ("user tags of the BOR", bor["user_tags"]),
        ("configuration", bor["configuration"]),
        ("user tags of the EOR", eor["user_tags"]),
    ):
        same([name for name, _ in tags], list(sets), f"the keys of the {what}")
        found |= {f"{name}, {what}": form["v"] for name, form in tags}
    wrong = []
    for name, tags in found.items():
        expected = expected_of(sets[name.split(", ")[0]])
        if tags != expected:
            differ = next((pair for pair in zip(tags, expected) if pair[0] != pair[1]), (tags, expected))
            wrong.append(f"{name}: {differ[0]} is not {differ[1]}")
    assert not wrong, f"{len(wrong)} of {len(found)}: {wrong[:5]}"


def as_datetimes(tags):
    return [[key, cut_to_microseconds(form)] for key, form in tags]


@checks.check("library to package, tags of every kind", 120)
def tags_to_package():
    transmitter, receiver = ours(args, "transmit", "--name", NAME), theirs("receive")
    tags_both_ways(transmitter, receiver, as_datetimes)
    transmitter.close()
    receiver.close()


@checks.check("package to library, tags of every kind", 120)
def tags_to_library():
    transmitter, receiver = theirs("transmit", "--name", NAME), ours(args, "receive")
    tags_both_ways(transmitter, receiver, list)
    transmitter.close()
    receiver.close()


for records, sizes in VOLUMES:
    for threshold in THRESHOLDS:
        add_volume(records, sizes, threshold)


if __name__ == "__main__":
    finish(checks)
