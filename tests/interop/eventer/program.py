"""The verbs of `acqbus store` with the real server in place of a directory."""

import json
import os
import subprocess
import time

from common import STORE, TOKEN, OurServer, World, begin, given, token_file

from harness import Child, finish, free_ports, same

args, checks = begin("program", __doc__)


def command(world, *arguments):
    """`acqbus store …` with the server of a world, to be told in lines of JSON."""
    token = ("--token-file", token_file(world.folder, TOKEN))
    return [str(part) for part in (args.program, "store", *arguments, "--server", f"127.0.0.1:{world.port}", *token, "--json")]


def run(world, *arguments, seconds=30, folder=None):
    done = subprocess.run(command(world, *arguments), capture_output=True, text=True, timeout=seconds, cwd=folder)
    same(done.returncode, 0, f"the exit code of {arguments}, which said {done.stderr!r},")
    return [json.loads(line) for line in done.stdout.splitlines()]


def events_of(lines):
    """Events without what the payload is as text, which only ours keeps."""
    events = [line for line in lines if "id" in line]
    for event in events:
        if event["payload"]:
            event["payload"].pop("text", None)
    return events


def filled(world):
    client = world.their_client("comp/w")
    events = []
    for number in range(60):
        source = [1_600_000_000 + number * 7919 % 60, number] if number % 3 else None
        payload = [None, {"json": {"n": number, "t": "é\n"}}, {"binary": {"type": "raw", "data": "00ff"}}][number % 3]
        batch = [given(f"p/{number % 5}", payload, source), given(f"p/{number % 5}/q", {"json": number}, source)]
        events += client.register(batch)
    return client, events


def stamp(timestamp):
    s, us = timestamp
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(s))}.{us:06}Z"


@checks.check("every query", 120)
def queries():
    with World(args, "their", "their") as world:
        client, events = filled(world)
        first, last = events[30]["timestamp"], events[80]["timestamp"]
        series = {"kind": "timeseries"}
        some = [["p", "1"], ["p", "?", "q"]]
        for arguments, params in (
            (("latest",), {"kind": "latest"}),
            (("latest", "p/*"), {"kind": "latest", "event_types": [["p", "*"]]}),
            (("latest", "p/1", "p/2", "x"), {"kind": "latest", "event_types": [["p", "1"], ["p", "2"], ["x"]]}),
            (("timeseries",), series),
            (("timeseries", "p/1", "p/?/q", "--order", "asc"), {**series, "event_types": some, "order": "ASCENDING"}),
            (("timeseries", "p/*", "--max-results", 7), {**series, "event_types": [["p", "*"]], "max_results": 7}),
            (("timeseries", "--from", stamp(first), "--to", stamp(last)), {**series, "t_from": first, "t_to": last}),
            (
                ("timeseries", "--order-by", "source-timestamp", "--source-from", stamp([1_600_000_010, 0])),
                {**series, "order_by": "SOURCE_TIMESTAMP", "source_t_from": [1_600_000_010, 0]},
            ),
            (("timeseries", "--after", "7.20.1", "--max-results", 3), {**series, "last_event_id": [7, 20, 1], "max_results": 3}),
            (("server", "--server-id", 7), {"kind": "server", "server_id": 7}),
            (("server", "--server-id", 8), {"kind": "server", "server_id": 8}),
            (("server", "--server-id", 7, "--after", "7.30.1", "--max-results", 9),
             {"kind": "server", "server_id": 7, "last_event_id": [7, 30, 1], "max_results": 9}),
        ):  # fmt: skip
            lines = run(world, "query", *arguments)
            found, answer = events_of(lines), client.query(params)
            # Each call of the program is a client that comes and goes, which is an event.
            wanted, found = ([each for each in part if each["type"][0] == "p"] for part in (answer["events"], found))
            if params["kind"] == "latest":
                wanted, found = (sorted(part, key=lambda each: each["id"]) for part in (wanted, found))
            same(len(wanted) > 0, params.get("server_id") != 8, f"whether {params} has an answer")
            same(found, wanted, f"what {arguments} prints")


@checks.check("tail: the last events, then those that come", 60)
def tail():
    with World(args, "their", "their") as world:
        client, events = filled(world)
        child = Child(*command(world, "tail", "p/*", "--last", 5, "--count", 15))
        found = []
        while len(found) < 5:
            found += events_of([child.object(20)])
        for number in range(5):
            events += client.register([given("p/live", {"json": number}), given("p/live")])
        while len(found) < 15:
            found += events_of([child.object(20)])
        same(found, events[-15:], "what it prints")
        same(child.wait(10), 0, "its exit code")


@checks.check("export from the real server, import to ours: the same history", 120)
def export_and_import():
    with World(args, "their", "their") as world:
        client, _ = filled(world)
        # More than a page.
        for number in range(50):
            client.register([given(f"p/{at % 7}", {"json": [number, at]}, [at, number]) for at in range(100)], number % 10 == 9)
        path = os.path.join(world.folder, "history.jsonl")
        run(world, "export", "p/*", "--output", path, seconds=60)
        with open(path, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        same(events_of(lines), history(client), "the lines of the file")
        store = os.path.join(world.folder, "store")
        imported = [args.program, "store", "import", path, "--store", store, "--json"]
        done = subprocess.run(imported, capture_output=True, text=True, timeout=60)
        same(done.returncode, 0, f"the exit code of the import, which said {done.stderr!r},")
        (port,) = free_ports(1)
        server = OurServer(args, world.folder, port, store={**STORE, "flush_period": 1})
        try:
            theirs, world.port = world.port, port
            other = world.their_client("comp/o")
            world.port = theirs
            same(history(other), history(client), "the history that ours serves")
            for params in (
                {"kind": "latest", "event_types": [["p", "*"]]},
                {"kind": "timeseries", "event_types": [["p", "3"]], "order_by": "SOURCE_TIMESTAMP", "max_results": 100},
            ):
                found = [sorted(one.query(params)["events"], key=lambda each: each["id"]) for one in (other, client)]
                same(found[0], found[1], f"the answer to {params}")
        finally:
            server.kill()


def history(client):
    events, last = [], None
    while True:
        page = client.query({"kind": "server", "server_id": 7, "last_event_id": last})
        events += page["events"]
        if not page["more_follows"]:
            return [each for each in events if each["type"][0] == "p"]
        last = events[-1]["id"]


@checks.check("record: a bus into the real server", 60)
def record():
    with World(args, "their", "their") as world:
        ports = free_ports(2)
        bus = ("--subscriber-port", ports[0], "--command-port", ports[1])
        rig = Child(args.program, "simulate", "--identifier", "rig-5", "--rate", 50, "--no-input", "--quiet", *bus)
        recorder = Child(*command(world, "record", *bus))
        try:
            client = world.their_client("comp/w", subscriptions=[["rig-5", "*"]])
            told = [each for events in client.events(100, 30) for each in events]
        finally:
            recorder.interrupt()
            recorder.wait(20)
            rig.kill()
        same([each for each in told if not each["payload"] or "json" not in each["payload"]], [], "events without JSON")
        found = client.query({"kind": "timeseries", "event_types": [["rig-5", "event", "*"]]})["events"]
        same(len(found) > 20, True, f"of {len(told)} events enough were of the topic EVENT: {len(found)}")
        same(all(each["source_timestamp"] for each in found), True, "whether all have the time of the rig")


finish(checks)
