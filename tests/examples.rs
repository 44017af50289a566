//! Each example runs to its end by itself and says what it should.

use std::env;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn embed_publishes_and_answers() {
    let said = run("embed");
    assert!(said.contains("events at port "), "{said}");
    assert!(
        said.contains(r#"GET_STATUS: SUCCESS {"appMode":0}"#),
        "{said}"
    );
    assert!(said.contains("EMERGENCY_STOP: SUCCESS null"), "{said}");
}

#[test]
fn pending_command_tells_its_progress_and_its_result() {
    let said = run("pending_command");
    assert!(
        said.contains(r#"so far: PENDING_WITH_NOTIFICATION {"step":3,"of":3}"#),
        "progress: {said}"
    );
    assert!(
        said.contains("so far: PENDING_WITH_NOTIFICATION null"),
        "reply: {said}"
    );
    assert!(
        said.contains(r#"result: SUCCESS {"offset":0.25}"#),
        "result: {said}"
    );
}

#[test]
fn tap_sees_all_events() {
    assert!(run("tap").ends_with("2 events, 0 messages lost\n"));
}

#[test]
fn client_connects_asks_and_gets_an_event() {
    let said = run("client");
    assert!(said.contains("connected to autotrainer-device"), "{said}");
    assert!(said.contains("status: SUCCESS"), "{said}");
    assert!(
        said.contains("event: Some(") && said.contains("TunnelEnter"),
        "{said}"
    );
}

#[test]
fn secure_serves_by_role_and_refuses_a_revoked_key() {
    let said = run("secure");
    for line in [
        r#"Some("vic") asks for GET_STATUS"#,
        "EMERGENCY_STOP: SUCCESS 0",
        "EMERGENCY_STOP: FAILED 403",
        "ada, revoked: ",
        "refuses the connection",
    ] {
        assert!(said.contains(line), "{line} is missing in:\n{said}");
    }
    assert!(!said.contains(r#"Some("vic") asks for EMERGENCY_STOP"#));
}

#[test]
fn run_send_sends_a_whole_run() {
    let said = run("run_send");
    assert!(said.contains("Camera.left sends at tcp://"), "{said}");
    assert!(
        said.contains("GOOD: 100 records, 30720000 bytes in 100 messages"),
        "{said}"
    );
}

#[test]
fn run_receive_gets_the_run_of_run_send() {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let port = free.local_addr().expect("it is bound").port();
    drop(free);
    let sender = thread::spawn(move || run_with("run_send", &[port.to_string()]));
    let said = run_with("run_receive", &[format!("127.0.0.1:{port}")]);
    assert!(said.contains("Camera.left begins a run"), "{said}");
    assert!(said.contains("Camera.left 100: 307200 bytes"), "{said}");
    assert!(said.contains("Camera.left has ended: GOOD"), "{said}");
    sender.join().expect("the sender ends well");
}

#[test]
fn every_example_is_run_here() {
    let mut names: Vec<_> = std::fs::read_dir(top().join("examples"))
        .expect("examples/ is there")
        .map(|entry| entry.expect("examples/ can be read").path())
        .filter_map(|path| {
            Some(
                path.to_str()?
                    .strip_suffix(".rs")?
                    .rsplit('/')
                    .next()?
                    .to_owned(),
            )
        })
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "client",
            "embed",
            "pending_command",
            "run_receive",
            "run_send",
            "secure",
            "tap"
        ]
    );
}

/// Runs an example and returns its standard output; it must succeed in time.
fn run(name: &str) -> String {
    run_with(name, &[])
}

fn run_with(name: &str, args: &[String]) -> String {
    let child = Command::new(examples().join(name))
        .args(args)
        .env_remove("ACQBUS_HOST")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("example {name} cannot be started: {error}"));
    let output = finish(child, name);
    let said = String::from_utf8(output.stdout).expect("text");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name}: {}\n{said}{complaint}",
        output.status
    );
    said
}

/// Waits until the example closes its output and ends; one that does not is killed.
fn finish(mut child: Child, name: &str) -> Output {
    let out = read_all(child.stdout.take().expect("piped"));
    let err = read_all(child.stderr.take().expect("piped"));
    let deadline = Instant::now() + DEADLINE;
    let [stdout, stderr] = [out, err]
        .map(|pipe| pipe.recv_timeout(deadline.saturating_duration_since(Instant::now())));
    if stdout.is_err() || stderr.is_err() {
        let _ = child.kill();
        panic!("example {name} did not end within {DEADLINE:?}");
    }
    Output {
        status: child.wait().expect("a child of ours"),
        stdout: stdout.unwrap_or_default(),
        stderr: stderr.unwrap_or_default(),
    }
}

/// All that comes out of a pipe until its other end closes.
fn read_all(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).expect("a pipe can be read");
        // The test has given up if this fails.
        let _ = sender.send(bytes);
    });
    receiver
}

/// The folder of the built examples; `cargo test --test examples` alone would not build them.
fn examples() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let this = env::current_exe().expect("this test is a file");
        let profile = this
            .ancestors()
            .nth(2)
            .expect("target/PROFILE/deps/examples-…");
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .current_dir(top())
            .args(["build", "--quiet", "--examples"]);
        cargo.arg("--target-dir").arg(profile.join(".."));
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        if !cfg!(feature = "cli") {
            cargo.arg("--no-default-features");
        }
        let built = cargo.status().expect("cargo can be started");
        assert!(built.success(), "the examples were not built: {built}");
        profile.join("examples")
    });
    folder.clone()
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// An example needs less than 2 s; a busy machine gets more.
const DEADLINE: Duration = Duration::from_secs(20);
