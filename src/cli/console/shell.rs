//! Lines from a terminal: prompt, history, completion, live messages above the prompt.

use std::fs::{self, DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Context, Editor, Helper, Highlighter, Hinter, Validator};

use crate::cli::config;
use crate::cli::console::complete;
use crate::cli::console::live::Screen;
use crate::cli::console::session::{Flow, Session};
use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{Colour, note};

/// Reads lines until `quit`, Ctrl-D or Ctrl-C.
pub(crate) fn run(mut session: Session) -> Result<Exit, Failure> {
    let settings = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(HISTORY_LINES)
        .map_err(|error| terminal(&error))?
        .build();
    let mut editor = Editor::with_config(settings).map_err(|error| terminal(&error))?;
    editor.set_helper(Some(Words));
    let history = history_file();
    if let Some(path) = &history {
        // The file is absent the first time.
        let _ = editor.load_history(path);
    }
    let printer = editor
        .create_external_printer()
        .map_err(|error| terminal(&error))?;
    let live = session.follow(Screen::Prompt(Box::new(printer)))?;
    session
        .out()
        .line("Tab completes, `help` explains, Ctrl-D ends.")?;
    let exit = read_lines(&mut session, &mut editor, history.as_deref());
    drop(live);
    exit
}

type LineEditor = Editor<Words, FileHistory>;

fn read_lines(
    session: &mut Session,
    editor: &mut LineEditor,
    history: Option<&Path>,
) -> Result<Exit, Failure> {
    let prompt = "acqbus> ";
    let coloured = session.out().paint(Colour::Name, prompt);
    loop {
        let line = match editor.readline(&(prompt, coloured.as_str())) {
            Ok(line) => line,
            Err(ReadlineError::Eof) => return Ok(Exit::Done),
            Err(ReadlineError::Interrupted) => return Ok(Exit::Interrupted),
            Err(error) => return Err(terminal(&error)),
        };
        if !line.trim().is_empty() {
            remember(editor, &line, history);
        }
        match session.execute(&line, |command| confirm(editor, command)) {
            Ok(Flow::Next) => {}
            Ok(Flow::Quit) => return Ok(Exit::Done),
            Err(failure) if failure.is_quiet() => return Err(failure),
            Err(failure) => note(&session.out().paint(Colour::Bad, &failure.to_string())),
        }
    }
}

fn confirm(editor: &mut LineEditor, command: &str) -> Result<bool, Failure> {
    match editor.readline(&format!(
        "{command} changes what the rig does. Send it? [y/N] "
    )) {
        Ok(answer) => Ok(matches!(
            answer.trim().to_ascii_lowercase().as_str(),
            "y" | "yes"
        )),
        Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(false),
        Err(error) => Err(terminal(&error)),
    }
}

/// Writes each line at once, so that a console that is killed forgets nothing.
fn remember(editor: &mut LineEditor, line: &str, history: Option<&Path>) {
    // A history that cannot be kept is no reason to stop.
    let _ = editor.add_history_entry(line);
    if let Some(path) = history
        && let Err(error) = editor.append_history(path)
    {
        log::debug!(
            "the history in {} cannot be written: {error}",
            path.display()
        );
    }
}

/// The file that keeps the history across runs; nobody else may read what was typed.
fn history_file() -> Option<PathBuf> {
    let folder = config::user_folder("XDG_STATE_HOME", ".local/state")?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .ok()?;
    let path = folder.join("history");
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .ok()?;
    // One that an older run left open to others is closed now.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).ok()?;
    Some(path)
}

fn terminal(error: &ReadlineError) -> Failure {
    Failure::of(Exit::Failed, error).while_doing("the terminal cannot be used")
}

/// Completion for the line editor.
#[derive(Helper, Highlighter, Hinter, Validator)]
struct Words;

impl Completer for Words {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, found) = complete::complete(&line[..position]);
        let pair = |candidate: complete::Candidate| Pair {
            display: candidate.display,
            replacement: candidate.replacement,
        };
        Ok((start, found.into_iter().map(pair).collect()))
    }
}

const HISTORY_LINES: usize = 2000;
