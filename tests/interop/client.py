"""Our program, `acqbus send`, `listen` and `console`, with the real service of this environment."""

import json

import zmq

from harness import (
    TOPICS,
    Checks,
    Child,
    Late,
    ask_raw,
    context,
    finish,
    free_ports,
    main_arguments,
    python_service,
    same,
)

args = main_arguments(__doc__)
VERSION, OLD = args.version, args.version == "0.9.7"
checks = Checks(f"{VERSION} client", args.only)


class Rig:
    """The real service with the delegate of a rig, started when first needed."""

    service = None

    @classmethod
    def get(cls):
        if cls.service is None:
            cls.service = rig()
        return cls.service


def rig(**options):
    service = python_service(args.python, **{"heartbeat": 0.3, **options})
    service.answer(rig=True)
    return service


def acqbus(service, verb, *more):
    ports = ("--subscriber-port", service.subscriber_port, "--command-port", service.command_port)
    return Child(args.program, verb, "--json", *more, *ports)


def send(service, *more, code=0, seconds=10):
    """The objects that `acqbus send` prints, and what it says beside them."""
    program = acqbus(service, "send", *more)
    program.end_input()
    found = program.objects(seconds)
    same(program.wait(), code, f"the exit code of send {more}, which said {program.said()!r},")
    return found


def user(service, custom, data=None, *more, code=0):
    with_data = () if data is None else ("--data", json.dumps(data))
    return send(service, "USER_DEFINED", "--custom-command", custom, *with_data, *more, code=code)


def damaged(text):
    """A text as the old service lets it through."""
    import humps

    return json.loads(humps.camelize(json.dumps({"k": text})))["k"] if OLD else text


# send


@checks.check("every reply is read, and decides the exit code", 60)
def replies(met):
    service = Rig.get()
    for custom, data, code, expected in (
        (2, None, 1, {"result": 500, "errorMessage": damaged("delegate raised on purpose")}),
        (3, {"seconds": 0.2}, 0, {"result": 100, "data": None}),
        (4, None, 1, {"result": 400, "errorKind": 2, "errorCode": 42, "errorMessage": damaged("it is broken")}),
        (7, {"mode": 3, "list": [1.5, None]}, 0, {"result": 100, "data": {"mode": 3, "list": [1.5, None]}}),
        (9, None, 0, {"result": 200}),
        (12, None, 1, {"result": 0, "errorMessage": None}),
    ):
        (reply,) = user(service, custom, data, code=code)
        same(list(reply), ["nonce", "command", "result", "data", "errorKind", "errorCode", "errorMessage"], "the members")
        same({key: reply[key] for key in expected}, expected, f"the reply to custom command {custom}")
        same(reply["command"], 99999, "the command")
    met.add("C33")


@checks.check("a request has the members that every version reads, and clientId")
def request_form(met):
    command_port, subscriber_port = free_ports(2)
    with context.socket(zmq.REP) as replier:
        replier.linger = 0
        replier.bind(f"tcp://127.0.0.1:{command_port}")
        ports = ("--subscriber-port", subscriber_port, "--command-port", command_port)
        data = '{"wait_for": 1E-7}'
        program = Child(args.program, "send", "--json", "user", "--custom-command", 7, "--nonce", 9, "--data", data, *ports)
        assert replier.poll(5000), "no request came"
        (frame,) = replier.recv_multipart()
        # Read and answered by the package's own service.
        service = Rig.get()
        service.answer(echo=True)
        replier.send(ask_raw(service.command_port, frame))
        service.answer(rig=True)
        (reply,) = program.objects()
        same(program.wait(), 0, "the exit code")
    request = json.loads(frame)
    same(list(request), ["command", "customCommand", "nonce", "data", "clientId"], "the members of a request")
    assert b"1e-07" in frame, frame
    seen = {"command": 99999, "custom": 7, "nonce": 9, "data": {"waitFor": 1e7 if OLD else 1e-7}}
    same(reply["data"], seen, "what the delegate of the reference saw")
    met.add("C33")


