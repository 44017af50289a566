//! One connection without its socket: whose turn it is, what is under way, what is to be sent.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::event::{Event, QueryParams, RegisterEvent, Status};
use crate::eventer::chatter::{Chatter, ChatterOptions, Conversation};
use crate::eventer::message::{self, InitReq, Message};
use crate::eventer::server::ack::AckToken;
use crate::eventer::server::leave::Leave;
use crate::eventer::server::outgoing::Outgoing;
use crate::store::StoreError;

/// One connection, from the first byte to the last.
///
/// A request starts when the one before is answered, so that answers come in the order of requests. Registrations alone do
/// not wait for each other: the engine has an order of its own, and answers in it.
#[derive(Debug)]
pub(super) struct Connection {
    chatter: Chatter,
    limits: Limits,
    stage: Stage,
    /// What is to be sent.
    pub(super) out: Outgoing,
    /// Requests that came and cannot start yet.
    waiting: VecDeque<Request>,
    waiting_bytes: usize,
    running: Running,
    /// Whom notifications are to be acknowledged to, by the number of their conversation.
    acks: Vec<(i64, AckToken)>,
    /// Why nothing more is read.
    ended: Option<Leave>,
    scratch: Vec<u8>,
}

/// What one connection may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) chatter: ChatterOptions,
    pub(super) max_pending: usize,
    pub(super) send_queue: usize,
    pub(super) send_timeout: Duration,
    pub(super) hello_timeout: Duration,
}

/// What is to be done for the client; an answer is due for each.
#[derive(Debug)]
pub(super) enum Step {
    /// Takes or refuses it: [`Connection::welcome`] or [`Connection::refuse`].
    Hello(InitReq),
    /// Ends in [`Connection::registered`] or [`Connection::not_registered`].
    Register(Vec<RegisterEvent>),
    /// Ends in [`Connection::queried`].
    Query(QueryParams),
}

#[derive(Debug)]
enum Stage {
    /// Has not said who it is.
    Stranger {
        until: Instant,
        heard: usize,
    },
    /// Has said so, and waits for the answer.
    Arriving(Conversation),
    Welcome,
    /// Was told why it is not welcome.
    Refused {
        until: Instant,
        has_left: bool,
    },
}

/// A request that waits for its turn, not read yet: events take more memory than their bytes.
#[derive(Debug)]
struct Request {
    kind: Kind,
    conversation: Conversation,
    last: bool,
    data: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hello,
    Register,
    Query,
}

/// What is under way: registrations, or one query.
#[derive(Debug, Default)]
struct Running {
    registers: VecDeque<Register>,
    bytes: usize,
    query: Option<Conversation>,
}

#[derive(Debug)]
struct Register {
    /// Where the answer goes, if one is wanted.
    conversation: Option<Conversation>,
    bytes: usize,
    /// Not handed to the engine; its answer waits for those before it.
    has_failed: bool,
}

