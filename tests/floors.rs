//! The house stands: an import in `src/` goes down the floors only, and the doors that have one room stay in it.
//!
//! Reads the sources as tokens, without comments and strings, so that a doc example may show what code may not do.

use std::fmt;
use std::fs;
use std::path::Path;

/// Each wing and what stands below it. Whatever is not named here is beside or above.
const FLOORS: &[(&str, &[&str])] = &[
    (
        "cli",
        &[
            "simulator",
            "relay",
            "eventer",
            "store",
            "event",
            "rpc",
            "cdtp",
            "chirp",
            "transport",
            "udm",
            "etp",
            "zsocket",
        ],
    ),
    (
        "simulator",
        &[
            "eventer",
            "store",
            "event",
            "rpc",
            "cdtp",
            "chirp",
            "transport",
            "udm",
            "etp",
            "zsocket",
        ],
    ),
    (
        "relay",
        &[
            "eventer",
            "store",
            "event",
            "rpc",
            "cdtp",
            "chirp",
            "transport",
            "udm",
            "etp",
            "zsocket",
        ],
    ),
    ("eventer", &["store", "event"]),
    ("store", &["event"]),
    ("event", &[]),
    ("rpc", &["chirp", "zsocket"]),
    ("cdtp", &["chirp", "zsocket"]),
    ("transport", &["udm"]),
    ("etp", &[]),
    ("chirp", &[]),
    ("udm", &[]),
    ("zsocket", &[]),
];

/// The common ground: below everything, and one beside the other.
const GROUND: &[&str] = &["time", "wake", "wire"];

#[test]
fn imports_in_src_go_down_the_floors() {
    let sources = sources_of_this_crate();
    assert!(sources.len() >= 4, "only {} files found", sources.len());
    let found: Vec<_> = sources.iter().flat_map(import_faults).collect();
    assert!(found.is_empty(), "{}", lines(&found));
}

#[test]
fn only_zsocket_names_the_zmq_crate() {
    let found: Vec<_> = sources_of_this_crate()
        .iter()
        .flat_map(zmq_faults)
        .collect();
    assert!(found.is_empty(), "{}", lines(&found));
}

#[test]
fn only_the_door_of_the_store_names_the_redb_crate() {
    let found: Vec<_> = sources_of_this_crate()
        .iter()
        .flat_map(redb_faults)
        .collect();
    assert!(found.is_empty(), "{}", lines(&found));
}

#[test]
fn unsafe_code_stays_in_one_file_of_zsocket() {
    let found = unsafe_faults(&sources_of_this_crate());
    assert!(found.is_empty(), "{}", lines(&found));
}

#[test]
fn an_import_upwards_is_found() {
    assert_import_fault(
        "rpc/service.rs",
        "use crate::simulator::Rig;",
        "rpc imports simulator",
    );
    assert_import_fault(
        "zsocket/mod.rs",
        "use crate::rpc::Topic;",
        "zsocket imports rpc",
    );
    assert_import_fault(
        "time.rs",
        "use crate::zsocket::Context;",
        "time imports zsocket",
    );
    assert_import_fault(
        "simulator/mod.rs",
        "fn f() { crate::cli::main(); }",
        "simulator imports cli",
    );
}

#[test]
fn an_import_across_is_found() {
    assert_import_fault(
        "rpc/service.rs",
        "use crate::cdtp::Run;",
        "rpc imports cdtp",
    );
    assert_import_fault(
        "simulator/mod.rs",
        "use crate::relay::Recorder;",
        "simulator imports relay",
    );
    assert_import_fault("time.rs", "use crate::wire::Reader;", "time imports wire");
}

#[test]
fn an_import_hidden_in_a_group_or_behind_super_is_found() {
    assert_import_fault(
        "rpc/a.rs",
        "use crate::{time::Clock, etp::{Session, Id}};",
        "rpc imports etp",
    );
    assert_import_fault("rpc/a.rs", "use {std::fmt, crate::etp};", "rpc imports etp");
    assert_import_fault(
        "rpc/a.rs",
        "use super::super::etp::Session;",
        "rpc imports etp",
    );
    assert_import_fault("rpc/mod.rs", "use super::etp::Session;", "rpc imports etp");
    assert_import_fault(
        "rpc/mod.rs",
        "mod tests { use super::super::etp::Session; }",
        "rpc imports etp",
    );
    assert_import_fault("rpc/a.rs", "use acqbus::etp::Session;", "rpc imports etp");
    assert_import_fault(
        "rpc/a.rs",
        "macro_rules! m { () => { $crate::etp::f() } }",
        "rpc imports etp",
    );
}

