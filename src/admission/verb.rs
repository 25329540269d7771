//! `HOTGATE QUOTA ...`: what operators ask for, and the commands to Redis that carry it out.
//!
//! An operator's changes are fields of the counter's override hash ([`override_key`]), which the flush script reads each
//! time: so every gateway and every restart agrees, and the next flush of any of them knows. Deliberately does not
//! send, log or check a password.

use bytes::Bytes;

use super::key_quota::{Bound, KeyQuota, Limit};
use crate::{
    combine::{CLAMP_VALUE_MAX, Consumes, override_key, window_key},
    resp::parse_integer,
};

/// A subcommand of `HOTGATE QUOTA`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Every counter that the process knows under a quota. Needs nothing from Redis.
    List,
    /// The state of one counter.
    Get(Bytes),
    /// Replace the configured limit, or the floor of stock.
    SetLimit(Bytes, i64),
    /// Forget all that was changed at run time, a pause included.
    Reset(Bytes),
    /// Refuse everything from now on.
    Pause(Bytes),
    /// Undo a pause.
    Resume(Bytes),
    /// What there is to ask for.
    Help,
}

/// The lines of `HOTGATE QUOTA HELP`.
pub const QUOTA_HELP: &[&str] = &[
    "HOTGATE QUOTA <subcommand> [<arg> ...]. Subcommands are:",
    "LIST",
    "    Show the counters that this gateway knows under a quota.",
    "GET <key>",
    "    Show limit, value and pause of a counter, as Redis has them now.",
    "SET <key> LIMIT <n>",
    "    Replace the configured limit of a counter, for all gateways.",
    "RESET <key>",
    "    Undo SET and PAUSE: what is configured holds again.",
    "PAUSE <key>",
    "    Refuse every change of a counter, from the next flush of every gateway on.",
    "RESUME <key>",
    "    Undo PAUSE.",
    "HELP",
    "    Print this help.",
];

type Command = Vec<Bytes>;

impl Verb {
    /// Reads the arguments behind `HOTGATE QUOTA`. Errors are replies without the leading `-`: an unknown subcommand, a
    /// wrong number of arguments, a word that is not `LIMIT`, a limit that is no integer within ±2^52.
    pub fn parse(arguments: &[&[u8]]) -> Result<Self, String> {
        let Some((name, rest)) = arguments.split_first() else {
            return Err("ERR wrong number of arguments for 'hotgate|quota' command".to_owned());
        };
        let lower = name.to_ascii_lowercase();
        let key = |index: usize| rest.get(index).map(|key| Bytes::copy_from_slice(key)).unwrap_or_default();
        let (verb, wanted) = match lower.as_slice() {
            b"list" => (Self::List, 0),
            b"help" => (Self::Help, 0),
            b"get" => (Self::Get(key(0)), 1),
            b"reset" => (Self::Reset(key(0)), 1),
            b"pause" => (Self::Pause(key(0)), 1),
            b"resume" => (Self::Resume(key(0)), 1),
            b"set" if rest.len() == 3 => return set_limit(key(0), rest[1], rest[2]),
            b"set" => (Self::Help, 3),
            _ => {
                let name = name[..name.len().min(128)].escape_ascii();
                return Err(format!("ERR unknown subcommand '{name}'. Try HOTGATE QUOTA HELP."));
            }
        };
        if rest.len() != wanted {
            let name = lower.escape_ascii();
            return Err(format!("ERR wrong number of arguments for 'hotgate|quota|{name}' command"));
        }
        Ok(verb)
    }

    /// The counter that it is about.
    pub fn key(&self) -> Option<&Bytes> {
        match self {
            Self::List | Self::Help => None,
            Self::Get(key)
            | Self::SetLimit(key, _)
            | Self::Reset(key)
            | Self::Pause(key)
            | Self::Resume(key) => Some(key),
        }
    }

    /// It changes something, and so belongs in the log with who asked.
    pub fn is_change(&self) -> bool {
        !matches!(self, Self::List | Self::Help | Self::Get(_))
    }

