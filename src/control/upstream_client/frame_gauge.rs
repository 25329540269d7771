//! Finds the end of one RESP2 reply, and refuses one that nests too deep, before anything recursive sees it.
//!
//! redis-protocol decodes arrays by recursion, and a server can be made to send a reply nested thousands deep. The gauge
//! walks the bytes once, keeps its place between reads, and holds one counter per open array, as many as the limit.

use smallvec::SmallVec;

/// Arrays within arrays that a reply may have. The deepest reply that is asked for here, `COMMAND`, has seven: commands,
/// a command, its subcommands, a subcommand, its key specifications, one of them, and the parts of that.
pub const DEPTH_MAX: usize = 16;

/// Why the bytes cannot be handed to the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaugeError {
    /// More than [`DEPTH_MAX`] arrays within each other.
    TooDeep,
    /// Not RESP2.
    Malformed,
}

/// The place reached in one reply.
#[derive(Debug, Default)]
pub struct FrameGauge {
    position: usize,
    /// Bytes behind it that are known not to end its line.
    searched: usize,
    /// For each open array, the elements still due.
    due: SmallVec<[u64; DEPTH_MAX]>,
}

impl FrameGauge {
    /// Goes on through `buf`, which starts at the first byte of the reply and holds at least what it held at the last
    /// call. Returns the length of the reply once all of it is there.
    pub fn advance(&mut self, buf: &[u8]) -> Result<Option<usize>, GaugeError> {
        loop {
            let rest = &buf[self.position.min(buf.len())..];
            let Some(found) = memchr::memchr(b'\n', &rest[self.searched.min(rest.len())..]) else {
                self.searched = rest.len();
                return Ok(None);
            };
            let line_len = self.searched + found;
            self.searched = 0;
            let line = rest[..line_len].strip_suffix(b"\r").ok_or(GaugeError::Malformed)?;
            let (kind, content) = line.split_first().ok_or(GaugeError::Malformed)?;
            let element_len = match kind {
                b'+' | b'-' | b':' => line_len + 1,
                b'$' => match length(content)? {
                    None => line_len + 1,
                    Some(bulk_len) => line_len + 1 + bulk_len as usize + 2,
                },
                b'*' => {
                    let elements = length(content)?.unwrap_or(0);
                    if elements > 0 {
                        if self.due.len() == DEPTH_MAX {
                            return Err(GaugeError::TooDeep);
                        }
                        self.position += line_len + 1;
                        self.due.push(elements);
                        continue;
                    }
                    line_len + 1
                }
                _ => return Err(GaugeError::Malformed),
            };
            if rest.len() < element_len {
                return Ok(None);
            }
            self.position += element_len;
            if self.settle_element() {
                return Ok(Some(self.position));
            }
        }
    }

    /// Counts one whole element, which may be the last of its array, and that of the one around it. True when the reply
    /// is whole.
    fn settle_element(&mut self) -> bool {
        while let Some(due) = self.due.last_mut() {
            *due -= 1;
            if *due > 0 {
                return false;
            }
            self.due.pop();
        }
        true
    }
}

/// A length line: digits, or `-1` for null.
fn length(digits: &[u8]) -> Result<Option<u64>, GaugeError> {
    if digits == b"-1" {
        return Ok(None);
    }
    // Ten digits hold every length Redis can send and cannot overflow.
    if digits.is_empty() || digits.len() > 10 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(GaugeError::Malformed);
    }
    Ok(Some(digits.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever way the bytes are split, the gauge says the same.
    fn check(input: &[u8], expect: Result<Option<usize>, GaugeError>) {
        assert_eq!(FrameGauge::default().advance(input), expect, "{}", input.escape_ascii());
        let mut resumed = FrameGauge::default();
        let mut last = Ok(None);
        for end in 0..=input.len() {
            last = resumed.advance(&input[..end]);
            if last != Ok(None) {
                break;
            }
        }
        assert_eq!(last, expect, "byte by byte: {}", input.escape_ascii());
    }

    #[test]
    fn replies_end_where_they_end() {
        check(b"", Ok(None));
        check(b"+OK\r\n", Ok(Some(5)));
        check(b"+OK\r\n+next\r\n", Ok(Some(5)));
        check(b"-ERR no\r\n", Ok(Some(9)));
        check(b"$3\r\na\r\n\r\n", Ok(Some(9)));
        check(b"$3\r\nab", Ok(None));
        check(b"$-1\r\n", Ok(Some(5)));
        check(b"*-1\r\n", Ok(Some(5)));
        check(b"*0\r\n", Ok(Some(4)));
        check(b"*2\r\n*1\r\n:1\r\n*0\r\n", Ok(Some(16)));
        check(b"*2\r\n*1\r\n:1\r\n", Ok(None));
    }

    #[test]
    fn what_is_no_resp2_is_refused() {
        for bad in [
            &b"\r\n"[..],
            b"+OK\n",
            b"%1\r\n",
            b"$\r\n",
            b"$-2\r\n",
            b"*1x\r\n",
            b"$99999999999\r\n",
            b"HTTP/1.1 400\r\n",
        ] {
            check(bad, Err(GaugeError::Malformed));
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| [b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat();
        check(&nested(DEPTH_MAX), Ok(Some(4 * DEPTH_MAX + 4)));
        check(&nested(DEPTH_MAX + 1), Err(GaugeError::TooDeep));
        check(&nested(100_000), Err(GaugeError::TooDeep));
    }
}
