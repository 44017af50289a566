//! Lines from a terminal.

use std::process;
use std::thread;

use crossbeam_channel::{Receiver, bounded};

use crate::cli::console::complete;
use crate::cli::console::session::{Flow, Session};
use crate::cli::editor::{self, Editor, Terminal, Typed};
use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{Colour, note};
use crate::cli::signal::Stop;

/// Reads lines until `quit` or Ctrl-D.
pub(crate) fn run(mut session: Session) -> Result<Exit, Failure> {
    let complete = Box::new(complete::complete);
    let mut editor = Editor::open("acqbus> ", complete, "history", session.out())?;
    let (interrupt, interrupts) = bounded(1);
    let stop = session.listen_to(interrupts.clone());
    sort_signals(stop, move || {
        // A full channel says the same.
        let _ = interrupt.try_send(Exit::Interrupted);
    })?;
    editor.show(session.status());
    let live = session.follow(editor.screen())?;
    session
        .out()
        .line("Tab completes, `help` explains, Ctrl-D ends.")?;
    let exit = read_lines(&mut session, &mut editor, &interrupts);
    drop(live);
    exit
}

fn read_lines(
    session: &mut Session,
    editor: &mut Editor,
    interrupts: &Receiver<Exit>,
) -> Result<Exit, Failure> {
    let mut warned = false;
    loop {
        // One that came when nothing was waited for. Not behind the line: it would be the line's own.
        let _ = interrupts.try_recv();
        let line = match editor.line()? {
            Typed::Line(line) => line,
            Typed::End => {
                if may_end(session, &mut warned) {
                    return Ok(Exit::Done);
                }
                continue;
            }
            Typed::Interrupt => {
                note("Ctrl-D or `quit` ends");
                continue;
            }
            Typed::Dropped => {
                note("the line is dropped");
                continue;
            }
        };
        let confirm = |command: &str| {
            editor.confirm(&format!("{command} changes what the rig does. Send it?"))
        };
        match session.execute(&line, confirm) {
            Ok(Flow::Next) => warned = false,
            Ok(Flow::Quit) => {
                if may_end(session, &mut warned) {
                    return Ok(Exit::Done);
                }
            }
            Err(failure) if failure.is_quiet() => return Err(failure),
            // The terminal has shown `^C` where the line of the failure would begin.
            Err(failure) if failure.exit() == Exit::Interrupted => note(&format!("\n{failure}")),
            Err(failure) => note(&session.out().paint(Colour::Bad, &failure.to_string())),
        }
    }
}

/// Whether nothing is pending, or this was said the last time.
fn may_end(session: &Session, warned: &mut bool) -> bool {
    let pending = session.pending();
    if pending.is_empty() || *warned {
        return true;
    }
    *warned = true;
    note(&format!(
        "still pending: {}\n  try: `wait`; Ctrl-D or `quit` again ends, and what was sent goes on",
        pending.join("; ")
    ));
    false
}

/// Calls `interrupt` at Ctrl-C, and ends the program at any other signal; while a prompt is open, Ctrl-C is none.
///
/// The thread is not joined: it lives as long as the program.
fn sort_signals(stop: Stop, interrupt: impl Fn() + Send + 'static) -> Result<(), Failure> {
    let terminal = Terminal::remember();
    let wait = move || {
        for exit in stop.asked() {
            if exit != Exit::Interrupted || !editor::interrupts_by_signal() {
                drop(terminal);
                process::exit(i32::from(exit.code()));
            }
            interrupt();
        }
    };
    thread::Builder::new()
        .name("acqbus-stop".to_owned())
        .spawn(wait)?;
    Ok(())
}
