//! Connecting to a node and logging in, until the connection may carry requests.
//!
//! One round trip: everything is written at once, then one reply is read for each command. Owns nothing; runs as the first
//! part of a connection's task, under `upstream.connect_timeout`.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

use super::{Phase, Role, Upstreams};
use crate::config::Secret;
use crate::limits::REPLY_LINE_BYTES_MAX;
use crate::net::{ConnectError, Dialer, Stream};
use crate::resp::{self, ReplyScan, ReplyScanner, RespVersion, encode};
use crate::shared::topology::Address;
use crate::worker::core::Core;
use crate::worker::names::UpstreamKey;

/// The name under which the gateway's connections appear in `CLIENT LIST` at the server.
pub(super) const CONNECTION_NAME: &[u8] = b"hotgate";

/// The steps in which a password is given.
const LOG_INS: [&str; 3] = ["HELLO with user and password", "user and password", "the password"];

/// What a new connection has to be told.
pub struct Greeting {
    /// Where to connect.
    pub address: Address,
    /// How to connect.
    pub dialer: Dialer,
    /// The protocol version.
    pub version: RespVersion,
    /// The user, if not `default`.
    pub user: Option<Box<[u8]>>,
    /// The password, if one is asked for.
    pub password: Option<Zeroizing<Box<[u8]>>>,
    /// A second one, for where that is refused.
    pub next: Option<Zeroizing<Box<[u8]>>>,
    /// The database.
    pub database: u32,
    /// Reads from a replica are wanted.
    pub readonly: bool,
    /// A command of the session.
    pub session: Option<Bytes>,
    /// Nothing at all is told: the connection's first requests are its log-in.
    pub bare: bool,
}

/// Why a connection could not be had.
#[derive(Debug)]
pub enum GreetingError {
    /// There is no way there.
    Connect(ConnectError),
    /// The connection broke.
    Io(io::Error),
    /// The server refused a step of the log-in.
    Refused {
        /// Which step.
        step: &'static str,
        /// What it said.
        reply: String,
    },
    /// It does not speak RESP.
    NotRedis,
    /// It took too long.
    Timeout,
}

impl fmt::Display for GreetingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "{error}"),
            Self::Io(error) => write!(f, "{error}"),
            Self::Refused { step, reply } => write!(f, "the server refused {step}: {reply}"),
            Self::NotRedis => f.write_str("what answers there does not speak the Redis protocol"),
            Self::Timeout => f.write_str("no answer within upstream.connect_timeout"),
        }
    }
}

impl From<io::Error> for GreetingError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A connection that may carry requests.
pub struct Connected {
    /// The byte stream.
    pub stream: Stream,
    /// The connection's id at the server, if it says.
    pub server_id: Option<u64>,
    /// How long the system took to connect, in nanoseconds: the way there and back.
    pub connect_ns: u64,
    /// What came right behind the log-in: a command of the session may have the server send at once.
    pub early: BytesMut,
}

impl Upstreams {
    /// What a connection has to be told, and how long that may take. `None` when it is not wanted any more.
    pub fn greeting(&mut self, core: &Core, key: UpstreamKey) -> Option<(Greeting, Duration)> {
        self.connections.get(key).filter(|upstream| !upstream.closing)?;
        self.set_phase(key, Phase::Connecting);
        let upstream = self.connections.get_mut(key)?;
        upstream.alive_ns = core.now_ns;
        let node = core.snapshots.topology.node(upstream.node)?;
        let settings = core.upstream_of(node.cluster);
        let bytes = |secret: &Secret| Zeroizing::new(Box::from(secret.reveal().as_bytes()));
        let (user, password, next) = match upstream.login {
            0 => (
                settings.user.as_ref().map(|user| Box::from(user.as_bytes())),
                settings.password.as_ref().map(bytes),
                settings.password_next.as_ref().map(bytes),
            ),
            // Nobody is that user any more.
            number => {
                let login = self.logins.get(number)?;
                (Some(login.name.clone()), Some(login.password.clone()), None)
            }
        };
        let greeting = Greeting {
            address: node.address.clone(),
            dialer: core.gateway.dialer_of(node.cluster).clone(),
            version: upstream.version,
            user,
            password,
            next,
            database: upstream.database,
            readonly: upstream.readonly,
            session: upstream.greeting.clone(),
            bare: upstream.role() == Role::OutOfBand,
        };
        Some((greeting, settings.connect_timeout))
    }
}

/// Connects and logs in: with the second password, over a new connection, where the first is refused.
///
/// # Errors
/// The address can't be reached, or the server refuses the log-in.
pub async fn greet(greeting: &Greeting) -> Result<Connected, GreetingError> {
    let password = greeting.password.as_ref().map(|password| &***password);
    match (greet_with(greeting, password).await, &greeting.next) {
        (Err(GreetingError::Refused { step, reply }), Some(next)) if LOG_INS.contains(&step) => {
            match greet_with(greeting, Some(next)).await {
                // The first is the one that an operator looks at.
                Err(GreetingError::Refused { step: again, .. }) if again == step => {
                    Err(GreetingError::Refused { step, reply })
                }
                other => other,
            }
        }
        (outcome, _) => outcome,
    }
}

