//! What a receiver knows of its senders: pure, it takes messages and gives events.

use std::collections::{BTreeMap, HashMap};

use crate::cdtp::receiver::ending::Announced;
use crate::cdtp::receiver::event::{
    Arrival, Bor, Eor, Fault, FaultKind, Lost, RunCounts, RunEvent,
};
use crate::cdtp::receiver::held::{Held, Note, Taken, Unfold};
use crate::cdtp::receiver::numbers::{Seen, SeenNumbers};
use crate::cdtp::receiver::options::ReceiverOptions;
use crate::cdtp::receiver::stats::ReceiverStats;
use crate::cdtp::{
    DecodeLimits, MessageKind, MessageView, RunCondition, SenderName, Tags, TransmitterState,
    TransmitterStateSeq,
};
use crate::wire::DecodeError;
use crate::zsocket::Frame;

/// The connection that a message came on; of the caller's choice.
///
/// Messages do not say who sent them when they cannot be decoded. The connection does: they belong to the sender that was
/// heard last on it. A later connection has a higher number: what an earlier one still brings, when a sender has begun anew on
/// another one within a run, is not part of the new run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u64);

/// The state of a receiver without its sockets: for tests, and for those who receive by other means.
///
/// | a sender is in | BOR | DATA | EOR |
/// |---|---|---|---|
/// | `NotConnected` | `Bor` | fault | fault |
/// | `BorReceived` | `Substitute` and a `Bor` marked restarted | records | `Eor` |
/// | `EorReceived` | `Bor` | fault | fault |
///
/// The name in a message is what counts, without its case. *Ours*: the reference ends on each fault, on a second BOR, and
/// calls names of other case other senders.
///
/// ```
/// use acqbus::cdtp::{
///     DataRecord, Encoding, MessageKind, PeerId, ReceiverOptions, ReceiverState, RunEvent, Tags, encode_bor, encode_message,
/// };
///
/// let mut state = ReceiverState::new(&ReceiverOptions::default());
/// let bor = encode_bor("Sputnik.One", &Tags::new(), &Tags::new(), Encoding::Compact)?;
/// let data = encode_message("Sputnik.One", MessageKind::Data, &[DataRecord::new(2)], Encoding::Compact)?;
/// state.receive(PeerId(1), bor.into());
///
/// let events = state.receive(PeerId(1), data.into());
/// assert!(matches!(&events[0], RunEvent::Lost(lost) if lost.first == 1 && lost.count == 1));
/// assert!(matches!(&events[1], RunEvent::Record(record) if record.sequence() == 2));
/// # Ok::<(), acqbus::cdtp::CdtpError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ReceiverState {
    senders: Vec<Sender>,
    /// By the name as a sender spells it at present.
    spelled: HashMap<SenderName, usize>,
    /// By the name in lower case, as CHIRP hashes it.
    folded: HashMap<String, usize>,
    sender_limit: usize,
    gap_limit: usize,
    /// Gaps of all open runs, and how many there may be.
    gaps: usize,
    gaps_limit: usize,
    limits: DecodeLimits,
    degraded: bool,
    stats: ReceiverStats,
}

#[derive(Clone, Debug)]
struct Sender {
    name: SenderName,
    state: TransmitterState,
    peer: PeerId,
    run: Run,
}

/// The run of a sender that is open, or its last one.
#[derive(Clone, Debug)]
struct Run {
    numbers: SeenNumbers,
    records: u64,
    bytes: u64,
    faults: u64,
    /// A substitute was told.
    closed: bool,
    /// The connection of its BOR.
    began: PeerId,
    /// Up to this connection, messages belong to a run that this one has replaced.
    replaced: Option<PeerId>,
}

impl ReceiverState {
    /// A state with the listed senders, not connected yet.
    #[must_use]
    pub fn new(options: &ReceiverOptions) -> Self {
        let mut state = Self {
            senders: Vec::new(),
            spelled: HashMap::new(),
            folded: HashMap::new(),
            sender_limit: options.sender_limit.max(1),
            gap_limit: options.gap_limit,
            gaps: 0,
            gaps_limit: options.gaps_limit,
            limits: options.limits,
            degraded: options.degraded,
            stats: ReceiverStats::default(),
        };
        for name in options.senders.iter().flatten() {
            // The caller's list is no input of a peer: the limit is not for it.
            state.find_or_add(name, usize::MAX);
        }
        state
    }

