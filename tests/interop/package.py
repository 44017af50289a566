"""A client made of the package's own types, with our simulated rig.

What comes is turned into the package's enumerations, data classes and typed dictionaries, strictly: every field must be there,
with a value of its type, and nothing else. Only `epoch` and `sequence`, at the end of a published body, are ours.
"""

import collections.abc
import dataclasses
import datetime
import enum
import json
import os
import re
import time
import typing
import uuid

import humps

import autotrainer.api as package
from autotrainer.api import rpc_service
from autotrainer.api.command import api_command

from harness import (
    COMMAND_PROGRESS,
    TOPICS,
    VECTORS,
    Checks,
    Child,
    Late,
    Subscriber,
    ask_raw,
    finish,
    free_ports,
    main_arguments,
    same,
    vectors,
)

args = main_arguments(__doc__)
VERSION, OLD = args.version, args.version == "0.9.7"
checks = Checks(f"{VERSION} package", args.only)
ApiCommand = api_command.ApiCommand
ApiTopic = package.ApiTopic
ApiEventKind = package.ApiEventKind
Request = package.ApiCommandRequest
CommandResult = package.ApiCommandRequestResponse
Result = package.ApiCommandReqeustResult if OLD else package.ApiCommandRequestResult
ErrorKind = rpc_service.ApiCommandRequestErrorKind
Heartbeat = rpc_service.HeartbeatMessage


@dataclasses.dataclass
class Reply:
    """The reply of the facts, in the package's enumerations. Its own class for it is private in 0.12.0."""

    nonce: int
    command: ApiCommand
    result: Result
    data: typing.Any
    error_kind: ErrorKind
    error_code: int
    error_message: typing.Optional[str]


@dataclasses.dataclass
class Event:
    kind: ApiEventKind
    when: float
    index: int
    context: typing.Any
    repeat: int = 0


# Types


def build(kind, value, where="value"):
    """The value as the package's type, or an assertion that says where it is none."""
    origin = typing.get_origin(kind)
    if kind is typing.Any:
        return value
    if origin is typing.Union:
        choices = [choice for choice in typing.get_args(kind) if not is_protocol(choice)]
        if type(None) in choices:
            return None if value is None else build(typing.Union[tuple(set(choices) - {type(None)})], value, where)
        same(len(choices), 1, f"the number of types of {where}")
        return build(choices[0], value, where)
    if origin in (list, collections.abc.Sequence):
        assert isinstance(value, list), f"{where} is {value!r}, no array"
        (item,) = typing.get_args(kind)
        return [build(item, element, f"{where}[{index}]") for index, element in enumerate(value)]
    if origin in (dict, collections.abc.Mapping) or kind is dict:
        assert isinstance(value, dict), f"{where} is {value!r}, no object"
        return value
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        names = [field.name for field in dataclasses.fields(kind)]
        required = {
            field.name
            for field in dataclasses.fields(kind)
            if not (kind in (Event,) and field.default is not dataclasses.MISSING)
        }
        return kind(**members(names, required, hints, value, f"{where} ({kind.__name__})"))
    if hasattr(kind, "__required_keys__"):
        hints = typing.get_type_hints(kind)
        return kind(**members(list(hints), set(kind.__required_keys__), hints, value, f"{where} ({kind.__name__})"))
    if isinstance(kind, enum.EnumMeta):
        try:
            return kind(value)
        except ValueError:
            raise AssertionError(f"{where} is {value!r}, no member of {kind.__name__}") from None
    if kind is uuid.UUID:
        return uuid.UUID(value)
    if kind is datetime.datetime:
        return datetime.datetime.fromtimestamp(value)
    wanted = (int, float) if kind is float else (kind,)
    good = isinstance(value, wanted) and (kind is bool or not isinstance(value, bool))
    assert good, f"{where} is {value!r}, no {kind.__name__}"
    return value


def members(names, required, hints, value, where):
    assert isinstance(value, dict), f"{where} is {value!r}, no object"
    keys = {humps.camelize(name): name for name in names}
    assert set(value) <= set(keys), f"{where} has {sorted(set(value) - set(keys))} beside its fields"
    found = {keys[key]: item for key, item in value.items()}
    assert required <= set(found), f"{where} lacks {sorted(required - set(found))}"
    return {name: build(hints[name], item, f"{where}.{name}") for name, item in found.items()}


