"""CHIRP on a loopback of its own: the package's manager finds ours, ours finds it, and both put the same bytes on the wire."""

import hashlib
import json
import socket
import struct
import time

from common import End, SERVICES, begin, ours, private_network, theirs, unique_group, vectors

from harness import Child, Late, finish, free_ports, same

args, checks = begin("discovery", __doc__)
ALONE = private_network()
ADDRESS, PORT = "239.192.7.123", 7123
CONTROL, HEARTBEAT, MONITORING, DATA = SERVICES.values()
REQUEST, OFFER, DEPART = 1, 2, 3


def identifier(name):
    return hashlib.md5(name.lower().encode(), usedforsecurity=False).hexdigest()


class Wire:
    """Hears all beacons of one group and sends any datagram."""

    def __init__(self, group):
        self.group = bytes.fromhex(identifier(group))
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("0.0.0.0", PORT))
        loopback = socket.inet_aton("127.0.0.1")
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(ADDRESS) + loopback)
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, loopback)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, datagram):
        self.socket.sendto(datagram, (ADDRESS, PORT))

    def beacon(self, kind, host, service, port):
        return b"CHIRP\x01" + bytes([kind]) + self.group + bytes.fromhex(identifier(host)) + struct.pack(">BH", service, port)

    def next(self, seconds=5):
        """The next datagram of the group."""
        deadline = time.monotonic() + seconds
        while True:
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                datagram = self.socket.recv(2048)
            except TimeoutError:
                raise Late(f"no beacon after {seconds} s") from None
            if datagram[7:23] == self.group:
                return datagram


def manager(which, group, name):
    arguments = "chirp", "--group", group, "--name", name
    return ours(args, *arguments) if which == "library" else theirs(*arguments)


def line(event, host, service, port):
    return {"event": event, "host": identifier(host), "service": service, "address": "127.0.0.1", "port": port}


def both_ways(name, seconds=30):
    def add(function):
        for here, there in (("library", "package"), ("package", "library")):
            checks.check(f"the {there} {name} the {here}", seconds)(between(function, here, there))

    return add


def between(function, here, there):
    def check():
        group = unique_group()
        host, finder = manager(here, group, "Sputnik.One"), manager(there, group, "Harvester.Two")
        function(host, finder, "Sputnik.One")
        for end in (finder, host):
            if end.process.poll() is None:
                end.close()

    return check


@both_ways("hears offers and departures of")
def offers(host, finder, name):
    for service, port in ((CONTROL, 23_000), (HEARTBEAT, 23_001), (MONITORING, 23_002), (DATA, 23_003)):
        host.do("register", service=service, port=port)
        same(finder.event(), line("discovered", name, service, port), "what it found")
    same(finder.do("services")["services"], [line("discovered", name, service + 1, 23_000 + service) for service in range(4)])
    host.do("unregister", service=HEARTBEAT, port=23_001)
    same(finder.event(), line("departed", name, HEARTBEAT, 23_001), "what went")
    host.close()
    gone = {json.dumps(finder.event(), sort_keys=True) for _ in range(3)}
    expected = [line("departed", name, service, 22_999 + service) for service in (CONTROL, MONITORING, DATA)]
    same(gone, {json.dumps(one, sort_keys=True) for one in expected}, "what went at the end")
    same(finder.do("services")["services"], [])


@both_ways("asks, and is answered by")
def requests(host, finder, name):
    host.do("register", service=DATA, port=23_003)
    host.do("register", service=CONTROL, port=23_000)
    finder.events.clear()
    seen = [finder.event(), finder.event()]
    # Forgotten, and found again by asking.
    with Wire(group_of(finder)) as wire:
        wire.send(wire.beacon(DEPART, name, DATA, 23_003))
    same(finder.event(), line("departed", name, DATA, 23_003), "what went")
    finder.do("request", service=DATA)
    same(finder.event(), line("discovered", name, DATA, 23_003), "what it found")
    same(sorted(one["service"] for one in seen), [CONTROL, DATA], "what it found before")


@both_ways("sees the new port of a service of")
def new_ports(host, finder, name):
    host.do("register", service=DATA, port=23_003)
    same(finder.event(), line("discovered", name, DATA, 23_003))
    with Wire(group_of(finder)) as wire:
        wire.send(wire.beacon(OFFER, name, DATA, 23_004))
    gone, found = finder.event(), finder.event()
    same({**gone, "event": "departed"}, line("departed", name, DATA, 23_003), "what went")
    same(found, line("discovered", name, DATA, 23_004), "what it found")
    # The same offer again, and a beacon of another group, are no news.
    with Wire(group_of(finder)) as wire, Wire(unique_group()) as other:
        wire.send(wire.beacon(OFFER, name, DATA, 23_004))
        other.send(other.beacon(OFFER, name, CONTROL, 23_000))
        wire.send(wire.beacon(OFFER, name, MONITORING, 23_002))
    same(finder.event(), line("discovered", name, MONITORING, 23_002), "the next that it found")


