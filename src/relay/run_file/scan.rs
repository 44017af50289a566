//! A run file entry by entry, over whatever bytes there are: past damage, and up to a torn end.

use std::io::{self, Read, Seek, SeekFrom};

use crate::relay::run_file::ending::{Damage, DamageKind, Tail, TailKind};
use crate::relay::run_file::format::{
    ENTRY_BYTES, EntryHead, EntryKind, HEADER_BYTES, Header, MARK_BYTES, Mark, Segment,
    TRAILER_BYTES, Totals, Trailer, decode_index,
};

/// Walks over the entries of one file.
///
/// Memory is a window of 1 MiB, or the largest entry when that is larger. An entry is believed only when its checksum
/// holds, and no memory is reserved for bytes that the file does not have.
#[derive(Debug)]
pub(super) struct Scanner<S> {
    source: S,
    /// Size of the file when it was opened.
    file_len: u64,
    /// Where the entries end: at the index of a file that was finished, else with the file.
    end: u64,
    id: [u8; 16],
    /// Where the index says that the EOR is, and how many records are before it.
    eor: Option<(u64, u64)>,
    max_body: usize,
    /// Where the next entry begins.
    at: u64,
    window: Window,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A whole entry; [`Scanner::body`] has its bytes until the next step.
    Entry { head: EntryHead, offset: u64 },
    /// Bytes were skipped. Where a mark follows, it says how many records are before it.
    Damage {
        damage: Damage,
        records: Option<u64>,
    },
    /// Nothing whole follows.
    End(Option<Tail>),
}

/// The bytes of the file that are in memory.
#[derive(Debug, Default)]
struct Window {
    bytes: Vec<u8>,
    /// Where they begin in the file.
    start: u64,
    /// Where the source stands.
    position: Option<u64>,
}

impl<S: Read + Seek> Scanner<S> {
    /// A scanner behind the header, which is valid.
    pub(super) fn new(source: S, file_len: u64, header: &Header, max_body: usize) -> Self {
        Self {
            source,
            file_len,
            end: file_len,
            id: header.id,
            eor: None,
            max_body: max_body.max(MAX_INDEX),
            at: HEADER_BYTES as u64,
            window: Window::default(),
        }
    }

    /// Reads the index, of a file that was finished, and keeps the scan before it.
    pub(super) fn index(&mut self) -> io::Result<Option<(Totals, Vec<Segment>)>> {
        let Some(at) = self.file_len.checked_sub(TRAILER_BYTES as u64) else {
            return Ok(None);
        };
        let Some(trailer) = self.bytes(at, TRAILER_BYTES)?.and_then(Trailer::decode) else {
            return Ok(None);
        };
        if trailer.file_len != self.file_len {
            return Ok(None);
        }
        let Ok(head) = self.entry_at(trailer.index)? else {
            return Ok(None);
        };
        if head.kind != EntryKind::Index || trailer.index + head.entry_len() != at {
            return Ok(None);
        }
        let Some(index) = decode_index(self.body(trailer.index, head)) else {
            return Ok(None);
        };
        self.end = trailer.index;
        self.eor = Some((index.0.eor, index.0.records));
        Ok(Some(index))
    }

    /// Goes to a place where an entry begins.
    pub(super) fn seek(&mut self, offset: u64) {
        self.at = offset;
    }

    /// Ends the scan here, or where it ends anyway; gives where it did before.
    pub(super) fn end_at(&mut self, offset: u64) -> u64 {
        let before = self.end;
        self.end = offset.min(self.end);
        before
    }

    /// Takes the limit of [`end_at`](Self::end_at) away.
    pub(super) fn restore_end(&mut self, end: u64) {
        self.end = end;
    }

    /// Where the next entry begins.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Size of the file, in bytes.
    pub(super) fn file_len(&self) -> u64 {
        self.file_len
    }

    /// Goes one entry on.
    #[inline]
    pub(super) fn step(&mut self) -> io::Result<Step> {
        let offset = self.at;
        match self.entry_at(offset)? {
            Ok(head) => {
                self.at = offset + head.entry_len();
                Ok(Step::Entry { head, offset })
            }
            Err(Some(DamageKind::Checksum)) => match self.skip(offset)? {
                Some(step) => Ok(step),
                None => self.recover(offset, Some(DamageKind::Checksum)),
            },
            Err(kind) => self.recover(offset, kind),
        }
    }

