//! Which commands may touch a key under a quota without passing through the clamp.
//!
//! The clamp is in the flush. Only `INCR`, `DECR`, `INCRBY` and `DECRBY` outside of `MULTI` pass through it. Any other write
//! would bypass the quota, so it is refused, with these exceptions:
//!
//! - Commands that delete the counter or change its expiry (`DEL`, `UNLINK`, `GETDEL`, `EXPIRE` and its kin, `PERSIST`,
//!   `GETEX`). An operator opens a sale anew with them; a buyer gains nothing by them.
//! - For stock that is counted down: commands that set a whole value (`SET`, `SETEX`, `PSETEX`, `SETNX`, `GETSET`, `MSET`,
//!   `MSETNX`). Stock is filled with them. Under a ceiling they would overwrite reservations, so there they are refused.
//! - Reads. `EVAL_RO` and `FCALL_RO` count as reads, because Redis refuses their writes.
//!
//! `EVAL`, `EVALSHA` and `FCALL` that name the key are refused, because the gateway cannot know what they write. A counter
//! command in `MULTI` is refused too, because Redis would run it at `EXEC` without the clamp. It fails when it is queued, and
//! `EXEC` answers `EXECABORT`, as for any command that could not be queued. The list names what is allowed, so a write command
//! that a later Redis adds is refused.
//!
//! A shadow quota refuses none of these. The gateway does not see scripts that touch a counter without naming it in
//! `KEYS`, nor clients that go to Redis directly.

use super::refusal::shown;

/// Where a command stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandContext {
    /// By itself.
    Alone,
    /// Between `MULTI` and `EXEC`.
    Transaction,
}

/// The verdict on a command that names a key under a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherCommand {
    /// It goes the ordinary way.
    Allow,
    /// Refused with [`OtherCommand::error`]: it would pass by the quota.
    Refuse,
    /// Refused with [`OtherCommand::error`]: counting within a transaction cannot be clamped.
    RefuseInTransaction,
}

/// The error, without the leading `-`, for a counter command whose delta does not parse: what Redis 7 answers. It must not
/// be forwarded, since older servers read numbers (`+5`) that newer ones do not.
pub const MALFORMED_DELTA: &str = "ERR value is not an integer or out of range";

const COUNTING: &[&[u8]] = &[b"incr", b"decr", b"incrby", b"decrby"];

const REMOVING_OR_EXPIRING: &[&[u8]] =
    &[b"del", b"unlink", b"getdel", b"expire", b"pexpire", b"expireat", b"pexpireat", b"persist", b"getex"];

const FILLING: &[&[u8]] = &[b"set", b"setex", b"psetex", b"setnx", b"getset", b"mset", b"msetnx"];

/// The verdict on a command, by its name in any case, that names a key under an enforced quota. `writes` is what the
/// command table says of it, and `counts_down` whether the quota is for stock. A counter command by itself that reached
/// here did not parse; see [`MALFORMED_DELTA`].
pub fn verdict_of_other_command(
    name: &[u8],
    writes: bool,
    counts_down: bool,
    context: CommandContext,
) -> OtherCommand {
    let among = |list: &[&[u8]]| list.iter().any(|known| known.eq_ignore_ascii_case(name));
    if among(COUNTING) {
        return match context {
            CommandContext::Alone => OtherCommand::Refuse,
            CommandContext::Transaction => OtherCommand::RefuseInTransaction,
        };
    }
    // The table does not call these writes: what they do is known to their scripts only.
    let script = among(&[b"eval", b"evalsha", b"fcall"]);
    if !(writes || script) || among(REMOVING_OR_EXPIRING) || (counts_down && among(FILLING)) {
        return OtherCommand::Allow;
    }
    OtherCommand::Refuse
}

impl OtherCommand {
    /// The error, without the leading `-`; nothing for what is allowed.
    pub fn error(self, name: &[u8], key: &[u8]) -> Option<String> {
        let name = name.to_ascii_uppercase();
        let (name, key) = (name.escape_ascii(), shown(key));
        match self {
            Self::Allow => None,
            Self::Refuse => Some(format!(
                "QUOTA {name} is refused for {key}: it would pass by the quota; only INCR, DECR, INCRBY and DECRBY can be held to it"
            )),
            Self::RefuseInTransaction => Some(format!(
                "QUOTA {name} is refused for {key} within MULTI: the quota cannot be held there; send it by itself"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_clamped_is_refused() {
        use OtherCommand::*;
        let check = |line: &str, writes: bool, ceiling: OtherCommand, floor: OtherCommand| {
            for name in line.split(' ') {
                for context in [CommandContext::Alone, CommandContext::Transaction] {
                    let verdict = |down| verdict_of_other_command(name.as_bytes(), writes, down, context);
                    assert_eq!((verdict(false), verdict(true)), (ceiling, floor), "{name} {context:?}");
                }
            }
        };
        check(
            "GET MGET STRLEN TTL EXISTS TYPE OBJECT|ENCODING DUMP EVAL_RO FCALL_RO WATCH",
            false,
            Allow,
            Allow,
        );
        check("DEL UNLINK GETDEL EXPIRE PEXPIRE EXPIREAT PEXPIREAT PERSIST GETEX del", true, Allow, Allow);
        check("SET SETEX PSETEX SETNX GETSET MSET MSETNX set", true, Refuse, Allow);
        check("INCRBYFLOAT APPEND SETRANGE SETBIT BITFIELD BITOP INCREX MSETEX DELEX", true, Refuse, Refuse);
        check("RENAME RENAMENX COPY MOVE RESTORE MIGRATE SORT HINCRBY LPUSH PFADD", true, Refuse, Refuse);
        check("EVAL EVALSHA FCALL", false, Refuse, Refuse);
        check("AFUTURECOMMAND", true, Refuse, Refuse);
    }

    #[test]
    fn counting_within_a_transaction_has_its_own_error() {
        for name in [b"incr".as_slice(), b"DECR", b"IncrBy", b"DECRBY"] {
            let verdict = |context| verdict_of_other_command(name, true, false, context);
            assert_eq!(verdict(CommandContext::Alone), OtherCommand::Refuse);
            let error = verdict(CommandContext::Transaction).error(name, b"a\n").unwrap();
            assert!(error.starts_with("QUOTA ") && error.contains("'a\\n' within MULTI"), "{error}");
        }
        assert_eq!(OtherCommand::Allow.error(b"del", b"k"), None);
        let error = OtherCommand::Refuse.error(b"set", b"k").unwrap();
        assert!(error.starts_with("QUOTA SET is refused for 'k': it would pass by"), "{error}");
    }
}
