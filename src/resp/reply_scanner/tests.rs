//! Holds the reply scanner against redis-protocol's decoders, against itself on split input, and against replies
//! that nest deeper than a decoder that recurses could stand.

use proptest::prelude::*;
use redis_protocol::{resp2, resp3};

use super::*;

/// The length that the scanner finds if the bytes arrive in pieces that end at the given cuts.
fn scan(reply: &[u8], cuts: impl IntoIterator<Item = usize>) -> ReplyScan {
    let mut scanner = ReplyScanner::new();
    for cut in cuts {
        match scanner.scan(&reply[..cut]) {
            ReplyScan::Incomplete { wanted } => {
                assert!(wanted >= 1 && cut + wanted <= reply.len(), "{wanted}")
            }
            other => return other,
        }
    }
    scanner.scan(reply)
}

#[test]
fn finds_the_end_of_every_type() {
    let check = |reply: &str| {
        let expect = ReplyScan::Complete { len: reply.len() };
        let followed = format!("{reply}+next\r\n");
        assert_eq!(scan(followed.as_bytes(), []), expect, "{reply:?}");
        assert_eq!(scan(reply.as_bytes(), 0..reply.len()), expect, "{reply:?} byte by byte");
    };
    let long = "x".repeat(100_000);
    for reply in [
        "+OK\r\n",
        "+\r\n",
        "-ERR wrong\r\n",
        ":-5\r\n",
        "$0\r\n\r\n",
        "$4\r\na\r\nb\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*2\r\n:1\r\n*1\r\n$1\r\na\r\n",
        "_\r\n",
        "#t\r\n",
        ",-1.5e9\r\n",
        ",inf\r\n",
        "(3492890328409238509324850943850943825024385\r\n",
        "!5\r\nERR x\r\n",
        "=6\r\ntxt:hi\r\n",
        "%0\r\n",
        "%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n_\r\n",
        "~3\r\n:1\r\n:2\r\n:3\r\n",
        ">3\r\n+message\r\n+channel\r\n$1\r\nx\r\n",
        "|1\r\n+ttl\r\n:3600\r\n$1\r\nx\r\n",
        "|0\r\n:1\r\n",
        "*2\r\n|1\r\n+ttl\r\n%1\r\n+a\r\n:1\r\n:5\r\n:6\r\n",
        "+a lone \r or \n does not end a line\r\n",
        "+\n\r\r\n",
    ] {
        check(reply);
    }
    check(&format!("+{long}\r\n"));
    check(&format!("*2\r\n$100000\r\n{long}\r\n-{}\r\n", &long[..1000]));
}

#[test]
fn refuses_what_is_no_reply() {
    let check = |bytes: &str, expect: &'static str| {
        assert_eq!(scan(bytes.as_bytes(), []), ReplyScan::Malformed(expect), "{bytes:?}");
    };
    check("PONG\r\n", "a type of RESP");
    check("*1\r\nx", "a type of RESP");
    check("\r\n", "a type of RESP");
    for length in ["", "x", "+1", "01", "1x", "-0", "?", "9223372036854775808"] {
        for kind in ["$", "=", "!", "*", "~", ">", "%", "|"] {
            check(&format!("{kind}{length}\r\n"), "a length");
        }
    }
    check("$-2\r\n", "a length that is not negative");
    check("*-2\r\n", "a length that is not negative");
    check("%-1\r\n", "a length that is not negative");
    check("$1\r\nab\r\n", "the end of a bulk string");
    check("$1\r\na\n\r", "the end of a bulk string");
    check("*2\r\n*9223372036854775807\r\n%9223372036854775807\r\n", "a count that can be");
}

#[test]
fn wanted_is_what_is_missing_of_a_bulk_string() {
    let check = |reply: &str, expect: usize| {
        assert_eq!(scan(reply.as_bytes(), []), ReplyScan::Incomplete { wanted: expect }, "{reply:?}");
    };
    check("", 1);
    check("$1", 1);
    check("$1000000\r\n", 1_000_002);
    check("$1000000\r\nabc", 999_999);
    check("$3\r\nabc", 2);
    check("$3\r\nabc\r", 1);
    check("*2\r\n$3\r\nabc\r\n$10\r\n", 12);
}

