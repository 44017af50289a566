//! Does what a line asks, whoever typed it.

use std::io::stdout;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, at, bounded, select};
use parking_lot::Mutex;
use rustix::termios::tcgetwinsize;
use serde_json::json;

use crate::cli::args::Bus;
use crate::cli::bus::{self, Patience};
use crate::cli::console::line::{self, Action, Typed};
use crate::cli::console::live::{Live, Signals};
use crate::cli::console::state::State;
use crate::cli::console::{Console, help};
use crate::cli::editor::Status;
use crate::cli::exit::{Exit, Failure};
use crate::cli::print::Output;
use crate::cli::screen::Screen;
use crate::cli::show;
use crate::cli::signal::Stop;
use crate::rpc::{CommandRequest, Nonce, RemoteClient};

/// A console that is connected, without the part that reads lines.
pub(crate) struct Session {
    bus: Bus,
    client: RemoteClient,
    state: Arc<Mutex<State>>,
    stop: Stop,
    out: Output,
    yes: bool,
    patience: Duration,
    next_nonce: i64,
    settled: bool,
    changes: (Sender<()>, Receiver<()>),
    begun: (Sender<()>, Receiver<()>),
}

/// Whether another line is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Go on.
    Next,
    /// The user has had enough.
    Quit,
}

impl Session {
    /// Makes the client; the service may come later.
    pub(crate) fn open(console: &Console, bus: Bus, out: Output) -> Result<Self, Failure> {
        let stop = Stop::on_ctrl_c()?;
        let timeout = console.timeout.unwrap_or(REPLY_TIMEOUT);
        Ok(Self {
            client: bus::client(&bus, timeout, 0)?,
            bus,
            state: Arc::default(),
            stop,
            out,
            yes: console.yes,
            patience: console.timeout.unwrap_or(RESULT_TIMEOUT),
            next_nonce: first_nonce(),
            settled: false,
            changes: bounded(1),
            begun: bounded(1),
        })
    }

    /// Starts to follow the bus.
    pub(crate) fn follow(&self, screen: Screen) -> Result<Live, Failure> {
        let subscription = self.client.subscribe(&[])?;
        Live::start(
            subscription,
            Arc::clone(&self.state),
            screen,
            self.out,
            Signals {
                changed: self.changes.0.clone(),
                begun: self.begun.1.clone(),
            },
        )
    }

    /// What is pending, for the line above the prompt.
    pub(crate) fn status(&self) -> Status {
        let state = Arc::clone(&self.state);
        Box::new(move || {
            let columns = tcgetwinsize(stdout()).map_or(80, |size| usize::from(size.ws_col));
            // The last column stays free, so that no terminal wraps.
            state
                .lock()
                .pending_line(Instant::now(), columns.saturating_sub(1))
        })
    }

    /// Where things are printed.
    pub(crate) const fn out(&self) -> Output {
        self.out
    }

    /// What tells of Ctrl-C.
    pub(crate) const fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Ends waits when `interrupts` says so; gives what ended them before.
    pub(crate) fn listen_to(&mut self, interrupts: Receiver<Exit>) -> Stop {
        mem::replace(&mut self.stop, Stop::relayed(interrupts))
    }

    /// A line for each command that has not ended.
    pub(crate) fn pending(&self) -> Vec<String> {
        self.state.lock().pending(Instant::now())
    }

    /// Notes that a line has failed.
    pub(crate) fn failed(&self, failure: &Failure) {
        self.state.lock().ended(failure.exit());
    }

    /// The worst end of any line so far.
    pub(crate) fn worst(&self) -> Exit {
        self.state.lock().worst()
    }

    /// Does what one line asks; `confirm` is asked before what changes the rig's course.
    pub(crate) fn execute(
        &mut self,
        text: &str,
        confirm: impl FnOnce(&str) -> Result<bool, Failure>,
    ) -> Result<Flow, Failure> {
        let dialect = self.state.lock().dialect();
        match line::parse(text, dialect)? {
            Action::Nothing => {}
            Action::Quit => return Ok(Flow::Quit),
            Action::Send(typed) => self.send(&typed, confirm)?,
            Action::Wait => self.wait_for_pending()?,
            Action::FilterTopic(topic) => self.state.lock().filter_topic(topic),
            Action::FilterKind(kind) => self.state.lock().filter_kind(kind),
            Action::FilterOff => self.state.lock().filter_off(),
            Action::Mute => self.state.lock().mute(true),
            Action::Unmute => self.state.lock().mute(false),
            Action::Status => self.show_status()?,
            Action::Pending => self.show_pending()?,
            Action::Help(word) => {
                let text = help::text(word.as_deref())?;
                if self.out.is_json() {
                    self.out.object(&json!({"notice": "help", "text": text}))?;
                } else {
                    self.out.line(&text)?;
                }
            }
        }
        Ok(Flow::Next)
    }