async fn greet_with(greeting: &Greeting, password: Option<&[u8]>) -> Result<Connected, GreetingError> {
    let started = Instant::now();
    // The caller's patience covers the log-in too.
    let mut stream =
        greeting.dialer.connect(&greeting.address, None).await.map_err(GreetingError::Connect)?;
    let connect_ns = started.elapsed().as_nanos() as u64;
    if greeting.bare {
        return Ok(Connected { stream, server_id: None, connect_ns, early: BytesMut::new() });
    }
    // It holds a password. One that does not grow leaves no copy.
    let mut request = Zeroizing::new(Vec::with_capacity(request_bytes_max(greeting)));
    let mut steps = Vec::new();
    let mut step = |name: &'static str, arguments: &[&[u8]]| {
        encode::command(&mut *request, arguments);
        steps.push(name);
    };
    let database = greeting.database.to_string();
    let user = greeting.user.as_deref().unwrap_or(b"default");
    match (greeting.version, password) {
        (RespVersion::Resp3, Some(password)) => {
            step(LOG_INS[0], &[b"HELLO", b"3", b"AUTH", user, password]);
        }
        (RespVersion::Resp3, None) => step("HELLO 3", &[b"HELLO", b"3"]),
        (RespVersion::Resp2, Some(password)) if greeting.user.is_some() => {
            step(LOG_INS[1], &[b"AUTH", user, password]);
        }
        (RespVersion::Resp2, Some(password)) => step(LOG_INS[2], &[b"AUTH", password]),
        (RespVersion::Resp2, None) => {}
    }
    if greeting.database != 0 {
        step("SELECT", &[b"SELECT", database.as_bytes()]);
    }
    if greeting.readonly {
        step("READONLY", &[b"READONLY"]);
    }
    // The id is there to ask about the connection when it is silent.
    step("CLIENT ID", &[b"CLIENT", b"ID"]);
    // The name is a courtesy to whoever looks at the server, and the reply to it proves that the server is one.
    step("CLIENT SETNAME", &[b"CLIENT", b"SETNAME", CONNECTION_NAME]);
    if let Some(session) = &greeting.session {
        request.extend_from_slice(session);
        steps.push("the session's own command");
    }
    stream.write_all(&request).await?;
    drop(request);
    let mut id = None;
    let mut busy = false;
    let mut input = BytesMut::new();
    for step in steps {
        let reply = read_reply(&mut stream, &mut input).await?;
        match resp::first_error(&reply) {
            Some(error) if matches!(step, "CLIENT ID" | "CLIENT SETNAME") => {
                busy |= error.starts_with(b"BUSY");
            }
            Some(error) => {
                return Err(GreetingError::Refused {
                    step,
                    reply: String::from_utf8_lossy(error).into_owned(),
                });
            }
            None if step == "CLIENT ID" => {
                id = resp::parse_integer_reply(&reply)
                    .and_then(|id| u64::try_from(id).ok())
                    .filter(|id| *id > 0);
            }
            None => {}
        }
    }
    if !input.is_empty() && greeting.session.is_none() {
        return Err(GreetingError::NotRedis);
    }
    if id.is_none() && busy && input.is_empty() {
        id = ask_busy(&mut stream, &mut input, greeting.version).await?;
    }
    Ok(Connected { stream, server_id: id, connect_ns, early: input })
}

/// More bytes than a greeting has: its words beside the names, the password and the command of the session are below 512.
fn request_bytes_max(greeting: &Greeting) -> usize {
    let of = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let password = greeting.password.as_ref().map(|password| &***password);
    512 + of(greeting.user.as_deref()) + of(password) + of(greeting.session.as_deref())
}

/// The connection's id, from a server that a script keeps busy: it refuses to tell it alone, and answers `HELLO`. Without it nobody
/// could ask later whether the server holds back what waits here.
async fn ask_busy(
    stream: &mut Stream,
    input: &mut BytesMut,
    version: RespVersion,
) -> Result<Option<u64>, GreetingError> {
    let number: &[u8] = if version == RespVersion::Resp3 { b"3" } else { b"2" };
    let mut request = Vec::new();
    encode::command(&mut request, &[b"HELLO", number]);
    stream.write_all(&request).await?;
    Ok(id_in_hello(&read_reply(stream, input).await?))
}

/// The id in a reply to `HELLO`, whose fields alternate with their values.
fn id_in_hello(reply: &[u8]) -> Option<u64> {
    let fields: Vec<&[u8]> = resp::elements(reply)?.collect();
    let mut pairs = fields.chunks_exact(2);
    let value = pairs.find(|pair| resp::bulk_payload(pair[0]) == Some(b"id"))?[1];
    u64::try_from(resp::parse_integer_reply(value)?).ok()
}

async fn read_reply(stream: &mut Stream, input: &mut BytesMut) -> Result<Bytes, GreetingError> {
    let mut scanner = ReplyScanner::new();
    loop {
        match scanner.scan(input) {
            ReplyScan::Complete { len } => return Ok(input.split_to(len).freeze()),
            ReplyScan::Incomplete { .. } if input.len() < REPLY_LINE_BYTES_MAX => {}
            ReplyScan::Malformed(_) | ReplyScan::TooLong | ReplyScan::Incomplete { .. } => {
                return Err(GreetingError::NotRedis);
            }
        }
        if stream.read_buf(input).await? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it closed the connection during the log-in",
            )
            .into());
        }
    }
}
