//! Peers that misbehave, and how soon a good client is answered beside them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::exit::{Exit, Failure};
use crate::rpc::{
    ApiCommand, ClientOptions, CommandRequest, CommandResponse, CommandResult, RemoteClient,
    Response, RpcOptions, RpcService,
};

use super::PATIENCE;
use super::measure::{Plan, Samples, median};
use super::raw::{Requester, loopback, silent};
use super::report::{Row, Target};

/// A good command after each of many malformed ones: the longest of a run, and the 99th percentile.
pub(super) fn malformed(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let count = plan.choose(2_000, 20_000);
    rows(
        plan,
        || good_after_malformed(count),
        |runs| {
            vec![
                (
                    "malformed-good-longest",
                    figure(runs, 1.0),
                    Target::AtMost(10.0),
                ),
                ("malformed-good-p99", figure(runs, 0.99), Target::None),
            ]
        },
    )
}

/// Good commands while others connect and send garbage, and while many connections stay half-open.
pub(super) fn garbage(plan: &Plan) -> Result<Vec<Row>, Failure> {
    allow_descriptors(u64::from(HALF_OPEN) * 2 + 200)?;
    let count = plan.choose(2_000, 10_000);
    let row = |case| move |runs: &[Samples]| vec![(case, figure(runs, 0.99), Target::AtMost(20.0))];
    let mut all = rows(
        plan,
        || good_beside(|ports| send_garbage(ports, count)),
        row("garbage-good-p99"),
    )?;
    all.extend(rows(
        plan,
        || good_beside(hold_half_open),
        row("half-open-good-p99"),
    )?);
    Ok(all)
}

type Figure = (&'static str, f64, Target);

fn rows(
    plan: &Plan,
    measure: impl Fn() -> Result<Samples, Failure>,
    figures: impl FnOnce(&[Samples]) -> Vec<Figure>,
) -> Result<Vec<Row>, Failure> {
    let runs = plan.choose(1, plan.runs.min(3));
    let samples = (0..runs)
        .map(|_| measure())
        .collect::<Result<Vec<_>, Failure>>()?;
    let row = |(case, ours, target)| Row {
        case,
        unit: "ms",
        ours,
        limit: None,
        peer: None,
        runs,
        target,
    };
    Ok(figures(&samples).into_iter().map(row).collect())
}

/// The median over the runs, in milliseconds.
fn figure(runs: &[Samples], part: f64) -> f64 {
    median(runs.iter().map(|run| run.micros(part) / 1000.0).collect())
}

fn good_after_malformed(count: usize) -> Result<Samples, Failure> {
    let service = service(RpcOptions::default())?;
    let good = client(&service)?;
    let mut bad = Requester::connect(&loopback(service.command_port())?)?;
    let malformed = Malformed::new();
    let mut took = Vec::with_capacity(count);
    for number in 0..count {
        let (request, frames) = malformed.request(number);
        let reply = bad.ask_in_frames(request, frames)?;
        let result = Response::decode(reply, 64)
            .map_err(|error| Failure::of(Exit::BadData, &error))?
            .result();
        if result != CommandResult::Unrecognized {
            let text = format!("malformed request {number} was answered with {result:?}");
            return Err(Failure::new(Exit::Failed, text));
        }
        let begin = Instant::now();
        good.request(ApiCommand::GetStatus, &())?;
        took.push(begin.elapsed());
    }
    Ok(Samples::new(took))
}

/// Requests that no service can use.
struct Malformed {
    short: Vec<&'static [u8]>,
    nested: Vec<u8>,
    oversize: Vec<u8>,
}

impl Malformed {
    fn new() -> Self {
        let members = br#"{"command": 400, "data": "#;
        Self {
            short: vec![
                b"",
                b" \t\r\n",
                b"\xff\xfe\x80",
                br#"{"command": 4"#,
                b"[1, 2]",
                br#"{"nonce": 5}"#,
                br#"{"command": []}"#,
                b"\xef\xbb\xbf{\"command\": 400}",
                br#"{"command": 400}x"#,
                br#"{"command": NaN}"#,
                b"{'command': 400}",
            ],
            nested: [members, &[b'['; 100_000][..]].concat(),
            oversize: vec![b' '; RpcOptions::default().max_command_bytes + 1],
        }
    }

    /// The bytes of a frame, and how many of it the request has.
    fn request(&self, number: usize) -> (&[u8], u32) {
        match number % 400 {
            0 => (&self.oversize, 1),
            100 | 200 | 300 => (&self.nested, 1),
            // 2 to 64 frames, each of which would be good alone.
            case if case % 4 == 0 => (br#"{"command": 400}"#, 2 + (number as u32 / 4) % 63),
            case => (self.short[case % self.short.len()], 1),
        }
    }
}

/// The good commands that one client gets answered, one after another, while `abuse` goes on at the two ports.
fn good_beside(
    abuse: impl FnOnce([u16; 2]) -> Result<(), Failure> + Send,
) -> Result<Samples, Failure> {
    let service = service(RpcOptions::default().handshake_timeout(HANDSHAKE))?;
    let good = client(&service)?;
    let ports = [service.command_port(), service.subscriber_port()];
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let abusing = scope.spawn(|| {
            let abused = abuse(ports);
            over.store(true, Ordering::Relaxed);
            abused
        });
        let mut took = Vec::new();
        let mut answered = Ok(());
        while answered.is_ok() && !over.load(Ordering::Relaxed) {
            let begin = Instant::now();
            answered = good.request(ApiCommand::GetStatus, &()).map(drop);
            took.push(begin.elapsed());
        }
        abusing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        answered?;
        Ok(Samples::new(took))
    })
}

