//! Commands that the gateway answers by itself from what the worker knows: the connection's own affairs.
//!
//! What needs the figures of all workers or a server's word (`INFO`, `CONFIG GET`, `CLIENT LIST`, ...) goes to the control
//! thread instead; this says so with [`Answer::Ask`].

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::Snapshots;
use super::pose::{self, AdvertisedAddress};
use crate::access::{DEFAULT_USER, User, Users};
use crate::command::Local;
use crate::command::render::{self, Style};
use crate::config::{Config, UpstreamIdentity};
use crate::resp::{Request, RespVersion, encode, parse_integer};
use crate::route::SlotAt;
use crate::shared::topology::UpstreamKind;
use crate::worker::client::session::{Replies, Session};

/// The error for a wrong password, as Redis words it.
pub const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD_SET: &str = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?";
const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";
const SYNTAX: &str = "ERR syntax error";

/// What a local command needs to know besides the session.
pub struct Surroundings<'a> {
    /// The snapshots.
    pub snapshots: &'a Snapshots,
    /// The configuration.
    pub config: &'a Config,
    /// Where the client reached us.
    pub advertised: AdvertisedAddress<'a>,
    /// `CLIENT ID`.
    pub client_id: u64,
    /// The version that the upstream says it has.
    pub server_version: &'a str,
}

impl Surroundings<'_> {
    /// Whether clients are told that this is a cluster.
    fn shown_as_cluster(&self) -> bool {
        self.snapshots.keyless().is_shown_as_cluster(self.config)
    }

    /// The error of commands about clusters where clients see none.
    fn no_cluster(&self) -> &'static str {
        if self.snapshots.keyless().is_known() {
            return pose::NO_CLUSTER;
        }
        "ERR hotgate: no server has answered yet, so it is not known whether this is a cluster; try again"
    }
}

/// What became of a local command.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The reply has been written.
    Done,
    /// The reply has been written and is the last.
    Close,
    /// The control thread has to be asked.
    Ask,
    /// The connection becomes as it was when it was made.
    Reset,
    /// Only Redis can answer: the owner of this slot.
    Forward(SlotAt),
    /// Redis has to confirm the database first.
    Select(u32),
    /// `CLIENT REPLY OFF` or `SKIP`: nothing is written.
    Silent,
    /// The user of this name does not exist, is off or has another password.
    Denied(Bytes),
}

