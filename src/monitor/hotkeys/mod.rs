//! `HOTKEYS`, in both dialects.
//!
//! - Redis 8.6 (<https://redis.io/docs/latest/commands/hotkeys/>): a session that `START` opens, `STOP` ends
//!   and `GET` reads, also while it runs; `RESET` forgets it.
//! - Valkey 9.2: `GET` lists the hot keys of the last window as maps of key, db and qps; `RESET` has nothing
//!   to forget here.
//!
//! A session exists only after `START`, so `GET` speaks Redis's dialect while there is one and Valkey's
//! otherwise. The session is the gateway's, as it is the server's in Redis: every client sees the same one.
//!
//! What the figures mean at a gateway: net bytes are those of requests and replies between clients and
//! gateway. CPU time is the gateway's own, as measured by the kernel, attributed to keys in proportion to
//! their accesses; what Redis spends on a key can't be seen from here. `SAMPLE` is accepted and reported, and
//! changes nothing: the detector counts every access anyway.

mod session;
mod start;

use bytes::BytesMut;

use crate::detect::{HotSet, TopKey};
use crate::resp::{RespVersion, encode};
use crate::shared::topology::ClusterMap;
use session::Session;

pub use session::Usage;

/// The longest ranking that a session can use; what `Merger::top` should be asked for, by accesses and by
/// bytes.
pub const TOP_KEYS_MAX: usize = 256;

/// The input of an answer.
pub struct HotkeysContext<'a> {
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// How the client wants the answer.
    pub version: RespVersion,
    /// The published hot set.
    pub hot_set: &'a HotSet,
    /// The tracked keys with the most accesses and those with the most bytes; a key may be in both.
    pub top: &'a [TopKey],
    /// Who owns which slot of the cluster that the asker sees.
    pub map: &'a ClusterMap,
    /// What the gateway used since its start.
    pub usage: Usage,
}

/// The gateway's one session, if there is any.
#[derive(Default)]
pub struct Hotkeys {
    session: Option<Session>,
}

const HELP: [&str; 13] = [
    "HOTKEYS <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "START METRICS <count> [CPU] [NET] [COUNT <k>] [DURATION <seconds>] [SAMPLE <ratio>] [SLOTS <count> <slot> ...]",
    "    Start a tracking session.",
    "STOP",
    "    Stop the session and keep what it found.",
    "GET",
    "    What the session found; without a session, the hot keys of the last window.",
    "RESET",
    "    Forget the session.",
    "HELP",
    "    Print this help.",
    "",
    "See also HOTGATE HELP.",
];

impl Hotkeys {
    /// Feeds a running session. To be called as often as rankings change, at least once a second.
    pub fn observe(&mut self, now_ms: u64, top: &[TopKey], usage: Usage) {
        if let Some(session) = &mut self.session {
            session.observe(now_ms, top, usage);
        }
    }

    /// Answers what follows `HOTKEYS`.
    pub fn answer(&mut self, arguments: &[&[u8]], context: &HotkeysContext<'_>) -> BytesMut {
        let mut out = BytesMut::new();
        self.observe(context.now_ms, context.top, context.usage);
        let Some((name, rest)) = arguments.split_first() else {
            encode::error(&mut out, "ERR wrong number of arguments for 'hotkeys' command");
            return out;
        };
        match (name.to_ascii_uppercase().as_slice(), rest) {
            (b"START", rest) => self.start(rest, context, &mut out),
            (b"STOP", []) => match &mut self.session {
                Some(session) if session.is_active() => {
                    session.stop(context.now_ms);
                    encode::simple(&mut out, "OK");
                }
                _ => encode::null(&mut out, context.version),
            },
            (b"GET", []) => match &self.session {
                Some(session) => session.render(context.now_ms, context.usage, context.version, &mut out),
                None => valkey(context, &mut out),
            },
            (b"RESET", []) => match &self.session {
                Some(session) if session.is_active() => {
                    encode::error(&mut out, "ERR hotkey tracking session in progress, stop tracking first");
                }
                _ => {
                    self.session = None;
                    encode::simple(&mut out, "OK");
                }
            },
            (b"HELP", []) => {
                encode::array(&mut out, HELP.len());
                HELP.iter().for_each(|line| encode::simple(&mut out, line));
            }
            (b"STOP" | b"GET" | b"RESET" | b"HELP", _) => {
                let name = String::from_utf8_lossy(name).to_ascii_lowercase();
                encode::error(
                    &mut out,
                    format!("ERR wrong number of arguments for 'hotkeys|{name}' command"),
                );
            }
            _ => encode::error(&mut out, "ERR unknown subcommand or wrong number of arguments"),
        }
        out
    }

    fn start(&mut self, rest: &[&[u8]], context: &HotkeysContext<'_>, out: &mut BytesMut) {
        if self.session.as_ref().is_some_and(Session::is_active) {
            encode::error(out, "ERR hotkey tracking session already in progress");
            return;
        }
        match start::parse(rest, context.map) {
            Ok(options) => {
                self.session = Some(Session::new(options, context.now_ms, context.usage));
                encode::simple(out, "OK");
            }
            Err(message) => encode::error(out, format!("ERR {message}")),
        }
    }
}

/// Valkey's answer: every hot key, hottest first. A key too long to be tracked whole is given by its
/// beginning.
fn valkey(context: &HotkeysContext<'_>, out: &mut BytesMut) {
    encode::array(out, context.hot_set.entries.len());
    for hot in &context.hot_set.entries {
        encode::map(out, context.version, 3);
        encode::bulk(out, b"key");
        encode::bulk(out, hot.key.bytes());
        encode::bulk(out, b"db");
        encode::integer(out, 0);
        encode::bulk(out, b"qps");
        encode::integer(out, hot.rates.ops.round() as i64);
    }
}

#[cfg(test)]
mod tests;
