"""The same damaged messages to the real server and to ours: both answer alike, or both close the connection."""

import json
import os
import random
import re
import socket

from hat.event import common

from common import HERE, STORE, World, begin

from harness import finish, same, time_limit

args, checks = begin("hostile", __doc__)
VECTORS = os.path.join(HERE, "..", "..", "vectors", "hat")
# Nothing is flushed, since a flush of what is not to be written again ends the server of the package.
QUIET = {**STORE, "flush_period": 3600, "timeseries": STORE["timeseries"][:1]}
# The number of the last message, and what it asks: the events of a server that has none.
LAST = 100_000
QUERY, ANSWER, NOBODY = "HatEventer.MsgQueryReq", "HatEventer.MsgQueryRes", b"\x82\x00\xe3\x00\x80\x80"


# Frames


def integer(value):
    groups = [value & 0x7F | 0x80]
    while not -64 <= value < 64:
        value >>= 7
        groups.append(value & 0x7F)
    return bytes(reversed(groups))


def sized(data):
    return integer(len(data)) + data


def message(number, kind, data, last):
    return integer(number) * 2 + bytes((1, 1, last)) + sized(kind.encode()) + sized(data)


def frame(payload):
    length = len(payload).to_bytes(4, "big").lstrip(b"\0")
    return bytes((len(length),)) + length + payload


def read_integer(data, at):
    value = -1 if data[at] & 0x40 else 0
    while True:
        value = value << 7 | data[at] & 0x7F
        at += 1
        if data[at - 1] & 0x80:
            return value, at


def parsed(payload):
    """Whether it starts its conversation, the number of that, whether it ends it, type and content."""
    number, at = read_integer(payload, 0)
    first, at = read_integer(payload, at)
    owner, _, last = payload[at : at + 3]
    length, at = read_integer(payload, at + 3)
    kind = payload[at : at + length].decode()
    length, at = read_integer(payload, at + length)
    return number == first and bool(owner), first if not owner else 0, last, kind, payload[at : at + length]


