//! How often a read found a server of the gateway's own zone.
//!
//! Part of [`super::tallies`], and published with it. Nothing is counted where no cluster is read by zone (`read_from = "nearest"`).

/// Reads by where they were sent. One that is sent again counts again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NearTally {
    /// To a server of the gateway's own zone.
    pub near: u64,
    /// To one of another, for there was none.
    pub far: u64,
}

impl NearTally {
    /// Counts one.
    pub fn count(&mut self, is_near: bool) {
        match is_near {
            true => self.near += 1,
            false => self.far += 1,
        }
    }

    /// Adds what another worker has counted.
    pub fn add(&mut self, other: Self) {
        self.near += other.near;
        self.far += other.far;
    }
}
