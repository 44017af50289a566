"""The real client and the real server with ours, each pair playing the same: every answer is that of the package to itself."""

import random

from common import TOKEN, Closed, Impossible, Refused, begin, compare, given, untimed

from harness import Late, finish, same

args, checks = begin("exchange", __doc__)

PAYLOADS = [
    None,
    {"json": None},
    {"json": {"a": [1, 1.0, -0.5e-7, True], "é\U0001f600": "\u2028\x7f\"\\"}},
    {"json": 2**70},
    {"json": ""},
    {"binary": {"type": "", "data": ""}},
    {"binary": {"type": "my/type", "data": bytes(range(256)).hex()}},
]


def tried(call):
    """The answer, or how it failed."""
    try:
        return call()
    except Refused as error:
        return f"refused: {error}"
    except Closed:
        return "closed"
    except Impossible:
        return "impossible"


# The beginning


@checks.check("who may connect", 60)
def init(met):
    def play(world):
        told = []
        for name, options in (
            ("no token", {"token": None}),
            ("the token", {}),
            ("another token", {"token": "Secret"}),
            ("a longer token", {"token": TOKEN + "\0"}),
            ("an empty token", {"token": ""}),
            ("a subscription that is none", {"subscriptions": [["a"], ["*", "b"]]}),
            ("a subscription that is covered", {"subscriptions": [["*"], ["*", "b"]]}),
        ):
            told.append((name, tried(lambda: world.client(f"comp/{name}", **options).status())))
        return told

    def differences(expected, client, server):
        told = dict(expected)
        if server == "our":
            met.add("H43")
            told["no token"] = "refused: invalid client token"
        if client == "our":
            told["a subscription that is none"] = "impossible"
        return list(told.items())

    compare(args, play, differences)


@checks.check("a server without a token", 60)
def init_without_token():
    def play(world):
        told = []
        for token in (None, "", "x"):
            told.append((token, tried(lambda: world.client("comp/a", token=token).status())))
        return told

    compare(args, play, token=None)


# Registering


@checks.check("events of every kind are registered and come back", 60)
def register():
    def play(world):
        client = world.client("comp/a")
        told = []
        batches = [
            [given("a/b", payload) for payload in PAYLOADS],
            [given("", source=[-5, 3]), given(["", "x/y", "?", "é"], source=[1_700_000_000, 999_999])],
            [],
            [given([str(number) for number in range(100)], {"json": "x" * 100_000})],
            [given(f"n/{number}", {"json": number}) for number in range(300)],
        ]
        for number, batch in enumerate(batches):
            events = client.register(batch)
            told.append((f"batch {number}", untimed(events)))
            same(client.register(batch, response=False), None, "the answer that was not asked for")
        told.append(("all", untimed(client.query({"kind": "server", "server_id": 7})["events"])))
        return told

    compare(args, play)


# Queries


def filled(client, chance):
    """Registers a small history, and gives its events."""
    events = []
    for session in range(40):
        batch = []
        for _ in range(chance.randrange(1, 6)):
            event_type = [chance.choice("abc") for _ in range(chance.randrange(4))]
            source = chance.choice((None, [chance.randrange(-3, 20), chance.choice((0, 5, 999_999))]))
            batch.append(given(event_type, chance.choice(PAYLOADS), source))
        events += client.register(batch)
    return events


