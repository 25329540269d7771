//! hot
use super::arena::Key;
use super::client::replies::Settled;
use super::state::State;
use super::upstream::errors::UpstreamError;

/// A flush.
pub struct Flush;
/// Names a flush.
pub type FlushKey = Key<Flush>;

impl State {
    /// x
    pub fn settle_flush(&mut self, _: FlushKey, _: Settled<'_>) {}
    /// x
    pub fn flush_failed(&mut self, _: FlushKey, _: &UpstreamError, _: &[u8]) {}
}
