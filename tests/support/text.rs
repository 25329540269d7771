//! Command lines and replies as text that a person can read in a table or in a failure.

/// The words of a command line. Words are separated by spaces; a word in double quotes may hold spaces and the escapes
/// `\r \n \t \\ \" \xHH`, as in `redis-cli`.
pub fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = line.as_bytes();
    loop {
        while let [b' ', tail @ ..] = rest {
            rest = tail;
        }
        match rest {
            [] => return words,
            [b'"', tail @ ..] => {
                let (word, tail) = quoted(tail);
                words.push(word);
                rest = tail;
            }
            _ => {
                let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
                words.push(rest[..end].to_vec());
                rest = &rest[end..];
            }
        }
    }
}

fn quoted(mut rest: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut word = Vec::new();
    loop {
        match rest {
            [b'"', tail @ ..] => return (word, tail),
            [b'\\', b'x', high, low, tail @ ..] => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).expect("hexadecimal digits");
                word.push(u8::from_str_radix(digits, 16).expect("hexadecimal digits"));
                rest = tail;
            }
            [b'\\', letter, tail @ ..] => {
                word.push(match letter {
                    b'r' => b'\r',
                    b'n' => b'\n',
                    b't' => b'\t',
                    other => *other,
                });
                rest = tail;
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
            [] => panic!("a quote is not closed"),
        }
    }
}

/// A request as RESP multibulk.
pub fn encode(arguments: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        let argument = argument.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The request of a command line (see [`words`]).
pub fn request(line: &str) -> Vec<u8> {
    encode(&words(line))
}

/// The bytes of a reply with everything that is not printable escaped, shortened in the middle when it is long.
pub fn shown(bytes: &[u8]) -> String {
    const WHOLE_BYTES_MAX: usize = 600;
    if bytes.len() <= WHOLE_BYTES_MAX {
        return bytes.escape_ascii().to_string();
    }
    let (head, tail) = (&bytes[..WHOLE_BYTES_MAX / 2], &bytes[bytes.len() - WHOLE_BYTES_MAX / 2..]);
    format!("{} ... {} bytes in all ... {}", head.escape_ascii(), bytes.len(), tail.escape_ascii())
}

/// A reply on one line: each `\r\n` is a space, the last one nothing, and what is not printable is escaped. So
/// `*2 $1 a $1 b` is an array of two bulks.
pub fn one_line(reply: &[u8]) -> String {
    let text = reply.escape_ascii().to_string();
    let text = text.replace("\\r\\n", " ").replace("\\'", "'").replace("\\\"", "\"");
    text.strip_suffix(' ').unwrap_or(&text).to_string()
}

/// The strings and integers of a reply in their order, nesting ignored.
pub fn elements(reply: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = reply;
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let (line, tail) = (&rest[..end], &rest[end + 2..]);
        rest = tail;
        let value = String::from_utf8_lossy(&line[1..]).into_owned();
        match line[0] {
            b'$' | b'=' if !value.starts_with('-') => {
                let length: usize = value.parse().unwrap();
                found.push(String::from_utf8_lossy(&rest[..length]).into_owned());
                rest = &rest[length + 2..];
            }
            b'+' | b':' | b'-' | b',' | b'#' => found.push(value),
            _ => {}
        }
    }
    found
}
