use super::*;
use crate::{
    admission::QuotaRules,
    combine::{Settled, WindowState},
    config::Config,
    resp::RespVersion,
};

const MS: u64 = 1_000_000;
const RECHECK: u64 = 50 * MS;

fn open(quota: &str) -> Admission {
    Admission::new(compiled("", quota))
}

/// What holds the key `k` when `quota` stands behind `before` in the configuration.
fn compiled(before: &str, quota: &str) -> Arc<KeyQuota> {
    let text = format!("{before}[[quota]]\nmatch='k'\n{}\n", quota.replace(';', "\n"));
    Arc::new(QuotaRules::compile(&Config::parse(&text).unwrap().quotas).of(b"k").unwrap())
}

/// A counter under a ceiling of 10, after a report.
fn ceiling_at(value: i64, refused: u64) -> Admission {
    let mut admission = open("limit=10");
    admission.on_report(0, &report(value, refused));
    admission
}

fn report(value: i64, refused: u64) -> ClampReport {
    ClampReport { value: Some(value), ceiling: Some(10), refused, ..ClampReport::default() }
}

fn paused() -> ClampReport {
    ClampReport { paused: true, ..report(3, 1) }
}

fn full(value: i64) -> Decision {
    Decision::Refuse(Denial::Judged(Refusal { cause: Cause::Ceiling, limit: 10, value }))
}

