//! A run file while it grows, as bytes: entries, marks, totals, index, trailer.

use crate::relay::run_file::format::{
    ENTRY_BYTES, EntryKind, HEADER_BYTES, Header, Mark, Seal, TRAILER_BYTES, Totals, Trailer,
    encode_index, encode_lost,
};
use crate::relay::run_file::segments::Segments;

/// Where the bytes go.
pub(super) trait Append {
    type Error;

    /// Adds the bytes of two parts.
    fn append<const N: usize>(&mut self, head: &[u8; N], body: &[u8]) -> Result<(), Self::Error>;
}

/// Puts the entries of one file one after another, all of them into the same `out`. After an error of that nothing may be added.
#[derive(Debug)]
pub(super) struct Entries {
    id: [u8; 16],
    /// Size of the file so far.
    offset: u64,
    last_mark: u64,
    mark_interval: u64,
    totals: Totals,
    segments: Segments,
    seal: Seal,
}

/// A record to add: the bytes of the wire, its number, the bytes of its blocks, how it arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewRecord<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) sequence: u64,
    pub(super) payload_bytes: u64,
    pub(super) arrival: ArrivalFlag,
}

/// How a record arrived, as the file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArrivalFlag {
    InOrder = 0,
    Late = 1,
    Duplicate = 2,
}

/// The flag of an EOR that the receiver made because none came.
pub(super) const SUBSTITUTE: u8 = 1;

impl Entries {
    /// Writes the header, the BOR and the facts about the recording.
    pub(super) fn begin<A: Append>(
        out: &mut A,
        header: &Header,
        bor: &[u8],
        about: &[u8],
        mark_interval: u64,
    ) -> Result<Self, A::Error> {
        let mut entries = Self {
            id: header.id,
            offset: HEADER_BYTES as u64,
            last_mark: HEADER_BYTES as u64,
            mark_interval: mark_interval.max(HEADER_BYTES as u64),
            totals: Totals::default(),
            segments: Segments::new(0),
            seal: Seal::default(),
        };
        out.append(&header.encode(), &[])?;
        entries.put(out, EntryKind::Bor, 0, 0, bor)?;
        entries.put(out, EntryKind::About, 0, 0, about)?;
        entries.segments = Segments::new(entries.offset);
        Ok(entries)
    }

    /// Adds a record.
    #[inline]
    pub(super) fn record<A: Append>(
        &mut self,
        out: &mut A,
        record: &NewRecord<'_>,
        time: u64,
    ) -> Result<(), A::Error> {
        self.mark_if_due(out, time)?;
        let head = self.seal_record(record, time);
        self.sealed_record(out, &head, record)
    }