    /// Takes a message of one frame.
    ///
    /// Records refer to the frame; nothing is copied.
    pub fn receive(&mut self, peer: PeerId, frame: Frame) -> Vec<RunEvent> {
        let mut events = Vec::new();
        let mut held = Held::new(SenderName::received(""));
        held.frame = frame;
        let Held { frame, taken } = &mut held;
        let decoded = MessageView::decode(frame, &self.limits);
        if self.handle(peer, decoded, taken, &mut events) {
            events.extend(Unfold::new(held.into()));
        }
        events
    }

    /// Takes a message that has another number of frames than one.
    pub fn receive_frames(&mut self, peer: PeerId, frame_count: usize) -> RunEvent {
        let error = DecodeError::FrameCount {
            what: "the message",
            expected: 1,
            found: frame_count,
        };
        self.stats.messages += 1;
        self.fault_of(peer, FaultKind::Undecodable(error))
    }

    /// Takes that a connection was cut off.
    pub fn cut_off(&mut self, peer: PeerId) -> RunEvent {
        self.fault_of(peer, FaultKind::CutOff)
    }

    /// Ends every open run without its EOR: nobody waits for it any more.
    ///
    /// The states stay as they are, as in the reference. A second call ends nothing.
    pub fn substitute_open_runs(&mut self) -> Vec<RunEvent> {
        let mut events = Vec::new();
        for index in 0..self.senders.len() {
            if self.senders[index].is_open() {
                events.push(self.substitute(index));
            }
        }
        events
    }

    /// Sets whether ends of runs are marked DEGRADED from now on.
    pub fn set_degraded(&mut self, degraded: bool) {
        self.degraded = degraded;
    }

    /// The state of every sender, by its name.
    ///
    /// `sequence` is the highest number seen, `missed` how many below it are missing.
    #[must_use]
    pub fn states(&self) -> BTreeMap<String, TransmitterStateSeq> {
        let state = |sender: &Sender| TransmitterStateSeq {
            state: sender.state,
            sequence: sender.run.numbers.highest(),
            missed: sender.run.numbers.missed(),
        };
        let senders = self.senders.iter();
        senders
            .map(|sender| (sender.name.to_string(), state(sender)))
            .collect()
    }

    /// What has been counted.
    #[must_use]
    pub fn stats(&self) -> ReceiverStats {
        let mut stats = self.stats;
        for sender in self.senders.iter().filter(|sender| sender.is_open()) {
            stats.add_numbers(&sender.run.counts(None));
        }
        stats
    }

    /// The senders whose run is open, with the connection on which each was heard last.
    pub fn open_runs(&self) -> impl Iterator<Item = (&SenderName, PeerId)> {
        let open = self.senders.iter().filter(|sender| sender.is_open());
        open.map(|sender| (&sender.name, sender.peer))
    }

    /// The senders from which nothing has come.
    pub fn silent_senders(&self) -> impl Iterator<Item = &SenderName> {
        let silent = |sender: &&Sender| sender.state == TransmitterState::NotConnected;
        self.senders
            .iter()
            .filter(silent)
            .map(|sender| &sender.name)
    }

    /// Takes a decoded frame. True: it has records to tell, and `taken` says which; else all is in `events`.
    pub(crate) fn handle(
        &mut self,
        peer: PeerId,
        decoded: Result<MessageView<'_>, DecodeError>,
        taken: &mut Taken,
        events: &mut Vec<RunEvent>,
    ) -> bool {
        self.stats.messages += 1;
        let message = match decoded {
            Ok(message) => message,
            Err(error) => {
                events.push(self.fault_of(peer, FaultKind::Undecodable(error)));
                return false;
            }
        };
        let done = match message.kind() {
            MessageKind::Data => match self.data(peer, &message, taken) {
                Ok(()) => return true,
                Err(kind) => Err(kind),
            },
            MessageKind::Bor => self.bor(peer, &message, events),
            MessageKind::Eor => self.eor(peer, &message, events),
        };
        if let Err(kind) = done {
            events.push(self.fault(&message, kind));
        }
        false
    }

