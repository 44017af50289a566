"""The same requests and the same publications to the real service and to ours, byte by byte.

Runs in the environment of the version that it compares with. A difference passes only by one of the rules below, and each
rule belongs to an id of docs/compatibility.md; it says what exactly ours must be then, so that nothing else hides behind it.
"""

import datetime
import json
import math
import random
import re
import uuid

import humps
import zmq

from chance import chance_request
from harness import (
    TOPICS,
    Checks,
    Late,
    Service,
    context,
    finish,
    main_arguments,
    python_service,
    same,
    vectors,
)
from service import ApiCommand, untag

args = main_arguments(__doc__)
VERSION, OLD = args.version, args.version == "0.9.7"
checks = Checks(f"{VERSION} differential", args.only)
NOTHING = {"nonce": 0, "command": 0, "result": 0, "data": None, "errorKind": 0, "errorCode": 0}


def theirs(**options):
    return python_service(args.python, **options)


def ours(**options):
    return Service(args.peer, "--as", VERSION, **options)


class Pair:
    """Both services, started when first needed."""

    services = None

    @classmethod
    def get(cls):
        if cls.services is None:
            cls.services = theirs(), ours()
        return cls.services


# Replies


def explain_reply(request, answer, their_bytes, our_bytes):
    """The ids that explain a difference; an assertion says what is left unexplained."""
    if their_bytes == our_bytes:
        return set()
    met = set()
    their_reply, our_reply = json.loads(their_bytes), json.loads(our_bytes)
    same(list(our_reply), list(their_reply), "the members of our reply")
    asked = strict(request)
    if asks_none(asked):
        same(our_reply, {**NOTHING, "nonce": asked.get("nonce", 0), "result": 100, "errorMessage": None}, "our reply")
        return {"C01"}
    if unusable(our_reply) and our_reply["errorMessage"]:
        if unusable(their_reply) and their_reply["errorMessage"] is None:
            return {"C02"}
        # They repair what is no JSON object with a `command` as it stands.
        assert asked is None or "command" not in asked, "ours refuses a request that is good"
        return {"C02", "C07"}
    their_values, our_values = dict(their_reply), dict(our_reply)
    if unusable(their_reply):
        # They damage what is good JSON; ours reads it.
        assert asked is not None and "command" in asked, "ours takes a request that is bad"
        same(our_reply["nonce"], asked.get("nonce", 0), "our nonce")
        return {"C07"}
    if their_reply["nonce"] != our_reply["nonce"]:
        nonce = asked.get("nonce", 0)
        if has_surrogate(nonce):
            same(our_reply["nonce"], re.sub("[\ud800-\udfff]", "\ufffd", nonce), "our nonce")
            met.add("C08")
        else:
            same(our_reply["nonce"], nonce, "our nonce")
            met.add("C06" if OLD and their_reply["nonce"] != camel_text(decamel_text(nonce)) else "C07")
        del their_values["nonce"], our_values["nonce"]
    if "echo" in answer and their_values["data"] != our_values["data"]:
        seen = {"command": our_reply["command"], "custom": asked.get("customCommand", -1)}
        seen |= {"nonce": asked.get("nonce", 0), "data": asked.get("data")}
        same(our_values["data"], sent(seen), "what our delegate saw")
        met.add("C07")
        del their_values["data"], our_values["data"]
    if their_values != our_values and not_text_keys(answer):
        met.add("C19")
        del their_values["data"], our_values["data"]
    if their_values != our_values and OLD:
        if "NaN" in their_bytes.decode():
            met.add("C20")
        same(fold(our_bytes), fold(their_bytes), "our reply, without what the old service damages,")
        exact = {"data": sent(untag(answer.get("data"))), "errorCode": answer.get("error_code", 0)}
        exact["errorMessage"] = answer.get("raise", answer.get("error_message"))
        if our_values["errorKind"] != 1:
            same({key: our_values[key] for key in exact}, exact, "our reply")
        met.add("C06")
        return met
    same(our_values, their_values, "our reply")
    if OLD and not met:
        # Equal as numbers are: -0.0 has lost its sign.
        same(fold(our_bytes), fold(their_bytes), "our reply, without what the old service damages,")
        met.add("C06")
    assert met, f"ours is {our_bytes!r}, theirs {their_bytes!r}"
    return met


def strict(request):
    """The object of a request, if it is one as it stands."""
    try:
        value = json.loads(request.decode(), parse_constant=lambda text: 1 / 0)
    except (ValueError, RecursionError, ZeroDivisionError):
        return None
    return value if isinstance(value, dict) else None


