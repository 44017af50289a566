//! `acqbus store import`: events from JSON lines, with their ids; what is there already is left out.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use clap::Args;
use crossbeam_channel::{Receiver, bounded, select_biased};
use serde_json::{Value, json};

use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{Colour, Output, harmless, note};
use crate::cli::signal::Stop;
use crate::cli::store::anew::Anew;
use crate::cli::store::args::{Keep, Place, Site, open_or_create};
use crate::cli::store::claim::Claim;
use crate::cli::store::progress::Count;
use crate::cli::store::remote::Remote;
use crate::cli::store::show;
use crate::event::{Event, EventId, QueryServerParams};
use crate::store::{Backend, StoreHandle};

/// Arguments of `acqbus store import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file, or - for standard input
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    keep: Keep,
    /// Give all events this server number: for a history beside another one whose ids would collide
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    server_id: Option<i64>,
}

impl Import {
    /// Registers the events of the file.
    pub(crate) fn run(&self, out: Output) -> Result<Exit, Failure> {
        let stop = Stop::on_ctrl_c()?;
        let reader = self.reader()?;
        match self.place.site()? {
            Site::Here(dir) => {
                let store = open_or_create(dir, &self.keep)?;
                let mut taking = Taking {
                    store: &store,
                    dir,
                    last: HashMap::new(),
                    claims: Vec::new(),
                    batch: Vec::new(),
                    counts: Counts::default(),
                };
                let asked = self.read(reader, &mut taking, &stop, out)?;
                taking.register()?;
                let counts = taking.counts;
                store.flush()?;
                store.close()?;
                counts.tell(out)?;
                Ok(counts.exit(asked))
            }
            Site::There(_) if self.keep.is_given() || self.server_id.is_some() => {
                Err(Failure::usage(
                    "a server keeps what it is told to where it is started, under its own number",
                )
                .with_hint("again without --store-config and --server-id"))
            }
            Site::There(address) => {
                let remote = Remote::connect(self.place.client(address)?)?;
                let mut anew = Renewing {
                    anew: Anew::new(&remote),
                    damaged: 0,
                };
                let asked = self.read(reader, &mut anew, &stop, out)?;
                anew.anew.register()?;
                let counts = Counts {
                    registered: anew.anew.registered(),
                    damaged: anew.damaged,
                    is_anew: true,
                    ..Counts::default()
                };
                remote.client().close();
                counts.tell(out)?;
                Ok(counts.exit(asked))
            }
        }
    }

    /// Reads the lines to their end, or until the user has enough.
    fn read(
        &self,
        reader: Box<dyn BufRead + Send>,
        taker: &mut dyn Take,
        stop: &Stop,
        out: Output,
    ) -> Result<Option<Exit>, Failure> {
        let progress = Count::start("imported", out)?;
        let lines = lines(reader)?;
        let mut number = 0_u64;
        loop {
            let line = select_biased! {
                recv(stop.asked()) -> exit => {
                    return Ok(Some(exit.unwrap_or(Exit::Interrupted)));
                }
                recv(lines) -> line => match line {
                    Ok(line) => line?,
                    Err(_) => return Ok(None),
                },
            };
            number += 1;
            match self.parse(&line) {
                Ok(Some(event)) => taker.take(event)?,
                Ok(None) => {}
                Err(reason) => {
                    taker.damaged();
                    progress.aside(|| tell_damage(number, &reason, out))?;
                }
            }
            progress.set(taker.registered());
        }
    }

