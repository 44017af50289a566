//! Writing: what becomes true at once, or not at all.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::ops::{Bound, ControlFlow};

use ::redb::{ReadableTable, WriteTransaction};

use super::Table;
use super::guard::Health;
use super::snapshot::is_empty;
use crate::store::StoreError;

/// One transaction that writes; what it reads is what it has written.
///
/// The first error of a call makes the rest of no use: give it to the door, which takes the transaction back.
pub(in crate::store::redb) struct WriteTx<'tx> {
    transaction: &'tx WriteTransaction,
    tables: [RefCell<Option<Bytes<'tx>>>; Table::ALL.len()],
    health: &'tx Health,
}

type Bytes<'tx> = ::redb::Table<'tx, &'static [u8], &'static [u8]>;

impl<'tx> WriteTx<'tx> {
    pub(super) fn new(transaction: &'tx WriteTransaction, health: &'tx Health) -> Self {
        Self {
            transaction,
            tables: [const { RefCell::new(None) }; Table::ALL.len()],
            health,
        }
    }

    /// A copy of the value of `key`.
    pub(in crate::store::redb) fn get(
        &self,
        table: Table,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let table = self.table(table)?;
        self.guard(READING, || {
            Ok::<_, ::redb::StorageError>(table.get(key)?.map(|value| value.value().to_vec()))
        })
    }

    /// Sets the value of `key`.
    pub(in crate::store::redb) fn put(
        &self,
        table: Table,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        let mut table = self.table(table)?;
        self.guard(WRITING, || table.insert(key, value).map(drop))
    }

    /// Takes `key` out; says whether it was there.
    pub(in crate::store::redb) fn delete(
        &self,
        table: Table,
        key: &[u8],
    ) -> Result<bool, StoreError> {
        let mut table = self.table(table)?;
        self.guard(WRITING, || table.remove(key).map(|found| found.is_some()))
    }

    /// Copies of the first pair within the bounds.
    pub(in crate::store::redb) fn first(
        &self,
        table: Table,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Result<Option<Copies>, StoreError> {
        self.end(table, bounds, |range| range.next())
    }

    /// A copy of the first key within the bounds.
    pub(in crate::store::redb) fn first_key(
        &self,
        table: Table,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let mut found = None;
        self.scan(table, bounds, |key, _| {
            found = Some(key.to_vec());
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Copies of the last pair within the bounds.
    pub(in crate::store::redb) fn last(
        &self,
        table: Table,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Result<Option<Copies>, StoreError> {
        self.end(table, bounds, |range| range.next_back())
    }

    /// Shows the pairs within the bounds in order, until `visit` breaks. It must not touch the same table.
    pub(in crate::store::redb) fn scan(
        &self,
        table: Table,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        if is_empty(bounds) {
            return Ok(());
        }
        let table = self.table(table)?;
        self.guard(READING, || {
            for pair in table.range::<&[u8]>(bounds)? {
                let (key, value) = pair?;
                if visit(key.value(), value.value()).is_break() {
                    break;
                }
            }
            Ok::<_, ::redb::StorageError>(())
        })
    }

    /// Closes the tables, so that the transaction can end.
    pub(super) fn finish(self) -> Result<(), StoreError> {
        self.health.guard(WRITING, || {
            drop(self.tables);
            Ok::<_, ::redb::StorageError>(())
        })
    }

    fn end(
        &self,
        table: Table,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        end: for<'r> fn(&mut Rows<'r>) -> Option<Found<'r>>,
    ) -> Result<Option<Copies>, StoreError> {
        if is_empty(bounds) {
            return Ok(None);
        }
        let table = self.table(table)?;
        self.guard(READING, || {
            let found = end(&mut table.range::<&[u8]>(bounds)?).transpose()?;
            Ok::<_, ::redb::StorageError>(
                found.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())),
            )
        })
    }

    /// Opens it at its first use: the engine lets a table be open once in a transaction.
    fn table(&self, table: Table) -> Result<RefMut<'_, Bytes<'tx>>, StoreError> {
        let mut place = self.tables[table as usize].borrow_mut();
        if place.is_none() {
            *place = Some(self.guard(WRITING, || self.transaction.open_table(table.definition()))?);
        }
        Ok(RefMut::map(place, |place| {
            place.as_mut().expect("filled above")
        }))
    }

    fn guard<T, E: Into<::redb::Error>>(
        &self,
        action: &'static str,
        call: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, StoreError> {
        self.health.guard(action, call)
    }
}

/// A key and its value.
pub(in crate::store::redb) type Copies = (Vec<u8>, Vec<u8>);

type Rows<'r> = ::redb::Range<'r, &'static [u8], &'static [u8]>;

type Found<'r> = Result<
    (
        ::redb::AccessGuard<'r, &'static [u8]>,
        ::redb::AccessGuard<'r, &'static [u8]>,
    ),
    ::redb::StorageError,
>;

impl fmt::Debug for WriteTx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteTx").finish_non_exhaustive()
    }
}

const READING: &str = "reading what is being written";
const WRITING: &str = "writing";
