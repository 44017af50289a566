"""The same messages and the same orders to the real ends and to ours; each difference has an id of docs/compatibility.md."""

import random
import time

import msgpack

from common import Collector, Feeder, begin, ours, theirs, vectors
from oracle import Oracle
from values import as_datetimes, typed

from harness import Late, finish, same

args, checks = begin("differential", __doc__)
NAME = "Sputnik.One"


class Codecs:
    ends = None

    @classmethod
    def get(cls):
        cls.ends = cls.ends or (theirs("codec"), ours(args, "codec"))
        return cls.ends


# Bytes


def explain_decoding(their, our):
    """The ids that explain a difference between two answers to the same frame."""
    if "error" in their and "error" in our:
        return set()
    if "error" in our:
        if "negative" in our["error"] and any(int(record["seq"]) < 0 for record in their["records"]):
            return {"D01"}
        assert "UTF-8" in our["error"] and any(map(is_no_text, keys(their))), f"ours refuses what is good: {our['error']}"
        return {"D03"}
    if "error" in their:
        assert their["error"].startswith("OverflowError"), f"ours takes what theirs refuses: {their['error']}"
        assert any(beyond_python(form) for record in our["records"] for _, form in record["tags"]), "ours has no such time"
        return {"D02"}
    met = set()
    if any(not isinstance(key, str) for key in keys(their)):
        met.add("D03")
        named = [{**record, "tags": with_text_keys(record["tags"])} for record in their["records"]]
        their = {**their, "records": named}
    if their != our:
        met.add("D04")
        cut = [{**record, "tags": as_datetimes(record["tags"])} for record in our["records"]]
        our = {**our, "records": cut}
    same(our, their, "what ours decodes")
    return met


def keys(message):
    for record in message["records"]:
        yield from keys_of(record["tags"])


def is_no_text(key):
    try:
        return not isinstance(key, str) and not bytes.fromhex(key["v"]).decode()
    except UnicodeDecodeError:
        return True


def keys_of(pairs):
    for key, form in pairs:
        yield key
        yield from keys_in(form)


def keys_in(form):
    if form["t"] == "map":
        yield from keys_of(form["v"])
    if form["t"] == "array":
        for item in form["v"]:
            yield from keys_in(item)


def with_text_keys(pairs):
    def text(form):
        if form["t"] == "map":
            return {**form, "v": with_text_keys(form["v"])}
        if form["t"] == "array":
            return {**form, "v": [text(item) for item in form["v"]]}
        return form

    named = [(key if isinstance(key, str) else bytes.fromhex(key["v"]).decode(), text(form)) for key, form in pairs]
    # Of two equal keys the last counts, at the place of the first.
    return [list(pair) for pair in dict(named).items()]


def beyond_python(form):
    if form["t"] in ("array", "map"):
        return any(beyond_python(item if form["t"] == "array" else item[1]) for item in form["v"])
    return form["t"] == "time" and not -62_135_596_800 <= int(form["s"]) < 253_402_300_800


def recorded_frames():
    frames = {case["name"]: case["hex"] for case in vectors("cdtp2_valid.json")["vectors"]}
    invalid = vectors("cdtp2_invalid.json")["vectors"]
    frames |= {case["name"]: case["frames"][0] for case in invalid if len(case["frames"]) == 1}
    assert len(frames) > 150, f"only {len(frames)} frames in the vectors"
    return frames


def decode_both(frame, met):
    their, our = (end.order("decode", 60, frame=frame) for end in Codecs.get())
    met |= explain_decoding(their, our)


@checks.check("every recorded message is decoded alike", 120)
def recorded_messages(met):
    for name, frame in recorded_frames().items():
        try:
            decode_both(frame, met)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None


@checks.check("20,000 damaged messages are decoded alike", 120)
def damaged_messages(met):
    chance = random.Random(20_000)
    good = [bytes.fromhex(frame) for frame in recorded_frames().values() if len(frame) < 4000]
    for number in range(20_000):
        frame = bytearray(chance.choice(good))
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            damage(chance, frame)
        try:
            decode_both(frame.hex(), met)
        except AssertionError as error:
            raise AssertionError(f"number {number}, {frame.hex()}: {error}") from None


# The first bytes of every kind of MessagePack object, and some that are none.
HEADS = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, *range(0xC0, 0x100)]