@checks.check("commands are found by name, prefix and number")
def names():
    service = Rig.get()
    service.saw()
    for word in ("GET_STATUS", "get-status", "get_s", "400"):
        (reply,) = send(service, word)
        same((reply["command"], reply["result"]), (400, 100), f"the reply to {word}")
        status = {"appStatus": 100, "animalId": damaged("M-1"), "balance": 3 if OLD else -3}
        same(reply["data"], status, "the status")
    same(service.saw(), [400] * 4, "what the delegate saw")
    if OLD:
        # The old service drops the sign: a reply under another nonce is nobody's.
        same(send(service, "400", "--nonce", -5, code=6), [], "what send prints")
        service.saw()
        (reply,) = send(service, "100", code=1)
        same((service.saw(), reply["command"]), ([100], 100), "START_ACQUISITION by its old number")


@checks.check("any reply to NONE is taken, also one without the nonce")
def none():
    (reply,) = send(Rig.get(), "NONE", "--nonce", 77)
    expected = (77, 9999) if OLD else (0, 0)
    same((reply["nonce"], reply["result"]), expected, "the reply of the reference")


@checks.check("with --wait the later result comes too, under the same nonce", 40)
def later():
    service = Rig.get()
    data = {"seconds": 0.3, "name": "mouse"}
    reply, result = user(service, 1, data, "--wait", "--nonce", 31)
    same((reply["result"], reply["nonce"]), (201, 31), "the reply")
    same((result["result"], result["nonce"], result["command"]), (100, 31, 99999), "the result")
    same(result["data"], data, "the data of the result")
    reply, result = user(service, 10, {"seconds": 0.1}, "--wait", code=1)
    same((reply["result"], result["result"], result["errorCode"]), (201, 400, 17), "reply and result")
    same(result["errorMessage"], "late", "the error of the result")
    # At once: the result is published while the reply is on its way.
    reply, result = user(service, 1, {"seconds": 0}, "--wait")
    same((reply["result"], result["result"]), (201, 100), "reply and result without delay")


@checks.check("answers that come late, and not in time")
def late():
    service = Rig.get()
    (reply,) = user(service, 3, {"seconds": 1.2}, "--timeout", 3)
    same(reply["result"], 100, "the result")
    program = acqbus(
        service, "send", "user", "--custom-command", 3, "--data", '{"seconds": 1}', "--timeout", 0.3
    )
    same((program.wait(), program.objects()), (4, []), "exit code and output without an answer in time")
    assert "no answer" in program.said(), program.said()
    # The next one waits until the delegate is free, and is answered.
    same(send(service, "GET_STATUS", "--timeout", 5)[0]["result"], 100, "the result of the next command")


@checks.check("a service that has died of a bad request: an error in time, not for ever")
def dead(met):
    service = rig()
    try:
        service.raw(*([b"{}"] if OLD else [b"{}", b"more"]), seconds=0.7)
    except Late:
        pass
    assert not service.alive(0.7), "the reference lives"
    for more in ((), ("--retries", 2), ("--wait",)):
        program = acqbus(service, "send", "GET_STATUS", "--timeout", 0.5, *more)
        code = program.wait(8)
        assert code in (3, 4), f"exit code {code}; it said {program.said()!r}"
        same(program.objects(), [], "the output")
        assert program.said(), "it says nothing"
    met.add("C34")


@checks.check("without a service: exit code 3")
def nobody():
    command_port, subscriber_port = free_ports(2)
    ports = ("--subscriber-port", subscriber_port, "--command-port", command_port)
    program = Child(args.program, "send", "--json", "GET_STATUS", "--timeout", 0.5, *ports)
    same(program.wait(8), 3, f"the exit code, with {program.said()!r},")
    program = Child(args.program, "listen", "--json", "--duration", 0.5, *ports)
    same(program.wait(8), 3, f"the exit code of listen, with {program.said()!r},")


