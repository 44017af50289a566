//! Where lines appear that nobody asked for: above the prompt of a terminal, or on standard output.

use std::io::{Write, stdout};
use std::mem;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Condvar, Mutex};
use rustyline::ExternalPrinter;

use crate::cli::exit::Failure;
use crate::cli::print::{Output, note};

/// Where lines appear that nobody asked for.
pub(crate) enum Screen {
    /// Above the prompt of a terminal.
    Prompt(Arc<Board>),
    /// On standard output, notices on standard error.
    Streams,
}

impl Screen {
    /// Shows a line; above a prompt it returns before the line is drawn, which happens before the prompt closes.
    pub(crate) fn line(&self, text: &str, out: Output) -> Result<(), Failure> {
        match self {
            Self::Prompt(board) => board.line(text),
            Self::Streams => out.line(text)?,
        }
        Ok(())
    }

    /// Shows a line that is not part of the output.
    pub(crate) fn notice(&self, text: &str) {
        match self {
            Self::Prompt(board) => board.line(text),
            Self::Streams => note(text),
        }
    }

    /// Draws the prompt and its status anew.
    pub(crate) fn refresh(&self) {
        if let Self::Prompt(board) = self {
            board.refresh();
        }
    }

    /// Prints what is not drawn yet; a prompt that is still open gets no more.
    pub(crate) fn end(&self) {
        if let Self::Prompt(board) = self {
            board.close();
        }
    }

    /// Whether there is a prompt to draw.
    pub(crate) const fn has_prompt(&self) -> bool {
        matches!(self, Self::Prompt(_))
    }
}

/// Lines for the place above a prompt, which opens and closes.
///
/// The editor fetches them whenever it draws. What it is told through its own printer may stay there until the next
/// prompt, and whoever tells more is blocked as long; so it is only woken through that, by a thread that may be blocked.
pub(crate) struct Board {
    lines: Mutex<Lines>,
    fetched: Condvar,
}

impl Board {
    /// A board without a prompt; `direct` is where lines go while none is open.
    pub(crate) fn new(direct: impl Write + Send + 'static) -> Arc<Self> {
        Arc::new(Self {
            lines: Mutex::new(Lines {
                is_open: false,
                waiting: Vec::new(),
                wake: None,
                direct: Box::new(direct),
            }),
            fetched: Condvar::new(),
        })
    }

    /// A board on standard output.
    pub(crate) fn on_stdout() -> Arc<Self> {
        Self::new(stdout())
    }

    /// Keeps lines for the prompt until the guard is dropped, which prints those that were not drawn.
    pub(crate) fn open(self: &Arc<Self>) -> Opened {
        self.lines.lock().is_open = true;
        Opened(Arc::clone(self))
    }

    /// Takes the lines that are to be drawn, each with its end.
    pub(crate) fn fetch(&self) -> String {
        let lines = mem::take(&mut self.lines.lock().waiting);
        self.fetched.notify_all();
        lines.concat()
    }

    /// Waits only while a prompt is open that has very much to draw.
    fn line(&self, text: &str) {
        let mut lines = self.lines.lock();
        self.fetched.wait_while(&mut lines, |lines| {
            lines.is_open && lines.waiting.len() >= MOST_WAITING
        });
        let line = format!("{text}\n");
        if lines.is_open {
            lines.waiting.push(line);
            lines.wake();
        } else {
            lines.print(&line);
        }
    }

    fn refresh(&self) {
        let lines = self.lines.lock();
        if lines.is_open {
            lines.wake();
        }
    }

    fn close(&self) {
        let mut lines = self.lines.lock();
        lines.is_open = false;
        let waiting = mem::take(&mut lines.waiting);
        if !waiting.is_empty() {
            lines.print(&waiting.concat());
        }
        self.fetched.notify_all();
    }
}

/// A prompt that is open.
pub(crate) struct Opened(Arc<Board>);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The thread that wakes the editor when there is something to draw; ends when dropped, after the editor.
pub(crate) struct Waker {
    board: Arc<Board>,
    thread: Option<JoinHandle<()>>,
}

impl Waker {
    /// Starts the thread.
    pub(crate) fn start(
        board: &Arc<Board>,
        printer: impl ExternalPrinter + Send + 'static,
    ) -> Result<Self, Failure> {
        let (wake, woken) = bounded(1);
        board.lines.lock().wake = Some(wake);
        let thread = thread::Builder::new()
            .name("acqbus-prompt-wake".to_owned())
            .spawn(move || pass_on(&woken, printer))?;
        Ok(Self {
            board: Arc::clone(board),
            thread: Some(thread),
        })
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        drop(self.board.lines.lock().wake.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the runtime already.
            let _ = thread.join();
        }
    }
}

/// What is under the lock: the order of lines is that in which it was taken.
struct Lines {
    is_open: bool,
    waiting: Vec<String>,
    wake: Option<Sender<()>>,
    direct: Box<dyn Write + Send>,
}

impl Lines {
    fn wake(&self) {
        if let Some(wake) = &self.wake {
            // A full channel says the same.
            let _ = wake.try_send(());
        }
    }

