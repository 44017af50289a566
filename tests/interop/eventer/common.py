"""What the checks with hat-event share: both clients, both servers, and one way to use either."""

import asyncio
import contextlib
import json
import os
import queue
import shutil
import socket
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.dirname(HERE))

from hat.drivers import net  # noqa: E402
from hat.event import eventer  # noqa: E402

from forms import event_form, query_params, register_event  # noqa: E402
from harness import Checks, Child, Late, free_ports, main_arguments, same  # noqa: E402

SERVER_ID = 7
TOKEN = "secret"
STORE = {
    "identifier": None,
    "flush_period": 0.2,
    "cleanup_period": 3600,
    "conditions": [],
    "latest": {"subscriptions": [["*"]]},
    "timeseries": [
        {"order_by": "TIMESTAMP", "subscriptions": [["*"]]},
        {"order_by": "SOURCE_TIMESTAMP", "subscriptions": [["*"]]},
    ],
}


def begin(area, description):
    args = main_arguments(description)
    return args, Checks(f"eventer {area}", args.only)


class Refused(Exception):
    """The server does not take this client."""


class Impossible(Exception):
    """Our end does not even ask for this."""


class Closed(Exception):
    """The connection has ended."""


class Loop:
    """Where the coroutines of the package run."""

    loop = None

    @classmethod
    def run(cls, coroutine, seconds=20):
        if cls.loop is None:
            cls.loop = asyncio.new_event_loop()
            threading.Thread(target=cls.loop.run_forever, daemon=True).start()
        return asyncio.run_coroutine_threadsafe(coroutine, cls.loop).result(seconds)


class Client:
    """What both clients have: notices that came, of which a check takes as many as it waits for."""

    def events(self, count, seconds=10):
        """The next notifications, each a list of events, until that many events came."""
        found, deadline = [], time.monotonic() + seconds
        while sum(map(len, found)) < count:
            kind, value = self.notice(max(0.01, deadline - time.monotonic()))
            if kind == "events":
                found.append(value)
        return found

    def statuses(self, last, seconds=10):
        """The next statuses, up to that one."""
        found, deadline = [], time.monotonic() + seconds
        while not found or found[-1] != last:
            kind, value = self.notice(max(0.01, deadline - time.monotonic()))
            if kind == "status":
                found.append(value)
        return found

    def wait_closed(self, seconds=10):
        deadline = time.monotonic() + seconds
        while self.notice(max(0.01, deadline - time.monotonic()))[0] != "closed":
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class TheirClient(Client):
    """The client of the package, in this process."""

    def __init__(self, port, name, *, token=TOKEN, subscriptions=(), server_id=None, persisted=False, **more):
        self.notices = queue.Queue()
        try:
            self.client = Loop.run(
                eventer.connect(
                    net.TcpAddress("127.0.0.1", port),
                    name,
                    client_token=token,
                    subscriptions=[tuple(one) for one in subscriptions],
                    server_id=server_id,
                    persisted=persisted,
                    status_cb=lambda _, status: self.notices.put(("status", status.name)),
                    events_cb=lambda _, events: self.notices.put(("events", [event_form(event) for event in events])),
                    **more,
                )
            )
        except eventer.EventerInitError as error:
            raise Refused(str(error)) from None
        except ConnectionError as error:
            raise Closed(str(error)) from None
        self.ended = asyncio.run_coroutine_threadsafe(self._end(), Loop.loop)

    async def _end(self):
        await self.client.wait_closed()
        self.notices.put(("closed", None))

    def register(self, events, response=True):
        events = [register_event(event) for event in events]
        with closing_errors():
            result = Loop.run(self.client.register(events, response))
        return None if result is None else [event_form(event) for event in result]

    def query(self, params):
        with closing_errors():
            result = Loop.run(self.client.query(query_params(params)))
        return {"events": [event_form(event) for event in result.events], "more_follows": result.more_follows}

    def status(self):
        return self.client.status.name

    def notice(self, seconds):
        try:
            return self.notices.get(timeout=seconds)
        except queue.Empty:
            raise Late(f"no notice after {seconds:.1f} s") from None

    def close(self):
        Loop.run(self.client.async_close())
        self.ended.cancel()


@contextlib.contextmanager
def closing_errors():
    try:
        yield
    except ConnectionError as error:
        raise Closed(str(error)) from None


class OurClient(Client):
    """Our client, in a process of its own."""

    def __init__(self, program, port, name, *, token=TOKEN, subscriptions=(), **more):
        self.child = Child(program, "client")
        wanted = {"address": f"127.0.0.1:{port}", "name": name, "token": token, "subscriptions": list(subscriptions)}
        try:
            self.order({**wanted, **more})
        except (Refused, Impossible, Closed):
            self.close()
            raise

    def order(self, order, seconds=20):
        self.child.write(json.dumps(order) + "\n")
        answer = self.child.object(seconds)
        if "refused" in answer:
            raise Refused(answer["refused"])
        if "impossible" in answer:
            raise Impossible(answer["impossible"])
        if "closed" in answer:
            raise Closed(answer["closed"])
        assert "error" not in answer, f"{order}: {answer['error']}"
        return answer

    def register(self, events, response=True):
        return self.order({"op": "register", "events": events, "response": response})["events"]

    def query(self, params):
        return self.order({"op": "query", "params": params})

    def status(self):
        return self.order({"op": "status"})["status"]

    def notice(self, seconds):
        notice = self.order({"op": "notice", "seconds": seconds}, seconds + 10)
        if "late" in notice:
            raise Late(f"no notice after {seconds:.1f} s")
        return notice["kind"], notice.get("value")

    def close(self):
        self.child.end_input()
        self.child.wait(10)


