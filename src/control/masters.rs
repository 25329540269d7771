//! Connections of the control thread to the masters of slots, kept from one question to the next.
//!
//! For what quotas need to be asked and told now and then. One question at a time; a connection that failed is dropped.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use redis_protocol::resp2::types::OwnedFrame;

use super::topology::KeeperSettings;
use super::upstream_client::{UpstreamClient, UpstreamError};
use crate::shared::gateway::Gateway;
use crate::shared::topology::Address;

/// See the module.
pub struct Masters {
    gateway: Arc<Gateway>,
    connections: HashMap<Address, UpstreamClient>,
}

impl Masters {
    /// No connection yet.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway, connections: HashMap::new() }
    }

    /// The reply of the master of `key`, or why there is none, as a clause. An error reply is one.
    pub async fn ask(&mut self, key: &[u8], command: &[&[u8]]) -> Result<OwnedFrame, String> {
        let address = self.master_of(key).ok_or("the slot of the key has no master")?;
        let mut client = self.client(&address).await.map_err(|error| error.to_string())?;
        match client.command(command).await {
            Ok(frame) => {
                self.connections.insert(address, client);
                Ok(frame)
            }
            Err(UpstreamError::Refused(text)) => {
                self.connections.insert(address, client);
                Err(text)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// The bytes of the whole reply of the master of `key`, an error reply included.
    pub async fn ask_raw(&mut self, key: &[u8], command: &[&[u8]]) -> Option<Bytes> {
        let address = self.master_of(key)?;
        let mut client = self.client(&address).await.ok()?;
        let reply = client.command_raw(command).await.ok()?;
        self.connections.insert(address, client);
        Some(reply)
    }

    fn master_of(&self, key: &[u8]) -> Option<Address> {
        self.gateway.master_at(self.gateway.routes.place_of(key))
    }

    async fn client(&mut self, address: &Address) -> Result<UpstreamClient, UpstreamError> {
        if let Some(client) = self.connections.remove(address) {
            return Ok(client);
        }
        let config = self.gateway.config.load_full();
        let KeeperSettings { credentials, timeouts, .. } = KeeperSettings::from(&config.upstream);
        UpstreamClient::connect(address, &credentials, timeouts).await
    }
}