#[test]
fn an_import_that_names_no_wing_is_found() {
    assert_import_fault("rpc/a.rs", "use crate::*;", "rpc imports *");
    assert_import_fault("rpc/a.rs", "use crate as root;", "rpc imports as");
    assert_import_fault("rpc/a.rs", "use crate::Topic;", "rpc imports Topic");
    assert_import_fault(
        "attic/a.rs",
        "use crate::time::Clock;",
        "attic has no floor",
    );
}

#[test]
fn an_import_downwards_is_allowed() {
    for (path, text) in [
        (
            "cli/send.rs",
            "use crate::{rpc::RemoteClient, simulator::Rig, cli::args::Bus};",
        ),
        (
            "simulator/mod.rs",
            "use crate::rpc::RpcService; use crate::time::Clock;",
        ),
        (
            "rpc/service.rs",
            "use crate::rpc::Topic; use crate::zsocket::Context; use crate::wire::DecodeError;",
        ),
        (
            "rpc/service.rs",
            "mod tests { use super::*; mod deep { use super::super::Topic; } }",
        ),
        ("rpc/client/mod.rs", "use super::topic::Topic;"),
        ("main.rs", "fn main() { acqbus::cli::main() }"),
        ("lib.rs", "pub mod cli; pub use crate::rpc::Topic;"),
        (
            "zsocket/a.rs",
            "/// See `crate::rpc::Topic`.\n/* use crate::rpc; */ const A: &str = \"use crate::rpc::Topic\";",
        ),
        (
            "zsocket/a.rs",
            "const A: &str = r#\"\"use crate::rpc::Topic\"#; fn f<'a>(c: char) -> bool { c == '\"' || c == '\\'' }",
        ),
        (
            "zsocket/a.rs",
            "const A: &[u8] = br#\"{\"a\": \"use crate::rpc::Topic\"}\"#; const B: u8 = b'\"';",
        ),
        (
            "rpc/a.rs",
            "pub(crate) fn f() {} pub(in crate::rpc) fn g() {}",
        ),
    ] {
        let found = import_faults(&Source::new(path, text));
        assert!(found.is_empty(), "{path}: {text}\n{}", lines(&found));
    }
}

#[test]
fn the_zmq_crate_outside_zsocket_is_found() {
    for text in [
        "use zmq::Socket;",
        "use zmq;",
        "fn f() -> zmq::Result<()> {}",
        "extern crate zmq;",
        "use zmq_sys::zmq_poll;",
    ] {
        assert_eq!(
            zmq_faults(&Source::new("rpc/a.rs", text)).len(),
            1,
            "{text}"
        );
        assert!(
            zmq_faults(&Source::new("zsocket/a.rs", text)).is_empty(),
            "{text}"
        );
    }
    assert!(zmq_faults(&Source::new("rpc/a.rs", "// zmq::Socket\nlet zmq = 1;")).is_empty());
}

#[test]
fn the_redb_crate_outside_its_door_is_found() {
    for text in [
        "use redb::Database;",
        "use ::redb::Database;",
        "use {std::fmt, ::redb::Database};",
        "fn f() -> redb::Result<()> {}",
        "fn f() -> ::redb::Result<()> {}",
        "extern crate redb;",
    ] {
        let outside = Source::new("store/redb/chunks.rs", text);
        assert_eq!(redb_faults(&outside).len(), 1, "{text}");
        for path in ["store/redb/database/mod.rs", "store/redb/database.rs"] {
            assert!(redb_faults(&Source::new(path, text)).is_empty(), "{text}");
        }
    }
    for text in [
        "mod redb;",
        "pub use self::redb::RedbBackend;",
        "use crate::store::redb::RedbBackend;",
        "use super::super::redb::keys;",
        "pub(in crate::store::redb) fn f() {} // redb::Database",
    ] {
        let found = redb_faults(&Source::new("store/mod.rs", text));
        assert!(found.is_empty(), "{text}\n{}", lines(&found));
    }
}

#[test]
fn unsafe_outside_one_file_of_zsocket_is_found() {
    let block = "fn f() { unsafe { g() } }";
    let in_room = Source::new("zsocket/raw.rs", block);
    assert!(unsafe_faults(std::slice::from_ref(&in_room)).is_empty());
    assert_eq!(unsafe_faults(&[Source::new("rpc/a.rs", block)]).len(), 1);
    assert_eq!(
        unsafe_faults(&[in_room, Source::new("zsocket/more.rs", block)]).len(),
        2
    );
    assert!(
        unsafe_faults(&[Source::new("rpc/a.rs", "#![deny(unsafe_code)] // unsafe")]).is_empty()
    );
}

