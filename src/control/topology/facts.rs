//! Reads the version, the mode and the command table of one upstream master.

use super::discover::DiscoveryOptions;
use super::info::field;
use crate::control::upstream_client::{UpstreamClient, UpstreamError};
use crate::shared::topology::Address;
use crate::shared::upstream_facts::UpstreamFacts;

/// The facts as they were last read, and what they were read from.
#[derive(Debug, Default)]
pub struct KnownFacts {
    /// The version and the loaded modules: what the command table depends on.
    fingerprint: Option<String>,
}

impl KnownFacts {
    /// Nothing has been read yet.
    pub fn is_empty(&self) -> bool {
        self.fingerprint.is_none()
    }

    /// Asks the master at `address` for its version and modules, and for its command table when these are not what they
    /// were. `None` when they are.
    ///
    /// # Errors
    /// Those of [`UpstreamClient`]; what was known before stays.
    pub async fn read(
        &mut self,
        address: &Address,
        asking: &DiscoveryOptions,
    ) -> Result<Option<UpstreamFacts>, UpstreamError> {
        let mut client = UpstreamClient::connect(address, &asking.credentials, asking.timeouts).await?;
        let info = client.text(&[b"INFO"]).await?;
        let fingerprint = fingerprint(&info);
        if self.fingerprint.as_ref() == Some(&fingerprint) {
            return Ok(None);
        }
        let commands = match client.command_raw(&[b"COMMAND"]).await {
            Ok(raw) if raw.starts_with(b"*") => Some(raw),
            Ok(_) => None,
            Err(error) => return Err(error),
        };
        self.fingerprint = Some(fingerprint);
        let text = |name| field(&info, name).map(str::to_owned);
        Ok(Some(UpstreamFacts { version: text("redis_version"), mode: text("redis_mode"), commands }))
    }
}

/// Valkey tells its own version beside the Redis version that it is compatible with.
fn fingerprint(info: &str) -> String {
    let is_part = |line: &&str| {
        ["redis_version:", "valkey_version:", "module:"].iter().any(|prefix| line.starts_with(prefix))
    };
    info.lines().filter(is_part).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_of_version_and_modules() {
        let info = "redis_version:7.0.15\r\nuptime_in_seconds:1\r\nmodule:name=bf,ver=20400\r\n";
        let later = info.replace("seconds:1", "seconds:2");
        assert_eq!(fingerprint(info), fingerprint(&later));
        assert_ne!(fingerprint(info), fingerprint(&info.replace("20400", "20500")));
    }
}
