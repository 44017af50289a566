//! The thread of a simulated rig: plays the timeline and the script, publishes results when they are due.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::rpc::{Publisher, RpcError, RpcOptions, RpcService};
use crate::simulator::delegate::SimulatedDelegate;
use crate::simulator::happening::Happening;
use crate::simulator::options::Prepare;
use crate::simulator::order::{DueResult, Order};
use crate::simulator::script::{ScriptAction, ScriptStep};
use crate::simulator::shared::{Line, Observation, Shared};
use crate::simulator::timeline::{Timeline, TimelineItem};

/// All that the thread owns.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) options: RpcOptions,
    pub(crate) timeline: Timeline,
    pub(crate) next: Option<TimelineItem>,
    pub(crate) script: VecDeque<ScriptStep>,
    pub(crate) started: Instant,
    pub(crate) duration: Option<Duration>,
    pub(crate) prepare: Option<Prepare>,
    pub(crate) orders: Receiver<Order>,
    pub(crate) order_sender: Sender<Order>,
    pub(crate) results: Vec<DueResult>,
    pub(crate) silent_until: Option<Instant>,
    pub(crate) restart_at: Option<Instant>,
    /// Whether it was told that the timeline is late.
    pub(crate) is_late: bool,
}

impl Worker {
    /// Runs until the duration is over or an order ends it; the service is stopped then.
    pub(crate) fn run(mut self) -> Result<(), RpcError> {
        let ended = self.play();
        self.shared.close();
        self.shared.unwatch();
        ended
    }

    fn play(&mut self) -> Result<(), RpcError> {
        loop {
            let now = Instant::now();
            if self.end().is_some_and(|end| now >= end) {
                return Ok(());
            }
            self.end_silence(now);
            self.restart(now)?;
            self.play_script(now);
            self.publish_results(now);
            self.play_timeline(now);
            let order = match self.next_deadline() {
                Some(deadline) => self.orders.recv_deadline(deadline),
                None => self
                    .orders
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
            };
            match order {
                Ok(Order::Result(due)) => self.results.push(*due),
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn play_timeline(&mut self, now: Instant) {
        let publisher = self.publisher();
        let started = self.started;
        for _ in 0..ITEMS_AT_ONCE {
            let due = |at: Duration| started.checked_add(at).is_some_and(|at| at <= now);
            let Some(item) = self.next.take_if(|item| due(item.at)) else {
                return;
            };
            if !self.is_late && due(item.at.saturating_add(LATE)) {
                self.is_late = true;
                log::warn!("the rig fell behind its rate: this machine cannot keep it");
            }
            self.timeline
                .set_batches(self.shared.rig.lock().is_batch_enabled());
            self.next = self.timeline.next();
            let told = match item.happening {
                Happening::Property(change) => {
                    self.shared.tell_property(publisher.as_ref(), change)
                }
                Happening::Event(occurrence) => self.shared.happen(publisher.as_ref(), occurrence),
            };
            warn(told, "something that happened");
        }
    }

    fn play_script(&mut self, now: Instant) {
        while let Some(step) = self.script.pop_front() {
            let is_due = self
                .started
                .checked_add(step.at)
                .is_some_and(|at| at <= now);
            if !is_due {
                self.script.push_front(step);
                return;
            }
            self.act(step.action, now);
        }
    }

    fn act(&mut self, action: ScriptAction, now: Instant) {
        let publisher = self.publisher();
        let to = publisher.as_ref();
        let told = match action {
            ScriptAction::Event(occurrence) => self.shared.tell_by_hand(to, occurrence),
            ScriptAction::Property(change) => self.shared.tell_property(to, change),
            ScriptAction::Raw { topic, body } => self.shared.tell_raw(to, topic, body),
            fault => {
                self.shared.faults.lock().add(&fault);
                match fault {
                    ScriptAction::Silence { during } => {
                        self.silent_until = now.checked_add(during);
                        self.shared.set_silent(true);
                    }
                    ScriptAction::Restart { down } => {
                        self.shared.close();
                        self.restart_at = now.checked_add(down);
                    }
                    _ => {}
                }
                self.shared.observe(|| Observation::Fault(fault));
                Ok(())
            }
        };
        warn(told, "a line of the script");
    }

    /// Publishes what is due; in a silence and without a service, results wait.
    fn publish_results(&mut self, now: Instant) {
        if self.silent_until.is_some() || self.restart_at.is_some() {
            return;
        }
        let publisher = self.publisher();
        for due in self.results.extract_if(.., |due| due.at <= now) {
            let mut sent = due.pending.finish(&due.outcome);
            if sent.is_ok() {
                self.shared.result(&due.request, &due.outcome);
            }
            if let (true, Some(publisher)) = (due.is_doubled, &publisher) {
                sent =
                    sent.and_then(|()| publisher.send_command_result(&due.request, &due.outcome));
                if sent.is_ok() {
                    self.shared.result(&due.request, &due.outcome);
                }
            }
            warn(sent, "a result");
        }
    }

    fn end_silence(&mut self, now: Instant) {
        if self.silent_until.is_some_and(|until| now >= until) {
            self.silent_until = None;
            self.shared.set_silent(false);
        }
    }

    fn restart(&mut self, now: Instant) -> Result<(), RpcError> {
        if self.restart_at.is_none_or(|at| now < at) {
            return Ok(());
        }
        self.restart_at = None;
        let line = start(
            &self.shared,
            self.options.clone(),
            self.prepare.as_ref(),
            &self.order_sender,
        )?;
        let epoch = line.service.epoch();
        self.shared.open(line);
        self.shared.observe(|| Observation::Restarted { epoch });
        Ok(())
    }

    fn next_deadline(&self) -> Option<Instant> {
        let are_results_held = self.silent_until.is_some() || self.restart_at.is_some();
        let results = self
            .results
            .iter()
            .map(|due| due.at)
            .min()
            .filter(|_| !are_results_held);
        let after_start = |at: Duration| self.started.checked_add(at);
        let item = self.next.as_ref().and_then(|item| after_start(item.at));
        let step = self.script.front().and_then(|step| after_start(step.at));
        let all = [
            item,
            step,
            results,
            self.silent_until,
            self.restart_at,
            self.end(),
        ];
        all.into_iter().flatten().min()
    }

    fn end(&self) -> Option<Instant> {
        self.started.checked_add(self.duration?)
    }

    fn publisher(&self) -> Option<Publisher> {
        self.shared.service().map(|service| service.publisher())
    }
}

/// Starts a service whose delegate is the rig.
pub(crate) fn start(
    shared: &Arc<Shared>,
    options: RpcOptions,
    prepare: Option<&Prepare>,
    orders: &Sender<Order>,
) -> Result<Line, RpcError> {
    let service = Arc::new(RpcService::new(options));
    if let Some(prepare) = prepare {
        prepare.call(&service)?;
    }
    let (closing_sender, closing) = bounded(0);
    service.set_delegate(SimulatedDelegate {
        shared: Arc::clone(shared),
        publisher: service.publisher(),
        orders: orders.clone(),
        closing,
    });
    service.start()?;
    Ok(Line {
        service,
        closing: closing_sender,
    })
}

fn warn(told: Result<(), RpcError>, what: &str) {
    if let Err(error) = told {
        log::warn!("{what} was not published: {error}");
    }
}

/// A timeline that is so late does not keep its rate.
const LATE: Duration = Duration::from_secs(1);

/// Between two looks at orders and results, however far the timeline is behind.
const ITEMS_AT_ONCE: u32 = 256;
