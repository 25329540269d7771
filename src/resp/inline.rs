//! Requests typed by hand: `SET key "a value"`.
//!
//! Owns the quoting rules, which are those of `sdssplitargs` in Redis' `sds.c`. Deliberately does not find the end
//! of the line; the request scanner does.

/// Splits a line into words, quotes and escapes resolved. `None` if a quote is not closed, or is closed with
/// something other than a blank behind it. The line must not hold a NUL byte, which ends a line in Redis.
///
/// - `"..."` knows `\n \r \t \b \a \xHH`; any other escaped byte stands for itself;
/// - `'...'` knows only `\'`;
/// - a quote may open in the middle of a word (`a"b c"` is one word), and closing it ends the word;
/// - vertical tab and form feed separate words as a blank does, but do not end one that has begun.
pub fn split_args(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = skip_blanks(line);
    while !rest.is_empty() {
        let mut word = Vec::new();
        rest = skip_blanks(take_word(rest, &mut word)?);
        words.push(word);
    }
    Some(words)
}

/// Takes the word that the line begins with and returns what is behind it.
fn take_word<'a>(mut line: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match line {
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Some(line),
            [b'"', quoted @ ..] => return take_double_quoted(quoted, word),
            [b'\'', quoted @ ..] => return take_single_quoted(quoted, word),
            [byte, rest @ ..] => {
                word.push(*byte);
                line = rest;
            }
        }
    }
}

fn take_double_quoted<'a>(mut line: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, rest) = match line {
            [] => return None,
            [b'"', rest @ ..] => return blank_or_end(rest),
            [b'\\', b'x', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex_digit(*high) * 16 + hex_digit(*low), rest)
            }
            [b'\\', escaped, rest @ ..] => (unescape(*escaped), rest),
            [byte, rest @ ..] => (*byte, rest),
        };
        word.push(byte);
        line = rest;
    }
}

fn take_single_quoted<'a>(mut line: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, rest) = match line {
            [] => return None,
            [b'\\', b'\'', rest @ ..] => (b'\'', rest),
            [b'\'', rest @ ..] => return blank_or_end(rest),
            [byte, rest @ ..] => (*byte, rest),
        };
        word.push(byte);
        line = rest;
    }
}

/// The text behind a closing quote, if it may stand there.
fn blank_or_end(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(|&byte| is_blank(byte)).then_some(rest)
}

fn skip_blanks(line: &[u8]) -> &[u8] {
    let blanks = line.iter().take_while(|&&byte| is_blank(byte)).count();
    &line[blanks..]
}

/// `isspace` of C; Rust's `is_ascii_whitespace` leaves out the vertical tab.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn unescape(escaped: u8) -> u8 {
    match escaped {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

/// The value of a byte that is known to be a hexadecimal digit.
fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::split_args;

    #[test]
    fn splits_as_sdssplitargs_does() {
        let check = |line: &str, expect: Option<&[&[u8]]>| {
            let words = split_args(line.as_bytes());
            let words = words.as_ref().map(|words| words.iter().map(Vec::as_slice).collect::<Vec<_>>());
            assert_eq!(words.as_deref(), expect, "{line:?}");
        };
        check("", Some(&[]));
        check(" \t\x0b\x0c\r ", Some(&[]));
        check("PING", Some(&[b"PING"]));
        check("  SET  key\tvalue ", Some(&[b"SET", b"key", b"value"]));
        check("a\x0bb \x0bc", Some(&[b"a\x0bb", b"c"]));
        check("a\rb", Some(&[b"a", b"b"]));
        check(r#"SET k "a b""#, Some(&[b"SET", b"k", b"a b"]));
        check(r#""" ''"#, Some(&[b"", b""]));
        check(r#"a"b c" d'e f'"#, Some(&[b"ab c", b"de f"]));
        check("\"a\"\x0bb", Some(&[b"a", b"b"]));
        check(r#""\n\r\t\b\a\q\\\"""#, Some(&[b"\n\r\t\x08\x07q\\\""]));
        check(r#""\x41\xfF\xg1\x4""#, Some(&[b"A\xffxg1x4"]));
        check(r"'\n\'\\ '", Some(&[b"\\n'\\\\ "]));
        check(r"a\ b", Some(&[b"a\\", b"b"]));
        for unbalanced in
            [r#"""#, "'", r#""a"#, "'a", r#""a"b"#, "'a'b", r#""a\"#, r#""a\""#, r"'a\'", r"'a\\'", r#"""""#]
        {
            check(unbalanced, None);
        }
    }
}
