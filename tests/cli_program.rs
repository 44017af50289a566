//! What holds for every verb: help, settings, completions, manual pages, wrong usage.
#![cfg(feature = "cli")]

mod cli_support;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use cli_support::{Done, Program};

const VERBS: &[&str] = &[
    "simulate",
    "console",
    "send",
    "listen",
    "run",
    "store",
    "discover",
    "bench",
    "keys",
    "completions",
    "man",
];

const RUN_VERBS: &[&str] = &["send", "receive", "inspect"];

const STORE_VERBS: &[&str] = &[
    "record", "query", "tail", "export", "import", "replay", "serve", "check", "stats",
];

#[test]
fn every_verb_explains_itself_with_an_example() {
    let program = Program::new();
    let overview = program.run(&["--help"]).code(0).out;
    for verb in VERBS {
        assert!(overview.contains(verb), "{verb}");
        let help = program.run(&[verb, "--help"]).code(0);
        assert!(help.out.contains("--json"), "{verb}");
        let help = if *verb == "bench" {
            program.run(&["bench", "rpc", "--help"]).code(0)
        } else {
            help
        };
        assert!(
            help.out.contains(&format!("  acqbus {verb}")),
            "{verb} has no example: {}",
            help.out
        );
        assert_eq!(help.err, "", "{verb}");
    }
    assert!(overview.contains("130 interrupted"), "{overview}");
}

#[test]
fn help_fits_a_narrow_terminal() {
    let program = Program::new();
    for verb in VERBS {
        let mut command = program.command(&[verb, "-h"]);
        command.env("COLUMNS", "100");
        for line in Done::of(command).code(0).out.lines() {
            assert!(line.chars().count() <= 110, "{verb}: {line}");
        }
    }
    let run = RUN_VERBS.iter().map(|verb| ("run", verb));
    for (verb, below) in run.chain(STORE_VERBS.iter().map(|verb| ("store", verb))) {
        let mut command = program.command(&[verb, below, "-h"]);
        command.env("COLUMNS", "100");
        let help = Done::of(command).code(0).out;
        assert!(help.contains(&format!("  acqbus {verb} {below}")), "{help}");
        for line in help.lines() {
            assert!(line.chars().count() <= 110, "{verb}: {line}");
        }
    }
}

