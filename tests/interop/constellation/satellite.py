"""Real satellites, driven through runs by the package's controller, with our program at the other end; found by CHIRP."""

import logging
import sys
import time

from common import HERE, begin, private_network, unique_group
from values import untyped_map

from harness import Child, Late, finish, free_ports, same

args, checks = begin("satellite", __doc__)
private_network()

from constellation.core.controller import ScriptableController  # noqa: E402
from constellation.core.protocol.cscp1 import SatelliteState  # noqa: E402


class Constellation:
    """A group of its own with satellites and a controller, which uses CSCP and CHP as any controller does."""

    def __init__(self, *satellites):
        self.group = unique_group()
        self.satellites = {name: Child(sys.executable, "-u", f"{HERE}/satellites.py", *name.split("."), self.group) for name in satellites}
        for satellite in self.satellites.values():
            same(satellite.object(20), {"ready": True}, "the first line")
        self.controller = ScriptableController(self.group, "CRITICAL", f"c{time.monotonic_ns()}", ["lo"])
        self.controller.await_satellites(list(satellites), 20)

    def __getitem__(self, name):
        return self.satellites[name]

    def command(self, name, command, payload=None):
        answer = self.controller.command(command, payload, *name.split("."))
        assert answer.success, f"{command}: {answer.errmsg}"

    def bring(self, name, command, state, payload=None):
        self.command(name, command, payload)
        self.wait(name, state)

    def wait(self, name, state, seconds=20):
        deadline = time.monotonic() + seconds
        while self.controller.states.get(name) != SatelliteState[state]:
            if time.monotonic() > deadline:
                raise Late(f"{name} is {self.controller.states.get(name)}, not {state}, after {seconds} s")
            time.sleep(0.02)

    def close(self):
        self.controller.terminate()
        for satellite in self.satellites.values():
            satellite.kill()


def run_metadata(eor):
    return untyped_map(eor["run_metadata"])


@checks.check("a real satellite sends to a real satellite", 90)
def package_to_package():
    both = Constellation("Sputnik.One", "Harvester.Two")
    both.bring("Harvester.Two", "initialize", "INIT", {"_data": {"receive_from": ["Sputnik.One"]}})
    both.bring("Sputnik.One", "initialize", "INIT", {"records": 1000, "block_size": 1024, "late": 3})
    for name in both.satellites:
        both.bring(name, "launch", "ORBIT")
    both.bring("Harvester.Two", "start", "RUN", "run_1")
    both.bring("Sputnik.One", "start", "RUN", "run_1")
    same(both["Sputnik.One"].object(), {"sent": 1000})
    same(both["Harvester.Two"].object()["event"], "bor")
    both.bring("Sputnik.One", "stop", "ORBIT")
    sent, got = both["Sputnik.One"].object(), both["Harvester.Two"].object()
    same({key: got[key] for key in sent}, sent, "the totals")
    same(run_metadata(got)["condition"], "GOOD", "the condition")
    both.bring("Harvester.Two", "stop", "ORBIT")
    both.close()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    finish(checks)