/// A reply of many elements or a long line that arrives in pieces must not be read again from its start.
/// Scribbling over what was already scanned shows whether it is.
#[test]
fn does_not_look_twice() {
    let check = |reply: &str, scanned: usize| {
        let mut scanner = ReplyScanner::new();
        let mut bytes = reply.as_bytes().to_vec();
        assert!(matches!(scanner.scan(&bytes[..scanned]), ReplyScan::Incomplete { .. }));
        bytes[1..scanned].fill(b'\n');
        bytes[0] = b'\r';
        assert_eq!(scanner.scan(&bytes), ReplyScan::Complete { len: reply.len() }, "{reply:?}");
    };
    check("*3\r\n:1\r\n$3\r\nabc\r\n:3\r\n", 12);
    check("*3\r\n:1\r\n$3\r\nabc\r\n:3\r\n", 17);
    check("$10\r\n0123456789\r\n", 9);

    let mut scanner = ReplyScanner::new();
    let mut line = b"+".to_vec();
    line.resize(1000, b'x');
    line.extend(b"\r\n");
    scanner.scan(&line[..1000]);
    line[10..900].copy_from_slice(&b"\r\n".repeat(445));
    assert_eq!(scanner.scan(&line), ReplyScan::Complete { len: 1002 });
}

#[test]
fn depth_costs_nothing() {
    const DEPTH: usize = 100_000;
    for header in ["*1\r\n", "*2\r\n:1\r\n", "%1\r\n+k\r\n", "|1\r\n+k\r\n:1\r\n"] {
        let reply = header.repeat(DEPTH) + "$1\r\nx\r\n";
        assert_eq!(scan(reply.as_bytes(), []), ReplyScan::Complete { len: reply.len() });
        assert_eq!(scan(reply.as_bytes(), 0..reply.len()), ReplyScan::Complete { len: reply.len() });
    }
    let backwards = "*2\r\n".repeat(DEPTH) + &":1\r\n".repeat(DEPTH + 1);
    assert_eq!(scan(backwards.as_bytes(), []), ReplyScan::Complete { len: backwards.len() });
}

/// A reply of RESP2, or of RESP3 with all that redis-protocol's decoder admits: no nested attributes or pushes, and
/// only strings and numbers as keys of a map or members of a set.
fn any_reply(resp3: bool) -> BoxedStrategy<Vec<u8>> {
    let line = "[ -~]{0,40}";
    let bulk = prop_oneof![9 => prop::collection::vec(any::<u8>(), 0..40), 1 => prop::collection::vec(any::<u8>(), 900..1100)];
    let counted = |kind: &'static str| {
        move |bytes: Vec<u8>| [format!("{kind}{}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat()
    };
    let scalar = prop_oneof![
        line.prop_map(|text| format!("+{text}\r\n").into_bytes()),
        any::<i64>().prop_map(|value| format!(":{value}\r\n").into_bytes()),
        bulk.clone().prop_map(counted("$")),
    ];
    let leaf = if resp3 {
        prop_oneof![
            3 => scalar.clone(),
            1 => Just(b"_\r\n".to_vec()),
            1 => any::<bool>().prop_map(|value| if value { b"#t\r\n".to_vec() } else { b"#f\r\n".to_vec() }),
            1 => any::<f64>().prop_map(|value| format!(",{value:e}\r\n").into_bytes()),
            1 => "[1-9][0-9]{0,60}".prop_map(|digits| format!("({digits}\r\n").into_bytes()),
            1 => "[a-z ]{0,30}".prop_map(move |text| counted("!")(text.into_bytes())),
            1 => "[a-z ]{0,30}".prop_map(move |text| counted("=")(format!("txt:{text}").into_bytes())),
        ]
        .boxed()
    } else {
        prop_oneof![4 => scalar.clone(), 1 => Just(b"$-1\r\n".to_vec()), 1 => Just(b"*-1\r\n".to_vec())]
            .boxed()
    };
    leaf.prop_recursive(5, 60, 8, move |inner| {
        let aggregate = |kind: &'static str, parts: Vec<Vec<u8>>| {
            [format!("{kind}{}\r\n", parts.len()).into_bytes(), parts.concat()].concat()
        };
        let array = prop::collection::vec(inner.clone(), 0..8).prop_map(move |parts| aggregate("*", parts));
        if !resp3 {
            return array.boxed();
        }
        let pair = (scalar.clone(), inner).prop_map(|(key, value)| [key, value].concat());
        prop_oneof![
            2 => array,
            1 => prop::collection::vec(pair, 0..5).prop_map(move |pairs| aggregate("%", pairs)),
            1 => prop::collection::vec(scalar.clone(), 0..5).prop_map(move |parts| aggregate("~", parts)),
        ]
        .boxed()
    })
    .boxed()
}