impl Connection {
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            chatter: Chatter::new(limits.chatter, now),
            limits,
            stage: Stage::Stranger {
                until: now + limits.hello_timeout,
                heard: 0,
            },
            out: Outgoing::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            running: Running::default(),
            acks: Vec::new(),
            ended: None,
            scratch: Vec::new(),
        }
    }

    /// Takes bytes of the client.
    pub(super) fn receive(&mut self, bytes: &[u8], now: Instant) -> Result<(), Leave> {
        match &mut self.stage {
            // Read only to see it go; closed with bytes unread, it would not see why.
            Stage::Refused { .. } => return Ok(()),
            Stage::Stranger { heard, .. } => {
                *heard += bytes.len();
                if *heard > HELLO_BYTES {
                    return Err(Leave::LongHello { limit: HELLO_BYTES });
                }
            }
            Stage::Arriving(_) | Stage::Welcome => {}
        }
        self.chatter.receive(bytes, now);
        Ok(())
    }

    /// The client sends no more, or nothing more is to be read from it: what came is handled, then it is over.
    pub(super) fn end(&mut self, reason: Leave) {
        if let Stage::Refused { has_left, .. } = &mut self.stage {
            *has_left = true;
        }
        self.ended.get_or_insert(reason);
    }

    /// Forgets what has not started, to be over soon.
    pub(super) fn cut_short(&mut self, reason: Leave) {
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.end(reason);
    }

    /// The next thing to do for the client, if there is one and its turn has come.
    pub(super) fn next_step(&mut self) -> Result<Option<Step>, Leave> {
        loop {
            if let Some(request) = self.waiting.front()
                && self.may_start(request.kind, request.data.len())
                && let Some(request) = self.waiting.pop_front()
            {
                self.waiting_bytes -= request.data.len();
                let step = read(request.kind, &request.data)?;
                self.start(
                    &step,
                    request.conversation,
                    request.last,
                    request.data.len(),
                )?;
                return Ok(Some(step));
            }
            if !self.may_take() {
                return Ok(None);
            }
            let Some(received) = self.chatter.next(&mut self.out.bytes)? else {
                return Ok(None);
            };
            let (conversation, last) = (received.conversation, received.last);
            let Some(kind) = Kind::of(received.kind)? else {
                if let Some(place) = self
                    .acks
                    .iter()
                    .position(|(first, _)| conversation.owner && *first == conversation.first)
                {
                    self.acks.swap_remove(place).1.acknowledge();
                }
                continue;
            };
            let bytes = received.data.len();
            let is_next = self.waiting.is_empty();
            if is_next
                && may_start(
                    &self.stage,
                    &self.running,
                    &self.out,
                    &self.limits,
                    kind,
                    bytes,
                )
            {
                let step = read(kind, received.data)?;
                self.start(&step, conversation, last, bytes)?;
                return Ok(Some(step));
            }
            self.waiting_bytes += bytes;
            self.waiting.push_back(Request {
                kind,
                conversation,
                last,
                data: received.data.to_vec(),
            });
        }
    }

    /// Takes the client: what it says from now on is answered.
    pub(super) fn welcome(&mut self, status: Status) -> Result<(), Leave> {
        self.answer_hello(&Message::InitRes(Ok(status)))?;
        self.stage = Stage::Welcome;
        Ok(())
    }

    /// Tells the client why it is not taken, and gives it a moment to read that.
    pub(super) fn refuse(&mut self, text: &str, now: Instant) -> Result<(), Leave> {
        self.answer_hello(&Message::InitRes(Err(text.to_owned())))?;
        self.cut_short(Leave::Refused {
            text: text.to_owned(),
        });
        self.stage = Stage::Refused {
            until: now + FAREWELL,
            has_left: false,
        };
        Ok(())
    }

    /// What came of the oldest registration under way.
    pub(super) fn registered(
        &mut self,
        result: Result<Vec<Arc<Event>>, StoreError>,
    ) -> Result<(), Leave> {
        match result {
            Ok(events) => self.answer_register(Some(&events))?,
            Err(error) if error.is_closed() => self.answer_register(None)?,
            Err(error) => return Err(Leave::Register(error)),
        }
        while self
            .running
            .registers
            .front()
            .is_some_and(|next| next.has_failed)
        {
            self.answer_register(None)?;
        }
        Ok(())
    }

    /// The latest registration is handed to nobody: there is no engine.
    pub(super) fn not_registered(&mut self) -> Result<(), Leave> {
        if let [only] = self.running.registers.make_contiguous() {
            debug_assert!(!only.has_failed, "it would have been answered");
            return self.answer_register(None);
        }
        if let Some(latest) = self.running.registers.back_mut() {
            latest.has_failed = true;
        }
        Ok(())
    }

    /// The answer of the query under way.
    pub(super) fn queried(&mut self, data: &[u8]) -> Result<(), Leave> {
        let Some(conversation) = self.running.query.take() else {
            return Ok(());
        };
        self.chatter.reply(
            conversation,
            message::QUERY_RES,
            data,
            true,
            &mut self.out.bytes,
        )?;
        Ok(())
    }

    /// Tells the client something that it did not ask for; with a token, it is to acknowledge it.
    pub(super) fn notify(
        &mut self,
        kind: &str,
        data: &[u8],
        ack: Option<AckToken>,
    ) -> Result<(), Leave> {
        let is_last = ack.is_none();
        let conversation = self
            .chatter
            .begin(kind, data, is_last, &mut self.out.bytes)?;
        if let Some(ack) = ack {
            if self.acks.len() == ACKS {
                self.acks.remove(0);
            }
            self.acks.push((conversation.first, ack));
        }
        Ok(())
    }

    /// Whether more bytes of the client are welcome.
    pub(super) fn wants_read(&self) -> bool {
        match self.stage {
            Stage::Refused { has_left, .. } => !has_left,
            _ => self.ended.is_none() && self.may_take() && !self.is_congested(),
        }
    }

    /// Whether it has not said who it is.
    pub(super) fn is_stranger(&self) -> bool {
        matches!(self.stage, Stage::Stranger { .. })
    }

    /// Whether a hello of it is being answered.
    pub(super) fn is_arriving(&self) -> bool {
        matches!(self.stage, Stage::Arriving(_))
    }

    /// Why it is over, once it is: nothing is under way, and all is sent. To be asked when there is no next step.
    pub(super) fn take_end(&mut self) -> Option<Leave> {
        let is_idle = self.waiting.is_empty()
            && self.running.is_idle()
            && !self.is_arriving()
            && self.out.is_empty();
        let has_time = matches!(self.stage, Stage::Refused { has_left, .. } if !has_left);
        if !is_idle || has_time {
            return None;
        }
        self.ended.take()
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let own = match self.stage {
            Stage::Stranger { until, .. } | Stage::Refused { until, .. } => Some(until),
            // What we do not read can say nothing.
            Stage::Arriving(_) | Stage::Welcome => {
                self.wants_read().then(|| self.chatter.deadline())
            }
        };
        let sending = self
            .out
            .stalled()
            .map(|since| since + self.limits.send_timeout);
        [own, sending].into_iter().flatten().min()
    }

    /// Looks at the time: pings a silent client, gives up one that has had its time.
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), Leave> {
        if let Some(since) = self.out.stalled()
            && now >= since + self.limits.send_timeout
        {
            return Err(Leave::Slow {
                bytes: self.out.len(),
                timeout: self.limits.send_timeout,
            });
        }
        match self.stage {
            Stage::Stranger { until, .. } if now >= until => Err(Leave::NoHello {
                timeout: self.limits.hello_timeout,
            }),
            Stage::Refused { until, .. } if now >= until => {
                Err(self.ended.take().unwrap_or(Leave::Gone))
            }
            Stage::Stranger { .. } | Stage::Refused { .. } => Ok(()),
            Stage::Arriving(_) | Stage::Welcome if self.wants_read() => {
                Ok(self.chatter.tick(now, &mut self.out.bytes)?)
            }
            Stage::Arriving(_) | Stage::Welcome => Ok(()),
        }
    }

    /// Whether a request of the kind may start now.
    fn may_start(&self, kind: Kind, bytes: usize) -> bool {
        may_start(
            &self.stage,
            &self.running,
            &self.out,
            &self.limits,
            kind,
            bytes,
        )
    }

    /// Whether one more request may wait.
    fn may_take(&self) -> bool {
        let is_refused = matches!(self.stage, Stage::Refused { .. });
        !is_refused
            && self.waiting.len() < self.limits.max_pending
            && self.waiting_bytes < self.limits.chatter.max_frame
    }

    /// Whether so much is to be sent that nothing more is begun.
    pub(super) fn is_congested(&self) -> bool {
        is_congested(&self.out, &self.limits)
    }

    fn start(
        &mut self,
        step: &Step,
        conversation: Conversation,
        last: bool,
        bytes: usize,
    ) -> Result<(), Leave> {
        match (step, &self.stage) {
            (Step::Hello(_), Stage::Stranger { .. }) => self.stage = Stage::Arriving(conversation),
            (Step::Hello(_), _) => return Err(Leave::Order("a second MsgInitReq")),
            (_, Stage::Stranger { .. }) => {
                return Err(Leave::Order("a first message that is no MsgInitReq"));
            }
            (Step::Register(_), _) => {
                self.running.bytes += bytes;
                self.running.registers.push_back(Register {
                    conversation: (!last).then_some(conversation),
                    bytes,
                    has_failed: false,
                });
            }
            (Step::Query(_), _) => self.running.query = Some(conversation),
        }
        Ok(())
    }

    fn answer_hello(&mut self, answer: &Message) -> Result<(), Leave> {
        let Stage::Arriving(conversation) = self.stage else {
            return Ok(());
        };
        let mut data = Vec::new();
        answer.encode(&mut data);
        let out = &mut self.out.bytes;
        self.chatter
            .reply(conversation, answer.kind(), &data, true, out)?;
        Ok(())
    }

    fn answer_register(&mut self, events: Option<&[Arc<Event>]>) -> Result<(), Leave> {
        let Some(register) = self.running.registers.pop_front() else {
            return Ok(());
        };
        self.running.bytes -= register.bytes;
        let Some(conversation) = register.conversation else {
            return Ok(());
        };
        let mut data = mem::take(&mut self.scratch);
        message::encode_register_res(events, &mut data);
        let kind = message::REGISTER_RES;
        self.chatter
            .reply(conversation, kind, &data, true, &mut self.out.bytes)?;
        data.clear();
        data.shrink_to(SCRATCH_BYTES);
        self.scratch = data;
        Ok(())
    }
}

