//! Reading what was committed at one point.

use std::fmt;
use std::ops::{Bound, Deref};
use std::sync::{Arc, OnceLock};

use ::redb::{OwnedAccessGuard, OwnedRange, ReadOnlyTable, ReadTransaction};

use super::Table;
use super::guard::Health;
use crate::store::StoreError;

/// The database as it was when this was taken. A clone is cheap and is the same one.
///
/// Writers never wait for it, nor it for them; while one is held, the pages that it sees are not used again.
#[derive(Clone)]
pub(in crate::store::redb) struct Snapshot {
    shared: Arc<Shared>,
}

struct Shared {
    transaction: ReadTransaction,
    tables: [OnceLock<Option<Bytes>>; Table::ALL.len()],
    health: Arc<Health>,
}

type Bytes = ReadOnlyTable<&'static [u8], &'static [u8]>;

impl Snapshot {
    pub(super) fn new(transaction: ReadTransaction, health: Arc<Health>) -> Self {
        Self {
            shared: Arc::new(Shared {
                transaction,
                tables: [const { OnceLock::new() }; Table::ALL.len()],
                health,
            }),
        }
    }

    /// False once an error broke the database: reads fail then, and a new snapshot is to be taken.
    pub(in crate::store::redb) fn is_current(&self) -> bool {
        !self.shared.health.is_broken()
    }

    /// The value of `key`.
    pub(in crate::store::redb) fn get(
        &self,
        table: Table,
        key: &[u8],
    ) -> Result<Option<Value>, StoreError> {
        let Some(table) = self.table(table)? else {
            return Ok(None);
        };
        self.guard(|| table.get_owned(key).map(|found| found.map(Value::checked)))
    }

    /// The pairs whose keys are within the bounds, from either end.
    pub(in crate::store::redb) fn range(
        &self,
        table: Table,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Result<Pairs, StoreError> {
        let range = match self.table(table)? {
            Some(_) if is_empty(bounds) => None,
            Some(table) => Some(self.guard(|| table.range_owned::<&[u8]>(bounds))?),
            None => None,
        };
        Ok(Pairs {
            range,
            health: self.shared.health.clone(),
        })
    }

    /// How many pairs there are.
    #[cfg(test)]
    pub(in crate::store::redb) fn len(&self, table: Table) -> Result<u64, StoreError> {
        let table = self.table(table)?;
        table.map_or(Ok(0), |table| {
            self.guard(|| ::redb::ReadableTableMetadata::len(table))
        })
    }

    fn table(&self, table: Table) -> Result<Option<&Bytes>, StoreError> {
        let place = &self.shared.tables[table as usize];
        if let Some(opened) = place.get() {
            return Ok(opened.as_ref());
        }
        let opened =
            self.guard(
                || match self.shared.transaction.open_table(table.definition()) {
                    Ok(table) => Ok(Some(table)),
                    Err(::redb::TableError::TableDoesNotExist(_)) => Ok(None),
                    Err(error) => Err(error),
                },
            )?;
        Ok(place.get_or_init(|| opened).as_ref())
    }

    fn guard<T, E: Into<::redb::Error>>(
        &self,
        call: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, StoreError> {
        self.shared.health.guard(READING, call)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

/// Bytes inside the database's own page; holds the snapshot.
pub(in crate::store::redb) struct Value(OwnedAccessGuard<&'static [u8]>);

impl Value {
    /// Looks at the bytes once, inside the guard: where a damaged page says wrong bounds, that panics, and later looks are alike.
    fn checked(value: OwnedAccessGuard<&'static [u8]>) -> Self {
        std::hint::black_box(value.value().len());
        Self(value)
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.value()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// Pairs of a table in the order of their keys, or backwards. After an error it ends.
pub(in crate::store::redb) struct Pairs {
    range: Option<OwnedRange<&'static [u8], &'static [u8]>>,
    health: Arc<Health>,
}

type Pair = Result<(Value, Value), StoreError>;

impl Pairs {
    fn step(
        &mut self,
        step: impl FnOnce(
            &mut OwnedRange<&'static [u8], &'static [u8]>,
        ) -> Option<Result<OwnedPair, ::redb::StorageError>>,
    ) -> Option<Pair> {
        let range = self.range.as_mut()?;
        let found = self.health.guard(READING, || {
            let found = step(range).transpose()?;
            Ok::<_, ::redb::StorageError>(
                found.map(|(key, value)| (Value::checked(key), Value::checked(value))),
            )
        });
        if !matches!(found, Ok(Some(_))) {
            self.range = None;
        }
        found.transpose()
    }
}

type OwnedPair = (
    OwnedAccessGuard<&'static [u8]>,
    OwnedAccessGuard<&'static [u8]>,
);

impl fmt::Debug for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pairs").finish_non_exhaustive()
    }
}

impl Iterator for Pairs {
    type Item = Pair;

    fn next(&mut self) -> Option<Pair> {
        self.step(Iterator::next)
    }
}

impl DoubleEndedIterator for Pairs {
    fn next_back(&mut self) -> Option<Pair> {
        self.step(DoubleEndedIterator::next_back)
    }
}

/// The engine takes no bounds that cross.
pub(super) fn is_empty((from, to): (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match (from, to) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
        | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
        _ => false,
    }
}

const READING: &str = "reading";