/// Connects again and again and sends what is no ZMTP, half of the time behind a good begin.
fn send_garbage(ports: [u16; 2], count: usize) -> Result<(), Failure> {
    let mut state = 1_u32;
    for number in 0..count {
        let mut garbage = if number % 4 < 2 {
            greeting()[..1 + number % 64].to_vec()
        } else {
            Vec::new()
        };
        garbage.extend((0..number % 200).map(|_| {
            // Numbers without a pattern that a parser could meet by luck (Numerical Recipes' generator).
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        }));
        let mut stream = TcpStream::connect(("127.0.0.1", ports[number % 2]))?;
        // The service may have ended the connection before all is written.
        let _ = stream.write_all(&garbage);
    }
    Ok(())
}

/// Opens many connections that stop in the middle of the handshake, and keeps them until the service ends each.
fn hold_half_open(ports: [u16; 2]) -> Result<(), Failure> {
    let held = (0..HALF_OPEN as usize)
        .map(|number| {
            let mut stream = TcpStream::connect(("127.0.0.1", ports[number % 2]))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(&greeting()[..number % 65])?;
            Ok(stream)
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    for mut stream in held {
        let mut theirs = [0; 256];
        loop {
            match stream.read(&mut theirs) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(_) => return Err(silent("the end of a half-open connection")),
            }
        }
    }
    Ok(())
}

/// The first 64 bytes of a ZMTP 3.0 connection without keys.
fn greeting() -> [u8; 64] {
    let mut greeting = [0; 64];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    greeting
}

fn service(options: RpcOptions) -> Result<RpcService, Failure> {
    let service = RpcService::launch(options.any_port())?;
    service.set_delegate(|_: &CommandRequest| CommandResponse::success());
    Ok(service)
}

/// A client that is connected.
fn client(service: &RpcService) -> Result<RemoteClient, Failure> {
    let options = ClientOptions::default()
        .ports(service.subscriber_port(), service.command_port())
        .timeout(PATIENCE)
        .retries(0);
    let client = RemoteClient::connect(options)?;
    client.request(ApiCommand::GetStatus, &())?;
    Ok(client)
}

/// Both ends of each connection are in this process: many systems allow 1,024 descriptors unless asked for more.
pub(super) fn allow_descriptors(count: u64) -> Result<(), Failure> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    limit.current = Some(limit.maximum.map_or(count, |most| most.min(count)));
    setrlimit(Resource::Nofile, limit).map_err(|errno| {
        Failure::of(Exit::Failed, &std::io::Error::from(errno)).while_doing("allowing descriptors")
    })
}

const HALF_OPEN: u32 = 1_000;

/// Long enough for all half-open connections to be there together.
const HANDSHAKE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::{Dialect, decode_request, json};

    #[test]
    fn malformed_requests_of_one_frame_are_unusable() {
        let malformed = Malformed::new();
        let limit = RpcOptions::default().max_command_bytes;
        for number in 0..400 {
            let (request, frames) = malformed.request(number);
            let is_unusable = frames > 1
                || request.len() > limit
                || decode_request(request, json::DEPTH_CEILING, Dialect::Plain).is_err();
            assert!(is_unusable, "{number}");
        }
    }

    #[test]
    fn greeting_is_that_of_zmtp_3() {
        let greeting = greeting();
        assert_eq!(greeting[..12], [0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0]);
        assert_eq!(&greeting[12..17], b"NULL\0");
    }
}
