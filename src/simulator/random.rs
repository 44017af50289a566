//! The simulator's stream of chance: the same seed gives the same stream on every machine.

use rand_pcg::Pcg32;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// A seeded generator with the few draws that a rig needs.
#[derive(Debug, Clone)]
pub(crate) struct Random(Pcg32);

impl Random {
    /// Starts the stream of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(Pcg32::seed_from_u64(seed))
    }

    /// A number below `limit`, or 0 when there is none below.
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        // The bias of the plain product is under 1 in 2^32 times the limit: nothing that a rig would show.
        ((u64::from(self.0.next_u32()) * u64::from(limit)) >> 32) as u32
    }

    /// A whole number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = u32::try_from(high - low + 1).unwrap_or(u32::MAX);
        low + i64::from(self.below(span))
    }

    /// True in `percent` of all draws.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// A number from `low` to `high` with three digits after the point.
    pub(crate) fn float(&mut self, low: f64, high: f64) -> f64 {
        let part = f64::from(self.0.next_u32()) / f64::from(u32::MAX);
        ((low + (high - low) * part) * 1000.0).round() / 1000.0
    }

    /// One of the items, which must not be empty.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u32) as usize]
    }

    /// Puts the items into another order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u32 + 1) as usize);
        }
    }

    /// A random UUID (version 4) in text form.
    pub(crate) fn uuid(&mut self) -> String {
        let high = (self.0.next_u64() & !0xf000) | 0x4000;
        let low = (self.0.next_u64() & !(0b11 << 62)) | (0b10 << 62);
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_stream_in_every_release() {
        let mut random = Random::new(7);
        let drawn: Vec<_> = (0..5).map(|_| random.below(1000)).collect();
        assert_eq!(drawn, GOLDEN);
    }

    #[test]
    fn draws_stay_within_their_bounds() {
        let mut random = Random::new(1);
        for _ in 0..1000 {
            assert!((3..=5).contains(&random.between(3, 5)));
            assert!((-1.0..=1.0).contains(&random.float(-1.0, 1.0)));
        }
        assert!(!random.chance(0) && random.chance(100));
    }

    #[test]
    fn a_uuid_has_the_shape_of_version_4() {
        let text = Random::new(3).uuid();
        let bytes = text.as_bytes();
        assert_eq!(text.len(), 36);
        assert_eq!(
            (bytes[8], bytes[13], bytes[18], bytes[23], bytes[14]),
            (b'-', b'-', b'-', b'-', b'4')
        );
        assert!(b"89ab".contains(&bytes[19]));
    }

    const GOLDEN: [u32; 5] = [568, 96, 638, 820, 552];
}
