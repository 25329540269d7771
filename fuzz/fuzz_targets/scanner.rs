//! Throws bytes at the request scanner and holds it to what must be true of any input: no panic, no range outside of what was
//! read, the same result however the bytes were cut, and a forwarded request that reads back as the same request.

#![no_main]

use hotgate::resp::{Request, RequestLimits, RequestScan, RequestScanner};
use libfuzzer_sys::fuzz_target;

/// Small, so that short inputs reach every bound.
const LIMITS: RequestLimits =
    RequestLimits { bulk_bytes_max: 99, arguments_max: 12, inline_bytes_max: 24, authenticated: true };

/// The first byte of the input chooses how large the pieces are.
fuzz_target!(|input: &[u8]| {
    let Some((&piece, stream)) = input.split_first() else { return };
    let piece = usize::from(piece % 16) + 1;
    assert_eq!(requests(stream, stream.len()), requests(stream, piece));
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