def asks_none(asked):
    command = (asked or {}).get("command")
    return isinstance(command, (int, float)) and command == 0


def unusable(reply):
    return {key: value for key, value in reply.items() if key != "errorMessage"} == NOTHING


def has_surrogate(value):
    return isinstance(value, str) and re.search("[\ud800-\udfff]", value)


def not_text_keys(answer):
    return "$dict" in json.dumps(answer)


def decamel_text(value):
    return json.loads(humps.decamelize(json.dumps({"k": value})))["k"]


def camel_text(value):
    return json.loads(humps.camelize(json.dumps({"k": value})))["k"]


def fold(text):
    """A JSON text without what the rewriting of 0.9.7 loses: white space, `-` and `_`, the case of letters; NaN is null."""
    value = json.loads(text, parse_int=str, parse_float=str, parse_constant=lambda text: None)
    return re.sub(r"[-_\s]", "", json.dumps(value)).lower()


def sent(value):
    """A value as it must arrive: keys rewritten by the package's own library, values as JSON gives them back."""
    if isinstance(value, dict):
        return {key_text(key): sent(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [sent(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value


def key_text(key):
    return humps.camelize(key) if isinstance(key, str) else "" if key is None else str(key)


def expected_reply(request, rewritten):
    """The reply that the rules of docs/wire.md give to a request, or those of the reference, which rewrites it first."""
    nothing = {**NOTHING, "errorMessage": None}
    try:
        text = request.decode()
        value = json.loads(humps.decamelize(text) if rewritten else text, parse_constant=lambda text: 1 / 0)
    except (ValueError, ZeroDivisionError):
        return nothing
    if not isinstance(value, dict) or isinstance(value.get("command", []), (list, dict)):
        return nothing
    command = value["command"]
    number = command if isinstance(command, (int, float)) else None
    if number == 0:
        # Ours says that it lives; 0.12.0 gives what it gives to an unusable request.
        return nothing if rewritten else {**nothing, "nonce": echoed_value(value.get("nonce", 0), False), "result": 100}
    known = number in set(ApiCommand) and number is not True
    reply = {**nothing, "command": int(number) if known else 99999, "result": 100}
    return {**reply, "nonce": echoed_value(value.get("nonce", 0), rewritten)}


def echoed_value(value, rewritten):
    """A nonce as it comes back: with ours as it was, but for lone surrogates; in the reference with its keys rewritten."""
    if rewritten:
        return sent(value)
    if isinstance(value, dict):
        return {echoed_value(key, False): echoed_value(item, False) for key, item in value.items()}
    if isinstance(value, list):
        return [echoed_value(item, False) for item in value]
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", "\ufffd", value)
    return sent(value)


def compare_requests(cases, met):
    """Sends (request, what the delegate answers) to both; also what the delegates were called with must be the same."""
    their, our = Pair.get()
    their.saw(), our.saw()
    count, before = 0, None
    for request, answer in cases:
        if answer != before:
            their.answer(**answer)
            our.answer(**answer)
            before = answer
        their_bytes, our_bytes = their.raw(request), our.raw(request)
        try:
            ids = explain_reply(request, answer, their_bytes, our_bytes)
            their_saw, our_saw = their.saw(), our.saw()
            if their_saw != our_saw:
                # The old service leaves NONE to the delegate.
                ids |= {"C01"} if asks_none(strict(request)) else set()
                assert ids & {"C01", "C07"}, f"our delegate saw {our_saw}, theirs {their_saw}"
        except AssertionError as error:
            raise AssertionError(f"request {request[:300]!r}, answered by {json.dumps(answer)[:200]}: {error}") from None
        met |= ids
        count += 1
    assert count, "nothing was compared"


@checks.check("each recorded request gets the same reply", 120)
def recorded(met):
    cases = [
        (bytes.fromhex(case["request_hex"]), case["delegate"])
        for case in vectors(f"commands-{VERSION}.json")
        # A Python delegate can return what is no response, or a response with a result that is none. Ours cannot.
        if case["reply_hex"] is not None and expressible(case["delegate"])
    ]
    compare_requests(cases, met)


def expressible(answer):
    return "return" not in answer and not any(isinstance(answer.get(key), dict) for key in ("result", "error_message"))


@checks.check("the delegate sees the same of each recorded request", 120)
def echoed(met):
    requests = {case["request_hex"] for case in vectors(f"commands-{VERSION}.json") if case["reply_hex"]}
    compare_requests([(bytes.fromhex(text), {"echo": True}) for text in sorted(requests)], met)


ODD_REQUESTS = [
    b'{"command":400,"nonce":1,"data":{"name":"John Smith","animalID":1}}',
    b'{"command":4E2,"nonce":1}',
    b'{"command":400,"nonce":1e400}' if not OLD else b'{"command":400}',
    b'{"command":400,"nonce":12345678901234567890123456789012345678901234567890}',
    b'{"command":400,"nonce":1,"nonce":2}',
    b'{"command":false,"nonce":7}',
    b'{"command":true,"nonce":7}',
    b' {"nonce" : 3 , "command" : 400 } ',
    b'{"command":400,"nonce":0.1}',
    b'{"command":400,"nonce":[1,[2,{"aB":null}]]}',
    b'{"command":400,"nonce":"\\ud800"}',
    b'{"command":400,"nonce":"a\\u0000b"}',
    b'{"command":400,"clientId":7,"nonce":5}',
]


@checks.check("odd requests get the same reply")
def odd(met):
    # The old service dies of those that its rewriting of the text spoils; see the last checks.
    requests = [request for request in ODD_REQUESTS if not (OLD and b"4E2" in request)]
    compare_requests([(request, {"result": 100}) for request in requests], met)
    assert {"C07", "C08"} <= met or OLD, met


if not OLD:

    @checks.check("each unusable request gets the same reply, and says why", 60)
    def malformed(met):
        cases = []
        for case in vectors(f"malformed-{VERSION}.json"):
            if case["request_frames_hex"] is None:
                text, count = case["request_repeat"]
                cases.append((bytes.fromhex(text) * count, {"result": 100}))
            elif len(case["request_frames_hex"]) == 1:
                cases.append((bytes.fromhex(case["request_frames_hex"][0]), {"result": 100}))
        compare_requests(cases, met)
        assert "C02" in met, met

    @checks.check("400 requests made by chance, by the same rules", 90)
    def by_chance(met):
        their, our = Pair.get()
        their.answer(result=100)
        our.answer(result=100)
        dice = random.Random(20260101)
        different = 0
        for _ in range(400):
            request = chance_request(dice)
            their_bytes, our_bytes = their.raw(request), our.raw(request)
            if their_bytes == our_bytes:
                continue
            different += 1
            their_reply, our_reply = json.loads(their_bytes), json.loads(our_bytes)
            message = our_reply["errorMessage"]
            assert bool(message) == unusable(our_reply), f"request {request!r}: our reply is {our_reply}"
            replies = [{**our_reply, "errorMessage": None}, their_reply]
            expected = [expected_reply(request, False), expected_reply(request, True)]
            same(replies, expected, f"request {request!r}: our reply and theirs")
            met |= {"C02"} if message else {"C01"} if our_reply["command"] == 0 else {"C08"} if "\ufffd" in str(our_reply) else {"C07"}
        assert 0 < different < 400, f"{different} of 400 differ"

    @checks.check("over the limits of size and depth ours refuses, and lives")
    def limits(met):
        their, our = Pair.get()
        their.answer(result=100)
        our.answer(result=100)
        deep = b'{"command":400,"nonce":1,"data":' + b"[" * 100 + b"]" * 100 + b"}"
        large = b'{"command":400,"nonce":1,"data":"' + b"x" * (1 << 20) + b'"}'
        for request, word in ((deep, "64"), (large, "1048576")):
            same(json.loads(their.raw(request, seconds=20))["result"], 100, "their result")
            reply = json.loads(our.raw(request))
            assert unusable(reply), reply
            assert word in reply["errorMessage"], reply
        try:
            our.raw(b"x" * (2 << 20), seconds=1)
        except Late:
            pass
        else:
            raise AssertionError("twice the limit is answered")
        assert our.alive(), "ours is dead"
        met.add("C10")


# Publications

EXTRAS = re.compile(rb', ?(\\?)"epoch\1": ?(\d+), ?\1"sequence\1": ?(\d+)}')


def without_extras(topic, body, met):
    """A body of ours as the package would have published it."""
    found = EXTRAS.search(body)
    if not found:
        return body
    met.add("C03")
    return body[: found.start()] + b"}" + body[found.end() :]


def explain_publication(message, their_frames, our_frames, met):
    same([topic for topic, _ in our_frames], [topic for topic, _ in their_frames], "the topics of ours")
    for (topic, their_body), (_, our_body) in zip(their_frames, our_frames):
        our_body = without_extras(topic, our_body, met)
        if our_body == their_body:
            continue
        if "$dict" in json.dumps(message):
            met.add("C19")
            continue
        assert OLD, f"ours is {our_body!r}, theirs {their_body!r}"
        our_text, their_text = json.loads(our_body), json.loads(their_body)
        if "NaN" in their_text or "Infinity" in their_text:
            met.add("C20")
        same(fold(our_text), fold(their_text), "our body, without what the old service damages,")
        same(json.loads(our_text), sent(untag(message)), "our body")
        met.add("C06")


@checks.check("each recorded publication comes out the same", 60)
def published(met):
    pair = Pair.get()
    subscribers = [service.subscribe() for service in pair]
    for service, subscriber in zip(pair, subscribers):
        settle(service, subscriber)
    count = 0
    for number, case in enumerate(vectors(f"publish-{VERSION}.json")):
        text = json.dumps(case["message"]) if "message" in case else ""
        # Heartbeats have checks of their own; a Rust text cannot hold a lone surrogate; what cannot be serialised kills.
        if case["api"] == "heartbeat" or "$str" in text or "$set" in text or "$bytes" in text:
            continue
        frames = []
        for service, subscriber in zip(pair, subscribers):
            same(service.publish(case["api"], case["message"], case.get("topic")).get("accepted"), True, case["name"])
            frames.append(up_to_mark(service, subscriber, number))
        try:
            explain_publication(case["message"], *frames, met)
        except AssertionError as error:
            raise AssertionError(f"{case['name']}: {error}") from None
        count += 1
    assert count > 200, f"only {count} were compared"
    assert "C03" in met, met


def settle(service, subscriber):
    """Publishes marks until one comes: then the subscription has arrived."""
    for _ in range(100):
        service.publish("send_event_dict", {"kind": 1, "mark": "first"})
        try:
            subscriber.until(lambda topic, body: b"first" in body, seconds=0.1)
        except Late:
            continue
        return
    raise Late("the subscription does not arrive")


def up_to_mark(service, subscriber, number):
    """What came since the last mark, without heartbeats."""
    mark = re.compile(rb'mark\\?": ?%d\b' % number)
    service.publish("send_event_dict", {"kind": 1, "mark": number})
    found = subscriber.until(lambda topic, body: mark.search(body))[:-1]
    return [(topic, body) for topic, body in found if topic != TOPICS["HEARTBEAT"] and b"first" not in body]


# Sockets


@checks.check("subscriptions select by leading bytes, and 0 is a topic like any other")
def prefixes():
    for service in Pair.get():
        some, other = service.subscribe(TOPICS["EVENT"]), service.subscribe(TOPICS["ANY"], TOPICS["EMERGENCY"])
        with some, other:
            settle(service, some)
            for index in range(200):
                service.publish("send_event_dict", {"kind": 102, "when": 0.0, "index": index, "context": None})
                try:
                    found = [other.next(0.1)]
                except Late:
                    continue
                break
            else:
                raise Late("the second subscription does not arrive")
            last = re.compile(rb'index\\?": ?%d\b' % index)
            found += [] if last.search(found[0][1]) else other.until(lambda topic, body: last.search(body))
            same({topic for topic, _ in found}, {TOPICS["EMERGENCY"]}, "the topics to a subscriber of ANY and EMERGENCY")
            same({topic for topic, _ in up_to_mark(service, some, 5)}, {TOPICS["EVENT"]}, "the topics to one of EVENT")


@checks.check("pipelined requests of a DEALER are answered in order; one that leaves harms nobody")
def dealers():
    for service in Pair.get():
        service.answer(result=100)
        requests = [json.dumps({"command": 400, "nonce": number}).encode() for number in range(20)]
        for stays in (False, True):
            with context.socket(zmq.DEALER) as dealer:
                dealer.linger = 0 if stays else 500
                dealer.connect(f"tcp://127.0.0.1:{service.command_port}")
                for request in requests:
                    dealer.send_multipart([b"", request])
                if not stays:
                    continue
                for number in range(len(requests)):
                    assert dealer.poll(5000), f"no reply to request {number}"
                    empty, reply = dealer.recv_multipart()
                    same((empty, json.loads(reply)["nonce"]), (b"", number), "delimiter and nonce")
        assert service.alive(), "the service is dead"


# What the reference does not survive: a service of its own each time


@checks.check("a request of two frames is answered; the reference dies")
def two_frames(met):
    their, our = theirs(), ours()
    try:
        their.raw(b'{"command":300,"nonce":1}', b"more", seconds=1)
    except Late:
        pass
    else:
        raise AssertionError("the reference answers")
    assert not their.alive(0.7), "the reference lives"
    for frames in ([b'{"command":300,"nonce":1}', b"more"], [b"", b'{"command":300}'], [b"x"] * 200):
        reply = json.loads(our.raw(*frames))
        assert unusable(reply) and "frames" in reply["errorMessage"], reply
        assert our.alive(), "ours is dead"
    same(our.saw().count(300), 4, "the number of commands that our delegate saw")
    met.add("C09")


if OLD:

    @checks.check("an unusable request is answered; the reference dies")
    def unusable_kills(met):
        their, our = theirs(), ours()
        try:
            their.raw(b"{}", seconds=1)
        except Late:
            pass
        else:
            raise AssertionError("the reference answers")
        assert not their.alive(0.7), "the reference lives"
        for case in vectors("malformed-0.9.7.json"):
            if case["request_frames_hex"] is None:
                continue
            reply = json.loads(our.raw(*(bytes.fromhex(frame) for frame in case["request_frames_hex"])))
            assert not unusable(reply) or reply["errorMessage"], reply
            assert not case["service_alive_after"] or case["name"] == "space-in-key" or not unusable(reply), case["name"]
        assert our.alive(), "ours is dead"
        met |= {"C02", "C11"}


@checks.check("an event that cannot be serialised is an error of its own")
def unserialisable(met):
    their, our = theirs(), ours()
    event = {"kind": 501, "when": 0, "index": 0, "context": {"bad": {"$set": [1]}}}
    with our.subscribe() as subscriber:
        settle(our, subscriber)
        same(their.publish("send_event_dict", event), {"done": True, "accepted": True}, "what the reference says")
        if not OLD:
            for _ in range(50):
                if not their.alive(0.7):
                    break
            else:
                raise AssertionError("the reference lives")
        said = our.publish("send_event_dict", event)
        same(said["done"], False, "whether ours takes it")
        assert "cannot be written as JSON" in said["error"], said
        same(up_to_mark(our, subscriber, 7), [], "what ours published of it")
    assert our.alive(), "ours is dead"
    met.add("C13")


@checks.check("a command result whose data cannot be serialised goes out without them")
def unserialisable_result(met):
    our = ours()
    with our.subscribe() as subscriber:
        settle(our, subscriber)
        message = {"result": 100, "data": {"$set": [1]}, "error_code": 0, "error_message": None, "command": 400, "nonce": 3}
        same(our.publish("send_command_result", message)["done"], True, "whether ours takes it")
        ((topic, body),) = up_to_mark(our, subscriber, 7)
    value = json.loads(body)
    value = json.loads(value) if OLD else value
    same((topic, value["data"], value["nonce"], value["command"]), (TOPICS["COMMAND_RESULT"], None, 3, 400), "the result")
    met.add("C14")


@checks.check("an emergency overtakes what is queued; in the reference it waits", 60)
def emergency_first(met):
    their, our = theirs(), ours()
    same(overtaken(their, 500), 0, "the number of events that an emergency of the reference overtakes")
    # Whether anything waits when the emergency comes is up to the scheduler: it is tried until something did.
    for _ in range(40):
        if overtaken(our, 5000):
            met.add("C12")
            return
    raise AssertionError("no emergency came before an event that was queued earlier")


def overtaken(service, count):
    """How many events of a burst arrive after the emergency that was published behind it."""
    with service.subscribe() as subscriber:
        settle(service, subscriber)
        same(service.order(op="burst", count=count), {"done": True}, "the burst")
        found = subscriber.until(lambda topic, body: re.search(rb'kind\\?": ?101\b', body), seconds=20)
        before = sum(b"1001" in body for topic, body in found if topic == TOPICS["EVENT"])
        same(found[-1][0], TOPICS["EMERGENCY"], "the topic on which the emergency comes first")
        after = up_to_mark(service, subscriber, 3)
    copies = [body for topic, body in after if re.search(rb'kind\\?": ?101\b', body)]
    same(len(copies), 1, "the number of its copies on EVENT")
    events = before + len(after) - len(copies)
    same(events, count, "the number of events of the burst")
    return count - before


# Heartbeats


def heartbeat_of(body):
    value = json.loads(body)
    return json.loads(value) if OLD else value


@checks.check("heartbeats: the first at once, and with more in them", 30)
def heartbeats(met):
    their, our = theirs(heartbeat=1), ours(heartbeat=60)
    with our.subscribe(TOPICS["HEARTBEAT"]) as subscriber:
        first = heartbeat_of(subscriber.next(3)[1])
    with their.subscribe(TOPICS["HEARTBEAT"]) as subscriber:
        reference = heartbeat_of(subscriber.next(3)[1])
    same(list(first)[:3], list(reference), "the members that all heartbeats have")
    more = {"interval", "queueDepth", "dropped", "delegateBusy", "sequences", "epoch", "sequence"}
    same(set(first) - set(reference), more, "what ours has beside them")
    same(first["version"], reference["version"].replace(VERSION.replace(".", ""), VERSION), "our version")
    same(first["identifier"], "rig-01", "our identifier")
    same(reference["identifier"], "rig01" if OLD else "rig-01", "their identifier")
    same(type(first["timestamp"]), float, "the type of our timestamp")
    met |= {"C04", "C05", "C06"} if OLD else {"C04", "C05"}


@checks.check("a delegate that takes 1.5 s delays no heartbeat and no event")
def busy_delegate(met):
    their, our = theirs(heartbeat=0.2), ours(heartbeat=0.2)
    for service in (their, our):
        service.answer(rig=True)
    counts = []
    for service in (their, our):
        with service.subscribe(TOPICS["EVENT"], TOPICS["HEARTBEAT"]) as subscriber:
            settle(service, subscriber)
            done, reply = blocked(service)
            service.publish("send_event_dict", {"kind": 1, "mark": "busy"})
            try:
                subscriber.until(lambda topic, body: b"busy" in body, seconds=0.7)
                event = True
            except Late:
                event = False
            counts.append((event, not done.is_set()))
            done.wait(5)
            same(reply[0]["result"], 100, "the result")
    same(counts, [(False, True), (True, True)], "whether the event came, and before the delegate was done; theirs, ours")
    met.add("C18")


def blocked(service):
    """Starts a command that blocks the delegate; returns when the delegate has been called."""
    import threading

    done, reply = threading.Event(), []

    def ask():
        data = {"seconds": 1.5}
        reply.append(service.ask({"command": 99999, "customCommand": 3, "nonce": 1, "data": data}, seconds=5))
        done.set()

    service.saw()
    threading.Thread(target=ask, daemon=True).start()
    while 99999 not in service.saw():
        pass
    return done, reply


# What is only ours, and must not disturb


@checks.check("progress goes out on a topic of its own, the result on COMMAND_RESULT as theirs")
def progress(met):
    their, our = theirs(), ours()
    bodies = []
    for service in (their, our):
        service.answer(rig=True)
        with service.subscribe() as subscriber:
            settle(service, subscriber)
            request = {"command": 99999, "customCommand": 1, "nonce": 77, "data": {"seconds": 0.05}}
            same(service.ask(request)["result"], 201, "the reply")
            found = subscriber.until(lambda topic, body: topic == TOPICS["COMMAND_RESULT"])
        same(6002 in [topic for topic, _ in found], service is our, "whether there is progress")
        bodies.append(without_extras(*found[-1], met))
    their_body, our_body = bodies
    if OLD:
        # The application makes the dictionary in the old version, with the fields in its own order.
        their_body, our_body = (json.loads(json.loads(body)) for body in bodies)
    same(our_body, their_body, "our result")
    met.add("C15")


@checks.check("with a clientId a request is executed once; without one as often as it comes")
def once(met):
    their, our = theirs(), ours()
    request = {"command": 400, "nonce": 5, "clientId": "someone"}
    for service in (their, our):
        service.saw()
        first = service.ask(request)
        same(service.ask(request), first, "the second reply")
        same(service.saw(), [400, 400] if service is their else [400], "what the delegate saw")
    other = {**request, "data": 1}
    same(their.ask(other)["result"], 100, "their result for another request under the same nonce")
    reply = our.ask(other)
    same((reply["result"], reply["errorKind"], reply["errorCode"]), (400, 2, 409), "our answer to it")
    del request["clientId"]
    our.saw()
    our.ask(request), our.ask(request)
    same(our.saw(), [400, 400], "what our delegate saw without a clientId")
    met |= {"C16", "C17"}


finish(checks)
