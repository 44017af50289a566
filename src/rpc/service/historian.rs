//! The thread that answers requests for history, so that a slow store delays no command.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TrySendError};

use crate::rpc::answer::panic_response;
use crate::rpc::history::{decode_request_data, encode_page};
use crate::rpc::{
    BAD_HISTORY_REQUEST, CommandRequest, CommandResponse, Dialect, HISTORY_COMMAND, History,
    RpcError, chain, encode_reply,
};
use crate::zsocket::{Frame, Waker};

/// The memory of a service at work; ended and joined when dropped, behind the page that it is at.
#[derive(Debug)]
pub(crate) struct Historian {
    // Both ends go before the thread is joined: either wakes it.
    asked: Option<Sender<Asked>>,
    answered: Option<Receiver<Answer>>,
    thread: Option<JoinHandle<()>>,
}

/// A reply on its way back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) envelope: Vec<Vec<u8>>,
    pub(crate) reply: Vec<u8>,
}

#[derive(Debug)]
struct Asked {
    envelope: Vec<Vec<u8>>,
    request: CommandRequest,
}

impl Historian {
    /// `waker` wakes the dispatcher for each answer.
    pub(crate) fn start(
        history: Arc<dyn History>,
        epoch: u64,
        dialect: Dialect,
        waker: Waker,
    ) -> Result<Self, RpcError> {
        let (asked, requests) = crossbeam_channel::bounded::<Asked>(MAX_WAITING);
        let (answers, answered) = crossbeam_channel::bounded(MAX_WAITING);
        let name = "acqbus-historian";
        let body = move || {
            for Asked { envelope, request } in requests {
                let response = respond(&*history, &request, epoch);
                let mut reply = Vec::new();
                encode_reply(
                    request.nonce(),
                    request.command(),
                    &response,
                    dialect,
                    &mut reply,
                );
                if answers.send(Answer { envelope, reply }).is_err() {
                    return;
                }
                waker.wake();
            }
        };
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(body)
            .map_err(|source| RpcError::Thread { name, source })?;
        Ok(Self {
            asked: Some(asked),
            answered: Some(answered),
            thread: Some(thread),
        })
    }

    /// Whether the bytes of a request may ask for history; it is decoded only then.
    pub(crate) fn may_be_asked_by(body: &[u8]) -> bool {
        let name = HISTORY_COMMAND.as_bytes();
        body.windows(name.len()).any(|window| window == name)
    }

    /// Takes a request over; `false` when too many wait. Never blocks.
    pub(crate) fn ask(&self, envelope: &[Frame], request: CommandRequest) -> bool {
        let envelope = envelope.iter().map(|frame| frame.to_vec()).collect();
        let Some(asked) = &self.asked else {
            return false;
        };
        match asked.try_send(Asked { envelope, request }) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// A reply that is ready; never blocks.
    pub(crate) fn take_answer(&self) -> Option<Answer> {
        self.answered.as_ref()?.try_recv().ok()
    }
}

impl Drop for Historian {
    fn drop(&mut self) {
        self.asked = None;
        self.answered = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the historian's thread panicked; this is a defect of acqbus");
        }
    }
}

fn respond(history: &dyn History, request: &CommandRequest, epoch: u64) -> CommandResponse {
    let asked = match decode_request_data(request.data(), epoch) {
        Ok(asked) => asked,
        Err(why) => return CommandResponse::failed(BAD_HISTORY_REQUEST, why),
    };
    // A history is the application's code, as a delegate is.
    match catch_unwind(AssertUnwindSafe(|| history.page(&asked))) {
        Ok(Ok(page)) => CommandResponse::success().with_data_text(encode_page(&page)),
        Ok(Err(error)) => {
            let text = chain(error.as_ref());
            log::warn!("a request for history was not answered: {text}");
            CommandResponse::exception(text)
        }
        Err(panic) => {
            log::error!("the history panicked");
            panic_response(panic.as_ref())
        }
    }
}

/// Requests that wait for the history, and replies that wait for the dispatcher.
const MAX_WAITING: usize = 64;
