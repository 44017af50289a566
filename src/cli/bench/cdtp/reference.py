"""A transmitter and a receiver of ConstellationDAQ; what it prints is read by the bench, a line at a time."""

import queue
import sys
import threading
import time
from uuid import uuid4

import zmq
from constellation.core.cdtp import DataReceiver, DataTransmitter
from constellation.core.chirp import CHIRPServiceIdentifier
from constellation.core.chirpmanager import DiscoveredService
from constellation.core.logging import ConstellationLogger

logger = ConstellationLogger("bench")


def send(block_bytes, records, threshold_kib):
    """Prints its port, then sends a run."""
    socket = zmq.Context.instance().socket(zmq.PUSH)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    print(port, flush=True)
    transmitter = DataTransmitter("Bench.Reference", socket, logger, print)
    transmitter.payload_threshold = threshold_kib
    transmitter.send_bor({}, {})
    transmitter.start_sending()
    block = bytes(block_bytes)
    for _ in range(records):
        record = transmitter.new_data_record()
        record.add_block(block)
        while not transmitter.can_send_record():
            time.sleep(0.001)
        transmitter.send_data_record(record)
    transmitter.stop_sending()
    transmitter.send_eor({}, {})


def receive(port):
    """Prints records and seconds from the begin of the run to its end."""
    times, count, over = [], [0], threading.Event()

    def begin(*_):
        times.append(time.perf_counter())

    def data(*_):
        count[0] += 1

    def end(*_):
        times.append(time.perf_counter())
        over.set()

    receiver = DataReceiver(zmq.Context.instance(), logger, begin, data, end, None)
    receiver.start_receiving()
    receiver.add_sender(
        DiscoveredService(uuid4(), CHIRPServiceIdentifier.DATA, "127.0.0.1", port)
    )
    over.wait()
    print(count[0], times[1] - times[0], flush=True)
    receiver.stop_receiving()


verb, *numbers = sys.argv[1:]
{"send": send, "receive": receive}[verb](*map(int, numbers))