def damage(chance, frame):
    at = chance.randrange(len(frame) + 1)
    kind = chance.randrange(5)
    if kind == 0 and at < len(frame):
        frame[at] ^= 1 << chance.randrange(8)
    elif kind == 1 and at < len(frame):
        frame[at] = chance.choice(HEADS)
    elif kind == 2:
        del frame[at : at + chance.randrange(1, 4)]
    elif kind == 3:
        frame[at:at] = chance.randbytes(chance.randrange(1, 4))
    else:
        del frame[at:]


def chance_value(chance, depth=0):
    kind = chance.randrange(10 if depth < 3 else 8)
    if kind == 0:
        return None
    if kind == 1:
        return chance.random() < 0.5
    if kind == 2:
        return chance.randrange(-(2 ** chance.randrange(64)), 2 ** chance.randrange(1, 65))
    if kind == 3:
        return chance.choice((chance.uniform(-1e9, 1e9), 0.0, float("inf"), 5e-324, float(chance.randrange(1000))))
    if kind in (4, 5):
        length = chance.choice((0, 3, 15, 16, 31, 32, 100, 300))
        return "".join(chance.choice("abc_ÄΩ語\U0001f4a1\n\0\"") for _ in range(length))
    if kind == 6:
        return chance.randbytes(chance.choice((0, 1, 255, 256)))
    if kind == 7:
        seconds = chance.choice((0, chance.randrange(-(2**33), 2**33), chance.randrange(2**34), 2**34, 2**32 - 1))
        return msgpack.Timestamp(seconds, chance.choice((0, chance.randrange(10**9))))
    size = chance.choice((0, 1, 3, 15, 16, 17))
    if kind == 8:
        return [chance_value(chance, depth + 1) for _ in range(size)]
    return {f"k{number}" * chance.choice((1, 1, 12)): chance_value(chance, depth + 1) for number in range(size)}


def chance_record(chance, sequence):
    tags = {f"t{number}": chance_value(chance) for number in range(chance.choice((0, 0, 1, 3, 17)))}
    blocks = [chance.randbytes(chance.choice((0, 1, 255, 256, 300))).hex() for _ in range(chance.choice((0, 1, 1, 2, 16)))]
    return {"seq": str(sequence), "tags": typed(tags)["v"], "blocks": blocks}


@checks.check("2,000 messages made by chance are encoded to the same bytes", 120)
def encoded_messages():
    chance = random.Random(2000)
    for _ in range(2000):
        count = chance.choice((1, 1, 2, 5, 15, 16))
        records = [chance_record(chance, chance.randrange(2 ** chance.randrange(1, 65))) for _ in range(count)]
        their, our = (end.do("encode", 60, kind="DATA", records=records) for end in Codecs.get())
        same(our, their, "our frame")
    for kind in ("BOR", "EOR"):
        records = [chance_record(chance, 0), chance_record(chance, 1)]
        their, our = (end.do("encode", kind=kind, records=records) for end in Codecs.get())
        same(our, their, f"our {kind}")


# Receivers


class Receivers:
    ends = None

    @classmethod
    def get(cls):
        cls.ends = cls.ends or (theirs("receive", "--eor-timeout", 0), ours(args, "receive", "--eor-timeout", 0))
        return cls.ends


LAST = "Sentinel.Last"


def play(receiver, frames, last):
    """What a receiver tells of these frames: events, states before the stop, bytes received, and what it died of."""
    with Feeder() as feeder:
        receiver.events.clear()
        receiver.do("start")
        receiver.do("add", host=NAME, port=feeder.port)
        for frame in frames:
            feeder.send(bytes.fromhex(frame))
        # A run of another sender behind them all: when it has ended, they have been handled.
        for frame in last:
            feeder.send(bytes.fromhex(frame))
        error, events = None, []
        while not any(event["event"] == "eor" and event["sender"] == LAST for event in events):
            error = receiver.order("check").get("error")
            while receiver.events:
                events.append(receiver.events.pop(0))
            if error:
                break
            try:
                events.append(receiver.event(0.05))
            except Late:
                pass
        states = receiver.do("states")["states"]
        received = receiver.do("totals")["bytes_received"]
        told = len(events)
        stopped = receiver.order("stop").get("error")
        events += receiver.events
        events = [event for event in events if event["sender"] != LAST]
        states.pop(LAST, None)
        return {"events": events, "told": told, "states": states, "bytes": received, "died": error, "stopped": stopped}


