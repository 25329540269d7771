//! A small RESP2 client for COLD use: one request, one reply, every wait bounded.
//!
//! Serves the topology keeper, the reading of `COMMAND` and `INFO`, and whatever else the control thread asks a server
//! now and then. It does not reconnect and does not follow redirects: the caller drops it after any
//! error but [`UpstreamError::Refused`] and makes another.

mod frame_gauge;

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::config::Secret;
use crate::net::{ConnectError, Dialer, Stream};
use crate::resp::{ReplyScan, ReplyScanner, RespVersion, encode, first_error};
use crate::shared::topology::Address;
use frame_gauge::{FrameGauge, GaugeError};

/// Bytes of one reply. `COMMAND` of Redis 8 with all its modules is below 1 MiB and `CLUSTER SHARDS` of a cluster of a
/// thousand nodes below 512 KiB; what is larger is not an answer to what was asked.
const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The gateway's login at the upstream.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The ACL user; `None` for the default user.
    pub user: Option<String>,
    /// The password; `None` when the server asks for none.
    pub password: Option<Secret>,
    /// A second one, for where that is refused.
    pub next: Option<Secret>,
    /// How it is reached: plainly, or with TLS and a certificate of the gateway.
    pub dialer: Dialer,
}

/// How long to wait for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For each address tried, name resolution apart (which has the same).
    pub connect: Duration,
    /// For one whole reply.
    pub reply: Duration,
}

