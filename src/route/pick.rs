//! One of several clusters, by a part of the key: rendezvous hashing.
//!
//! Each cluster gets a score from the part and its own name, and the highest score wins. So a cluster that is added takes from each
//! of the others its share and nothing else moves, and one that is taken away leaves its keys to the others evenly. The order in
//! which clusters are listed says nothing.
//!
//! Every gateway has to pick the same for ever: the functions are fixed (FNV-1a, and the finalizer of SplitMix64), and a test holds
//! what they give.

use super::ClusterId;

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// A cluster that may be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub cluster: ClusterId,
    /// The hash of its name.
    salt: u64,
}

impl Candidate {
    /// The cluster of this number and name.
    pub fn new(cluster: ClusterId, name: &str) -> Self {
        let mut hash = PartHash::default();
        hash.write(name.as_bytes());
        Self { cluster, salt: scramble(hash.0) }
    }
}

/// The hash of a part of a key, which comes in pieces.
#[derive(Clone, Copy, Debug)]
pub struct PartHash(u64);

impl Default for PartHash {
    fn default() -> Self {
        Self(FNV_OFFSET)
    }
}

impl PartHash {
    /// Takes the next bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
    }
}

/// The cluster for a part of this hash; the first one for none.
pub fn pick(candidates: &[Candidate], part: PartHash) -> ClusterId {
    let score = |candidate: &&Candidate| (scramble(part.0 ^ candidate.salt), candidate.salt);
    candidates.iter().max_by_key(score).map_or(ClusterId::DEFAULT, |candidate| candidate.cluster)
}

/// Spreads a hash over all bits (the finalizer of SplitMix64).
fn scramble(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(names: &[&str]) -> Vec<Candidate> {
        let named = |(place, name): (usize, &&str)| Candidate::new(ClusterId(place as u16 + 1), name);
        names.iter().enumerate().map(named).collect()
    }

    fn picked(candidates: &[Candidate], part: &str) -> ClusterId {
        let mut hash = PartHash::default();
        hash.write(part.as_bytes());
        pick(candidates, hash)
    }

    #[test]
    fn a_fourth_cluster_takes_a_quarter_of_the_parts_and_moves_no_other() {
        let (three, four) = (candidates(&["a", "b", "c"]), candidates(&["a", "b", "c", "d"]));
        let parts: Vec<String> = (0..100_000).map(|part| part.to_string()).collect();
        let mut counts = [0; 5];
        let mut moved = 0;
        for part in &parts {
            let (before, after) = (picked(&three, part), picked(&four, part));
            counts[after.position()] += 1;
            if before != after {
                assert_eq!(after, ClusterId(4), "{part} moved between clusters that were there before");
                moved += 1;
            }
        }
        assert!((24_000..26_000).contains(&moved), "{moved} of 100,000 moved");
        assert!(counts[1..].iter().all(|count| (24_000..26_000).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_order_of_the_list_says_nothing() {
        let list = candidates(&["a", "b", "c"]);
        let turned: Vec<Candidate> = list.iter().rev().copied().collect();
        for part in (0..1000).map(|part: u32| part.to_string()) {
            assert_eq!(picked(&list, &part), picked(&turned, &part));
        }
    }

    /// Other figures here would move the keys of everybody who has routes.
    #[test]
    fn every_version_picks_the_same() {
        let list = candidates(&["a", "b", "c"]);
        let picks: Vec<u16> = (0..16).map(|part| picked(&list, &part.to_string()).0).collect();
        assert_eq!(picks, PICKS);
        assert_eq!(pick(&[], PartHash::default()), ClusterId::DEFAULT);
    }

    const PICKS: [u16; 16] = [2, 2, 1, 1, 3, 3, 1, 3, 2, 3, 1, 3, 3, 2, 1, 2];
}