def last_run():
    empty = {"tags": [], "blocks": []}
    frames = []
    for kind in ("BOR", "EOR"):
        records = [{"seq": "0", **empty}, {"seq": "1", **empty}]
        frames.append(bytes.fromhex(Codecs.get()[0].do("encode", kind=kind, records=records)["frame"]))
    return [frame.replace(b"\xab" + NAME.encode(), b"\xad" + LAST.encode()).hex() for frame in frames]


def compare_receivers(frames, met):
    theirs_end, ours_end = Receivers.get()
    oracle = Oracle()
    for frame in frames:
        message = Codecs.get()[0].order("decode", 60, frame=frame)
        oracle.take(None if "error" in message else message)
    states = oracle.states()
    oracle.stop()
    our = play(ours_end, frames, last_run())
    for event in our["events"]:
        event.pop("why", None)
    same(our["events"], oracle.events, "what ours tells")
    same(our["states"], states, "our states")
    same(our["bytes"], oracle.bytes, "the bytes that ours received")
    same(our["died"], None, "our error")
    their = play(theirs_end, frames, last_run())
    met |= oracle.met
    told = reference_events(oracle.events)
    if oracle.died is not None:
        assert their["died"], "theirs goes on"
        same(their["events"][: their["told"]], reference_events(oracle.events[: oracle.died]), "what theirs told before it died")
        return
    same(their["died"], None, "their error")
    if "D14" not in oracle.met:
        same(their["events"], told, "what theirs tells")
        same(bool(our["stopped"]), bool(their["stopped"]), "whether the stop fails")
    else:
        same(without_conditions(their["events"]), without_conditions(told), "what theirs tells, without the conditions,")
        assert their["events"] != told, "no difference at all"


def reference_events(events):
    """Our events as the package tells them."""
    kept = {"bor": ("user_tags", "configuration"), "data": ("seq", "tags", "blocks"), "eor": ("user_tags", "run_metadata")}
    found = []
    for event in events:
        kind = "eor" if event["event"] == "substitute" else event["event"]
        if kind in kept:
            found.append({"event": kind, "sender": event["sender"], **{name: event[name] for name in kept[kind]}})
    return found


def without_conditions(events):
    def without(pairs):
        return [[key, form] for key, form in pairs if key not in ("condition_code", "condition")]

    return [{**event, "run_metadata": without(event["run_metadata"])} if event["event"] == "eor" else event for event in events]


@checks.check("every recorded scenario of a receiver", 180)
def recorded_scenarios(met):
    for scenario in vectors("cdtp2_receiver.json")["scenarios"]:
        frames = [step["hex"] for step in scenario["steps"] if step["delivered"]]
        try:
            compare_receivers(frames, met)
        except (AssertionError, Late) as error:
            raise AssertionError(f"{scenario['name']}: {error}") from None


def chance_run(chance, sender):
    """The frames of a run to which everything may have happened."""
    def message(kind, records):
        frame = bytes.fromhex(Codecs.get()[0].do("encode", kind=kind, records=records)["frame"])
        return frame.replace(NAME.encode(), sender.encode())

    numbers = [number for number in range(1, chance.randrange(2, 20)) if chance.random() < chance.choice((1, 0.8))]
    last = max(numbers, default=0)
    for _ in range(chance.choice((0, 0, 1, 3))):
        if numbers:
            numbers.insert(chance.randrange(len(numbers) + 1), chance.choice(numbers))
        if len(numbers) > 1:
            at = chance.randrange(len(numbers) - 1)
            numbers[at], numbers[at + 1] = numbers[at + 1], numbers[at]
    metadata = chance.choice(({}, {"data_records": last}, {"data_records": last}, {"data_records": last + chance.randrange(3)}))
    metadata = {**metadata, **chance.choice(({}, {"condition_code": 0, "condition": "GOOD"}, {"condition_code": 5, "x": 1}))}
    empty = {"seq": "0", "tags": [], "blocks": []}
    frames = [message("BOR", [empty, {"seq": "1", "tags": [], "blocks": []}])]
    while numbers:
        count = chance.choice((1, 1, 2, 5))
        part, numbers = numbers[:count], numbers[count:]
        frames.append(message("DATA", [{"seq": str(number), "tags": [], "blocks": ["%02x" % number]} for number in part]))
    frames.append(message("EOR", [empty, {"seq": "1", "tags": typed(metadata)["v"], "blocks": []}]))
    for _ in range(chance.choice((0, 0, 0, 0, 1))):
        at = chance.randrange(len(frames))
        happens = chance.randrange(4)
        if happens == 0:
            del frames[at]
        elif happens == 1:
            frames.insert(at, frames[at])
        elif happens == 2:
            frames.insert(at, frames[at][: chance.randrange(len(frames[at]))])
        else:
            frames.insert(at, message("DATA", []))
    return frames