    fn data(
        &mut self,
        peer: PeerId,
        message: &MessageView<'_>,
        taken: &mut Taken,
    ) -> Result<(), FaultKind> {
        let bytes = message.payload_bytes();
        // Before any check, as the reference.
        self.stats.bytes += bytes;
        let mut records = message.records();
        let Some(first) = records.clone().next() else {
            return Err(FaultKind::Empty);
        };
        let sender = self
            .find(message.sender())
            .map(|index| &mut self.senders[index])
            .filter(|sender| sender.is_open())
            .ok_or(FaultKind::DataWithoutBor)?;
        if sender.run.is_foreign(peer) {
            return Err(FaultKind::EarlierConnection);
        }
        let count = message.record_count();
        sender.peer = peer;
        sender.run.records += count as u64;
        sender.run.bytes += bytes;
        self.stats.records += count as u64;
        if taken.sender != sender.name {
            taken.sender = sender.name.clone();
        }
        taken.start = first.offset();
        taken.count = count;
        taken.notes.clear();
        taken.notes.shrink_to(KEPT_NOTES);
        let gaps = sender.run.numbers.gaps();
        for index in 0..count {
            let Some(record) = records.next() else { break };
            let seen = sender.run.numbers.see(record.sequence());
            if seen != Seen::Next {
                taken.notes.push(note(index, seen));
            }
        }
        if !taken.notes.is_empty() {
            // No underflow: the gaps of an open run are part of all.
            self.gaps = self.gaps - gaps + sender.run.numbers.gaps();
            let over = self.gaps.saturating_sub(self.gaps_limit);
            self.gaps -= sender.run.numbers.close_lowest(over);
        }
        Ok(())
    }

    fn bor(
        &mut self,
        peer: PeerId,
        message: &MessageView<'_>,
        events: &mut Vec<RunEvent>,
    ) -> Result<(), FaultKind> {
        let limit = self.sender_limit;
        let index = self
            .find_or_add(message.sender(), limit)
            .ok_or(FaultKind::TooManySenders { limit })?;
        let restarted = self.senders[index].is_open();
        let mut replaced = None;
        if restarted {
            let old = &self.senders[index];
            replaced = old
                .run
                .replaced
                .max(Some(old.peer))
                .max(Some(old.run.began));
            events.push(self.substitute(index));
        }
        self.spell(index, message.sender());
        self.stats.runs += 1;
        let sender = &mut self.senders[index];
        sender.state = TransmitterState::BorReceived;
        sender.peer = peer;
        sender.run = Run::new(self.gap_limit);
        sender.run.began = peer;
        sender.run.replaced = replaced;
        let (user_tags, configuration) = message.bor().unwrap_or_default();
        events.push(RunEvent::Bor(Box::new(Bor {
            sender: sender.name.clone(),
            user_tags,
            configuration,
            restarted,
        })));
        Ok(())
    }

    fn eor(
        &mut self,
        peer: PeerId,
        message: &MessageView<'_>,
        events: &mut Vec<RunEvent>,
    ) -> Result<(), FaultKind> {
        let index = self
            .find(message.sender())
            .filter(|index| self.senders[*index].is_open())
            .ok_or(FaultKind::EorWithoutBor)?;
        if self.senders[index].run.is_foreign(peer) {
            return Err(FaultKind::EarlierConnection);
        }
        let (user_tags, mut metadata) = message.eor().unwrap_or_default();
        let announced = Announced::read(&metadata);
        let sender = &mut self.senders[index];
        sender.peer = peer;
        sender.state = TransmitterState::EorReceived;
        let highest = sender.run.numbers.highest();
        if let Some(last) = announced.last()
            && last > highest
        {
            events.push(RunEvent::Lost(Lost {
                sender: sender.name.clone(),
                first: highest + 1,
                count: last - highest,
            }));
        }
        let counts = sender.run.counts(announced.last());
        self.gaps -= sender.run.numbers.forget_gaps();
        let mut flags = self.flags(&counts);
        if announced.differs(highest) {
            flags |= RunCondition::INCOMPLETE;
        }
        self.stats.end_run(&counts);
        events.push(RunEvent::Eor(Box::new(Eor {
            sender: self.senders[index].name.clone(),
            user_tags,
            condition: flags.add_to(&mut metadata),
            metadata,
            counts,
        })));
        Ok(())
    }

    /// The end of a run whose sender does not end it. The run is closed; the state stays, for a caller that wants to see it.
    fn substitute(&mut self, index: usize) -> RunEvent {
        let sender = &mut self.senders[index];
        sender.run.closed = true;
        let counts = sender.run.counts(None);
        self.gaps -= sender.run.numbers.forget_gaps();
        let sender = sender.name.clone();
        let mut metadata = Tags::new();
        let flags = RunCondition::ABORTED | self.flags(&counts);
        self.stats.end_run(&counts);
        self.stats.substitutes += 1;
        RunEvent::Substitute(Box::new(Eor {
            sender,
            user_tags: Tags::new(),
            condition: flags.add_to(&mut metadata),
            metadata,
            counts,
        }))
    }

