"""What happens to a connection: acknowledgements, silence, restarts, and servers that follow each other."""

import asyncio
import inspect
import os
import signal
import tempfile
import threading
import time

from hat.drivers import net
from hat.event import common, eventer
from hat.event.server import eventer_client

from common import SERVER_ID, STORE, TOKEN, Loop, OurClient, OurServer, TheirClient, World, begin, given, untimed

from forms import event_form, query_params
from harness import Late, finish, free_ports, same

args, checks = begin("life", __doc__)
BOTH = ("their", "our")


# A server that does what it is told


class Scripted:
    """A server of the package that answers what the check says, and can wait for acknowledgements."""

    def __init__(self, registered):
        (self.port,) = free_ports(1)
        self.server = Loop.run(
            eventer.listen(
                net.TcpAddress("127.0.0.1", self.port),
                register_cb=lambda info, events: registered(list(events)),
                query_cb=lambda info, params: common.QueryResult([], False),
            )
        )

    def do(self, method, *arguments, seconds=10):
        async def call():
            result = getattr(self.server, method)(*arguments)
            return await result if inspect.isawaitable(result) else result

        return Loop.run(call(), seconds)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        Loop.run(self.server.async_close())


def client_of(kind, port, name, **options):
    return TheirClient(port, name, **options) if kind == "their" else OurClient(args.peer, port, name, **options)


def event(session, event_type=("a",)):
    return common.Event(common.EventId(1, session, 1), tuple(event_type), common.Timestamp(5, session), None, None)


@checks.check("notifications that want to be acknowledged are", 60)
def acknowledged():
    for kind in BOTH:
        with Scripted(lambda events: None) as server:
            options = {"token": None, "subscriptions": [["a"]]}
            ends = (client_of(kind, server.port, "comp/a", **options), client_of("our", server.port, "comp/b", **options))
            with ends[0] as one, ends[1] as two:
                for session in range(1, 21):
                    # It returns when both have said that they are done.
                    server.do("notify_events", [event(session), event(session, "b")], False, session % 2 == 0)
                for client in (one, two):
                    found = client.events(20)
                    same([[each["id"] for each in events] for events in found], [[[1, n, 1]] for n in range(1, 21)], kind)


@checks.check("every status is told, and a registration that fails", 60)
def statuses():
    for kind in BOTH:
        with Scripted(lambda events: None) as server, client_of(kind, server.port, "comp/a", token=None) as client:
            same(client.status(), "STANDBY", "the first status")
            names = ["STARTING", "OPERATIONAL", "STOPPING", "STANDBY"]
            for name in names:
                server.do("set_status", common.Status[name])
                server.do("set_status", common.Status[name])
            same(client.statuses("STANDBY"), names, f"the statuses of {kind} client")
            same(client.register([given("a")]), None, "the answer to events that are not registered")


@checks.check("many requests of many threads at a time", 60)
def many_requests():
    def registered(events):
        return [
            common.Event(common.EventId(1, 1, each.payload.data), each.type, common.Timestamp(0, 0), None, each.payload)
            for each in events
        ]

    with Scripted(registered) as server, TheirClient(server.port, "comp/a", token=None) as client:
        async def ask():
            events = [[common.RegisterEvent(("a",), None, common.EventPayloadJson(n))] for n in range(500)]
            return await asyncio.gather(*(client.client.register(batch, True) for batch in events))

        same([events[0].id.instance for events in Loop.run(ask())], list(range(500)), "the answers of theirs")
    for kind in BOTH:
        with World(args, "their", kind) as world:
            client = world.client("comp/a")

            async def ask_all():
                events = [[common.RegisterEvent(("a",), None, common.EventPayloadJson(n))] for n in range(500)]
                return await asyncio.gather(*(client.client.register(batch, True) for batch in events))

            answers = Loop.run(ask_all())
            same([events[0].payload.data for events in answers], list(range(500)), f"the answers of {kind} server")
            sessions = [events[0].id.session for events in answers]
            same(sessions, list(range(sessions[0], sessions[0] + 500)), f"the sessions of {kind} server")


# Silence


@checks.check("pings keep a silent connection", 60)
def pings():
    for client_kind, server_kind in (("their", "our"), ("our", "their"), ("our", "our")):
        quick = {"ping_delay": 0.5, "ping_timeout": 2} if client_kind == "their" else {"ping": 0.5}
        with World(args, client_kind, server_kind) as world:
            client = world.client("comp/a", **quick)
            # Half a second of silence again and again.
            closes(client, 3, False)
            same(client.status(), "OPERATIONAL", f"{world.name}: the status")
            same(len(client.register([given("a")])), 1, f"{world.name}: the events")
    with World(args, "their", "our", flags=("--ping", "0.5")) as world:
        client = world.client("comp/a")
        closes(client, 3, False)
        same(len(client.register([given("a")])), 1, "the events of a client that only answers pings")