class TheirServer(Child):
    """The server of the package, with its durable backend."""

    def __init__(self, folder, port, token=TOKEN, store=STORE, **_):
        self.port = port
        log = {"version": 1, "handlers": {"out": {"class": "logging.StreamHandler"}}, "root": {"handlers": ["out"]}}
        configuration = {
            "type": "event",
            "log": {**log, "disable_existing_loggers": False},
            "name": "interop",
            "server_id": SERVER_ID,
            "server_token": token,
            "backend": {"module": "hat.event.backends.lmdb", "db_path": os.path.join(folder, "events.db"), **store},
            "modules": [],
            "eventer_server": {"host": "127.0.0.1", "port": self.port},
        }
        path = os.path.join(folder, "server.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(configuration, file)
        super().__init__(os.path.join(os.path.dirname(sys.executable), "hat-event-server"), "--conf", path)
        wait_for_port(self.port)

    def close(self):
        """Ends it as its user would."""
        self.process.terminate()
        self.wait(20)
        self.kill()


class OurServer(Child):
    """Our server, with the durable store: that of the program, or with flags that of `ends`."""

    def __init__(self, args, folder, port, token=TOKEN, store=STORE, flags=(), server_id=SERVER_ID):
        path = os.path.join(folder, "store.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(store, file)
        common = ("--store", os.path.join(folder, "store"), "--server-id", server_id)
        self.is_program = not flags
        if self.is_program:
            with_token = () if token is None else ("--token-file", token_file(folder, token))
            serve = ("store", "serve", "--json", "--bind", f"127.0.0.1:{port}", "--store-config", path)
            super().__init__(args.program, *serve, *common, *with_token)
        else:
            with_token = () if token is None else ("--token", token)
            super().__init__(args.peer, "server", "--port", port, "--configuration", path, *common, *with_token, *flags)
        assert self.line(20) is not None, f"it did not start: {self.said()}"

    def close(self):
        if self.is_program:
            self.process.terminate()
        else:
            self.end_input()
        self.wait(20)
        self.kill()


def token_file(folder, token):
    path = os.path.join(folder, "token")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(token)
    return path


def wait_for_port(port, seconds=20):
    deadline = time.monotonic() + seconds
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > deadline:
            raise Late(f"nothing listens on port {port} after {seconds} s")
        time.sleep(0.05)


class World:
    """A server with a fresh store, and clients of one kind."""

    def __init__(self, args, client, server, **options):
        self.args, self.client_kind, self.server_kind, self.options = args, client, server, options
        self.name = f"{client} client, {server} server"
        self.clients = []

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="acqbus-interop-")
        (self.port,) = free_ports(1)
        self.start()
        return self

    def start(self):
        theirs = self.server_kind == "their"
        make = TheirServer if theirs else lambda *more, **options: OurServer(self.args, *more, **options)
        self.server = make(self.folder, self.port, **self.options)

    def client(self, name, **options):
        theirs = self.client_kind == "their"
        make = TheirClient if theirs else lambda *more, **options: OurClient(self.args.peer, *more, **options)
        client = make(self.port, name, **options)
        self.clients.append(client)
        return client

    def their_client(self, name, **options):
        """A client of the package, whatever the others are."""
        client = TheirClient(self.port, name, **options)
        self.clients.append(client)
        return client

    def __exit__(self, *_):
        for client in self.clients:
            with contextlib.suppress(Exception):
                client.close()
        self.server.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


WORLDS = [("their", "our"), ("our", "their"), ("our", "our")]


def compare(args, play, differences=None, **options):
    """Plays the same in every world; what is told must be what the package tells among itself.

    `differences` changes what the package told into what ours tells, by kinds of client and server.
    """
    with World(args, "their", "their", **options) as world:
        expected = play(world)
    for client, server in WORLDS:
        with World(args, client, server, **options) as world:
            told = play(world)
        wanted = differences(expected, client, server) if differences else expected
        where = f"with {client} client and {server} server"
        same(len(told), len(wanted), f"the number of answers {where}")
        for (name, found), (_, answer) in zip(told, wanted):
            same(found, answer, f"{name} {where}")


def untimed(events):
    """Events without the times of the server, of which only the order can be the same in two runs."""
    times = {}
    for event in events:
        same(times.setdefault(event["id"][1], event["timestamp"]), event["timestamp"], "the time of a session")
    in_order = [times[session] for session in sorted(times)]
    same(in_order, sorted(in_order), "the times of sessions")
    return [{**event, "timestamp": None} for event in events]


def given(event_type, payload=None, source=None):
    segments = event_type.split("/") if isinstance(event_type, str) else event_type
    return {"type": segments, "source_timestamp": source, "payload": payload}