    fn reader(&self) -> Result<Box<dyn BufRead + Send>, Failure> {
        if self.file.as_os_str() == "-" {
            return Ok(Box::new(BufReader::new(io::stdin())));
        }
        let told = |error: io::Error| {
            Failure::of(Exit::Usage, &error)
                .while_doing(self.file.display())
                .with_hint("the path of a file that `acqbus store export` has written")
        };
        let file = File::open(&self.file).map_err(told)?;
        if file.metadata().map_err(told)?.is_dir() {
            return Err(told(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        Ok(Box::new(BufReader::with_capacity(256 << 10, file)))
    }

    /// An event; `None` for an empty line and for a notice of a verb with `--json`.
    fn parse(&self, line: &[u8]) -> Result<Option<Arc<Event>>, String> {
        if line.len() > LONGEST {
            return Err(format!("longer than {} MiB", LONGEST >> 20));
        }
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        match serde_json::from_slice::<Event>(line) {
            Ok(mut event) => {
                if let Some(server) = self.server_id {
                    event.id.server = server;
                }
                Ok(Some(Arc::new(event)))
            }
            Err(error) => match serde_json::from_slice::<Value>(line) {
                Ok(value) if value.get("notice").is_some_and(Value::is_string) => Ok(None),
                _ => Err(error.to_string()),
            },
        }
    }
}

/// The lines as they are read, by a thread that may wait for the next one as long as the program runs.
fn lines(mut reader: Box<dyn BufRead + Send>) -> Result<Receiver<io::Result<Vec<u8>>>, Failure> {
    let (sender, lines) = bounded(WAITING);
    let read = move || {
        loop {
            let mut line = Vec::new();
            let read = read_line(&mut *reader, &mut line);
            let goes_on = matches!(read, Ok(true));
            let told = match read {
                Ok(true) => sender.send(Ok(line)),
                Ok(false) => return,
                Err(error) => sender.send(Err(error)),
            };
            if told.is_err() || !goes_on {
                return;
            }
        }
    };
    thread::Builder::new()
        .name("acqbus-lines".to_owned())
        .spawn(read)?;
    Ok(lines)
}

/// Reads a line without its line feed; one beyond the limit comes cut, and the rest of it is skipped.
fn read_line(reader: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut limited = reader.take(LONGEST as u64 + 1);
    if limited.read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > LONGEST {
        loop {
            let chunk = reader.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(chunk.len(), |at| at + 1);
            reader.consume(used);
            if end.is_some() {
                break;
            }
        }
    }
    Ok(true)
}

fn tell_damage(line: u64, reason: &str, out: Output) -> Result<(), Failure> {
    if out.is_json() {
        return out.object(&json!({"notice": "damage", "line": line, "reason": reason}));
    }
    let text = format!("line {line}: {}", harmless(reason));
    note(&out.paint(Colour::Bad, &text));
    Ok(())
}

/// Takes the events that are read.
trait Take {
    fn take(&mut self, event: Arc<Event>) -> Result<(), Failure>;
    fn damaged(&mut self);
    fn registered(&self) -> u64;
}

/// Events on their way to a server.
struct Renewing<'a> {
    anew: Anew<'a>,
    damaged: u64,
}

impl Take for Renewing<'_> {
    fn take(&mut self, event: Arc<Event>) -> Result<(), Failure> {
        self.anew.take(&event)
    }

    fn damaged(&mut self) {
        self.damaged += 1;
    }

    fn registered(&self) -> u64 {
        self.anew.registered()
    }
}

/// Events on their way into the store.
struct Taking<'a> {
    store: &'a StoreHandle,
    dir: &'a Path,
    /// Whoever records as one of these servers would lose what comes behind imported ids.
    claims: Vec<Claim>,
    /// The last id of each server, in the store or on the way there.
    last: HashMap<i64, EventId>,
    batch: Vec<Arc<Event>>,
    counts: Counts,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    registered: u64,
    present: u64,
    refused: u64,
    damaged: u64,
    /// With ids and times of a server.
    is_anew: bool,
}

impl Take for Taking<'_> {
    fn take(&mut self, event: Arc<Event>) -> Result<(), Failure> {
        let server = event.id.server;
        let last = match self.last.get(&server) {
            Some(last) => *last,
            None => {
                self.claims.push(Claim::take(self.dir, server)?);
                self.store.last_event_id(server)?
            }
        };
        if event.id <= last {
            self.last.insert(server, last);
            self.counts.present += 1;
            return Ok(());
        }
        self.last.insert(server, event.id);
        self.batch.push(event);
        if self.batch.len() >= BATCH {
            self.register()?;
        }
        Ok(())
    }

    fn damaged(&mut self) {
        self.counts.damaged += 1;
    }

    fn registered(&self) -> u64 {
        self.counts.registered
    }
}

