//! `acqbus console`: lines from a pipe, and a person at a terminal.
#![cfg(feature = "cli")]

mod cli_support;

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Instant;

use acqbus::rpc::ApiCommand;
use cli_support::{Done, PATIENCE, Program, Service};
use expectrl::{Eof, Expect, Session};
use rustix::termios::{LocalModes, tcgetattr};

#[test]
fn piped_lines_are_done_one_by_one() {
    let (program, service) = (Program::new(), Service::start());
    let done = piped(
        &program,
        &service,
        &["--json"],
        "GET_STATUS\n\n# a note\nuser 7 name=rig-1\n",
    )
    .code(0);
    let replies: Vec<_> = done
        .json()
        .into_iter()
        .filter(|line| line.get("result").is_some())
        .collect();
    assert_eq!(replies.len(), 2, "{}", done.out);
    assert_eq!(replies[0]["data"]["applicationMode"], 0);
    assert_eq!(replies[1]["data"]["name"], "rig-1");
    assert_eq!(
        service.commands(),
        [ApiCommand::GetStatus, ApiCommand::UserDefined]
    );
}

#[test]
fn end_of_input_waits_for_pending_results() {
    let (program, service) = (Program::new(), Service::start());
    let done = piped(
        &program,
        &service,
        &["--json"],
        "user 1 seconds=0.3\nuser 1 seconds=0.1\n",
    )
    .code(0);
    let results: Vec<_> = done
        .json()
        .iter()
        .filter_map(|line| line.get("result").and_then(|result| result.as_i64()))
        .collect();
    assert_eq!(results, [201, 201, 100, 100], "{}", done.out);
}

#[test]
fn exit_code_is_that_of_the_worst_line() {
    let (program, service) = (Program::new(), Service::start());
    let code = |lines: &str| piped(&program, &service, &["--timeout", "0.5"], lines);
    code("GET_STATUS\nuser 4\nGET_STATUS\n").code(1);
    code("user 10 seconds=0.1\n").code(1);
    code("GET_STAUTS\nGET_STATUS\n").code(2);
    code("user 1 seconds=600\n").code(4);
    code("user 9\nquit\nuser 4\n").code(0);
}

#[test]
fn nothing_is_confirmed_by_a_pipe() {
    let (program, service) = (Program::new(), Service::start());
    let done = piped(
        &program,
        &service,
        &[],
        "EMERGENCY_STOP\nEMERGENCY_RESUME\n",
    )
    .code(2);
    assert!(done.err.contains("--yes"), "{}", done.err);
    assert_eq!(service.commands(), [ApiCommand::EmergencyStop]);
    piped(&program, &service, &["--yes"], "EMERGENCY_RESUME\n").code(0);
    assert_eq!(
        service.commands(),
        [ApiCommand::EmergencyStop, ApiCommand::EmergencyResume]
    );
}

#[test]
fn piped_console_without_a_service_gives_3() {
    let program = Program::new();
    let mut command = program.command(&["console", "--command-port", "1", "--timeout", "0.3"]);
    command.args(["--subscriber-port", "2"]);
    feed(command, "GET_STATUS\n").code(3);
}

#[test]
fn status_and_pending_tell_how_things_are() {
    let (program, service) = (Program::new(), Service::start());
    let lines = "user 1 seconds=600\npending\nstatus\nhelp set_auto_clamp\n";
    let done = piped(&program, &service, &["--timeout", "0.5"], lines).code(4);
    assert!(done.out.contains("USER_DEFINED nonce"), "{}", done.out);
    assert!(
        done.out.contains("connected to autotrainer-device"),
        "{}",
        done.out
    );
    assert!(done.out.contains("pending 1"), "{}", done.out);
    assert!(done.out.contains("enabled=true|false"), "{}", done.out);
    assert!(done.err.contains("no result yet"), "{}", done.err);
}

#[test]
fn json_console_prints_nothing_but_objects() {
    let (program, service) = (Program::new(), Service::start());
    let lines = "user 1 seconds=600 --nonce 77\npending\nfilter topic EVENT\nmute\nstatus\nhelp\n";
    let args = ["--json", "--timeout", "0.5"];
    let objects = piped(&program, &service, &args, lines).code(4).json();
    let of = |name: &str| {
        let mut of = objects.iter().filter(|object| object["notice"] == name);
        let first = of
            .next()
            .unwrap_or_else(|| panic!("no {name}: {objects:?}"));
        assert!(of.next().is_none(), "two of {name}: {objects:?}");
        first
    };
    let pending = &of("pending")["pending"][0];
    assert_eq!(pending["command"], "USER_DEFINED");
    assert_eq!(pending["customCommand"], 1);
    assert_eq!(pending["nonce"], 77);
    let status = of("status");
    assert_eq!(status["connection"], "connected");
    assert_eq!(status["identifier"], "autotrainer-device");
    assert_eq!(status["pending"], 1);
    assert_eq!(status["muted"], true);
    assert_eq!(status["topic"], "EVENT");
    let help = of("help")["text"].as_str().expect("a text");
    assert!(help.contains("filter topic"), "{help}");
}

