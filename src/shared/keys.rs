//! How a key is written where people read it: labels, JSON, the dashboard, logs.
//!
//! A key is arbitrary bytes. Its text form shows printable UTF-8 as it is and every other byte as `\xNN`; a
//! backslash is doubled, so that the form can be read back without loss. Characters that could deceive a
//! reader (controls, line breaks, invisible and direction-changing ones) count as not printable. The form is
//! bounded, since Redis keys may be 512 MiB.

use sha1_smol::Sha1;

/// Bytes of a key that its text form shows. Longer keys end in `…#` and eight digits of their SHA-1, which
/// keeps two long keys with the same beginning apart.
const SHOWN_BYTES_MAX: usize = 200;

/// Whether metric labels carry the names of keys or stand-ins for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeyNames {
    /// The text form.
    #[default]
    Plain,
    /// `h:` and twelve digits of SHA-1 over this salt and the key, for metrics stores that must not hold key
    /// names.
    Hashed(String),
}

impl KeyNames {
    /// The value of a `key` label.
    pub fn label(&self, key: &[u8]) -> String {
        match self {
            Self::Plain => text(key),
            Self::Hashed(salt) => {
                let mut sha = Sha1::new();
                sha.update(salt.as_bytes());
                sha.update(key);
                format!("h:{}", &sha.digest().to_string()[..12])
            }
        }
    }

    /// The text of an error, which may quote a key.
    pub fn in_error(&self, error: &str) -> String {
        match self {
            Self::Plain => error.to_owned(),
            Self::Hashed(_) => without_quoted(error),
        }
    }
}

/// A text without what stands between its first and its last apostrophe: what is quoted may hold apostrophes itself.
pub fn without_quoted(text: &str) -> String {
    match (text.find('\''), text.rfind('\'')) {
        (Some(first), Some(last)) if first < last => format!("{}(hidden){}", &text[..=first], &text[last..]),
        _ => text.to_owned(),
    }
}

/// The text form of a key.
pub fn text(key: &[u8]) -> String {
    let shown = &key[..key.len().min(SHOWN_BYTES_MAX)];
    let mut out = String::with_capacity(shown.len() + 8);
    for chunk in shown.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' {
                out.push_str("\\\\");
            } else if is_plain(c) {
                out.push(c);
            } else {
                push_escaped(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        push_escaped(&mut out, chunk.invalid());
    }
    if shown.len() < key.len() {
        out.push_str("…#");
        out.push_str(&Sha1::from(key).digest().to_string()[..8]);
    }
    out
}

/// The key that [`text`] made this of; `None` for what it does not make (a key cut short reads back as
/// another key, which nothing holds).
pub fn parse(text: &str) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            key.push(byte);
            continue;
        }
        match rest {
            [b'\\', tail @ ..] => {
                key.push(b'\\');
                rest = tail;
            }
            [b'x', high, low, tail @ ..] => {
                key.push((hex(*high)? << 4) | hex(*low)?);
                rest = tail;
            }
            _ => return None,
        }
    }
    Some(key)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

fn push_escaped(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        out.push_str(&format!("\\x{byte:02x}"));
    }
}

/// Whether a reader sees the character as what it is.
fn is_plain(c: char) -> bool {
    let deceptive = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{10ffff}');
    c == ' ' || !(c.is_control() || c.is_whitespace() || deceptive)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_of_keys() {
        for (key, expect) in [
            (&b"sku:{8421}:reserved"[..], "sku:{8421}:reserved"),
            ("grüße 購物車".as_bytes(), "grüße 購物車"),
            (b"a\\b", "a\\\\b"),
            (b"\x00\xff\r\n", "\\x00\\xff\\x0d\\x0a"),
            (b"<script>alert(1)</script>", "<script>alert(1)</script>"),
            ("evil\u{202e}gpj.exe".as_bytes(), "evil\\xe2\\x80\\xaegpj.exe"),
            (b"caf\xc3", "caf\\xc3"),
            (b"", ""),
        ] {
            assert_eq!(text(key), expect);
            assert_eq!(parse(expect).as_deref(), Some(key));
        }
    }

    #[test]
    fn errors_lose_what_they_quote() {
        for (error, expect) in [
            ("ERR no 'a'b' here", "ERR no '(hidden)' here"),
            ("ERR it's", "ERR it's"),
            ("ERR none", "ERR none"),
            ("'", "'"),
        ] {
            assert_eq!(without_quoted(error), expect);
            assert_eq!(KeyNames::Plain.in_error(error), error);
        }
    }

    #[test]
    fn what_text_never_makes_is_not_a_key() {
        for bad in ["\\", "a\\q", "\\x4", "\\xzz"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn long_keys_are_cut_and_stay_apart() {
        let (left, mut right) = (vec![b'k'; 5_000], vec![b'k'; 5_000]);
        right[4_999] = b'x';
        assert!(text(&left).len() < 256);
        assert_ne!(text(&left), text(&right));
    }

    #[test]
    fn hashed_labels_depend_on_the_salt_and_hide_the_key() {
        let (a, b) = (KeyNames::Hashed("a".into()), KeyNames::Hashed("b".into()));
        assert_ne!(a.label(b"secret"), b.label(b"secret"));
        assert!(!a.label(b"secret").contains("secret"));
    }

    proptest! {
        #[test]
        fn text_reads_back(key in proptest::collection::vec(any::<u8>(), 0..=SHOWN_BYTES_MAX)) {
            prop_assert_eq!(parse(&text(&key)), Some(key));
        }
    }
}
