//! Thousands of runs with everything that can happen to their messages, without a socket, against a model that only knows sets.

use std::collections::BTreeSet;

use acqbus::cdtp::{
    Arrival, DataRecord, Encoding, Eor, FaultKind, MessageKind, PeerId, ReceiverOptions,
    ReceiverState, RunCondition, RunCounts, RunEvent, Tags, TransmitterState, Value, encode_bor,
    encode_eor, encode_message,
};

/// A message of one sender, before it is bytes.
#[derive(Clone, Debug)]
enum Message {
    Bor,
    Data(Vec<u64>),
    /// The metadata: condition code, data records.
    Eor(Option<i64>, Option<Value>),
    Junk,
}

/// An event, as far as the model foretells it.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Bor { restarted: bool },
    Record(u64, Arrival),
    Lost(u64, u64),
    Eor(Ended),
    Substitute(Ended),
    Fault(&'static str, bool),
}

#[derive(Clone, Debug, PartialEq)]
struct Ended {
    code: u32,
    records: u64,
    bytes: u64,
    missed: u64,
    late: u64,
    duplicates: u64,
    faults: u64,
}

/// One sender as the model sees it: the numbers of its run are a set.
#[derive(Clone, Default)]
struct Model {
    open: bool,
    begun: bool,
    seen: BTreeSet<u64>,
    records: u64,
    bytes: u64,
    late: u64,
    duplicates: u64,
    faults: u64,
}

#[test]
fn two_thousand_runs_are_counted_and_judged_right_wherever_they_are_cut() {
    let mut runs = 0;
    let mut seed = 0;
    let mut kinds = BTreeSet::new();
    while runs < 2000 {
        let mut chance = Chance(seed);
        let senders = 1 + chance.below(3);
        let mut plans: Vec<Vec<Message>> = (0..senders)
            .map(|_| {
                let own = 1 + chance.below(3);
                runs += own;
                (0..own).flat_map(|_| run(&mut chance)).collect()
            })
            .collect();
        replay(seed, &mut plans, &mut chance, &mut kinds);
        seed += 1;
    }
    // Chance has met everything that the test is for.
    let met: Vec<_> = kinds.iter().copied().collect();
    assert_eq!(
        met,
        [
            "bor",
            "data without bor",
            "duplicate",
            "empty",
            "eor",
            "eor without bor",
            "late",
            "lost",
            "restarted",
            "substitute",
            "undecodable"
        ]
    );
}

/// Feeds the messages of all senders in a random mixture, and stops after each of them.
fn replay(
    seed: u64,
    plans: &mut [Vec<Message>],
    chance: &mut Chance,
    kinds: &mut BTreeSet<&'static str>,
) {
    let mut state = ReceiverState::new(&ReceiverOptions::default());
    let mut models = vec![Model::default(); plans.len()];
    let mut left: Vec<usize> = (0..plans.len()).collect();
    plans.iter_mut().for_each(|plan| plan.reverse());
    while !left.is_empty() {
        let at = chance.below(left.len() as u64) as usize;
        let sender = left[at];
        let Some(message) = plans[sender].pop() else {
            left.swap_remove(at);
            continue;
        };
        let case = format!("seed {seed}, sender {sender}, {message:?}");
        let frame = encode(&name(sender), &message);
        let events = state.receive(PeerId(sender as u64), frame.into());
        let ours: Vec<_> = events.iter().map(told).collect();
        assert_eq!(ours, models[sender].foretell(&message), "{case}");
        let own = |event: &RunEvent| event.sender().is_none_or(|own| own == name(sender));
        assert!(events.iter().all(own), "{case}");
        kinds.extend(ours.iter().filter_map(kind));
        for (index, model) in models.iter().enumerate().filter(|(_, model)| model.begun) {
            let ours = state.states()[&name(index)];
            assert_eq!(ours.state, model.state(), "{case}");
            assert_eq!(
                (ours.sequence, ours.missed),
                (model.highest(), model.missed(0)),
                "{case}"
            );
        }
        let mut cut = state.clone();
        let substitutes = cut.substitute_open_runs();
        let open = models.iter().filter(|model| model.open).count();
        assert_eq!(substitutes.len(), open, "{case}");
        for (index, model) in models.iter().enumerate().filter(|(_, model)| model.open) {
            let is_own = |event: &&RunEvent| event.sender() == Some(&name(index));
            let own = substitutes.iter().find(is_own).map(told);
            let expected = Told::Substitute(model.ended(8, 0, false));
            assert_eq!(own, Some(expected), "{case}");
        }
        assert!(cut.substitute_open_runs().is_empty(), "{case}");
    }
}