#[test]
fn person_at_a_terminal_sends_and_sees_live_messages() {
    let (program, service) = (Program::new(), Service::start());
    let mut person = Person::at(&program, &service, &[]);
    person.sees("acqbus> ");
    person.types("get_status");
    person.sees("GET_STATUS");
    person.sees("SUCCESS");
    person.prompted();
    service.event(1331);
    person.sees("sessionStarted");
    person.types("user 1 seconds=0.1");
    person.sees("PENDING_WITH_NOTIFICATION");
    person.sees("=> USER_DEFINED");
    person.prompted();
    person.types("filter kind sessionEnded");
    person.sees("acqbus> ");
    person.types("status");
    person.sees("kind sessionEnded");
    person.prompted();
    person.types("quit");
    person.leaves_with(0);
}

#[test]
fn live_messages_come_once_and_in_order_while_prompts_come_and_go() {
    let (program, service) = (Program::new(), Service::start());
    let mut person = Person::at(&program, &service, &[]);
    person.sees("acqbus> ");
    service.await_subscriptions(1);
    let kinds = 900_001..=900_050;
    let mut seen = String::new();
    for kind in kinds.clone() {
        service.event(kind);
        person.types("pending");
        // Only at a prompt is anything typed: what is typed ahead of one may be lost.
        for text in ["nothing is pending", "acqbus> "] {
            let captures = person.session.expect(text).unwrap();
            seen += &String::from_utf8_lossy(captures.as_bytes());
        }
    }
    if !seen.contains("kind 900050") {
        let captures = person.session.expect("kind 900050").unwrap();
        seen += &String::from_utf8_lossy(captures.as_bytes());
    }
    let shown: Vec<i64> = seen
        .split("kind ")
        .skip(1)
        .filter_map(|text| text.get(..6)?.parse().ok())
        .collect();
    assert_eq!(shown, kinds.collect::<Vec<_>>(), "{seen}");
    person.types("quit");
    person.leaves_with(0);
}

#[test]
fn pending_commands_stand_above_the_prompt_until_they_end() {
    let (program, service) = (Program::new(), Service::start());
    let mut person = Person::at(&program, &service, &[]);
    person.sees("acqbus> ");
    person.types("user 1 seconds=4");
    person.sees("[1 pending: USER_DEFINED 1, 0 s]");
    person.sees("acqbus> ");
    // Nothing is typed and nothing comes: the line goes on by itself.
    person.sees("[1 pending: USER_DEFINED 1, 1 s]");
    person.types("user 10 seconds=600");
    person.sees("[2 pending: USER_DEFINED 1, ");
    person.sees("=> USER_DEFINED");
    person.sees("[1 pending: USER_DEFINED 10, ");
    person.types("quit");
    person.sees("still pending: USER_DEFINED 10 nonce");
    person.prompted();
    person.types("quit");
    person.leaves_with(0);
}

#[test]
fn line_of_what_is_pending_is_empty_when_it_has_ended() {
    let (program, service) = (Program::new(), Service::start());
    let mut person = Person::at(&program, &service, &[]);
    person.sees("acqbus> ");
    person.types("user 1 seconds=1");
    person.sees("[1 pending: USER_DEFINED 1, 0 s]");
    person.sees("=> USER_DEFINED");
    person.sees("[nothing is pending]");
    person.types("status");
    person.sees("pending 0");
    person.prompted();
    person.types("quit");
    person.leaves_with(0);
}

#[test]
fn tab_completes_commands_and_members() {
    let (program, service) = (Program::new(), Service::start());
    let mut person = Person::at(&program, &service, &[]);
    person.sees("acqbus> ");
    person.session.send("get_s\t").unwrap();
    person.sees("GET_STATUS");
    person.session.send("\r").unwrap();
    person.sees("SUCCESS");
    person.prompted();
    person.session.send("set_auto_cla\t en\t").unwrap();
    person.sees("SET_AUTO_CLAMP_ENABLED enabled=");
    person.session.send("true\r").unwrap();
    person.sees("SUCCESS");
    // Between two prompts the terminal itself would take Ctrl-D.
    person.sees("acqbus> ");
    person.session.send("\x04").unwrap();
    person.leaves_with(0);
}

