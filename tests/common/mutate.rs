//! Damage to good frames, the same at every run.

/// A small generator of random numbers (SplitMix64), seeded by the test.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// The next number of 64 bits.
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound as u64) as usize
    }

    /// Writes a frame made from `seed` to `frame`: one to four bytes or pieces changed, added, doubled or cut.
    pub(crate) fn mutate(&mut self, seed: &[u8], frame: &mut Vec<u8>) {
        self.mutate_with(seed, &PIECES, frame);
    }

    /// As [`Dice::mutate`], with other pieces to add.
    pub(crate) fn mutate_with(&mut self, seed: &[u8], pieces: &[&[u8]], frame: &mut Vec<u8>) {
        frame.clear();
        frame.extend_from_slice(seed);
        for _ in 0..=self.below(4) {
            let at = self.below(frame.len() + 1);
            match self.below(7) {
                0 => frame.truncate(at),
                1 => frame.insert(at, self.roll() as u8),
                2 => {
                    let piece = pieces[self.below(pieces.len())];
                    frame.splice(at..at, piece.iter().copied());
                }
                3 => {
                    let end = at + self.below(frame.len() - at + 1);
                    frame.drain(at..end);
                }
                4 => {
                    let piece = frame[at..(at + 16).min(frame.len())].to_vec();
                    frame.splice(at..at, piece);
                }
                _ => {
                    if let Some(byte) = frame.get_mut(at) {
                        *byte ^= 1 << self.below(8);
                    }
                }
            }
        }
    }
}

/// Pieces of JSON, good and bad, that random bytes would seldom make.
const PIECES: [&[u8]; 20] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b",",
    b":",
    b"null",
    b"-0",
    b"1e999",
    b"\\ud800",
    b"\\u12",
    b"\"command\":",
    b"\"epoch\": 1",
    b", \"sequence\": 2}",
    b"[[[[[[[[",
    b"\xef\xbb\xbf",
    b"\xff",
    b"99999999999999999999",
];
