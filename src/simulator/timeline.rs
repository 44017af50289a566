//! What happens at a simulated rig by itself: an endless, seeded sequence of sessions, trials and what is between them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::simulator::SimulatedVersion;
use crate::simulator::happening::Happening;
use crate::simulator::random::Random;
use crate::simulator::{scenes, scenes_0_9_7};

/// The events and property changes of a rig, each with its time since the start.
///
/// An iterator that does not end (and gives nothing at a rate of 0). The same seed, rate and version give the same
/// items, times included. Commands do not change it, with one exception, [`Timeline::set_batches`].
///
/// # Examples
/// ```
/// use acqbus::simulator::{SimulatedVersion, Timeline};
///
/// let mut once = Timeline::new(SimulatedVersion::V0_12_0, 10.0, 7);
/// let again = Timeline::new(SimulatedVersion::V0_12_0, 10.0, 7);
/// assert!(once.by_ref().take(100).eq(again.take(100)));
/// ```
#[derive(Debug, Clone)]
pub struct Timeline {
    version: SimulatedVersion,
    gap: Option<f64>,
    at: f64,
    pace: Random,
    scenes: Scenes,
    planned: VecDeque<Happening>,
}

/// One item of a timeline.
#[derive(Debug, Clone, PartialEq)]
pub struct TimelineItem {
    /// When, since the start.
    pub at: Duration,
    /// What.
    pub happening: Happening,
}

#[derive(Debug, Clone)]
enum Scenes {
    V0_9_7(scenes_0_9_7::Scenes),
    V0_12_0(Box<scenes::Scenes>),
}

impl Timeline {
    /// A timeline with so many items a second on average; a rate that is not above 0 gives none.
    #[must_use]
    pub fn new(version: SimulatedVersion, rate: f64, seed: u64) -> Self {
        // Two streams, so that another rate changes the times and nothing else.
        let pace = Random::new(seed ^ 0x7061_6365);
        Self {
            version,
            gap: (rate.is_finite() && rate > 0.0).then(|| 1.0 / rate),
            at: 0.0,
            pace,
            scenes: match version {
                SimulatedVersion::V0_9_7 => Scenes::V0_9_7(scenes_0_9_7::Scenes::new(seed)),
                SimulatedVersion::V0_12_0 => Scenes::V0_12_0(Box::new(scenes::Scenes::new(seed))),
            },
            planned: VecDeque::new(),
        }
    }

    /// The version whose kinds it has.
    #[must_use]
    pub const fn version(&self) -> SimulatedVersion {
        self.version
    }

    /// Says whether sessions that start later may analyse their trials in batches.
    ///
    /// They may, unless told otherwise.
    pub fn set_batches(&mut self, are_enabled: bool) {
        if let Scenes::V0_12_0(scenes) = &mut self.scenes {
            scenes.are_batches_enabled = are_enabled;
        }
    }

    fn plan(&mut self) {
        let next = match &mut self.scenes {
            Scenes::V0_9_7(scenes) => scenes.play(),
            Scenes::V0_12_0(scenes) => scenes.play(),
        };
        self.planned.extend(next);
    }
}

impl Iterator for Timeline {
    type Item = TimelineItem;

    fn next(&mut self) -> Option<TimelineItem> {
        let gap = self.gap?;
        if self.planned.is_empty() {
            self.plan();
        }
        let happening = self.planned.pop_front()?;
        self.at += gap * self.pace.float(0.5, 1.5);
        let at = Duration::try_from_secs_f64(self.at).ok()?;
        Some(TimelineItem { at, happening })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rpc::EventKind;
    use crate::simulator::Rig;

    #[test]
    fn the_same_seed_gives_the_same_stream() {
        for version in VERSIONS {
            let stream = |seed| Timeline::new(version, 50.0, seed).take(3000);
            assert!(stream(7).eq(stream(7)), "{version}");
            assert!(!stream(7).eq(stream(8)), "{version}");
        }
    }

    #[test]
    fn another_rate_changes_the_times_only() {
        let happenings = |rate| {
            let timeline = Timeline::new(SimulatedVersion::V0_12_0, rate, 7);
            timeline
                .take(500)
                .map(|item| item.happening)
                .collect::<Vec<_>>()
        };
        assert_eq!(happenings(1.0), happenings(1000.0));
    }

    #[test]
    fn every_kind_of_the_version_appears() {
        for version in VERSIONS {
            let mut rig = Rig::new(version);
            let seen: BTreeSet<_> = Timeline::new(version, 1000.0, 3)
                .take(10_000)
                .filter_map(|item| match item.happening {
                    Happening::Event(occurrence) => Some(rig.admit(occurrence)?.kind.number()),
                    Happening::Property(_) => None,
                })
                .collect();
            let all: BTreeSet<_> = version.kinds().into_iter().map(EventKind::number).collect();
            assert_eq!(
                all.difference(&seen).collect::<Vec<_>>(),
                Vec::<&i64>::new(),
                "{version}"
            );
            assert_eq!(
                seen.difference(&all).collect::<Vec<_>>(),
                Vec::<&i64>::new(),
                "{version}"
            );
        }
    }

    #[test]
    fn items_come_in_order_at_the_rate() {
        let items: Vec<_> = Timeline::new(SimulatedVersion::V0_12_0, 100.0, 1)
            .take(1000)
            .collect();
        assert!(items.windows(2).all(|pair| pair[0].at < pair[1].at));
        let seconds = items[999].at.as_secs_f64();
        assert!(
            (9.0..11.0).contains(&seconds),
            "1000 items at 100/s took {seconds} s"
        );
    }

    #[test]
    fn a_rate_that_is_not_above_zero_gives_nothing() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(
                Timeline::new(SimulatedVersion::V0_12_0, rate, 1).next(),
                None
            );
        }
    }

    #[test]
    fn a_session_starts_before_its_trials_and_ends_after_them() {
        let mut open = None;
        for item in Timeline::new(SimulatedVersion::V0_12_0, 10.0, 5).take(5000) {
            let Happening::Event(occurrence) = item.happening else {
                continue;
            };
            let session = occurrence
                .context
                .as_ref()
                .and_then(|context| context.get("sessionId"));
            match occurrence.kind {
                EventKind::SessionStarted => assert_eq!(open.replace(session.cloned()), None),
                EventKind::SessionEnded => assert_eq!(open.take(), Some(session.cloned())),
                EventKind::TrialStarted | EventKind::TrialEnded => {
                    assert_eq!(open, Some(session.cloned()));
                }
                _ => {}
            }
        }
    }

    #[test]
    fn without_batches_no_analysis_is_deferred() {
        let mut timeline = Timeline::new(SimulatedVersion::V0_12_0, 10.0, 5);
        timeline.set_batches(false);
        let kinds = timeline.take(5000).filter_map(|item| match item.happening {
            Happening::Event(occurrence) => Some(occurrence.kind),
            Happening::Property(_) => None,
        });
        assert!(
            kinds
                .into_iter()
                .all(|kind| kind != EventKind::BatchAnalysisStarted)
        );
    }

    const VERSIONS: [SimulatedVersion; 2] = [SimulatedVersion::V0_9_7, SimulatedVersion::V0_12_0];
}
