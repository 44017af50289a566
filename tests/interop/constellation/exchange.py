"""Runs from one end to the other, both ways: our program and our library with the real transmitter and receiver."""

import time

import zmq

from common import Feeder, begin, ours, theirs, vectors
from values import as_datetimes, plain, untyped_map

from harness import Child, Late, finish, free_ports, same

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

    transmitter = receiver = codec = None

    @classmethod
    def code(cls):
        cls.codec = cls.codec or theirs("codec", "--name", NAME)
        return cls.codec

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

    @checks.check(f"program to package, {text}", 120)
    def to_package():
        receiver, port = Ends.receive(), free_ports(1)[0]
        shape = ("--records", records, "--block-size", sizes[0] if sizes else 0, "--blocks", len(sizes))
        wire = ("--bind", f"127.0.0.1:{port}", "--name", NAME, "--payload-threshold", threshold, "--no-announce")
        # The package reads what C++ writes, so it reads what we write as C++ does.
        wire += ("--encoding", "cxx") if records == 500 else ()
        program = Child(args.program, "run", "send", "--json", "--run-id", "volume_1", *shape, *wire)
        receiver.do("start")
        receiver.do("add", host=NAME, port=port)
        bor, eor = receiver.until("eor", 100)
        same((bor["event"], bor["sender"], eor["sender"]), ("bor", NAME, NAME), "the events")
        same(untyped_map(eor["run_metadata"])["data_records"], records, "the records that the EOR tells of")
        same(untyped_map(eor["run_metadata"])["condition"], "GOOD", "the condition")
        receiver.do("stop", 30)
        told = program.objects(20)[-1]
        same(program.wait(), 0, f"the exit code of the program, which said {program.said()!r},")
        same(told["missed"], 0, "what the program missed")
        same((told["records"], told["bytes"]), (records, records * sum(sizes)), "what the program sent")
        sent = {name: told[name] for name in ("records", "bytes", "sha256")}
        same(receiver.do("totals"), {**sent, "bytes_received": sent["bytes"]}, "the totals")
        same(receiver.do("states")["states"], {NAME: [3, records, 0]}, "the states")

    @checks.check(f"package to program, {text}", 120)
    def to_program():
        transmitter = Ends.transmit()
        transmitter.do("set", threshold=threshold)
        program = Child(args.program, "run", "receive", "--json", "--connect", f"127.0.0.1:{transmitter.port}")
        sent = run(transmitter, lambda: transmitter.do("many", 100, records=records, sizes=sizes))
        told = program.objects(60)
        same(program.wait(), 0, f"the exit code of the program, which said {program.said()!r},")
        kinds = [line["notice"] for line in told if line["notice"] != "progress"]
        same(kinds, ["started", "bor", "eor", "totals"], "the lines")
        totals, eor = told[-1], [line for line in told if line["notice"] == "eor"][0]
        same({name: totals[name] for name in (*sent, "missed")}, {**sent, "missed": 0}, "the totals")
        same((eor["condition"], eor["sender"], eor["substitute"]), ("GOOD", NAME, False), "the end of the run")


def add_library_volume(threshold):
    """The program has blocks of one size."""
    records, sizes = 300, [0, 1, 300, 70_000]

    @checks.check(f"library to package, blocks of several sizes at threshold {threshold}", 60)
    def to_package():
        transmitter = ours(args, "transmit", "--name", NAME, "--threshold", threshold)
        volume(transmitter, Ends.receive(), records, sizes)
        transmitter.close()

    @checks.check(f"package to library, blocks of several sizes at threshold {threshold}", 60)
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
    bits = ["8000000000000000", "7ff0000000000000", "fff0000000000000", "7ff8000000000000", "0000000000000001"]
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


# Gaps, and ends that die


def pairs():
    """A transmitter and a receiver of each kind against the other, and which of the two is ours."""
    yield "transmitter", ours(args, "transmit", "--name", NAME), theirs("receive", "--eor-timeout", 1)
    yield "receiver", theirs("transmit", "--name", NAME), ours(args, "receive", "--eor-timeout", 1)


def one_block(*bytes_of):
    return [{"tags": [], "blocks": [block]} for block in bytes_of]


@checks.check("numbers that are not sent are missed, wherever they are", 60)
def gaps():
    for which, transmitter, receiver in pairs():
        # 1, 2, 5, 8 and 9 are drawn and thrown away.
        def send():
            for step in ("draw", "draw", "03", "04", "draw", "06", "07", "draw", "draw"):
                transmitter.do("draw") if step == "draw" else transmitter.do("records", list=one_block(step))

        events, _ = whole_run(transmitter, receiver, send)
        same([event["seq"] for event in events if event["event"] == "data"], ["3", "4", "6", "7"], "the numbers")
        same(events[-1]["run_metadata"], metadata(9, condition_code=2, condition="INCOMPLETE"), "the metadata")
        # The end of the run tells of 8 and 9, the numbers of the records of the others.
        same(receiver.do("states")["states"], {NAME: [3, 7, 3]}, "the states")
        if which == "receiver":
            lost = [(event["first"], event["count"]) for event in events if event["event"] == "lost"]
            same(lost, [(1, 2), (5, 1), (8, 2)], "what is lost")
            same(events[-1]["counts"]["missed"], 5, "how many are missed")
        transmitter.close()
        receiver.close()


