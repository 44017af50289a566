//! How a figure is taken: in turns, by median, on the cores that were asked for.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::exit::{Exit, Failure};

/// How much is measured.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) runs: u32,
    pub(super) quick: bool,
    /// Has the reference.
    pub(super) python: Option<PathBuf>,
    /// Where files are written; `None` is the system's folder for temporary ones.
    pub(super) dir: Option<PathBuf>,
    /// How much is in a store; `None` is as much as the targets say.
    pub(super) events: Option<u64>,
}

impl Plan {
    /// One of two sizes.
    pub(super) fn choose<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Measures ours and the raw engine in turns, so that what else the machine does meets both alike.
    pub(super) fn alternate<T>(
        &self,
        mut ours: impl FnMut() -> Result<T, Failure>,
        mut raw: impl FnMut() -> Result<T, Failure>,
    ) -> Result<Sides<T>, Failure> {
        let mut sides = Sides {
            ours: Vec::new(),
            raw: Vec::new(),
        };
        for run in 0..self.runs {
            if run % 2 == 0 {
                sides.ours.push(ours()?);
                sides.raw.push(raw()?);
            } else {
                sides.raw.push(raw()?);
                sides.ours.push(ours()?);
            }
        }
        Ok(sides)
    }
}

/// What was measured in turns, run by run.
pub(super) struct Sides<T> {
    ours: Vec<T>,
    raw: Vec<T>,
}

impl<T> Sides<T> {
    /// The medians of a figure over the runs: ours and raw.
    pub(super) fn medians(&self, figure: impl Fn(&T) -> f64) -> (f64, f64) {
        let of = |runs: &[T]| median(runs.iter().map(&figure).collect());
        (of(&self.ours), of(&self.raw))
    }
}

/// Durations of one run, in order.
#[derive(Clone, Debug)]
pub(super) struct Samples(Vec<Duration>);

impl Samples {
    pub(super) fn new(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self(durations)
    }

    /// All of them.
    pub(super) fn into_durations(self) -> Vec<Duration> {
        self.0
    }

    /// The duration below which this part (0 to 1) of the samples lies, in microseconds.
    pub(super) fn micros(&self, part: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let at = ((last as f64) * part).round() as usize;
        self.0
            .get(at)
            .map_or(f64::NAN, |duration| duration.as_nanos() as f64 / 1000.0)
    }
}

/// The middle value; the mean of the two middle ones where their number is even.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[half],
        _ => f64::midpoint(values[half - 1], values[half]),
    }
}

/// Where a measurement may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pinning {
    /// All threads on one core.
    OneCore,
    /// Wherever the system puts them.
    Free,
}

impl Pinning {
    /// Runs on a fresh thread; every thread that it starts, libzmq's included, inherits the pinning.
    pub(super) fn run<T: Send>(
        self,
        measure: impl FnOnce() -> Result<T, Failure> + Send,
    ) -> Result<T, Failure> {
        thread::scope(|scope| {
            let measuring = scope.spawn(move || {
                if self == Self::OneCore {
                    pin_to_one_core()?;
                }
                measure()
            });
            measuring
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// Whether this system can pin threads.
pub(super) const CAN_PIN: bool = cfg!(target_os = "linux");

#[cfg(target_os = "linux")]
fn pin_to_one_core() -> Result<(), Failure> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let failed = |errno: rustix::io::Errno| {
        Failure::of(Exit::Failed, &std::io::Error::from(errno)).while_doing("pinning to one core")
    };
    let allowed = sched_getaffinity(None).map_err(failed)?;
    // The last one: the first serves most interrupts.
    let core = (0..CpuSet::MAX_CPU)
        .rev()
        .find(|core| allowed.is_set(*core));
    let mut one = CpuSet::new();
    one.set(core.unwrap_or(0));
    sched_setaffinity(None, &one).map_err(failed)
}

#[cfg(not(target_os = "linux"))]
fn pin_to_one_core() -> Result<(), Failure> {
    Err(Failure::new(
        Exit::Failed,
        "this system cannot pin a thread to a core",
    ))
}

/// Calls `step` so often and gives how long each call took.
pub(super) fn time_each(
    count: usize,
    mut step: impl FnMut() -> Result<(), Failure>,
) -> Result<Samples, Failure> {
    let mut durations = Vec::with_capacity(count);
    for _ in 0..count {
        let begin = Instant::now();
        step()?;
        durations.push(begin.elapsed());
    }
    Ok(Samples::new(durations))
}

/// Sleeps until a moment, to keep a pace.
pub(super) fn sleep_until(when: Instant) {
    let left = when.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        thread::sleep(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let samples = Samples::new((1..=101).rev().map(Duration::from_micros).collect());
        assert_eq!(samples.micros(0.0), 1.0);
        assert_eq!(samples.micros(0.5), 51.0);
        assert_eq!(samples.micros(0.99), 100.0);
        assert_eq!(samples.micros(1.0), 101.0);
    }

    #[test]
    fn median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn sides_take_turns() {
        let plan = Plan {
            runs: 4,
            quick: true,
            python: None,
            dir: None,
            events: None,
        };
        let order = std::cell::RefCell::new(String::new());
        let note = |side| {
            order.borrow_mut().push(side);
            Ok(1.0)
        };
        let sides = plan
            .alternate(|| note('o'), || note('r'))
            .expect("no failure");
        assert_eq!(*order.borrow(), "orroorro");
        assert_eq!(sides.medians(|figure| *figure), (1.0, 1.0));
    }
}
