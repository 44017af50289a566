//! Lines from a terminal.

use crate::cli::console::complete;
use crate::cli::console::session::{Flow, Session};
use crate::cli::editor::{Editor, Typed};
use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{Colour, note};

/// Reads lines until `quit`, Ctrl-D or Ctrl-C.
pub(crate) fn run(mut session: Session) -> Result<Exit, Failure> {
    let complete = Box::new(complete::complete);
    let mut editor = Editor::open("acqbus> ", complete, "history", session.out())?;
    let live = session.follow(editor.printer()?)?;
    session
        .out()
        .line("Tab completes, `help` explains, Ctrl-D ends.")?;
    let exit = read_lines(&mut session, &mut editor);
    drop(live);
    exit
}

fn read_lines(session: &mut Session, editor: &mut Editor) -> Result<Exit, Failure> {
    loop {
        // Ctrl-C between two prompts comes as a signal, not as a key.
        if session.stop().asked().try_recv().is_ok() {
            return Ok(Exit::Interrupted);
        }
        let line = match editor.line()? {
            Typed::Line(line) => line,
            Typed::End => return Ok(Exit::Done),
            Typed::Interrupt => return Ok(Exit::Interrupted),
        };
        let confirm = |command: &str| {
            editor.confirm(&format!("{command} changes what the rig does. Send it?"))
        };
        match session.execute(&line, confirm) {
            Ok(Flow::Next) => {}
            Ok(Flow::Quit) => return Ok(Exit::Done),
            Err(failure) if failure.is_quiet() => return Err(failure),
            Err(failure) => note(&session.out().paint(Colour::Bad, &failure.to_string())),
        }
    }
}
