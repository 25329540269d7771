use super::super::{OpKind, write_op_reply};
use super::*;
use crate::resp::RespVersion::{self, Resp2, Resp3};
use crate::resp::encode;

const STATE: &str = "soldout 5 3 5 9 10 20 2 30 0 {s}later sale";

fn wire(words: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::command(&mut out, &words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
    out
}

fn reply(result: &str, kind: OpKind, version: RespVersion) -> String {
    let wire = wire(&[result, STATE]);
    let mut results = FlushResults::parse(&wire, 1).unwrap();
    let mut out = Vec::new();
    write_op_reply(&mut out, version, kind, &results.next().unwrap());
    assert!(results.next().is_none());
    String::from_utf8(out).unwrap().replace("\r\n", " ")
}

#[test]
fn results_become_replies() {
    let check = |result: &str, kind: OpKind, two: &str, three: &str| {
        assert_eq!(reply(result, kind, Resp2).trim_end(), two);
        assert_eq!(reply(result, kind, Resp3).trim_end(), three);
    };
    check(
        "=held 7 2 93 1234",
        OpKind::Add,
        "*4 $4 held :7 :93 :1234",
        "%4 $5 state $4 held $3 seq :7 $9 remaining :93 $7 expires :1234",
    );
    check(
        "=cancelled 7 0 93 0",
        OpKind::Cancel,
        "*4 $9 cancelled :7 :0 :0",
        "%4 $5 state $9 cancelled $3 seq :7 $5 count :0 $7 expires :0",
    );
    check("_", OpKind::Check, "*-1", "_");
    let refused = |result: &str, text: &str| {
        assert_eq!(reply(result, OpKind::Add, Resp2).trim_end(), text);
    };
    refused("-SOLDOUT 0", "-SOLDOUT no place is left");
    refused("-SOLDOUT 2", "-SOLDOUT fewer places are left than COUNT asks for: 2");
    refused("-CLOSED", "-CLOSED this sale gives no places now: it was closed, or its END is over");
    refused("-NOTOPEN 17", "-NOTOPEN this sale opens at unix-ms 17");
    refused("-PERUSER 3", "-PERUSER this user may have 3 places at the most");
    refused("-GONE {s}b", "-GONE this sale went on as '{s}b'");
    let figures = reply("%open\n9\n4\n1\n3\n0\n4\n8\n1\n0\n0\n50\n1\n2.5\n{s}a\n", OpKind::Info, Resp3);
    assert!(figures.starts_with("%18 $5 state $4 open $5 limit :9 $5 taken :4 $4 held :1"), "{figures}");
    assert!(
        figures.contains("$6 ledger $2 on $10 holders-of $4 {s}a $9 moving-to $0  $4 rate ,2.5"),
        "{figures}"
    );
    assert!(figures.ends_with("$11 sell-out-ms :2000 "), "{figures}");
    for state in ["moved", "closed", "soldout"] {
        let figures =
            reply(&format!("%{state}\n9\n4\n1\n3\n0\n4\n8\n1\n0\n0\n50\n1\n2.5\n\n"), OpKind::Info, Resp3);
        assert!(
            figures.ends_with("$11 sell-out-ms _ "),
            "a sale that gives none does not sell out: {figures}"
        );
    }
}

#[test]
fn the_state_stands_behind_the_results() {
    let wire = wire(&["_", "~", STATE]);
    let results = FlushResults::parse(&wire, 2).unwrap();
    let state = SaleState {
        phase: SalePhase::SoldOut,
        taken: 5,
        held: 3,
        limit: 5,
        seq: 9,
        start_ms: 10,
        end_ms: 20,
        buckets: 2,
        now_ms: 30,
        more: false,
        moving_to: b"{s}later sale",
    };
    assert_eq!(results.state, state);
    assert_eq!(results.collect::<Vec<_>>(), [OpResult::Nothing, OpResult::TryAgain]);
}

#[test]
fn what_the_script_never_says_is_no_result() {
    let check = |wire: &[u8]| assert!(FlushResults::parse(wire, 1).is_none());
    check(b"-ERR no\r\n");
    check(&wire(&[STATE]));
    check(&wire(&["_", "_", STATE]));
    check(&wire(&["_", "soldout 5"]));
    for odd in ["", "?", "=sold 1 1 1 1", "=held 1 1 1", "-WHAT", "%open\n1"] {
        let wire = wire(&[odd, STATE]);
        assert!(FlushResults::parse(&wire, 1).unwrap().next().is_none(), "{odd}");
    }
}
