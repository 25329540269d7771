//! `HOTGATE QUOTA ...`: parses what an operator asks for, and builds the Redis command that carries it out.
//!
//! An operator's change is a field of the counter's override hash ([`override_key`]), and the flush script reads that hash in every
//! flush. So every gateway and every restart agrees. The counters that have one are members of one set, [`overrides_index`], which every
//! gateway reads now and then: so a change shows where the counter is not used. Deliberately does not send, log or check a password.

use bytes::Bytes;

use super::key_quota::{Bound, KeyQuota};
use crate::{
    combine::{CLAMP_VALUE_MAX, Consumes, companion_key, override_key},
    resp::parse_integer,
};

/// A subcommand of `HOTGATE QUOTA`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// The counters that the process knows under a quota, a page of them.
    List {
        /// Only those whose name holds this.
        search: Bytes,
        /// What comes first; its word.
        sort: Bytes,
        /// Those that are left out before.
        offset: usize,
        /// How many at the most.
        count: usize,
    },
    /// How many there are.
    Count,
    /// The state of one counter.
    Get(Bytes),
    /// Something is to be changed for one counter, and why; empty if that is not said.
    Change(Bytes, QuotaAction, Bytes),
    /// The help text.
    Help,
}

/// A change of a counter's quota, for every gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaAction {
    /// Replace the configured limit, or the floor of stock.
    Limit(i64),
    /// Forget all that was changed at run time, a pause included.
    Reset,
    /// Refuse every increment and decrement from now on. Commands that set or remove the counter, as far as its quota allows
    /// them, are not refused: they are how an operator puts it right.
    Pause,
    /// Undo a pause.
    Resume,
}

/// The lines of `HOTGATE QUOTA HELP`.
pub const QUOTA_HELP: &[&str] = &[
    "HOTGATE QUOTA <subcommand> [<arg> ...], or HOTGATE QUOTAS where it only reads. Subcommands are:",
    "LIST [MATCH <text>] [SORT USED|REFUSED|GRANTED|KEY] [OFFSET <n>] [COUNT <n>]",
    "    Show the counters that this gateway knows under a quota, most used first, 100 at a time, as Redis has them.",
    "COUNT",
    "    How many counters this gateway knows under a quota.",
    "GET <key>",
    "    Show the quotas of a counter, as Redis has them.",
    "SET <key> LIMIT <n>",
    "    Replace the configured limit of a counter, used already or not, for all gateways.",
    "RESET <key>",
    "    Undo SET and PAUSE: what is configured holds again.",
    "PAUSE <key>",
    "    Refuse INCR, INCRBY, DECR and DECRBY of a counter, at every gateway within a second.",
    "    What sets or removes the counter, as far as its quota allows that, goes on.",
    "RESUME <key>",
    "    Undo PAUSE, at once.",
    "Each change may end with REASON <text>, which HOTGATE AUDIT shows.",
    "HELP",
    "    Print this help.",
];

