"""Runs the interop programs of this folder, each in the environments that it needs, and weighs what they say.

A failed check fails; so does a difference whose id is not in docs/compatibility.md, and, when all checks run, an id of kind
"wire" or "behaviour" there that no check met; of the history (H) only those whose row names a check in `eventer/` (the others are
shown by tests of ours). The last line is `N passed, N failed`.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
# Program, version of the package. Those that wait most come first, since two run at a time.
RUNS = [
    ("differential.py", "0.12.0"),
    ("differential.py", "0.9.7"),
    ("constellation/satellite.py", "1.0.2"),
    ("eventer/exchange.py", "0.9.44"),
    ("client.py", "0.9.7"),
    ("constellation/exchange.py", "1.0.2"),
    ("eventer/life.py", "0.9.44"),
    ("eventer/hostile.py", "0.9.44"),
    ("eventer/program.py", "0.9.44"),
    ("client.py", "0.12.0"),
    ("constellation/differential.py", "1.0.2"),
    ("package.py", "0.9.7"),
    ("constellation/discovery.py", "1.0.2"),
    ("package.py", "0.12.0"),
]
LONGEST = 400
# By folder: the environment, and which program of ours is the other end.
PACKAGES = {"constellation": ("constellation-", "ends"), "eventer": ("hat-event-", "eventer")}


running = set()


def end(group):
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def listed_ids(path):
    """The ids of the differences of the document, and whether a check must meet it."""
    with open(path, encoding="utf-8") as file:
        rows = re.findall(r"^\| ([CDH]\d\d) \| (\w+) \|.*\| ([^|]*) \|$", file.read(), re.MULTILINE)
    listed = {number: seen(number, kind, shown) for number, kind, shown in rows}
    if len(listed) != len(rows):
        sys.exit(f"an id stands twice in {path}")
    return listed


def seen(number, kind, shown):
    return kind in ("wire", "behaviour") and (number[0] != "H" or "`eventer/" in shown)


def run(program, version, args):
    """The lines that one program printed; a line of our own if it came to no good end."""
    package, peer = PACKAGES.get(os.path.dirname(program), ("v", "peer"))
    python = os.path.join(args.environments, package + version, "bin", "python")
    peer = getattr(args, peer)
    command = [python, os.path.join(HERE, program), "--program", args.program, "--peer", peer]
    command += ["--environments", args.environments, "--version", version, args.only]
    try:
        # A group of its own, so that its services end with it even when it hangs.
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    except OSError as error:
        return [f"FAIL {version} {program}: it cannot be started: {error}"]
    running.add(process.pid)
    alarm = threading.Timer(LONGEST, end, [process.pid])
    alarm.start()
    try:
        output, _ = process.communicate()
    except UnicodeDecodeError as error:
        output = f"FAIL {version} {program}: its output cannot be read: {error}"
    finally:
        alarm.cancel()
        end(process.pid)
        running.discard(process.pid)
    lines = output.splitlines()
    failed = any(line.startswith("FAIL ") for line in lines)
    if process.returncode != (1 if failed else 0):
        lines.append(f"FAIL {version} {program}: it ended with {process.returncode}")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--ends", required=True)
    parser.add_argument("--eventer", required=True)
    parser.add_argument("--environments", required=True)
    parser.add_argument("--listed", required=True)
    parser.add_argument("only", nargs="?", default="", help="run the checks with this in their name")
    args = parser.parse_args()
    listed = listed_ids(args.listed)
    passed, failed, met, judged = 0, 0, set(), set()
    lock, waiting = threading.Lock(), list(RUNS)

    def work():
        nonlocal passed, failed
        while True:
            with lock:
                if not waiting:
                    return
                program, version = waiting.pop(0)
            lines = run(program, version, args)
            with lock:
                judged.add((program, version))
                for line in lines:
                    passed += line.startswith("ok ")
                    failed += line.startswith("FAIL ")
                    ids = re.search(r"\[([CDH][CDH\d ]*)\]$", line)
                    if ids and line.startswith("ok "):
                        met.update(ids.group(1).split())
                    print(line, flush=True)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit("interop: terminated"))
    workers = [threading.Thread(target=work) for _ in range(2)]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        waiting.clear()
        for group in list(running):
            end(group)

    def judge(name, wrong):
        nonlocal passed, failed
        passed += not wrong
        failed += bool(wrong)
        print(f"FAIL {name}: {' '.join(wrong)}" if wrong else f"ok   {name}")

    judge("every program was run to its end", [" ".join(run) for run in RUNS if run not in judged])
    judge("every difference is in the list", sorted(met - set(listed)))
    if not args.only and not failed:
        must = {number for number, is_seen in listed.items() if is_seen}
        judge("every listed difference that the other end or ours sees was met", sorted(must - met))
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
