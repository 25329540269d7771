//! How many replicas must hold a grant before the client gets its reply, and the error when they do not in time.

use std::time::Duration;

use super::refusal::shown;
use crate::resp::encode;

/// A grant is answered only when this many replicas hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaWait {
    /// At least 1.
    pub replicas: usize,
    /// How long the replicas may take, in milliseconds.
    pub timeout_ms: u64,
}

impl ReplicaWait {
    /// Appends the error for a grant that too few replicas have acknowledged. The grant stands, but a failover may lose it.
    pub fn write_unconfirmed(&self, key: &[u8], out: &mut Vec<u8>) {
        encode::error(out, self.unconfirmed_text(key));
    }

    fn unconfirmed_text(&self, key: &[u8]) -> String {
        let (replicas, within) = (self.replicas, Duration::from_millis(self.timeout_ms));
        let plural = if replicas == 1 { "" } else { "s" };
        format!(
            "QUOTA grant not confirmed by {replicas} replica{plural} within {within:?}; {} has counted it, but a failover may lose that",
            shown(key)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_replicas_time_and_key() {
        let check = |replicas, expect: &str| {
            let text = ReplicaWait { replicas, timeout_ms: 1500 }.unconfirmed_text(b"k");
            assert_eq!(
                text,
                format!(
                    "QUOTA grant not confirmed by {expect} within 1.5s; 'k' has counted it, but a failover may lose that"
                )
            );
        };
        check(1, "1 replica");
        check(2, "2 replicas");
    }
}
