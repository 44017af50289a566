//! SHA-256 of all that was moved, on a thread of its own: a core hashes slower than a core sends.

use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use sha2::{Digest, Sha256};

use crate::cli::exit::{Exit, Failure};

/// Something that holds blocks until they are hashed.
pub(super) trait Blocks: Send + 'static {
    /// Calls `each` with every block, in order.
    fn each(&self, each: &mut dyn FnMut(&[u8]));
}

/// Hashes the blocks of runs, each run for itself and all together; nothing at all when it is turned off.
///
/// Dropping it ends its thread.
pub(super) struct Digests<T> {
    steps: Option<Sender<Step<T>>>,
    thread: Option<JoinHandle<()>>,
}

enum Step<T> {
    Blocks(usize, T),
    Tell(Of, Sender<String>),
}

#[derive(Clone, Copy)]
enum Of {
    Run(usize),
    All,
}

impl<T: Blocks> Digests<T> {
    /// Starts the thread, if anything is to be hashed.
    pub(super) fn start(wanted: bool) -> Result<Self, Failure> {
        if !wanted {
            return Ok(Self {
                steps: None,
                thread: None,
            });
        }
        let (sender, steps) = bounded(QUEUED);
        let thread = thread::Builder::new()
            .name("acqbus-digest".to_owned())
            .spawn(move || work(&steps))?;
        Ok(Self {
            steps: Some(sender),
            thread: Some(thread),
        })
    }

    /// Whether anything is hashed.
    pub(super) const fn is_on(&self) -> bool {
        self.steps.is_some()
    }

    /// Adds blocks to a run, and to the whole. Waits while the thread is behind.
    pub(super) fn add(&self, run: usize, blocks: T) -> Result<(), Failure> {
        let Some(steps) = &self.steps else {
            return Ok(());
        };
        steps
            .send(Step::Blocks(run, blocks))
            .map_err(|_| has_ended())
    }

    /// The digest of a run's blocks, in hexadecimal, after which the run is forgotten; `None` when nothing is hashed.
    pub(super) fn of_run(&self, run: usize) -> Result<Option<String>, Failure> {
        self.tell(Of::Run(run))
    }

    /// The digest of all blocks, in the order in which they were added.
    pub(super) fn of_all(&self) -> Result<Option<String>, Failure> {
        self.tell(Of::All)
    }

    fn tell(&self, of: Of) -> Result<Option<String>, Failure> {
        let Some(steps) = &self.steps else {
            return Ok(None);
        };
        let (sender, digest) = bounded(1);
        steps
            .send(Step::Tell(of, sender))
            .map_err(|_| has_ended())?;
        digest.recv().map(Some).map_err(|_| has_ended())
    }
}

impl<T> Drop for Digests<T> {
    fn drop(&mut self) {
        drop(self.steps.take());
        if let Some(thread) = self.thread.take() {
            // It panics never; there is nobody to tell if it did.
            let _ = thread.join();
        }
    }
}

fn work<T: Blocks>(steps: &Receiver<Step<T>>) {
    let mut state = State::default();
    for step in steps {
        match step {
            Step::Blocks(run, blocks) => blocks.each(&mut |block| state.add(run, block)),
            Step::Tell(of, reply) => {
                let digest = match of {
                    Of::Run(run) => state.end(run),
                    Of::All => state.all(),
                };
                // Whoever asked may have given up.
                let _ = reply.send(hexadecimal(&digest));
            }
        }
    }
}

/// The digests so far. Until a second run comes, the whole is that run, and is hashed once only.
#[derive(Default)]
struct State {
    runs: Vec<(usize, Sha256)>,
    all: Option<Sha256>,
    only: Option<usize>,
}

impl State {
    fn add(&mut self, run: usize, block: &[u8]) {
        self.open(run).update(block);
        if let Some(all) = &mut self.all {
            all.update(block);
        }
    }