impl Running {
    fn is_idle(&self) -> bool {
        self.registers.is_empty() && self.query.is_none()
    }
}

impl Kind {
    /// Which request this is; `None` for an acknowledgement, which is none.
    fn of(kind: &str) -> Result<Option<Self>, Leave> {
        Ok(Some(match kind {
            message::INIT_REQ => Self::Hello,
            message::REGISTER_REQ => Self::Register,
            message::QUERY_REQ => Self::Query,
            message::EVENTS_ACK => return Ok(None),
            message::INIT_RES
            | message::STATUS_NOTIFY
            | message::EVENTS_NOTIFY
            | message::REGISTER_RES
            | message::QUERY_RES => return Err(Leave::Order("a message that servers send")),
            _ => {
                // Tells what it is, as far as it may be shown.
                let error = Message::decode(kind, &[]).err();
                return Err(error.map_or(Leave::Order("an unknown message"), Leave::Message));
            }
        }))
    }
}

fn may_start(
    stage: &Stage,
    running: &Running,
    out: &Outgoing,
    limits: &Limits,
    kind: Kind,
    bytes: usize,
) -> bool {
    let is_turn = match stage {
        Stage::Arriving(_) | Stage::Refused { .. } => false,
        Stage::Stranger { .. } => true,
        Stage::Welcome if running.query.is_some() => false,
        Stage::Welcome if kind == Kind::Register => {
            running.registers.is_empty()
                || running.registers.len() < REGISTERS
                    && running.bytes + bytes <= limits.chatter.max_frame
        }
        Stage::Welcome => running.registers.is_empty(),
    };
    is_turn && !is_congested(out, limits)
}

/// Half of the queue is for answers, so that there is room for notifications.
fn is_congested(out: &Outgoing, limits: &Limits) -> bool {
    out.len() > limits.send_queue / 2
}

fn read(kind: Kind, data: &[u8]) -> Result<Step, Leave> {
    let name = match kind {
        Kind::Hello => message::INIT_REQ,
        Kind::Register => message::REGISTER_REQ,
        Kind::Query => message::QUERY_REQ,
    };
    match Message::decode(name, data)? {
        Message::InitReq(hello) => Ok(Step::Hello(hello)),
        Message::RegisterReq(events) => Ok(Step::Register(events)),
        Message::QueryReq(params) => Ok(Step::Query(params)),
        _ => Err(Leave::Order("a message that servers send")),
    }
}

/// Registrations of one connection that are with the engine at a time.
const REGISTERS: usize = 64;

/// Bytes until a client has said who it is: some ten thousand subscriptions.
const HELLO_BYTES: usize = 1024 * 1024;

/// How long a refused client has to read why, as in the reference.
const FAREWELL: Duration = Duration::from_millis(500);

/// Acknowledgements that are waited for; the oldest is given up for one more.
const ACKS: usize = 1024;

const SCRATCH_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests;
