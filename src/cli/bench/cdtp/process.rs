//! Another process: started, spoken to by lines on its standard output, ended when dropped.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::str::FromStr;

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};

use crate::cli::bench::PATIENCE;
use crate::cli::bench::raw::{loopback, silent, spawn};
use crate::cli::exit::{Exit, Failure};
use crate::zsocket::Endpoint;

/// A running process.
pub(super) struct Process {
    child: Child,
    /// Closed by the system however this process ends, which the other one takes for its own end.
    _alive: Option<ChildStdin>,
    lines: Receiver<String>,
    name: String,
}

impl Process {
    /// Starts this program again with arguments behind `bench cdtp-peer`.
    pub(super) fn of_this_program(
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["bench", "cdtp-peer"])
            .args(args)
            .stderr(Stdio::inherit());
        Self::start(command, "the other process")
    }

    /// Starts a process; `name` stands for it in errors.
    pub(super) fn start(mut command: Command, name: impl Into<String>) -> Result<Self, Failure> {
        let name = name.into();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::of(Exit::Failed, &error).while_doing(&name))?;
        let (sender, lines) = unbounded();
        if let Some(stdout) = child.stdout.take() {
            spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            })?;
        }
        Ok(Self {
            _alive: child.stdin.take(),
            child,
            lines,
            name,
        })
    }

    /// The next line, as figures that are apart by blanks.
    pub(super) fn figures<const N: usize, T: FromStr>(&self) -> Result<[T; N], Failure> {
        let line = match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Err(silent(&self.name)),
            Err(RecvTimeoutError::Disconnected) => {
                let text = format!("{} has ended", self.name);
                return Err(Failure::new(Exit::Failed, text));
            }
        };
        let figures: Vec<T> = line
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        figures.try_into().map_err(|_| {
            let text = format!("{} says `{line}`, not {N} figures", self.name);
            Failure::new(Exit::Failed, text)
        })
    }

    /// Where the process is bound, which it says in its first line.
    pub(super) fn endpoint(&self) -> Result<Endpoint, Failure> {
        let [port] = self.figures()?;
        loopback(port)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What it had to say was said; both fail when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