fn check_cuts(reply: &[u8], mut cuts: Vec<usize>) -> Result<(), TestCaseError> {
    cuts.sort_unstable();
    let expect = ReplyScan::Complete { len: reply.len() };
    prop_assert_eq!(scan(reply, []), expect);
    prop_assert_eq!(scan(reply, cuts), expect);
    prop_assert_eq!(scan(reply, 0..reply.len()), expect);
    Ok(())
}

proptest! {
    #[test]
    fn agrees_with_redis_protocol_on_resp2(
        reply in any_reply(false), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let (_, len) = resp2::decode::decode_range(&reply).expect("decodable").expect("whole");
        prop_assert_eq!(len, reply.len());
        check_cuts(&reply, cuts.iter().map(|cut| cut.index(reply.len())).collect())?;
    }

    #[test]
    fn agrees_with_redis_protocol_on_resp3(
        reply in any_reply(true), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let (_, len) = resp3::decode::complete::decode_range(&reply).expect("decodable").expect("whole");
        prop_assert_eq!(len, reply.len());
        check_cuts(&reply, cuts.iter().map(|cut| cut.index(reply.len())).collect())?;
    }

    #[test]
    fn where_noise_is_cut_makes_no_difference(noise in "([+:$*%~|_x]|-?[0-3]|\r\n|[\r\n]|[a-b]){0,20}") {
        let mut scanner = ReplyScanner::new();
        let mut piecewise = (0..=noise.len()).map(|cut| scanner.scan(&noise.as_bytes()[..cut]));
        let piecewise = piecewise.find(|found| !matches!(found, ReplyScan::Incomplete { .. }));
        let at_once = Some(scan(noise.as_bytes(), [])).filter(|found| !matches!(found, ReplyScan::Incomplete { .. }));
        prop_assert_eq!(piecewise, at_once);
    }
}

#[test]
fn a_line_without_end_is_too_long_and_looked_at_once() {
    let check = |start: &[u8], bytes_max: usize| {
        let mut line = start.to_vec();
        line.resize(bytes_max, b'1');
        let mut scanner = ReplyScanner::new();
        for end in (1..bytes_max).step_by(997).chain([bytes_max - 1]) {
            assert_eq!(
                scanner.scan(&line[..end]),
                ReplyScan::Incomplete { wanted: 1 },
                "{end} of {bytes_max}"
            );
        }
        assert_eq!(scanner.scan(&line), ReplyScan::TooLong);
        line.truncate(bytes_max - 2);
        line.extend_from_slice(b"\r\n");
        assert_ne!(ReplyScanner::new().scan(&line), ReplyScan::TooLong);
    };
    for start in [&b"+"[..], b"-", b":", b"(", b","] {
        check(start, REPLY_LINE_BYTES_MAX);
    }
    for start in [&b"$0"[..], b"*0", b"%0", b"~0", b">0", b"|0", b"=0", b"!0"] {
        check(start, REPLY_HEADER_BYTES_MAX);
    }
}
