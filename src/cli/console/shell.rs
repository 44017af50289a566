//! Lines from a terminal.

use std::process;
use std::thread;

use crate::cli::console::complete;
use crate::cli::console::session::{Flow, Session};
use crate::cli::editor::{Editor, Terminal, Typed};
use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{Colour, note};

/// Reads lines until `quit`, Ctrl-D or Ctrl-C.
pub(crate) fn run(mut session: Session) -> Result<Exit, Failure> {
    let complete = Box::new(complete::complete);
    let mut editor = Editor::open("acqbus> ", complete, "history", session.out())?;
    end_on_signal(&session)?;
    editor.show(session.status());
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

/// A signal, or Ctrl-C between two prompts, ends the console even while the prompt waits for a person.
///
/// The thread is not joined: it lives as long as the program.
fn end_on_signal(session: &Session) -> Result<(), Failure> {
    let terminal = Terminal::remember();
    let stop = session.stop().clone();
    let wait = move || {
        if let Ok(exit) = stop.asked().recv() {
            drop(terminal);
            process::exit(i32::from(exit.code()));
        }
    };
    thread::Builder::new()
        .name("acqbus-stop".to_owned())
        .spawn(wait)?;
    Ok(())
}
