//! Error replies by the word with which they begin, as Redis counts them for `INFO errorstats`: `ERR`, `WRONGTYPE`, `OOM`, ...
//!
//! A script words its errors as it likes, so the number of words is bounded, and so is their length; what is beyond is counted together.

/// The longest word that is kept apart, in bytes.
const CODE_BYTES_MAX: usize = 32;

/// Words kept apart, as many as Redis keeps.
const CODES_MAX: usize = 128;

/// Errors of a server that did not run a command, as its state or its rights were. Others say that it was run and failed, or was malformed.
const REJECTIONS: [&str; 13] = [
    "NOPERM",
    "NOAUTH",
    "OOM",
    "READONLY",
    "MISCONF",
    "LOADING",
    "BUSY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "NOREPLICAS",
    "CROSSSLOT",
    "TRYAGAIN",
    "EXECABORT",
];

/// The first word of an error reply.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode {
    bytes: [u8; CODE_BYTES_MAX],
    len: u8,
}

impl ErrorCode {
    /// That of an error reply. A word that is empty or too long has none of its own, and is empty here.
    #[cold]
    pub fn of_reply(reply: &[u8]) -> Self {
        let text = reply.strip_prefix(b"-").unwrap_or(reply);
        let len = text.iter().position(|byte| matches!(byte, b' ' | b'\r' | b'\n')).unwrap_or(text.len());
        let mut code = Self { bytes: [0; CODE_BYTES_MAX], len: 0 };
        if len <= CODE_BYTES_MAX {
            for (kept, byte) in code.bytes.iter_mut().zip(&text[..len]) {
                // What would break the lines of `INFO`, and of what reads them.
                *kept = if byte.is_ascii_graphic() && !b":=,#\"\\".contains(byte) { *byte } else { b'_' };
            }
            code.len = len as u8;
        }
        code
    }

    /// The word; empty for one that is not kept apart.
    pub fn word(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }

    /// The server says that it did not run the command.
    pub fn is_rejection(&self) -> bool {
        REJECTIONS.contains(&self.word())
    }
}

impl std::fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.word())
    }
}

/// How many errors began with each word.
#[derive(Clone, Debug, Default)]
pub struct ErrorCodes {
    rows: Vec<(ErrorCode, u64)>,
    others: u64,
}

impl ErrorCodes {
    /// Counts so many. Only errors pay for the search, and most are among the first few.
    #[cold]
    pub fn count(&mut self, code: ErrorCode, errors: u64) {
        let has_room = code.len > 0 && self.rows.len() < CODES_MAX;
        match self.rows.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += errors,
            None if has_room => self.rows.push((code, errors)),
            None => self.others += errors,
        }
    }

    /// Each word with its number, in the order of the words.
    pub fn sorted(&self) -> Vec<(&str, u64)> {
        let mut rows: Vec<_> = self
            .rows
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(code, count)| (code.word(), *count))
            .collect();
        rows.sort_unstable();
        rows
    }

    /// Those whose word is not kept apart.
    pub fn others(&self) -> u64 {
        self.others
    }

    /// Adds what another worker counted.
    pub fn merge(&mut self, other: &Self) {
        other.rows.iter().for_each(|(code, count)| self.count(*code, *count));
        self.others += other.others;
    }

    /// What was counted since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |code: &ErrorCode| {
            earlier.rows.iter().find(|(known, _)| known == code).map_or(0, |(_, count)| *count)
        };
        let rows =
            self.rows.iter().map(|(code, count)| (*code, count.saturating_sub(before(code)))).collect();
        Self { rows, others: self.others.saturating_sub(earlier.others) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_of_an_error_is_its_code() {
        let long = format!("-{} x\r\n", "E".repeat(33));
        for (reply, expected) in [
            ("-ERR syntax error\r\n", "ERR"),
            ("-WRONGTYPE Operation\r\n", "WRONGTYPE"),
            ("-ERR\r\n", "ERR"),
            ("-a:b=c,d e\r\n", "a_b_c_d"),
            ("-\u{e9}t\u{e9}\r\n", "__t__"),
            ("-\r\n", ""),
            (&long, ""),
        ] {
            assert_eq!(ErrorCode::of_reply(reply.as_bytes()).word(), expected, "{reply}");
        }
        assert!(ErrorCode::of_reply(b"-OOM command not allowed\r\n").is_rejection());
        assert!(!ErrorCode::of_reply(b"-WRONGTYPE x\r\n").is_rejection());
    }

    #[test]
    fn words_beyond_the_bound_are_counted_together() {
        let mut codes = ErrorCodes::default();
        for number in 0..CODES_MAX + 5 {
            codes.count(ErrorCode::of_reply(format!("-E{number} x\r\n").as_bytes()), 2);
        }
        codes.count(ErrorCode::of_reply(b"-\r\n"), 1);
        codes.count(ErrorCode::of_reply(b"-E0 y\r\n"), 1);
        assert_eq!((codes.sorted().len(), codes.others()), (CODES_MAX, 11));
        assert_eq!(codes.sorted().first(), Some(&("E0", 3)));
        let earlier = codes.clone();
        codes.count(ErrorCode::of_reply(b"-E1 y\r\n"), 4);
        assert_eq!(codes.since(&earlier).sorted(), [("E1", 4)]);
    }
}
