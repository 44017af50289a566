//! The thread that answers commands, and does nothing else.
//!
//! The socket is a ROUTER that keeps REP's manners: the envelope of a request goes back in front of its reply. Unlike a REP it
//! can read a request with any number of frames without losing its state.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::rpc::answer::{Answered, RequestLimits, answer, panic_response, usable};
use crate::rpc::defer::{Deferrals, Origin};
use crate::rpc::service::admission::Admission;
use crate::rpc::service::delegate::{CommandRequestDelegate, DelegateSlot};
use crate::rpc::service::historian::Historian;
use crate::rpc::service::once::{Asker, OnceWindow, Seen};
use crate::rpc::service::refusals::Refusals;
use crate::rpc::service::stats::Meters;
use crate::rpc::{
    ApiCommand, CommandRequest, CommandResponse, Dialect, HISTORY_BUSY, HISTORY_COMMAND, chain,
    encode_reply, encode_unusable_reply,
};
use crate::zsocket::{self, Frame, Role, Socket, WakeReceiver};

/// All that the dispatcher's thread owns or shares.
pub(crate) struct Dispatcher {
    pub(crate) socket: Socket,
    pub(crate) wake: WakeReceiver,
    pub(crate) stopping: Arc<AtomicBool>,
    pub(crate) delegate: Arc<DelegateSlot>,
    pub(crate) pending: Arc<dyn Deferrals>,
    pub(crate) once: OnceWindow,
    pub(crate) meters: Arc<Meters>,
    pub(crate) refusals: Refusals,
    /// What remembers what was published, if anything does.
    pub(crate) historian: Option<Historian>,
    pub(crate) admission: Option<Admission>,
    pub(crate) admin_commands: Vec<ApiCommand>,
    pub(crate) limits: RequestLimits,
    pub(crate) dialect: Dialect,
}

impl Dispatcher {
    /// Answers commands until it is told to stop.
    pub(crate) fn run(mut self) {
        let mut reply = Vec::with_capacity(512);
        while !self.stopping.load(Ordering::Acquire) {
            self.send_history();
            match self.socket.try_recv_message(MAX_FRAMES) {
                Ok(Some(message)) => {
                    self.handle(&message.frames, message.dropped_frames, &mut reply)
                }
                Ok(None) => self.block(),
                Err(error) => {
                    // Only a terminated context gets here, and ours lives as long as the service.
                    log::error!("no command is answered any more: {error}");
                    return;
                }
            }
        }
    }

    fn block(&mut self) {
        let ready = self.socket.monitor_failures().and_then(|monitor| {
            zsocket::wait(&[&self.socket, monitor.socket()], Some(&self.wake), None)
        });
        match ready {
            Ok(ready) => {
                if ready.woken() {
                    self.wake.drain();
                }
                self.refusals.look(&self.socket, &ready);
            }
            Err(error) => {
                // Only a terminated context gets here, and ours lives as long as the service.
                log::error!("the dispatcher cannot wait: {error}");
                self.stopping.store(true, Ordering::Release);
            }
        }
    }

    fn handle(&mut self, frames: &[Frame], excess: usize, reply: &mut Vec<u8>) {
        // Whatever the message is, its connection is known from now on, and ends with its user's right. The first frame is the
        // peer's address, which names no user.
        let served = match (&self.admission, frames.last()) {
            (Some(admission), Some(frame)) => admission.saw(frame),
            _ => true,
        };
        if !served {
            self.meters.refused_command();
            return;
        }
        // A requester puts one empty frame in front of the body; each router on the way adds an address in front of that.
        let delimiter = frames.iter().skip(1).position(|frame| frame.is_empty());
        let Some(delimiter) = delimiter.map(|at| at + 1) else {
            self.meters.without_envelope();
            return;
        };
        let (envelope, body) = frames.split_at(delimiter + 1);
        reply.clear();
        if excess == 0 && self.ask_history(envelope, body, reply) {
            if !reply.is_empty() {
                self.send(envelope, reply);
            }
            return;
        }
        self.answer(body, excess, reply);
        self.send(envelope, reply);
    }

    /// A client that is gone or does not read loses its reply, as with REP; unlike there it is counted.
    fn send(&self, envelope: &[impl AsRef<[u8]>], reply: &[u8]) {
        for frame in envelope {
            if let Err(error) = self.socket.try_send_bytes(frame.as_ref(), true) {
                log::debug!("a reply was not sent: {error}");
                self.meters.send_failed();
                return;
            }
        }
        if let Err(error) = self.socket.try_send_bytes(reply, false) {
            log::debug!("a reply was not sent: {error}");
            self.meters.send_failed();
        }
    }

    /// The replies that the history has ready by now.
    fn send_history(&self) {
        while let Some(answer) = self.historian.as_ref().and_then(Historian::take_answer) {
            self.send(&answer.envelope, &answer.reply);
        }
    }