    /// Adds records of one time; gives how many they are, and the last one.
    ///
    /// It makes the checksums of many before it copies the first: with nothing else in between, the processor computes those of
    /// several records at a time.
    #[inline]
    pub(super) fn records<'a, A: Append>(
        &mut self,
        out: &mut A,
        mut records: impl Iterator<Item = NewRecord<'a>> + Clone,
        time: u64,
    ) -> Result<(usize, Option<NewRecord<'a>>), A::Error> {
        let mut heads = [[0; ENTRY_BYTES]; SEALED_TOGETHER];
        let (mut all, mut last) = (0, None);
        loop {
            let mut count = 0;
            for (head, record) in heads.iter_mut().zip(records.clone()) {
                *head = self.seal_record(&record, time);
                count += 1;
            }
            if count == 0 {
                return Ok((all, last));
            }
            all += count;
            for (head, record) in heads[..count].iter().zip(records.by_ref()) {
                self.mark_if_due(out, time)?;
                self.sealed_record(out, head, &record)?;
                last = Some(record);
            }
        }
    }

    /// Adds a gap: the first missing number, and how many.
    pub(super) fn lost<A: Append>(
        &mut self,
        out: &mut A,
        first: u64,
        count: u64,
        time: u64,
    ) -> Result<(), A::Error> {
        self.mark_if_due(out, time)?;
        self.totals.lost += 1;
        self.totals.missed = self.totals.missed.saturating_add(count);
        self.put(out, EntryKind::Lost, 0, time, &encode_lost(first, count))
    }

    /// Adds something that went wrong.
    pub(super) fn fault<A: Append>(
        &mut self,
        out: &mut A,
        text: &str,
        time: u64,
    ) -> Result<(), A::Error> {
        self.mark_if_due(out, time)?;
        self.totals.faults += 1;
        let text = &text[..text.floor_char_boundary(MAX_FAULT_TEXT)];
        self.put(out, EntryKind::Fault, 0, time, text.as_bytes())
    }

    /// Adds the end of the run, index and trailer; gives the size of the file too. `missed` is the receiver's final count.
    pub(super) fn end<A: Append>(
        mut self,
        out: &mut A,
        eor: &[u8],
        flags: u8,
        missed: u64,
        time: u64,
    ) -> Result<(Totals, u64), A::Error> {
        self.totals.missed = missed;
        // So that damage in the last stretch does not hide the end.
        self.mark(out, time)?;
        self.totals.eor = self.offset;
        self.put(out, EntryKind::Eor, flags, time, eor)?;
        let index = self.offset;
        let segments = std::mem::replace(&mut self.segments, Segments::new(0));
        let body = encode_index(&self.totals, &segments.finish());
        self.put(out, EntryKind::Index, 0, time, &body)?;
        let trailer = Trailer {
            index,
            file_len: self.offset + TRAILER_BYTES as u64,
        };
        out.append(&trailer.encode(), &[])?;
        Ok((self.totals, trailer.file_len))
    }

    /// What is in the file so far.
    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Size of the file so far, in bytes.
    pub(super) fn file_len(&self) -> u64 {
        self.offset
    }

    #[inline]
    fn seal_record(&mut self, record: &NewRecord<'_>, time: u64) -> [u8; ENTRY_BYTES] {
        let flags = record.arrival as u8;
        self.seal.head(EntryKind::Record, flags, time, record.bytes)
    }

    #[inline]
    fn sealed_record<A: Append>(
        &mut self,
        out: &mut A,
        head: &[u8; ENTRY_BYTES],
        record: &NewRecord<'_>,
    ) -> Result<(), A::Error> {
        out.append(head, record.bytes)?;
        self.offset += (ENTRY_BYTES + record.bytes.len()) as u64;
        let sequence = record.sequence;
        let totals = &mut self.totals;
        if totals.records == 0 {
            (totals.first, totals.last) = (sequence, sequence);
        }
        totals.records += 1;
        totals.payload_bytes += record.payload_bytes;
        totals.first = totals.first.min(sequence);
        totals.last = totals.last.max(sequence);
        match record.arrival {
            ArrivalFlag::InOrder => {}
            ArrivalFlag::Late => totals.late += 1,
            ArrivalFlag::Duplicate => totals.duplicates += 1,
        }
        self.segments.record(sequence);
        Ok(())
    }

    #[inline]
    fn mark_if_due<A: Append>(&mut self, out: &mut A, time: u64) -> Result<(), A::Error> {
        if self.offset - self.last_mark < self.mark_interval {
            return Ok(());
        }
        self.mark(out, time)
    }

    fn mark<A: Append>(&mut self, out: &mut A, time: u64) -> Result<(), A::Error> {
        let mark = Mark {
            id: self.id,
            offset: self.offset,
            records: self.totals.records,
            payload_bytes: self.totals.payload_bytes,
        };
        self.last_mark = self.offset;
        self.segments.mark(self.offset, self.totals.records);
        self.put(out, EntryKind::Mark, 0, time, &mark.encode())
    }

    /// The callers check that a body is within `u32`.
    #[inline]
    fn put<A: Append>(
        &mut self,
        out: &mut A,
        kind: EntryKind,
        flags: u8,
        time: u64,
        body: &[u8],
    ) -> Result<(), A::Error> {
        let head = self.seal.head(kind, flags, time, body);
        out.append(&head, body)?;
        self.offset += (ENTRY_BYTES + body.len()) as u64;
        Ok(())
    }
}

/// Records whose checksums are made together.
const SEALED_TOGETHER: usize = 64;

/// Longest text of a fault, in bytes; the rest is cut off.
const MAX_FAULT_TEXT: usize = 4096;
