use super::tests::{MS, RECHECK, compiled, full, open, report, told};
use super::*;
use crate::combine::WindowState;

#[test]
fn while_redis_is_away_it_waits_as_any_other_and_is_refused_when_its_time_is_over() {
    let mut admission = open("limit=10");
    admission.on_unavailable(0);
    for now_ns in [1, 2, RECHECK] {
        assert_eq!(admission.decide(now_ns, -1), Decision::Admit);
    }
    let decision = admission.decide_unsent(RECHECK + 1, -1);
    assert_eq!(
        told(&mut admission, decision),
        "-QUOTA cannot be checked for 'k': Redis is not available\r\n"
    );
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
    assert_eq!((counts.unchecked, counts.refused), (5, [2, 0, 0, 0, 0]));
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
        // One that refuses has it wait for Redis first.
        if !admission.lets_through() {
            assert_eq!(admission.decide(2, room + 1), Decision::Admit, "{quota}");
        }
        assert!(matches!(admission.decide_unsent(2, room + 1), Decision::Refuse(_)), "{quota}");
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
fn an_owed_sum_that_is_refused_for_good_is_given_up() {
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
    assert_eq!(admission.counts()[0].owed_lost, 2);
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