    /// Whether it makes sense for what holds the key, if anything does. `RESET` and `RESUME` are taken for any key, so that
    /// what was changed under an earlier configuration can be undone.
    pub fn check(&self, quota: Option<&KeyQuota>) -> Result<(), String> {
        let (Some(key), false) = (self.key(), matches!(self, Self::Reset(_) | Self::Resume(_))) else {
            return Ok(());
        };
        let shown = super::refusal::shown(key);
        let Some(quota) = quota else { return Err(format!("ERR no quota holds {shown}")) };
        let Self::SetLimit(_, limit) = self else { return Ok(()) };
        if quota.parts().iter().all(|part| matches!(part.bound, Bound::Window { .. })) {
            return Err(format!(
                "ERR {shown} is held per window only; that limit is changed in the configuration or in its limit key"
            ));
        }
        if *limit < 0 && quota.consumes() == Consumes::Up {
            return Err(format!("ERR limit is not an integer from 0 to {CLAMP_VALUE_MAX}"));
        }
        Ok(())
    }

    /// The commands to Redis, each as its arguments; all name keys of the counter's slot but for limit keys that are polled.
    /// For `GET`: the override's fields `limit` and `paused`, the counter, then for each part of the quota its limit key
    /// and for each window the count and its `PTTL`. For a change: one command, whose success is the change.
    pub fn commands(&self, quota: Option<&KeyQuota>) -> Vec<Command> {
        let Some(key) = self.key() else { return Vec::new() };
        let name = override_key(key);
        let word = Bytes::from_static;
        match self {
            Self::List | Self::Help => Vec::new(),
            Self::Get(_) => {
                let mut commands = vec![
                    vec![word(b"HMGET"), name, word(b"limit"), word(b"paused")],
                    vec![word(b"GET"), key.clone()],
                ];
                commands.extend(quota.into_iter().flat_map(look_at_parts));
                commands
            }
            Self::SetLimit(_, limit) => {
                vec![vec![word(b"HSET"), name, word(b"limit"), limit.to_string().into()]]
            }
            Self::Reset(_) => vec![vec![word(b"DEL"), name]],
            Self::Pause(_) => vec![vec![word(b"HSET"), name, word(b"paused"), word(b"1")]],
            Self::Resume(_) => vec![vec![word(b"HDEL"), name, word(b"paused")]],
        }
    }
}

fn set_limit(key: Bytes, word: &[u8], limit: &[u8]) -> Result<Verb, String> {
    if !word.eq_ignore_ascii_case(b"limit") {
        return Err("ERR syntax error: expected HOTGATE QUOTA SET key LIMIT n".to_owned());
    }
    match parse_integer(limit).filter(|limit| (-CLAMP_VALUE_MAX..=CLAMP_VALUE_MAX).contains(limit)) {
        Some(limit) => Ok(Verb::SetLimit(key, limit)),
        None => Err(format!("ERR limit is not an integer from 0 to {CLAMP_VALUE_MAX}")),
    }
}

