//! What a run is at its end, and where a transmitter is in it.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

use crate::cdtp::tags::Tags;
use crate::cdtp::timestamp::Timestamp;
use crate::cdtp::value::Value;

/// How a run went: flags, of which none means good.
///
/// Bits that are not known are kept, and written as their number. Source: CDTP2, run metadata; text as ConstellationDAQ 1.0.2.
///
/// ```
/// use acqbus::cdtp::RunCondition;
///
/// let condition = RunCondition::TAINTED | RunCondition::INCOMPLETE;
/// assert!(condition.contains(RunCondition::TAINTED) && !condition.is_good());
/// assert_eq!(condition.to_string(), "TAINTED|INCOMPLETE");
/// assert_eq!(RunCondition::from_bits(66).to_string(), "INCOMPLETE|64");
/// assert_eq!(RunCondition::default().to_string(), "GOOD");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RunCondition(u32);

impl RunCondition {
    /// Nothing to say against it.
    pub const GOOD: Self = Self(0);
    /// Someone marked the data as not to be trusted.
    pub const TAINTED: Self = Self(1);
    /// Records are missing.
    pub const INCOMPLETE: Self = Self(2);
    /// It was ended from outside.
    pub const INTERRUPTED: Self = Self(4);
    /// It was ended by a failure.
    pub const ABORTED: Self = Self(8);
    /// A participant of the measurement was not there all the time.
    pub const DEGRADED: Self = Self(16);

    /// The condition of these bits, whether known or not.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits, as `condition_code` has them.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all flags of another are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no flag is set.
    #[must_use]
    pub const fn is_good(self) -> bool {
        self.0 == 0
    }

    /// Adds these flags to the metadata of a run; gives the condition that it then has.
    ///
    /// Without a flag the metadata stays as it is. With one, `condition_code` and `condition` are set, where they are or at the
    /// end. A code that is not an integer counts as 0 (as in C++; Python dies of it). Source: facts of ConstellationDAQ 1.0.2.
    ///
    /// ```
    /// use acqbus::cdtp::{RunCondition, Tags, Value};
    ///
    /// let mut metadata = Tags::new().with("condition_code", 1).with("condition", "TAINTED");
    /// let condition = RunCondition::INCOMPLETE.add_to(&mut metadata);
    /// assert_eq!(condition, RunCondition::TAINTED | RunCondition::INCOMPLETE);
    /// assert_eq!(metadata.get("condition"), Some(&Value::from("TAINTED|INCOMPLETE")));
    /// ```
    pub fn add_to(self, metadata: &mut Tags) -> Self {
        let sent = match metadata.get(CODE) {
            Some(Value::Int(code)) => u32::try_from(*code).unwrap_or(0),
            _ => 0,
        };
        let condition = Self(sent) | self;
        if !self.is_good() {
            metadata.insert(CODE, condition.bits());
            metadata.insert(TEXT, condition.to_string());
        }
        condition
    }
}

impl BitOr for RunCondition {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for RunCondition {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// The names of the flags, as people read them.
impl fmt::Debug for RunCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunCondition({self})")
    }
}

impl fmt::Display for RunCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_good() {
            return f.write_str("GOOD");
        }
        let mut rest = self.0;
        let mut separator = "";
        for (flag, name) in NAMES {
            if self.contains(flag) {
                write!(f, "{separator}{name}")?;
                separator = "|";
                rest &= !flag.0;
            }
        }
        if rest != 0 {
            write!(f, "{separator}{rest}")?;
        }
        Ok(())
    }
}

/// What the end of a run says about it: the second tags of an EOR message.
///
/// Each is `None` where the sender did not say it, or not in the kind of value that it should be; then it is in
/// [`RunMetadata::other`]. Source: CDTP2 and ConstellationDAQ 1.0.2.
///
/// ```
/// use acqbus::cdtp::{RunCondition, RunMetadata};
///
/// let metadata = RunMetadata::default().run_id("night_7").condition(RunCondition::GOOD).data_records(1_000);
/// let tags = metadata.to_tags();
/// assert_eq!(tags.get("condition").and_then(|text| text.as_str()), Some("GOOD"));
/// assert_eq!(RunMetadata::from_tags(&tags), metadata);
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunMetadata {
    /// Version of the sending program; of the framework, before Constellation 1.0.
    pub version: Option<String>,
    /// Version of the framework.
    pub cnstln_version: Option<String>,
    /// Code name of the framework's version.
    pub cnstln_codename: Option<String>,
    /// Version of the framework with its code name, before Constellation 1.0.
    pub version_full: Option<String>,
    /// The name of the run: letters, digits, `_` and `-`.
    pub run_id: Option<String>,
    /// Just before the BOR message.
    pub time_start: Option<Timestamp>,
    /// The licence of the data; "ODC-By-1.0" where a satellite is not told otherwise.
    pub license: Option<String>,
    /// Just before the EOR message.
    pub time_end: Option<Timestamp>,
    /// How the run went; both `condition_code` and its text.
    pub condition: Option<RunCondition>,
    /// The last sequence number drawn, which is the number of records if none was thrown away.
    pub data_records: Option<u64>,
    /// Everything else.
    pub other: Tags,
}

