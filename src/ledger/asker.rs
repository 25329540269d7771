//! One call to a sale at a time, until it has an answer: for commands of an operator.
//!
//! Owns its connections. Only for what may be done twice.

use std::collections::HashMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, sleep};

use super::registry;
use super::upstream::{Server, Upstream};
use crate::control::upstream_client::UpstreamClient;
use crate::resp::{NotRun, bulk_payload, elements, first_error};

/// How long one call is tried.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// See the module.
pub struct Asker {
    servers: Upstream,
    connections: HashMap<Server, UpstreamClient>,
}

impl Asker {
    /// Waits until something is known of the servers.
    pub async fn new(servers: Upstream) -> Self {
        servers.wait_until_known(PATIENCE).await;
        Self { servers, connections: HashMap::new() }
    }

    /// The reply to a call of a script of the sale `key` belongs to; with the script's source where the server does not know it.
    ///
    /// # Errors
    /// There was none in time, or it is an error that will not pass: in words.
    pub async fn call(&mut self, key: &[u8], encode: impl Fn(bool, &mut BytesMut)) -> Result<Bytes, String> {
        let deadline = Instant::now() + PATIENCE;
        let mut with_body = false;
        loop {
            let mut call = BytesMut::new();
            encode(with_body, &mut call);
            let why = match self.try_call(key, &call).await {
                Err(why) => why,
                Ok(reply) => match first_error(&reply).map(String::from_utf8_lossy) {
                    None => return Ok(reply),
                    Some(text) if text.starts_with("NOSCRIPT") && !with_body => {
                        with_body = true;
                        continue;
                    }
                    Some(text) if !NotRun::of(text.as_bytes()).is_some_and(NotRun::is_passing) => {
                        return Err(text.into_owned());
                    }
                    Some(text) => text.into_owned(),
                },
            };
            if Instant::now() >= deadline {
                return Err(why);
            }
            self.servers.doubt_key(key);
            sleep(PAUSE).await;
        }
    }

    async fn try_call(&mut self, key: &[u8], call: &[u8]) -> Result<Bytes, String> {
        let server = self.servers.master_of(key).ok_or("no server of [upstream] answers")?;
        let named = |error| format!("{}: {error}", server.address);
        let mut client = match self.connections.remove(&server) {
            Some(client) => client,
            None => {
                let settings = self.servers.settings_of(&server);
                let connected =
                    UpstreamClient::connect(&server.address, &settings.credentials, settings.timeouts);
                connected.await.map_err(named)?
            }
        };
        let mut replies = Vec::new();
        client.pipeline(call, 1, &mut replies).await.map_err(named)?;
        self.connections.insert(server, client);
        replies.pop().ok_or_else(|| "no reply".to_owned())
    }

    /// The words of a command as a script's call is.
    ///
    /// # Errors
    /// Those of [`Asker::call`].
    pub async fn command(&mut self, key: &[u8], words: &[&[u8]]) -> Result<Bytes, String> {
        self.call(key, |_, out| crate::resp::encode::command(out, words)).await
    }

    /// The names of all sales in the registry.
    ///
    /// # Errors
    /// Those of [`Asker::call`].
    pub async fn names(&mut self) -> Result<Vec<Bytes>, String> {
        let mut names = Vec::new();
        for part in registry::parts() {
            let mut after = Bytes::new();
            loop {
                let reply =
                    self.call(&part.key, |_, out| registry::encode_page(&part.key, &after, out)).await?;
                let page = elements(&reply).into_iter().flatten().filter_map(bulk_payload);
                let page: Vec<Bytes> = page.map(Bytes::copy_from_slice).collect();
                let is_last = page.len() < registry::NAMES_PER_CALL;
                after = page.last().cloned().unwrap_or_default();
                names.extend(page);
                if is_last {
                    break;
                }
            }
        }
        Ok(names)
    }
}
