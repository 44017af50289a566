//! The thread that follows the bus: it keeps the state and shows what the filters let through.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, never, select, tick};
use parking_lot::Mutex;

use crate::cli::console::state::{Shown, State};
use crate::cli::exit::Failure;
use crate::cli::kinds::Numbering;
use crate::cli::listen::describe;
use crate::cli::print::{Colour, Output};
use crate::cli::screen::Screen;
use crate::cli::show;
use crate::rpc::Subscription;

/// The running thread; ends when dropped.
pub(crate) struct Live {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// How the thread and the console wake each other.
pub(crate) struct Signals {
    /// Gets an item whenever the state is another one.
    pub(crate) changed: Sender<()>,
    /// Has an item when a command was sent.
    pub(crate) begun: Receiver<()>,
}

impl Live {
    /// Starts the thread.
    pub(crate) fn start(
        subscription: Subscription,
        state: Arc<Mutex<State>>,
        screen: Screen,
        out: Output,
        signals: Signals,
    ) -> Result<Self, Failure> {
        let (end, ended) = bounded(0);
        let run = move || follow(&subscription, &state, &screen, out, &signals, &ended);
        let thread = thread::Builder::new()
            .name("acqbus-live".to_owned())
            .spawn(run)?;
        Ok(Self {
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the runtime already.
            let _ = thread.join();
        }
    }
}

fn follow(
    subscription: &Subscription,
    state: &Mutex<State>,
    screen: &Screen,
    out: Output,
    signals: &Signals,
    ended: &Receiver<()>,
) {
    let mut seconds = None;
    loop {
        // The line above the prompt says for how many seconds a command is pending.
        if screen.has_prompt() && state.lock().has_pending() {
            seconds.get_or_insert_with(|| tick(SECOND));
        } else {
            seconds = None;
        }
        let notice = select! {
            recv(ended) -> _ => return,
            recv(signals.begun) -> begun => match begun {
                Ok(()) => continue,
                Err(_) => return,
            },
            recv(seconds.as_ref().unwrap_or(&never())) -> _ => {
                screen.refresh();
                continue;
            }
            recv(subscription.notices()) -> notice => match notice {
                Ok(notice) => notice,
                Err(_) => return,
            },
        };
        let (shown, numbering) = {
            let mut state = state.lock();
            let shown = state.handle(Instant::now(), notice);
            (shown, state.numbering())
        };
        // Shown before anybody is told: a prompt draws it before it closes, and else it is printed now. So whoever
        // waits for a result does not end before it is seen.
        let printed = shown.is_none_or(|shown| print(&shown, numbering, screen, out).is_ok());
        // A full channel says the same.
        let _ = signals.changed.try_send(());
        if !printed {
            return;
        }
    }
}

fn print(shown: &Shown, numbering: Numbering, screen: &Screen, out: Output) -> Result<(), Failure> {
    if out.is_json() {
        return match shown {
            Shown::Message(seen) => out.object(&seen.object(numbering)),
            Shown::Result(result) => out.object(result),
            Shown::Notice(notice) => match describe(notice) {
                Some((object, _)) => out.object(&object),
                None => Ok(()),
            },
        };
    }
    let (text, is_notice) = match shown {
        Shown::Message(seen) => (seen.line(numbering, out), false),
        Shown::Result(result) => (format!("=> {}", show::response_line(result, out)), false),
        Shown::Notice(notice) => match describe(notice) {
            Some((_, text)) => (out.paint(Colour::Notice, &format!("-- {text}")), true),
            None => return Ok(()),
        },
    };
    if is_notice {
        screen.notice(&text);
        Ok(())
    } else {
        screen.line(&text, out)
    }
}

const SECOND: Duration = Duration::from_secs(1);
