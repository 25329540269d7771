//! Holds the request scanner against redis-protocol, against itself on split input, and against a table of what
//! Redis 7.0 answers to malformed input.

use proptest::prelude::*;
use redis_protocol::resp2::{decode::decode_range, types::RangeFrame};

use super::*;

const LIMITS: RequestLimits = RequestLimits {
    bulk_bytes_max: 512 * 1024 * 1024,
    arguments_max: 1024 * 1024,
    inline_bytes_max: 64 * 1024,
    authenticated: true,
};

/// What a buffer holds, request by request, and how it ends.
#[derive(Debug, PartialEq)]
enum Event {
    Request(Vec<Vec<u8>>),
    Empty,
    Malformed(String),
}

/// Feeds a connection's bytes in pieces that end at the given cuts, and drops what was consumed, as a connection
/// does.
fn feed(stream: &[u8], cuts: impl IntoIterator<Item = usize>, limits: RequestLimits) -> Vec<Event> {
    let mut scanner = RequestScanner::new(limits);
    let mut events = Vec::new();
    let mut consumed = 0;
    for cut in cuts.into_iter().chain([stream.len()]) {
        loop {
            let buf = &stream[consumed..cut.max(consumed)];
            let (len, event) = match scanner.scan(buf) {
                RequestScan::Complete { len } => (len, request_event(&scanner, &buf[..len])),
                RequestScan::Inline { len } => (len, request_event(&scanner, scanner.inline())),
                RequestScan::Empty { len } => (len, Event::Empty),
                RequestScan::Malformed(error) => {
                    events.push(Event::Malformed(error.message()));
                    return events;
                }
                RequestScan::Incomplete { wanted } => {
                    assert!(wanted >= 1);
                    break;
                }
            };
            assert!(len >= 1 && len <= buf.len());
            consumed += len;
            events.push(event);
        }
    }
    events
}

/// The arguments of what was found, after redis-protocol found the same in the bytes that would be forwarded.
fn request_event(scanner: &RequestScanner, bytes: &[u8]) -> Event {
    let request = Request::new(bytes, scanner.spans());
    let (frame, len) = decode_range(bytes).expect("decodable").expect("whole");
    assert_eq!(len, bytes.len());
    let RangeFrame::Array(frames) = frame else { panic!("not an array: {frame:?}") };
    let decoded: Vec<&[u8]> = frames
        .iter()
        .map(|frame| match frame {
            RangeFrame::BulkString((start, end)) => &bytes[*start..*end],
            other => panic!("not a bulk string: {other:?}"),
        })
        .collect();
    assert_eq!(request.args().collect::<Vec<_>>(), decoded);
    assert_eq!(request.len(), decoded.len());
    assert_eq!(request.name(), decoded[0]);
    Event::Request(decoded.into_iter().map(<[u8]>::to_vec).collect())
}

fn words(words: &[&str]) -> Event {
    Event::Request(words.iter().map(|word| word.as_bytes().to_vec()).collect())
}

fn malformed(text: &str) -> Event {
    Event::Malformed(format!("Protocol error: {text}"))
}