def group_of(end):
    return end.process.args[end.process.args.index("--group") + 1]


@checks.check("both put the same beacons on the wire")
def same_beacons():
    for which in ("package", "library"):
        group, name = unique_group(), "Sputnik.Öne_1"
        with Wire(group) as wire:
            host = manager(which, group, name)
            host.do("register", service=DATA, port=65_535)
            same(wire.next(), wire.beacon(OFFER, name, DATA, 65_535), f"the offer of the {which}")
            host.do("request", service=MONITORING)
            same(wire.next(), wire.beacon(REQUEST, name, MONITORING, 0), f"the request of the {which}")
            asked = wire.beacon(REQUEST, "Else.Where", DATA, 0)
            wire.send(asked)
            same(wire.next(), asked, "our own request")
            same(wire.next(), wire.beacon(OFFER, name, DATA, 65_535), f"the answer of the {which}")
            # The package's thread dies when a service goes while it still answers, so it must have read on.
            offer = wire.beacon(OFFER, "Else.Where", MONITORING, 23_002)
            wire.send(offer)
            same(wire.next(), offer, "our own offer")
            same(host.event(), line("discovered", "Else.Where", MONITORING, 23_002), "what it found")
            host.do("unregister", service=DATA, port=65_535)
            same(wire.next(), wire.beacon(DEPART, name, DATA, 65_535), f"the departure of the {which}")
            host.do("register", service=CONTROL, port=1)
            same(wire.next(), wire.beacon(OFFER, name, CONTROL, 1), f"the second offer of the {which}")
            host.close()
            same(wire.next(), wire.beacon(DEPART, name, CONTROL, 1), f"the departure of the {which} at its end")


# Differences


ENDS = ("package", "library")


def beacons_of(name):
    """The recorded datagrams, in the group of the check."""
    return {case["name"]: bytes.fromhex(case["hex"]) for case in vectors("chirp.json")[name]}


@checks.check("no datagram stops the library", 60)
def malformed_datagrams(met):
    group = unique_group()
    host = manager("library", group, "Sputnik.One")
    datagrams = beacons_of("invalid")
    # In a group that nobody is in.
    for datagram in datagrams.values():
        with Wire(group) as wire:
            wire.send(datagram)
    with Wire(group) as wire:
        wire.send(wire.beacon(OFFER, "Else.Where", DATA, 23_003))
    same(host.event(), line("discovered", "Else.Where", DATA, 23_003), "what it found behind them")
    same(host.do("alive")["alive"], True)
    host.close()
    if not ALONE:
        # The package's satellites of other people would die of it.
        print("     not sent to the package, for want of a network of our own", flush=True)
    died = set()
    for name, datagram in datagrams.items() if ALONE else ():
        their = manager("package", group, "Sputnik.One")
        with Wire(group) as wire:
            wire.send(datagram)
            wire.send(wire.beacon(OFFER, "Else.Where", DATA, 23_003))
        try:
            their.event(0.3)
        except Late:
            same(their.do("alive")["alive"], False, f"whether it is alive after {name}")
            died.add(name)
        their.kill()
    expected = {case["name"] for case in vectors("chirp.json")["invalid"] if not case["python"]["accepts"]}
    if ALONE:
        same(died, expected, "what stops the package")
    met.add("D20")


def each_end(check, wanted):
    """What both do with the same beacons: `check` gives what is seen, `wanted` is it for each of them."""
    for which in ENDS:
        group = unique_group()
        with Wire(group) as wire:
            end = manager(which, group, "Sputnik.One")
            same(check(end, wire), wanted[which], f"what is seen of the {which}")
            end.close()


def found_up_to_the_last(end, wire):
    """The events up to that of an offer that stands behind all that was sent."""
    wire.send(wire.beacon(OFFER, "Sentinel.Last", CONTROL, 9))
    events = []
    while not events or events[-1]["host"] != identifier("Sentinel.Last"):
        events.append(end.event())
    return [(event["event"], event["service"], event["port"]) for event in events[:-1]]


