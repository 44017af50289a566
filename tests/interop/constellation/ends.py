"""The transmitter, the receiver, the codec or the CHIRP manager of the package, told what to do by lines of JSON.

ends.rs does the same with ours, so that a check gives both the same orders. Each order gets one line as its answer; lines
with a member "event" tell what came in.
"""

import argparse
import hashlib
import json
import logging
import queue
import sys
import threading
import time

import zmq
from constellation.core.cdtp import DataReceiver, DataTransmitter
from constellation.core.chirp import CHIRPServiceIdentifier, get_uuid
from constellation.core.chirpmanager import CHIRPManager, DiscoveredService
from constellation.core.logging import ConstellationLogger
from constellation.core.message.cdtp2 import CDTP2BORMessage, CDTP2EORMessage, CDTP2Message, DataRecord

from values import typed_map, untyped_map

lock = threading.Lock()


def say(**line):
    with lock:
        print(json.dumps(line), flush=True)


def error_text(error):
    return {"error": f"{type(error).__name__}: {error}"}


class Noise:
    """Bytes without end in which each block stands elsewhere."""

    def __init__(self, largest):
        state, out = hashlib.sha256(b"noise").digest(), bytearray()
        while len(out) < largest + 4096:
            out += state * 8
            state = hashlib.sha256(state).digest()
        self.bytes = bytes(out)

    def block(self, number, size):
        at = number * 7 % 4096
        return self.bytes[at : at + size]


class Transmitter:
    def __init__(self, args):
        self.socket = zmq.Context.instance().socket(zmq.PUSH)
        self.socket.linger = 10_000
        self.port = args.port or self.socket.bind_to_random_port("tcp://127.0.0.1")
        if args.port:
            self.socket.bind(f"tcp://127.0.0.1:{args.port}")
        self.failures = []
        self.end = DataTransmitter(args.name, self.socket, logger(), self.failures.append)
        self.end.payload_threshold = args.threshold
        self.end.queue_size = args.queue
        self.end.bor_timeout = self.end.data_timeout = self.end.eor_timeout = args.timeout
        self.end.transmission_disabled = args.disabled
        say(ready=True, port=self.port)

    def bor(self, order):
        self.end.send_bor(untyped_map(order["tags"]), untyped_map(order["configuration"]))

    def eor(self, order):
        self.end.send_eor(untyped_map(order["tags"]), untyped_map(order["metadata"]))

    def start(self, _):
        self.end.start_sending()

    def stop(self, _):
        self.end.stop_sending()

    def draw(self, _):
        return {"sequence": self.end.new_data_record().sequence_number}

    def records(self, order):
        return {"records": [self.one(line) for line in order["list"]]}

    def one(self, line):
        if "wait" in line:
            return time.sleep(line["wait"])
        record = self.end.new_data_record(untyped_map(line["tags"]) or None)
        for block in line["blocks"]:
            record.add_block(bytes.fromhex(block))
        try:
            self.end.send_data_record(record)
        except queue.Full:
            return {"full": True, "sequence": record.sequence_number}
        return {"sequence": record.sequence_number}

    def many(self, order):
        sizes, total, digest = order["sizes"], 0, hashlib.sha256()
        noise = Noise(max(sizes, default=0))
        for number in range(order["records"]):
            record = self.end.new_data_record()
            for at, size in enumerate(sizes):
                block = noise.block(number + at, size)
                digest.update(block)
                total += size
                record.add_block(block)
            while not self.end.can_send_record():
                time.sleep(0.001)
                self.end.check_exception()
            self.end.send_data_record(record)
        return {"records": order["records"], "bytes": total, "sha256": digest.hexdigest()}

    def set(self, order):
        self.end.payload_threshold = order["threshold"]

    def state(self, _):
        return {
            "state": int(self.end.state),
            "sequence": self.end.sequence_number,
            "records": self.end.records_transmitted,
            "bytes": self.end.bytes_transmitted,
            "can_send": self.end.can_send_record(),
            "failures": self.failures,
        }

    def check(self, _):
        self.end.check_exception()

    def close(self):
        self.end.stop_sending()
        self.socket.close()