impl RunMetadata {
    /// Sets [`RunMetadata::version`].
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Sets [`RunMetadata::run_id`].
    #[must_use]
    pub fn run_id(mut self, run_id: impl Into<String>) -> Self {
        self.run_id = Some(run_id.into());
        self
    }

    /// Sets [`RunMetadata::time_start`].
    #[must_use]
    pub fn time_start(mut self, time_start: Timestamp) -> Self {
        self.time_start = Some(time_start);
        self
    }

    /// Sets [`RunMetadata::license`].
    #[must_use]
    pub fn license(mut self, license: impl Into<String>) -> Self {
        self.license = Some(license.into());
        self
    }

    /// Sets [`RunMetadata::time_end`].
    #[must_use]
    pub fn time_end(mut self, time_end: Timestamp) -> Self {
        self.time_end = Some(time_end);
        self
    }

    /// Sets [`RunMetadata::condition`].
    #[must_use]
    pub fn condition(mut self, condition: RunCondition) -> Self {
        self.condition = Some(condition);
        self
    }

    /// Sets [`RunMetadata::data_records`].
    #[must_use]
    pub fn data_records(mut self, data_records: u64) -> Self {
        self.data_records = Some(data_records);
        self
    }

    /// Sets [`RunMetadata::other`].
    #[must_use]
    pub fn other(mut self, other: Tags) -> Self {
        self.other = other;
        self
    }

    /// The metadata as tags, keys in Python's order, the others last.
    #[must_use]
    pub fn to_tags(&self) -> Tags {
        let text = |text: &Option<String>| text.clone().map(Value::Str);
        let condition = self.condition;
        let entries = [
            ("version", text(&self.version)),
            ("cnstln_version", text(&self.cnstln_version)),
            ("cnstln_codename", text(&self.cnstln_codename)),
            ("version_full", text(&self.version_full)),
            ("run_id", text(&self.run_id)),
            ("time_start", self.time_start.map(Value::Time)),
            ("license", text(&self.license)),
            ("time_end", self.time_end.map(Value::Time)),
            (CODE, condition.map(|condition| condition.bits().into())),
            (
                TEXT,
                condition.map(|condition| condition.to_string().into()),
            ),
            ("data_records", self.data_records.map(Value::from)),
        ];
        let mut tags: Tags = entries
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect();
        tags.extend(self.other.clone());
        tags
    }

    /// Reads the metadata from tags; nothing is lost but the order.
    #[must_use]
    pub fn from_tags(tags: &Tags) -> Self {
        let mut other = tags.clone();
        let mut metadata = Self {
            version: take(&mut other, "version", owned),
            cnstln_version: take(&mut other, "cnstln_version", owned),
            cnstln_codename: take(&mut other, "cnstln_codename", owned),
            version_full: take(&mut other, "version_full", owned),
            run_id: take(&mut other, "run_id", owned),
            time_start: take(&mut other, "time_start", Value::as_time),
            license: take(&mut other, "license", owned),
            time_end: take(&mut other, "time_end", Value::as_time),
            condition: take(&mut other, CODE, |code| {
                u32::try_from(code.as_u64()?).ok().map(RunCondition)
            }),
            data_records: take(&mut other, "data_records", Value::as_u64),
            other: Tags::new(),
        };
        if let Some(condition) = metadata.condition {
            let text = condition.to_string();
            // The text is made from the code; another text is kept as it is.
            take(&mut other, TEXT, |value| {
                (value.as_str() == Some(&text)).then_some(())
            });
        }
        metadata.other = other;
        metadata
    }
}

