//! redb alone: the fastest way to the disk that the store's engine has.

use std::path::Path;

use redb::{Database, TableDefinition};

use crate::cli::exit::{Exit, Failure};

/// A table of blocks, each written by a commit of its own.
pub(super) struct RawStore {
    database: Database,
}

impl RawStore {
    pub(super) fn create(dir: &Path) -> Result<Self, Failure> {
        let database = Database::create(dir.join("raw.redb")).map_err(failed)?;
        Ok(Self { database })
    }

    /// Writes a block; it is on disk when this returns.
    pub(super) fn commit(&self, number: u64, block: &[u8]) -> Result<(), Failure> {
        let write = self.database.begin_write().map_err(failed)?;
        write
            .open_table(BLOCKS)
            .map_err(failed)?
            .insert(number, block)
            .map_err(failed)?;
        write.commit().map_err(failed)
    }
}

fn failed(error: impl std::error::Error) -> Failure {
    Failure::of(Exit::Failed, &error).while_doing("redb")
}

const BLOCKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blocks");