@checks.check("a killed transmitter that comes again", 60)
def killed_transmitter(met):
    for which, transmitter, receiver in pairs():
        connect(transmitter, receiver)
        transmitter.do("bor", tags=[], configuration=[])
        transmitter.do("start")
        transmitter.do("records", list=one_block("01", "02"))
        # It is with the receiver before the transmitter dies.
        same([receiver.event()["event"] for _ in range(3)], ["bor", "data", "data"], "the events")
        port = transmitter.port
        transmitter.kill()
        again = ("transmit", "--name", NAME, "--port", port)
        transmitter = ours(args, *again) if which == "transmitter" else theirs(*again)
        run(transmitter, lambda: transmitter.do("records", list=one_block("01")))
        if which == "transmitter":
            wait_for_error(receiver, "already received BOR")
            met.add("D12")
        else:
            events = receiver.until("eor")
            same([event["event"] for event in events], ["substitute", "bor", "data", "eor"], "the events")
            same((events[0]["condition"], events[1]["restarted"], events[3]["condition"]), ("ABORTED", True, "GOOD"))
        transmitter.kill()
        receiver.kill()


def wait_for_error(end, text, seconds=10):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        error = end.order("check").get("error")
        if error:
            assert text in error, error
            return
        time.sleep(0.02)
    raise Late(f"no error after {seconds} s")


@checks.check("a killed receiver, and a late receiver in its place", 60)
def late_receiver(met):
    for which, transmitter, receiver in pairs():
        connect(transmitter, receiver)
        transmitter.do("bor", tags=[], configuration=[])
        transmitter.do("start")
        transmitter.do("records", list=one_block("01"))
        same([receiver.event()["event"] for _ in range(2)], ["bor", "data"], "the events")
        receiver.kill()
        receiver = theirs("receive") if which == "transmitter" else ours(args, "receive")
        connect(transmitter, receiver)
        time.sleep(0.3)
        transmitter.do("records", list=one_block("02"))
        if which == "transmitter":
            wait_for_error(receiver, "did not receive BOR")
            met.add("D13")
            transmitter.kill()
        else:
            fault = receiver.event()
            same((fault["event"], fault["sender"], fault["marked"]), ("fault", NAME, False), "the fault")
            transmitter.do("stop")
            transmitter.do("eor", tags=[], metadata=metadata(2))
            same(receiver.event()["event"], "fault")
            run(transmitter, lambda: transmitter.do("records", list=one_block("01")))
            same([event["event"] for event in receiver.until("eor")], ["bor", "data", "eor"], "the events of the next run")
            transmitter.close()
        receiver.kill()


@checks.check("no end of run: a substitute", 60)
def no_end():
    for _, transmitter, receiver in pairs():
        connect(transmitter, receiver)
        transmitter.do("bor", tags=[], configuration=[])
        transmitter.do("start")
        transmitter.do("draw")
        transmitter.do("records", list=one_block("02"))
        events = []
        while not events or events[-1]["event"] != "data":
            events.append(receiver.event())
        answer = receiver.order("stop", 30)
        assert NAME in answer.get("error", ""), f"the stop says {answer}"
        end = receiver.event()
        assert end["event"] in ("eor", "substitute"), end
        same(end["run_metadata"], metadata(0, condition_code=10, condition="INCOMPLETE|ABORTED")[:2], "the metadata")
        transmitter.kill()
        receiver.close()


@checks.check("two transmitters into one receiver", 60)
def two_transmitters():
    for receiver in (theirs("receive"), ours(args, "receive")):
        first, second = theirs("transmit", "--name", NAME), ours(args, "transmit", "--name", "Sputnik.Two")
        connect(first, receiver)
        receiver.do("add", host="Sputnik.Two", port=second.port)
        for transmitter in (first, second):
            transmitter.do("bor", tags=[], configuration=[])
            transmitter.do("start")
        for number in range(20):
            for transmitter in (first, second):
                transmitter.do("records", list=one_block("%02x" % number))
        for transmitter in (first, second):
            transmitter.do("stop")
            transmitter.do("eor", tags=[], metadata=metadata(20))
        events = receiver.until("eor")
        events += receiver.until("eor")
        for sender in (NAME, "Sputnik.Two"):
            of_it = [event for event in events if event["sender"] == sender]
            same([event["event"] for event in of_it], ["bor"] + ["data"] * 20 + ["eor"], f"the events of {sender}")
            same([event["blocks"] for event in of_it[1:-1]], [["%02x" % number] for number in range(20)], f"the data of {sender}")
        receiver.do("stop")
        for end in (first, second, receiver):
            end.close()


