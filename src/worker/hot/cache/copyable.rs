//! Which commands' replies may be copied: reads of one key whose reply depends on the key and the request alone.
//!
//! Decides by the command's name, arguments and protocol version. Knows nothing of keys, rules or clients.

use crate::combine::Foldable;
use crate::command::CommandTable;
use crate::config::ReadPolicy;
use crate::resp::RespVersion;

/// Whether replies of a command may be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copyable {
    /// No: it is no read of one key, or its reply changes by itself.
    Never,
    /// Yes.
    Always,
    /// Yes; but with more arguments than these the RESP2 reply can't be told from the RESP3 one, in which alone
    /// Redis sends invalidations.
    InResp2UpTo(usize),
}

impl Copyable {
    /// By command.
    pub fn of_all(commands: &CommandTable) -> Vec<Self> {
        let mut all = vec![Self::Never; commands.len()];
        for (id, command) in commands.iter() {
            all[id.index()] = Self::by_name(command.name.as_bytes());
        }
        all
    }

    fn by_name(name: &[u8]) -> Self {
        // Runs of equal reads fold for the same reason: the reply depends on the key and the request alone.
        match Foldable::by_name(name) {
            Some(Foldable::Get | Foldable::Hget | Foldable::Read | Foldable::ScalarRead) => {}
            _ => return Self::Never,
        }
        match name.to_ascii_lowercase().as_slice() {
            b"ttl" | b"pttl" => Self::Never,
            // A missing member is a null array in RESP2, and coordinates are doubles inside of arrays in RESP3.
            b"geopos" | b"geosearch" => Self::InResp2UpTo(0),
            // WITHSCORE and WITHSCORES make pairs in RESP3 and a flat array in RESP2.
            b"zrank" | b"zrevrank" => Self::InResp2UpTo(3),
            name if name.starts_with(b"zrange") || name.starts_with(b"zrevrange") => Self::InResp2UpTo(4),
            _ => Self::Always,
        }
    }

    /// Whether that of a request with so many arguments may be, under a rule of this kind.
    pub fn admits(self, arguments: usize, version: RespVersion, policy: ReadPolicy) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::InResp2UpTo(most) => {
                version == RespVersion::Resp3 || policy != ReadPolicy::Tracked || arguments <= most
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_by_itself_is_not_copied() {
        let check = |name: &str, expected| assert_eq!(Copyable::by_name(name.as_bytes()), expected, "{name}");
        for name in ["get", "HGET", "hgetall", "smembers", "lrange", "zscore", "expiretime", "strlen", "type"]
        {
            check(name, Copyable::Always);
        }
        for name in
            ["ttl", "pttl", "srandmember", "hrandfield", "zrandmember", "object|idletime", "set", "getex"]
        {
            check(name, Copyable::Never);
        }
        for name in ["dump", "randomkey", "scan", "hscan", "mget", "exists", "incr", "eval_ro"] {
            check(name, Copyable::Never);
        }
        check("zrange", Copyable::InResp2UpTo(4));
        check("zrevrangebyscore", Copyable::InResp2UpTo(4));
        check("zrank", Copyable::InResp2UpTo(3));
        check("geopos", Copyable::InResp2UpTo(0));
    }
}