fn look_at_parts(quota: &KeyQuota) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut look = |verb: &'static [u8], key: Bytes| commands.push(vec![Bytes::from_static(verb), key]);
    for part in quota.parts() {
        let (Bound::Ceiling(limit) | Bound::Window { limit, .. }) = &part.bound else { continue };
        match limit {
            Limit::Value(_) => {}
            Limit::InSlot(name) => look(b"GET", name.clone()),
            Limit::Polled(index) => look(b"GET", quota.polled()[*index].clone()),
        }
        if let Bound::Window { window_ms, .. } = part.bound {
            let name = window_key(quota.key(), window_ms);
            look(b"GET", name.clone());
            look(b"PTTL", name);
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admission::QuotaRules, config::Config};

    fn parse(line: &str) -> Result<Verb, String> {
        let words: Vec<&[u8]> = line.split_ascii_whitespace().map(str::as_bytes).collect();
        Verb::parse(&words)
    }

    #[test]
    fn reads_what_operators_type() {
        let check = |line: &str, expect: Verb| assert_eq!(parse(line), Ok(expect), "{line}");
        let key = || Bytes::from_static(b"k");
        check("LIST", Verb::List);
        check("help", Verb::Help);
        check("get k", Verb::Get(key()));
        check("SET k limit 1000", Verb::SetLimit(key(), 1000));
        check("SET k LIMIT -5", Verb::SetLimit(key(), -5));
        check("RESET k", Verb::Reset(key()));
        check("PAUSE k", Verb::Pause(key()));
        check("RESUME k", Verb::Resume(key()));
    }

    #[test]
    fn says_what_is_wrong() {
        let check = |line: &str, expect: &str| assert_eq!(parse(line).unwrap_err(), expect, "{line}");
        check("", "ERR wrong number of arguments for 'hotgate|quota' command");
        check("LIST all", "ERR wrong number of arguments for 'hotgate|quota|list' command");
        check("GET", "ERR wrong number of arguments for 'hotgate|quota|get' command");
        check("PAUSE a b", "ERR wrong number of arguments for 'hotgate|quota|pause' command");
        check("SET k 5", "ERR wrong number of arguments for 'hotgate|quota|set' command");
        check("SET k MAX 5", "ERR syntax error: expected HOTGATE QUOTA SET key LIMIT n");
        check("STOP k", "ERR unknown subcommand 'STOP'. Try HOTGATE QUOTA HELP.");
        for limit in ["x", "1.5", "05", "4503599627370497", "99999999999999999999"] {
            let expect = "ERR limit is not an integer from 0 to 4503599627370496";
            check(&format!("SET k LIMIT {limit}"), expect);
        }
    }

    #[test]
    fn a_change_is_one_command_on_the_override() {
        let check = |line: &str, expect: &str| {
            let verb = parse(line).unwrap();
            let commands = verb.commands(None);
            let text: Vec<_> =
                commands.iter().map(|words| String::from_utf8(words.join(&b' ')).unwrap()).collect();
            let name = String::from_utf8(override_key(b"k").to_vec()).unwrap();
            assert_eq!(text.join("; "), expect.replace("OVERRIDE", &name));
            assert_eq!(verb.is_change(), !matches!(verb, Verb::Get(_) | Verb::List));
        };
        check("LIST", "");
        check("GET k", "HMGET OVERRIDE limit paused; GET k");
        check("SET k LIMIT 7", "HSET OVERRIDE limit 7");
        check("RESET k", "DEL OVERRIDE");
        check("PAUSE k", "HSET OVERRIDE paused 1");
        check("RESUME k", "HDEL OVERRIDE paused");
    }

    #[test]
    fn a_change_has_to_fit_the_quota() {
        let text = "[[quota]]\nmatch='sku:*'\nlimit=5\n[[quota]]\nmatch='stock:*'\nfloor=0\n\
                    [[quota]]\nmatch='rate:*'\nlimit_key='limits'\nwindow='1s'\n";
        let rules = QuotaRules::compile(&Config::parse(text).unwrap().quotas);
        let check = |line: &str, expect: Option<&str>| {
            let verb = parse(line).unwrap();
            let quota = verb.key().and_then(|key| rules.of(key));
            let found = verb.check(quota.as_ref()).err();
            assert_eq!(found.is_some(), expect.is_some(), "{line}: {found:?}");
            assert!(found.unwrap_or_default().contains(expect.unwrap_or_default()), "{line}");
        };
        check("LIST", None);
        check("SET sku:1 LIMIT 7", None);
        check("SET sku:1 LIMIT -7", Some("is not an integer from 0"));
        check("SET stock:1 LIMIT -7", None);
        check("SET rate:1 LIMIT 7", Some("'rate:1' is held per window only"));
        check("PAUSE rate:1", None);
        for line in ["GET x", "SET x LIMIT 5", "PAUSE x"] {
            check(line, Some("no quota holds 'x'"));
        }
        check("RESET x", None);
        check("RESUME x", None);
        let verb = parse("GET rate:1").unwrap();
        let commands = verb.commands(rules.of(b"rate:1").as_ref());
        assert_eq!(
            commands[2..].iter().map(|words| words[0].as_ref()).collect::<Vec<_>>(),
            [b"GET".as_slice(), b"GET", b"PTTL"]
        );
        assert_eq!(commands[2][1], "limits");
    }
}
