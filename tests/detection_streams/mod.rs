//! Streams of key accesses with a known distribution, for the test and the bench of detection.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Draws keys, numbered from 0, the most frequent first.
pub struct Stream {
    rng: SmallRng,
    /// Vose's alias table: with this probability the drawn number itself, else its alias.
    alias: Vec<(f32, u32)>,
}

impl Stream {
    /// Zipf's law over `keys` keys: key `i` has a share proportional to `(i + 1) ^ -exponent`. An exponent of
    /// zero is the uniform distribution.
    pub fn zipf(keys: usize, exponent: f64, seed: u64) -> Self {
        let weights: Vec<f64> = (1..=keys).map(|rank| (rank as f64).powf(-exponent)).collect();
        let mean = weights.iter().sum::<f64>() / keys as f64;
        let mut left: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
        let mut alias: Vec<(f32, u32)> = (0..keys as u32).map(|key| (1.0, key)).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..keys).partition(|key| left[*key] < 1.0);
        while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
            alias[poor] = (left[poor] as f32, rich as u32);
            left[rich] -= 1.0 - left[poor];
            if left[rich] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        Self { rng: SmallRng::seed_from_u64(seed), alias }
    }

    /// The next key.
    pub fn draw(&mut self) -> u32 {
        let random: u64 = self.rng.random();
        let slot = (((random >> 32) * self.alias.len() as u64) >> 32) as usize;
        let (own, other) = self.alias[slot];
        let coin = (random as u32 >> 8) as f32 / (1 << 24) as f32;
        if coin < own { slot as u32 } else { other }
    }
}

/// The name of a key, as redis-benchmark forms it.
pub fn name(key: u32) -> [u8; 16] {
    let mut name = *b"key:000000000000";
    let mut rest = key;
    for digit in name[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    name
}

/// The hash of a name, by the hasher of all detectors of a test.
pub fn hash(name: &[u8]) -> u64 {
    ahash::RandomState::with_seeds(11, 22, 33, 44).hash_one(name)
}