class Connection:
    """One that sends any bytes, and tells what comes back."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.stream = self.socket.makefile("rb")

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            pass

    def answers(self):
        """All frames up to the answer to the last message; the last is "closed" where the server has closed the connection."""
        found = []
        while True:
            try:
                head = self.stream.read(1)
                length = int.from_bytes(self.stream.read(head[0]), "big") if head else 0
                payload = self.stream.read(length)
            except OSError:
                payload = b""
            if not payload:
                return [*found, "closed"]
            begins, first, last, kind, data = parsed(payload)
            if (kind, first) == (ANSWER, LAST):
                return found
            found.append((begins, first, last, kind, essence(kind, data)))
            if kind == "HatEventer.MsgInitRes" and found[-1][-1][0] == "error":
                # It closes when the client has, or soon.
                return [*found, "refused"]

    def close(self):
        self.stream.close()
        self.socket.close()


def essence(kind, data):
    """What is the same in two runs: no identities, no times, and no answers of a history."""
    value = common.sbs_repo.decode(kind, data)
    if kind == "HatEventer.MsgRegisterRes" and value[0] == "events":
        return [(event["type"], event["sourceTimestamp"], readable(event["payload"])) for event in value[1]]
    return None if kind in ("HatEventer.MsgQueryRes", "HatEventer.MsgEventsNotify") else value


def readable(payload):
    """Without the spaces of JSON, which ours leaves as they came (H07)."""
    choice, value = payload
    if choice == "value" and value[0] == "json":
        return json.loads(value[1])
    return payload


# Differences


def explain(kind, data, their, our):
    """The ids that say why the answers differ; an error if none does."""
    if kind is None:
        *_, kind, data = parsed(data)
    value = common.sbs_repo.decode(kind, data)
    if their[-1:] == our[-1:] == ["refused"]:
        texts = [answers[0][-1][1] for answers in (their, our)]
        same(texts, ["invalid query event type", "invalid client token"], "the two refusals")
        return {"H61"}
    if our[-1:] != ["closed"]:
        same((kind, value[0]), (QUERY, "server"), "what ours answers")
        numbers = (value[1]["serverId"], *(value[1]["lastEventId"][1] or {}).values())
        assert any(number < 0 for number in numbers), f"ours answers {value!r}"
        return {"H60"}
    if is_beyond(data, common.sbs_repo.encode(kind, value)):
        return {"H41"}
    if any(not 0 <= us < 2**32 for us in microseconds(value)):
        return {"H40"}
    if re.search(r"NaN|Infinity|\d[eE]\+?\d{2}", data.decode("latin-1")):
        return {"H05"}
    series = value[1] if (kind, value[0]) == (QUERY, "timeseries") else None
    # The store of these checks has no series by source timestamp, so theirs does not come to the number.
    assert series and series["orderBy"][0] == "sourceTimestamp", f"ours refuses {kind} {value!r}"
    assert series["maxResults"][1] < 0, f"ours refuses {kind} {value!r}"
    return set()


def is_beyond(data, again):
    """Whether the first number that comes out otherwise has ten groups of seven bits, which are more than 64 bits."""
    differing = [at for at, (one, other) in enumerate(zip(data, again)) if one != other]
    if not differing:
        return False
    start = end = differing[0]
    while start > 0 and data[start - 1] < 0x80:
        start -= 1
    while data[end] < 0x80:
        end += 1
    return end - start + 1 >= 10


def microseconds(value):
    if isinstance(value, dict):
        if set(value) == {"s", "us"}:
            yield value["us"]
        value = value.values()
    if isinstance(value, (list, tuple)) or not isinstance(value, (str, bytes, int, bool, type(None))):
        for item in value:
            yield from microseconds(item)


# Messages


def recorded():
    """Every message that a client of the package sent in the recordings, with its type and last flag."""
    found = {}
    with open(os.path.join(VECTORS, "exchanges.json"), encoding="utf-8") as file:
        for case in json.load(file)["cases"]:
            for connection in case["connections"]:
                for each in connection["frames"]:
                    payload = bytes.fromhex(each["frame"])
                    payload = payload[1 + payload[0] :]
                    if each["dir"] == "c2s" and each["type"].startswith("HatEventer."):
                        _, _, last, kind, data = parsed(payload)
                        found[kind, data] = last
    with open(os.path.join(VECTORS, "sbs_messages.json"), encoding="utf-8") as file:
        for case in json.load(file)["cases"]:
            if case["type"] in ("MsgRegisterReq", "MsgQueryReq", "MsgInitReq"):
                found[f"HatEventer.{case['type']}", bytes.fromhex(case["hex"])] = 0
    return [(kind, data, last) for (kind, data), last in found.items()]


# Counts, flags, numbers at the edges of their sizes, wrong text.
PIECES = [
    *(b"\x80", b"\x81", b"\xff", b"\0\x80", b"\0\xff", b"\x7f\x80", b"\0" + b"\x7f" * 8 + b"\xff"),
    *(b"\x83NaN", b"\x82\xed\xa0", b"\x85[[1]]"),
]


def damage(chance, data):
    at = chance.randrange(len(data) + 1)
    kind = chance.randrange(5)
    if kind < 2 and at < len(data):
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 2:
        del data[at : at + chance.randrange(1, 4)]
    elif kind == 3:
        data[at:at] = chance.choice(PIECES)
    else:
        del data[at:]


INIT = message(1, "HatEventer.MsgInitReq", b"\x81a\x80\x81\x81\x81x\x80\x00", 0)


def ask(port, payloads):
    connection = Connection(port)
    try:
        connection.send(b"".join(frame(payload) for payload in payloads))
        return connection.answers()
    finally:
        connection.close()


def play(worlds, payloads, damaged, met):
    """Both servers get the messages and a good query, by whose answer all is told that comes."""
    last = message(LAST, QUERY, NOBODY, 0)
    answers = []
    for world in worlds:
        if world.server.process.poll() is not None:
            world.start()
        with time_limit(20):
            answers.append(ask(world.port, [*payloads, last]))
    their, our = answers
    if their == our and our[-1:] != ["closed"]:
        return
    # What was on its way when a server closed may be lost.
    alike = their[-1:] == our[-1:] == ["closed"]
    try:
        found = explain(*damaged, their, our)
    except Exception as error:
        if alike:
            return
        raise AssertionError(f"theirs says {their}, ours {our}: {error}") from error
    met |= found
    if found & {"H05", "H40"}:
        # Theirs may have registered it, and would drop everybody who asks for it. Nothing was written, so it forgets it.
        worlds[0].server.kill()


def both():
    return World(args, "their", "their", token=None, store=QUIET), World(args, "their", "our", token=None, store=QUIET)


@checks.check("every recorded message, good as it is", 60)
def good(met):
    theirs, ours = both()
    with theirs, ours:
        for kind, data, last in recorded():
            payloads = [message(1, kind, data, last)] if kind.endswith("InitReq") else [INIT, message(2, kind, data, last)]
            play((theirs, ours), payloads, (kind, data), met)


@checks.check("3,000 messages with damaged content", 180)
def damaged_content(met):
    chance, seeds = random.Random(1), recorded()
    theirs, ours = both()
    with theirs, ours:
        for number in range(3000):
            kind, good_data, last = chance.choice(seeds)
            data = bytearray(good_data)
            for _ in range(chance.choice((1, 1, 2, 3))):
                damage(chance, data)
            data = bytes(data)
            payloads = [message(1, kind, data, last)] if kind.endswith("InitReq") else [INIT, message(2, kind, data, last)]
            try:
                play((theirs, ours), payloads, (kind, data), met)
            except Exception as error:
                raise AssertionError(f"number {number}, {kind} {data.hex()}: {error}") from error


@checks.check("1,000 damaged messages", 120)
def damaged_messages(met):
    chance, seeds = random.Random(1000), recorded()
    theirs, ours = both()
    with theirs, ours:
        for number in range(1000):
            kind, data, last = chance.choice(seeds)
            payload = bytearray(message(2, kind, data, last))
            damage(chance, payload)
            try:
                play((theirs, ours), [INIT, bytes(payload)] if payload else [INIT], (None, bytes(payload)), met)
            except Exception as error:
                raise AssertionError(f"number {number}, {payload.hex()}: {error}") from error


finish(checks)
