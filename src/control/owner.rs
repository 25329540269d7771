//! One command to the master of a slot, again and again until it has an answer.
//!
//! For what may be done twice: a command whose outcome is not known is sent again. Redirections are followed, and a node that is away or
//! being failed over is waited for.

use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

use super::masters;
use super::topology::KeeperSettings;
use super::upstream_client::{UpstreamClient, UpstreamError};
use crate::resp::{NotRun, first_error};
use crate::shared::gateway::Gateway;
use crate::shared::refresh::RefreshReason;
use crate::shared::topology::Address;

/// Between attempts.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The whole reply of the master of this key's slot, which may be an error that will not pass.
///
/// # Errors
/// There was none by the deadline: why.
pub async fn ask(
    gateway: &Gateway,
    key: &[u8],
    command: &[Bytes],
    deadline: Instant,
) -> Result<Bytes, String> {
    let place = gateway.routes().place_of(key);
    let arguments: Vec<&[u8]> = command.iter().map(|word| &word[..]).collect();
    loop {
        let why = match gateway.master_at(place) {
            None => "the slot of the key has no master".to_owned(),
            Some(address) => {
                let settings = KeeperSettings::of_cluster(gateway, place.cluster);
                let sent = send(&settings, &address, &arguments);
                match timeout_at(deadline, sent).await.unwrap_or(Err(UpstreamError::ReplyTimeout)) {
                    Ok(reply) => match first_error(&reply).map(String::from_utf8_lossy) {
                        Some(text) if NotRun::of(text.as_bytes()).is_some_and(NotRun::is_passing) => {
                            text.into_owned()
                        }
                        _ => return Ok(reply),
                    },
                    Err(error) => error.to_string(),
                }
            }
        };
        if Instant::now() + RETRY_PAUSE >= deadline {
            return Err(why);
        }
        let seen_version = gateway.topology.load().cluster(place.cluster).version;
        gateway.refresh.request(place.cluster, RefreshReason::Unassigned, seen_version);
        sleep(RETRY_PAUSE).await;
    }
}

/// Sends it to this node, or to where a key has gone ahead of its slot, as the node says.
async fn send(
    settings: &KeeperSettings,
    address: &Address,
    arguments: &[&[u8]],
) -> Result<Bytes, UpstreamError> {
    let KeeperSettings { credentials, timeouts, .. } = settings;
    let mut client = UpstreamClient::connect(address, credentials, *timeouts).await?;
    let reply = client.command_raw(arguments).await?;
    let Some(target) = masters::asked_at(&reply, address) else { return Ok(reply) };
    let mut client = UpstreamClient::connect(&target, credentials, *timeouts).await?;
    client.command_raw(&[b"ASKING"]).await?;
    client.command_raw(arguments).await
}