def closes(client, seconds, expected):
    try:
        client.wait_closed(seconds)
        found = True
    except Late:
        found = False
    same(found, expected, "whether the connection is closed")


@checks.check("a server that hangs is given up", 60)
def hanging_server():
    for client_kind, server_kind in (("their", "our"), ("our", "their")):
        quick = {"ping_delay": 0.5, "ping_timeout": 0.5} if client_kind == "their" else {"ping": 0.5}
        with World(args, client_kind, server_kind) as world:
            client = world.client("comp/a", **quick)
            world.server.process.send_signal(signal.SIGSTOP)
            try:
                closes(client, 10, True)
            finally:
                world.server.process.send_signal(signal.SIGCONT)


@checks.check("a client that hangs is given up, and the others are served", 60)
def hanging_client():
    with World(args, "our", "our", flags=("--ping", "1")) as world:
        watcher = world.their_client("comp/watcher", subscriptions=[["event", "?", "eventer", "comp/a"]])
        client = world.client("comp/a")
        same(watcher.events(1)[0][0]["payload"], {"json": "CONNECTED"}, "the first event")
        client.child.process.send_signal(signal.SIGSTOP)
        try:
            same(watcher.events(1, 15)[0][0]["payload"], {"json": "DISCONNECTED"}, "the second event")
        finally:
            client.child.process.send_signal(signal.SIGCONT)
        same(len(watcher.register([given("a")])), 1, "the events of another")


# Restarts


@checks.check("our subscriber misses nothing when a server is restarted five times", 240)
def resume():
    for kind in BOTH:
        with World(args, "our", kind) as world:
            for persisted in (False, True):
                subscriber = world.client("comp/s", subscriptions=[["r", "*"]], persisted=persisted, reconnect=True)
                first = None
                for round_number in range(5):
                    writer = world.their_client("comp/w")
                    for number in range(20):
                        batch = [given(f"r/{at}", {"json": [round_number, number]}) for at in range(1 + number % 3)]
                        events = writer.register(batch, response=number != 7)
                        first = first or events[0]["id"]
                    world.server.close()
                    world.start()
                writer = world.their_client("comp/w")
                writer.register([given(f"r/end {persisted}")])
                told = []
                while not told or told[-1]["type"] != ["r", f"end {persisted}"]:
                    for events in subscriber.events(1, 30):
                        # Who wants durable events may be told of some that were registered before it came.
                        told += [each for each in events if each["id"] >= first]
                last = [SERVER_ID, first[1], 0]
                history = []
                while True:
                    page = writer.query({"kind": "server", "server_id": SERVER_ID, "last_event_id": last})
                    history += page["events"]
                    if not page["more_follows"]:
                        break
                    last = page["events"][-1]["id"]
                wanted = [each for each in history if each["type"][0] == "r"]
                same(len(wanted) > 190, True, "the history")
                same([each["id"] for each in told], [each["id"] for each in wanted], f"what was told of {kind} server")
                same(told, wanted, f"the events of {kind} server")
                subscriber.close()


@checks.check("a server that lost its latest events is told apart", 60)
def went_back(met):
    store = {**STORE, "flush_period": 3600}
    for kind in BOTH:
        with World(args, "our", kind, store=store) as world:
            writer = world.their_client("comp/w")
            subscriber = world.client("comp/s", subscriptions=[["r"]], reconnect=True)
            writer.register([given("r", {"json": "lost"}) for _ in range(3)])
            lost = [each["id"] for events in subscriber.events(3) for each in events]
            world.server.process.kill()
            world.server.wait(10)
            world.start()
            writer = world.their_client("comp/w")
            for _ in range(10):
                kept = writer.register([given("r", {"json": "kept"})])[0]["id"]
            kinds, found = [], []
            while not found or found[-1]["id"] != kept:
                kind_of_notice, value = subscriber.notice(20)
                kinds.append(kind_of_notice)
                found += value or [] if kind_of_notice == "events" else []
            same([each["payload"] for each in found], [{"json": "kept"}] * 10, f"what came after the crash of {kind} server")
            again = [each["id"] for each in found if each["id"] in lost]
            # Theirs gives the ids of what it lost to other events.
            same((bool(again), "went back" in kinds), (kind == "their",) * 2, f"whether ids of {kind} server came twice")
    met.add("H32")


# One server follows another


def session(number):
    return [given(f"f/{at}", {"json": [number, at]}, [number, at]) for at in range(1 + number % 7)]


