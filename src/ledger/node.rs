//! The connections to one master: one that asks, and one on which Redis says which of the keys that were read have changed.
//!
//! CLIENT TRACKING tells once of each key that was read; whoever reads it again is told again. The messages come to the second connection
//! (`REDIRECT`), because the first speaks RESP2. Without NOLOOP: a trim of our own would otherwise take the key off the server's list without
//! a word, and the next entry would be missed.
//!
//! Owns the two connections and the task that listens. Deliberately remembers no key: who is told decides what to read.

use bytes::{Bytes, BytesMut};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::upstream::{Server, Upstream};
use crate::control::upstream_client::{UpstreamClient, UpstreamError};
use crate::reserve::Script;
use crate::resp::{bulk_payload, elements, first_error};

/// Where the messages are published.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// A listener that has heard nothing for so long asks whether the server is there.
const QUIET: Duration = Duration::from_secs(5);

/// Commands that are sent before their replies are read: their bytes fit into the buffers of the sockets.
const PIPELINE_MAX: usize = 64;

/// What a listener says.
#[derive(Debug)]
pub enum News {
    /// This key changed.
    Changed(Bytes),
    /// All keys of the server did.
    AllChanged(Server),
    /// The server says nothing any more: why.
    Lost(Server, String),
}

/// See the module.
pub struct Node {
    client: UpstreamClient,
    listener: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// Commands in a row.
#[derive(Default)]
pub struct Questions {
    bytes: Vec<BytesMut>,
}

impl Questions {
    /// Adds the command that `encode` writes.
    pub fn push(&mut self, encode: impl FnOnce(&mut BytesMut)) {
        let mut bytes = BytesMut::new();
        encode(&mut bytes);
        self.bytes.push(bytes);
    }
}

impl Node {
    /// Connects both, and has the server tell `news` what changes.
    ///
    /// # Errors
    /// The server is away, or refuses: in words that name the right that is missing.
    pub async fn connect(
        upstream: &Upstream,
        server: &Server,
        news: mpsc::Sender<News>,
    ) -> Result<Self, String> {
        let connected = Self::try_connect(upstream, server, news).await;
        connected.map_err(|error| match error {
            UpstreamError::Refused(why) if is_about_rights(&why) => {
                format!("{why}; docs/ledger.md lists the rights that the ledger needs")
            }
            other => other.to_string(),
        })
    }

    async fn try_connect(
        upstream: &Upstream,
        server: &Server,
        news: mpsc::Sender<News>,
    ) -> Result<Self, UpstreamError> {
        let settings = upstream.settings_of(server);
        let connect = || UpstreamClient::connect(&server.address, &settings.credentials, settings.timeouts);
        let mut ear = connect().await?;
        let id = ear.command_raw(&[b"CLIENT", b"ID"]).await?;
        let id = answer(&id)?.strip_prefix(b":").and_then(|rest| rest.strip_suffix(b"\r\n"));
        let id = id.ok_or(UpstreamError::Unreadable("CLIENT ID gave no number"))?.to_vec();
        answer(&ear.command_raw(&[b"SUBSCRIBE", CHANNEL]).await?)?;
        let mut client = connect().await?;
        answer(&client.command_raw(&[b"CLIENT", b"TRACKING", b"ON", b"REDIRECT", &id]).await?)?;
        answer(&client.command_raw(&[b"SCRIPT", b"LOAD", Script::Ledger.source().as_bytes()]).await?)?;
        let listener = tokio::spawn(listen(ear, server.clone(), news));
        Ok(Self { client, listener })
    }

    /// The replies to all questions, error replies included.
    ///
    /// # Errors
    /// The connection broke: it is of no further use, and what became of the rest is not known.
    pub async fn ask(&mut self, questions: &Questions) -> Result<Vec<Bytes>, UpstreamError> {
        let mut replies = Vec::with_capacity(questions.bytes.len());
        for chunk in questions.bytes.chunks(PIPELINE_MAX) {
            self.client.pipeline(&chunk.concat(), chunk.len(), &mut replies).await?;
        }
        Ok(replies)
    }
}

/// Whether a server refuses because its user may not: what has other words passes by itself, or names what is wrong.
fn is_about_rights(why: &str) -> bool {
    ["NOPERM", "no permissions", "can't run this command"].iter().any(|words| why.contains(words))
}

fn answer(reply: &[u8]) -> Result<&[u8], UpstreamError> {
    match first_error(reply) {
        Some(text) => Err(UpstreamError::Refused(String::from_utf8_lossy(text).into_owned())),
        None => Ok(reply),
    }
}

/// Listens until the connection breaks, or nobody wants to know any more.
async fn listen(mut ear: UpstreamClient, server: Server, news: mpsc::Sender<News>) {
    let mut asked = false;
    loop {
        let heard = match ear.next_reply(QUIET).await {
            Ok(None) if asked => Err("it is silent".to_owned()),
            Ok(None) => {
                asked = true;
                ear.send(&[b"PING"]).await.map_err(|error| error.to_string())
            }
            Ok(Some(reply)) => {
                asked = false;
                if pass_on(&reply, &server, &news).await.is_err() {
                    return;
                }
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = heard {
            // Nobody listens any more: then nobody misses it.
            let _ = news.send(News::Lost(server, why)).await;
            return;
        }
    }
}

/// Passes a message on: `message`, the channel, and the keys; no keys for all of them.
async fn pass_on(
    reply: &[u8],
    server: &Server,
    news: &mpsc::Sender<News>,
) -> Result<(), mpsc::error::SendError<News>> {
    let Some(mut parts) = elements(reply) else { return Ok(()) };
    if parts.next().and_then(bulk_payload) != Some(b"message") {
        return Ok(());
    }
    let Some(keys) = parts.nth(1) else { return Ok(()) };
    match elements(keys) {
        None => news.send(News::AllChanged(server.clone())).await,
        Some(keys) => {
            for key in keys.filter_map(bulk_payload) {
                news.send(News::Changed(Bytes::copy_from_slice(key))).await?;
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_right_that_is_missing_is_told_with_the_list_of_rights() {
        assert!(is_about_rights("NOPERM this user has no permissions to run the 'subscribe' command"));
        assert!(!is_about_rights("LOADING Redis is loading the dataset in memory"));
        assert!(!is_about_rights("WRONGPASS invalid username-password pair or user is disabled."));
    }
}