    /// The body of the entry that the last step found here.
    #[inline]
    pub(super) fn body(&self, offset: u64, head: EntryHead) -> &[u8] {
        let from = (offset - self.window.start) as usize + ENTRY_BYTES;
        // The step has had the whole entry in the window, and only a step changes that.
        &self.window.bytes[from..from + head.len as usize]
    }

    /// The head of the entry here, which is whole in the window afterwards; or why there is none.
    #[inline]
    fn entry_at(&mut self, offset: u64) -> io::Result<Result<EntryHead, Option<DamageKind>>> {
        let left = self.end.saturating_sub(offset);
        let Some(head) = self.bytes(offset, ENTRY_BYTES)? else {
            return Ok(Err(None));
        };
        let Some(head) = head.first_chunk().map(EntryHead::decode) else {
            return Ok(Err(None));
        };
        if head.entry_len() > left {
            return Ok(Err(None));
        }
        if head.len as usize > self.max_body {
            return Ok(Err(Some(DamageKind::Size)));
        }
        let Some(entry) = self.bytes(offset, ENTRY_BYTES + head.len as usize)? else {
            return Ok(Err(None));
        };
        Ok(if head.holds(entry) {
            Ok(head)
        } else {
            Err(Some(DamageKind::Checksum))
        })
    }

    /// Goes over one damaged entry where its size is right, as a whole entry behind it shows.
    #[cold]
    fn skip(&mut self, from: u64) -> io::Result<Option<Step>> {
        let head = self.bytes(from, ENTRY_BYTES)?;
        let Some(head) = head.and_then(|head| head.first_chunk().map(EntryHead::decode)) else {
            return Ok(None);
        };
        let next = from + head.entry_len();
        if self.entry_at(next)?.is_err() {
            return Ok(None);
        }
        self.at = next;
        let damage = Damage {
            offset: from,
            bytes: head.entry_len(),
            records: Some(u64::from(head.kind == EntryKind::Record)),
            kind: DamageKind::Checksum,
        };
        Ok(Some(Step::Damage {
            damage,
            records: None,
        }))
    }

    /// Finds the next mark behind what is no entry; `None` stands for an entry that the file has no room for.
    #[cold]
    fn recover(&mut self, from: u64, kind: Option<DamageKind>) -> io::Result<Step> {
        let end = self.end;
        let mut at = from;
        let mut zeros_from = from;
        while at < end {
            let len = (end - at).min(WINDOW as u64) as usize;
            let id = self.id;
            let Some(bytes) = self.bytes(at, len)? else {
                break;
            };
            if let Some(last) = bytes.iter().rposition(|&byte| byte != 0) {
                zeros_from = at + last as u64 + 1;
            }
            let mut searched = 0;
            while let Some(found) = self.find_id(at, len, searched, &id) {
                searched = found + 1;
                let Some(mark_at) = (at + found as u64).checked_sub(ENTRY_BYTES as u64) else {
                    continue;
                };
                let Some(mark) = self.mark_at(mark_at, from)? else {
                    continue;
                };
                self.at = mark_at;
                let damage = Damage {
                    offset: from,
                    bytes: mark_at - from,
                    records: None,
                    kind: kind.unwrap_or(DamageKind::Size),
                };
                return Ok(Step::Damage {
                    damage,
                    records: Some(mark.records),
                });
            }
            // An id may begin in this window and end in the next one.
            at += (len.saturating_sub(15)).max(1) as u64;
        }
        if let Some((eor, records)) = self.eor
            && eor > from
            && self.entry_at(eor)?.is_ok()
        {
            self.at = eor;
            let damage = Damage {
                offset: from,
                bytes: eor - from,
                records: None,
                kind: kind.unwrap_or(DamageKind::Size),
            };
            return Ok(Step::Damage {
                damage,
                records: Some(records),
            });
        }
        self.at = end;
        if from >= end {
            return Ok(Step::End(None));
        }
        // Less than the smallest entry that a file can have: a few zeros may be the end of a record.
        let zeros = end - zeros_from >= 2 * ENTRY_BYTES as u64;
        let kind = match kind {
            _ if zeros_from == from => TailKind::Zeros,
            None => TailKind::Cut,
            Some(_) if zeros => TailKind::Zeros,
            Some(_) => TailKind::Damaged,
        };
        Ok(Step::End(Some(Tail {
            offset: from,
            bytes: end - from,
            kind,
        })))
    }

