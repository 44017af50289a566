//! A storage that stays as it is, whatever the engine writes.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::storage::{Storage, StorageFile};

/// Another storage, of which nothing is changed: what is written goes to memory, and is gone when it is closed.
///
/// The engine puts a file in order when it opens it after a crash; who only looks at a damaged one must not have it changed.
#[derive(Debug)]
pub(in crate::store::redb) struct Overlay {
    below: Arc<dyn Storage>,
    cut: Mutex<Option<(u64, u64)>>,
}

impl Overlay {
    pub(in crate::store::redb) fn new(below: Arc<dyn Storage>) -> Self {
        Self {
            below,
            cut: Mutex::default(),
        }
    }

    /// How many bytes there are, and how many there should be, if the tail of the file is gone; known once it was opened.
    pub(in crate::store::redb) fn cut(&self) -> Option<(u64, u64)> {
        *self.cut.lock()
    }
}

impl Storage for Overlay {
    fn path(&self) -> &Path {
        self.below.path()
    }

    fn open(&self) -> io::Result<Box<dyn StorageFile>> {
        let below = self.below.open()?;
        let kept = below.size()?;
        // The engine refuses a file whose tail is gone; with zeros in its place the rest can be read.
        let told = told_size(&*below, kept)?.filter(|told| *told > kept);
        let size = told.unwrap_or(kept);
        *self.cut.lock() = told.map(|told| (kept, told));
        Ok(Box::new(OverlayFile {
            below,
            above: RwLock::new(Above {
                size,
                kept,
                pages: HashMap::new(),
            }),
        }))
    }
}

#[derive(Debug)]
struct OverlayFile {
    below: Box<dyn StorageFile>,
    above: RwLock<Above>,
}

#[derive(Debug)]
struct Above {
    size: u64,
    /// So many bytes of what is below still count; it was cut there once.
    kept: u64,
    pages: HashMap<u64, Box<[u8; PAGE]>>,
}

impl Above {
    /// What is below, and zeros behind its end.
    fn read_below(&self, below: &dyn StorageFile, at: u64, out: &mut [u8]) -> io::Result<()> {
        let has = self.kept.saturating_sub(at).min(out.len() as u64) as usize;
        let (has, behind) = out.split_at_mut(has);
        behind.fill(0);
        if has.is_empty() {
            return Ok(());
        }
        below.read(at, has)
    }
}

impl StorageFile for OverlayFile {
    fn try_lock(&self) -> io::Result<bool> {
        self.below.try_lock()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.above.read().size)
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        let mut above = self.above.write();
        if bytes < above.size {
            let last = bytes / PAGE as u64;
            above.pages.retain(|page, _| *page <= last);
            if let Some(page) = above.pages.get_mut(&last) {
                page[(bytes % PAGE as u64) as usize..].fill(0);
            }
        }
        above.size = bytes;
        above.kept = above.kept.min(bytes);
        Ok(())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let above = self.above.read();
        if offset
            .checked_add(out.len() as u64)
            .is_none_or(|end| end > above.size)
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        above.read_below(&*self.below, offset, out)?;
        for (page, within, piece) in pieces(offset, out.len()) {
            if let Some(bytes) = above.pages.get(&page) {
                let len = piece.len();
                out[piece].copy_from_slice(&bytes[within..within + len]);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut above = self.above.write();
        let end = offset.checked_add(data.len() as u64);
        above.size = above.size.max(end.ok_or(io::ErrorKind::FileTooLarge)?);
        for (page, within, piece) in pieces(offset, data.len()) {
            if !above.pages.contains_key(&page) {
                let mut bytes = Box::new([0; PAGE]);
                above.read_below(&*self.below, page * PAGE as u64, &mut bytes[..])?;
                above.pages.insert(page, bytes);
            }
            let bytes = above.pages.get_mut(&page).expect("put there above");
            bytes[within..within + piece.len()].copy_from_slice(&data[piece]);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The pages of a stretch: number, where it begins within the page, and which part of the stretch that is.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let within = (at % PAGE as u64) as usize;
        let from = done;
        done = len.min(from + PAGE - within);
        Some((at / PAGE as u64, within, from..done))
    })
}

/// The size that the engine's header says the file has, where that can be. Source: redb 4, file format 3.
fn told_size(file: &dyn StorageFile, size: u64) -> io::Result<Option<u64>> {
    let mut header = [0; HEADER_BYTES];
    if size < HEADER_BYTES as u64 {
        return Ok(None);
    }
    file.read(0, &mut header)?;
    if !header.starts_with(b"redb") {
        return Ok(None);
    }
    // While it is open the size in the header may be behind or before that of the file, which is one of whole pages.
    if header[FLAGS] & IS_OPEN != 0 && size.is_multiple_of(PAGE as u64) {
        return Ok(None);
    }
    let (fields, _) = header[FIRST_FIELD..].as_chunks();
    let mut fields = fields
        .iter()
        .map(|field| u64::from(u32::from_le_bytes(*field)));
    let mut field = || fields.next().unwrap_or_default();
    let [page, region_head, region_data, full, trailing] = [(); 5].map(|()| field());
    let trailing = if trailing > 0 {
        region_head + trailing
    } else {
        0
    };
    let pages = full.checked_mul(region_head + region_data);
    let told = pages.and_then(|pages| page.checked_mul(pages.checked_add(trailing + 1)?));
    // A damaged header may say anything.
    Ok(told.filter(|told| *told / MAX_GROWTH <= size))
}

const PAGE: usize = 4096;
/// Of the engine's header, up to the size.
const HEADER_BYTES: usize = 32;
const FLAGS: usize = 9;
const IS_OPEN: u8 = 2;
const FIRST_FIELD: usize = 12;
/// A file of which less is left than one part in so many is not made whole.
const MAX_GROWTH: u64 = 1024;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::store::redb::database::MemoryStorage;

    #[derive(Debug, Clone)]
    enum Step {
        Write(u64, Vec<u8>),
        Resize(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..20_000_u64, vec(any::<u8>(), 0..6000)).prop_map(|(at, data)| Step::Write(at, data)),
            (0..20_000_u64).prop_map(Step::Resize),
        ]
    }

    proptest! {
        #[test]
        fn it_reads_as_if_written_and_what_is_below_stays(
            bytes in vec(any::<u8>(), 0..20_000), steps in vec(step(), 0..12),
        ) {
            let below = MemoryStorage::with_bytes(bytes.clone());
            let overlay = Overlay::new(Arc::new(below.clone())).open().unwrap();
            let plain = MemoryStorage::with_bytes(bytes.clone()).open().unwrap();
            for file in [&overlay, &plain] {
                for step in &steps {
                    match step {
                        Step::Write(at, data) => file.write(*at, data).unwrap(),
                        Step::Resize(size) => file.resize(*size).unwrap(),
                    }
                }
            }
            prop_assert_eq!(overlay.size().unwrap(), plain.size().unwrap());
            let mut found = vec![1; overlay.size().unwrap() as usize];
            let mut expected = vec![2; found.len()];
            overlay.read(0, &mut found).unwrap();
            plain.read(0, &mut expected).unwrap();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(below.to_bytes(), bytes);
        }
    }
}
