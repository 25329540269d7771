//! When each quota refused last, and why: noticed as its counts grow. For the quotas that the view has.

use std::collections::HashMap;

use super::view::QuotaView;

#[derive(Default)]
struct Noticed {
    counts: Vec<(&'static str, u64)>,
    last: Option<(u64, &'static str)>,
}

/// What was seen of each, by key and quota.
#[derive(Default)]
pub struct LastRefusals {
    seen: HashMap<(String, String), Noticed>,
}

impl LastRefusals {
    /// Takes the counts of `views`, and says in each when it refused last. What went before the first look is not known.
    pub fn mark(&mut self, unix_ms: u64, views: &mut [QuotaView]) {
        let mut former = std::mem::take(&mut self.seen);
        for view in views {
            let place = (view.key.clone(), view.quota.clone());
            let is_new = !former.contains_key(&place);
            let mut seen = former.remove(&place).unwrap_or_default();
            let was = |why: &str| {
                seen.counts.iter().find(|(known, _)| *known == why).map_or(0, |(_, count)| *count)
            };
            let grown = view.refused.iter().map(|(why, count)| (*why, count.saturating_sub(was(why))));
            let most = grown.max_by_key(|(_, more)| *more).filter(|(_, more)| *more > 0 && !is_new);
            seen.last = most.map(|(why, _)| (unix_ms, why)).or(seen.last);
            seen.counts = view.refused.iter().map(|(why, count)| (*why, *count)).collect();
            view.last_refused_ms = seen.last.map(|(at_ms, _)| at_ms);
            view.last_refused = seen.last.map_or("", |(_, why)| why);
            self.seen.insert(place, seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_grows_is_a_refusal() {
        let mut refusals = LastRefusals::default();
        let mut look = |unix_ms: u64, exhausted: u64, paused: u64| {
            let refused = [("exhausted", exhausted), ("paused", paused)].into_iter().collect();
            let mut views = [QuotaView { key: "k".into(), refused, ..QuotaView::default() }];
            refusals.mark(unix_ms, &mut views);
            (views[0].last_refused_ms, views[0].last_refused)
        };
        assert_eq!(look(1, 5, 0), (None, ""));
        assert_eq!(look(2, 6, 9), (Some(2), "paused"));
        assert_eq!(look(3, 6, 9), (Some(2), "paused"));
        assert_eq!(look(4, 7, 9), (Some(4), "exhausted"));
        assert_eq!(look(5, 0, 0), (Some(4), "exhausted"), "a row that starts anew");
        refusals.mark(6, &mut []);
        assert!(refusals.seen.is_empty());
    }
}