    /// What the receiver says about a run with these counts.
    fn flags(&self, counts: &RunCounts) -> RunCondition {
        let flag = |set: bool, flag| if set { flag } else { RunCondition::GOOD };
        flag(counts.missed > 0, RunCondition::INCOMPLETE)
            | flag(counts.faults > 0, RunCondition::TAINTED)
            | flag(self.degraded, RunCondition::DEGRADED)
    }

    fn fault(&mut self, message: &MessageView<'_>, kind: FaultKind) -> RunEvent {
        let found = self.find(message.sender());
        let sender = match found {
            Some(index) => self.senders[index].name.clone(),
            None => SenderName::received(message.sender()),
        };
        self.stats.faults += 1;
        RunEvent::Fault(Box::new(Fault {
            sender: Some(sender),
            records: message.record_count() as u64,
            bytes: message.payload_bytes(),
            marked: kind != FaultKind::EarlierConnection
                && found.is_some_and(|index| self.senders[index].mark()),
            kind,
        }))
    }

    /// A fault of whoever sends on this connection: all whose run is open there, which is one as a rule.
    fn fault_of(&mut self, peer: PeerId, kind: FaultKind) -> RunEvent {
        self.stats.faults += 1;
        let mut marked = None;
        for sender in self.senders.iter_mut().filter(|sender| sender.peer == peer) {
            if sender.mark() {
                marked = Some(sender.name.clone());
            }
        }
        RunEvent::Fault(Box::new(Fault {
            marked: marked.is_some(),
            sender: marked,
            kind,
            records: 0,
            bytes: 0,
        }))
    }

    #[inline]
    fn find(&self, name: &str) -> Option<usize> {
        match self.spelled.get(name) {
            Some(index) => Some(*index),
            None => self.folded.get(&fold(name)).copied(),
        }
    }

    fn find_or_add(&mut self, name: &str, limit: usize) -> Option<usize> {
        if let Some(index) = self.find(name) {
            return Some(index);
        }
        if self.senders.len() >= limit {
            return None;
        }
        let index = self.senders.len();
        let own = SenderName::received(name);
        self.folded.insert(fold(name), index);
        self.spelled.insert(own.clone(), index);
        self.senders.push(Sender {
            name: own,
            state: TransmitterState::NotConnected,
            peer: PeerId::default(),
            run: Run::new(self.gap_limit),
        });
        Some(index)
    }

    /// From now on the sender is called as it calls itself.
    fn spell(&mut self, index: usize, name: &str) {
        let sender = &mut self.senders[index];
        if sender.name.as_str() != name {
            self.spelled.remove(&sender.name);
            sender.name = SenderName::received(name);
            self.spelled.insert(sender.name.clone(), index);
        }
    }
}

impl Sender {
    fn is_open(&self) -> bool {
        self.state == TransmitterState::BorReceived && !self.run.closed
    }

    /// Counts a fault in the open run; false if there is none.
    fn mark(&mut self) -> bool {
        let open = self.is_open();
        self.run.faults += u64::from(open);
        open
    }
}

impl Run {
    /// Whether what comes on this connection belongs to an earlier run.
    #[inline]
    fn is_foreign(&self, peer: PeerId) -> bool {
        self.replaced
            .is_some_and(|replaced| peer <= replaced && peer != self.began)
    }

    fn new(gap_limit: usize) -> Self {
        Self {
            numbers: SeenNumbers::new(gap_limit),
            records: 0,
            bytes: 0,
            faults: 0,
            closed: false,
            began: PeerId::default(),
            replaced: None,
        }
    }

    fn counts(&self, announced: Option<u64>) -> RunCounts {
        RunCounts {
            records: self.records,
            bytes: self.bytes,
            missed: self.numbers.missed_of(announced),
            late: self.numbers.late(),
            duplicates: self.numbers.duplicates(),
            faults: self.faults,
            inexact: !self.numbers.is_exact(),
        }
    }
}

/// Notes that a message keeps room for.
const KEPT_NOTES: usize = 1024;

/// The name as CHIRP hashes it.
fn fold(name: &str) -> String {
    name.to_lowercase()
}

