"""What the interop checks share: children with an end, sockets with a deadline, and the form of the output.

A check prints one line, `ok   NAME [C01 C02]` or `FAIL NAME: why`; the ids in brackets are the differences of
docs/compatibility.md that it met.
"""

import atexit
import contextlib
import json
import os
import queue
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import zmq

HERE = os.path.dirname(os.path.abspath(__file__))
VECTORS = os.path.join(HERE, "..", "vectors", "rpc")
TOPICS = {"ANY": 0, "HEARTBEAT": 1001, "EMERGENCY": 2001, "EVENT": 4001, "PROPERTY_CHANGE": 5001, "COMMAND_RESULT": 6001}
COMMAND_PROGRESS = 6002
context = zmq.Context.instance()


class Checks:
    """The checks of one program, in the order in which they are written."""

    def __init__(self, area, only=""):
        self.area = area
        self.only = only
        self.checks = []
        self.failed = 0

    def check(self, name, seconds=30):
        def add(function):
            full = f"{self.area}: {name}"
            if self.only in full:
                self.checks.append((full, seconds, function))
            return function

        return add

    def run(self):
        """Runs them all and gives the exit code."""
        for name, seconds, function in self.checks:
            met = set()
            try:
                with time_limit(seconds):
                    # A check that takes an argument tells there what differences it met.
                    function(met) if function.__code__.co_argcount else function()
            except Exception as error:
                self.failed += 1
                why = " ".join(str(error).split()) or type(error).__name__
                print(f"FAIL {name}: {type(error).__name__}: {why[:2000]}", flush=True)
            else:
                ids = f" [{' '.join(sorted(met))}]" if met else ""
                print(f"ok   {name}{ids}", flush=True)
        return 1 if self.failed else 0


class Late(Exception):
    """Something did not come in time."""


