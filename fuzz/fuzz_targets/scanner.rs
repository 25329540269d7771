//! Throws bytes at both scanners and holds them to what must be true of any input: no panic, no range outside
//! of what was read, the same result however the bytes were cut, and a forwarded request that reads back as the
//! same request.

#![no_main]

use hotgate::resp::{
    ReplyScan, ReplyScanner, Request, RequestLimits, RequestScan, RequestScanner, bulk_payload, elements,
    first_error, parse_integer_reply,
};
use libfuzzer_sys::fuzz_target;

/// Small, so that short inputs reach every bound.
const LIMITS: RequestLimits =
    RequestLimits { bulk_bytes_max: 99, arguments_max: 12, inline_bytes_max: 24, authenticated: true };

/// The first byte of the input chooses how large the pieces are.
fuzz_target!(|input: &[u8]| {
    let Some((&piece, stream)) = input.split_first() else { return };
    let piece = usize::from(piece % 16) + 1;
    assert_eq!(requests(stream, stream.len()), requests(stream, piece));
    assert_eq!(replies(stream, stream.len()), replies(stream, piece));
    look_into(stream);
});

/// All requests in the stream, and the protocol error that it ends with, if any.
fn requests(stream: &[u8], piece: usize) -> (Vec<Vec<Vec<u8>>>, Option<String>) {
    let mut scanner = RequestScanner::new(LIMITS);
    let mut found = Vec::new();
    let (mut consumed, mut end) = (0, 0);
    loop {
        let buf = &stream[consumed..end];
        match scanner.scan(buf) {
            RequestScan::Complete { len } => {
                found.push(args(&buf[..len], &scanner));
                consumed += len;
            }
            RequestScan::Inline { len } => {
                found.push(args(scanner.inline(), &scanner));
                consumed += len;
            }
            RequestScan::Empty { len } => consumed += len,
            RequestScan::Malformed(error) => return (found, Some(error.message())),
            RequestScan::Incomplete { wanted } => {
                assert!(wanted > 0);
                if end == stream.len() {
                    return (found, None);
                }
                end = (end + piece).min(stream.len());
            }
        }
    }
}

/// The arguments, after the bytes to forward were read back as just them.
fn args(bytes: &[u8], scanner: &RequestScanner) -> Vec<Vec<u8>> {
    let request = Request::new(bytes, scanner.spans());
    assert!(request.len() > 0);
    let boundless = RequestLimits { bulk_bytes_max: 1 << 20, arguments_max: 1 << 20, ..LIMITS };
    let mut again = RequestScanner::new(boundless);
    assert_eq!(again.scan(bytes), RequestScan::Complete { len: bytes.len() });
    assert!(Request::new(bytes, again.spans()).args().eq(request.args()));
    assert_eq!(request.args().count(), request.len());
    request.args().map(<[u8]>::to_vec).collect()
}

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
