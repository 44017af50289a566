//! Lines from anything but a terminal: no prompt, no questions, and an exit code at the end.

use std::io;

use crossbeam_channel::{Receiver, select};

use crate::cli::console::session::{Flow, Session};
use crate::cli::exit::{Exit, Failure};
use crate::cli::input;
use crate::cli::print::note;
use crate::cli::screen::Screen;

/// Runs all lines and waits for what is pending; the exit code is that of the worst.
pub(crate) fn run(mut session: Session) -> Result<Exit, Failure> {
    let lines = input::lines(|line| line)?;
    let live = session.follow(Screen::Streams)?;
    let outcome = take_lines(&mut session, &lines);
    drop(live);
    outcome?;
    Ok(session.worst())
}

fn take_lines(session: &mut Session, lines: &Receiver<io::Result<String>>) -> Result<(), Failure> {
    loop {
        let line = select! {
            recv(lines) -> line => line,
            recv(session.stop().asked()) -> exit => return Err(Failure::quiet(exit.unwrap_or(Exit::Interrupted))),
        };
        let Ok(line) = line else { break };
        let line = line.map_err(|error| {
            Failure::new(
                Exit::BadData,
                format!("standard input cannot be read: {error}"),
            )
        })?;
        match session.execute(&line, unasked) {
            Ok(Flow::Next) => {}
            Ok(Flow::Quit) => break,
            Err(failure) => complain(session, failure)?,
        }
    }
    match session.wait_for_pending() {
        Ok(()) => Ok(()),
        Err(failure) => complain(session, failure),
    }
}

/// The next line may still succeed; only a closed output or Ctrl-C ends it all.
fn complain(session: &Session, failure: Failure) -> Result<(), Failure> {
    if failure.exit() == Exit::Interrupted {
        return Err(Failure::quiet(Exit::Interrupted));
    }
    if failure.is_quiet() {
        return Err(failure);
    }
    note(&format!("acqbus: {failure}"));
    session.failed(&failure);
    Ok(())
}

fn unasked(command: &str) -> Result<bool, Failure> {
    Err(Failure::usage(format!(
        "{command} wants a confirmation, and there is no terminal to ask at"
    ))
    .with_hint("--yes, which sends it without asking"))
}
