//! How the program ends: the exit codes, and the failure that leads to each.

use std::error::Error;
use std::fmt;
use std::io;

use crate::cdtp::CdtpError;
use crate::rpc::{CommandResult, RpcError, chain};

/// The exit codes that a script can rely on; the same for every verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// Everything was done.
    Done = 0,
    /// The peer said that it failed.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// Could not connect or bind.
    Connection = 3,
    /// No answer in time.
    TimedOut = 4,
    /// Refused for want of a key or a right.
    Refused = 5,
    /// Data that cannot be read.
    BadData = 6,
    /// Ended because its terminal went away (SIGHUP).
    HungUp = 129,
    /// Ended by Ctrl-C.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

/// Why a verb ends early: the exit code, what happened, and what to try next.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    text: String,
    hint: Option<String>,
}

impl Exit {
    /// The code for the shell.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    /// What a reply or a result of this kind means for the exit code.
    pub(crate) const fn of_result(result: CommandResult) -> Self {
        match result {
            CommandResult::Success
            | CommandResult::Pending
            | CommandResult::PendingWithNotification => Self::Done,
            _ => Self::Failed,
        }
    }
}

impl Failure {
    /// A failure with a text that names the thing, the value and the limit.
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self {
            exit,
            text: text.into(),
            hint: None,
        }
    }

    /// Wrong usage.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, text)
    }

    /// An end that needs no words: a closed pipe, Ctrl-C.
    pub(crate) fn quiet(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// A failure with the text of an error and of all its causes.
    pub(crate) fn of(exit: Exit, error: &dyn Error) -> Self {
        Self::new(exit, chain(error))
    }

    /// Adds the next step to try.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts what was being done in front of the text.
    #[must_use]
    pub(crate) fn while_doing(mut self, what: impl fmt::Display) -> Self {
        if !self.text.is_empty() {
            self.text = format!("{what}: {}", self.text);
        }
        self
    }

    /// The exit code.
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// Whether there is nothing to say.
    pub(crate) fn is_quiet(&self) -> bool {
        self.text.is_empty()
    }
}

impl fmt::Display for Failure {
    /// One line, and a second one with the next step if there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  try: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<io::Error> for Failure {
    /// A reader that has gone away (`| head -1`) is a normal end.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::quiet(Exit::Done),
            _ => Self::of(Exit::Failed, &error),
        }
    }
}

/// The errors of the wings answer the same questions, of which the first that holds decides.
macro_rules! failure_from {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let exit = if error.is_refused() {
                    Exit::Refused
                } else if error.is_timeout() {
                    Exit::TimedOut
                } else if error.is_connection() {
                    Exit::Connection
                } else if error.is_bad_data() {
                    Exit::BadData
                } else {
                    Exit::Failed
                };
                Self::of(exit, &error)
            }
        }
    )*};
}

failure_from!(RpcError, CdtpError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_contract() {
        let all = [
            (Exit::Done, 0),
            (Exit::Failed, 1),
            (Exit::Usage, 2),
            (Exit::Connection, 3),
            (Exit::TimedOut, 4),
            (Exit::Refused, 5),
            (Exit::BadData, 6),
            (Exit::HungUp, 129),
            (Exit::Interrupted, 130),
            (Exit::Terminated, 143),
        ];
        for (exit, code) in all {
            assert_eq!(exit.code(), code);
        }
    }

    #[test]
    fn every_result_but_success_and_pending_is_a_failure() {
        for (number, exit) in [
            (0, Exit::Failed),
            (100, Exit::Done),
            (200, Exit::Done),
            (201, Exit::Done),
            (400, Exit::Failed),
            (500, Exit::Failed),
            (9999, Exit::Failed),
            (7, Exit::Failed),
        ] {
            assert_eq!(
                Exit::of_result(CommandResult::from_number(number)),
                exit,
                "{number}"
            );
        }
    }

    #[test]
    fn closed_pipe_is_a_quiet_end() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(failure.is_quiet());
        assert_eq!(failure.exit(), Exit::Done);
    }

    #[test]
    fn hint_stands_on_a_line_of_its_own() {
        let failure = Failure::usage("no such thing")
            .with_hint("another")
            .while_doing("here");
        assert_eq!(failure.to_string(), "here: no such thing\n  try: another");
    }
}