@checks.check("40 runs of two senders to which anything may happen", 180)
def chance_runs(met):
    chance = random.Random(40)
    for number in range(40):
        one, two = (chance_run(chance, sender) for sender in (NAME, "Sputnik.Two"))
        frames = []
        while one or two:
            frames.append((one if one and (not two or chance.random() < 0.5) else two).pop(0))
        try:
            compare_receivers([frame.hex() for frame in frames], met)
        except (AssertionError, Late) as error:
            raise AssertionError(f"number {number}: {error}") from None


# Transmitters


def messages_of(transmitter, orders, disabled=False):
    """The frames of one run, up to its end."""
    with Collector(transmitter.port) as collector:
        transmitter.do("bor", tags=typed({"u": 1})["v"], configuration=typed({"cfg": True})["v"])
        transmitter.do("start")
        numbers = []
        for order in orders:
            numbers.append(transmitter.do(order.pop("op"), 30, **order))
        transmitter.do("stop", 30)
        state = transmitter.do("state")
        transmitter.do("eor", tags=[], metadata=typed({"data_records": state["sequence"]})["v"])
        state["at the end"] = transmitter.do("state")["state"]
        frames = []
        if disabled:
            assert collector.silent(0.5), "a message though it is disabled"
        while not disabled and not (frames and Codecs.get()[0].do("decode", frame=frames[-1].hex())["kind"] == "EOR"):
            frames.append(collector.next())
        del state["can_send"], state["failures"]
        return frames, state, numbers


def orders_of(run):
    """The orders for a recorded run; each record is sent in one go with those around it, unless there is a wait."""
    sent = {}
    for message in run["messages"]:
        if message["hex"] is None:
            continue
        decoded = Codecs.get()[0].do("decode", frame=message["hex"])
        for record in decoded["records"] if decoded["kind"] == "DATA" else []:
            sent[int(record["seq"])] = record
    orders, number = [], 0
    for op in run["ops"]:
        if op["op"] == "wait":
            orders.append({"op": "records", "list": [{"wait": op["s"]}]})
            continue
        number += 1
        if op["op"] == "drop":
            orders.append({"op": "draw"})
            continue
        line = sent.get(number, {"tags": [], "blocks": ["00" * size for size in op["blocks"]]})
        if orders and orders[-1]["op"] == "records":
            orders[-1]["list"].append(line)
        else:
            orders.append({"op": "records", "list": [line]})
    return orders


@checks.check("every recorded run of a transmitter", 120)
def recorded_runs():
    for run in vectors("cdtp2_transmitter.json")["runs"]:
        disabled = ["--disabled"] if run["transmission_disabled"] else []
        arguments = ["transmit", "--name", run["sender"], "--threshold", run["payload_threshold_kib"], *disabled]
        # The timer of the package has half a second, and leaves alone what has no payload; without a timer ours does too.
        found = []
        for which, end in (("theirs", theirs(*arguments)), ("ours", ours(args, *arguments, "--flush", flush_of(run)))):
            frames, state, _ = messages_of(end, orders_of(run), disabled)
            found.append([frame.hex() for frame in frames])
            same(len(frames), len(run["messages"]), f"{run['name']}: the number of messages of {which}")
            for frame, message in zip(found[-1], run["messages"]):
                # Long ones are not in the file.
                same(frame, message["hex"] or frame, f"{run['name']}: what {which} sends")
            counted = [run["sequence_number"], run["records_transmitted"], run["bytes_transmitted"]]
            same([state["sequence"], state["records"], state["bytes"]], counted, f"{run['name']}: what {which} counts")
            end.close()
        same(found[1], found[0], f"{run['name']}: what ours sends")


