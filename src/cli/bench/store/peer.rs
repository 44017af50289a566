//! The other process of `bench store`: reads every event of a store, and says what memory that took.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;

use crate::cli::exit::{Exit, Failure};
use crate::cli::print::Output;
use crate::event::{Order, QueryTimeseriesParams};
use crate::store::Backend;

use super::shape::{config, open};

#[derive(Debug, Args)]
pub(in crate::cli::bench) struct BenchStorePeer {
    dir: PathBuf,
}

impl BenchStorePeer {
    /// Prints the peak before and after, and how many events there were.
    pub(in crate::cli::bench) fn run(&self, out: Output) -> Result<Exit, Failure> {
        let before = peak_bytes()?;
        let store = open(&self.dir, config().timeseries_max_results(usize::MAX))?;
        let mut seen = 0_u64;
        for order in [Order::Descending, Order::Ascending] {
            seen = 0;
            let params = QueryTimeseriesParams::default().order(order);
            store.visit(&params.into(), &mut |_| {
                seen += 1;
                ControlFlow::Continue(())
            })?;
        }
        out.line(&format!("{before} {} {seen}", peak_bytes()?))?;
        Ok(Exit::Done)
    }
}

/// The most memory that this process has occupied.
fn peak_bytes() -> Result<u64, Failure> {
    let text = fs::read_to_string("/proc/self/status")?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib << 10)
        .ok_or_else(|| Failure::new(Exit::Failed, "the system does not say the memory in use"))
}
