"""What a receiver of ours must tell of any messages: the rules of docs/compatibility.md in as few lines as they can have."""

from values import typed_map

FLAGS = ["TAINTED", "INCOMPLETE", "INTERRUPTED", "ABORTED", "DEGRADED"]
TAINTED, INCOMPLETE, ABORTED = 1, 2, 8
NOT_CONNECTED, BOR_RECEIVED, EOR_RECEIVED = 1, 2, 3


class Oracle:
    """Takes messages as `Codec.decode` of the package gives them, or None for what cannot be decoded."""

    def __init__(self):
        self.runs, self.events, self.met, self.bytes = {}, [], set(), 0
        # Whether the package's receiver has died by now, and how many of our events it told before.
        self.died = None

    def take(self, message):
        if message is None:
            self.fault(None, "D10", [run for run in self.runs.values() if run.open])
            return
        getattr(self, message["kind"].lower())(message["sender"], message["records"])

    def bor(self, sender, records):
        run = self.runs.get(sender)
        if run:
            self.differs("D12")
        restarted = bool(run and run.open)
        if restarted:
            self.substitute(run)
        self.runs[sender] = Run(sender)
        tags, configuration = (record["tags"] for record in records)
        self.tell("bor", sender, user_tags=tags, configuration=configuration, restarted=restarted)

    def data(self, sender, records):
        self.bytes += sum(len(block) // 2 for record in records for block in record["blocks"])
        run = self.runs.get(sender)
        if not records:
            return self.fault(sender, "D11", [run] if run and run.open else [])
        if not (run and run.open):
            return self.fault(sender, "D13", [])
        for record in records:
            arrival, lost = run.see(int(record["seq"]))
            if lost:
                self.tell("lost", sender, first=lost[0], count=lost[1])
            self.tell("data", sender, arrival=arrival, **record)

    def eor(self, sender, records):
        run = self.runs.get(sender)
        if not (run and run.open):
            return self.fault(sender, "D13", [])
        tags, metadata = (record["tags"] for record in records)
        run.open, run.state = False, EOR_RECEIVED
        announced = next((number(form) for key, form in metadata if key == "data_records"), None)
        tail = max(0, announced - run.highest) if isinstance(announced, int) else 0
        if tail:
            self.tell("lost", sender, first=run.highest + 1, count=tail)
        flags = run.flags(tail) | (INCOMPLETE if announced not in (None, run.highest) else 0)
        theirs = INCOMPLETE if run.their_missed > 0 or announced not in (None, run.last) else 0
        self.end("eor", run, tags, metadata, flags, theirs, tail)

    def substitute(self, run):
        run.open = False
        theirs = ABORTED | (INCOMPLETE if run.their_missed > 0 else 0)
        self.end("substitute", run, [], [], ABORTED | run.flags(0), theirs, 0)

    def end(self, kind, run, tags, metadata, flags, theirs, tail):
        if flags & ~TAINTED != theirs & ~TAINTED:
            self.met.add("D14")
        metadata, condition = with_flags(metadata, flags)
        counts = {name: getattr(run, name) for name in ("records", "missed", "late", "duplicates", "faults")}
        counts["missed"] += tail
        self.tell(kind, run.sender, user_tags=tags, run_metadata=metadata, condition=condition, counts=counts)

    def stop(self):
        for run in self.runs.values():
            if run.open:
                self.substitute(run)

    def fault(self, sender, number, marked):
        self.differs(number)
        for run in marked:
            run.faults += 1
        self.tell("fault", sender if sender or not marked else marked[-1].sender, marked=bool(marked))

    def differs(self, number):
        """The package ends here."""
        if self.died is None:
            self.met.add(number)
            self.died = len(self.events)

    def tell(self, event, sender, **line):
        self.events.append({"event": event, "sender": sender, **line})

    def states(self):
        return {sender: [run.state, run.highest, run.missed] for sender, run in self.runs.items()}


class Run:
    def __init__(self, sender):
        self.sender, self.open, self.state = sender, True, BOR_RECEIVED
        self.highest, self.missing, self.zero = 0, set(), False
        self.records = self.late = self.duplicates = self.faults = 0
        # What the package adds up.
        self.last = self.their_missed = 0

    @property
    def missed(self):
        return len(self.missing)

    def see(self, number):
        self.records += 1
        self.their_missed += number - 1 - self.last
        self.last = number
        if number > self.highest:
            gap = range(self.highest + 1, number)
            self.missing.update(gap)
            self.highest = number
            return "in order", (gap[0], len(gap)) if gap else None
        # No run should have a 0; where it comes first, nothing is late.
        first_zero, self.zero = number == 0 and not self.zero, self.zero or number == 0
        if first_zero and self.highest == 0:
            return "in order", None
        if first_zero or number in self.missing:
            self.missing.discard(number)
            self.late += 1
            return "late", None
        self.duplicates += 1
        return "duplicate", None

    def flags(self, tail):
        return (INCOMPLETE if self.missed + tail else 0) | (TAINTED if self.faults else 0)


def number(form):
    if form["t"] == "int":
        return int(form["v"])
    return {"4000000000000000": 2}.get(form["v"], form["v"]) if form["t"] == "float" else form["v"]


def condition_text(code):
    names = [name for bit, name in enumerate(FLAGS) if code >> bit & 1]
    return "|".join(names + ([str(code >> 5 << 5)] if code >> 5 else [])) or "GOOD"


def with_flags(metadata, flags):
    """The metadata as the receiver gives it on, and the condition that it says."""
    sent = next((int(form["v"]) for key, form in metadata if key == "condition_code" and form["t"] == "int"), 0)
    if not flags:
        return metadata, condition_text(sent)
    changed = {key: form for key, form in metadata}
    added = {"condition_code": sent | flags, "condition": condition_text(sent | flags)}
    return [[key, form] for key, form in {**changed, **dict(typed_map(added))}.items()], condition_text(sent | flags)