/// Answers.
pub fn answer(
    local: Local,
    surroundings: &Surroundings<'_>,
    session: &mut Session,
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> Answer {
    match local {
        Local::Ping => ping(session, request, out),
        Local::Echo => encode::bulk(out, request.arg(1).unwrap_or_default()),
        Local::Quit => {
            encode::simple(out, "OK");
            return Answer::Close;
        }
        Local::Reset => {
            encode::simple(out, "RESET");
            return Answer::Reset;
        }
        Local::Time => time(out),
        Local::Role => role(out),
        Local::Readonly if !surroundings.shown_as_cluster() => encode::error(out, surroundings.no_cluster()),
        Local::Readonly => encode::simple(out, "OK"),
        Local::Whoami => encode::bulk(out, &session.user),
        Local::Auth => return auth(surroundings, session, request, out),
        Local::Hello => return hello(surroundings, session, request, out),
        Local::Select => return select(surroundings, request, out),
        Local::Client => return client(surroundings, session, request, out),
        Local::Command if is_docs(request) => return Answer::Ask,
        Local::Command => {
            let style = Style { version: session.version, policies: !surroundings.shown_as_cluster() };
            render::command(&surroundings.snapshots.commands, request, style, out);
        }
        Local::Cluster => return cluster(surroundings, session.version, request, out),
        Local::Administer
        | Local::ResetLog
        | Local::CommandLog
        | Local::Latency
        | Local::Acl
        | Local::Config
        | Local::Info
        | Local::Hotgate
        | Local::Hotkeys
        | Local::Reserve => {
            return Answer::Ask;
        }
    }
    Answer::Done
}

fn ping(session: &Session, request: &Request<'_>, out: &mut Vec<u8>) {
    match (request.len(), request.arg(1)) {
        (3.., _) => encode::error(out, "ERR wrong number of arguments for 'ping' command"),
        (_, message) if session.is_subscriber_only() => {
            encode::array(out, 2);
            encode::bulk(out, b"pong");
            encode::bulk(out, message.unwrap_or_default());
        }
        (_, Some(message)) => encode::bulk(out, message),
        (_, None) => encode::simple(out, "PONG"),
    }
}

fn time(out: &mut Vec<u8>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    encode::array(out, 2);
    encode::bulk(out, now.as_secs().to_string().as_bytes());
    encode::bulk(out, now.subsec_micros().to_string().as_bytes());
}

fn role(out: &mut Vec<u8>) {
    encode::array(out, 3);
    encode::bulk(out, b"master");
    encode::integer(out, 0);
    encode::array(out, 0);
}

/// The client has shown who it is.
fn log_in(surroundings: &Surroundings<'_>, session: &mut Session, user: &Arc<User>, password: &[u8]) {
    match surroundings.config.auth.upstream_identity {
        UpstreamIdentity::Same => session.become_itself(user, password),
        UpstreamIdentity::Gateway => session.become_user(user),
    }
}

fn auth(
    surroundings: &Surroundings<'_>,
    session: &mut Session,
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> Answer {
    let users = &surroundings.snapshots.users;
    let takes_any = users.get(DEFAULT_USER).is_some_and(|user| user.takes_any_password());
    let (user, password) = match (request.len(), request.arg(1), request.arg(2)) {
        (2, Some(_), _) if takes_any => {
            encode::error(out, NO_PASSWORD_SET);
            return Answer::Done;
        }
        (2, Some(password), _) => (DEFAULT_USER, password),
        (3, Some(user), Some(password)) => (user, password),
        _ => {
            encode::error(out, SYNTAX);
            return Answer::Done;
        }
    };
    match users.authenticate(user, password) {
        Some(user) => {
            log_in(surroundings, session, user, password);
            encode::simple(out, "OK");
            Answer::Done
        }
        None => Answer::Denied(Bytes::copy_from_slice(user)),
    }
}

/// What a `HELLO` asks for.
struct Hello<'a> {
    version: RespVersion,
    name: Option<&'a [u8]>,
    credentials: Option<(&'a [u8], &'a [u8])>,
}

impl<'a> Hello<'a> {
    /// Reads the request of a client that speaks `version`. The error is the text of the reply.
    fn parse(version: RespVersion, request: &'a Request<'_>) -> Result<Self, String> {
        let mut hello = Hello { version, name: None, credentials: None };
        if let Some(wanted) = request.arg(1) {
            hello.version = match parse_integer(wanted) {
                Some(2) => RespVersion::Resp2,
                Some(3) => RespVersion::Resp3,
                Some(_) => return Err("NOPROTO unsupported protocol version".to_owned()),
                None => return Err("ERR Protocol version is not an integer or out of range".to_owned()),
            };
        }
        let mut words = request.args().skip(2);
        while let Some(word) = words.next() {
            let syntax = || format!("ERR Syntax error in HELLO option '{}'", String::from_utf8_lossy(word));
            if word.eq_ignore_ascii_case(b"auth") {
                let (Some(user), Some(password)) = (words.next(), words.next()) else { return Err(syntax()) };
                hello.credentials = Some((user, password));
            } else if word.eq_ignore_ascii_case(b"setname") {
                let name = words.next().ok_or_else(syntax)?;
                if !is_plain_name(name) {
                    return Err(BAD_NAME.to_owned());
                }
                hello.name = Some(name);
            } else {
                return Err(syntax());
            }
        }
        Ok(hello)
    }
}

/// The version that a `HELLO` of an authenticated client, which speaks `version`, will choose; nothing if it will be refused.
pub fn version_chosen(users: &Users, version: RespVersion, request: &Request<'_>) -> Option<RespVersion> {
    let hello = Hello::parse(version, request).ok()?;
    let right = hello.credentials.is_none_or(|(user, password)| users.authenticate(user, password).is_some());
    right.then_some(hello.version)
}

fn hello(
    surroundings: &Surroundings<'_>,
    session: &mut Session,
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> Answer {
    let hello = match Hello::parse(session.version, request) {
        Ok(hello) => hello,
        Err(text) => {
            encode::error(out, text);
            return Answer::Done;
        }
    };
    if let Some((user, password)) = hello.credentials {
        match surroundings.snapshots.users.authenticate(user, password) {
            Some(user) => log_in(surroundings, session, user, password),
            None => return Answer::Denied(Bytes::copy_from_slice(user)),
        }
    }
    if !session.authenticated {
        encode::error(
            out,
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        );
        return Answer::Done;
    }
    session.version = hello.version;
    if let Some(name) = hello.name {
        session.name = Bytes::copy_from_slice(name);
    }
    hello_reply(surroundings, hello.version, out);
    Answer::Done
}

fn hello_reply(surroundings: &Surroundings<'_>, version: RespVersion, out: &mut Vec<u8>) {
    let mode = if surroundings.shown_as_cluster() { "cluster" } else { "standalone" };
    encode::map(out, version, 7);
    let text = |out: &mut Vec<u8>, name: &str, value: &str| {
        encode::bulk(out, name.as_bytes());
        encode::bulk(out, value.as_bytes());
    };
    text(out, "server", "redis");
    text(out, "version", surroundings.server_version);
    encode::bulk(out, b"proto");
    encode::integer(out, if version == RespVersion::Resp3 { 3 } else { 2 });
    encode::bulk(out, b"id");
    encode::integer(out, surroundings.client_id as i64);
    text(out, "mode", mode);
    text(out, "role", "master");
    encode::bulk(out, b"modules");
    encode::array(out, 0);
}

fn select(surroundings: &Surroundings<'_>, request: &Request<'_>, out: &mut Vec<u8>) -> Answer {
    let database = request.arg(1).and_then(parse_integer);
    match (database, surroundings.shown_as_cluster()) {
        (None, _) => encode::error(out, "ERR value is not an integer or out of range"),
        (Some(0), true) => encode::simple(out, "OK"),
        (Some(_), true) => encode::error(out, "ERR SELECT is not allowed in cluster mode"),
        (Some(database), false) => match u32::try_from(database) {
            Ok(database) => return Answer::Select(database),
            Err(_) => encode::error(out, "ERR DB index is out of range"),
        },
    }
    Answer::Done
}

fn client(
    surroundings: &Surroundings<'_>,
    session: &mut Session,
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> Answer {
    let subcommand = request.arg(1).unwrap_or_default().to_ascii_lowercase();
    let value = || request.arg(2).unwrap_or_default();
    match &subcommand[..] {
        b"id" => encode::integer(out, surroundings.client_id as i64),
        b"getname" if session.name.is_empty() => encode::null(out, session.version),
        b"getname" => encode::bulk(out, &session.name),
        b"setname" if !is_plain_name(value()) => encode::error(out, BAD_NAME),
        b"setname" => {
            session.name = Bytes::copy_from_slice(value());
            encode::simple(out, "OK");
        }
        b"setinfo" => set_info(session, request, out),
        b"no-evict" | b"no-touch" => match &value().to_ascii_lowercase()[..] {
            b"on" | b"off" => encode::simple(out, "OK"),
            _ => encode::error(out, SYNTAX),
        },
        b"reply" => return reply_mode(session, value(), out),
        _ => return Answer::Ask,
    }
    Answer::Done
}

fn reply_mode(session: &mut Session, mode: &[u8], out: &mut Vec<u8>) -> Answer {
    let (mode, answer) = match &mode.to_ascii_lowercase()[..] {
        b"on" => (Replies::On, Answer::Done),
        b"off" => (Replies::Off, Answer::Silent),
        b"skip" if session.replies == Replies::Off => (Replies::Off, Answer::Silent),
        b"skip" => (Replies::SkipNext, Answer::Silent),
        _ => {
            encode::error(out, SYNTAX);
            return Answer::Done;
        }
    };
    session.replies = mode;
    session.refresh_plain();
    if mode == Replies::On {
        encode::simple(out, "OK");
    }
    answer
}

fn set_info(session: &mut Session, request: &Request<'_>, out: &mut Vec<u8>) {
    let attribute = request.arg(2).unwrap_or_default();
    let value = request.arg(3).unwrap_or_default();
    let field = match &attribute.to_ascii_lowercase()[..] {
        b"lib-name" => &mut session.library_name,
        b"lib-ver" => &mut session.library_version,
        _ => {
            let name = String::from_utf8_lossy(attribute);
            return encode::error(out, format!("ERR Unrecognized option '{name}'"));
        }
    };
    if !is_plain_name(value) {
        let name = String::from_utf8_lossy(attribute);
        return encode::error(
            out,
            format!("ERR {name} cannot contain spaces, newlines or special characters."),
        );
    }
    *field = Bytes::copy_from_slice(value);
    encode::simple(out, "OK");
}

/// `COMMAND DOCS`, of which the server knows most.
fn is_docs(request: &Request<'_>) -> bool {
    request.arg(1).is_some_and(|word| word.eq_ignore_ascii_case(b"docs"))
}

/// What Redis takes for the name of a client: it appears in a line of `CLIENT LIST`.
fn is_plain_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

fn cluster(
    surroundings: &Surroundings<'_>,
    version: RespVersion,
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> Answer {
    let subcommand = request.arg(1).unwrap_or_default().to_ascii_lowercase();
    if !surroundings.shown_as_cluster() {
        encode::error(out, surroundings.no_cluster());
    } else if matches!(&subcommand[..], b"countkeysinslot" | b"getkeysinslot") {
        match request.arg(2).and_then(parse_integer).map(u16::try_from) {
            Some(Ok(slot)) if slot < crate::shared::topology::SLOTS => {
                if surroundings.snapshots.routes.several().is_some() {
                    encode::error(
                        out,
                        "ERR hotgate: keys live in several clusters, of which each has this slot; ask a node directly",
                    );
                    return Answer::Done;
                }
                if surroundings.snapshots.keyless().kind == UpstreamKind::Cluster {
                    return Answer::Forward(SlotAt {
                        cluster: surroundings.snapshots.routes.keyless(),
                        slot,
                    });
                }
                encode::error(
                    out,
                    "ERR hotgate: the server behind the gateway is no cluster and keeps no keys by slot",
                );
            }
            _ => encode::error(out, "ERR Invalid slot"),
        }
    } else if !pose::answer(surroundings.snapshots.keyless(), &surroundings.advertised, version, request, out)
    {
        let name = String::from_utf8_lossy(&subcommand);
        encode::error(
            out,
            format!(
                "ERR hotgate: 'cluster|{name}' is not passed on: it changes or inspects the cluster behind the gateway; send it to a node directly"
            ),
        );
    }
    Answer::Done
}
