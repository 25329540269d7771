use super::*;
use crate::{admission::QuotaRules, config::Config};

fn quota(text: &str, key: &str) -> KeyQuota {
    let text = text.replace("[[", "\n[[").replace(';', "\n");
    QuotaRules::compile(&Config::parse(&text).unwrap().quotas).of(key.as_bytes()).unwrap()
}

#[test]
fn a_quota_becomes_a_clamp() {
    let check = |text: &str, key: &str, expect: Clamp| {
        let expect = Clamp { override_key: Some(override_key(key.as_bytes())), ..expect };
        let quota = quota(&format!("[[quota]];match='*';{text}"), key);
        assert_eq!(quota.clamp(&[]), expect, "{text}");
        assert_eq!(quota.fault(), None, "{text}");
    };
    let value = |limit| vec![Ceiling::Value(limit)];
    check("limit=5", "k", Clamp { ceilings: value(5), ..Clamp::default() });
    let huge = "limit=4503599627370496";
    check(huge, "k", Clamp { ceilings: value(CLAMP_VALUE_MAX), ..Clamp::default() });
    let stock = Clamp { floor: Some(-2), consumes: Consumes::Down, ..Clamp::default() };
    check("floor=-2", "k", stock);
    let rate = |key: &str| vec![Window { key: window_key(key.as_bytes(), 1000), limit: 5, window_ms: 1000 }];
    check("limit=5;window='1s'", "k", Clamp { windows: rate("k"), ..Clamp::default() });
    check("limit=5;enforce=false", "k", Clamp { ceilings: value(5), shadow: true, ..Clamp::default() });
    let beside = Clamp { ceilings: vec![Ceiling::Key("{8}:limit".into())], ..Clamp::default() };
    check("limit_key='{8}:limit'", "{8}:n", beside);
}

#[test]
fn all_quotas_of_a_key_hold_together() {
    let text = "[[quota]];match='a:*';limit=100;recheck='30ms';wait_replicas=1;on_unavailable='allow'\
                [[quota]];match='a:*';limit=10;window='1s';wait_replicas=2;wait_timeout='9s'\
                [[quota]];match='*:b';limit=7;window='1s';reply='nil'\
                [[quota]];match='a:b';floor=0";
    let found = quota(text, "a:b");
    let clamp = found.clamp(&[]);
    assert_eq!((clamp.ceilings, clamp.floor), (vec![Ceiling::Value(100)], Some(0)));
    let windows: Vec<_> = clamp.windows.iter().map(|window| (window.window_ms, window.limit)).collect();
    assert_eq!(windows, [(1000, 7)]);
    assert_eq!(found.consumes(), Consumes::Up);
    assert_eq!((found.recheck_ns(), found.on_unavailable()), (30_000_000, OnUnavailable::Refuse));
    assert_eq!(found.wait(), Some(ReplicaWait { replicas: 2, timeout_ms: 9000 }));
    assert_eq!(found.rules().collect::<Vec<_>>(), [0, 1, 2, 3]);
    let stock = "[[quota]];match='s:*';floor=0 [[quota]];match='s:*';limit=3;window='1s'";
    assert_eq!(quota(stock, "s:1").consumes(), Consumes::Down);
}

#[test]
fn those_in_shadow_mode_are_judged_beside_an_enforced_one() {
    let shadow = "[[quota]];match='a:*';limit=5;enforce=false;recheck='1ms';wait_replicas=3";
    let found = quota(&format!("{shadow}[[quota]];match='*:b';limit=9"), "a:b");
    assert_eq!((found.is_shadow(), found.first_shadow_part(), found.held().count()), (false, Some(0), 1));
    let clamp = found.clamp(&[]);
    assert_eq!(clamp.ceilings, [Ceiling::Value(9)]);
    assert_eq!(
        clamp.shadow_bounds,
        Some(ShadowBounds { ceilings: vec![Ceiling::Value(5)], ..ShadowBounds::default() })
    );
    assert_eq!(found.part_behind(Cause::Ceiling, 5, &clamp), 1);
    assert_eq!(found.part_behind(Cause::Paused, 0, &clamp), 1);
    assert_eq!((found.wait(), found.recheck_ns()), (None, 50_000_000));
    let found = quota(&format!("{shadow}[[quota]];match='*:b';limit=9;enforce=false"), "a:b");
    assert_eq!((found.is_shadow(), found.first_shadow_part(), found.parts().len()), (true, None, 2));
    assert_eq!((found.wait(), found.clamp(&[]).shadow_bounds), (None, None));
}