def chance_query(chance, events):
    def types():
        length = chance.choice((None, 0, 1, 1, 2))
        if length is None:
            return None
        return [chance_type() for _ in range(length)]

    def chance_type():
        segments = [chance.choice("abc?") for _ in range(chance.randrange(4))]
        return segments + chance.choice(([], ["*"]))

    def bound(member):
        found = chance.choice(events)[member]
        return found if chance.random() < 0.3 else None

    kind = chance.choice(("latest", "timeseries", "timeseries", "timeseries", "server"))
    limit = chance.choice((None, None, 0, 1, 7, 1000))
    last = chance.choice(events)["id"] if chance.random() < 0.3 else None
    if kind == "latest":
        return {"kind": kind, "event_types": types()}
    if kind == "server":
        return {
            "kind": kind, "server_id": chance.choice((7, 7, 8)), "persisted": False, "max_results": limit,
            "last_event_id": None,
        }
    order_by = chance.choice(("TIMESTAMP", "SOURCE_TIMESTAMP"))
    return {
        "kind": kind, "event_types": types(), "t_from": bound("timestamp"), "t_to": bound("timestamp"),
        "source_t_from": bound("source_timestamp"), "source_t_to": bound("source_timestamp"),
        "order": chance.choice(("ASCENDING", "DESCENDING")), "order_by": order_by, "max_results": limit,
        "last_event_id": last,
    }


def answer(client, params):
    result = client.query(params)
    # Their times were compared with what the registration said.
    events = [{**event, "timestamp": None} for event in result["events"]]
    if params["kind"] == "latest":
        events.sort(key=lambda event: event["id"])
    return events, result["more_follows"]


@checks.check("300 queries made by chance", 120)
def queries():
    def play(world):
        client = world.client("comp/a")
        chance = random.Random(300)
        events = filled(client, chance)
        times = {tuple(event["id"]): event["timestamp"] for event in events}
        told = [("the history", untimed(events))]
        for number in range(300):
            params = chance_query(chance, events)
            told.append((f"query {number}, {params},", answer(client, params)))
        for event in client.query({"kind": "timeseries", "event_types": [["a", "*"]]})["events"]:
            same(event["timestamp"], times[tuple(event["id"])], "the time of an event")
        return [(name.split(", ")[0], found) for name, found in told]

    compare(args, play)


@checks.check("queries that end the connection", 60)
def bad_queries():
    def play(world):
        told = []
        for params in (
            {"kind": "timeseries", "max_results": -1},
            {"kind": "timeseries", "event_types": [["*", "a"]]},
            {"kind": "latest", "event_types": [["a"], ["?", "*", "a"]]},
            {"kind": "server", "server_id": 7, "last_event_id": [8, 1, 1]},
            {"kind": "server", "server_id": 7, "max_results": -1},
        ):
            client = world.client("comp/a")
            told.append((str(params), tried(lambda: client.query(params))))
        told.append(("the next client", world.client("comp/b").status()))
        return told

    def differences(expected, client, server):
        if client == "our":
            return [*((name, "impossible") for name, _ in expected[:-1]), expected[-1]]
        return expected

    compare(args, play, differences)


@checks.check("10,000 events: registered, notified, paged by all ways", 240)
def volume():
    def play(world):
        writer = world.client("comp/w")
        reader = world.client("comp/r", subscriptions=[["v", "*"]])
        persisted = world.client("comp/p", subscriptions=[["v", "?"]], persisted=True)
        registered = []
        for number in range(100):
            batch = [given(f"v/{number % 7}", {"json": {"n": number * 100 + at}}, [number, at]) for at in range(100)]
            events = writer.register(batch, response=number % 10 != 9)
            registered += events or []
        told = [("registered", untimed(registered))]
        for name, client in (("notified", reader), ("notified when flushed", persisted)):
            notified = client.events(10_000, 60)
            told.append((name, [untimed(events) for events in notified]))
        told.append(("by id", untimed(paged(writer, {"kind": "server", "server_id": 7, "persisted": True}, 999))))
        for order in ("ASCENDING", "DESCENDING"):
            for order_by in ("TIMESTAMP", "SOURCE_TIMESTAMP"):
                params = {"kind": "timeseries", "event_types": [["v", "*"]], "order": order, "order_by": order_by}
                for limit in (None, 1111):
                    told.append((f"{order} {order_by} {limit}", untimed(paged(writer, params, limit))))
        return told

    compare(args, play)