class Receiver:
    def __init__(self, args):
        senders = None if args.senders is None else set(filter(None, args.senders.split(",")))
        self.end = DataReceiver(zmq.Context.instance(), logger(), self.bor, self.data, self.eor, senders)
        self.end.eor_timeout = args.eor_timeout
        self.quiet = args.quiet
        say(ready=True)

    def bor(self, sender, user_tags, configuration):
        say(event="bor", sender=sender, user_tags=typed_map(user_tags), configuration=typed_map(configuration))

    def data(self, sender, record):
        self.records += 1
        for block in record.blocks:
            self.bytes += len(block)
            self.digest.update(block)
        if not self.quiet:
            say(event="data", sender=sender, **record_line(record))

    def eor(self, sender, user_tags, run_metadata):
        say(event="eor", sender=sender, user_tags=typed_map(user_tags), run_metadata=typed_map(run_metadata))

    def start(self, _):
        self.records, self.bytes, self.digest = 0, 0, hashlib.sha256()
        self.end.start_receiving()

    def service(self, order):
        host = get_uuid(order["host"])
        return DiscoveredService(host, CHIRPServiceIdentifier.DATA, "127.0.0.1", order["port"])

    def add(self, order):
        self.end.add_sender(self.service(order))

    def remove(self, order):
        self.end.remove_sender(self.service(order))

    def states(self, _):
        # No public way to ask.
        states = self.end._data_transmitter_states
        return {"states": {name: [state.state.value, state.seq, state.missed] for name, state in states.items()}}

    def totals(self, _):
        sha256 = self.digest.hexdigest()
        return {"records": self.records, "bytes": self.bytes, "sha256": sha256, "bytes_received": self.end.bytes_received}

    def check(self, _):
        self.end.check_exception()

    def stop(self, _):
        self.end.stop_receiving()

    def close(self):
        self.end._stop_pull_thread()


class Codec:
    """Messages as bytes, without sockets."""

    def __init__(self, args):
        self.name = args.name
        say(ready=True)

    def decode(self, order):
        message = CDTP2Message.disassemble([bytes.fromhex(order["frame"])])
        if message.type == CDTP2Message.Type.BOR:
            message = CDTP2BORMessage.cast(message)
        elif message.type == CDTP2Message.Type.EOR:
            message = CDTP2EORMessage.cast(message)
        return {"sender": message.sender, "kind": message.type.name, "records": list(map(record_line, message.data_records))}

    def encode(self, order):
        message = CDTP2Message(self.name, CDTP2Message.Type[order["kind"]])
        for line in order["records"]:
            record = DataRecord(int(line["seq"]), untyped_map(line["tags"]))
            for block in line["blocks"]:
                record.add_block(bytes.fromhex(block))
            message.add_data_record(record)
        (frame,) = message.assemble().frames
        return {"frame": frame.hex()}

    def close(self):
        pass


def record_line(record):
    blocks = [block.hex() for block in record.blocks]
    return {"seq": str(record.sequence_number), "tags": typed_map(record.tags), "blocks": blocks}


class Manager:
    def __init__(self, args):
        # The package makes the first half of a name from that of the class.
        kind, name = args.name.split(".")
        self.end = type(kind, (CHIRPManager,), {})(name, args.group, ["lo"])
        # As a satellite does it.
        self.end._add_com_thread()
        self.end._start_com_threads()
        threading.Thread(target=self.tell, daemon=True).start()
        for service in CHIRPServiceIdentifier:
            self.end.register_request(service, lambda found: say(**self.line(found)))
        say(ready=True)

    def tell(self):
        while True:
            callback, found = self.end.task_queue.get()
            callback(*found)

    @staticmethod
    def line(found):
        event = "discovered" if found.alive else "departed"
        host, service = found.host_uuid.hex, found.serviceid.value
        return {"event": event, "host": host, "service": service, "address": found.address, "port": found.port}

    def register(self, order):
        self.end.register_offer(CHIRPServiceIdentifier(order["service"]), order["port"])
        self.end.emit_offers()

    def unregister(self, order):
        self.end.unregister_offer(order["port"])
        self.end.emit_offers()

    def request(self, order):
        self.end.request(CHIRPServiceIdentifier(order["service"]))

    def services(self, _):
        return {"services": [self.line(found) for found in list(self.end.discovered_services)]}

    def alive(self, _):
        return {"alive": self.end._com_thread_pool["chirp_manager"].is_alive()}

    def close(self):
        self.end.reentry()


def logger():
    logging.setLoggerClass(ConstellationLogger)
    found = logging.getLogger("DATA")
    # What it would say goes nowhere; a trace of every message would be most of the time.
    found.setLevel(logging.CRITICAL + 1)
    found.addHandler(logging.NullHandler())
    return found


ROLES = {"transmit": Transmitter, "receive": Receiver, "codec": Codec, "chirp": Manager}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--name", default="Sputnik.One")
    parser.add_argument("--group", default="")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--threshold", type=int, default=128)
    parser.add_argument("--queue", type=int, default=32768)
    parser.add_argument("--timeout", type=int, default=10)
    parser.add_argument("--disabled", action="store_true")
    parser.add_argument("--senders")
    parser.add_argument("--eor-timeout", type=int, default=10)
    parser.add_argument("--quiet", action="store_true")
    args = parser.parse_args()
    end = ROLES[args.role](args)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            say(**(getattr(end, order["op"])(order) or {"done": True}))
        except Exception as error:
            say(**error_text(error))
    end.close()


if __name__ == "__main__":
    main()