@checks.check("a beacon of no type and one of no service")
def type_and_service_0(met):
    def check(end, wire):
        wire.send(wire.beacon(OFFER, "Else.Where", 0, 23_000))
        wire.send(wire.beacon(0, "Else.Where", DATA, 23_000))
        return found_up_to_the_last(end, wire)

    each_end(check, {"package": [("discovered", 0, 23_000)], "library": []})
    met.add("D21")


@checks.check("an offer and a departure without a port")
def port_0(met):
    def check(end, wire):
        wire.send(wire.beacon(OFFER, "Else.Where", CONTROL, 0))
        wire.send(wire.beacon(OFFER, "Else.Where", DATA, 23_003))
        wire.send(wire.beacon(DEPART, "Else.Where", DATA, 0))
        return found_up_to_the_last(end, wire)

    package = [("discovered", CONTROL, 0), ("discovered", DATA, 23_003)]
    each_end(check, {"package": package, "library": [("discovered", DATA, 23_003), ("departed", DATA, 23_003)]})
    met.add("D22")


@checks.check("a burst of requests")
def burst_of_requests(met):
    def check(end, wire):
        end.do("register", service=DATA, port=23_003)
        offer = wire.next()
        for _ in range(5):
            wire.send(wire.beacon(REQUEST, "Else.Where", DATA, 0))
        answers = 0
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            try:
                answers += wire.next(0.2) == offer
            except Late:
                pass
        return answers

    each_end(check, {"package": 5, "library": 1})
    met.add("D23")


@checks.check("a second port for a service")
def second_port(met):
    def check(end, wire):
        for port in (23_003, 23_004):
            end.do("register", service=DATA, port=port)
        found = []
        while not found or found[-1] != wire.beacon(OFFER, "Sputnik.One", DATA, 23_004):
            found.append(wire.next())
        return [(beacon[6], beacon[40] * 256 + beacon[41]) for beacon in found]

    package = [(OFFER, 23_003), (OFFER, 23_003), (OFFER, 23_004)]
    each_end(check, {"package": package, "library": [(OFFER, 23_003), (DEPART, 23_003), (OFFER, 23_004)]})
    met.add("D24")


# The program


@checks.check("acqbus discover prints what the package offers", 30)
def discover():
    group = unique_group()
    host = manager("package", group, "Sputnik.One")
    host.do("register", service=DATA, port=23_003)
    program = Child(args.program, "discover", "--json", "--group", group, "--duration", 20)
    identity = identifier("Sputnik.One")
    identity = "-".join((identity[:8], identity[8:12], identity[12:16], identity[16:20], identity[20:]))
    expected = {"address": "127.0.0.1", "host": identity, "group": group}
    same(program.object(), {"notice": "discovered", "service": "data", "port": 23_003, **expected}, "the first line")
    host.do("register", service=CONTROL, port=23_000)
    same(program.object(), {"notice": "discovered", "service": "control", "port": 23_000, **expected}, "the second line")
    host.do("unregister", service=DATA, port=23_003)
    same(program.object(), {"notice": "departed", "service": "data", "port": 23_003, **expected}, "the third line")
    host.close()
    same(program.object(), {"notice": "departed", "service": "control", "port": 23_000, **expected}, "the last line")
    program.interrupt()
    same(program.wait(), 130, "the exit code")


@checks.check("the package finds a rig, and a console finds it without an address", 40)
def rig():
    group = unique_group()
    finder = manager("package", group, "Harvester.Two")
    subscriber, command = free_ports(2)
    ports = ("--subscriber-port", subscriber, "--command-port", command)
    rig = Child(args.program, "simulate", "--json", "--no-input", "--identifier", "rig-01", "--group", group, *ports)
    found = [finder.event(20), finder.event()]
    name = f"Rig.rig-01@{socket.gethostname()}:{command}"
    expected = [line("discovered", name, CONTROL, command), line("discovered", name, MONITORING, subscriber)]
    same(sorted(found, key=lambda event: event["service"]), expected, "what it found")
    console = Child(args.program, "console", "--json", "--group", group)
    console.write("GET_STATUS\n")
    console.end_input()
    lines = console.objects(20)
    same(console.wait(), 0, f"the exit code of the console, which said {console.said()!r},")
    assert any(answer.get("result") == 100 for answer in lines), f"no answer: {lines}"
    rig.interrupt()
    gone = sorted((finder.event(20), finder.event()), key=lambda event: event["service"])
    same(gone, [{**event, "event": "departed"} for event in expected], "what went")
    finder.close()


if __name__ == "__main__":
    finish(checks)
