//! What a reactor does for clients: lets them in, registers, asks.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::{EventType, Json, Payload, RegisterEvent, Subscription};
use crate::eventer::message::InitReq;
use crate::eventer::server::connection::Step;
use crate::eventer::server::info::{ClientInfo, count};
use crate::eventer::server::leave::Leave;
use crate::eventer::server::mailbox::{Address, Mail};
use crate::eventer::server::queries::Job;
use crate::eventer::server::reactor::Reactor;
use crate::eventer::server::registry::{Client, Seat};
use crate::store::{EngineHandle, Source, StoreError, Submission, SubmitError};

/// Connections with something to submit, in the order in which they found the engine's queue full.
#[derive(Debug, Default)]
pub(super) struct Stalled {
    waiting: VecDeque<Address>,
    /// Whether the engine tells when there is room.
    is_awaited: bool,
}

impl Reactor {
    pub(super) fn take_step(&mut self, address: Address, step: Step) -> Result<(), Leave> {
        count(&self.hub.counters.requests);
        match step {
            Step::Hello(hello) => self.greet(address, hello),
            Step::Register(events) => self.register(address, events),
            Step::Query(params) => {
                let job = Job {
                    backend: self.hub.backend(),
                    params,
                    limit: self.hub.options.max_frame,
                    reply_to: Arc::clone(&self.mailbox),
                    address,
                };
                self.queries.send(job).map_err(|_| Leave::Stopped)
            }
        }
    }

    /// CONNECTED is registered, or there is no engine for it.
    pub(super) fn connected(&mut self, address: Address, result: Result<(), StoreError>) {
        let settled = match result {
            Err(error) if !error.is_closed() => Err(Leave::Register(error)),
            _ => self.welcome(address),
        };
        self.settle(address, settled);
    }

    /// The engine's queue had room; hands over what waits for it.
    pub(super) fn use_room(&mut self) {
        self.stalled.is_awaited = false;
        while let Some(address) = self.stalled.waiting.front().copied() {
            let held = self.slots.at(address.slot);
            let held = held.filter(|slot| slot.address == address);
            let held = held.and_then(|slot| slot.held.take());
            if let Some((engine, submission)) = held
                && let Err(SubmitError::Full(submission)) = engine.submit(submission)
            {
                return self.hold(address, engine, submission);
            }
            self.stalled.waiting.pop_front();
            self.handed_over(address);
        }
    }

    /// Tells the engine that a client is gone, and gives its place back then.
    pub(super) fn say_goodbye(&mut self, place: usize) {
        let Some(slot) = self.slots.at(place) else {
            return;
        };
        let (address, info) = (slot.address, slot.info.clone());
        let (Some(engine), Some(info), true) = (self.hub.engine(), info, slot.is_announced) else {
            return self.vacate(place);
        };
        let event = about(&engine, &info, "DISCONNECTED");
        let source = Source::eventer(address.number);
        let submission = Submission::new(source, vec![event], |result| match result {
            Err(error) if !error.is_closed() => {
                log::error!("DISCONNECTED of an eventer client cannot be registered: {error}");
            }
            _ => {}
        });
        self.submit(address, engine, submission);
    }

    fn greet(&mut self, address: Address, hello: InitReq) -> Result<(), Leave> {
        let now = self.now;
        let admits = self.hub.options.admits(&hello);
        let Some(slot) = self.slots.of(address) else {
            return Ok(());
        };
        if !admits {
            return slot.connection.refuse("invalid client token", now);
        }
        let Ok(subscription) = Subscription::new(hello.subscriptions.iter().cloned()) else {
            return slot.connection.refuse("invalid query event type", now);
        };
        let info = Arc::new(ClientInfo {
            number: address.number,
            name: hello.client_name.clone(),
            address: slot.peer,
            subscription,
            server_id: hello.server_id,
            persisted: hello.persisted,
        });
        slot.info = Some(Arc::clone(&info));
        let Some(engine) = self.hub.engine() else {
            return self.welcome(address);
        };
        slot.is_announced = true;
        let event = about(&engine, &info, "CONNECTED");
        let mailbox = Arc::clone(&self.mailbox);
        let source = Source::eventer(address.number);
        let submission = Submission::new(source, vec![event], move |result| {
            mailbox.push(Mail::Connected(address, result.map(drop)));
        });
        self.submit(address, engine, submission);
        Ok(())
    }

    fn welcome(&mut self, address: Address) -> Result<(), Leave> {
        let reactor = self.index;
        let Some(slot) = self.slots.of(address) else {
            return Ok(());
        };
        let Some(info) = slot.info.clone() else {
            return Ok(());
        };
        let seat = Seat {
            reactor,
            address,
            load: Arc::clone(&slot.load),
        };
        let connection = &mut slot.connection;
        self.hub
            .add(Client { info, seat }, |status| connection.welcome(status))
    }

    fn register(&mut self, address: Address, events: Vec<RegisterEvent>) -> Result<(), Leave> {
        let Some(slot) = self.slots.of(address) else {
            return Ok(());
        };
        let Some(engine) = self.hub.operational_engine() else {
            return slot.connection.not_registered();
        };
        let mailbox = Arc::clone(&self.mailbox);
        let source = Source::eventer(address.number);
        let submission = Submission::new(source, events, move |result| {
            mailbox.push(Mail::Registered(address, result));
        });
        self.submit(address, engine, submission);
        Ok(())
    }

    /// Hands something to the engine, at once or when it has room; those that wait come first.
    fn submit(&mut self, address: Address, engine: EngineHandle, submission: Submission) {
        let submission = if self.stalled.waiting.is_empty() {
            match engine.submit(submission) {
                Err(SubmitError::Full(submission)) => submission,
                // A closed engine answers by itself.
                _ => return self.handed_over(address),
            }
        } else {
            submission
        };
        self.stalled.waiting.push_back(address);
        self.hold(address, engine, submission);
    }

    fn hold(&mut self, address: Address, engine: EngineHandle, submission: Submission) {
        if !self.stalled.is_awaited {
            self.stalled.is_awaited = true;
            let mailbox = Arc::clone(&self.mailbox);
            engine.when_room(move || mailbox.push(Mail::Room));
        }
        if let Some(slot) = self.slots.at(address.slot) {
            slot.held = Some((engine, submission));
        }
    }

    /// What a connection held is with the engine: it goes on, or is gone for good.
    fn handed_over(&mut self, address: Address) {
        match self.slots.at(address.slot) {
            Some(slot) if slot.address != address => {}
            Some(slot) if slot.stream.is_some() => self.mark(address.slot),
            Some(_) => self.vacate(address.slot),
            None => {}
        }
    }
}

/// An event about a client.
fn about(engine: &EngineHandle, info: &ClientInfo, what: &str) -> RegisterEvent {
    let server = engine.server().to_string();
    let event_type = EventType::new(["event", &server, "eventer", &info.name]);
    let event = RegisterEvent::new(event_type);
    match Json::from_serialize(what) {
        Ok(json) => event.with_payload(Payload::Json(json)),
        // A plain word can be written.
        Err(_) => event,
    }
}
