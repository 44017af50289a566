//! What came of the golden vectors: how many cases ran, which are wrong, which are answered otherwise on purpose.

use std::fmt::Debug;

use serde_json::Value;

use crate::common::vectors_of;

/// The answers to the cases of a set, with `D` for what is answered otherwise on purpose.
pub(crate) struct Report<D> {
    pub(crate) ran: usize,
    pub(crate) wrong: Vec<String>,
    differences: Vec<(D, String)>,
}

/// A file of a set, and what runs its cases.
pub(crate) type File<D> = (&'static str, fn(&Value, &mut Report<D>));

impl<D: Debug + Ord> Report<D> {
    /// Counts a case; each calls it once.
    pub(crate) fn ran(&mut self) {
        self.ran += 1;
    }

    pub(crate) fn check<T: PartialEq + Debug>(&mut self, case: &str, ours: T, peers: T) {
        if ours != peers {
            self.wrong(case, &format!("\n     ours {ours:?}\n    peers {peers:?}"));
        }
    }

    pub(crate) fn text(&mut self, case: &str, ours: &[u8], peers: &[u8]) {
        self.check(
            case,
            String::from_utf8_lossy(ours),
            String::from_utf8_lossy(peers),
        );
    }

    pub(crate) fn wrong(&mut self, case: &str, why: &str) {
        self.wrong.push(format!("{case}: {why}"));
    }

    pub(crate) fn differs(&mut self, case: &str, difference: D) {
        self.differences.push((difference, case.to_owned()));
    }
}

/// Runs every case of every file of a set that is there, says how many, and fails for a wrong one and for none at all.
pub(crate) fn replay<D: Debug + Ord>(set: &str, files: &[File<D>]) {
    let mut report = Report {
        ran: 0,
        wrong: Vec::new(),
        differences: Vec::new(),
    };
    for (file, run) in files {
        let Some(vectors) = vectors_of(set, file) else {
            println!("{file}: absent");
            continue;
        };
        let before = report.ran;
        run(&vectors, &mut report);
        println!("{file}: {} cases", report.ran - before);
    }
    report.differences.sort();
    for group in report.differences.chunk_by(|left, right| left.0 == right.0) {
        let cases: Vec<&str> = group.iter().map(|(_, case)| case.as_str()).collect();
        println!(
            "otherwise on purpose, {:?}, {} cases: {}",
            group[0].0,
            cases.len(),
            cases.join("; ")
        );
    }
    println!(
        "{} cases, {} answers otherwise on purpose",
        report.ran,
        report.differences.len()
    );
    assert!(
        report.wrong.is_empty(),
        "{} wrong:\n{}",
        report.wrong.len(),
        report.wrong.join("\n")
    );
    assert!(report.ran > 0, "no vectors were found");
}