    fn end(&mut self, run: usize) -> Sha256 {
        let digest = self.open(run).clone();
        if self.only == Some(run) {
            // It goes on as the whole.
            self.all = Some(digest.clone());
            self.only = None;
        }
        self.runs.retain(|(open, _)| *open != run);
        digest
    }

    fn all(&mut self) -> Sha256 {
        match (&self.all, self.only) {
            (Some(all), _) => all.clone(),
            (None, Some(run)) => self.open(run).clone(),
            (None, None) => Sha256::new(),
        }
    }

    fn open(&mut self, run: usize) -> &mut Sha256 {
        let at = match self.runs.iter().position(|(open, _)| *open == run) {
            Some(at) => at,
            None => {
                match self.only {
                    None if self.all.is_none() => self.only = Some(run),
                    Some(only) => {
                        let first = self.runs.iter().find(|(open, _)| *open == only);
                        self.all = first.map(|(_, digest)| digest.clone());
                        self.only = None;
                    }
                    None => {}
                }
                self.runs.push((run, Sha256::new()));
                self.runs.len() - 1
            }
        };
        &mut self.runs[at].1
    }
}

fn hexadecimal(digest: &Sha256) -> String {
    let bytes = digest.clone().finalize();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn has_ended() -> Failure {
    Failure::new(Exit::Failed, "the thread that hashes has ended")
}

/// Batches that may wait; each is some hundred KiB.
const QUEUED: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    struct Texts(&'static [&'static str]);

    impl Blocks for Texts {
        fn each(&self, each: &mut dyn FnMut(&[u8])) {
            for text in self.0 {
                each(text.as_bytes());
            }
        }
    }

    fn sha256(text: &str) -> Option<String> {
        Some(hexadecimal(&Sha256::new_with_prefix(text)))
    }

    #[test]
    fn digest_is_that_of_all_blocks_in_order() {
        let digests = Digests::start(true).unwrap();
        digests.add(7, Texts(&["a", "b"])).unwrap();
        digests.add(7, Texts(&["", "c"])).unwrap();
        assert_eq!(
            digests.of_all().unwrap().as_deref(),
            // FIPS 180-2, "abc".
            Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        );
        assert_eq!(digests.of_run(7).unwrap(), sha256("abc"));
        assert_eq!(digests.of_all().unwrap(), sha256("abc"));
    }

    #[test]
    fn runs_have_digests_of_their_own() {
        let digests = Digests::start(true).unwrap();
        assert_eq!(digests.of_all().unwrap(), sha256(""));
        digests.add(0, Texts(&["a"])).unwrap();
        digests.add(1, Texts(&["b"])).unwrap();
        digests.add(0, Texts(&["c"])).unwrap();
        assert_eq!(digests.of_run(0).unwrap(), sha256("ac"));
        digests.add(2, Texts(&["d"])).unwrap();
        assert_eq!(digests.of_run(1).unwrap(), sha256("b"));
        assert_eq!(digests.of_run(3).unwrap(), sha256(""));
        assert_eq!(digests.of_run(2).unwrap(), sha256("d"));
        assert_eq!(digests.of_all().unwrap(), sha256("abcd"));
    }

    #[test]
    fn runs_one_after_the_other_add_up() {
        let digests = Digests::start(true).unwrap();
        for (run, text) in [(0, &["a"][..]), (1, &[]), (2, &["b", "c"])] {
            digests.add(run, Texts(text)).unwrap();
            assert_eq!(digests.of_run(run).unwrap(), sha256(&text.concat()));
        }
        assert_eq!(digests.of_all().unwrap(), sha256("abc"));
    }

    #[test]
    fn nothing_is_hashed_when_nobody_wants_it() {
        let digests = Digests::start(false).unwrap();
        digests.add(0, Texts(&["a"])).unwrap();
        assert_eq!(digests.of_run(0).unwrap(), None);
        assert_eq!(digests.of_all().unwrap(), None);
        assert!(!digests.is_on());
    }
}
