"""Two satellites of the package, as short as they can be: one sends, one counts. They tell of themselves in lines of JSON."""

import hashlib
import json
import sys
import time

from constellation.core.receiver_satellite import ReceiverSatellite
from constellation.core.transmitter_satellite import TransmitterSatellite

from values import typed_map, untyped_map


def say(**line):
    print(json.dumps(line), flush=True)


class Sputnik(TransmitterSatellite):
    """Sends `records` of `block_size` bytes, and `late` more when it is told to stop."""

    def do_initializing(self, config):
        self.records = config.get_int("records", 100)
        self.block_size = config.get_int("block_size", 64)
        self.late = config.get_int("late", 0)
        self.bor = {"what": "interop", "großes": [1, 2, 3]}
        self.eor = {"end": True}

    def do_run(self):
        self.digest, self.bytes = hashlib.sha256(), 0
        for number in range(self.records):
            self.send(number)
        # The timer of half a second sends the last of them.
        while self._dtm.records_transmitted < self.records and not self.stop_requested():
            time.sleep(0.01)
        say(sent=self.records)
        while not self.stop_requested():
            time.sleep(0.01)
        for number in range(self.records, self.records + self.late):
            self.send(number)
        say(records=self.records + self.late, bytes=self.bytes, sha256=self.digest.hexdigest())
        return "Sent"

    def send(self, number):
        block = number.to_bytes(8, "big") * (self.block_size // 8)
        self.digest.update(block)
        self.bytes += len(block)
        record = self.new_data_record({"n": number})
        record.add_block(block)
        while not self.can_send_record():
            time.sleep(0.001)
        self.send_data_record(record)


class Harvester(ReceiverSatellite):
    """Tells of each BOR and EOR, and what came between them."""

    def do_initializing(self, config):
        pass

    def do_starting(self, run_identifier):
        self.digest, self.records, self.bytes = hashlib.sha256(), 0, 0

    def receive_bor(self, sender, user_tags, configuration):
        say(event="bor", sender=sender, user_tags=typed_map(user_tags), configuration=typed_map(configuration))

    def receive_data(self, sender, data_record):
        self.records += 1
        for block in data_record.blocks:
            self.bytes += len(block)
            self.digest.update(block)

    def receive_eor(self, sender, user_tags, run_metadata):
        totals = {"records": self.records, "bytes": self.bytes, "sha256": self.digest.hexdigest()}
        say(event="eor", sender=sender, user_tags=typed_map(user_tags), run_metadata=typed_map(run_metadata), **totals)


def main():
    kind, name, group = sys.argv[1:]
    network = {"cmd_port": 0, "hb_port": 0, "mon_port": 0, "interface": ["lo"]}
    if kind == "Sputnik":
        satellite = Sputnik(0, name=name, group=group, **network)
    else:
        satellite = Harvester(name=name, group=group, **network)
    say(ready=True)
    satellite.run_satellite()


if __name__ == "__main__":
    main()
