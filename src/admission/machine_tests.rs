use super::*;
use crate::{
    admission::QuotaRules,
    combine::{Settled, WindowState},
    config::Config,
    resp::RespVersion,
};

pub(super) const MS: u64 = 1_000_000;
pub(super) const RECHECK: u64 = 50 * MS;

pub(super) fn open(quota: &str) -> Admission {
    Admission::new(compiled("", quota))
}

/// What holds the key `k` when `quota` stands behind `before` in the configuration.
pub(super) fn compiled(before: &str, quota: &str) -> Arc<KeyQuota> {
    let text = format!("{before}[[quota]]\nmatch='k'\n{}\n", quota.replace(';', "\n"));
    Arc::new(QuotaRules::compile(&Config::parse(&text).unwrap().quotas).of(b"k").unwrap())
}

/// A counter under a ceiling of 10, after a report.
pub(super) fn ceiling_at(value: i64, refused: u64) -> Admission {
    let mut admission = open("limit=10");
    admission.on_report(0, &report(value, refused));
    admission
}

pub(super) fn report(value: i64, refused: u64) -> ClampReport {
    ClampReport { value: Some(value), ceiling: Some(10), refused, ..ClampReport::default() }
}

pub(super) fn paused() -> ClampReport {
    ClampReport { paused: true, ..report(3, 1) }
}

pub(super) fn full(value: i64) -> Decision {
    Decision::Refuse(Denial::Judged(Refusal { cause: Cause::Ceiling, limit: 10, value }))
}

pub(super) fn told(admission: &mut Admission, decision: Decision) -> String {
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
        assert_eq!((counts.rechecks, counts.refused), (3, [197, 0, 0, 0, 0]));
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
    assert_eq!(admission.counts()[0].refused, [0, 3, 0, 0, 0]);
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
    assert_eq!(admission.counts()[0].refused, [0, 0, 0, 0, 1]);
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
fn what_came_before_a_faulty_limit_was_read_is_told_the_fault() {
    let missing = "limit key 'elsewhere' does not exist";
    let mut admission = open("limit_key='elsewhere';on_unavailable='allow'");
    assert_eq!(admission.decide(0, 1), Decision::Admit);
    admission.on_polled(0, [Some(PolledLimit::Missing)]);
    assert_eq!(
        admission.clamp().unwrap().fault.as_deref(),
        Some(missing),
        "the script tells those that wait"
    );
    assert_eq!(admission.decide_unsent(0, 1), Decision::Refuse(Denial::Fault), "without Redis too");
    admission.on_report(0, &ClampReport { fault: Some(missing.to_owned()), ..report(0, 0) });
    admission.on_polled(1, [Some(PolledLimit::Value(10))]);
    assert_eq!(admission.decide(1, 1), Decision::Admit, "no recheck is waited for");
    assert_eq!(admission.fault(), None);
    assert_eq!(admission.clamp().unwrap().fault, None);
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
    assert_eq!(counts, Counts { refused: [1, 0, 0, 0, 0], ..Counts::default() });
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
    assert_eq!(counts, Counts { refused: [0, 0, 0, 0, 1], ..Counts::default() });
}