fn told(admission: &mut Admission, decision: Decision) -> String {
    let Decision::Refuse(denial) = decision else { panic!("{decision:?}") };
    let mut out = Vec::new();
    admission.write_denial(denial, RespVersion::Resp2, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_counter_with_room_lets_all_go_to_redis() {
    let mut admission = open("limit=10");
    for delta in [1, 100, -5, 0, i64::MAX] {
        assert_eq!(admission.decide(0, delta), Decision::Admit);
    }
    admission.on_report(0, &report(5, 0));
    assert_eq!((admission.decide(1, 100), admission.phase()), (Decision::Admit, (Phase::Open, 0)));
}

#[test]
fn what_cannot_fit_is_refused_and_asked_about_once_per_recheck() {
    // Refused for lack of room; or so full that nobody has to be refused first.
    for mut admission in [ceiling_at(10, 3), ceiling_at(10, 0)] {
        let mut asked = Vec::new();
        for now_ns in (0..200 * MS).step_by(MS as usize) {
            match admission.decide(now_ns, 1) {
                Decision::Ask => {
                    asked.push(now_ns / MS);
                    admission.on_flush(false);
                    admission.on_report(now_ns, &report(10, 1));
                }
                other => assert_eq!(other, full(10)),
            }
        }
        assert_eq!(asked, [50, 100, 150]);
        let counts = admission.counts()[0];
        assert_eq!((counts.rechecks, counts.refused), (3, [197, 0, 0, 0]));
    }
}

#[test]
fn what_still_fits_goes() {
    let mut admission = ceiling_at(7, 1);
    assert_eq!(admission.decide(1, 4), full(7));
    assert_eq!(admission.decide(1, 3), Decision::Admit);
    assert_eq!(admission.decide(1, 0), Decision::Admit);
    assert_eq!(admission.decide(1, 4), full(7));
    admission.on_report(2, &report(10, 0));
    assert_eq!(admission.decide(3, 1), full(10));
}

#[test]
fn a_release_goes_and_reopens_until_it_is_settled() {
    let mut admission = ceiling_at(10, 1);
    assert_eq!(admission.decide(1, 1), full(10));
    // A flush that left before the release was queued still tells of a full counter.
    admission.on_flush(false);
    assert_eq!(admission.decide(2, -1), Decision::Admit);
    assert_eq!(admission.decide(2, 5), Decision::Admit);
    admission.on_report(3, &report(10, 1));
    assert_eq!(admission.decide(3, 5), Decision::Admit, "the release has not been settled");
    admission.on_flush(true);
    admission.on_report(4, &report(10, 1));
    assert_eq!(admission.decide(4, 5), Decision::Admit, "the release may not have been in the flush");
    admission.on_flush(false);
    admission.on_report(5, &report(10, 2));
    assert_eq!(admission.decide(5, 1), full(10));
}

#[test]
fn a_raised_limit_is_seen_at_the_next_question() {
    let mut admission = ceiling_at(10, 1);
    assert_eq!(admission.decide(RECHECK, 1), Decision::Ask);
    let raised = ClampReport { ceiling: Some(20), granted: 1, ..report(11, 0) };
    admission.on_report(RECHECK + 1, &raised);
    assert_eq!(admission.phase().0, Phase::Open);
    assert_eq!(admission.decide(RECHECK + 2, 1), Decision::Admit);
}

#[test]
fn stock_is_held_from_below() {
    let mut admission = open("floor=0");
    let sold = ClampReport { floor: Some(0), ceiling: None, ..report(0, 1) };
    admission.on_report(0, &sold);
    let gone = Decision::Refuse(Denial::Judged(Refusal { cause: Cause::Floor, limit: 0, value: 0 }));
    assert_eq!(admission.decide(1, -1), gone);
    assert_eq!(admission.decide(1, 7), Decision::Admit);
    assert_eq!(admission.decide(1, -1), Decision::Admit, "what was put back may be taken");
}

#[test]
fn a_window_reopens_by_itself() {
    let mut admission = open("limit=10;window='1s';recheck='1m'");
    let windows = vec![WindowState { used: 10, left_ms: 400 }];
    let sold = ClampReport { value: Some(70), refused: 1, windows, ..ClampReport::default() };
    admission.on_report(0, &sold);
    let gone = Decision::Refuse(Denial::Judged(Refusal { cause: Cause::Window(0), limit: 10, value: 70 }));
    assert_eq!(admission.decide(400 * MS, 1), gone);
    assert_eq!(admission.decide(401 * MS, 1), Decision::Admit);
    assert_eq!(admission.phase(), (Phase::Open, 401 * MS));
    let row = admission.facts(401 * MS)[0];
    assert_eq!(
        (row.limit, row.value, row.window_ms, row.remaining),
        (Some(10), Some(0), Some(1000), Some(10))
    );
}

#[test]
fn the_end_of_a_window_does_not_open_a_full_counter() {
    let text = "[[quota]]\nmatch='k'\nlimit=10\n[[quota]]\nmatch='?'\nlimit=5\nwindow='10ms'\n";
    let quota = QuotaRules::compile(&Config::parse(text).unwrap().quotas).of(b"k").unwrap();
    let mut admission = Admission::new(Arc::new(quota));
    let windows = vec![WindowState { used: 5, left_ms: 4 }];
    admission.on_report(0, &ClampReport { windows, ..report(10, 1) });
    for now_ns in [1, 5 * MS, 20 * MS] {
        assert_eq!(admission.decide(now_ns, 1), full(10));
    }
    assert_eq!(admission.decide(RECHECK, 1), Decision::Ask);
}

#[test]
fn a_pause_refuses_everything() {
    let mut admission = open("limit=10;reply='nil'");
    admission.on_report(0, &paused());
    for delta in [1, -1, 0] {
        let decision = admission.decide(1, delta);
        assert_eq!(told(&mut admission, decision), "$-1\r\n");
    }
    admission.on_unavailable(2);
    assert_eq!(admission.phase().0, Phase::Paused, "an operator's word outlives an outage");
    assert_eq!(admission.decide(RECHECK, -1), Decision::Ask);
    admission.on_report(RECHECK, &report(2, 0));
    assert_eq!(admission.decide(RECHECK, 1), Decision::Admit);
    assert_eq!(admission.counts()[0].refused, [0, 3, 0, 0]);
}

#[test]
fn what_was_written_opens_both_ways_until_a_report_from_after_it() {
    let mut admission = ceiling_at(10, 1);
    assert!(matches!(admission.decide(1, 1), Decision::Refuse(_)));
    admission.on_flush(false);
    admission.on_written();
    assert_eq!(admission.decide(2, 1), Decision::Admit);
    admission.on_report(3, &report(10, 1));
    assert_eq!(admission.decide(3, 1), Decision::Admit, "that report is of a flush from before");
    admission.on_flush(false);
    admission.on_report(4, &report(10, 1));
    assert!(matches!(admission.decide(4, 1), Decision::Refuse(_)));
}

#[test]
fn an_override_takes_effect_at_once() {
    let mut admission = ceiling_at(10, 1);
    admission.on_override(1, Some(12), false);
    assert_eq!(admission.decide(2, 1), Decision::Admit);
    admission.on_report(3, &report(10, 1));
    admission.on_override(4, Some(12), false);
    assert_eq!(admission.decide(4, 1), full(10), "what was told before is no news");
    admission.on_override(5, Some(12), true);
    let decision = admission.decide(5, 1);
    assert_eq!(told(&mut admission, decision), "-QUOTA paused by an operator for 'k'\r\n");
    admission.on_override(6, Some(3), false);
    assert!(matches!(admission.decide(6, 1), Decision::Refuse(_)));
    admission.on_override(7, None, false);
    assert_eq!(admission.decide(7, 1), Decision::Admit);
}

#[test]
fn a_fault_is_told_and_asked_about() {
    let mut admission = open("limit_key='{k}l'");
    assert!(admission.clamp().is_some(), "the script reads it");
    let fault = ClampReport { fault: Some("limit key '{k}l' does not exist".into()), ..report(3, 0) };
    admission.on_report(0, &fault);
    let decision = admission.decide(1, 1);
    assert_eq!(
        told(&mut admission, decision),
        "-QUOTA cannot be applied for 'k': limit key '{k}l' does not exist\r\n"
    );
    assert_eq!(admission.decide(RECHECK, 1), Decision::Ask);
    admission.on_report(RECHECK, &report(4, 0));
    assert_eq!(admission.decide(RECHECK, 1), Decision::Admit);
    assert_eq!(admission.counts()[0].refused, [0, 0, 1, 0]);
}

#[test]
fn a_polled_limit_is_awaited_and_followed() {
    let mut admission = open("limit_key='elsewhere'");
    assert_eq!(admission.quota().polled(), ["elsewhere"]);
    assert!(admission.clamp().is_none());
    assert_eq!(admission.decide(0, 1), Decision::Admit, "it waits in the queue");
    admission.on_polled(0, [Some(PolledLimit::Missing)]);
    let decision = admission.decide(0, 1);
    assert!(told(&mut admission, decision).contains("limit key 'elsewhere' does not exist"));
    admission.on_polled(0, [Some(PolledLimit::Value(10))]);
    let clamp = admission.clamp().unwrap().clone();
    admission.on_report(0, &report(10, 1));
    admission.on_polled(1, [Some(PolledLimit::Value(10))]);
    assert!(Arc::ptr_eq(&clamp, admission.clamp().unwrap()));
    assert_eq!(admission.decide(1, 1), full(10));
    admission.on_polled(2, [Some(PolledLimit::Value(20))]);
    assert_eq!(admission.decide(2, 1), Decision::Admit);
}

#[test]
fn nothing_is_asked_before_the_limits_are_read() {
    let mut admission = open("limit_key='elsewhere'");
    admission.on_unavailable(0);
    assert_eq!(admission.decide(2 * RECHECK, 1), Decision::Refuse(Denial::Unavailable));
    admission.on_polled(2 * RECHECK, [None]);
    assert!(admission.clamp().is_none());
    admission.on_polled(2 * RECHECK, [Some(PolledLimit::Value(10))]);
    assert_eq!(admission.decide(2 * RECHECK, 1), Decision::Admit);
    let clamp = admission.clamp().unwrap().clone();
    admission.on_polled(3 * RECHECK, [None]);
    assert!(Arc::ptr_eq(&clamp, admission.clamp().unwrap()), "it stays as it was");
}

#[test]
fn while_redis_is_away_it_refuses_with_one_question_per_recheck() {
    let mut admission = open("limit=10");
    admission.on_unavailable(0);
    let decision = admission.decide(1, -1);
    assert_eq!(
        told(&mut admission, decision),
        "-QUOTA cannot be checked for 'k': Redis is not available\r\n"
    );
    assert_eq!(admission.decide(RECHECK, 1), Decision::Ask);
    admission.on_unavailable(RECHECK + 1);
    assert!(matches!(admission.decide(RECHECK + 2, 1), Decision::Refuse(Denial::Unavailable)));
    assert_eq!(admission.decide(2 * RECHECK, 1), Decision::Ask);
    admission.on_report(2 * RECHECK, &report(1, 0));
    assert_eq!(admission.decide(2 * RECHECK, 1), Decision::Admit);
}

#[test]
fn what_is_let_through_is_owed_and_held_to_the_last_known_state() {
    let mut admission = open("limit=10;on_unavailable='allow'");
    admission.on_report(0, &report(7, 0));
    admission.on_unavailable(1);
    assert_eq!(admission.owed_to_flush(1), None);
    assert_eq!(admission.decide(1, 1), Decision::LetThrough(8));
    assert_eq!(admission.decide(1, 2), Decision::LetThrough(10));
    assert_eq!(admission.decide(1, 1), full(10));
    assert_eq!(admission.owed_to_flush(1), Some(3));
    assert_eq!((admission.owes(), admission.decide(1, 1)), (true, full(10)));
    assert_eq!(admission.decide(1, -1), Decision::LetThrough(9));
    assert_eq!(admission.owed_to_flush(RECHECK + 1), None, "one is on its way");
    assert_eq!(admission.decide(1, 1), Decision::LetThrough(10));
    admission.on_owed_lost(3);
    assert_eq!(admission.owed_to_flush(2), None, "one question per recheck");
    assert_eq!(admission.decide(3, -4), Decision::LetThrough(6));
    assert_eq!(admission.owed_to_flush(RECHECK + 1), Some(-1));
    admission.on_owed_added(RECHECK + 2, 6);
    assert!(!admission.owes());
    assert_eq!(admission.decide(RECHECK + 2, 1), Decision::Admit);
    let counts = admission.counts()[0];
    assert_eq!((counts.unchecked, counts.refused), (5, [2, 0, 0, 0]));
}

#[test]
fn a_reload_keeps_what_is_owed_and_what_is_known() {
    let other = "[[quota]]\nmatch='x'\nlimit=1\n";
    let allowed = "limit=10;on_unavailable='allow'";
    let check = |before: &str, quota: &str, unchecked: u64, room: i64| {
        let mut admission = open(allowed);
        admission.on_report(0, &report(5, 0));
        admission.on_unavailable(1);
        assert_eq!(admission.decide(1, 2), Decision::LetThrough(7));
        assert_eq!(admission.owed_to_flush(1), Some(2));
        assert_eq!(admission.decide(1, 1), Decision::LetThrough(8));
        admission.reconfigure(2, compiled(before, quota));
        assert_eq!((admission.phase().0, admission.owes()), (Phase::Unavailable, true), "{quota}");
        assert_eq!(admission.counts()[0].unchecked, unchecked, "{quota}");
        assert!(matches!(admission.decide(2, room + 1), Decision::Refuse(_)), "{quota}");
        if room > 0 {
            assert_eq!(admission.decide(2, room), Decision::LetThrough(8 + room), "{quota}");
        }
        admission.on_owed_lost(2);
        assert_eq!(admission.owed_to_flush(u64::MAX - 1), Some(3 + room), "{quota}");
    };
    check(other, allowed, 2, 2);
    check("", "limit=10;on_unavailable='allow';recheck='60ms'", 0, 2);
    check("", "limit=13;on_unavailable='allow'", 0, 5);
    check("", "limit=8;on_unavailable='allow'", 0, 0);
    check("", "limit=10", 0, 0);
}

#[test]
fn a_reload_keeps_what_was_taken_in_a_window_and_an_operators_limit() {
    let mut admission = open("limit=10;window='1s';on_unavailable='allow'");
    let windows = vec![WindowState { used: 6, left_ms: 900 }];
    admission.on_report(0, &ClampReport { windows, ceiling: Some(3), ..report(2, 0) });
    admission.on_unavailable(1);
    admission.reconfigure(2, compiled("", "limit=7;window='1s';on_unavailable='allow'"));
    assert!(matches!(admission.decide(2, 2), Decision::Refuse(_)));
    assert_eq!(admission.decide(2, 1), Decision::LetThrough(3));
    assert_eq!(admission.decide(1000 * MS, 1), Decision::Ask, "the operator's limit");
}

#[test]
fn a_quota_that_is_gone_hands_over_what_is_owed_beside_what_is_under_way() {
    let mut admission = open("limit=10;on_unavailable='allow'");
    admission.on_report(0, &report(5, 0));
    admission.on_unavailable(1);
    assert_eq!(admission.decide(1, 2), Decision::LetThrough(7));
    assert_eq!(admission.take_owed(), Some(2));
    assert_eq!(admission.take_owed(), None);
    assert_eq!(admission.decide(1, 2), Decision::LetThrough(9));
    assert_eq!(admission.owed_to_flush(1), Some(2));
    assert_eq!(admission.decide(1, 1), Decision::LetThrough(10));
    assert_eq!(admission.take_owed(), Some(1));
}

#[test]
fn a_debt_that_is_refused_for_good_is_given_up() {
    let mut admission = open("limit=10;on_unavailable='allow'");
    admission.on_report(0, &report(7, 0));
    admission.on_unavailable(1);
    assert_eq!(admission.decide(1, 2), Decision::LetThrough(9));
    assert_eq!(admission.owed_to_flush(1), Some(2));
    assert_eq!(admission.decide(1, 1), Decision::LetThrough(10));
    admission.on_owed_refused(2);
    assert_eq!(admission.owed_to_flush(2), Some(1), "what was let through meanwhile may fare better");
    admission.on_owed_refused(3);
    assert_eq!((admission.owes(), admission.phase()), (false, (Phase::Open, 2)));
    assert_eq!(admission.decide(3, 5), Decision::Admit);
    assert_eq!(admission.counts()[0].debts_lost, 2);
}

#[test]
fn a_counter_of_which_nothing_is_known_is_held_to_the_configuration() {
    let check = |quota: &str, deltas: &[(i64, Option<i64>)]| {
        let mut admission = open(&format!("{quota};on_unavailable='allow'"));
        admission.on_unavailable(0);
        for &(delta, expect) in deltas {
            let decision = admission.decide(1, delta);
            let found = if let Decision::LetThrough(value) = decision { Some(value) } else { None };
            assert_eq!(found, expect, "{quota}: {delta} -> {decision:?}");
        }
        admission
    };
    check(
        "limit=5",
        &[(4, Some(4)), (2, None), (1, Some(5)), (1, None), (-1, Some(4)), (1, Some(5)), (1, None)],
    );
    check("limit=5;window='1h'", &[(4, Some(4)), (2, None), (-1, Some(3)), (1, Some(4)), (1, None)]);
    let mut stock = check("floor=0", &[(-1, None), (3, Some(3)), (-2, Some(1)), (-2, None), (-1, Some(0))]);
    let decision = stock.decide(2, -1);
    assert_eq!(decision, Decision::Refuse(Denial::Unavailable), "nobody knows whether it is sold out");
    check("floor=-5", &[(-1, None), (1, Some(1)), (-1, Some(0)), (-1, None)]);
    check("floor=7", &[(-1, None), (1, Some(8)), (-1, Some(7)), (-1, None)]);
    check("limit_key='{k}:limit'", &[(1, None), (-1, None)]);
    check("limit_key='elsewhere'", &[(1, None), (-1, None)]);
}

#[test]
fn what_could_not_be_applied_when_redis_went_away_is_not_let_through() {
    let mut admission = open("limit=10;on_unavailable='allow'");
    let fault = ClampReport { fault: Some("no number".into()), ..report(3, 0) };
    admission.on_report(0, &fault);
    admission.on_unavailable(1);
    assert_eq!(admission.decide(2, 1), Decision::Refuse(Denial::Fault));
}

#[test]
fn where_nothing_fits_and_nothing_is_owed_redis_is_asked_whether_it_is_back() {
    let mut admission = open("limit=10;on_unavailable='allow'");
    admission.on_report(0, &report(10, 0));
    admission.on_unavailable(1);
    assert_eq!(admission.decide(2, 1), full(10));
    assert_eq!(admission.decide(RECHECK + 1, 1), Decision::Ask);
    assert_eq!(admission.decide_unsent(RECHECK + 2, 1), full(10));
    assert_eq!(admission.decide(RECHECK + 2, 1), full(10));
    admission.on_report(RECHECK + 3, &report(4, 0));
    assert_eq!(admission.decide(RECHECK + 3, 1), Decision::Admit);
}

#[test]
fn windows_hold_what_is_let_through() {
    let mut admission = open("limit=2;window='1s';on_unavailable='allow'");
    admission.on_report(
        0,
        &ClampReport {
            value: Some(0),
            windows: vec![WindowState { used: 0, left_ms: 0 }],
            ..ClampReport::default()
        },
    );
    admission.on_unavailable(0);
    assert_eq!(admission.decide(0, 2), Decision::LetThrough(2));
    assert!(matches!(admission.decide(1, 1), Decision::Refuse(_)));
    assert_eq!(admission.decide(1000 * MS, 1), Decision::LetThrough(3));
}

#[test]
fn what_is_let_through_is_charged_to_its_windows() {
    let mut admission = open("limit=10;window='1s';on_unavailable='allow'");
    let windows = vec![WindowState { used: 2, left_ms: 500 }];
    admission.on_report(0, &ClampReport { value: Some(2), windows, ..ClampReport::default() });
    admission.on_unavailable(0);
    let charged = |admission: &Admission| {
        let charge = admission.charge();
        charge.map(|charge| (charge.charges[0].units, charge.charges[0].left_ms))
    };
    assert_eq!(admission.decide(1, 3), Decision::LetThrough(5));
    assert_eq!(admission.decide(1, -3), Decision::LetThrough(2));
    assert_eq!(admission.owed_to_flush(MS), Some(0), "a release gives nothing back to a window");
    assert_eq!(charged(&admission), Some((3, 500)));
    assert_eq!(admission.decide(MS, 4), Decision::LetThrough(6));
    admission.on_owed_lost(0);
    assert_eq!(admission.owed_to_flush(100 * MS), Some(4));
    assert_eq!(charged(&admission), Some((7, 401)));
    // Another gateway has taken one meanwhile, and what is under way is not among what Redis counts.
    let windows = vec![WindowState { used: 3, left_ms: 400 }];
    admission.on_report(100 * MS, &ClampReport { value: Some(3), windows, ..ClampReport::default() });
    admission.on_unavailable(100 * MS);
    assert!(matches!(admission.decide(101 * MS, 1), Decision::Refuse(_)));
    admission.on_owed_added(102 * MS, 7);
    assert!(!admission.owes());
    admission.on_unavailable(103 * MS);
    assert_eq!(admission.decide(600 * MS, 1), Decision::LetThrough(8));
    assert_eq!(admission.owed_to_flush(2000 * MS), Some(1));
    assert_eq!(charged(&admission), None, "the window is over");
}

#[test]
fn shadow_mode_refuses_nobody_and_counts() {
    let mut admission = open("limit=10;enforce=false");
    for report in [report(12, 2), paused(), ClampReport { fault: Some("x".into()), ..report(1, 0) }] {
        admission.on_report(0, &report);
        assert_eq!(admission.decide(1, 100), Decision::Admit);
    }
    admission.on_unavailable(2);
    assert_eq!(admission.decide(3, 1), Decision::Admit);
    assert_eq!(admission.counts()[0], Counts { would_refuse: 3, ..Counts::default() });
    assert!(!admission.facts(3)[0].enforce);
}

#[test]
fn what_the_queue_settles_is_worded_and_counted() {
    let check = |reply: &str, settled: Settled, version, expect: &str| {
        let mut admission = open(&format!("limit=10;reply={reply}"));
        let mut scratch = vec![b'x'];
        let told = admission.settle(3, settled, version, &mut scratch).to_vec();
        assert_eq!(String::from_utf8(told).unwrap(), expect);
        admission.counts()[0]
    };
    let refused = Settled::Refused(Refusal { cause: Cause::Ceiling, limit: 10, value: 9 });
    let error = "-QUOTA limit of 10 reached for 'k'\r\n";
    let counts = check("'error'", refused, RespVersion::Resp3, error);
    assert_eq!(counts, Counts { refused: [1, 0, 0, 0], ..Counts::default() });
    check("'nil'", refused, RespVersion::Resp2, "$-1\r\n");
    check("'nil'", refused, RespVersion::Resp3, "_\r\n");
    check("'value'", refused, RespVersion::Resp2, ":9\r\n");
    check("{integer=-1}", refused, RespVersion::Resp2, ":-1\r\n");
    let counts = check("'nil'", Settled::Reply(b":5\r\n"), RespVersion::Resp2, ":5\r\n");
    assert_eq!(counts, Counts { admitted: 1, admitted_units: 3, ..Counts::default() });
    let counts = check("'nil'", Settled::Reply(b"-OOM\r\n"), RespVersion::Resp2, "-OOM\r\n");
    assert_eq!(counts, Counts::default());
    let fault = "-QUOTA cannot be applied for 'k': no number\r\n";
    let counts = check("'nil'", Settled::ClampError("no number"), RespVersion::Resp2, fault);
    assert_eq!(counts, Counts { refused: [0, 0, 1, 0], ..Counts::default() });
}