# listen


def listener(service, *more):
    """A `listen` that has heard the first heartbeat, so that what is published now reaches it."""
    program = acqbus(service, "listen", *more)
    while True:
        line = program.object(8)
        if line.get("notice") == "connected":
            same(line["epoch"], None, "the epoch of the reference")
            return program


def messages(program, seconds=8):
    return [line for line in program.objects(seconds) if "topic" in line]


@checks.check("every topic, with emergency copies, in every form of body", 40)
def topics(met):
    service = Rig.get()
    emergency = {"kind": 101, "when": 1.5, "index": 2, "context": {"reason": "door"}}
    orders = [
        ("send_event_dict", {"kind": 1101, "when": 1.0, "index": 1, "context": None}, None),
        ("send_event_dict", emergency, None),
    ]
    expected = [("EVENT", 1101), ("EMERGENCY", 101), ("EVENT", 101)]
    if OLD:
        orders += [
            ("send_dict", {"name": "fan", "new_value": -1}, TOPICS["PROPERTY_CHANGE"]),
            ("send_string", "no JSON", TOPICS["PROPERTY_CHANGE"]),
            ("send", "00ff", TOPICS["PROPERTY_CHANGE"]),
            ("send_dict", {"a": 1}, TOPICS["ANY"]),
        ]
        expected += [("PROPERTY_CHANGE", None)] * 3 + [("ANY", None)]
    else:
        result = {"result": 100, "data": {"a_b": 1}, "error_code": 0, "error_message": None, "command": 400, "nonce": 8}
        orders.append(("send_command_result", result, None))
        expected.append(("COMMAND_RESULT", None))
    # Heartbeats come in between: all but these are counted.
    wanted = [word for topic in TOPICS if topic != "HEARTBEAT" for word in ("--topic", topic)]
    program = acqbus(service, "listen", "--count", len(expected), *wanted)
    settle(service, program, len(expected))
    program.kill()
    program = listener(service)
    for order in orders:
        same(service.publish(*order)["accepted"], True, order[0])
    found = []
    while len(found) < len(expected):
        line = program.object(5)
        if line.get("topic") not in (None, "HEARTBEAT"):
            found.append(line)
    same([(line["topic"], line.get("body", {}).get("kind")) for line in found], expected, "topics and kinds")
    same(found[1]["body"], emergency, "the emergency")
    same(found[2]["body"], emergency, "its copy")
    assert all("sequence" not in line and "epoch" not in line for line in found), found
    if OLD:
        same(found[3]["body"], {"name": "fan", "newValue": 1}, "the property change, without its sign")
        same((found[4].get("text"), found[5].get("hex")), ("no JSON", "00ff"), "what is no JSON")
        met.add("C35")
    else:
        same(found[3]["body"]["data"], {"aB": 1}, "the data of the result")
    program.interrupt()
    end = [line for line in program.objects() if line.get("notice") == "end"]
    same((program.wait(), end[0]["lost"], end[0]["malformed"]), (130, 0, 0), "exit code, lost and malformed")


def settle(service, program, count):
    """Publishes until the program has its `count` messages and ends by itself."""
    for _ in range(100):
        for _ in range(count):
            service.publish("send_event_dict", {"kind": 1, "when": 0.0, "index": 0, "context": None})
        try:
            same(program.wait(0.1), 0, "the exit code of listen --count")
        except Late:
            continue
        same(len(messages(program)), count, "the messages of listen --count")
        return
    raise Late("listen --count does not end")


@checks.check("heartbeats name the service and its version")
def heartbeats():
    service = Rig.get()
    program = acqbus(service, "listen", "--topic", "HEARTBEAT", "--count", 3)
    lines = program.objects(10)
    same(program.wait(), 0, "the exit code")
    bodies = [line["body"] for line in lines if line.get("topic") == "HEARTBEAT"]
    same(len(bodies), 3, "the number of heartbeats")
    for body in bodies:
        same(set(body), {"identifier", "version", "timestamp"}, "the members")
        same((body["identifier"], body["version"]), (damaged("rig-01"), VERSION), "identifier and version")


