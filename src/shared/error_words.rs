//! What a server's error says, short enough to be kept for each node: it tells people what kind of error there is most of.
//!
//! Deliberately drops what may name data: everything from the first quotation mark or colon on.

/// The longest that is kept, in bytes: above the texts of Redis's common errors.
const BYTES_MAX: usize = 79;

/// The beginning of an error reply. Empty where there was none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ErrorWords {
    bytes: [u8; BYTES_MAX],
    len: u8,
}

impl ErrorWords {
    /// Those of an error reply.
    #[cold]
    pub fn of_reply(reply: &[u8]) -> Self {
        let text = reply.strip_prefix(b"-").unwrap_or(reply);
        let is_word = |byte: &&u8| (b' '..=b'~').contains(*byte) && !b"\"`:".contains(*byte);
        let mut len = text.iter().take(BYTES_MAX + 1).take_while(is_word).count();
        // An apostrophe within a word is none that quotes.
        len = text[..len].windows(2).position(|pair| pair == b" '").unwrap_or(len);
        if len > BYTES_MAX {
            len = text[..BYTES_MAX].iter().rposition(|byte| *byte == b' ').unwrap_or(BYTES_MAX);
        }
        let kept = text[..len].trim_ascii_end();
        let mut words = Self::default();
        words.bytes[..kept.len()].copy_from_slice(kept);
        // At most BYTES_MAX, so it fits.
        words.len = kept.len() as u8;
        words
    }

    /// As text: `WRONGTYPE Operation against a key ...`.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl Default for ErrorWords {
    fn default() -> Self {
        Self { bytes: [0; BYTES_MAX], len: 0 }
    }
}

impl std::fmt::Debug for ErrorWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_words_and_lose_what_they_name() {
        let long = format!("-ERR {}", "word ".repeat(30));
        for (reply, expected) in [
            (
                "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
                "WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
            (
                "-CROSSSLOT Keys in request don't hash to the same slot\r\n",
                "CROSSSLOT Keys in request don't hash to the same slot",
            ),
            ("-ERR unknown command 'x', with args beginning with: 'secret'\r\n", "ERR unknown command"),
            ("-ERR bad key \"sku\"\r\n", "ERR bad key"),
            ("-ERR\u{7f} x\r\n", "ERR"),
            ("-\r\n", ""),
            (&long[..], &format!("ERR {}word", "word ".repeat(14))[..]),
        ] {
            assert_eq!(ErrorWords::of_reply(reply.as_bytes()).text(), expected, "{reply}");
        }
    }
}