    /// Whether a mark of this file begins here, which must be behind `from`.
    fn mark_at(&mut self, offset: u64, from: u64) -> io::Result<Option<Mark>> {
        if offset <= from {
            return Ok(None);
        }
        const LEN: usize = ENTRY_BYTES + MARK_BYTES;
        let Some(entry) = self.bytes(offset, LEN)? else {
            return Ok(None);
        };
        let Some(head) = entry.first_chunk().map(EntryHead::decode) else {
            return Ok(None);
        };
        if head.kind != EntryKind::Mark || head.len as usize != MARK_BYTES || !head.holds(entry) {
            return Ok(None);
        }
        let mark = Mark::decode(&entry[ENTRY_BYTES..]);
        Ok(mark.filter(|mark| mark.offset == offset && mark.id == self.id))
    }

    /// Where the id begins within the bytes from `at`; looking for a mark may have moved the window.
    fn find_id(&mut self, at: u64, len: usize, from: usize, id: &[u8; 16]) -> Option<usize> {
        let bytes = self.bytes(at, len).ok().flatten()?;
        let rest = bytes.get(from..)?;
        rest.windows(id.len())
            .position(|window| window == id)
            .map(|found| from + found)
    }

    /// The bytes of a part of the file; `None` when the file ends before.
    #[inline]
    fn bytes(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        let window = &self.window;
        // An offset may be any number that a file claims.
        let is_inside = offset
            .checked_sub(window.start)
            .is_some_and(|from| from.saturating_add(len as u64) <= window.bytes.len() as u64);
        if !is_inside && !self.refill(offset, len)? {
            return Ok(None);
        }
        let from = (offset - self.window.start) as usize;
        Ok(Some(&self.window.bytes[from..from + len]))
    }

    /// Moves the window so that it begins here; false when the file ends before `len` bytes.
    #[cold]
    fn refill(&mut self, offset: u64, len: usize) -> io::Result<bool> {
        let left = self.file_len.saturating_sub(offset);
        if (len as u64) > left {
            return Ok(false);
        }
        let window = &mut self.window;
        let have = window.start + window.bytes.len() as u64;
        if offset >= window.start && offset < have {
            window.bytes.drain(..(offset - window.start) as usize);
        } else {
            window.bytes.clear();
        }
        window.start = offset;
        // Not more than the file has: `len` and `left` are both checked against it.
        let want = left.min(WINDOW.max(len) as u64) as usize;
        let mut filled = window.bytes.len();
        window.bytes.resize(want.max(filled), 0);
        let position = offset + filled as u64;
        if window.position != Some(position) {
            self.source.seek(SeekFrom::Start(position))?;
        }
        while filled < want {
            match self.source.read(&mut window.bytes[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    window.bytes.clear();
                    window.position = None;
                    return Err(error);
                }
            }
        }
        window.bytes.truncate(filled);
        window.position = Some(offset + filled as u64);
        Ok(filled >= len)
    }
}

/// Bytes read at a time.
const WINDOW: usize = 1 << 20;

