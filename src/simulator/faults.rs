//! What a script does to the results of commands.

use std::collections::VecDeque;
use std::time::Duration;

use crate::simulator::script::ScriptAction;

/// The faults that the next results will have, in the order of the script.
///
/// One fault is used up before the next begins; a fault of all results lasts until another is added.
#[derive(Debug, Default)]
pub(crate) struct ResultFaults(VecDeque<(Fate, Option<u32>)>);

/// What becomes of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It comes when it is due.
    Good,
    /// It comes later than it is due.
    Late(Duration),
    /// It never comes.
    Lost,
    /// It comes twice.
    Doubled,
}

impl ResultFaults {
    /// Adds the fault of a script, if it is one of results.
    pub(crate) fn add(&mut self, action: &ScriptAction) {
        let (fate, count) = match *action {
            ScriptAction::LateResults { by, count } => (Fate::Late(by), count),
            ScriptAction::LostResults { count } => (Fate::Lost, count),
            ScriptAction::DoubledResults { count } => (Fate::Doubled, count),
            _ => return,
        };
        if self.0.back().is_some_and(|(_, count)| count.is_none()) {
            self.0.pop_back();
        }
        self.0.push_back((fate, count));
    }

    /// What becomes of the next result.
    pub(crate) fn next(&mut self) -> Fate {
        let Some((fate, count)) = self.0.front_mut() else {
            return Fate::Good;
        };
        let fate = *fate;
        if let Some(count) = count {
            *count -= 1;
            if *count == 0 {
                self.0.pop_front();
            }
        }
        fate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_follow_each_other_and_end() {
        let mut faults = ResultFaults::default();
        let late = Duration::from_secs(2);
        faults.add(&ScriptAction::LateResults {
            by: late,
            count: Some(1),
        });
        faults.add(&ScriptAction::LostResults { count: Some(2) });
        faults.add(&ScriptAction::Restart {
            down: Duration::ZERO,
        });
        let fates: Vec<_> = (0..4).map(|_| faults.next()).collect();
        assert_eq!(
            fates,
            [Fate::Late(late), Fate::Lost, Fate::Lost, Fate::Good]
        );
    }

    #[test]
    fn a_fault_of_all_results_lasts_until_the_next() {
        let mut faults = ResultFaults::default();
        faults.add(&ScriptAction::LostResults { count: None });
        assert!((0..100).all(|_| faults.next() == Fate::Lost));
        faults.add(&ScriptAction::DoubledResults { count: Some(1) });
        assert_eq!((faults.next(), faults.next()), (Fate::Doubled, Fate::Good));
    }
}
