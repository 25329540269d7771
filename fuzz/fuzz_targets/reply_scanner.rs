//! Throws bytes at the reply scanner, and at all that looks into a reply, and holds them to what must be true of any input: no panic,
//! no range outside of what was read, and the same result however the bytes were cut.

#![no_main]

use hotgate::resp::{ReplyScan, ReplyScanner, bulk_payload, elements, first_error, parse_integer_reply};
use libfuzzer_sys::fuzz_target;

// The first byte of the input chooses how large the pieces are.
fuzz_target!(|input: &[u8]| {
    let Some((&piece, stream)) = input.split_first() else { return };
    let piece = usize::from(piece % 16) + 1;
    assert_eq!(replies(stream, stream.len()), replies(stream, piece));
    look_into(stream);
});

/// The lengths of all replies in the stream, and what was expected where they end, if anything.
fn replies(stream: &[u8], piece: usize) -> (Vec<usize>, Option<&'static str>) {
    let mut scanner = ReplyScanner::new();
    let mut found = Vec::new();
    let (mut consumed, mut end) = (0, 0);
    loop {
        let buf = &stream[consumed..end];
        match scanner.scan(buf) {
            ReplyScan::Complete { len } => {
                assert!(len > 0 && len <= buf.len());
                look_into(&buf[..len]);
                found.push(len);
                consumed += len;
            }
            ReplyScan::Malformed(expected) => return (found, Some(expected)),
            ReplyScan::TooLong => return (found, Some("the end of a line")),
            ReplyScan::Incomplete { wanted } => {
                assert!(wanted > 0);
                if end == stream.len() {
                    return (found, None);
                }
                end = (end + piece).min(stream.len());
            }
        }
    }
}

/// None of these may panic, on a whole reply or on any other bytes.
fn look_into(reply: &[u8]) {
    let _ = (first_error(reply), parse_integer_reply(reply), bulk_payload(reply));
    for element in elements(reply).into_iter().flatten() {
        let _ = (first_error(element), parse_integer_reply(element), bulk_payload(element));
    }
}
