//! `acqbus store export`: events as JSON lines that can be imported again, or as a table.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{Colour, Output, harmless, note};
use crate::cli::signal::Stop;
use crate::cli::store::args::{Place, Site, Stretch, Types};
use crate::cli::store::check::unreadable;
use crate::cli::store::csv;
use crate::cli::store::progress::Count;
use crate::cli::store::show;
use crate::cli::store::walk::Walk;
use crate::event::{Event, Subscription};
use crate::store::RedbBackend;

/// Arguments of `acqbus store export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    types: Types,
    #[command(flatten)]
    stretch: Stretch,
    /// Only events of this server
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        conflicts_with_all = ["from", "to"]
    )]
    server_id: Option<i64>,
    /// Read a store that is damaged, without opening it: every event whose checksum holds
    #[arg(long, conflicts_with_all = ["from", "to", "server_id"])]
    salvage: bool,
    /// JSON lines, which keep everything, or comma-separated values
    #[arg(long, value_name = "FORMAT", default_value = "jsonl")]
    format: Format,
    /// Write to this file, which must not be there yet [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object a line
    Jsonl,
    /// A header, then one line an event
    Csv,
}

impl Export {
    /// Writes all events that are meant.
    pub(crate) fn run(&self, out: Output) -> Result<Exit, Failure> {
        let walk = Walk::new(&self.types, &self.stretch, self.server_id)?;
        let stop = Stop::on_ctrl_c()?;
        if self.salvage {
            return self.salvage(&self.types.subscription()?, &stop, out);
        }
        let store = self.place.open()?;
        let walk = walk.within(&store)?;
        let mut target = Target::open(self.output.as_deref())?;
        let progress = Count::start("exported", out)?;
        if self.format == Format::Csv {
            target.write(csv::HEADER.as_bytes())?;
        }
        let (mut events, mut asked, mut line) = (0_u64, None, Vec::new());
        walk.each(&store, &mut |event| {
            if let Ok(exit) = stop.asked().try_recv() {
                asked = Some(exit);
                return Ok(ControlFlow::Break(()));
            }
            self.format.put(event, &mut line)?;
            target.event(&line)?;
            events += 1;
            progress.set(events);
            Ok(ControlFlow::Continue(()))
        })?;
        target.finish()?;
        drop(progress);
        self.tell(events, asked.is_none(), out)?;
        Ok(asked.unwrap_or(Exit::Done))
    }

