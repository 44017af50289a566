//! The queue without a thread, and with its callers.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::cdtp::{Encoding, MessageHead};
use crate::zsocket::{FramePool, WakeReceiver, wait, wake_pair};

const INTERVAL: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(20);

fn queue(threshold: u64, records: u64, bytes: u64) -> (Queue, WakeReceiver) {
    let (waker, wake) = wake_pair().unwrap();
    let head = MessageHead::new("Tests.one").unwrap();
    let pool = FramePool::new(1 << 20, None);
    let assembly = Assembly::new(head, Encoding::Compact, threshold, pool);
    let limits = QueueLimits {
        records,
        bytes,
        flush_interval: INTERVAL,
    };
    let queue = Queue::new(limits, assembly, waker);
    queue.start(Phase::Open);
    wake.drain();
    (queue, wake)
}

fn push(queue: &Queue, len: usize) -> Result<(), Refusal> {
    push_at(queue, len, Instant::now())
}

fn push_at(queue: &Queue, len: usize, now: Instant) -> Result<(), Refusal> {
    let block = vec![1; len];
    let record = DataRecord::new(1).with_block(&block);
    queue.push(&record, Patience::Never, || now)
}

fn is_woken(wake: &WakeReceiver) -> bool {
    let woken = wait(&[], Some(wake), Some(Instant::now())).unwrap().woken();
    wake.drain();
    woken
}

/// The thread takes all that is ready and holds the first message.
fn hold_first(queue: &Queue, batch: &mut Batch) {
    queue.take(batch);
    queue.pick(&batch.pop().expect("a message is ready"));
}

fn until(park: &Park) -> Option<Instant> {
    match park {
        Park::Until(at) => *at,
        Park::Stay => panic!("there is no message"),
    }
}

#[test]
fn an_interval_beyond_the_clock_never_ends() {
    let (mut queue, wake) = queue(1000, 100, u64::MAX);
    queue.limits.flush_interval = Duration::MAX;
    push(&queue, 10).unwrap();
    assert_eq!(until(&queue.park()), None);
    push(&queue, 1000).unwrap();
    assert!(is_woken(&wake), "it is full");
    assert_eq!(queue.waiting(), 2);
}

#[test]
fn a_large_record_does_not_make_a_message_that_a_peer_refuses() {
    let (queue, _wake) = queue(1 << 30, 100, u64::MAX);
    push(&queue, 63 << 20).unwrap();
    push(&queue, 40 << 20).unwrap();
    let mut batch = Batch::default();
    queue.take(&mut batch);
    let lens: Vec<_> = std::iter::from_fn(|| batch.pop())
        .map(|message| message.payload >> 20)
        .collect();
    assert_eq!(lens, [63]);
    assert_eq!(queue.waiting(), 2);
}

#[test]
fn two_wait_besides_the_one_in_the_hands_of_the_thread() {
    let (queue, _wake) = queue(0, 2, u64::MAX);
    let mut batch = Batch::default();
    push(&queue, 10).unwrap();
    hold_first(&queue, &mut batch);
    assert!(queue.can_push());
    push(&queue, 10).unwrap();
    push(&queue, 10).unwrap();
    assert_eq!(push(&queue, 10), Err(Refusal::Full));
    assert!(!queue.can_push());
    assert_eq!(queue.waiting(), 2);
    // Taken is not sent: what the thread still has waits too.
    queue.take(&mut batch);
    assert_eq!(push(&queue, 10), Err(Refusal::Full));
    queue.pick(&batch.pop().unwrap());
    push(&queue, 10).unwrap();
}

#[test]
fn message_under_way_does_not_count_while_the_thread_is_idle() {
    let (queue, _wake) = queue(1000, 2, u64::MAX);
    let mut batch = Batch::default();
    for _ in 0..100 {
        push(&queue, 9).unwrap();
    }
    push(&queue, 500).unwrap();
    assert_eq!(push(&queue, 1), Err(Refusal::Full), "101 records are ready");
    hold_first(&queue, &mut batch);
    push(&queue, 1).unwrap();
    push(&queue, 1).unwrap();
    assert_eq!(push(&queue, 1), Err(Refusal::Full));
    assert!(matches!(queue.park(), Park::Until(_)));
    push(&queue, 1).unwrap();
}

#[test]
fn bytes_bound_the_queue_but_for_one_record() {
    let (queue, _wake) = queue(0, 100, 1000);
    let mut batch = Batch::default();
    push(&queue, 5000).unwrap();
    hold_first(&queue, &mut batch);
    push(&queue, 5000).unwrap();
    assert_eq!(push(&queue, 1), Err(Refusal::Full));
    hold_first(&queue, &mut batch);
    push(&queue, 500).unwrap();
    assert_eq!(push(&queue, 500), Err(Refusal::Full));
    push(&queue, 100).unwrap();
}

#[test]
fn thread_is_woken_for_a_ready_message_and_once() {
    let (queue, wake) = queue(0, 100, u64::MAX);
    assert!(until(&queue.park()).is_none());
    push(&queue, 10).unwrap();
    assert!(is_woken(&wake));
    push(&queue, 10).unwrap();
    assert!(!is_woken(&wake), "it is awake");
    assert!(matches!(queue.park(), Park::Stay));
}