fn encoded(requests: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut stream = Vec::new();
    for args in requests {
        encode::command(&mut stream, &args.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }
    stream
}

#[test]
fn reads_what_redis_reads() {
    let check = |stream: &str, expect: &[Event]| {
        let stream = stream.as_bytes();
        assert_eq!(feed(stream, [], LIMITS), expect, "{stream:?} at once");
        assert_eq!(feed(stream, 0..stream.len(), LIMITS), expect, "{stream:?} byte by byte");
        for cut in 0..stream.len().min(40) {
            assert_eq!(feed(stream, [cut], LIMITS), expect, "{stream:?} cut at {cut}");
        }
    };
    let long = "x".repeat(64 * 1024);
    check("*1\r\n$4\r\nPING\r\n", &[words(&["PING"])]);
    check("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n", &[words(&["SET", "k", ""])]);
    check(
        "*1\r\n$4\r\nPING\r\nPING\r\n*1\r\n$4\r\nPING\r\n",
        &[words(&["PING"]), words(&["PING"]), words(&["PING"])],
    );
    check("*1\r\n$0\r\n\r\n", &[words(&[""])]);
    check(&format!("*1\r\n$65536\r\n{long}\r\n"), &[words(&[&long])]);
    check("PING\n set \"a b\" 'c'\r\n", &[words(&["PING"]), words(&["set", "a b", "c"])]);
    check(
        "\r\n\n  \r\n*0\r\n*-1\r\n*-7\r\nPING\r\n",
        &[
            Event::Empty,
            Event::Empty,
            Event::Empty,
            Event::Empty,
            Event::Empty,
            Event::Empty,
            words(&["PING"]),
        ],
    );
    check(&format!("{long}\n"), &[words(&[&long])]);

    // Redis looks for `\r` and skips one byte more; behind an argument it skips two bytes unseen.
    check("*1\rx$4\ryPINGzz", &[words(&["PING"])]);
    check("*1\r\n$1\r\n\r\r\nPING\r\n", &[words(&["\r"]), words(&["PING"])]);
    check("*0\r*PING\r\n", &[Event::Empty, words(&["PING"])]);
    check("*2\r\n$10\r\n0123456789\r\n$1\rxa\r\n", &[words(&["0123456789", "a"])]);

    // A NUL hides the end of the line from Redis until the bound is reached.
    check("*1\0\r\n$4\r\nPING\r\n", &[]);
    check("PING\0\r\nPING\r\n", &[]);
    check(&format!("PING\0\r\n{long}"), &[malformed("too big inline request")]);
    check(&format!("*1\0\r\n{long}"), &[malformed("too big mbulk count string")]);

    check(&format!("{long}x\n"), &[malformed("too big inline request")]);
    check("PING \"a\r\n", &[malformed("unbalanced quotes in request")]);
    check("PING 'a'b\r\n", &[malformed("unbalanced quotes in request")]);
    check(&format!("*{long}"), &[malformed("too big mbulk count string")]);
    check(&format!("*{}\r\n", &long[2..]), &[malformed("invalid multibulk length")]);
    for count in
        ["", "x", "3x", "+3", "03", "-", "-0", " 3", "3 ", "1048577", "2147483648", "9223372036854775808"]
    {
        check(&format!("*{count}\r\n"), &[malformed("invalid multibulk length")]);
    }
    check(&format!("*1\r\n${long}"), &[malformed("too big bulk count string")]);
    check(&format!("*1\r\nx{long}"), &[malformed("too big bulk count string")]);
    for length in ["", "x", "4x", "+4", "04", "-1", "-0", "4 ", "536870913", "9223372036854775808"] {
        check(&format!("*1\r\n${length}\r\n"), &[malformed("invalid bulk length")]);
    }
    check("*1\r\nPING\r\n", &[malformed("expected '$', got 'P'")]);
    check("*1\r\n:1\r\n", &[malformed("expected '$', got ':'")]);
    check("*1\r\n\r\n", &[malformed("expected '$', got ' '")]);
    check("*1\r\n*1\r\n", &[malformed("expected '$', got '*'")]);
    check("*2\r\n$4\r\nPINGPONG\r\n", &[malformed("expected '$', got 'N'")]);
    check("*1\r\nPING", &[]);
}

#[test]
fn an_unauthenticated_client_gets_little_room() {
    let check = |authenticated, stream: &str, expect: &[Event]| {
        let limits = RequestLimits { authenticated, ..LIMITS };
        assert_eq!(feed(stream.as_bytes(), [], limits), expect, "{stream:?}");
    };
    let ten = format!("*10\r\n{}", "$1\r\nx\r\n".repeat(10));
    let large = format!("*1\r\n$16384\r\n{}\r\n", "x".repeat(16384));
    check(false, &ten, &[words(&["x"; 10])]);
    check(false, &large, &[words(&[&"x".repeat(16384)])]);
    check(false, "*11\r\n", &[malformed("unauthenticated multibulk length")]);
    check(false, "*1\r\n$16385\r\n", &[malformed("unauthenticated bulk length")]);
    check(true, "*11\r\n", &[]);
    check(true, "*1\r\n$16385\r\n", &[]);
    check(false, "*2147483648\r\n", &[malformed("invalid multibulk length")]);
    check(false, "*1\r\n$536870913\r\n", &[malformed("invalid bulk length")]);
}

#[test]
fn limits_are_the_callers() {
    let check = |limits: RequestLimits, stream: &str, expect: &[Event]| {
        assert_eq!(feed(stream.as_bytes(), [], limits), expect, "{stream:?}");
    };
    let limits =
        RequestLimits { bulk_bytes_max: 3, arguments_max: 2, inline_bytes_max: 8, authenticated: true };
    check(limits, "*2\r\n$3\r\nabc\r\n$0\r\n\r\n", &[words(&["abc", ""])]);
    check(limits, "*3\r\n", &[malformed("invalid multibulk length")]);
    check(limits, "*1\r\n$4\r\n", &[malformed("invalid bulk length")]);
    check(limits, "12345678\n", &[words(&["12345678"])]);
    check(limits, "123456789", &[malformed("too big inline request")]);

    // Whatever the limits allow, a request whose ranges 32 bits cannot hold is refused.
    let boundless = RequestLimits { bulk_bytes_max: usize::MAX, arguments_max: usize::MAX, ..LIMITS };
    check(boundless, "*1\r\n$4294967295\r\n", &[malformed("invalid bulk length")]);
    check(boundless, "*1\r\n$9223372036854775807\r\n", &[malformed("invalid bulk length")]);
    check(boundless, "*2147483648\r\n", &[malformed("invalid multibulk length")]);
    check(boundless, "*2147483647\r\n$1000000000\r\n", &[]);
}

#[test]
fn authentication_takes_effect_between_requests() {
    let mut scanner = RequestScanner::new(RequestLimits { authenticated: false, ..LIMITS });
    let refused = RequestScan::Malformed(ProtocolError::UnauthenticatedMultibulkLength);
    assert_eq!(scanner.scan(b"*11\r\n"), refused);
    scanner.set_limits(LIMITS);
    assert!(matches!(scanner.scan(b"*11\r\n"), RequestScan::Incomplete { .. }));
}

/// What the gateway forwards has to be read alike by servers that do look at the bytes which Redis 7 skips.
#[test]
fn an_oddly_ended_request_is_forwarded_by_the_book() {
    let check = |stream: &[u8], as_it_came: bool| {
        let mut scanner = RequestScanner::new(LIMITS);
        let len = stream.len();
        let expect = if as_it_came { RequestScan::Complete { len } } else { RequestScan::Inline { len } };
        assert_eq!(scanner.scan(stream), expect, "{stream:?}");
        if !as_it_came {
            assert_eq!(scanner.inline(), b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "{stream:?}");
        }
    };
    check(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", true);
    check(b"*2\rx$3\r\nGET\r\n$1\r\nk\r\n", false);
    check(b"*2\r\n$3\r$GET\r\n$1\r\nk\r\n", false);
    check(b"*2\r\n$3\r\nGET*1$1\r\nk\r\n", false);
    check(b"*2\r\n$3\r\nGET\r\n$1\r\nk\n\n", false);
    check(b"GET k\r\n", false);
}

/// A hint too large would let the caller wait for bytes that never come.
#[test]
fn wanted_is_what_is_missing_of_an_argument() {
    let check = |stream: &str, expect: usize| {
        let found = RequestScanner::new(LIMITS).scan(stream.as_bytes());
        assert_eq!(found, RequestScan::Incomplete { wanted: expect }, "{stream:?}");
    };
    check("", 1);
    check("*", 1);
    check("*2\r\n", 1);
    check("*2\r\n$3\r", 1);
    check("*2\r\n$3\r\n", 5);
    check("*2\r\n$3\r\nGE", 3);
    check("*2\r\n$3\r\nGET\r", 1);
    check("*2\r\n$536870912\r\n", 536_870_914);
}

/// A header that trickles in, or an argument that does, must not be searched again from its start: the work would
/// grow with the square of the length. Scribbling over what was already scanned shows whether it is read again.
#[test]
fn does_not_look_twice() {
    let check = |stream: &[u8], seen: std::ops::Range<usize>, expect: RequestScan| {
        let mut scanner = RequestScanner::new(LIMITS);
        let mut stream = stream.to_vec();
        assert!(matches!(scanner.scan(&stream[..seen.end]), RequestScan::Incomplete { .. }));
        stream[seen].fill(b'\r');
        assert_eq!(scanner.scan(&stream), expect);
    };
    let set = encoded(&[vec![b"SET".to_vec(), b"key".to_vec(), vec![b'v'; 100]]]);
    check(&set, 0..set.len() - 50, RequestScan::Complete { len: set.len() });
    check(b"*2xxxxxxxxxxxxxxx\r\n", 2..12, RequestScan::Malformed(ProtocolError::InvalidMultibulkLength));
    let mut ping = b"PING".to_vec();
    ping.resize(1000, b'x');
    ping.push(b'\n');
    let mut scanner = RequestScanner::new(LIMITS);
    scanner.scan(&ping[..1000]);
    ping[10..900].fill(b'\n');
    assert_eq!(scanner.scan(&ping), RequestScan::Inline { len: 1001 });
}

#[test]
fn memory_for_a_large_request_is_given_back() {
    let mut scanner = RequestScanner::new(LIMITS);
    let large = encoded(&[vec![b"x".to_vec(); 100_000]]);
    assert_eq!(scanner.scan(&large), RequestScan::Complete { len: large.len() });
    scanner.scan(b"*1\r\n");
    assert!(scanner.spans.capacity() <= SPANS_KEPT);

    let announced = RequestScanner::new(LIMITS).scan(b"*1048576\r\n");
    assert_eq!(announced, RequestScan::Incomplete { wanted: 1 });
}

#[test]
fn an_error_is_encoded_as_redis_does() {
    let check = |error: ProtocolError, expect: &[u8]| {
        let mut out = Vec::new();
        error.encode(&mut out);
        assert_eq!(out, expect);
    };
    check(ProtocolError::InvalidBulkLength, b"-ERR Protocol error: invalid bulk length\r\n");
    check(ProtocolError::ExpectedBulk(b'x'), b"-ERR Protocol error: expected '$', got 'x'\r\n");
    check(ProtocolError::ExpectedBulk(b'\r'), b"-ERR Protocol error: expected '$', got ' '\r\n");
    check(ProtocolError::ExpectedBulk(0xff), b"-ERR Protocol error: expected '$', got '\xff'\r\n");
}

fn any_request() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let arg = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..20),
        2 => "[\r\n$*0-9]{0,12}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 90..1100),
    ];
    prop::collection::vec(arg, 1..12)
}

/// Bytes that are nearly the protocol.
fn any_noise() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("\r\n".to_owned()),
        "\\*[0-3]\r\n",
        "\\$[0-4]\r\n",
        "[a-c\"' ]{0,4}\r?\n",
        "[*$\r\n0-4x\\\\\"' -]{1,4}",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn finds_what_was_encoded_wherever_it_is_cut(
        requests in prop::collection::vec(any_request(), 1..5),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let stream = encoded(&requests);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.sort_unstable();
        let expect: Vec<Event> = requests.into_iter().map(Event::Request).collect();
        prop_assert_eq!(&feed(&stream, cuts, LIMITS), &expect);
        prop_assert_eq!(&feed(&stream, 0..stream.len(), LIMITS), &expect);
    }

    #[test]
    fn where_noise_is_cut_makes_no_difference(
        noise in any_noise(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(noise.len() + 1)).collect();
        cuts.sort_unstable();
        let at_once = feed(&noise, [], LIMITS);
        prop_assert_eq!(&feed(&noise, cuts, LIMITS), &at_once);
        prop_assert_eq!(&feed(&noise, 0..noise.len(), LIMITS), &at_once);
    }
}
