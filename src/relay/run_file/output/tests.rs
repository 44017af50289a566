use super::*;

/// Keeps what is written, in pieces, and fails when it has too much.
#[derive(Clone, Default)]
struct Disk {
    writes: Arc<Mutex<Vec<Vec<u8>>>>,
    synced: Arc<Mutex<bool>>,
    capacity: Option<usize>,
    stuck: Option<crossbeam_channel::Receiver<()>>,
    panics: bool,
    wrote: Option<crossbeam_channel::Sender<()>>,
}

impl Disk {
    fn bytes(&self) -> Vec<u8> {
        self.writes.lock().concat()
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(stuck) = &self.stuck {
            let _ = stuck.recv();
        }
        assert!(!self.panics, "a sink that panics");
        let mut writes = self.writes.lock();
        let used: usize = writes.iter().map(Vec::len).sum();
        let room = self.capacity.map_or(usize::MAX, |capacity| capacity - used);
        if room == 0 {
            return Err(io::Error::from_raw_os_error(28));
        }
        let bytes = &bytes[..bytes.len().min(room)];
        writes.push(bytes.to_vec());
        if let Some(wrote) = &self.wrote {
            let _ = wrote.send(());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Disk {
    fn sync(&mut self) -> io::Result<()> {
        *self.synced.lock() = true;
        Ok(())
    }
}

const LONG: Duration = Duration::from_secs(600);

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

#[test]
fn bytes_come_in_order_and_in_aligned_writes() {
    let disk = Disk::default();
    let output = Output::start(disk.clone(), 2, LONG).expect("a thread");
    let all = pattern(5 * CHUNK + 1234);
    let mut rest = &all[..];
    let mut len = 1;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(len.min(rest.len()));
        let (head, body) = now.split_at(now.len().min(16));
        match head.try_into() {
            Ok(head) => output.append::<16>(head, body),
            Err(_) => output.append(&[], now),
        }
        .expect("room");
        rest = later;
        len = len * 3 % 3_000_017;
    }
    output.finish(true).expect("room");
    let sizes: Vec<usize> = disk.writes.lock().iter().map(Vec::len).collect();
    assert_eq!(sizes, [CHUNK, CHUNK, CHUNK, CHUNK, CHUNK, 1234]);
    assert!(disk.bytes() == all);
    assert!(*disk.synced.lock());
}

#[test]
fn quiet_run_is_flushed_by_time_and_aligned_again() {
    let (wrote, written) = crossbeam_channel::unbounded();
    let disk = Disk {
        wrote: Some(wrote),
        ..Disk::default()
    };
    let output = Output::start(disk.clone(), 2, Duration::from_millis(5)).expect("a thread");
    output.append(b"head", b"body").expect("room");
    written
        .recv_timeout(Duration::from_secs(20))
        .expect("flushed by time");
    assert_eq!(disk.bytes(), b"headbody");
    output.append(&[], &pattern(2 * CHUNK)).expect("room");
    output.finish(false).expect("room");
    assert_eq!(disk.bytes().len(), 2 * CHUNK + 8);
    let mut at = 0;
    for write in disk.writes.lock().iter() {
        assert!(
            at / CHUNK == (at + write.len() - 1) / CHUNK,
            "a write over a boundary at {at}"
        );
        at += write.len();
    }
    assert!(!*disk.synced.lock());
}

#[test]
fn rest_behind_a_full_chunk_is_flushed_by_time_after_the_timer_took_the_chunk() {
    let (release, stuck) = crossbeam_channel::unbounded();
    let (wrote, written) = crossbeam_channel::unbounded();
    let disk = Disk {
        stuck: Some(stuck),
        wrote: Some(wrote),
        ..Disk::default()
    };
    let output = Output::start(disk.clone(), 2, Duration::from_millis(1)).expect("a thread");
    let all = pattern(2 * CHUNK + 5);
    let (first, rest) = all.split_at(CHUNK + 1);
    output.append(&[], first).expect("room");
    std::thread::scope(|scope| {
        scope.spawn(|| output.append(&[], rest).expect("room"));
        // While the first chunk is being written, the second gets full and over its time.
        while !output.shared.state.lock().filling.is_full() {
            std::thread::yield_now();
        }
        let full = output.shared.state.lock().since.expect("not written yet");
        while full.elapsed() < Duration::from_millis(2) {
            std::thread::yield_now();
        }
        for _ in 0..3 {
            release.send(()).expect("a disk");
        }
        for _ in 0..3 {
            written
                .recv_timeout(Duration::from_secs(20))
                .expect("flushed by time");
        }
    });
    assert!(disk.bytes() == all);
    output.finish(false).expect("room");
}

#[test]
fn leased_bytes_come_in_order_among_others() {
    let disk = Disk::default();
    let output = Output::start(disk.clone(), 2, Duration::from_millis(1)).expect("a thread");
    let all = pattern(3 * CHUNK + 77);
    for (index, part) in all.chunks(100_003).enumerate() {
        if index % 3 == 0 {
            output.append(&[], part).expect("room");
            continue;
        }
        let mut lease = output.lease().expect("a disk");
        for piece in part.chunks(1 + index * 1000) {
            lease.append(&[], piece).expect("room");
        }
    }
    output.finish(false).expect("room");
    assert!(disk.bytes() == all);
}

#[test]
fn end_of_a_lease_is_flushed_by_time_in_a_quiet_run() {
    let (wrote, written) = crossbeam_channel::unbounded();
    let disk = Disk {
        wrote: Some(wrote),
        ..Disk::default()
    };
    let output = Output::start(disk.clone(), 2, Duration::from_millis(5)).expect("a thread");
    for all in [&b"one"[..], b"onetwo"] {
        // Older than the lease, so the thread may come for it while it is lent.
        output
            .append(&[], &all[all.len() - 3..][..1])
            .expect("room");
        let mut lease = output.lease().expect("a disk");
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(10) {
            std::thread::yield_now();
        }
        lease.append(&[], &all[all.len() - 2..]).expect("room");
        drop(lease);
        while disk.bytes() != all {
            written
                .recv_timeout(Duration::from_secs(20))
                .expect("flushed by time");
        }
    }
    output.finish(false).expect("room");
}

#[test]
fn full_disk_is_told_to_a_lease_again_and_again() {
    let disk = Disk {
        capacity: Some(CHUNK + 100),
        ..Disk::default()
    };
    let output = Output::start(disk.clone(), 2, LONG).expect("a thread");
    let mut lease = output.lease().expect("a disk");
    let piece = pattern(300_000);
    let outcome = (0..1000).try_for_each(|_| lease.append(&[], &piece));
    let (_, error) = outcome.expect_err("a full disk");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(lease.append(b"more", b"").is_err());
    drop(lease);
    assert!(output.lease().is_err());
    assert!(output.finish(true).is_err());
    assert_eq!(disk.bytes().len(), CHUNK + 100);
}

#[test]
fn interval_beyond_the_clock_is_never() {
    let disk = Disk::default();
    let output = Output::start(disk.clone(), 2, Duration::MAX).expect("a thread");
    output.append(&[], &pattern(4 * CHUNK + 7)).expect("room");
    output.finish(false).expect("room");
    assert!(disk.bytes() == pattern(4 * CHUNK + 7));
}

#[test]
fn panic_of_the_thread_is_a_failure_and_hangs_none() {
    let disk = Disk {
        panics: true,
        ..Disk::default()
    };
    let output = Output::start(disk, 2, LONG).expect("a thread");
    let (_, error) = output
        .append(&[], &pattern(8 * CHUNK))
        .expect_err("a panic");
    assert_eq!(error.to_string(), "the writing thread panicked");
    assert!(output.finish(true).is_err());
}

#[test]
fn full_disk_is_told_to_every_caller_and_hangs_none() {
    let disk = Disk {
        capacity: Some(CHUNK + 100),
        ..Disk::default()
    };
    let output = Output::start(disk.clone(), 3, LONG).expect("a thread");
    let piece = pattern(300_000);
    let mut failed = None;
    for _ in 0..1000 {
        if let Err(error) = output.append(&[], &piece) {
            failed = Some(error);
            break;
        }
    }
    let (action, error) = failed.expect("a full disk");
    assert_eq!(
        (action, error.kind()),
        ("write", io::ErrorKind::StorageFull)
    );
    assert!(output.append(b"more", b"").is_err());
    let (_, error) = output.finish(true).expect_err("told again");
    assert_eq!(error.raw_os_error(), Some(28));
    assert_eq!(disk.bytes().len(), CHUNK + 100);
}

#[test]
fn full_disk_at_the_last_write_is_told_at_the_end() {
    let disk = Disk {
        capacity: Some(5),
        ..Disk::default()
    };
    let output = Output::start(disk.clone(), 2, LONG).expect("a thread");
    output.append(b"0123456789", b"").expect("in memory");
    assert!(output.finish(true).is_err());
    assert_eq!(disk.bytes(), b"01234");
    assert!(!*disk.synced.lock());
}

#[test]
fn slow_disk_holds_the_caller_back() {
    let (release, stuck) = crossbeam_channel::unbounded();
    let disk = Disk {
        stuck: Some(stuck),
        ..Disk::default()
    };
    let output = Output::start(disk.clone(), 3, LONG).expect("a thread");
    let (done, finished) = crossbeam_channel::bounded(0);
    let thread = std::thread::spawn(move || {
        output.append(&[], &pattern(8 * CHUNK)).expect("room");
        done.send(()).expect("a listener");
        output.finish(false).expect("room");
    });
    // Three chunks are all there is, so the fourth cannot be begun.
    assert!(finished.recv_timeout(Duration::from_millis(50)).is_err());
    drop(release);
    finished
        .recv_timeout(Duration::from_secs(20))
        .expect("released");
    thread.join().expect("no panic");
    assert!(disk.bytes() == pattern(8 * CHUNK));
}