/// The limit for data is not one for the index, which has a bound of its own.
const MAX_INDEX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Cursor;

    use super::*;
    use crate::relay::run_file::entries::{Append, ArrivalFlag, Entries, NewRecord};
    use crate::relay::run_file::format::{Seal, VERSION};

    impl Append for Vec<u8> {
        type Error = Infallible;

        fn append<const N: usize>(
            &mut self,
            head: &[u8; N],
            body: &[u8],
        ) -> Result<(), Infallible> {
            self.extend_from_slice(head);
            self.extend_from_slice(body);
            Ok(())
        }
    }

    const HEADER: Header = Header {
        version: VERSION,
        started: 1,
        id: *b"0123456789abcdef",
    };

    const RECORDS: u64 = 40;

    /// A small file with a mark every few records: its bytes, and where each entry begins.
    fn file(blocks: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut entries =
            Entries::begin(&mut out, &HEADER, b"bor", b"about", 200).expect("infallible");
        for sequence in 1..=RECORDS {
            let mut body = sequence.to_le_bytes().to_vec();
            body.extend_from_slice(blocks);
            entries
                .record(
                    &mut out,
                    &NewRecord {
                        bytes: &body,
                        sequence,
                        payload_bytes: blocks.len() as u64,
                        arrival: ArrivalFlag::InOrder,
                    },
                    sequence,
                )
                .expect("infallible");
        }
        let (totals, len) = entries.end(&mut out, b"eor", 0, 0, 99).expect("infallible");
        assert_eq!((totals.records, len), (RECORDS, out.len() as u64));
        out
    }

    struct Seen {
        records: Vec<u64>,
        damage: Vec<(Damage, Option<u64>)>,
        tail: Option<Tail>,
        has_eor: bool,
    }

    /// Everything that a scan finds, which ends.
    fn scan(bytes: &[u8]) -> Seen {
        let mut scanner = Scanner::new(Cursor::new(bytes), bytes.len() as u64, &HEADER, 1 << 20);
        scanner.index().expect("no disk");
        let mut seen = Seen {
            records: Vec::new(),
            damage: Vec::new(),
            tail: None,
            has_eor: false,
        };
        for _ in 0..bytes.len() + 2 {
            match scanner.step().expect("no disk") {
                Step::Entry { head, offset } => match head.kind {
                    EntryKind::Record => {
                        let body = scanner.body(offset, head);
                        seen.records
                            .push(u64::from_le_bytes(body[..8].try_into().expect("8 bytes")));
                    }
                    EntryKind::Eor => {
                        seen.has_eor = true;
                        return seen;
                    }
                    _ => {}
                },
                Step::Damage { damage, records } => seen.damage.push((damage, records)),
                Step::End(tail) => {
                    seen.tail = tail;
                    return seen;
                }
            }
        }
        panic!("the scan does not end");
    }

    #[test]
    fn whole_file_is_read_whole() {
        let bytes = file(b"block");
        let seen = scan(&bytes);
        assert_eq!(seen.records, (1..=RECORDS).collect::<Vec<_>>());
        assert!(seen.has_eor && seen.damage.is_empty() && seen.tail.is_none());
    }

    #[test]
    fn index_finds_every_record() {
        let bytes = file(b"block");
        let mut scanner = Scanner::new(Cursor::new(&bytes), bytes.len() as u64, &HEADER, 1 << 20);
        let (totals, segments) = scanner.index().expect("no disk").expect("an index");
        assert_eq!((totals.first, totals.last), (1, RECORDS));
        assert!(segments.len() > 3);
        for segment in segments {
            scanner.seek(segment.offset);
            let mut first = None;
            while first.is_none() {
                let Step::Entry { head, offset } = scanner.step().expect("no disk") else {
                    panic!("no record in a segment");
                };
                if head.kind == EntryKind::Record {
                    first = Some(u64::from_le_bytes(
                        scanner.body(offset, head)[..8].try_into().expect("8 bytes"),
                    ));
                }
            }
            assert_eq!(first, Some(segment.first));
            assert_eq!(segment.records, segment.first - 1);
        }
    }

    /// A kill leaves any prefix: every whole record of it is read, and the tail is told.
    #[test]
    fn every_prefix_is_read_up_to_its_last_whole_record() {
        let bytes = file(b"block");
        let whole = scan(&bytes).records;
        for len in HEADER_BYTES..bytes.len() {
            let seen = scan(&bytes[..len]);
            assert_eq!(seen.records, whole[..seen.records.len()], "cut at {len}");
            assert!(seen.damage.is_empty(), "cut at {len}");
            if let Some(tail) = seen.tail {
                assert_eq!(tail.kind, TailKind::Cut, "cut at {len}");
                assert_eq!(tail.offset + tail.bytes, len as u64);
                assert!(tail.bytes < 2000);
            }
        }
    }

    /// A power cut leaves zeros where data was to be.
    #[test]
    fn every_prefix_with_zeros_is_read_up_to_its_last_whole_record() {
        let bytes = file(b"block");
        let whole = scan(&bytes).records;
        let mut scanner = Scanner::new(Cursor::new(&bytes), bytes.len() as u64, &HEADER, 1 << 20);
        let (totals, _) = scanner.index().expect("no disk").expect("an index");
        for len in HEADER_BYTES..totals.eor as usize {
            let mut cut = bytes[..len].to_vec();
            cut.resize(len + 4096, 0);
            let seen = scan(&cut);
            assert_eq!(seen.records, whole[..seen.records.len()], "cut at {len}");
            assert!(seen.damage.is_empty(), "cut at {len}");
            let tail = seen.tail.expect("zeros are no entry");
            assert_eq!(tail.kind, TailKind::Zeros, "cut at {len}");
        }
    }

    #[test]
    fn one_flipped_bit_costs_one_stretch_and_is_told() {
        let bytes = file(b"block");
        let mut scanner = Scanner::new(Cursor::new(&bytes), bytes.len() as u64, &HEADER, 1 << 20);
        let (totals, _) = scanner.index().expect("no disk").expect("an index");
        for bit in HEADER_BYTES * 8..totals.eor as usize * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let seen = scan(&bad);
            assert!(seen.has_eor && seen.tail.is_none(), "bit {bit}");
            let [(damage, before)] = seen.damage[..] else {
                panic!("bit {bit}: {:?}", seen.damage);
            };
            assert!(
                damage.offset <= bit as u64 / 8 && bit as u64 / 8 < damage.offset + damage.bytes
            );
            assert!(damage.bytes < 400, "bit {bit}: {damage}");
            let lost: Vec<u64> = (1..=RECORDS)
                .filter(|number| !seen.records.contains(number))
                .collect();
            assert!(lost.len() < 10, "bit {bit}: {lost:?}");
            assert!(
                lost.iter()
                    .all(|&number| before.is_none_or(|before| number <= before))
            );
        }
    }

    #[test]
    fn damaged_end_of_run_is_told_by_a_finished_file() {
        let bytes = file(b"block");
        let mut scanner = Scanner::new(Cursor::new(&bytes), bytes.len() as u64, &HEADER, 1 << 20);
        let (totals, _) = scanner.index().expect("no disk").expect("an index");
        let mut bad = bytes.clone();
        bad[totals.eor as usize + 17] ^= 4;
        let seen = scan(&bad);
        assert_eq!(seen.records.len() as u64, RECORDS);
        assert_eq!(
            seen.tail.map(|tail| (tail.offset, tail.kind)),
            Some((totals.eor, TailKind::Damaged))
        );
    }

    /// A run may carry a run file, even a piece of its own.
    #[test]
    fn marks_within_the_data_are_not_taken_for_marks() {
        let mark = Mark {
            id: HEADER.id,
            offset: 100,
            records: 7,
            payload_bytes: 0,
        }
        .encode();
        let head = Seal::default().head(EntryKind::Mark, 0, 0, &mark);
        let bytes = file(&[&head[..], &mark].concat());
        let mut bad = bytes.clone();
        bad[HEADER_BYTES + 70] ^= 1;
        let seen = scan(&bad);
        assert_eq!(seen.damage.len(), 1);
        assert!(seen.has_eor && seen.tail.is_none());
        assert!(seen.records.len() as u64 > RECORDS - 5);
    }

    #[test]
    fn claimed_size_takes_no_memory() {
        let mut bytes = file(b"block");
        bytes.truncate(HEADER_BYTES);
        bytes.extend_from_slice(&EntryHead::encode(EntryKind::Record, 0, 0, u32::MAX));
        bytes.resize(5000, 7);
        let mut scanner =
            Scanner::new(Cursor::new(&bytes), bytes.len() as u64, &HEADER, usize::MAX);
        let step = scanner.step().expect("no disk");
        assert!(
            matches!(
                step,
                Step::End(Some(Tail {
                    kind: TailKind::Cut,
                    ..
                }))
            ),
            "{step:?}"
        );
        assert!(scanner.window.bytes.capacity() < 2 * WINDOW);
    }

    #[test]
    fn entries_over_windows_are_whole() {
        let bytes = file(&vec![5; 300_000]);
        let seen = scan(&bytes);
        assert_eq!(seen.records.len() as u64, RECORDS);
        let mut bad = bytes.clone();
        bad[2_500_000] ^= 1;
        let seen = scan(&bad);
        assert_eq!(seen.records.len() as u64, RECORDS - 1);
        assert_eq!(seen.damage.len(), 1);
    }
}