/// One file: its path below `src/`, and its code as tokens with their lines.
struct Source {
    path: String,
    tokens: Vec<(String, usize)>,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            tokens: tokens(text),
        }
    }

    /// The first part of the module path; `lib` and `main` are the roof.
    fn wing(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.trim_end_matches(".rs")
    }

    /// How many `super` lead from this file to the root of the crate.
    fn depth(&self) -> usize {
        let parts: Vec<_> = self.path.trim_end_matches(".rs").split('/').collect();
        match parts.as_slice() {
            ["lib" | "main"] => 0,
            [above @ .., "mod"] => above.len(),
            all => all.len(),
        }
    }

    fn token(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |(text, _)| text)
    }

    fn fault(&self, at: usize, what: String) -> Fault {
        let line = self.tokens.get(at).map_or(0, |(_, line)| *line);
        Fault {
            path: self.path.clone(),
            line,
            what,
        }
    }
}

struct Fault {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{}: {}", self.path, self.line, self.what)
    }
}

fn import_faults(source: &Source) -> Vec<Fault> {
    let wing = source.wing();
    if matches!(wing, "lib" | "main") {
        return Vec::new();
    }
    let Some(below) = below(wing) else {
        return vec![source.fault(
            0,
            format!("{wing} has no floor; give it one in {}", file!()),
        )];
    };
    paths_from_the_root(source)
        .into_iter()
        .filter(|(_, name)| name != wing && !below.contains(&name.as_str()))
        .map(|(at, name)| source.fault(at, format!("{wing} imports {name}, which is not below it")))
        .collect()
}

fn below(wing: &str) -> Option<Vec<&'static str>> {
    if GROUND.contains(&wing) {
        return Some(Vec::new());
    }
    let (_, below) = FLOORS.iter().find(|(name, _)| *name == wing)?;
    Some(below.iter().chain(GROUND).copied().collect())
}