impl Taking<'_> {
    /// Registers the batch, and counts what the store has not kept of it.
    fn register(&mut self) -> Result<(), Failure> {
        let batch = std::mem::take(&mut self.batch);
        let mut begins: HashMap<i64, (EventId, u64)> = HashMap::new();
        for event in &batch {
            let server = event.id.server;
            match begins.entry(server) {
                Entry::Occupied(mut begin) => begin.get_mut().1 += 1,
                Entry::Vacant(begin) => {
                    begin.insert((self.store.last_event_id(server)?, 1));
                }
            }
        }
        self.store.register(batch.into())?;
        for (server, (before, count)) in begins {
            let kept = self.kept_after(server, before, count)?;
            self.counts.registered += kept;
            self.counts.refused += count.saturating_sub(kept);
        }
        Ok(())
    }

    /// How many events the store has behind an id; it leaves out those that its configuration does not want.
    fn kept_after(&self, server: i64, before: EventId, most: u64) -> Result<u64, Failure> {
        let (mut kept, mut last) = (0, before);
        loop {
            let params = QueryServerParams::new(server)
                .after(last)
                .max_results(i64::try_from(most).unwrap_or(i64::MAX));
            let page = self.store.query(&params.into())?;
            kept += page.events.len() as u64;
            match page.events.last() {
                Some(event) if page.more_follows => last = event.id,
                _ => return Ok(kept),
            }
        }
    }
}

impl Counts {
    const fn exit(self, asked: Option<Exit>) -> Exit {
        match asked {
            Some(exit) => exit,
            None if self.damaged > 0 => Exit::BadData,
            None => Exit::Done,
        }
    }

    fn tell(&self, out: Output) -> Result<(), Failure> {
        if out.is_json() {
            return out.object(&json!({
                "notice": "end",
                "events": self.registered,
                "present": self.present,
                "refused": self.refused,
                "damaged": self.damaged,
                "anew": self.is_anew,
            }));
        }
        let mut text = format!("-- {} imported", show::events(self.registered));
        if self.is_anew {
            text.push_str(" as new events: the server has given them ids and times of its own");
        }
        for (count, what) in [
            (
                self.present,
                "there already, or older than the last one of their server",
            ),
            (
                self.refused,
                "not kept by the store's configuration, or superseded",
            ),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        match self.damaged {
            0 => {}
            1 => text.push_str(", 1 line that is no event"),
            count => text.push_str(&format!(", {count} lines that are no events")),
        }
        note(&out.paint(Colour::Notice, &text));
        Ok(())
    }
}

/// Events that are registered at once.
const BATCH: usize = 1000;

/// Lines that are read ahead.
const WAITING: usize = 16;

/// The longest line.
const LONGEST: usize = 64 << 20;

pub(crate) const EXAMPLES: &str = "\
Examples:
  acqbus store import history.jsonl --store copy
  acqbus store import night.jsonl --server-id 2 --store history
  acqbus store export --store history | acqbus store import - --store copy
  acqbus store import history.jsonl --server history-server

Events keep their ids and times, so that a second import of the same file changes nothing: an event whose id is
not behind the last one of its server is left out. Lines that are no events are told, and the exit code is 6.
A server registers them anew, each time: with ids and times of its own, and the old time as that of the source
where there was none.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_beyond_the_limit_is_skipped_whole() {
        let mut text = vec![b'x'; LONGEST + 10];
        text.extend_from_slice(b"\nnext\nlast");
        let mut reader = BufReader::new(&text[..]);
        let mut line = Vec::new();
        assert!(read_line(&mut reader, &mut line).unwrap());
        assert_eq!(line.len(), LONGEST + 1);
        for expected in ["next", "last"] {
            assert!(read_line(&mut reader, &mut line).unwrap());
            assert_eq!(line, expected.as_bytes());
        }
        assert!(!read_line(&mut reader, &mut line).unwrap());
    }
}
