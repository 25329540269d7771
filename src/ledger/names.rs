//! Names of SKUs and users as text that every database takes.
//!
//! Redis's names are bytes; text in SQL is UTF-8 without NUL. Almost every name is text already and stays as it is. Of others, each byte that
//! is no text is written `\xNN`, and a backslash is doubled, so that no two names become one.

use std::fmt::Write;

/// The text of a name.
pub fn text_of(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\\' => text.push_str("\\\\"),
                '\0' => text.push_str("\\x00"),
                other => text.push(other),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The name of a text that [`text_of`] wrote.
pub fn name_of(text: &str) -> Vec<u8> {
    let mut name = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let hex = behind.get(1..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = hex.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, behind.first(), escaped) {
            (b'\\', Some(b'\\'), _) => {
                name.push(b'\\');
                rest = &behind[1..];
            }
            (b'\\', Some(b'x'), Some(escaped)) => {
                name.push(escaped);
                rest = &behind[3..];
            }
            _ => {
                name.push(byte);
                rest = behind;
            }
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_stays_and_other_bytes_are_escaped() {
        for (name, text) in [
            (&b"mask"[..], "mask"),
            ("{8421}:bücher".as_bytes(), "{8421}:bücher"),
            (b"a\0b", "a\\x00b"),
            (b"a\xffb\\", "a\\xffb\\\\"),
            (b"\\x00", "\\\\x00"),
        ] {
            assert_eq!(text_of(name), text);
            assert_eq!(name_of(text), name);
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name: Vec<u8>) {
            let text = text_of(&name);
            prop_assert!(!text.contains('\0'));
            prop_assert_eq!(name_of(&text), name);
        }
    }
}