#[test]
fn dangerous_commands_are_asked_about() {
    let (program, service) = (Program::new(), Service::start());
    let mut person = Person::at(&program, &service, &[]);
    person.sees("acqbus> ");
    person.types("EMERGENCY_STOP");
    person.sees("SUCCESS");
    person.prompted();
    person.types("EMERGENCY_RESUME");
    person.sees("[y/N]");
    person.types("");
    person.sees("was not sent");
    person.prompted();
    person.types("EMERGENCY_RESUME");
    person.sees("[y/N]");
    person.types("y");
    person.sees("SUCCESS");
    person.prompted();
    person.types("quit");
    person.leaves_with(0);
    assert_eq!(
        service.commands(),
        [ApiCommand::EmergencyStop, ApiCommand::EmergencyResume]
    );
}

#[test]
fn history_is_kept_for_the_next_run_and_for_nobody_else() {
    let (program, service) = (Program::new(), Service::start());
    let mut person = Person::at(&program, &service, &[]);
    person.sees("acqbus> ");
    person.types("get_status");
    person.sees("SUCCESS");
    person.prompted();
    person.types("quit");
    person.leaves_with(0);

    let file = program.home().join(".local/state/acqbus/history");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(
        std::fs::read_to_string(&file)
            .unwrap()
            .contains("get_status")
    );

    let mut person = Person::at(&program, &service, &[]);
    person.sees("acqbus> ");
    // Up twice: over `quit` to the command before it.
    person.session.send("\x1b[A\x1b[A\r").unwrap();
    person.sees("SUCCESS");
    person.prompted();
    person.types("quit");
    person.leaves_with(0);
}

#[test]
fn mistake_at_a_terminal_is_explained_and_forgiven() {
    let (program, service) = (Program::new(), Service::start());
    let mut person = Person::at(&program, &service, &[]);
    person.sees("acqbus> ");
    person.types("get_stauts");
    person.sees("try: GET_STATUS");
    person.prompted();
    person.types("quit");
    person.leaves_with(0);
}

#[test]
fn ctrl_c_drops_the_line_and_tells_how_to_end() {
    let (program, service) = (Program::new(), Service::start());
    let mut person = Person::at(&program, &service, &[]);
    person.sees("acqbus> ");
    person.session.send("emergency_stop\x03").unwrap();
    person.sees("the line is dropped");
    person.prompted();
    person.types("status");
    person.sees("pending 0");
    person.prompted();
    person.session.send("\x03").unwrap();
    person.sees("Ctrl-D or `quit` ends");
    person.prompted();
    person.session.send("\x04").unwrap();
    person.leaves_with(0);
    assert_eq!(service.commands(), []);
}

#[test]
fn end_with_commands_pending_is_asked_for_twice() {
    let (program, service) = (Program::new(), Service::start());
    let mut person = Person::at(&program, &service, &[]);
    person.sees("acqbus> ");
    person.types("user 1 seconds=600");
    person.sees("[1 pending: USER_DEFINED 1, ");
    person.prompted();
    person.session.send("\x04").unwrap();
    person.sees("still pending: USER_DEFINED 1 nonce");
    person.prompted();
    // A line between them begins anew.
    person.types("status");
    person.sees("pending 1");
    person.prompted();
    person.session.send("\x04").unwrap();
    person.sees("still pending: USER_DEFINED 1 nonce");
    person.prompted();
    person.session.send("\x04").unwrap();
    person.leaves_with(0);
}

#[test]
fn signal_at_the_prompt_ends_the_console() {
    let (program, service) = (Program::new(), Service::start());
    let mut person = Person::at(&program, &service, &[]);
    person.sees("acqbus> ");
    let id = person.session.get_process().pid().as_raw();
    let id = rustix::process::Pid::from_raw(id).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    person.leaves_with(143);
}

#[test]
fn ctrl_c_ends_a_wait_and_not_the_command() {
    let (program, service) = (Program::new(), Service::start());
    let mut person = Person::at(&program, &service, &["--timeout", "30"]);
    person.sees("acqbus> ");
    person.types("user 1 seconds=600 --wait");
    person.sees("PENDING_WITH_NOTIFICATION");
    person.interrupts_the_wait();
    person.sees("still pending: USER_DEFINED 1 nonce");
    person.prompted();
    person.types("wait");
    person.interrupts();
    person.sees("still pending: USER_DEFINED 1 nonce");
    person.prompted();
    person.types("get_status");
    person.sees("SUCCESS");
    person.prompted();
    person.types("quit");
    person.prompted();
    person.types("quit");
    person.leaves_with(0);
}