@contextlib.contextmanager
def time_limit(seconds):
    def ring(*_):
        raise Late(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def same(found, expected, what="value"):
    assert found == expected, f"{what} is {found!r}, not {expected!r}"


# Children


class Child:
    """A program whose lines are read with a deadline; killed at the end of this process at the latest."""

    running = []

    def __init__(self, *command, env=None):
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
        )
        Child.running.append(self)
        self.lines = queue.Queue()
        self.errors = []
        self.readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.lines.put), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self.errors.append), daemon=True),
        ]
        for reader in self.readers:
            reader.start()

    @staticmethod
    def _read(stream, put):
        for line in stream:
            put(line.decode("utf-8", "replace").rstrip("\n"))
        put(None)

    def write(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def line(self, seconds=5):
        """The next line of its output; None at the end."""
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            raise Late(f"no line after {seconds} s; it said: {self.said()}") from None
        if line is None:
            self.lines.put(None)
        return line

    def object(self, seconds=5):
        line = self.line(seconds)
        assert line is not None, f"it has ended; it said: {self.said()}"
        return json.loads(line)

    def objects(self, seconds=5):
        """All the objects of its output up to its end."""
        deadline = time.monotonic() + seconds
        found = []
        while True:
            line = self.line(max(0.01, deadline - time.monotonic()))
            if line is None:
                return found
            found.append(json.loads(line))

    def wait(self, seconds=5):
        """Its exit code."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Late(f"still running after {seconds} s; it said: {self.said()}") from None
        for reader in self.readers:
            reader.join(2)
        return code

    def said(self):
        """What it wrote to standard error."""
        return " / ".join(line for line in self.errors if line)

    def end_input(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self in Child.running:
            Child.running.remove(self)


@atexit.register
def kill_children():
    for child in list(Child.running):
        child.kill()


# Services


class Service(Child):
    """One service on ports of its own; awaited by a reply to a command."""

    def __init__(self, *command, heartbeat=5, identifier="rig-01", ports=None):
        self.subscriber_port, self.command_port = ports or free_ports(2)
        super().__init__(
            *command,
            "--subscriber-port",
            self.subscriber_port,
            "--command-port",
            self.command_port,
            "--heartbeat",
            heartbeat,
            "--identifier",
            identifier,
        )
        same(self.object(20), {"ready": True}, "the first line")
        self.ask({"command": 300}, seconds=5)

    def order(self, **order):
        self.write(json.dumps(order) + "\n")
        return self.object(20)

    def answer(self, **answer):
        same(self.order(op="answer", **{"with": answer}), {"done": True})

    def publish(self, api, message, topic=None):
        return self.order(op="publish", api=api, message=message, topic=topic)

    def saw(self):
        return self.order(op="saw")["saw"]

    def ask(self, request, seconds=3):
        return ask(self.command_port, request, seconds)

    def raw(self, *frames, seconds=3):
        return ask_raw(self.command_port, *frames, seconds=seconds)

    def alive(self, seconds=3):
        """Whether it answers a command. The slow one needs 50 ms; who expects no answer should not wait for 3 s."""
        try:
            self.raw(b'{"command":300,"nonce":1}', seconds=seconds)
        except Late:
            return False
        return True

    def subscribe(self, *topics):
        return Subscriber(self.subscriber_port, *topics)


def python_service(python, **options):
    """The real service of a Python environment."""
    return Service(python, "-u", os.path.join(HERE, "service.py"), **options)


def free_ports(count):
    """Ports that nobody has, and that nobody gets from here again.

    They are below the range from which the kernel takes those of clients, and each process takes them from a part of its own.
    """
    start, ports = 20000 + os.getpid() % 12 * 1000, []
    while len(ports) < count:
        port = start + random.randrange(1000)
        if port in given_ports:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
        given_ports.add(port)
        ports.append(port)
    return ports


given_ports = set()


# Sockets


def ask_raw(port, *frames, seconds=3):
    """The one frame that answers a request; a socket of its own, as a careful client has it."""
    with context.socket(zmq.REQ) as requester:
        requester.linger = 0
        requester.connect(f"tcp://127.0.0.1:{port}")
        requester.send_multipart(frames)
        if not requester.poll(seconds * 1000):
            raise Late(f"no reply after {seconds} s")
        reply = requester.recv_multipart()
        same(len(reply), 1, "the number of frames of the reply")
        return reply[0]


def ask(port, request, seconds=3):
    return json.loads(ask_raw(port, json.dumps(request).encode(), seconds=seconds))


class Subscriber:
    """Messages of a service as (topic number, body); every one must have two frames."""

    def __init__(self, port, *topics):
        self.socket = context.socket(zmq.SUB)
        self.socket.linger = 0
        self.socket.rcvhwm = 0
        for topic in topics or [None]:
            self.socket.subscribe(b"" if topic is None else struct.pack("<I", topic))
        self.socket.connect(f"tcp://127.0.0.1:{port}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def next(self, seconds=3):
        if not self.socket.poll(seconds * 1000):
            raise Late(f"no message after {seconds} s")
        frames = self.socket.recv_multipart()
        same(len(frames), 2, "the number of frames of the message")
        same(len(frames[0]), 4, "the size of the topic frame")
        return struct.unpack("<I", frames[0])[0], frames[1]

    def until(self, wanted, seconds=5):
        """All messages up to the first for which `wanted(topic, body)` is true, that one included."""
        deadline = time.monotonic() + seconds
        found = []
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Late(f"not among {len(found)} messages in {seconds} s")
            found.append(self.next(left))
            if wanted(*found[-1]):
                return found


def parsed(body):
    """The value of a published body of any dialect: JSON, or a JSON string that holds JSON."""
    value = json.loads(body)
    return json.loads(value) if isinstance(value, str) else value


def vectors(name):
    with open(os.path.join(VECTORS, name)) as file:
        cases = json.load(file)["cases"]
    assert cases, f"{name} has no cases"
    return cases


def main_arguments(description):
    import argparse

    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--program", required=True, help="the acqbus program")
    parser.add_argument("--peer", required=True, help="the program of peer.rs")
    parser.add_argument("--environments", required=True, help="folder of the Python environments, v0.9.7 and v0.12.0")
    parser.add_argument("--version", required=True, help="which of them")
    parser.add_argument("only", nargs="?", default="", help="run the checks with this in their name")
    args = parser.parse_args()
    args.python = os.path.join(args.environments, f"v{args.version}", "bin", "python")
    # Settings of the person who runs this must not change what is checked.
    for name in list(os.environ):
        if name.startswith("ACQBUS_"):
            del os.environ[name]
    os.environ["NO_COLOR"] = "1"
    return args


def finish(checks):
    code = checks.run()
    kill_children()
    sys.stdout.flush()
    sys.exit(code)