    /// Waits until no command is pending.
    pub(crate) fn wait_for_pending(&self) -> Result<(), Failure> {
        self.wait_until(self.patience, |state| !state.has_pending())
            .map_err(|end| {
                interrupted(
                    end,
                    &format!("still pending: {}", self.pending().join("; ")),
                )
            })?;
        let left = self.pending();
        match left.as_slice() {
            [] => Ok(()),
            left => Err(Failure::new(
                Exit::TimedOut,
                format!("no result yet: {}", left.join("; ")),
            )
            .with_hint("a longer --timeout")),
        }
    }

    fn show_status(&self) -> Result<(), Failure> {
        let now = Instant::now();
        if self.out.is_json() {
            let status = self.state.lock().status_object(now);
            self.out.object(&status)
        } else {
            let status = self.state.lock().status(now);
            self.out.line(&status)
        }
    }

    fn show_pending(&self) -> Result<(), Failure> {
        if self.out.is_json() {
            let pending = self.state.lock().pending_object(Instant::now());
            return self.out.object(&pending);
        }
        let lines = self.pending();
        if lines.is_empty() {
            self.out.line("nothing is pending")
        } else {
            self.out.line(&lines.join("\n"))
        }
    }

    fn send(
        &mut self,
        typed: &Typed,
        confirm: impl FnOnce(&str) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let name = typed.named.command.name();
        if typed.wants_confirmation() && !self.yes && !confirm(name)? {
            return self.out.line(&format!("{name} was not sent"));
        }
        self.settle()
            .map_err(|end| interrupted(end, &format!("{name} was not sent")))?;
        let nonce = Nonce::from(typed.nonce.unwrap_or_else(|| self.fresh_nonce()));
        let mut request = CommandRequest::new(typed.named.command)
            .with_number(typed.named.number)
            .with_nonce(nonce.clone())
            .with_data(&typed.data)?;
        if let Some(number) = typed.custom_command {
            request = request.with_custom_command(number);
        }
        self.state.lock().sending(
            Instant::now(),
            nonce.clone(),
            typed.named.number,
            typed.custom_command,
        );
        // A full channel says the same.
        let _ = self.begun.0.try_send(());
        let asked = bus::ask(&self.client, &request, Patience::Reply, &self.stop, |_| {
            Ok(())
        });
        let answer = asked
            .as_ref()
            .map(|outcome| &outcome.reply)
            .map_err(Failure::exit);
        self.state.lock().replied(&nonce, answer);
        let goes_on = format!("no reply yet: {name} nonce {nonce} goes on if it has arrived");
        let reply = asked.map_err(|end| interrupted(end, &goes_on))?.reply;
        let exit = bus::exit_of(request.command(), &reply, &self.bus);
        self.state.lock().ended(exit);
        if self.out.is_json() {
            self.out.object(&reply)?;
        } else {
            self.out.line(&show::response_line(&reply, self.out))?;
        }
        if typed.wait {
            self.wait_for_pending()
        } else {
            Ok(())
        }
    }

    /// Waits, before the first command, until results can be heard: a subscription takes its time.
    fn settle(&mut self) -> Result<(), Failure> {
        if !self.settled {
            self.wait_until(LINK_TIMEOUT, State::is_linked)?;
            // Our services greet a subscriber at once; the others say nothing until their next heartbeat.
            self.wait_until(GREETING_TIMEOUT, State::is_heard)?;
            self.settled = self.state.lock().is_linked();
        }
        Ok(())
    }

    /// Waits until the state is as wanted, or the time is over; looks again only when the state has changed.
    fn wait_until(
        &self,
        timeout: Duration,
        wanted: impl Fn(&State) -> bool,
    ) -> Result<(), Failure> {
        let deadline = at(Instant::now() + timeout);
        while !wanted(&self.state.lock()) {
            select! {
                recv(self.changes.1) -> _ => {}
                recv(self.stop.asked()) -> exit => return Err(Failure::quiet(exit.unwrap_or(Exit::Interrupted))),
                recv(deadline) -> _ => return Ok(()),
            }
        }
        Ok(())
    }

    fn fresh_nonce(&mut self) -> i64 {
        self.next_nonce += 1;
        self.next_nonce
    }
}

/// Says what Ctrl-C has left, if that was the end.
fn interrupted(end: Failure, text: &str) -> Failure {
    match end.exit() {
        Exit::Interrupted => Failure::new(Exit::Interrupted, text),
        _ => end,
    }
}

/// Nonces tell results apart between consoles, so they start where no other console started: at the present microsecond.
fn first_nonce() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or_default()
}

const REPLY_TIMEOUT: Duration = Duration::from_secs(2);
const RESULT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a command waits for the subscription; without a service the command itself says so.
const LINK_TIMEOUT: Duration = Duration::from_millis(500);

const GREETING_TIMEOUT: Duration = Duration::from_millis(200);