#[test]
fn limit_keys_are_read_in_the_script_or_polled() {
    let reserved = "[[quota]];match='sku:*:reserved';limit_key='sku:$1:limit'";
    let beside = quota(reserved, "sku:{8421}:reserved");
    assert!(beside.polled().is_empty());
    assert_eq!(beside.clamp(&[]).ceilings, [Ceiling::Key("sku:{8421}:limit".into())]);
    let apart = quota(reserved, "sku:8421:reserved");
    assert_eq!(apart.polled(), ["sku:8421:limit"]);
    assert_eq!(apart.clamp(&[Some(70)]).ceilings, [Ceiling::Value(70)]);
    assert_eq!(apart.clamp(&[Some(i64::MAX)]).ceilings, [Ceiling::Value(CLAMP_VALUE_MAX)]);
    let window = quota("[[quota]];match='{*}:n';limit_key='{$1}:limit';window='2s'", "{a}:n");
    assert_eq!(
        (window.polled()[0].as_ref(), window.clamp(&[Some(4)]).windows[0].limit),
        (b"{a}:limit".as_slice(), 4)
    );
    let own = quota("[[quota]];match='*:n';limit_key='$1:n'", "a:n");
    assert!(own.fault().unwrap().contains("the counter itself"));
}

#[test]
fn only_the_limit_of_an_enforced_quota_is_awaited() {
    let shadow = "[[quota]];match='*';limit_key='far';enforce=false\
                  [[quota]];match='*';limit_key='rate';window='1s';enforce=false";
    let alone = quota(shadow, "k");
    assert!(!alone.awaits(0) && !alone.awaits(1));
    let clamp = alone.clamp(&[None, None]);
    assert!(clamp.shadow && clamp.ceilings.is_empty() && clamp.windows.is_empty());
    assert_eq!(alone.clamp(&[Some(5), None]).ceilings, [Ceiling::Value(5)]);
    let beside = quota(&format!("{shadow}[[quota]];match='k';limit_key='held'"), "k");
    assert_eq!([0, 1, 2].map(|index| beside.awaits(index)), [false, false, true]);
    let clamp = beside.clamp(&[None, None, Some(9)]);
    assert_eq!((clamp.ceilings, clamp.shadow_bounds), (vec![Ceiling::Value(9)], None));
}

#[test]
fn a_refusal_is_traced_to_its_quota() {
    let text = "[[quota]];match='k';limit_key='k2'[[quota]];match='k*';limit=100\
                [[quota]];match='*k';floor=3[[quota]];match='*';limit=9;window='1s'\
                [[quota]];match='?';limit=8;window='1s'[[quota]];match='[k]';limit=1;window='2s'";
    let found = quota(text, "k");
    let clamp = found.clamp(&[Some(50)]);
    let check = |cause, limit, expect| assert_eq!(found.part_behind(cause, limit, &clamp), expect);
    check(Cause::Ceiling, 50, 0);
    check(Cause::Ceiling, 100, 1);
    check(Cause::Floor, 3, 2);
    check(Cause::Floor, 7, 2);
    check(Cause::Window(0), 8, 4);
    check(Cause::Window(1), 1, 5);
    check(Cause::Paused, 50, 0);
    check(Cause::TooLarge, 1 << 52, 0);
}
