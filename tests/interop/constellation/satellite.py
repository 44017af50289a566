"""Real satellites, driven through runs by the package's controller, with our program at the other end; found by CHIRP."""

import logging
import os
import sys
import threading
import time

from common import HERE, begin, private_network, unique_group
from values import untyped_map

from harness import Child, Late, kill_children, same

args, checks = begin("satellite", __doc__)
private_network()

from constellation.core.controller import ScriptableController  # noqa: E402
from constellation.core.protocol.cscp1 import SatelliteState  # noqa: E402


class Constellation:
    """A group of its own with satellites and a controller, which uses CSCP and CHP as any controller does."""

    def __init__(self, *satellites):
        self.group = unique_group()
        program = (sys.executable, "-u", os.path.join(HERE, "satellites.py"))
        self.satellites = {name: Child(*program, *name.split("."), self.group) for name in satellites}
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
        # Its threads may fall over the sockets that are taken from them.
        threading.excepthook = lambda _: None
        self.controller.terminate()
        for satellite in self.satellites.values():
            satellite.kill()


METADATA = ["version", "run_id", "time_start", "license", "time_end", "condition_code", "condition", "data_records"]


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
    same(list(run_metadata(got)), [METADATA[0], "cnstln_version", "cnstln_codename", *METADATA[1:]], "the keys of the metadata")
    both.bring("Harvester.Two", "stop", "ORBIT")
    both.close()


class Program:
    """`acqbus run` with its lines of JSON."""

    def __init__(self, *command):
        self.child = Child(args.program, "run", *command, "--json")
        self.lines = [self.child.object(20)]
        same(self.lines[0]["notice"], "started", "the first line")

    def until(self, notice, seconds=30):
        """The next line of this kind."""
        deadline = time.monotonic() + seconds
        while True:
            line = self.child.object(max(0.01, deadline - time.monotonic()))
            self.lines.append(line)
            if line["notice"] == notice:
                return line

    def end(self, code=0):
        totals = self.until("totals")
        same(self.child.wait(), code, f"the exit code, which said {self.child.said()!r},")
        return totals


def ready(group, name, config):
    group.bring(name, "initialize", "INIT", config)
    group.bring(name, "launch", "ORBIT")


TOTALS = ("records", "bytes", "sha256")


def totals_of(line):
    return {name: line[name] for name in TOTALS}


@checks.check("a real satellite sends to acqbus run receive, which finds it", 120)
def package_to_program():
    group = Constellation("Sputnik.One")
    program = Program("receive", "--group", group.group, "--name", "Sputnik.One", "--count", "4")
    ready(group, "Sputnik.One", {"records": 2000, "block_size": 1024, "late": 3})
    satellite = group["Sputnik.One"]
    same(program.until("discovered")["sender"], "Sputnik.One", "whom it found")

    def run(number, end, state, condition, code):
        group.bring("Sputnik.One", "start", "RUN", f"run_{number}")
        bor = program.until("bor")
        same(bor["userTags"], {"what": "interop", "großes": [1, 2, 3]}, "the user tags")
        same(bor["configuration"]["records"], 2000, "the configuration")
        same(satellite.object(20), {"sent": 2000})
        group.bring("Sputnik.One", end, state)
        eor, sent = program.until("eor"), satellite.object(20)
        same(totals_of(eor), sent, f"what came of run {number}")
        same((eor["missed"], eor["late"], eor["duplicates"], eor["substitute"]), (0, 0, 0, False), "what is wrong with it")
        end_of_run = (eor["runId"], eor["condition"], eor["conditionCode"])
        same(end_of_run, (f"run_{number}", condition, code), f"the end of run {number}")
        return eor

    first = run(1, "stop", "ORBIT", "GOOD", 0)
    same((first["metadata"]["data_records"], first["metadata"]["license"]), (2003, "ODC-By-1.0"), "the metadata")
    same(first["userTags"], {"end": True}, "the user tags of the end")
    run(2, "stop", "ORBIT", "GOOD", 0)
    # An interrupted satellite counts before its last records are sent; what it says of them is not what it sent.
    interrupted = run(3, "_interrupt", "SAFE", "INCOMPLETE|INTERRUPTED", 6)
    same(interrupted["metadata"]["data_records"], 2000, "the records that the interrupted run tells of")
    ready(group, "Sputnik.One", {"records": 2000, "block_size": 1024})
    run(4, "_failure", "ERROR", "TAINTED|ABORTED", 9)
    totals = program.end(1)
    same((totals["runs"], totals["records"], totals["missed"], totals["faults"]), (4, 8009, 0, 0), "the totals")
    group.close()


@checks.check("a real satellite departs in a run: what it sent is kept", 60)
def departing():
    group = Constellation("Sputnik.One")
    program = Program("receive", "--group", group.group, "--timeout", 20)
    ready(group, "Sputnik.One", {"records": 2000, "block_size": 4096})
    group.bring("Sputnik.One", "start", "RUN", "run_1")
    same(group["Sputnik.One"].object(20), {"sent": 2000})
    # Ctrl-C: it leaves its run open, and departs.
    group["Sputnik.One"].interrupt()
    same(program.until("departed")["port"], program.lines[1]["port"], "who departs")
    time.sleep(1)
    program.child.interrupt()
    eor = program.until("eor", 40)
    same((eor["condition"], eor["substitute"]), ("ABORTED", True), "the end of the run")
    same((eor["records"], eor["missed"]), (2000, 0), "the records")
    program.end(130)
    group.close()


@checks.check("a real satellite receives from acqbus run send, which it finds", 90)
def program_to_package(met):
    group = Constellation("Harvester.Two")
    announced = ("send", "--group", group.group, "--name", "Acqbus.Source", "--timeout", 30)
    program = Program(*announced, "--tag", "n=1", "--records", 20_000, "--block-size", 1000)
    ready(group, "Harvester.Two", {"_data": {"receive_from": ["Acqbus.Source"]}})
    satellite = group["Harvester.Two"]
    group.bring("Harvester.Two", "start", "RUN", "run_1")
    bor, eor = satellite.object(20), satellite.object(20)
    same((bor["event"], bor["sender"]), ("bor", "Acqbus.Source"), "the first event")
    same(untyped_map(bor["user_tags"])["n"], 1, "the tag")
    found = run_metadata(eor)
    same(list(found), METADATA, "the keys of the metadata")
    met.add("D09")
    same((found["condition_code"], found["condition"], found["data_records"]), (0, "GOOD", 20_000), "the end of the run")
    same(totals_of(program.end()), totals_of(eor), "what came")
    group.bring("Harvester.Two", "stop", "ORBIT")
    # A run that is interrupted counts all that it sent, other than an interrupted satellite.
    program = Program(*announced, "--records", 1_000_000, "--rate", 2000, "--block-size", 100)
    group.bring("Harvester.Two", "start", "RUN", "run_2")
    same(satellite.object(20)["event"], "bor")
    time.sleep(1)
    program.child.interrupt()
    eor = satellite.object(20)
    found = run_metadata(eor)
    same((found["condition_code"], found["condition"]), (4, "INTERRUPTED"), "the end of the interrupted run")
    same(found["data_records"], eor["records"], "the records that the interrupted run tells of")
    met.add("D19")
    same(totals_of(program.end(130)), totals_of(eor), "what came of the interrupted run")
    group.bring("Harvester.Two", "stop", "ORBIT")
    group.close()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    code = checks.run()
    kill_children()
    sys.stdout.flush()
    # The controller of a check that failed would wait for its sockets for ever.
    os._exit(code)