impl Verb {
    /// Reads the arguments behind `HOTGATE QUOTA`. Errors are replies without the leading `-`: an unknown subcommand, a
    /// wrong number of arguments, a word that is not `LIMIT`, a limit that is no integer within ±2^52.
    pub fn parse(arguments: &[&[u8]]) -> Result<Self, String> {
        let Some((name, rest)) = arguments.split_first() else {
            return Err("ERR wrong number of arguments for 'hotgate|quota' command".to_owned());
        };
        let lower = name.to_ascii_lowercase();
        let changes = matches!(lower.as_slice(), b"set" | b"reset" | b"pause" | b"resume");
        let (rest, reason) = match rest {
            [rest @ .., word, why] if changes && !rest.is_empty() && word.eq_ignore_ascii_case(b"reason") => {
                (rest, Bytes::copy_from_slice(why))
            }
            rest => (rest, Bytes::new()),
        };
        let key = rest.first().map(|key| Bytes::copy_from_slice(key)).unwrap_or_default();
        let (verb, wanted) = match lower.as_slice() {
            b"list" => return list(rest),
            b"count" => (Self::Count, 0),
            b"help" => (Self::Help, 0),
            b"get" => (Self::Get(key), 1),
            b"reset" => (Self::Change(key, QuotaAction::Reset, reason), 1),
            b"pause" => (Self::Change(key, QuotaAction::Pause, reason), 1),
            b"resume" => (Self::Change(key, QuotaAction::Resume, reason), 1),
            b"set" if rest.len() == 3 => {
                return Ok(Self::Change(key, limit_of(rest[1], rest[2])?, reason));
            }
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
}

impl QuotaAction {
    /// The word of `HOTGATE QUOTA` that asks for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Limit(_) => "set",
            Self::Reset => "reset",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }

    /// Whether it makes sense for what holds the key, if anything does; the error is a sentence for the operator. What undoes
    /// a change is taken for any key, so that what was changed under an earlier configuration can be undone.
    pub fn check(self, key: &[u8], quota: Option<&KeyQuota>) -> Result<(), String> {
        if matches!(self, Self::Reset | Self::Resume) {
            return Ok(());
        }
        let shown = super::refusal::shown(key);
        let Some(quota) = quota else { return Err(format!("no quota holds {shown}")) };
        let Self::Limit(limit) = self else { return Ok(()) };
        if quota.held().all(|part| matches!(part.bound, Bound::Window { .. })) {
            return Err(format!(
                "{shown} is held per window only; that limit is changed in the configuration or in its limit key"
            ));
        }
        let least = if quota.consumes() == Consumes::Up { 0 } else { -CLAMP_VALUE_MAX };
        if !(least..=CLAMP_VALUE_MAX).contains(&limit) {
            return Err(format!("limit is not an integer from {least} to {CLAMP_VALUE_MAX}"));
        }
        Ok(())
    }

    /// The command to Redis, as its arguments, whose success is the change. `by` is noted beside it.
    pub fn command(self, key: &[u8], by: &str) -> Vec<Bytes> {
        let (name, word, by) = (override_key(key), Bytes::from_static, Bytes::copy_from_slice(by.as_bytes()));
        match self {
            Self::Limit(limit) => {
                vec![word(b"HSET"), name, word(b"limit"), limit.to_string().into(), word(b"limit_by"), by]
            }
            Self::Reset => vec![word(b"DEL"), name],
            Self::Pause => vec![word(b"HSET"), name, word(b"paused"), word(b"1"), word(b"paused_by"), by],
            Self::Resume => vec![word(b"HDEL"), name, word(b"paused"), word(b"paused_by")],
        }
    }

    /// The command that has every gateway look at the counter's override, or not any more.
    pub fn index_command(self, key: &[u8]) -> Vec<Bytes> {
        let word = if self == Self::Reset { &b"SREM"[..] } else { b"SADD" };
        vec![Bytes::from_static(word), overrides_index(), Bytes::copy_from_slice(key)]
    }
}

/// The set of the counters that operators have changed, `{tag}hotgate:quotas:`: gateways look there for what was changed elsewhere.
pub fn overrides_index() -> Bytes {
    companion_key(b"", b"quotas").into()
}

/// Counters in a list when nobody says how many, and the most that there may be.
const LIST_COUNT: usize = 100;
const LIST_COUNT_MAX: i64 = 1_000;

fn list(mut rest: &[&[u8]]) -> Result<Verb, String> {
    let (mut search, mut sort, mut offset, mut count) = (Bytes::new(), Bytes::new(), 0, LIST_COUNT);
    let syntax =
        || "ERR syntax error: expected LIST [MATCH text] [SORT word] [OFFSET n] [COUNT n]".to_owned();
    while let [word, value, tail @ ..] = rest {
        rest = tail;
        let number = |least: i64, most: i64| {
            let found = parse_integer(value).filter(|number| (least..=most).contains(number));
            found
                .map(|number| number as usize)
                .ok_or(format!("ERR value is not an integer from {least} to {most}"))
        };
        match word.to_ascii_uppercase().as_slice() {
            b"MATCH" => search = Bytes::copy_from_slice(value),
            b"SORT" => sort = Bytes::copy_from_slice(value),
            b"OFFSET" => offset = number(0, i64::from(u32::MAX))?,
            b"COUNT" => count = number(1, LIST_COUNT_MAX)?,
            _ => return Err(syntax()),
        }
    }
    if rest.is_empty() { Ok(Verb::List { search, sort, offset, count }) } else { Err(syntax()) }
}

fn limit_of(word: &[u8], limit: &[u8]) -> Result<QuotaAction, String> {
    if !word.eq_ignore_ascii_case(b"limit") {
        return Err("ERR syntax error: expected HOTGATE QUOTA SET key LIMIT n".to_owned());
    }
    match parse_integer(limit).filter(|limit| (-CLAMP_VALUE_MAX..=CLAMP_VALUE_MAX).contains(limit)) {
        Some(limit) => Ok(QuotaAction::Limit(limit)),
        None => Err(format!("ERR limit is not an integer from 0 to {CLAMP_VALUE_MAX}")),
    }
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
        let list = |search: &'static str, offset, count| {
            let (search, sort) = (Bytes::from_static(search.as_bytes()), Bytes::new());
            Verb::List { search, sort, offset, count }
        };
        check("LIST", list("", 0, 100));
        check("list match sku: offset 200 count 10", list("sku:", 200, 10));
        check("COUNT", Verb::Count);
        check("help", Verb::Help);
        check("get k", Verb::Get(key()));
        check("SET k limit 1000", Verb::Change(key(), QuotaAction::Limit(1000), Bytes::new()));
        check("SET k LIMIT -5", Verb::Change(key(), QuotaAction::Limit(-5), Bytes::new()));
        check("RESET k", Verb::Change(key(), QuotaAction::Reset, Bytes::new()));
        check("PAUSE k", Verb::Change(key(), QuotaAction::Pause, Bytes::new()));
        let because = |why: &'static str| Bytes::from_static(why.as_bytes());
        check("SET k LIMIT 5 reason sale", Verb::Change(key(), QuotaAction::Limit(5), because("sale")));
        check("PAUSE k REASON x", Verb::Change(key(), QuotaAction::Pause, because("x")));
        check("RESUME k", Verb::Change(key(), QuotaAction::Resume, Bytes::new()));
    }

    #[test]
    fn says_what_is_wrong() {
        let check = |line: &str, expect: &str| assert_eq!(parse(line).unwrap_err(), expect, "{line}");
        check("", "ERR wrong number of arguments for 'hotgate|quota' command");
        let syntax = "ERR syntax error: expected LIST [MATCH text] [SORT word] [OFFSET n] [COUNT n]";
        check("LIST all", syntax);
        check("LIST MATCH", syntax);
        check("LIST COUNT 0", "ERR value is not an integer from 1 to 1000");
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
        let check = |action: QuotaAction, expect: &str| {
            let name = String::from_utf8(override_key(b"k").to_vec()).unwrap();
            let text = String::from_utf8(action.command(b"k", "me").join(&b' ')).unwrap();
            assert_eq!(text, expect.replace("OVERRIDE", &name));
        };
        check(QuotaAction::Limit(7), "HSET OVERRIDE limit 7 limit_by me");
        check(QuotaAction::Reset, "DEL OVERRIDE");
        check(QuotaAction::Pause, "HSET OVERRIDE paused 1 paused_by me");
        check(QuotaAction::Resume, "HDEL OVERRIDE paused paused_by");
    }

    #[test]
    fn a_change_has_to_fit_the_quota() {
        let text = "[[quota]]\nmatch='sku:*'\nlimit=5\n[[quota]]\nmatch='stock:*'\nfloor=0\n\
                    [[quota]]\nmatch='rate:*'\nlimit_key='limits'\nwindow='1s'\n";
        let rules = QuotaRules::compile(&Config::parse(text).unwrap().quotas);
        let check = |key: &str, action: QuotaAction, expect: Option<&str>| {
            let found = action.check(key.as_bytes(), rules.of(key.as_bytes()).as_ref()).err();
            assert_eq!(found.is_some(), expect.is_some(), "{key} {action:?}: {found:?}");
            assert!(found.unwrap_or_default().contains(expect.unwrap_or_default()), "{key} {action:?}");
        };
        check("sku:1", QuotaAction::Limit(7), None);
        check("sku:1", QuotaAction::Limit(-7), Some("is not an integer from 0"));
        check("sku:1", QuotaAction::Limit(CLAMP_VALUE_MAX + 1), Some("to 4503599627370496"));
        check("stock:1", QuotaAction::Limit(-7), None);
        check("stock:1", QuotaAction::Limit(i64::MIN), Some("from -4503599627370496"));
        check("rate:1", QuotaAction::Limit(7), Some("'rate:1' is held per window only"));
        check("rate:1", QuotaAction::Pause, None);
        check("x", QuotaAction::Limit(5), Some("no quota holds 'x'"));
        check("x", QuotaAction::Pause, Some("no quota holds 'x'"));
        check("x", QuotaAction::Reset, None);
        check("x", QuotaAction::Resume, None);
    }
}