@checks.check("a sender that is removed is read to its end", 60)
def removed_sender(met):
    frames = [package_frame("BOR", [])]
    frames += [package_frame("DATA", [{"seq": str(number), "tags": [], "blocks": ["00" * 20_000]}]) for number in range(1, 301)]
    frames.append(package_frame("EOR", metadata(300)))
    for which, receiver in (("package", theirs("receive")), ("library", ours(args, "receive"))):
        with Feeder() as feeder:
            receiver.do("start")
            receiver.do("add", host=NAME, port=feeder.port)
            for frame in frames:
                feeder.send(frame)
            same(receiver.event()["event"], "bor")
            receiver.do("remove", host=NAME, port=feeder.port)
            if which == "library":
                events = receiver.until("eor", 30)
                same(len(events), 301, "the number of events")
            else:
                time.sleep(0.5)
                receiver.do("check")
                events = receiver.events
                assert len(events) < 301, "the package has read it all"
                same([event["event"] for event in events], ["data"] * len(events), "the events")
        receiver.kill()
    met.add("D15")


@checks.check("a sender that is added twice", 30)
def added_twice(met):
    for which, receiver in (("package", theirs("receive")), ("library", ours(args, "receive"))):
        with Feeder() as feeder:
            receiver.do("start")
            feeder.monitor()
            for _ in range(2):
                receiver.do("add", host=NAME, port=feeder.port)
            assert feeder.tells(zmq.EVENT_HANDSHAKE_SUCCEEDED, 5), f"the {which} does not connect"
            receiver.do("remove", host=NAME, port=feeder.port)
            # The library has read what there is first; the package closes one of its two connections.
            assert feeder.tells(zmq.EVENT_DISCONNECTED, 5), f"the {which} closes nothing"
            try:
                feeder.socket.sndtimeo = 500
                feeder.send(package_frame("BOR", []))
                connected = receiver.event(2)["event"] == "bor"
            except (Late, zmq.Again):
                connected = False
            same(connected, which == "package", f"whether the {which} is still connected")
        receiver.kill()
    met.add("D16")


@checks.check("a listed sender that spells itself in other case, and one that is not listed", 30)
def listed_senders(met):
    found = {}
    arguments = ("receive", "--senders", "SPUTNIK.ONE")
    for which, receiver in (("package", theirs(*arguments)), ("library", ours(args, *arguments))):
        with Feeder() as feeder, Feeder() as other:
            receiver.do("start")
            receiver.do("add", host=NAME, port=feeder.port)
            receiver.do("add", host="Sputnik.Two", port=other.port)
            feeder.send(package_frame("BOR", []))
            feeder.send(package_frame("EOR", metadata(0)))
            same([event["event"] for event in receiver.until("eor")], ["bor", "eor"], "the events")
            other.socket.sndtimeo = 300
            try:
                other.send(package_frame("BOR", []))
                raise AssertionError(f"the {which} is connected to one that is not listed")
            except zmq.Again:
                pass
            found[which] = receiver.do("states")["states"]
            receiver.do("stop")
        receiver.close()
    same(found, {"package": {"SPUTNIK.ONE": [1, 0, 0], NAME: [3, 0, 0]}, "library": {NAME: [3, 0, 0]}}, "the states")
    met.add("D17")


@checks.check("a frame of more than 100 MiB", 90)
def large_frame(met):
    block = bytes(101 * KIB * KIB)
    head = package_frame("DATA", [{"seq": "1", "tags": [], "blocks": ["00"]}])
    assert head.endswith(b"\xc4\x01\x00")
    large = head[:-3] + b"\xc6" + len(block).to_bytes(4, "big") + block
    for which, receiver in (("package", theirs("receive", "--quiet")), ("library", ours(args, "receive", "--quiet"))):
        with Feeder() as feeder:
            receiver.do("start")
            receiver.do("add", host=NAME, port=feeder.port)
            for frame in (package_frame("BOR", []), large, package_frame("EOR", metadata(1))):
                feeder.send(frame)
            same(receiver.event(20)["event"], "bor")
            if which == "package":
                wait_for_error(receiver, "BufferFull", 30)
            else:
                same(receiver.event(60)["run_metadata"], metadata(1), "the metadata")
                same(receiver.do("totals")["bytes"], len(block), "the bytes")
        receiver.kill()
    met.add("D18")


@checks.check("tags that C++ cannot hold", 30)
def cxx_tags(met):
    tags = [["b", {"t": "bin", "v": "00"}]]
    their, our = theirs("transmit", "--timeout", 0), ours(args, "transmit", "--timeout", 0, "--cxx")
    answers = [end.order("bor", tags=tags, configuration=[])["error"] for end in (their, our)]
    assert "Timed out" in answers[0], answers[0]
    assert "C++" in answers[1], answers[1]
    met.add("D07")
    their.kill()
    our.kill()


def package_frame(kind, content):
    """A message as the package writes it; for BOR and EOR `content` are the tags of the second record."""
    if kind != "DATA":
        content = [{"seq": "0", "tags": [], "blocks": []}, {"seq": "1", "tags": content, "blocks": []}]
    return bytes.fromhex(Ends.code().do("encode", kind=kind, records=content)["frame"])


for threshold in THRESHOLDS:
    for records, sizes in VOLUMES:
        add_volume(records, sizes, threshold)
    add_library_volume(threshold)


if __name__ == "__main__":
    finish(checks)
