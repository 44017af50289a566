//! A subscriber and its server on two machines, which are network namespaces, over a cable that is pulled again and again.
#![cfg(target_os = "linux")]

mod common;
mod eventer_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use acqbus::event::{Event, EventType, Subscription};
use acqbus::eventer::{ClientOptions, EventerClient, Notice, ServerOptions};
use common::machine::Machine;
use eventer_support::node::{Disk, Node, events_of};
use eventer_support::{PATIENCE, events};

#[test]
fn subscriber_misses_nothing_and_gets_nothing_twice_over_forty_cuts() {
    let machines = [Machine::new(), Machine::new()];
    machines[0].cable_to(&machines[1]);
    let node = machines[0].run(|| {
        let options = ServerOptions::default()
            .bind(([10, 99, 0, 1], 0).into())
            .insecure(true)
            .ping_after(SILENCE)
            .close_after_ping(SILENCE);
        Disk::new(1).run_with(options)
    });
    let address = node.address().to_string();
    let client = machines[1].run(move || {
        let options = ClientOptions::new(address)
            .subscription(wanted())
            .connect_timeout(Duration::from_millis(300))
            .timeout(PATIENCE)
            .backoff(Duration::from_millis(10), Duration::from_millis(50))
            .keep_alive(SILENCE, SILENCE);
        EventerClient::connect(options).unwrap()
    });

    let enough = AtomicBool::new(false);
    let mut taken = Taken::default();
    let sent = thread::scope(|scope| {
        let sending = scope.spawn(|| register_until(&node, &enough));
        for cut in 0..CUTS {
            taken.add_events(&client, 20);
            machines[0].ip("link set cable down");
            // Every other cut is shorter than the patience of both: the connection lives on.
            if cut % 2 == 0 {
                taken.add_until(&client, |notice| {
                    matches!(notice, Notice::Disconnected { .. })
                });
                taken.cuts += 1;
            } else {
                taken.add_until_quiet(&client);
            }
            machines[0].ip("link set cable up");
            if cut % 2 == 0 {
                taken.add_until(&client, |notice| matches!(notice, Notice::Resumed { .. }));
            }
        }
        enough.store(true, Ordering::SeqCst);
        sending.join().unwrap()
    });
    while taken.events.len() < sent {
        taken.add_events(&client, 1);
    }
    let mut expected = events_of(&*node.backend, 1);
    expected.retain(|event| wanted().matches(&event.event_type));
    assert_eq!(expected.len(), sent);
    let ids = |events: &[Arc<Event>]| -> Vec<_> { events.iter().map(|event| event.id).collect() };
    assert_eq!(ids(&taken.events), ids(&expected));
    assert_eq!(taken.events, expected);
    assert!(
        taken.missed > 0 && taken.cuts >= CUTS / 2,
        "{} missed",
        taken.missed
    );
    client.close();
    node.stop();
}

fn wanted() -> Subscription {
    Subscription::new([EventType::from("a/?")]).unwrap()
}

/// Registers about a thousand sessions a second, of which the client wants two of three; gives how many events it wants.
fn register_until(node: &Node, enough: &AtomicBool) -> usize {
    let mut wanted = 0;
    for at in 0.. {
        if enough.load(Ordering::SeqCst) {
            break;
        }
        match at % 3 {
            0 => drop(node.register("b", 1)),
            1 => wanted += node.register("a/b", 1).len(),
            _ => wanted += node.register("a/c", 2).len(),
        }
        // The rate, not a wait for anything.
        thread::sleep(Duration::from_millis(1));
    }
    wanted
}

/// What the client was told.
#[derive(Default)]
struct Taken {
    events: Vec<Arc<Event>>,
    missed: u64,
    cuts: u32,
}

impl Taken {
    fn add(&mut self, notice: &Notice) {
        match notice {
            Notice::Events(events) => self.events.extend(events.iter().cloned()),
            Notice::Resumed { missed } => self.missed += missed,
            Notice::CutShort { .. } | Notice::WentBack { .. } => panic!("{notice:?}"),
            _ => {}
        }
    }

    fn add_events(&mut self, client: &EventerClient, count: usize) {
        let mut left = count;
        while left > 0 {
            let notice = next(client);
            left = left.saturating_sub(events(std::slice::from_ref(&notice)).len());
            self.add(&notice);
        }
    }

    fn add_until(&mut self, client: &EventerClient, wanted: impl Fn(&Notice) -> bool) {
        loop {
            let notice = next(client);
            self.add(&notice);
            if wanted(&notice) {
                return;
            }
        }
    }

    /// Takes notices until none comes for a moment, which ends only when the cable does not carry any more.
    fn add_until_quiet(&mut self, client: &EventerClient) {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(notice) = client.notices().recv_timeout(SILENCE / 4) {
            assert!(Instant::now() < deadline, "the cut does not cut");
            self.add(&notice);
        }
    }
}

#[track_caller]
fn next(client: &EventerClient) -> Notice {
    let notice = client.notices().recv_timeout(PATIENCE);
    notice.expect("a notice came in time")
}

/// How long either end may be silent, twice.
const SILENCE: Duration = Duration::from_millis(200);

const CUTS: u32 = 40;