    fn print(&mut self, lines: &str) {
        // The terminal is gone if this fails; whoever reads from it finds out.
        let _ = self.direct.write_all(lines.as_bytes());
        let _ = self.direct.flush();
    }
}

fn pass_on(woken: &Receiver<()>, mut printer: impl ExternalPrinter) {
    for () in woken {
        if printer.print(NOTHING.to_owned()).is_err() {
            return;
        }
    }
}

/// The editor draws when something is printed; this prints nothing, and ends where it began.
const NOTHING: &str = "\x1b[A\n";

/// Whoever prints more has to wait until the editor draws.
const MOST_WAITING: usize = 1000;

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc::{self, SyncSender, sync_channel};
    use std::time::Duration;

    use rustyline::error::ReadlineError;

    use super::*;

    /// A terminal that remembers.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Paper {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().clone()).unwrap()
        }
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// As the editor's own: room for one text, and whoever prints another waits for the editor or its end.
    struct Narrow(SyncSender<String>);

    impl ExternalPrinter for Narrow {
        fn print(&mut self, text: String) -> rustyline::Result<()> {
            self.0.send(text).map_err(|_| ReadlineError::Eof)
        }
    }

    fn in_time(work: impl FnOnce() + Send + 'static) {
        let (done, ended) = mpsc::channel();
        thread::spawn(move || {
            work();
            done.send(()).unwrap();
        });
        ended.recv_timeout(PATIENCE).expect("an end in time");
    }

    #[test]
    fn prompt_that_closes_without_a_look_blocks_nobody_and_loses_nothing() {
        in_time(|| {
            let paper = Paper::default();
            let board = Board::new(paper.clone());
            let (sender, editor) = sync_channel(1);
            let waker = Waker::start(&board, Narrow(sender.clone())).unwrap();
            // The wake that nobody takes any more: each further one blocks the thread.
            sender.send("earlier".to_owned()).unwrap();
            let (screen, out) = (Screen::Prompt(Arc::clone(&board)), Output::new(false));
            let opened = board.open();
            for text in ["one", "two", "three"] {
                screen.line(text, out).unwrap();
            }
            screen.notice("four");
            assert_eq!(paper.text(), "");
            drop(opened);
            assert_eq!(paper.text(), "one\ntwo\nthree\nfour\n");
            screen.line("the result", out).unwrap();
            assert_eq!(paper.text(), "one\ntwo\nthree\nfour\nthe result\n");
            drop(editor);
            drop(waker);
        });
    }

    #[test]
    fn editor_is_woken_and_what_it_fetches_is_not_printed_again() {
        let paper = Paper::default();
        let board = Board::new(paper.clone());
        let (sender, editor) = sync_channel(1);
        let waker = Waker::start(&board, Narrow(sender)).unwrap();
        let (screen, out) = (Screen::Prompt(Arc::clone(&board)), Output::new(false));
        let opened = board.open();
        screen.line("one", out).unwrap();
        screen.line("two", out).unwrap();
        assert_eq!(editor.recv_timeout(PATIENCE).as_deref(), Ok(NOTHING));
        assert_eq!(board.fetch(), "one\ntwo\n");
        assert_eq!(board.fetch(), "");
        screen.line("three", out).unwrap();
        drop(opened);
        assert_eq!(paper.text(), "three\n");
        drop(editor);
        drop(waker);
    }

    #[test]
    fn full_board_waits_for_the_editor_or_the_end_of_the_prompt() {
        let paper = Paper::default();
        let board = Board::new(paper.clone());
        let opened = board.open();
        let (done, ended) = mpsc::channel();
        let writer = {
            let board = Arc::clone(&board);
            thread::spawn(move || {
                for number in 0..=2 * MOST_WAITING {
                    board.line(&number.to_string());
                    if number % MOST_WAITING == MOST_WAITING - 1 {
                        done.send(number).unwrap();
                    }
                }
            })
        };
        assert_eq!(ended.recv_timeout(PATIENCE), Ok(MOST_WAITING - 1));
        assert_eq!(board.lines.lock().waiting.len(), MOST_WAITING);
        let drawn = board.fetch();
        assert_eq!(ended.recv_timeout(PATIENCE), Ok(2 * MOST_WAITING - 1));
        drop(opened);
        in_time(move || writer.join().unwrap());
        let numbers: Vec<_> = (0..=2 * MOST_WAITING).map(|n| format!("{n}\n")).collect();
        assert_eq!(drawn + &paper.text(), numbers.concat());
    }

    #[test]
    fn end_of_the_screen_prints_what_an_open_prompt_did_not_draw() {
        let paper = Paper::default();
        let board = Board::new(paper.clone());
        let screen = Screen::Prompt(Arc::clone(&board));
        let _opened = board.open();
        screen.line("one", Output::new(false)).unwrap();
        screen.end();
        screen.line("two", Output::new(false)).unwrap();
        assert_eq!(paper.text(), "one\ntwo\n");
        assert_eq!(board.fetch(), "");
    }

    const PATIENCE: Duration = Duration::from_secs(30);
}
