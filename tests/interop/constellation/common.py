"""What the checks with ConstellationDAQ share: both kinds of ends, raw sockets, and a network of their own."""

import ctypes
import fcntl
import json
import os
import socket
import struct
import sys
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.dirname(HERE))

import zmq  # noqa: E402
from zmq.utils.monitor import recv_monitor_message  # noqa: E402

from harness import Checks, Child, Late, context, main_arguments, same  # noqa: E402

VECTORS = os.path.join(HERE, "..", "..", "vectors", "constellation")
SERVICES = {"control": 1, "heartbeat": 2, "monitoring": 3, "data": 4}


def begin(area, description):
    args = main_arguments(description)
    return args, Checks(f"constellation {area}", args.only)


class End(Child):
    """A transmitter, a receiver or a CHIRP manager that takes orders; `ends.py` with the package, `ends.rs` with ours."""

    def __init__(self, *command):
        super().__init__(*command)
        self.events = []
        self.ready = self.object(20)
        same(self.ready.pop("ready"), True, "the first line")

    @property
    def port(self):
        return self.ready["port"]

    def order(self, op, seconds=20, **order):
        """What it answers, an error too."""
        self.write(json.dumps({"op": op, **order}) + "\n")
        deadline = time.monotonic() + seconds
        while True:
            line = self.object(max(0.01, deadline - time.monotonic()))
            if "event" not in line:
                return line
            self.events.append(line)

    def do(self, op, seconds=20, **order):
        """What it answers; an error is a failure of the check."""
        answer = self.order(op, seconds, **order)
        assert "error" not in answer, f"{op}: {answer['error']}"
        return answer

    def event(self, seconds=10):
        """The next thing that came in."""
        if not self.events:
            line = self.object(seconds)
            assert "event" in line, f"an answer to nothing: {line}"
            self.events.append(line)
        return self.events.pop(0)

    def until(self, kind, seconds=10):
        """All events up to the first of this kind, that one included."""
        found = []
        deadline = time.monotonic() + seconds
        while not found or found[-1]["event"] != kind:
            found.append(self.event(max(0.01, deadline - time.monotonic())))
        return found

    def close(self, seconds=10):
        self.end_input()
        same(self.wait(seconds), 0, f"the exit code of an end, which said {self.said()!r},")


def theirs(role, *more):
    return End(sys.executable, "-u", os.path.join(HERE, "ends.py"), role, *more)


def ours(args, role, *more):
    return End(args.peer, role, *more)


class Feeder:
    """A transmitter without a mind: it sends the frames that it is given."""

    def __init__(self):
        self.told = None
        self.socket = context.socket(zmq.PUSH)
        self.socket.linger = 0
        self.socket.sndtimeo = 10_000
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")

    def send(self, *frames):
        self.socket.send_multipart(frames)

    def monitor(self):
        self.told = self.socket.get_monitor_socket()

    def tells(self, event, seconds):
        """Whether an event of the connection comes in this time; those before it are passed over."""
        deadline = time.monotonic() + seconds
        while self.told.poll(max(0, deadline - time.monotonic()) * 1000):
            if recv_monitor_message(self.told)["event"] == event:
                return True
        return False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.told:
            self.socket.disable_monitor()
        self.socket.close()


class Collector:
    """A receiver without a mind: it keeps the frames as they come."""

    def __init__(self, port):
        self.socket = context.socket(zmq.PULL)
        self.socket.linger = 0
        self.socket.connect(f"tcp://127.0.0.1:{port}")

    def next(self, seconds=5):
        if not self.socket.poll(seconds * 1000):
            raise Late(f"no message after {seconds} s")
        frames = self.socket.recv_multipart()
        same(len(frames), 1, "the number of frames of a message")
        return frames[0]

    def silent(self, seconds):
        return not self.socket.poll(seconds * 1000)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def vectors(name):
    with open(os.path.join(VECTORS, name), encoding="utf-8") as file:
        return json.load(file)


def unique_group():
    return f"interop_{uuid.uuid4().hex[:12]}"


def private_network():
    """Moves this process and its children to a network of their own that has only a loopback.

    The port of CHIRP is one for all, so other satellites of this machine would hear the checks, and the checks them. Where the
    system does not let us (it is Linux with user namespaces, or root, that does), the loopback of the machine must do, and only
    the name of the group keeps us apart. To be called before the first socket and the first thread.
    """
    try:
        unshare = ctypes.CDLL(None, use_errno=True).unshare
        user, group = os.getuid(), os.getgid()
        if unshare(NEW_NETWORK) != 0:
            if unshare(NEW_USER | NEW_NETWORK) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
                with open(f"/proc/self/{name}", "w") as file:
                    file.write(text)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, SET_FLAGS, struct.pack("16sh14x", b"lo", UP))
        return True
    except (AttributeError, OSError) as error:
        print(f"     no network of our own, so the machine's loopback: {error}", flush=True)
        return False


NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000
SET_FLAGS, UP = 0x8914, 1