#[test]
fn ctrl_c_ends_the_waiting_for_a_reply() {
    let program = Program::new();
    // It takes the connection, and never answers.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mute.local_addr().unwrap().port().to_string();
    let mut command = program.command(&["console", "--timeout", "600"]);
    command
        .args(["--subscriber-port", &port, "--command-port", &port])
        .env("TERM", "xterm");
    let mut person = Person::running(command);
    person.sees("acqbus> ");
    person.types("get_status");
    person.interrupts();
    person.sees("GET_STATUS");
    person.prompted();
    person.types("quit");
    person.leaves_with(0);
}

#[test]
fn console_in_the_background_says_that_it_needs_the_foreground() {
    let (program, service) = (Program::new(), Service::start());
    let mut person = Person::running(in_background(&program, "console", &service.flags()));
    person.sees("another job has");
    person.sees("ended with 2");
    person.leaves_with(0);
}

#[test]
fn rig_in_the_background_runs_without_a_prompt() {
    let program = Program::new();
    for kind in [&["--quiet"][..], &["--json"]] {
        let flags = ["--subscriber-port=0", "--command-port=0", "--duration=1"];
        let flags: Vec<_> = flags.iter().chain(kind).map(ToString::to_string).collect();
        let mut person = Person::running(in_background(&program, "simulate", &flags));
        person.sees("commands");
        person.sees("ended with 0");
        person.leaves_with(0);
    }
}

/// A shell with job control that runs a verb in the background, and says how it ended.
fn in_background(program: &Program, verb: &str, flags: &[String]) -> Command {
    let verb = program.command(&[verb]);
    let mut shell = Command::new("bash");
    for (name, value) in verb.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
        .args(["-c", "set -m; \"$@\" & wait $!; echo ended with $?", "bash"])
        .arg(verb.get_program())
        .args(verb.get_args())
        .args(flags)
        .env("TERM", "xterm");
    shell
}

/// Runs the console with lines on standard input.
fn piped(program: &Program, service: &Service, args: &[&str], lines: &str) -> Done {
    let mut command = program.command(&["console"]);
    command.args(args).args(service.flags());
    feed(command, lines)
}

fn feed(mut command: Command, lines: &str) -> Done {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    Done {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Somebody at a terminal.
struct Person {
    session: expectrl::session::OsSession,
}

impl Person {
    fn at(program: &Program, service: &Service, args: &[&str]) -> Self {
        let mut command = program.command(&["console"]);
        command
            .args(args)
            .args(service.flags())
            .env("TERM", "xterm");
        Self::running(command)
    }

    fn running(command: Command) -> Self {
        let mut session = Session::spawn(command).unwrap();
        session.set_expect_timeout(Some(PATIENCE));
        Self { session }
    }

    fn types(&mut self, line: &str) {
        self.session.send(format!("{line}\r")).unwrap();
    }

    /// Presses Ctrl-C when no prompt is open any more.
    #[track_caller]
    fn interrupts(&mut self) {
        self.sees(PROMPT_CLOSED);
        self.interrupts_the_wait();
    }

    /// Presses Ctrl-C once the terminal makes a signal of it: between two prompts it is a character for a moment.
    #[track_caller]
    fn interrupts_the_wait(&mut self) {
        let terminal = self.session.get_process().get_raw_handle().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !tcgetattr(&terminal)
            .unwrap()
            .local_modes
            .contains(LocalModes::ISIG)
        {
            assert!(Instant::now() < deadline, "the prompt is still open");
            std::thread::yield_now();
        }
        self.session.send("\x03").unwrap();
    }

    #[track_caller]
    fn sees(&mut self, text: &str) {
        if let Err(error) = self.session.expect(text) {
            panic!("`{text}` did not appear: {error}");
        }
    }

    /// Waits for the next prompt: what is typed before it meets a terminal that is about to change its ways.
    #[track_caller]
    fn prompted(&mut self) {
        self.sees("acqbus> ");
    }

    #[track_caller]
    fn leaves_with(mut self, code: i32) {
        self.session.expect(Eof).unwrap();
        let status = self.session.get_process().wait().unwrap();
        assert_eq!(
            status,
            expectrl::process::unix::WaitStatus::Exited(self.session.get_process().pid(), code)
        );
    }
}

/// The end of bracketed paste, which the editor writes when the terminal is as it was before the prompt.
const PROMPT_CLOSED: &str = "\x1b[?2004l";