@checks.check("the version decides what a kind is called")
def kinds():
    service = Rig.get()
    program = listener(service, "--kind", "sessionStarting" if OLD else "trialStarted", "--count", 1)
    for kind in (1302, 1301):
        service.publish("send_event_dict", {"kind": kind, "when": 0.5, "index": 0, "context": None})
    (line,) = messages(program)
    same(program.wait(), 0, "the exit code")
    same((line["body"]["kind"], line["kind"]), (1301, "sessionStarting" if OLD else "trialStarted"), "number and name")


@checks.check("a service that starts again is found again", 40)
def restart():
    ports = free_ports(2)
    first = rig(ports=ports)
    program = listener(first, "--topic", "EVENT")
    first.kill()
    second = rig(ports=ports)
    # libzmq connects anew by itself; an event that comes before that is lost.
    for number in range(200):
        second.publish("send_event_dict", {"kind": 1101, "when": 0.0, "index": number, "context": None})
        try:
            line = program.object(0.1)
        except Late:
            continue
        if line.get("topic") == "EVENT":
            same(line["body"]["kind"], 1101, "the kind")
            break
    else:
        raise Late("no event of the second service")
    program.kill()
    second.kill()


if not OLD:

    @checks.check("heartbeats that stop are told", 40)
    def silence():
        service = rig()
        program = listener(service)
        try:
            service.raw(b"{}", b"more", seconds=0.5)
        except Late:
            pass
        # The reference does not announce its interval: three times the usual one are waited for.
        while True:
            line = program.object(25)
            if line.get("notice") == "heartbeatLost":
                assert line["silentFor"] >= 14, line
                break
        program.kill()


# console


@checks.check("a console in a pipe: replies, later results, messages, the worst exit code", 40)
def console():
    service = Rig.get()
    service.saw()
    program = acqbus(service, "console", "--timeout", 5)
    lines = await_notice(program, "connected")
    program.write("GET_STATUS\nEMERGENCY_STOP\nUSER_DEFINED 7 name=mouse\nUSER_DEFINED 1 seconds=0.2\nUSER_DEFINED 4\n")
    if OLD:
        program.write("START_ACQUISITION\n")
        program.end_input()
        lines += program.objects(10)
        same(program.wait(), 2, f"the exit code, with {program.said()!r},")
    else:
        program.end_input()
        lines += program.objects(10)
        same(program.wait(), 1, f"the exit code, with {program.said()!r},")
    replies = [line for line in lines if "result" in line and "topic" not in line]
    same([line["result"] for line in replies[:3]], [100, 100, 100], "the first results")
    same(replies[2]["data"], {"name": "mouse"}, "the data of the third")
    assert sorted(line["result"] for line in replies[3:])[:3] == [100, 201, 400], replies
    emergencies = [line["topic"] for line in lines if line.get("body", {}).get("kind") == 101]
    same(emergencies, ["EMERGENCY", "EVENT"], "the topics of the emergency")
    same(service.saw(), [400, 200] + [99999] * 3, "what the delegate saw")


@checks.check("a console knows the numbers of its service's version")
def console_numbers(met):
    service = Rig.get()
    service.saw()
    program = acqbus(service, "console", "--yes")
    await_notice(program, "connected")
    program.write("START_ACQUISITION\n")
    program.end_input()
    program.objects(10)
    same(program.wait(), 1, f"the exit code, with {program.said()!r},")
    same(service.saw(), [100 if OLD else 50], "what the delegate saw")
    met.add("C35")


def await_notice(program, notice):
    lines = []
    while True:
        lines.append(program.object(8))
        if lines[-1].get("notice") == notice:
            return lines


finish(checks)