    /// Writes all that can be read of a damaged store; each damage is told beside it.
    fn salvage(&self, wanted: &Subscription, stop: &Stop, out: Output) -> Result<Exit, Failure> {
        let Site::Here(dir) = self.place.site()? else {
            return Err(Failure::usage(
                "a server gives what it can read; a damaged store is read where its files are",
            )
            .with_hint("acqbus store export --salvage --store DIR, on the machine of the server"));
        };
        let mut target = Target::open(self.output.as_deref())?;
        if self.format == Format::Csv {
            target.write(csv::HEADER.as_bytes())?;
        }
        let (mut damaged, mut events, mut asked) = (0_u64, 0_u64, None);
        let (mut failed, mut line) = (Ok(()), Vec::new());
        let salvaged = RedbBackend::salvage(
            dir,
            &mut |damage| {
                damaged += 1;
                note(&out.paint(Colour::Bad, &harmless(&damage.to_string())));
            },
            &mut |event| {
                if let Ok(exit) = stop.asked().try_recv() {
                    asked = Some(exit);
                    return ControlFlow::Break(());
                }
                if !wanted.matches(&event.event_type) {
                    return ControlFlow::Continue(());
                }
                events += 1;
                let put = self.format.put(event, &mut line);
                failed = put.and_then(|()| target.event(&line));
                match failed {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            },
        );
        salvaged.map_err(unreadable)?;
        failed?;
        target.finish()?;
        self.tell(events, asked.is_none(), out)?;
        Ok(match asked {
            Some(exit) => exit,
            None if damaged > 0 => Exit::BadData,
            None => Exit::Done,
        })
    }

    fn tell(&self, events: u64, is_whole: bool, out: Output) -> Result<(), Failure> {
        let to = self.output.as_ref().map(|path| path.display().to_string());
        if out.is_json() && to.is_some() {
            return out.object(&json!({
                "notice": "end",
                "events": events,
                "file": to,
                "interrupted": !is_whole,
            }));
        }
        let mut text = format!("-- {} exported", show::events(events));
        if let Some(to) = to {
            text.push_str(&format!(" to {to}"));
        }
        if !is_whole {
            text.push_str("; interrupted, there are more");
        }
        note(&text);
        Ok(())
    }
}

impl Format {
    /// Sets `line` to the line of an event.
    fn put(self, event: &Event, line: &mut Vec<u8>) -> Result<(), Failure> {
        line.clear();
        match self {
            Self::Jsonl => {
                serde_json::to_writer(&mut *line, event).map_err(io::Error::from)?;
                line.push(b'\n');
            }
            Self::Csv => {
                let mut text = String::new();
                csv::push(event, &mut text);
                line.extend_from_slice(text.as_bytes());
            }
        }
        Ok(())
    }
}

/// Where the lines go. A file that got no event before a failure is removed again.
struct Target {
    writer: BufWriter<Box<dyn Write>>,
    file: Option<(PathBuf, File)>,
    /// Whether the file has something that is worth keeping.
    is_of_use: bool,
}

impl Target {
    fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else {
            let writer: Box<dyn Write> = Box::new(io::stdout());
            return Ok(Self {
                writer: BufWriter::new(writer),
                file: None,
                is_of_use: true,
            });
        };
        let told = |error: io::Error| {
            let failure = Failure::of(Exit::Failed, &error).while_doing(path.display());
            match error.kind() {
                io::ErrorKind::AlreadyExists => failure.with_hint("another --output"),
                _ => failure,
            }
        };
        let file = File::create_new(path).map_err(told)?;
        let writer: Box<dyn Write> = Box::new(file.try_clone().map_err(told)?);
        Ok(Self {
            writer: BufWriter::with_capacity(BUFFER, writer),
            file: Some((path.to_owned(), file)),
            is_of_use: false,
        })
    }

    fn event(&mut self, line: &[u8]) -> Result<(), Failure> {
        self.is_of_use = true;
        self.write(line)
    }

    fn write(&mut self, line: &[u8]) -> Result<(), Failure> {
        let written = self.writer.write_all(line);
        self.told(written)
    }

    /// What is in a file is on the disk then.
    fn finish(mut self) -> Result<(), Failure> {
        let flushed = self.writer.flush();
        self.told(flushed)?;
        if let Some((_, file)) = &self.file {
            let synced = file.sync_all();
            self.told(synced)?;
        }
        self.is_of_use = true;
        Ok(())
    }

    fn told(&self, result: io::Result<()>) -> Result<(), Failure> {
        result.map_err(|error| match &self.file {
            Some((path, _)) => Failure::of(Exit::Failed, &error).while_doing(path.display()),
            None => error.into(),
        })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some((path, _)) = self.file.as_ref().filter(|_| !self.is_of_use) {
            // It is this program's own, and new; where it cannot be removed it stays.
            let _ = fs::remove_file(path);
        }
    }
}

const BUFFER: usize = 256 << 10;

pub(crate) const EXAMPLES: &str = "\
Examples:
  acqbus store export --store history --output history.jsonl
  acqbus store export 'rig-1/event/*' --from -1h --store history | jq .payload
  acqbus store export --format csv --store history --output history.csv
  acqbus store export --salvage --store history --output rest.jsonl

Events come in the order of time. JSON lines keep everything: `acqbus store import` gives the same events again.
With --from or --to the time series is read, without them everything that the store keeps.
With --salvage a damaged store is read that cannot be opened; damage is told, and the exit code is 6 then.";