/// The messages of a run: lost, doubled, swapped and late records, missing and doubled BOR and EOR, junk.
fn run(chance: &mut Chance) -> Vec<Message> {
    let count = chance.below(30);
    let mut numbers: Vec<u64> = (1..=count).collect();
    // A third of all runs loses nothing.
    if chance.below(3) > 0 {
        numbers.retain(|_| chance.below(10) > 0);
        for _ in 0..chance.below(4) {
            disturb(&mut numbers, chance);
        }
    }
    let mut messages = Vec::new();
    for _ in 0..[1, 1, 1, 1, 0, 2][chance.below(6) as usize] {
        messages.push(Message::Bor);
    }
    let mut rest = &numbers[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at((1 + chance.below(5) as usize).min(rest.len()));
        messages.push(Message::Data(now.to_vec()));
        rest = later;
    }
    for _ in 0..[1, 1, 1, 1, 0, 2][chance.below(6) as usize] {
        let records = match chance.below(6) {
            0 => None,
            1 => Some(Value::Int(count as i64 + 2)),
            2 => Some(Value::Str(count.to_string())),
            3 => Some(Value::Float(count as f64)),
            _ => Some(Value::Int(count as i64)),
        };
        let code = [Some(0), Some(0), Some(5), None][chance.below(4) as usize];
        messages.push(Message::Eor(code, records));
    }
    if chance.below(5) == 0 {
        let odd = [Message::Junk, Message::Data(Vec::new())][chance.below(2) as usize].clone();
        messages.insert(chance.below(messages.len() as u64 + 1) as usize, odd);
    }
    messages
}

fn disturb(numbers: &mut Vec<u64>, chance: &mut Chance) {
    if numbers.len() < 2 {
        return;
    }
    let at = chance.below(numbers.len() as u64 - 1) as usize;
    match chance.below(4) {
        0 => numbers.swap(at, at + 1),
        1 => numbers.insert(at, numbers[at]),
        2 => {
            let late = numbers.remove(at);
            let to = at + chance.below((numbers.len() - at) as u64 + 1) as usize;
            numbers.insert(to, late);
        }
        _ => numbers.insert(at, 0),
    }
}

impl Model {
    fn foretell(&mut self, message: &Message) -> Vec<Told> {
        let fault = |kind, model: &mut Self| {
            model.faults += u64::from(model.open);
            vec![Told::Fault(kind, model.open)]
        };
        match message {
            Message::Junk => fault("undecodable", self),
            Message::Data(numbers) if numbers.is_empty() => fault("empty", self),
            Message::Data(_) if !self.open => fault("data without bor", self),
            Message::Eor(..) if !self.open => fault("eor without bor", self),
            Message::Bor => {
                let restarted = self.open;
                let before = restarted.then(|| Told::Substitute(self.ended(8, 0, false)));
                *self = Self {
                    open: true,
                    begun: true,
                    ..Self::default()
                };
                before
                    .into_iter()
                    .chain([Told::Bor { restarted }])
                    .collect()
            }
            Message::Data(numbers) => numbers
                .iter()
                .flat_map(|number| self.see(*number))
                .collect(),
            Message::Eor(code, records) => {
                self.open = false;
                let announced = match records {
                    Some(Value::Int(number)) => Some(*number as u64),
                    Some(Value::Float(number)) => Some(*number as u64),
                    _ => None,
                };
                let odd = records.is_some() && announced != Some(self.highest());
                let last = announced.unwrap_or(0);
                let code = code.unwrap_or(0) as u32;
                let lost = (last > self.highest())
                    .then(|| Told::Lost(self.highest() + 1, last - self.highest()));
                let end = Told::Eor(self.ended(code, last, odd));
                lost.into_iter().chain([end]).collect()
            }
        }
    }

    fn see(&mut self, number: u64) -> Vec<Told> {
        let highest = self.highest();
        let first = self.seen.is_empty();
        self.records += 1;
        self.bytes += number % 7;
        let mut told = Vec::new();
        let arrival = if !self.seen.insert(number) {
            self.duplicates += 1;
            Arrival::Duplicate
        } else if number > highest || first {
            if number > highest + 1 {
                told.push(Told::Lost(highest + 1, number - highest - 1));
            }
            Arrival::InOrder
        } else {
            self.late += 1;
            Arrival::Late
        };
        told.push(Told::Record(number, arrival));
        told
    }