/// Why there is no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamError {
    /// The host name has no address, or the resolver did not answer in time.
    Resolve(String),
    /// No connection: refused or unreachable.
    Connect(String),
    /// There is no TLS session with the server: a clause that says why.
    Tls(String),
    /// No connection in time.
    ConnectTimeout,
    /// The server did not accept the credentials. The server's words.
    Auth(String),
    /// The connection broke before the reply was whole.
    Broken(String),
    /// No whole reply in time.
    ReplyTimeout,
    /// The reply is not RESP2, too long, or nested too deep: this is no Redis, or one that was made to misbehave.
    Unreadable(&'static str),
    /// The server replied with an error. The connection is still good.
    Refused(String),
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(why) => write!(f, "cannot resolve: {why}"),
            Self::Connect(why) => write!(f, "cannot connect: {why}"),
            Self::Tls(why) => f.write_str(why),
            Self::ConnectTimeout => f.write_str("cannot connect: timed out"),
            Self::Auth(why) => write!(f, "credentials refused: {why}"),
            Self::Broken(why) => write!(f, "connection lost: {why}"),
            Self::ReplyTimeout => f.write_str("no reply in time"),
            Self::Unreadable(why) => write!(f, "unreadable reply: {why}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

impl std::error::Error for UpstreamError {}

impl From<ConnectError> for UpstreamError {
    fn from(error: ConnectError) -> Self {
        let why = error.to_string();
        match error {
            ConnectError::Resolve(_) | ConnectError::ResolveTimeout | ConnectError::NoAddress => {
                Self::Resolve(why)
            }
            ConnectError::Tls(_) | ConnectError::HandshakeTimeout => Self::Tls(why),
            ConnectError::Unreachable(_) => Self::Connect(why),
            ConnectError::Timeout => Self::ConnectTimeout,
        }
    }
}

/// One connection.
pub struct UpstreamClient {
    stream: Stream,
    received: BytesMut,
    reply_timeout: Duration,
    version: RespVersion,
}

impl UpstreamClient {
    /// Connects and authenticates.
    ///
    /// # Errors
    /// [`UpstreamError::Resolve`], [`UpstreamError::Connect`], [`UpstreamError::ConnectTimeout`] and [`UpstreamError::Auth`], and those of
    /// [`UpstreamClient::command`] while authenticating.
    pub async fn connect(
        address: &Address,
        credentials: &Credentials,
        timeouts: Timeouts,
    ) -> Result<Self, UpstreamError> {
        let stream = credentials.dialer.connect(address, Some(timeouts.connect)).await?;
        let mut client = Self {
            stream,
            received: BytesMut::new(),
            reply_timeout: timeouts.reply,
            version: RespVersion::Resp2,
        };
        client.authenticate(credentials).await?;
        Ok(client)
    }

    /// Sends one command and returns its reply, decoded.
    ///
    /// # Errors
    /// [`UpstreamError::Refused`] when the reply is an error; after any other the connection is of no further use.
    pub async fn command(&mut self, arguments: &[&[u8]]) -> Result<OwnedFrame, UpstreamError> {
        let raw = self.command_raw(arguments).await?;
        match decode(&raw) {
            Ok(Some((OwnedFrame::Error(text), _))) => Err(UpstreamError::Refused(text)),
            Ok(Some((frame, _))) => Ok(frame),
            Ok(None) | Err(_) => Err(UpstreamError::Unreadable("not RESP2")),
        }
    }

    /// Sends one command whose reply is text, such as `INFO`.
    ///
    /// # Errors
    /// Those of [`UpstreamClient::command`]; [`UpstreamError::Unreadable`] when the reply is no text.
    pub async fn text(&mut self, arguments: &[&[u8]]) -> Result<String, UpstreamError> {
        match self.command(arguments).await? {
            OwnedFrame::BulkString(text) | OwnedFrame::SimpleString(text) => {
                Ok(String::from_utf8_lossy(&text).into_owned())
            }
            _ => Err(UpstreamError::Unreadable("expected text")),
        }
    }

    /// Sends one command and returns the bytes of its whole reply, an error reply included. They nest at most
    /// [`frame_gauge::DEPTH_MAX`] deep.
    ///
    /// # Errors
    /// Those of [`UpstreamClient::command`] but [`UpstreamError::Refused`].
    pub async fn command_raw(&mut self, arguments: &[&[u8]]) -> Result<Bytes, UpstreamError> {
        let mut request = BytesMut::new();
        encode::command(&mut request, arguments);
        let reply_timeout = self.reply_timeout;
        let exchange = async {
            self.stream.write_all(&request).await.map_err(broken)?;
            self.read_reply().await
        };
        timeout(reply_timeout, exchange).await.unwrap_or(Err(UpstreamError::ReplyTimeout))
    }

    /// Speaks RESP3 from here on, for a client that does and gets the replies as they are.
    ///
    /// # Errors
    /// Those of [`UpstreamClient::command_raw`]; [`UpstreamError::Refused`] by a server before Redis 6.
    pub async fn speak_resp3(&mut self) -> Result<(), UpstreamError> {
        self.version = RespVersion::Resp3;
        let reply = self.command_raw(&[b"HELLO", b"3"]).await?;
        match first_error(&reply) {
            Some(text) => Err(UpstreamError::Refused(String::from_utf8_lossy(text).into_owned())),
            None => Ok(()),
        }
    }

    /// Sends `request`, which is as many commands as there are to be replies, and appends each whole reply to `replies`, an error
    /// reply included, as it comes.
    ///
    /// # Errors
    /// Those of [`UpstreamClient::command_raw`]. Replies that came before are in `replies`.
    pub async fn pipeline(
        &mut self,
        request: &[u8],
        count: usize,
        replies: &mut Vec<Bytes>,
    ) -> Result<(), UpstreamError> {
        let reply_timeout = self.reply_timeout;
        let exchange = async {
            self.stream.write_all(request).await.map_err(broken)?;
            for _ in 0..count {
                replies.push(self.read_reply().await?);
            }
            Ok(())
        };
        timeout(reply_timeout, exchange).await.unwrap_or(Err(UpstreamError::ReplyTimeout))
    }

    /// Sends one command whose reply [`UpstreamClient::next_reply`] brings.
    ///
    /// # Errors
    /// The connection broke, or takes nothing.
    pub async fn send(&mut self, arguments: &[&[u8]]) -> Result<(), UpstreamError> {
        let mut request = BytesMut::new();
        encode::command(&mut request, arguments);
        let sent = timeout(self.reply_timeout, self.stream.write_all(&request)).await;
        sent.unwrap_or(Err(io::ErrorKind::TimedOut.into())).map_err(broken)
    }

    /// The next reply, or what the server says unasked; `None` if nothing comes in this time. It may be dropped at any await.
    ///
    /// # Errors
    /// Those of [`UpstreamClient::command_raw`].
    pub async fn next_reply(&mut self, patience: Duration) -> Result<Option<Bytes>, UpstreamError> {
        timeout(patience, self.read_reply()).await.map_or(Ok(None), |reply| reply.map(Some))
    }

    async fn authenticate(&mut self, credentials: &Credentials) -> Result<(), UpstreamError> {
        let Some(password) = &credentials.password else { return Ok(()) };
        match (self.log_in(credentials, password).await, &credentials.next) {
            (Err(UpstreamError::Auth(first)), Some(next)) => match self.log_in(credentials, next).await {
                Err(UpstreamError::Auth(_)) => Err(UpstreamError::Auth(first)),
                other => other,
            },
            (outcome, _) => outcome,
        }
    }

    async fn log_in(&mut self, credentials: &Credentials, password: &Secret) -> Result<(), UpstreamError> {
        let password = password.reveal().as_bytes();
        let reply = match &credentials.user {
            Some(user) => self.command(&[b"AUTH", user.as_bytes(), password]).await,
            None => self.command(&[b"AUTH", password]).await,
        };
        match reply {
            Ok(_) => Ok(()),
            Err(UpstreamError::Refused(text)) => Err(UpstreamError::Auth(text)),
            Err(error) => Err(error),
        }
    }

    async fn read_reply(&mut self) -> Result<Bytes, UpstreamError> {
        let (mut gauge, mut scanner) = (FrameGauge::default(), ReplyScanner::new());
        loop {
            let whole = match self.version {
                RespVersion::Resp2 => gauge.advance(&self.received).map_err(|error| match error {
                    GaugeError::TooDeep => UpstreamError::Unreadable("nested too deep"),
                    GaugeError::Malformed => UpstreamError::Unreadable("not RESP2"),
                })?,
                // Nobody decodes these, so they may nest as they like.
                RespVersion::Resp3 => match scanner.scan(&self.received) {
                    ReplyScan::Complete { len } => Some(len),
                    ReplyScan::Incomplete { .. } => None,
                    ReplyScan::TooLong | ReplyScan::Malformed(_) => {
                        return Err(UpstreamError::Unreadable("not RESP3"));
                    }
                },
            };
            if let Some(len) = whole {
                return Ok(self.received.split_to(len).freeze());
            }
            if self.received.len() >= REPLY_BYTES_MAX {
                return Err(UpstreamError::Unreadable("longer than any answer to what was asked"));
            }
            if self.stream.read_buf(&mut self.received).await.map_err(broken)? == 0 {
                return Err(UpstreamError::Broken("closed by the server".to_owned()));
            }
        }
    }
}

fn broken(error: io::Error) -> UpstreamError {
    UpstreamError::Broken(error.to_string())
}

#[cfg(test)]
mod tests;