#[test]
fn version_is_that_of_the_crate() {
    let done = Program::new().run(&["--version"]).code(0);
    assert_eq!(done.out, format!("acqbus {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_are_made_for_every_shell() {
    let program = Program::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = program.run(&["completions", shell]).code(0);
        assert!(
            done.out.contains("acqbus") && done.out.contains("simulate"),
            "{shell}"
        );
    }
    program.run(&["completions", "csh"]).code(2);
}

#[test]
fn manual_pages_are_made_for_every_verb() {
    let program = Program::new();
    assert!(program.run(&["man"]).code(0).out.contains(".TH acqbus 1"));
    for words in [&["man", "run", "send"][..], &["man", "run send"]] {
        let page = program.run(words).code(0).out;
        assert!(page.contains(".TH acqbus-run-send 1"), "{page}");
    }
    for verb in VERBS {
        let page = program.run(&["man", verb]).code(0).out;
        assert!(
            page.contains(&format!(".TH acqbus-{verb} 1")),
            "{verb}: {page}"
        );
    }
    let run = RUN_VERBS.iter().map(|verb| ("run", verb));
    for (verb, below) in run.chain(STORE_VERBS.iter().map(|verb| ("store", verb))) {
        let page = program.run(&["man", verb, below]).code(0).out;
        assert!(
            page.contains(&format!(".TH acqbus-{verb}-{below} 1")),
            "{page}"
        );
    }
    let page = program.run(&["man", "keys", "add"]).code(0).out;
    assert!(page.contains(".TH acqbus-keys-add 1"), "{page}");
    program.run(&["man", "nonsense"]).code(2);
}

#[test]
fn wrong_usage_gives_2_and_nothing_on_standard_output() {
    let program = Program::new();
    for args in [&["sned"][..], &["send", "--nonsense"], &["--json"], &[]] {
        let done = program.run(args).code(2);
        assert_eq!(done.out, "", "{args:?}");
        assert!(!done.err.is_empty(), "{args:?}");
    }
}

#[test]
fn settings_that_cannot_be_used_are_refused() {
    let program = Program::new();
    let file = program.home().join("acqbus.toml");
    for (text, said) in [
        ("hots = 'rig'", "try: host"),
        ("[simulat]\nrate = 1", "try: simulate"),
        ("[simulate]\nrat = 1", "try: rate"),
        ("host = ", "line 1"),
        ("\n\nhost 5", "line 3"),
        ("command-port = 70000", "70000"),
    ] {
        std::fs::write(&file, text).unwrap();
        let done = program.run(&["send", "GET_STATUS"]).code(2);
        assert!(done.err.contains(said), "{text}: {}", done.err);
    }
    std::fs::remove_file(&file).unwrap();
    let absent = program
        .run(&["send", "GET_STATUS", "--config", "absent.toml"])
        .code(2);
    assert!(absent.err.contains("absent.toml"), "{}", absent.err);
}

#[test]
fn settings_of_the_user_are_found() {
    let program = Program::new();
    let folder = program.home().join(".config/acqbus");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(
        folder.join("acqbus.toml"),
        "[simulate]\nrate = 0\nduration = 0.2\n",
    )
    .unwrap();
    let args = [
        "simulate",
        "--no-input",
        "--subscriber-port",
        "0",
        "--command-port",
        "0",
    ];
    program.run(&args).code(0);
    // The one here is over the user's own, which is not read then.
    std::fs::write(
        program.home().join("acqbus.toml"),
        "[simulate]\nas = '0.9.7'\nduration = 0.1\n",
    )
    .unwrap();
    let done = program.run(&args).code(0);
    assert!(done.out.contains("0.9.7"), "{}", done.out);
}

#[test]
fn help_into_a_closed_pipe_is_quiet() {
    let program = Program::new();
    let mut command = program.command(&["completions", "bash"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
}

#[test]
fn help_needs_no_settings() {
    let program = Program::new();
    std::fs::write(program.home().join("acqbus.toml"), "host = ").unwrap();
    for args in [
        &["--help"][..],
        &["--version"],
        &["help"],
        &["help", "send"],
        &["send", "--help"],
        &["man"],
        &["completions", "bash"],
    ] {
        let done = program.run(args).code(0);
        assert_eq!(done.err, "", "{args:?}");
        assert!(done.out.contains("acqbus"), "{args:?}");
    }
    program.run(&["send", "GET_STATUS"]).code(2);
}

#[test]
fn every_flag_has_a_variable() {
    let program = Program::new();
    for (verb, variable, value, said) in [
        ("listen", "ACQBUS_DURATION", "soon", "ACQBUS_DURATION"),
        ("listen", "ACQBUS_COUNT", "0", "ACQBUS_COUNT"),
        ("listen", "ACQBUS_TOPIC", "EVNT", "`EVNT` is no topic"),
        ("listen", "ACQBUS_TOPIC", "EVNT", "ACQBUS_TOPIC"),
        ("listen", "ACQBUS_KIND", "sesionStarted", "sessionStarted"),
        ("listen", "ACQBUS_KIND", "sesionStarted", "ACQBUS_KIND"),
        ("send", "ACQBUS_DATA", "{", "ACQBUS_DATA"),
        ("send", "ACQBUS_DATA", "@absent", "ACQBUS_DATA"),
        ("listen", "ACQBUS_JSON", "maybe", "neither true nor false"),
        (
            "send",
            "ACQBUS_CUSTOM_COMMAND",
            "x",
            "ACQBUS_CUSTOM_COMMAND",
        ),
        ("send", "ACQBUS_WAIT", "maybe", "ACQBUS_WAIT"),
        ("simulate", "ACQBUS_INSECURE", "2", "ACQBUS_INSECURE"),
        ("simulate", "ACQBUS_QUIET", "loud", "ACQBUS_QUIET"),
        ("simulate", "ACQBUS_VERBOSE", "x", "ACQBUS_VERBOSE"),
        ("console", "ACQBUS_YES", "perhaps", "ACQBUS_YES"),
        ("discover", "ACQBUS_SERVICE", "none", "ACQBUS_SERVICE"),
        ("run", "ACQBUS_RECORDS", "many", "ACQBUS_RECORDS"),
        ("run", "ACQBUS_TAG", "gain", "ACQBUS_TAG"),
    ] {
        let args: &[&str] = match verb {
            "send" => &["send", "GET_STATUS"],
            "run" => &["run", "send"],
            _ => &[verb],
        };
        let mut command = program.command(args);
        command.env(variable, value);
        let done = Done::of(command).code(2);
        assert!(done.err.contains(said), "{variable}: {}", done.err);
        assert!(!done.err.contains("for '--"), "{variable}: {}", done.err);
    }
}

#[test]
fn unknown_variable_is_warned_of() {
    let program = Program::new();
    let mut command = program.command(&["keys", "list"]);
    command.env("ACQBUS_HOTS", "rig").env("ACQBUS_VECTORS", "x");
    let done = Done::of(command).code(2);
    assert!(done.err.contains("ACQBUS_HOTS"), "{}", done.err);
    assert!(done.err.contains("try: ACQBUS_HOST"), "{}", done.err);
    assert!(!done.err.contains("VECTORS"), "{}", done.err);
}

#[test]
fn value_of_a_file_is_blamed_on_the_file() {
    let program = Program::new();
    let file = program.home().join("acqbus.toml");
    std::fs::write(&file, "verbose = 2\ncommand-port = 70000").unwrap();
    let done = program.run(&["send", "GET_STATUS"]).code(2);
    assert!(
        done.err.contains("'command-port' in acqbus.toml"),
        "{}",
        done.err
    );
    let done = program
        .run(&["send", "GET_STATUS", "--command-port", "70001"])
        .code(2);
    assert!(done.err.contains("'--command-port"), "{}", done.err);

    std::fs::write(&file, "timeout = 0.1").unwrap();
    let done = program.run(&["keys", "list", "-v"]).code(2);
    assert!(done.err.contains("read from acqbus.toml"), "{}", done.err);
}