/// Where a transmitter is, the same at both ends.
///
/// Source: ConstellationDAQ 1.0.2.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TransmitterState {
    /// No run was begun, or a BOR or EOR message did not get through.
    #[default]
    NotConnected = 1,
    /// In a run.
    BorReceived = 2,
    /// Behind a run.
    EorReceived = 3,
}

impl TransmitterState {
    /// The number that the references give it.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for TransmitterState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotConnected => "NOT_CONNECTED",
            Self::BorReceived => "BOR_RECEIVED",
            Self::EorReceived => "EOR_RECEIVED",
        })
    }
}

/// What a receiver knows of a transmitter.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransmitterStateSeq {
    /// Where it is.
    pub state: TransmitterState,
    /// The number of the last record that came.
    pub sequence: u64,
    /// Records that are missing.
    pub missed: u64,
}

impl TransmitterStateSeq {
    /// What is known, of all three.
    #[must_use]
    pub fn new(state: TransmitterState, sequence: u64, missed: u64) -> Self {
        Self {
            state,
            sequence,
            missed,
        }
    }
}

/// Takes a value out of tags if it is of the wanted kind.
fn take<T>(tags: &mut Tags, key: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
    let found = tags.get(key).and_then(read)?;
    tags.remove(key);
    Some(found)
}

fn owned(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

const NAMES: [(RunCondition, &str); 5] = [
    (RunCondition::TAINTED, "TAINTED"),
    (RunCondition::INCOMPLETE, "INCOMPLETE"),
    (RunCondition::INTERRUPTED, "INTERRUPTED"),
    (RunCondition::ABORTED, "ABORTED"),
    (RunCondition::DEGRADED, "DEGRADED"),
];

const CODE: &str = "condition_code";
const TEXT: &str = "condition";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_named_in_rising_order() {
        assert_eq!(
            RunCondition::from_bits(31).to_string(),
            "TAINTED|INCOMPLETE|INTERRUPTED|ABORTED|DEGRADED"
        );
        assert_eq!(
            RunCondition::from_bits(10).to_string(),
            "INCOMPLETE|ABORTED"
        );
        assert_eq!(RunCondition::from_bits(96).to_string(), "96");
        let two = format!("{:?}", RunCondition::from_bits(3));
        assert_eq!(two, "RunCondition(TAINTED|INCOMPLETE)");
    }

    #[test]
    fn no_flag_leaves_the_metadata_as_sent() {
        let sent = Tags::new().with("condition_code", Value::Str("8".into()));
        let mut metadata = sent.clone();
        let condition = RunCondition::GOOD.add_to(&mut metadata);
        assert_eq!(condition, RunCondition::GOOD);
        assert_eq!(metadata, sent);
    }

    #[test]
    fn flags_join_those_that_were_sent() {
        let mut metadata = Tags::new()
            .with("condition_code", 0x45)
            .with("condition", "TAINTED|INTERRUPTED|64");
        RunCondition::INCOMPLETE.add_to(&mut metadata);
        let expected = Tags::new()
            .with("condition_code", 0x47)
            .with("condition", "TAINTED|INCOMPLETE|INTERRUPTED|64");
        assert_eq!(metadata, expected);
    }

    #[test]
    fn a_code_that_is_no_integer_is_replaced() {
        for odd in [Value::Str("x".into()), Value::Int(-1), Value::Nil] {
            let mut metadata = Tags::new().with("condition_code", odd);
            RunCondition::INCOMPLETE.add_to(&mut metadata);
            assert_eq!(metadata.get("condition_code"), Some(&Value::Int(2)));
        }
    }

    #[test]
    fn metadata_keeps_what_it_does_not_understand() {
        let tags = Tags::new()
            .with("mine", 1)
            .with("run_id", 7)
            .with("condition_code", "GOOD")
            .with("condition", "GOOD")
            .with("data_records", -1);
        let metadata = RunMetadata::from_tags(&tags);
        assert_eq!(metadata.other, tags);
        assert_eq!(metadata.to_tags(), tags);
    }

    #[test]
    fn another_text_than_that_of_the_code_is_kept() {
        let tags = Tags::new().with("condition_code", 64).with("condition", "");
        let metadata = RunMetadata::from_tags(&tags);
        assert_eq!(metadata.condition, Some(RunCondition::from_bits(64)));
        assert_eq!(metadata.to_tags(), tags);
    }
}
