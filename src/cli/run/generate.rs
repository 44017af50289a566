//! Generated blocks: bytes that anyone can make again from the seed.

/// A stream of bytes that depends on its seed alone, and is the same in every release.
///
/// Word `i`, counted from 0, is output `i` of SplitMix64 with the seed as its first state, in little-endian order. The blocks
/// of a run lie in it end to end: block `b` of record `n` (from 1) begins at byte `((n - 1) * blocks + b) * block size`.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    seed: u64,
    offset: u64,
}

impl Stream {
    /// The stream of a seed, from its first byte.
    pub(super) const fn new(seed: u64) -> Self {
        Self { seed, offset: 0 }
    }

    /// Writes the next bytes of the stream.
    pub(super) fn fill(&mut self, out: &mut [u8]) {
        let mut word = self.offset / WORD;
        self.offset += out.len() as u64;
        let within = (self.offset - out.len() as u64) % WORD;
        let mut rest = out;
        if within != 0 {
            let bytes = self.word(word);
            let tail = &bytes[within as usize..];
            let len = tail.len().min(rest.len());
            rest[..len].copy_from_slice(&tail[..len]);
            rest = &mut rest[len..];
            word += 1;
        }
        let (words, end) = rest.as_chunks_mut::<8>();
        for out in words {
            *out = self.word(word);
            word = word.wrapping_add(1);
        }
        let last = self.word(word);
        end.copy_from_slice(&last[..end.len()]);
    }

    fn word(&self, index: u64) -> [u8; 8] {
        let state = index.wrapping_add(1).wrapping_mul(STEP);
        let mut z = self.seed.wrapping_add(state);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    }
}

const WORD: u64 = 8;

/// The golden ratio, as SplitMix64 has it.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of the generator's authors, for the seed 1234567.
    #[test]
    fn words_are_those_of_splitmix64() {
        let mut bytes = [0; 24];
        Stream::new(1_234_567).fill(&mut bytes);
        let words = bytes.as_chunks::<8>().0;
        assert_eq!(
            words
                .iter()
                .copied()
                .map(u64::from_le_bytes)
                .collect::<Vec<_>>(),
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    proptest! {
        #[test]
        fn stream_is_the_same_however_it_is_cut(cuts in prop::collection::vec(0_usize..40, 1..20), seed: u64) {
            let mut whole = vec![0; cuts.iter().sum()];
            Stream::new(seed).fill(&mut whole);
            let mut stream = Stream::new(seed);
            let mut parts = Vec::new();
            for len in cuts {
                let mut part = vec![0; len];
                stream.fill(&mut part);
                parts.extend(part);
            }
            prop_assert_eq!(parts, whole);
        }
    }
}