def followed(world):
    """What a follower of the package tells and keeps of a server."""
    writer = world.their_client("comp/w")
    for number in range(300):
        writer.register(session(number), number % 50 == 49)
    last = writer.register([given("f/last")])[0]["id"]
    after = {"kind": "server", "server_id": SERVER_ID, "persisted": True, "last_event_id": [*last[:2], 0]}
    # The follower asks for what is durable.
    until(lambda: writer.query(after)["events"], "all is durable")
    before = len(paged(writer, [SERVER_ID, 1, 1]))
    states, synced = [], threading.Event()

    def on_synced(state, count):
        states.append(state.name)
        if count is not None:
            # With a few events of the server itself, of which the last may be durable or not.
            same(before <= count <= before + 10, True, f"whether {count} is the number of {before} events")
        if state.name == "SYNCED":
            synced.set()

    async def start(folder):
        info = common.import_backend_info("hat.event.backends.lmdb")
        configuration = {"module": "hat.event.backends.lmdb", "db_path": os.path.join(folder, "events.db"), **STORE}
        backend = await info.create(configuration, None, None)
        client = await eventer_client.create_eventer_client(
            net.TcpAddress("127.0.0.1", world.port), "follower", 9, SERVER_ID, backend,
            client_token=TOKEN, synced_cb=on_synced,
        )  # fmt: skip
        return backend, client

    async def history(backend):
        events, last = [], None
        while True:
            params = query_params({"kind": "server", "server_id": SERVER_ID, "last_event_id": last})
            result = await backend.query(params)
            events += [event_form(each) for each in result.events]
            if not result.more_follows:
                return events
            last = events[-1]["id"]

    with tempfile.TemporaryDirectory(prefix="acqbus-interop-") as folder:
        backend, client = Loop.run(start(folder))
        try:
            assert synced.wait(20), f"not in step after 20 s: {states}"
            for number in range(50):
                writer.register([given("f/live", {"json": number})], number == 49)
            def live():
                return sum(each["type"] == ["f", "live"] for each in Loop.run(history(backend)))

            until(lambda: live() == 50, "live events are there")
            kept = Loop.run(history(backend))
        finally:
            Loop.run(client.async_close())
            Loop.run(backend.async_close())
    theirs = [each for each in kept if each["type"][0] == "f"]
    same(theirs, paged(writer, theirs[0]["id"]), "what the follower keeps")
    # The follower's own events at the server come between the live ones, somewhere.
    told = [{**each, "id": None} if each["type"] == ["f", "live"] else each for each in untimed(theirs)]
    return states, told


def paged(client, first):
    events, last = [], [SERVER_ID, first[1], first[2] - 1]
    while True:
        page = client.query({"kind": "server", "server_id": SERVER_ID, "last_event_id": last})
        events += [each for each in page["events"] if each["type"][0] == "f"]
        if not page["more_follows"]:
            return events
        last = page["events"][-1]["id"]


@checks.check("a server of the package follows ours as it follows its own", 120)
def follower():
    found = {}
    for kind in BOTH:
        with World(args, "their", kind) as world:
            found[kind] = followed(world)
    same(found["our"], found["their"], "what is told and kept")


@checks.check("a server of ours follows one of the package, and takes over", 120)
def standby():
    with World(args, "their", "their") as world:
        writer = world.their_client("comp/w")
        for number in range(300):
            writer.register(session(number), number % 50 == 49)
        (port,) = free_ports(1)
        folder = os.path.join(world.folder, "copy")
        os.mkdir(folder)
        follow = ("--follow", f"127.0.0.1:{world.port}", "--remote-id", SERVER_ID)
        ours = OurServer(args, folder, port, flags=follow, server_id=9)
        try:
            with TheirClient(port, "comp/c") as client:
                same(client.status(), "STANDBY", "its status")
                until(lambda: synced(writer)[-1:] == ["SYNCED"], "it is in step")
                for number in range(50):
                    writer.register([given("f/live", {"json": number})], number == 49)
                until(lambda: len(paged(client, [7, 1, 1])) == len(paged(writer, [7, 1, 1])), "all is there")
                same(paged(client, [7, 1, 1]), paged(writer, [7, 1, 1]), "what it keeps")
                same(synced(writer)[0], "CONNECTED", "the first of its events")
                same(client.register([given("a")]), None, "the answer of a server that stands by")
                world.server.close()
                same(client.statuses("OPERATIONAL")[-1], "OPERATIONAL", "its status afterwards")
                same(client.register([given("a")])[0]["id"][0], 9, "the server of its events")
                # The other one comes back, and is followed again.
                world.start()
                writer = world.their_client("comp/w")
                back = writer.register([given("f/back")])
                until(lambda: paged(client, back[0]["id"]) == back, "what the other one registers now is there")
        finally:
            ours.kill()


def synced(client):
    """The states that server 9 has told of, in their order."""
    params = {"kind": "timeseries", "event_types": [["event", "9", "synced", "7"]], "order": "ASCENDING"}
    return [each["payload"]["json"]["state"] for each in client.query(params)["events"]]


def until(condition, what, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


finish(checks)