/// Every first name after the root of the crate, wherever it is written: in a `use`, a group, or an expression.
fn paths_from_the_root(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    // For each open brace, whether it is a module's.
    let mut braces = Vec::new();
    let mut at = 0;
    while at < source.tokens.len() {
        match source.token(at) {
            "{" => braces.push(at >= 2 && source.token(at - 2) == "mod"),
            "}" => {
                braces.pop();
            }
            // `pub(crate)` opens nothing.
            "crate" if source.token(at + 1) == ")" => {}
            // `extern crate name` names another crate.
            "crate" if at > 0 && source.token(at - 1) == "extern" => {}
            "crate" => first_names(source, at + 1, &mut found),
            "acqbus" if source.token(at + 1) == "::" => first_names(source, at + 1, &mut found),
            "super" => {
                let mut steps = 1;
                while source.token(at + 1) == "::" && source.token(at + 2) == "super" {
                    at += 2;
                    steps += 1;
                }
                let inline = braces.iter().filter(|module| **module).count();
                if steps == source.depth() + inline && source.token(at + 1) == "::" {
                    first_names(source, at + 1, &mut found);
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// `at` is the token after the root: `::` and a name or a group, or something that should not be there.
fn first_names(source: &Source, at: usize, found: &mut Vec<(usize, String)>) {
    if source.token(at) != "::" {
        found.push((at, source.token(at).to_owned()));
        return;
    }
    if source.token(at + 1) != "{" {
        found.push((at + 1, source.token(at + 1).to_owned()));
        return;
    }
    let mut depth = 0;
    for at in at + 1..source.tokens.len() {
        match source.token(at) {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," => {}
            name if depth == 1 && matches!(source.token(at - 1), "{" | ",") => {
                found.push((at, name.to_owned()));
            }
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

fn zmq_faults(source: &Source) -> Vec<Fault> {
    if source.wing() == "zsocket" {
        return Vec::new();
    }
    let named = |at: usize| match source.token(at) {
        "zmq_sys" => true,
        "zmq" => {
            let before = if at > 0 { source.token(at - 1) } else { "" };
            source.token(at + 1) == "::" || matches!(before, "use" | "crate")
        }
        _ => false,
    };
    (0..source.tokens.len())
        .filter(|at| named(*at))
        .map(|at| source.fault(at, "names the zmq crate; only src/zsocket may".to_owned()))
        .collect()
}

/// A module has the crate's name, so only a path that begins with it names the crate.
fn redb_faults(source: &Source) -> Vec<Fault> {
    let is_door = |path: &str| {
        let inside = path.strip_prefix("store/redb/database");
        inside.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    };
    // The bench measures the store beside the engine alone.
    let is_bench = source.path == "cli/bench/store/raw.rs";
    if is_door(&source.path) || is_bench {
        return Vec::new();
    }
    let before = |at: usize, steps: usize| at.checked_sub(steps).map_or("", |at| source.token(at));
    let named = |at: usize| {
        let begins_path = match before(at, 1) {
            "::" => !is_name(before(at, 2)),
            "crate" => before(at, 2) == "extern",
            _ => source.token(at + 1) == "::",
        };
        source.token(at) == "redb" && begins_path
    };
    (0..source.tokens.len())
        .filter(|at| named(*at))
        .map(|at| source.fault(at, "names the redb crate; only its door may".to_owned()))
        .collect()
}

/// Whether a path can go on behind it; `use` begins one.
fn is_name(token: &str) -> bool {
    let is_word = token.chars().all(|c| c.is_alphanumeric() || c == '_');
    is_word
        && !matches!(
            token,
            "" | "use" | "extern" | "as" | "in" | "return" | "dyn" | "impl"
        )
}

fn unsafe_faults(sources: &[Source]) -> Vec<Fault> {
    let first = |source: &Source| (0..source.tokens.len()).find(|at| source.token(*at) == "unsafe");
    let (room, outside): (Vec<_>, Vec<_>) = sources
        .iter()
        .filter_map(|source| Some((source, first(source)?)))
        .partition(|(source, _)| source.wing() == "zsocket");
    let crowded = if room.len() > 1 { room } else { Vec::new() };
    outside
        .into_iter()
        .chain(crowded)
        .map(|(source, at)| {
            source.fault(
                at,
                "unsafe code; one file of src/zsocket may have some".to_owned(),
            )
        })
        .collect()
}

/// Words, `::`, and single characters of punctuation; comments, strings and character literals are left out.
fn tokens(text: &str) -> Vec<(String, usize)> {
    let chars: Vec<char> = text.chars().collect();
    let mut out = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let start = at;
        let (end, keep) = token_end(&chars, at);
        at = end;
        let text: String = chars[start..end].iter().collect();
        if keep {
            out.push((text, line));
        }
        line += chars[start..end].iter().filter(|c| **c == '\n').count();
    }
    out
}

/// Where the piece that starts at `at` ends, and whether it is code.
fn token_end(chars: &[char], at: usize) -> (usize, bool) {
    let next = chars.get(at + 1).copied();
    let word = |c: char| c.is_alphanumeric() || c == '_';
    // Where the text of a raw string starts, if `at` is the `r` of one.
    let raw = |at: usize| {
        let quote = (at + 1..chars.len()).find(|i| chars[*i] != '#')?;
        (chars[at] == 'r' && chars[quote] == '"').then_some(quote)
    };
    match chars[at] {
        c if c.is_whitespace() => (at + 1, false),
        '/' if next == Some('/') => (find(chars, at, "\n"), false),
        '/' if next == Some('*') => (comment_end(chars, at), false),
        'b' | 'c' if next.is_some() && raw(at + 1).is_some() => (at + 1, false),
        'r' if let Some(quote) = raw(at) => {
            let closing = format!("\"{}", "#".repeat(quote - at - 1));
            (find(chars, quote + 1, &closing), false)
        }
        '"' => (string_end(chars, at + 1, '"'), false),
        // A lifetime is a quote and a word with no second quote behind its first letter.
        '\'' if next != Some('\\') && chars.get(at + 2) != Some(&'\'') => (at + 1, false),
        '\'' => (string_end(chars, at + 1, '\''), false),
        ':' if next == Some(':') => (at + 2, true),
        c if word(c) => {
            let len = chars[at..].iter().take_while(|c| word(**c)).count();
            (at + len, true)
        }
        _ => (at + 1, true),
    }
}

fn find(chars: &[char], from: usize, what: &str) -> usize {
    let what: Vec<char> = what.chars().collect();
    (from..chars.len())
        .find(|at| chars[*at..].starts_with(&what))
        .map_or(chars.len(), |at| at + what.len())
}

fn string_end(chars: &[char], mut at: usize, quote: char) -> usize {
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn comment_end(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    chars.len()
}

fn sources_of_this_crate() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path
                    .strip_prefix(&root)
                    .unwrap()
                    .to_string_lossy()
                    .replace('\\', "/");
                found.push(Source::new(&name, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

#[track_caller]
fn assert_import_fault(path: &str, text: &str, start: &str) {
    let found = import_faults(&Source::new(path, text));
    assert_eq!(found.len(), 1, "{path}: {text}\n{}", lines(&found));
    assert!(found[0].what.starts_with(start), "{}", found[0]);
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("{fault}\n")).collect()
}