    /// Hands a request for history to those who answer it; `false` when it is another, or nobody does.
    ///
    /// A reply is there only when the history does not get the request.
    fn ask_history(&mut self, envelope: &[Frame], body: &[Frame], reply: &mut Vec<u8>) -> bool {
        let (Some(historian), [frame]) = (&self.historian, body) else {
            return false;
        };
        if frame.len() > self.limits.bytes || !Historian::may_be_asked_by(frame) {
            return false;
        }
        let Ok(mut request) = usable(body, self.limits, self.dialect) else {
            return false;
        };
        let asks = request.command() == ApiCommand::UserDefined
            && request.custom_command_value() == HISTORY_COMMAND;
        if !asks {
            return false;
        }
        self.meters.command();
        let response = match self.admit(&mut request, frame, Role::Viewer) {
            Err(why) => {
                self.meters.refused_command();
                CommandResponse::failed(NOT_PERMITTED, why)
            }
            Ok(()) if historian.ask(envelope, request.clone()) => return true,
            Ok(()) => CommandResponse::failed(HISTORY_BUSY, "too many ask for history; ask again"),
        };
        encode_reply(
            request.nonce(),
            request.command(),
            &response,
            self.dialect,
            reply,
        );
        true
    }

    fn answer(&mut self, body: &[Frame], excess: usize, reply: &mut Vec<u8>) {
        if excess > 0 {
            self.meters.unusable();
            let what = format!("the request has more than {MAX_FRAMES} frames, not 1");
            encode_unusable_reply(&what, self.dialect, reply);
            return;
        }
        let (limits, dialect) = (self.limits, self.dialect);
        let respond = |request: &mut CommandRequest| self.respond(request, &body[0]);
        match answer(body, limits, dialect, Some(respond), reply) {
            Answered::Unusable(_) => self.meters.unusable(),
            Answered::Alive | Answered::NoDelegate | Answered::Handled(_) => self.meters.command(),
        }
    }

    fn respond(&mut self, request: &mut CommandRequest, frame: &Frame) -> CommandResponse {
        let needed = self.needed_role(request.command());
        if let Err(why) = self.admit(request, frame, needed) {
            self.meters.refused_command();
            return CommandResponse::failed(NOT_PERMITTED, why);
        }
        let Some(delegate) = self.delegate.current() else {
            // Not remembered: a repeat may find a delegate.
            return CommandResponse::unavailable();
        };
        let Some(asker) = asker_of(request) else {
            return self.ask(delegate, request);
        };
        match self.once.check(Instant::now(), &asker, frame) {
            Seen::Fresh => {
                let response = self.ask(delegate, request);
                self.once
                    .store(Instant::now(), asker, frame, response.clone());
                response
            }
            Seen::Repeat(response) => {
                self.meters.repeat();
                response
            }
            Seen::Conflict => {
                self.meters.conflict();
                let why = format!(
                    "nonce {} was already used for another request",
                    request.nonce()
                );
                CommandResponse::failed(NONCE_REUSED, why)
            }
        }
    }

    /// Checks the right of who asks, and notes his name in the request and in the log.
    fn admit(
        &self,
        request: &mut CommandRequest,
        frame: &Frame,
        needed: Role,
    ) -> Result<(), String> {
        let Some(admission) = &self.admission else {
            return Ok(());
        };
        let command = request.command();
        let admitted = admission.user(frame).and_then(|(user, role)| {
            if role < needed {
                return Err(format!("{user} has the role {role}, this takes {needed}"));
            }
            Ok(user)
        });
        match admitted {
            Ok(user) => {
                log::info!(
                    "command {} of {user}, nonce {}",
                    command.name(),
                    request.nonce()
                );
                request.set_user(user);
                Ok(())
            }
            Err(refusal) => {
                log::warn!("command {} refused: {refusal}", command.name());
                Err(refusal)
            }
        }
    }

    fn needed_role(&self, command: ApiCommand) -> Role {
        if self.admin_commands.contains(&command) {
            Role::Admin
        } else if command.is_query() {
            Role::Viewer
        } else {
            Role::Operator
        }
    }

    fn ask(
        &self,
        delegate: Arc<dyn CommandRequestDelegate>,
        request: &mut CommandRequest,
    ) -> CommandResponse {
        request.set_origin(Origin(Some(self.pending.clone())));
        let command = request.command().name();
        let _busy = self.meters.busy();
        // All of the application's code is inside: the text of its error, and its end if it was replaced meanwhile.
        let handled = catch_unwind(AssertUnwindSafe(move || {
            let outcome = delegate
                .handle(request)
                .map_err(|error| chain(error.as_ref()));
            drop(delegate);
            outcome
        }));
        match handled {
            Ok(Ok(response)) => response,
            Ok(Err(text)) => {
                self.meters.exception();
                CommandResponse::exception(text)
            }
            Err(panic) => {
                self.meters.exception();
                log::error!("the delegate panicked on {command}");
                panic_response(panic.as_ref())
            }
        }
    }
}

fn asker_of(request: &CommandRequest) -> Option<Asker> {
    let client = request.client_id()?.to_owned();
    Some((
        request.user().map(str::to_owned),
        client,
        request.nonce().to_string(),
    ))
}

/// Frames of a message that are kept, the envelope included; the rest is read, counted and dropped.
const MAX_FRAMES: usize = 64;

/// `errorCode` of a command that the user's role does not permit. *Ours.*
pub const NOT_PERMITTED: i64 = 403;

/// `errorCode` of a request whose nonce its client has used for another. *Ours.*
pub const NONCE_REUSED: i64 = 409;
