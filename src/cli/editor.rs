//! The line editor of the verbs that have a prompt: completion, history, and room for live lines above it.

use std::borrow::Cow;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::history::FileHistory;
use rustyline::{
    Cmd, ColorMode, CompletionType, ConditionalEventHandler, Config, Context, Event, EventContext,
    EventHandler, Hinter, KeyEvent, RepeatCount, Validator,
};

use crate::cli::config;
use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{Colour, Output};
use crate::cli::screen::{Board, Screen, Waker};

/// One way to go on with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// What takes the place of the text from the start of the completion to the cursor.
    pub(crate) replacement: String,
    /// What the list of candidates shows.
    pub(crate) display: String,
}

impl Candidate {
    /// A candidate that is shown as it is.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            replacement: text.clone(),
            display: text,
        }
    }

    /// A candidate that is shown with more than it inserts.
    pub(crate) fn shown(replacement: impl Into<String>, display: impl Into<String>) -> Self {
        Self {
            replacement: replacement.into(),
            display: display.into(),
        }
    }
}

/// Where the completion of a line up to the cursor starts, and what can stand there.
pub(crate) type Complete = Box<dyn Fn(&str) -> (usize, Vec<Candidate>) + Send>;

/// What stands above the prompt now; `None` when nothing does.
pub(crate) type Status = Box<dyn Fn() -> Option<String> + Send>;

/// Reads lines from a terminal.
pub(crate) struct Editor {
    editor: rustyline::Editor<Words, FileHistory>,
    history: Option<PathBuf>,
    prompt: &'static str,
    coloured: String,
    /// Whether the last Ctrl-C met a line.
    dropped: Arc<AtomicBool>,
    board: Arc<Board>,
    /// After the editor: until that is gone, its thread may be blocked there.
    _waker: Waker,
}

/// What a person did at the prompt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// A line, without its end.
    Line(String),
    /// Ctrl-D.
    End,
    /// Ctrl-C at an empty line.
    Interrupt,
    /// Ctrl-C in the middle of a line, which is gone.
    Dropped,
}

impl Editor {
    /// Opens the terminal. `history` is the name of the file that keeps what was typed, in the user's state folder.
    pub(crate) fn open(
        prompt: &'static str,
        complete: Complete,
        history: &str,
        out: Output,
    ) -> Result<Self, Failure> {
        let settings = Config::builder()
            .completion_type(CompletionType::List)
            // The status is drawn as a highlight; `Output` knows where colours are wanted.
            .color_mode(ColorMode::Forced)
            .max_history_size(HISTORY_LINES)
            .map_err(|error| terminal(&error))?
            .build();
        let mut editor =
            rustyline::Editor::with_config(settings).map_err(|error| terminal(&error))?;
        let board = Board::on_stdout();
        editor.set_helper(Some(Words {
            complete,
            status: Box::new(|| None),
            board: Arc::clone(&board),
        }));
        let dropped = Arc::new(AtomicBool::new(false));
        let interrupt = Interrupt(Arc::clone(&dropped));
        editor.bind_sequence(
            KeyEvent::ctrl('C'),
            EventHandler::Conditional(Box::new(interrupt)),
        );
        let history = history_file(history);
        if let Some(path) = &history {
            // The file is empty the first time.
            let _ = editor.load_history(path);
        }
        let coloured = out.paint(Colour::Name, prompt);
        let printer = editor
            .create_external_printer()
            .map_err(|error| terminal(&error))?;
        let waker = Waker::start(&board, printer)?;
        Ok(Self {
            editor,
            history,
            prompt,
            coloured,
            dropped,
            board,
            _waker: waker,
        })
    }

    /// Shows a status above each prompt that begins while there is one; it is asked anew whenever the prompt is drawn.
    pub(crate) fn show(&mut self, status: Status) {
        if let Some(words) = self.editor.helper_mut() {
            words.status = status;
        }
    }

    /// What prints above the prompt, from any thread.
    pub(crate) fn screen(&self) -> Screen {
        Screen::Prompt(Arc::clone(&self.board))
    }