def is_protocol(kind):
    return getattr(kind, "_is_protocol", False)


def context_types():
    """The type of the context of each kind, `None` for no context, `Any` for what the package leaves open."""
    if OLD:
        # The old package documents these and has no types for them.
        reason = typing.TypedDict("Reason", {"reason": str})
        phase = typing.TypedDict("Phase", {"training_phase_id": uuid.UUID})
        mode = typing.TypedDict("Mode", {"training_mode": typing.get_type_hints(package.StatusResponse)["training_mode"]})
        plan = typing.TypedDict("Plan", {"training_plan_id": uuid.UUID})
        return {101: reason, 102: reason, 5001: mode, 5101: plan, 5201: phase, 5202: phase}
    from autotrainer.api.event import api_event_payloads

    with open(os.path.join(VECTORS, f"enums-{VERSION}.json")) as file:
        recorded = json.load(file)["event_payload_types"]
    types = {}
    for name, of in recorded.items():
        kind = ApiEventKind[name].value
        types[kind] = getattr(api_event_payloads, of or "", None) or getattr(package, of or "", None)
        if of and types[kind] is None:
            types[kind] = typing.Any
    return types


CONTEXTS = context_types()


# The rig


class Rig:
    """`acqbus simulate` as this version; ready when it answers NONE."""

    def __init__(self, *more, rate=0, heartbeat=0.3):
        self.subscriber_port, self.command_port = free_ports(2)
        ports = ("--subscriber-port", self.subscriber_port, "--command-port", self.command_port)
        self.child = Child(
            args.program, "simulate", "--as", VERSION, "--json", "--no-input", "--quiet", "--rate", rate, "--seed", 7,
            "--identifier", "rig-01", "--heartbeat-interval", heartbeat, *more, *ports,
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                self.raw(b'{"command":0}', seconds=0.5)
                return
            except Late:
                assert self.child.process.poll() is None, f"it has ended: {self.child.said()}"
                assert time.monotonic() < deadline, f"it does not answer: {self.child.said()}"

    def raw(self, *frames, seconds=3):
        return ask_raw(self.command_port, *frames, seconds=seconds)

    def ask(self, command, data=None, custom=-1, nonce=None, seconds=3):
        """Sends the package's own request and gives the reply in the package's types."""
        Rig.nonce += 1
        request = Request(command=command, custom_command=custom, nonce=nonce or Rig.nonce, data=data)
        text = json.dumps(humps.camelize(dataclasses.asdict(request)))
        body = self.raw(text.encode(), seconds=seconds)
        value = json.loads(body)
        assert isinstance(value, dict), f"the reply is {body!r}"
        same(
            list(value),
            ["nonce", "command", "result", "data", "errorKind", "errorCode", "errorMessage"],
            "the members of the reply",
        )
        reply = build(Reply, value, "the reply")
        same((reply.nonce, reply.command), (request.nonce, command), "nonce and command")
        return reply

    nonce = 100

    def subscribe(self, *topics):
        """A subscriber that has had the heartbeat of its arrival: nothing published from now on is missed."""
        subscriber = Subscriber(self.subscriber_port, *topics, *([TOPICS["HEARTBEAT"]] if topics else []))
        subscriber.until(lambda topic, body: topic == TOPICS["HEARTBEAT"])
        return subscriber


class Rigs:
    quiet_one = None

    @classmethod
    def quiet(cls):
        """A rig that publishes nothing by itself but heartbeats."""
        cls.quiet_one = cls.quiet_one or Rig()
        return cls.quiet_one


def opened(body):
    """A published body in the dialect of this version, without our members; and those."""
    value = json.loads(body)
    same(type(value), str if OLD else dict, "the type of the body")
    value = json.loads(value) if OLD else value
    extras = [value.pop("epoch"), value.pop("sequence")]
    assert all(isinstance(number, int) and number > 0 for number in extras), f"epoch and sequence are {extras}"
    return value, extras


def event_of(body):
    value, _ = opened(body)
    same(list(value)[:4], ["kind", "when", "index", "context"], "the members of the event")
    event = build(Event, value, "the event")
    assert isinstance(value["when"], float) and abs(value["when"] - time.time()) < 3600, f"when is {value['when']!r}"
    wanted = CONTEXTS.get(event.kind.value, typing.Any)
    if wanted is None:
        same(event.context, None, f"the context of {event.kind.name}")
    elif event.kind.value == 7003:
        event.context = build(typing.Optional[wanted], event.context, event.kind.name)
    elif event.kind.value == 1720:
        # A producer may add this one.
        event.context["responseData"].pop("pelletsPresented", None)
        event.context = build(wanted, event.context, event.kind.name)
    else:
        event.context = build(wanted, event.context, event.kind.name)
    return event


def events(rig, subscriber):
    """The events on EVENT up to now, and all messages on other topics, heartbeats left out.

    The end is the result of a command that does nothing else: it queues behind them, where an emergency would overtake them.
    """
    nonce = rig.ask(ApiCommand.USER_DEFINED, {"seconds": 0}, custom=1).nonce

    def ends(topic, body):
        return topic == TOPICS["COMMAND_RESULT"] and opened(body)[0]["nonce"] == nonce

    found = subscriber.until(ends)[:-1]
    of_topic = {name: [body for topic, body in found if topic == number] for name, number in TOPICS.items()}
    del of_topic["HEARTBEAT"]
    return [event_of(body) for body in of_topic.pop("EVENT")], {name: bodies for name, bodies in of_topic.items() if bodies}


# Commands


@checks.check("the numbers of topics, commands, results and error kinds are known to both")
def numbers():
    same({topic.name: topic.value for topic in ApiTopic}, TOPICS, "the topics")
    rig = Rigs.quiet()
    for command in ApiCommand:
        rig.ask(command, custom=7)


@checks.check("NONE is answered SUCCESS with its nonce")
def none(met):
    reply = Rigs.quiet().ask(ApiCommand.NONE, nonce=4711)
    same((reply.result, reply.nonce), (Result.SUCCESS, 4711), "the reply")
    met.add("C01")


@checks.check("GET commands give the package's own payloads, and change and publish nothing")
def queries():
    rig = Rigs.quiet()
    with rig.subscribe() as subscriber:
        payloads = {ApiCommand.GET_CONFIGURATION: package.ConfigurationResponse, ApiCommand.GET_STATUS: package.StatusResponse} \
            if OLD else {
                ApiCommand.GET_CONFIGURATION: package.ApiSystemConfiguration,
                ApiCommand.GET_STATUS: package.ApiSystemStatus,
                ApiCommand.GET_ANIMALS: typing.List[package.ApiAnimalStatus],
            }
        for command, payload in payloads.items():
            first, second = rig.ask(command), rig.ask(command)
            same((first.result, first.error_kind, first.error_message), (Result.SUCCESS, ErrorKind.NONE, None), command.name)
            same(second.data, first.data, f"the second {command.name}")
            build(payload, first.data, command.name)
        found, others = events(rig, subscriber)
    same([event.kind.value for event in found], [], "the events")
    same(list(others), [], "other topics")


@checks.check("emergency stop and resume: always or once, on EMERGENCY and on EVENT", 30)
def emergency(met):
    rig = Rigs.quiet()
    with rig.subscribe() as subscriber:
        for command, result, kinds in (
            (ApiCommand.EMERGENCY_RESUME, Result.FAILED, []),
            (ApiCommand.EMERGENCY_STOP, Result.SUCCESS, [101]),
            (ApiCommand.EMERGENCY_STOP, Result.SUCCESS, [101]),
            (ApiCommand.EMERGENCY_RESUME, Result.SUCCESS, [102]),
            (ApiCommand.EMERGENCY_RESUME, Result.FAILED, []),
        ):
            same(rig.ask(command).result, result, command.name)
            for kind in kinds:
                found = []
                while len(found) < 2:
                    topic, body = subscriber.next()
                    if topic != TOPICS["HEARTBEAT"]:
                        found.append((topic, body))
                same([topic for topic, _ in found], [TOPICS["EMERGENCY"], TOPICS["EVENT"]], "the topics")
                copies = [opened(body)[0] for _, body in found]
                same(copies[0], copies[1], "the copy on EMERGENCY")
                same(event_of(found[0][1]).kind.value, kind, "the kind")
        # Nothing else came: the next message that is no heartbeat belongs to the next command.
        rig.ask(ApiCommand.EMERGENCY_STOP)
        found, others = events(rig, subscriber)
        same([event.kind.value for event in found], [101], "the events")
        rig.ask(ApiCommand.EMERGENCY_RESUME)
    met.add("C03")


if OLD:

    @checks.check("acquisition starts and stops, told once")
    def acquisition():
        rig = Rigs.quiet()
        with rig.subscribe() as subscriber:
            for command, status in (
                (ApiCommand.START_ACQUISITION, 100),
                (ApiCommand.START_ACQUISITION, 100),
                (ApiCommand.STOP_ACQUISITION, 0),
                (ApiCommand.STOP_ACQUISITION, 0),
            ):
                same(rig.ask(command).result, Result.SUCCESS, command.name)
                same(rig.ask(ApiCommand.GET_STATUS).data["appStatus"], status, "the status")
            found, _ = events(rig, subscriber)
        same([event.kind.name for event in found], ["acquisitionStarted", "acquisitionEnded"], "the events")

else:

    @checks.check("START and STOP_ACQUISITION are obsolete")
    def obsolete():
        for command in (ApiCommand.START_ACQUISITION, ApiCommand.STOP_ACQUISITION):
            same(Rigs.quiet().ask(command).result, Result.UNRECOGNIZED, command.name)

    @checks.check("modes: told on a change only, refused when they are none")
    def modes():
        rig = Rigs.quiet()
        cases = (
            (ApiCommand.SET_APPLICATION_MODE, package.ApiApplicationMode, "applicationMode", "applicationModeChanged"),
            (ApiCommand.SET_TRAINING_MODE, package.ApiTrainingMode, "trainingMode", "trainingModeChanged"),
        )
        for command, mode, member, event in cases:
            with rig.subscribe() as subscriber:
                before = rig.ask(ApiCommand.GET_STATUS).data[member]
                changed = []
                for wanted in mode:
                    reply = rig.ask(command, {"mode": wanted})
                    now = rig.ask(ApiCommand.GET_STATUS).data[member]
                    if reply.result == Result.SUCCESS:
                        same((reply.data, now), ({"mode": wanted.value}, wanted.value), f"{mode.__name__}.{wanted.name}")
                        same(rig.ask(command, {"mode": wanted}).result, Result.SUCCESS, "the same again")
                        changed += [wanted] if wanted != before else []
                    else:
                        same((reply.result, now), (Result.UNAVAILABLE, before), f"{mode.__name__}.{wanted.name}")
                    before = now
                assert changed, f"no {mode.__name__} can be set"
                for data in ({"mode": 777}, {"mode": "x"}, {}, None, [1]):
                    same(rig.ask(command, data).result, Result.FAILED, f"the result for {data}")
                same(rig.ask(ApiCommand.GET_STATUS).data[member], before, "the mode after refusals")
                found, _ = events(rig, subscriber)
            found = [found for found in found if found.kind.name == event]
            same([next(iter(found.context.values())) for found in found], changed, f"the modes told by {event}")

    SETTINGS = {
        "SET_LIVE_ANALYSIS_ENABLED": ("behavior", "isLiveAnalysisEnabled", None),
        "SET_PELLET_DELIVERY_ENABLED": ("behavior", "isPelletDeliveryEnabled", "SET_LIVE_ANALYSIS_ENABLED"),
        "SET_PELLET_COVER_ENABLED": ("behavior", "isPelletCoverEnabled", "SET_PELLET_DELIVERY_ENABLED"),
        "SET_INTERTRIAL_PELLET_SHIFT_ENABLED": ("behavior", "isIntertrialPelletShiftEnabled", "SET_LIVE_ANALYSIS_ENABLED"),
        "SET_HOME_ON_EXCESSIVE_DRIFT_ENABLED": ("pelletDevice", "isHomeOnExcessiveDriftEnabled", "SET_LIVE_ANALYSIS_ENABLED"),
        "SET_TRIANGLE_PELLET_DISTANCE_DETECTION_ENABLED": (
            "behavior", "isTrianglePelletDistanceDetectionEnabled", "SET_LIVE_ANALYSIS_ENABLED",
        ),
        "SET_AUTO_CLOSE_GATE_ON_INTERTRIAL_ENABLED": ("behavior", "isAutoCloseGateOnIntertrialEnabled", None),
        "SET_AUTO_CLAMP_ENABLED": ("behavior", "isAutoClampEnabled", None),
        "SET_TUNNEL_SWEEP_ENABLED": ("pelletDevice", "isTunnelSweepEnabled", None),
        "SET_BATCH_TRIALS_ENABLED": ("behavior", "isBatchTrialsEnabled", None),
    }

    @checks.check("the ten settings: gates, refusals, reading back, one event", 60)
    def settings():
        rig = Rigs.quiet()

        def value(name):
            part, member, _ = SETTINGS[name]
            return rig.ask(ApiCommand.GET_STATUS).data[part][member]

        with rig.subscribe() as subscriber:
            for name, (_, _, gate) in SETTINGS.items():
                command = ApiCommand[name]
                for data in ({"enabled": 1}, {"enabled": "true"}, {"enabled": None}, {}, None):
                    same(rig.ask(command, data).result, Result.FAILED, f"{name} with {data}")
                for wanted in (not value(name), value(name)):
                    reply = rig.ask(command, {"enabled": wanted})
                    same((reply.result, reply.data), (Result.SUCCESS, {"enabled": wanted}), f"{name} {wanted}")
                    same(value(name), wanted, f"{name} read back")
                if gate:
                    held = value(name)
                    rig.ask(ApiCommand[gate], {"enabled": False})
                    reply = rig.ask(command, {"enabled": not held})
                    same((reply.result, value(name)), (Result.UNAVAILABLE, held), f"{name} behind its gate")
                    same(rig.ask(ApiCommand[gate], {"enabled": True}).result, Result.SUCCESS, gate)
            found, _ = events(rig, subscriber)
        same([event.kind.name for event in found], ["autoClampEnabledChanged"] * 2, "the events")


@checks.check("custom commands: replies, and later results under the same nonce", 30)
def custom(met):
    rig = Rigs.quiet()
    user = ApiCommand.USER_DEFINED
    with rig.subscribe(TOPICS["COMMAND_RESULT"], COMMAND_PROGRESS) as subscriber:
        reply = rig.ask(user, {"name": "Mouse 2", "x": -1.5}, custom=7)
        same((reply.result, reply.data), (Result.SUCCESS, {"name": "Mouse 2", "x": -1.5}), "custom command 7")
        met.add("C07")
        reply = rig.ask(user, custom=2)
        same((reply.result, reply.error_kind), (Result.EXCEPTION, ErrorKind.NONE), "custom command 2")
        same(reply.error_message, "delegate raised on purpose", "its error")
        reply = rig.ask(user, custom=4)
        same((reply.result, reply.error_kind, reply.error_code), (Result.FAILED, ErrorKind.COMMAND_ERROR, 42), "custom command 4")
        same(reply.error_message, "it is broken", "its error")
        same(rig.ask(user, {"seconds": 0.1}, custom=3).result, Result.SUCCESS, "custom command 3")
        same(rig.ask(user, custom=9).result, Result.PENDING, "custom command 9")
        same(rig.ask(user, custom=12345).result, Result.UNRECOGNIZED, "an unknown custom command")
        asked = {}
        for custom, seconds in ((1, 0.3), (10, 0.2), (1, 0.0)):
            reply = rig.ask(user, {"seconds": seconds}, custom=custom)
            same(reply.result, Result.PENDING_WITH_NOTIFICATION, f"custom command {custom}")
            asked[reply.nonce] = custom
        results = {}
        while len(results) < 3:
            topic, body = subscriber.next()
            if topic == TOPICS["COMMAND_RESULT"]:
                value, _ = opened(body)
                same(
                    list(value), ["result", "data", "errorCode", "errorMessage", "command", "nonce"], "the members of a result"
                )
                result = build(CommandResult, value, "the result")
                assert result.nonce not in results, "a result came twice"
                results[result.nonce] = result
        same(set(results), set(asked), "the nonces of the results")
        for nonce, result in results.items():
            same(result.command, user, "the command")
            expected = (Result.SUCCESS, 0) if asked[nonce] == 1 else (Result.FAILED, 17)
            same((result.result, result.error_code), expected, f"the result of custom command {asked[nonce]}")
    met.add("C03")


@checks.check("each recorded bad request gets a reply, and the next good one too", 60)
def bad_requests(met):
    rig = Rigs.quiet()
    count = 0
    for case in vectors(f"malformed-{VERSION}.json"):
        if case["request_frames_hex"] is None:
            text, repeat = case["request_repeat"]
            frames = [bytes.fromhex(text) * repeat]
        else:
            frames = [bytes.fromhex(frame) for frame in case["request_frames_hex"]]
        reply = build(Reply, {**json.loads(rig.raw(*frames)), "nonce": 0}, case["name"])
        assert reply.result == Result.UNRECOGNIZED or reply.command == ApiCommand.GET_STATUS, f"{case['name']}: {reply}"
        same(rig.ask(ApiCommand.GET_STATUS).result, Result.SUCCESS, f"the reply after {case['name']}")
        count += 1
    assert count > 40, f"only {count} requests"
    met |= {"C02", "C09"}


# Publications


@checks.check("heartbeats are the package's, and come at once", 20)
def heartbeats(met):
    rig = Rigs.quiet()
    with Subscriber(rig.subscriber_port, TOPICS["HEARTBEAT"]) as subscriber:
        for _ in range(3):
            value, _ = opened(subscriber.next(2)[1])
            fields = {field.name for field in dataclasses.fields(Heartbeat)}
            heartbeat = build(Heartbeat, {key: item for key, item in value.items() if key in fields}, "the heartbeat")
            same((heartbeat.identifier, heartbeat.version), ("rig-01", VERSION), "identifier and version")
            assert abs(heartbeat.timestamp - time.time()) < 60, heartbeat
            assert set(value) > fields, f"nothing beside {fields}"
    met.add("C04")
    slow = Rig(heartbeat=60)
    with Subscriber(slow.subscriber_port, TOPICS["HEARTBEAT"]) as subscriber:
        subscriber.next(2)
    slow.child.kill()
    met.add("C05")


@checks.check("every event that the rig publishes is one of the package's, with its context", 60)
def stream(met):
    rig = Rig(rate=500)
    wanted = {kind.value for kind in ApiEventKind}
    seen, last, topics = {}, {}, set()
    deadline = time.monotonic() + 30
    with rig.subscribe() as subscriber:
        while not wanted <= set(seen) and time.monotonic() < deadline:
            topic, body = subscriber.next()
            topics.add(topic)
            value, (epoch, sequence) = opened(body)
            assert last.get(topic, sequence - 1) == sequence - 1, f"topic {topic}: {sequence} follows {last[topic]}"
            last[topic] = sequence
            if topic in (TOPICS["EVENT"], TOPICS["EMERGENCY"]):
                event = event_of(body)
                seen[event.kind.value] = seen.get(event.kind.value, 0) + 1
            elif topic == TOPICS["PROPERTY_CHANGE"]:
                assert isinstance(value, dict) and value, value
    rig.child.kill()
    missing = sorted(ApiEventKind(kind).name for kind in wanted - set(seen))
    same(missing, [], f"after {sum(seen.values())} events, the kinds that never came")
    same(topics >= {TOPICS[name] for name in ("HEARTBEAT", "EVENT", "EMERGENCY", "PROPERTY_CHANGE")}, True, f"{topics}")
    met.add("C03")


if OLD:

    @checks.check("texts and signs arrive as they were sent")
    def undamaged(met):
        rig = Rigs.quiet()
        with rig.subscribe(TOPICS["COMMAND_RESULT"]) as subscriber:
            data = {"seconds": 0.0, "name": "rig-01 A_b", "x": -1e-7}
            rig.ask(ApiCommand.USER_DEFINED, data, custom=1)
            found = subscriber.until(lambda topic, body: topic == TOPICS["COMMAND_RESULT"])
        same(opened(found[-1][1])[0]["data"], data, "the data")
        assert not re.search(rb'[:,] ', found[-1][1]), "there is white space between the members"
        met.add("C06")


finish(checks)