def paged(client, params, limit):
    events, last = [], None
    while True:
        result = client.query({**params, "max_results": limit, "last_event_id": last})
        events += result["events"]
        if not result["more_follows"]:
            return events
        last = result["events"][-1]["id"]


# Notifications


SUBSCRIPTIONS = [
    {"subscriptions": []},
    {"subscriptions": [["*"]], "server_id": 7},
    {"subscriptions": [["*"]], "server_id": 8},
    {"subscriptions": [["a", "?"], ["b", "*"]]},
    {"subscriptions": [["a", "?"], ["b", "*"]], "persisted": True},
    {"subscriptions": [[]]},
    {"subscriptions": [["?"], ["?", "?"]]},
    {"subscriptions": [["end"]]},
]


@checks.check("notifications by subscription, server and kind", 60)
def notifications():
    def play(world):
        common = [["end"]]
        clients = [
            world.client(f"comp/{number}", **{**options, "subscriptions": [*options["subscriptions"], *common]})
            for number, options in enumerate(SUBSCRIPTIONS)
        ]
        chance = random.Random(8)
        writer = world.client("comp/w")
        for _ in range(50):
            batch = [given([chance.choice("abc") for _ in range(chance.randrange(4))]) for _ in range(chance.randrange(1, 9))]
            writer.register(batch, response=chance.random() < 0.5)
        writer.register([given("end")])
        told = []
        for number, client in enumerate(clients):
            found = []
            while SUBSCRIPTIONS[number].get("server_id") != 8 and not (found and found[-1][-1]["type"] == ["end"]):
                found += client.events(1)
            told.append((f"client {number}", [untimed(events) for events in found]))
        try:
            told.append(("a server that is another", clients[2].events(1, 0.3)))
        except Late:
            told.append(("a server that is another", "nothing"))
        return told

    compare(args, play)


@checks.check("a client's own events come before the answer", 60)
def own_events():
    def play(world):
        client = world.client("comp/a", subscriptions=[["a"]])
        events = client.register([given("a"), given("b"), given("a")])
        # What was told before the answer is there without waiting.
        return [("answer", untimed(events)), ("notification", [untimed(one) for one in client.events(2, 0.3)])]

    compare(args, play)


@checks.check("clients come and go", 60)
def coming_and_going():
    def play(world):
        watcher = world.client("comp/watcher", subscriptions=[["event", "*"]])
        told = []
        for name in ("comp/a", "x", ""):
            world.client(name).close()
            # The next one may be faster than the end of this one.
            told += watcher.events(2)
        persisted = world.client("comp/p", subscriptions=[["event", "?", "eventer", "comp/p"]], persisted=True)
        return [("watched", [untimed(events) for events in told]), ("own", untimed(persisted.events(1)[0]))]

    compare(args, play)


@checks.check("the end of the server is told, and ends its clients", 60)
def server_ends():
    def play(world):
        wanted = [["a"], ["event", "?", "engine"]]
        clients = [world.client(f"comp/{number}", subscriptions=wanted, persisted=number == 1) for number in range(2)]
        clients[0].register([given("a")])
        for client in clients:
            while client.events(1)[0][-1]["type"] != ["a"]:
                pass
        world.server.close()
        told = []
        for number, client in enumerate(clients):
            notices = []
            while not notices or notices[-1] != ("closed", None):
                kind, value = client.notice(10)
                notices.append((kind, untimed(value) if kind == "events" else value))
            told.append((f"client {number}", notices))
        return told

    compare(args, play)


@checks.check("a history is there after a restart of the server", 90)
def restart(met):
    def play(world):
        client = world.client("comp/a")
        client.register([given("a", {"json": number}) for number in range(10)])
        world.server.close()
        world.start()
        client = world.client("comp/b")
        events = client.query({"kind": "timeseries", "event_types": [["a"]]})["events"]
        first = client.register([given("a")])[0]
        told = [("events", untimed(events)), ("the next session is greater", first["id"][1] > events[0]["id"][1])]
        return told

    compare(args, play)


finish(checks)