def flush_of(run):
    return 0.5 if run["name"] == "flush_after_half_second" else 60


@checks.check("20 runs made by chance are sent in the same messages", 120)
def chance_messages():
    chance = random.Random(20)
    for number in range(20):
        arguments = ("transmit", "--name", NAME, "--threshold", chance.choice((0, 0, 1, 2, 128)))
        orders = []
        for _ in range(chance.randrange(1, 4)):
            lines = [chance_record(chance, 0) for _ in range(chance.randrange(40))]
            orders.append({"op": "records", "list": lines})
            orders.extend({"op": "draw"} for _ in range(chance.choice((0, 0, 1, 2))))
        found = []
        for end in (theirs(*arguments), ours(args, *arguments, "--flush", 60)):
            found.append(messages_of(end, [dict(order) for order in orders]))
            end.close()
        same([frame.hex() for frame in found[1][0]], [frame.hex() for frame in found[0][0]], f"number {number}: what ours sends")
        same(found[1][1:], found[0][1:], f"number {number}: what ours says")


@checks.check("records without payload leave with the timer", 30)
def flush_without_payload(met):
    line = {"tags": typed({"t": 1})["v"], "blocks": []}
    for which, end in (("theirs", theirs("transmit", "--name", NAME)), ("ours", ours(args, "transmit", "--name", NAME))):
        with Collector(end.port) as collector:
            end.do("bor", tags=[], configuration=[])
            collector.next()
            end.do("start")
            end.do("records", list=[line])
            silent = collector.silent(1.5)
            same(silent, which == "theirs", f"whether {which} keeps the record")
            end.do("stop")
            if silent:
                collector.next()
        end.close()
    met.add("D05")


@checks.check("a record leaves with the timer", 30)
def flush_interval(met):
    for which, end in (("theirs", theirs("transmit", "--name", NAME)), ("ours", ours(args, "transmit", "--name", NAME))):
        with Collector(end.port) as collector:
            end.do("bor", tags=[], configuration=[])
            collector.next()
            end.do("start")
            times = []
            for _ in range(3):
                start = time.monotonic()
                end.do("records", list=[{"tags": [], "blocks": ["00"]}])
                collector.next()
                times.append(time.monotonic() - start)
            # The package counts from the last message, so only the first may go at once.
            same(max(times[1:]) > 0.4, which == "theirs", f"whether {which} takes half a second: {times}")
        end.close()
    met.add("D06")


@checks.check("a full queue", 60)
def full_queue():
    """With a queue of two and a receiver that reads nothing, three records fit beside the messages that libzmq holds."""
    told = []
    for end in (theirs(*FULL), ours(args, *FULL)):
        with Collector(end.port) as collector:
            end.do("bor", tags=[], configuration=[])
            collector.next()
        # Without a peer a bound PUSH blocks.
        time.sleep(0.3)
        end.do("start")
        lines = []
        for _ in range(6):
            lines.append(end.do("records", list=[{"tags": [], "blocks": ["00"]}])["records"][0])
            time.sleep(0.1)
        told.append(lines)
        end.kill()
    same(told[1], told[0], "what ours says")
    same([line.get("full", False) for line in told[1]], [False, False, False, True, True, True], "what is full")


FULL = ("transmit", "--name", NAME, "--queue", 2, "--threshold", 0, "--timeout", 20)


@checks.check("time-outs without a receiver", 60)
def timeouts():
    told = []
    for end in (theirs("transmit", "--timeout", 0), ours(args, "transmit", "--timeout", 0)):
        answers = [end.order("bor", tags=[], configuration=[])]
        answers.append(end.order("eor", tags=[], metadata=[]))
        states = [end.do("state")["state"]]
        with Collector(end.port) as collector:
            time.sleep(0.3)
            end.do("bor", tags=[], configuration=[])
            collector.next()
        states.append(end.do("state")["state"])
        time.sleep(0.3)
        answers.append(end.order("eor", tags=[], metadata=[]))
        states.append(end.do("state")["state"])
        told.append((["error" in answer for answer in answers], states))
        end.kill()
    same(told[1], told[0], "which fail, and the states after them,")
    same(told[1], ([True, True, True], [1, 2, 1]), "which fail, and the states after them,")


if __name__ == "__main__":
    finish(checks)