    fn ended(&self, code: u32, announced: u64, odd: bool) -> Ended {
        let missed = self.missed(announced);
        Ended {
            code: code | u32::from(self.faults > 0) | (u32::from(missed > 0 || odd) << 1),
            records: self.records,
            bytes: self.bytes,
            missed,
            late: self.late,
            duplicates: self.duplicates,
            faults: self.faults,
        }
    }

    fn missed(&self, announced: u64) -> u64 {
        let all = 1..=self.highest().max(announced);
        all.filter(|number| !self.seen.contains(number)).count() as u64
    }

    fn highest(&self) -> u64 {
        self.seen.last().copied().unwrap_or(0)
    }

    fn state(&self) -> TransmitterState {
        if self.open {
            TransmitterState::BorReceived
        } else {
            TransmitterState::EorReceived
        }
    }
}

fn told(event: &RunEvent) -> Told {
    match event {
        RunEvent::Bor(bor) => Told::Bor {
            restarted: bor.restarted,
        },
        RunEvent::Record(record) => {
            assert_eq!(record.payload_bytes(), record.sequence() % 7);
            Told::Record(record.sequence(), record.arrival())
        }
        RunEvent::Lost(lost) => Told::Lost(lost.first, lost.count),
        RunEvent::Eor(eor) => Told::Eor(ended(eor)),
        RunEvent::Substitute(eor) => Told::Substitute(ended(eor)),
        RunEvent::Fault(fault) => {
            let kind = match fault.kind {
                FaultKind::Undecodable(_) => "undecodable",
                FaultKind::Empty => "empty",
                FaultKind::DataWithoutBor => "data without bor",
                FaultKind::EorWithoutBor => "eor without bor",
                ref other => panic!("{other}"),
            };
            Told::Fault(kind, fault.marked)
        }
        other => panic!("an event that the model does not know: {other:?}"),
    }
}

/// What an end says, once its metadata are known to agree with it.
fn ended(eor: &Eor) -> Ended {
    let RunCounts {
        records,
        bytes,
        missed,
        late,
        duplicates,
        faults,
        inexact,
        ..
    } = eor.counts;
    assert!(!inexact);
    let code = eor.condition.bits();
    let sent = eor.metadata.get("condition_code");
    assert!(sent.is_none_or(|sent| *sent == Value::Int(code.into())));
    assert!(sent.is_some() || eor.condition == RunCondition::GOOD);
    if code & 2 != 0 {
        let text = Value::Str(eor.condition.to_string());
        assert_eq!(eor.metadata.get("condition"), Some(&text));
    }
    Ended {
        code,
        records,
        bytes,
        missed,
        late,
        duplicates,
        faults,
    }
}

fn kind(told: &Told) -> Option<&'static str> {
    match told {
        Told::Bor { restarted: true } => Some("restarted"),
        Told::Bor { restarted: false } => Some("bor"),
        Told::Record(_, Arrival::Late) => Some("late"),
        Told::Record(_, Arrival::Duplicate) => Some("duplicate"),
        Told::Record(..) => None,
        Told::Lost(..) => Some("lost"),
        Told::Eor(_) => Some("eor"),
        Told::Substitute(_) => Some("substitute"),
        Told::Fault(kind, _) => Some(kind),
    }
}

fn encode(sender: &str, message: &Message) -> Vec<u8> {
    let none = Tags::new();
    let encoded = match message {
        Message::Junk => return b"junk".to_vec(),
        Message::Bor => encode_bor(sender, &none, &none, Encoding::Compact),
        Message::Data(numbers) => {
            let record =
                |number: &u64| DataRecord::new(*number).with_block(vec![7; (*number % 7) as usize]);
            let records: Vec<_> = numbers.iter().map(record).collect();
            encode_message(sender, MessageKind::Data, &records, Encoding::Compact)
        }
        Message::Eor(code, records) => {
            let mut metadata = Tags::new();
            if let Some(code) = code {
                metadata.insert("condition_code", *code);
            }
            if let Some(records) = records {
                metadata.insert("data_records", records.clone());
            }
            encode_eor(sender, &none, &metadata, Encoding::Compact)
        }
    };
    encoded.expect("a good message")
}

fn name(sender: usize) -> String {
    format!("Simulated.s{sender}")
}

/// A small stream of random numbers (SplitMix64), the same for a seed for ever.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}
