//! About how many different connections used a key.
//!
//! Owns the estimate. Deliberately keeps no connection: each leaves a bit, and nothing can be taken out again.

/// A multiresolution bitmap: three linear counters of 64 bits, of which the second sees one connection in 8
/// and the third one in 64.
///
/// Estan, Varghese and Fisk, "Bitmap algorithms for counting active flows on high speed links", IMC 2003; the
/// counters are those of Whang, Vander-Zanden and Taylor, "A linear-time probabilistic counting algorithm for
/// database applications", TODS 1990. The standard error is under 10 % up to 50 connections, around 20 %
/// beyond, up to some 14,000, where the estimate stops growing. Sketches of the same key, of other slices or
/// other workers, are united without loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections([u64; 3]);

/// A counter with more bits set than this is too full to be read: the next coarser one knows better.
///
/// 62 of 64 bits stand for 222 connections, where the full counter errs by 18 % and the next, which has seen
/// 28 of them, by 19 %.
const BITS_READABLE_MAX: u32 = 62;

impl Connections {
    /// Adds a connection, whose identifier may be any number that is its own, such as a sequence number.
    #[inline]
    pub fn insert(&mut self, client: u64) {
        let mixed = mix(client);
        self.0[0] |= 1 << (mixed >> 58);
        let sampler = mixed & 63;
        if sampler & 7 == 0 {
            self.0[1] |= 1 << ((mixed >> 52) & 63);
            if sampler == 0 {
                self.0[2] |= 1 << ((mixed >> 46) & 63);
            }
        }
    }

    /// Adds all connections of `other`.
    pub fn unite(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine |= theirs;
        }
    }

    /// About how many connections were added.
    #[must_use]
    pub fn estimate(&self) -> u32 {
        let [all, eighth, sixty_fourth] = self.0;
        let (bits, scale) = if all.count_ones() <= BITS_READABLE_MAX {
            (all.count_ones(), 1.0)
        } else if eighth.count_ones() <= BITS_READABLE_MAX {
            (eighth.count_ones(), 8.0)
        } else {
            (sixty_fourth.count_ones().min(BITS_READABLE_MAX), 64.0)
        };
        let empty_part = f64::from(64 - bits) / 64.0;
        (-64.0 * empty_part.ln() * scale).round() as u32
    }
}

/// Spreads sequence numbers over all bits (two rounds of the finalizer of MurmurHash3). One multiplication
/// would spread them too evenly: linear counting expects the collisions of chance.
#[inline]
fn mix(client: u64) -> u64 {
    let once = (client ^ (client >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (once ^ (once >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean over many sketches shows bias, the root mean square shows the error that is promised.
    #[test]
    fn estimates_are_unbiased_and_within_the_promised_error() {
        let check = |count: u64, error_max: f64| {
            let (mut sum, mut squares) = (0.0, 0.0);
            for round in 0..200_u64 {
                let mut sketch = Connections::default();
                (0..count).for_each(|i| sketch.insert(round * 1_000_000 + i));
                let ratio = f64::from(sketch.estimate()) / count as f64;
                sum += ratio / 200.0;
                squares += (ratio - 1.0).powi(2) / 200.0;
            }
            assert!((sum - 1.0).abs() < 0.08, "{count}: mean ratio {sum}");
            assert!(squares.sqrt() < error_max, "{count}: error {}", squares.sqrt());
        };
        check(1, 0.01);
        check(10, 0.10);
        check(50, 0.12);
        check(150, 0.20);
        check(1_000, 0.25);
        check(10_000, 0.30);
    }

    #[test]
    fn union_counts_each_connection_once() {
        let (mut left, mut right, mut both) = <(Connections, Connections, Connections)>::default();
        (0..30).for_each(|i| left.insert(i));
        (20..50).for_each(|i| right.insert(i));
        (0..50).for_each(|i| both.insert(i));
        left.unite(&right);
        assert_eq!(left, both);
        assert_eq!(Connections::default().estimate(), 0);
    }
}