#[test]
fn thread_is_woken_for_the_timer_and_not_for_every_record() {
    let (queue, wake) = queue(1000, 100, u64::MAX);
    let start = Instant::now();
    assert!(until(&queue.park()).is_none());
    push_at(&queue, 10, start).unwrap();
    assert!(is_woken(&wake));
    assert_eq!(until(&queue.park()), Some(start + INTERVAL));
    push_at(&queue, 10, start + INTERVAL / 2).unwrap();
    assert!(!is_woken(&wake));
    queue.flush_due(start + INTERVAL);
    assert!(matches!(queue.park(), Park::Stay));
    let mut batch = Batch::default();
    queue.take(&mut batch);
    assert_eq!(batch.pop().unwrap().records, 2);
    assert!(until(&queue.park()).is_none());
}

#[test]
fn timer_of_a_message_that_has_gone_moves_to_the_next() {
    let (queue, wake) = queue(1000, 100, u64::MAX);
    let start = Instant::now();
    let later = start + INTERVAL / 2;
    push_at(&queue, 10, start).unwrap();
    push_at(&queue, 1000, start).unwrap();
    push_at(&queue, 0, later).unwrap();
    let mut batch = Batch::default();
    queue.take(&mut batch);
    assert_eq!(until(&queue.park()), Some(start + INTERVAL));
    queue.flush_due(start + INTERVAL);
    assert_eq!(until(&queue.park()), Some(later + INTERVAL));
    queue.flush_due(later + INTERVAL);
    queue.take(&mut batch);
    assert_eq!(batch.pop().unwrap().records, 1, "without payload");
    assert!(!is_woken(&wake), "it was not parked");
}

#[test]
fn failed_queue_takes_up_to_its_bound_and_then_refuses_even_who_would_wait() {
    let (queue, _wake) = queue(0, 2, u64::MAX);
    let mut batch = Batch::default();
    push(&queue, 1).unwrap();
    hold_first(&queue, &mut batch);
    queue.fail();
    push(&queue, 1).unwrap();
    push(&queue, 1).unwrap();
    let refused = queue.push(&DataRecord::new(1), Patience::ForEver, Instant::now);
    assert_eq!(refused, Err(Refusal::Failed));
    assert!(matches!(queue.park(), Park::Until(None)));
    queue.stop(Phase::Stopped);
    let (lost, _) = queue.discard(batch);
    assert_eq!((lost, queue.waiting()), (2, 0));
    queue.start(Phase::Open);
    push(&queue, 1).unwrap();
}

#[test]
fn phase_decides_what_becomes_of_a_record() {
    let (queue, _wake) = queue(0, 2, u64::MAX);
    queue.stop(Phase::Stopped);
    assert_eq!(push(&queue, 1), Err(Refusal::NotSending));
    queue.start(Phase::Disabled);
    for _ in 0..10 {
        push(&queue, 1).unwrap();
    }
    assert_eq!((queue.discarded(), queue.waiting()), (10, 0));
    queue.close();
    assert_eq!(push(&queue, 1), Err(Refusal::Closed));
    queue.start(Phase::Open);
    assert_eq!(push(&queue, 1), Err(Refusal::Closed), "for good");
}

#[test]
fn callers_that_wait_go_on_while_the_thread_empties_the_smallest_queue() {
    const CALLERS: u64 = 3;
    const EACH: u64 = 3000;
    let (queue, wake) = queue(0, 1, u64::MAX);
    let queue = Arc::new(queue);
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || {
                for _ in 0..EACH {
                    let deadline = Patience::Until(Instant::now() + LONG);
                    let record = DataRecord::new(1).with_block(b"abc");
                    queue.push(&record, deadline, Instant::now).unwrap();
                }
            })
        })
        .collect();
    let mut batch = Batch::default();
    let mut count = 0;
    while count < CALLERS * EACH {
        queue.take(&mut batch);
        while let Some(message) = batch.pop() {
            queue.pick(&message);
            count += message.records;
        }
        if count < CALLERS * EACH
            && let Park::Until(None) = queue.park()
        {
            let ready = wait(&[], Some(&wake), Some(Instant::now() + LONG)).unwrap();
            assert!(ready.woken(), "stuck at {count}");
            wake.drain();
        }
    }
    for caller in callers {
        caller.join().unwrap();
    }
}

proptest! {
    /// Whatever the order of calls, each record that was taken is ready, waits, or was picked.
    #[test]
    fn records_are_never_lost_nor_doubled(
        threshold in prop::sample::select(vec![0, 50, 1000]),
        ops in prop::collection::vec((0_u8..8, 0_usize..300), 0..200),
    ) {
        let (queue, _wake) = queue(threshold, 10, 3000);
        let start = Instant::now();
        let mut batch = Batch::default();
        let (mut taken, mut picked) = (0, 0);
        for (step, (op, len)) in ops.into_iter().enumerate() {
            let now = start + Duration::from_millis(step as u64 * 10);
            match op {
                0..4 => taken += u64::from(push_at(&queue, len, now).is_ok()),
                4 => queue.flush_due(now),
                5 => queue.flush(),
                6 if batch.is_empty() => {
                    queue.take(&mut batch);
                }
                _ => match batch.pop() {
                    Some(message) => {
                        queue.pick(&message);
                        picked += message.records;
                    }
                    None => drop(queue.park()),
                },
            }
            prop_assert_eq!(queue.waiting(), taken - picked);
        }
        let (lost, _) = queue.discard(batch);
        prop_assert_eq!(lost, taken - picked);
        prop_assert_eq!(queue.waiting(), 0);
    }
}