    /// Reads a line and remembers it.
    pub(crate) fn line(&mut self) -> Result<Typed, Failure> {
        let status = self.editor.helper().and_then(|words| (words.status)());
        let opened = self.board.open();
        let typed = match status {
            // A row of its own: what is drawn there may change without moving what is typed.
            Some(status) => {
                let above = |prompt: &str| format!("{status}\n{prompt}");
                let prompts = (above(self.prompt), above(&self.coloured));
                self.editor.readline(&prompts)
            }
            None => {
                let prompts = (self.prompt, self.coloured.as_str());
                self.editor.readline(&prompts)
            }
        };
        drop(opened);
        let typed = match read(typed)? {
            Typed::Interrupt if self.dropped.load(Ordering::Relaxed) => Typed::Dropped,
            typed => typed,
        };
        if let Typed::Line(line) = &typed
            && !line.trim().is_empty()
        {
            self.remember(line.clone());
        }
        Ok(typed)
    }

    /// Asks a question that is answered with yes or no; anything but yes is no.
    pub(crate) fn confirm(&mut self, question: &str) -> Result<bool, Failure> {
        let opened = self.board.open();
        let typed = self.editor.readline(&format!("{question} [y/N] "));
        drop(opened);
        Ok(match read(typed)? {
            Typed::Line(answer) => {
                matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
            }
            Typed::End | Typed::Interrupt | Typed::Dropped => false,
        })
    }

    /// Writes each line at once, so that a program that is killed forgets nothing.
    fn remember(&mut self, line: String) {
        // A history that cannot be kept is no reason to stop.
        let _ = self.editor.add_history_entry(line);
        if let Some(path) = &self.history
            && let Err(error) = self.editor.append_history(path)
        {
            log::debug!(
                "the history in {} cannot be written: {error}",
                path.display()
            );
        }
    }
}

/// How the terminal was, put back when dropped: a prompt may be open when the program ends for another reason.
pub(crate) struct Terminal(Termios);

impl Terminal {
    /// Remembers how the terminal at standard input is; `None` if there is none.
    pub(crate) fn remember() -> Option<Self> {
        tcgetattr(io::stdin()).ok().map(Self)
    }
}

/// Whether Ctrl-C at the terminal is a signal now; while a prompt is open it is a key.
pub(crate) fn interrupts_by_signal() -> bool {
    tcgetattr(io::stdin()).is_ok_and(|modes| modes.local_modes.contains(LocalModes::ISIG))
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone needs no care.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

fn read(line: rustyline::Result<String>) -> Result<Typed, Failure> {
    match line {
        Ok(line) => Ok(Typed::Line(line)),
        Err(ReadlineError::Eof) => Ok(Typed::End),
        Err(ReadlineError::Interrupted) => Ok(Typed::Interrupt),
        Err(error) => Err(terminal(&error)),
    }
}

/// The file that keeps the history across runs; nobody else may read what was typed.
fn history_file(name: &str) -> Option<PathBuf> {
    let folder = config::user_folder("XDG_STATE_HOME", ".local/state")?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .ok()?;
    let path = folder.join(name);
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .ok()?;
    // One that was left open to others is closed now.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).ok()?;
    Some(path)
}

fn terminal(error: &ReadlineError) -> Failure {
    Failure::of(Exit::Failed, error).while_doing("the terminal cannot be used")
}

/// Completion for the line editor, and the lines and the status above its prompt.
#[derive(rustyline::Helper, Hinter, Validator)]
struct Words {
    complete: Complete,
    status: Status,
    board: Arc<Board>,
}

/// Sees at Ctrl-C what the editor does not tell: whether there was a line.
struct Interrupt(Arc<AtomicBool>);

impl ConditionalEventHandler for Interrupt {
    fn handle(
        &self,
        _: &Event,
        _: RepeatCount,
        _: bool,
        context: &EventContext<'_>,
    ) -> Option<Cmd> {
        self.0.store(!context.line().is_empty(), Ordering::Relaxed);
        Some(Cmd::Interrupt)
    }
}

impl Highlighter for Words {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(
        &'s self,
        prompt: &'p str,
        default: bool,
    ) -> Cow<'b, str> {
        // The editor has cleared its rows and is about to fill them again: what stands before the prompt stays above.
        let lines = self.board.fetch();
        // Questions and searches have no status.
        match prompt.split_once('\n') {
            Some((_, prompt)) if default => {
                let status = (self.status)();
                let status = status.as_deref().unwrap_or("[nothing is pending]");
                Cow::Owned(format!("{lines}{status}\n{prompt}"))
            }
            _ if lines.is_empty() => Cow::Borrowed(prompt),
            _ => Cow::Owned(lines + prompt),
        }
    }
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, found) = (self.complete)(&line[..position]);
        let pair = |candidate: Candidate| Pair {
            display: candidate.display,
            replacement: candidate.replacement,
        };
        Ok((start, found.into_iter().map(pair).collect()))
    }
}

const HISTORY_LINES: usize = 2000;