#[cold]
fn note(index: usize, seen: Seen) -> Note {
    let (arrival, lost) = match seen {
        Seen::Next => (Arrival::InOrder, (0, 0)),
        Seen::Ahead { first, count } => (Arrival::InOrder, (first, count)),
        Seen::Late => (Arrival::Late, (0, 0)),
        Seen::Duplicate => (Arrival::Duplicate, (0, 0)),
    };
    Note {
        index,
        arrival,
        lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdtp::{DataRecord, Encoding, encode_bor, encode_eor, encode_message};

    const ENCODING: Encoding = Encoding::Compact;

    fn bor(name: &str) -> Frame {
        encode_bor(name, &Tags::new(), &Tags::new(), ENCODING)
            .unwrap()
            .into()
    }

    fn eor(name: &str) -> Frame {
        encode_eor(name, &Tags::new(), &Tags::new(), ENCODING)
            .unwrap()
            .into()
    }

    fn data(name: &str, numbers: impl IntoIterator<Item = u64>) -> Frame {
        let records: Vec<_> = numbers.into_iter().map(DataRecord::new).collect();
        encode_message(name, MessageKind::Data, &records, ENCODING)
            .unwrap()
            .into()
    }

    fn is_of_earlier(events: &[RunEvent]) -> bool {
        matches!(events, [RunEvent::Fault(fault)]
            if fault.kind == FaultKind::EarlierConnection && !fault.marked)
    }

    #[test]
    fn what_an_earlier_connection_still_brings_is_not_part_of_the_new_run() {
        let mut state = ReceiverState::new(&ReceiverOptions::default());
        let (old, new) = (PeerId(1), PeerId(2));
        state.receive(old, bor("a.b"));
        state.receive(old, data("a.b", 1..4));
        state.receive(new, bor("a.b"));
        state.receive(new, data("a.b", [1]));
        assert!(is_of_earlier(&state.receive(old, data("a.b", [4]))));
        assert!(is_of_earlier(&state.receive(old, eor("a.b"))));
        state.receive(new, data("a.b", [2]));
        let end = state.receive(new, eor("a.b"));
        let [RunEvent::Eor(end)] = &end[..] else {
            panic!("{end:?}")
        };
        assert_eq!((end.condition, end.counts.records), (RunCondition::GOOD, 2));
        // Back on the first connection, it begins like any other.
        state.receive(old, bor("a.b"));
        assert!(matches!(
            state.receive(old, data("a.b", [1]))[..],
            [RunEvent::Record(_)]
        ));
    }

    #[test]
    fn a_run_may_go_on_on_another_connection() {
        let mut state = ReceiverState::new(&ReceiverOptions::default());
        for begin in [1, 3] {
            state.receive(PeerId(begin), bor("a.b"));
            assert!(matches!(
                state.receive(PeerId(2), data("a.b", [1]))[..],
                [RunEvent::Record(_)]
            ));
            assert!(matches!(
                state.receive(PeerId(1), eor("a.b"))[..],
                [RunEvent::Eor(_)]
            ));
        }
    }

    #[test]
    fn gaps_of_all_runs_have_one_limit_and_end_with_their_run() {
        let mut state = ReceiverState::new(&ReceiverOptions::default().gaps_limit(10));
        let odd = || (1..200).filter(|number| number % 2 == 0);
        for name in ["a.a", "a.b", "a.c"] {
            state.receive(PeerId(1), bor(name));
            state.receive(PeerId(1), data(name, odd()));
        }
        assert_eq!(state.gaps, 10 + 2, "one of each run is kept");
        let end = state.receive(PeerId(1), eor("a.b"));
        assert!(matches!(&end[..], [RunEvent::Eor(eor)] if eor.counts.missed == 99));
        state.substitute_open_runs();
        assert_eq!(state.gaps, 0);
        assert_eq!(state.states()["a.c"].missed, 99);
        assert_eq!(state.stats().missed, 3 * 99);
    }

    #[test]
    fn a_name_that_is_too_long_is_not_remembered() {
        let mut state = ReceiverState::new(&ReceiverOptions::default());
        let events = state.receive(PeerId(1), bor(&"x".repeat(1025)));
        assert!(matches!(&events[..], [RunEvent::Fault(fault)] if fault.sender.is_none()));
        assert!(state.states().is_empty());
        assert!(matches!(
            state.receive(PeerId(1), bor(&"x".repeat(1024)))[..],
            [RunEvent::Bor(_)]
        ));
    }
}
