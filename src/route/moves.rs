//! What another list of routes would move: keys that live in one cluster and would be looked for in another.
//!
//! hotgate brings no key from one cluster to another when routes change, so a reload that moves some is refused unless that is meant.
//! Whether such keys exist is not known here. Patterns are compared, not keys: two are taken to overlap unless the bytes before their
//! first wildcards differ, so this errs towards moves that are none. Rules of users are compared for each of these, among those of
//! everybody.

use std::collections::BTreeSet;

use super::first_match::beginning;
use super::table::RouteRule;
use crate::command::glob;

/// Keys that would live elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// The place, in the new list, of the rule that takes them. `None` where no rule has them any more.
    pub rule: Option<usize>,
    /// The user whose keys they are, if they move for that user only.
    pub user: Option<String>,
    /// The pattern of the keys: that of the new rule, or of the old one where no rule has them any more.
    pub pattern: String,
    /// The clusters in which they live.
    pub from: String,
    /// The clusters in which they would be looked for.
    pub to: String,
    /// The part of them that moves, 0 to 1, where the same part of the key picks one of other clusters. Otherwise it is not known, and
    /// may be all.
    pub share: Option<f64>,
}

/// Everything that the `new` rules would move, at most one move for two rules.
pub fn moves(old: &[RouteRule], new: &[RouteRule], default: &str) -> Vec<Move> {
    let users: BTreeSet<&str> = old.iter().chain(new).filter_map(|rule| rule.user.as_deref()).collect();
    let everybody = users.into_iter().map(Some);
    [None].into_iter().chain(everybody).flat_map(|user| moves_for(user, old, new, default)).collect()
}

/// The same for one user, without what moves for everybody.
fn moves_for(user: Option<&str>, old: &[RouteRule], new: &[RouteRule], default: &str) -> Vec<Move> {
    let tried = |rules| -> Vec<(usize, &RouteRule)> {
        let numbered = <[RouteRule]>::iter(rules).enumerate();
        numbered.filter(|(_, rule)| rule.is_tried_for(user)).collect()
    };
    let (old, new) = (tried(old), tried(new));
    let is_common = |rule: Option<&RouteRule>| rule.is_none_or(|rule| rule.user.is_none());
    let mut found = Vec::new();
    for (place, at) in new.iter().map(Some).chain([None]).enumerate() {
        let rule = at.map(|(_, rule)| *rule);
        for (old_place, old_at) in old.iter().map(Some).chain([None]).enumerate() {
            let old_rule = old_at.map(|(_, rule)| *rule);
            // Its keys have been taken by a rule before this one.
            let is_taken = new[..place].iter().any(|(_, earlier)| covers(Some(earlier), old_rule));
            let is_hidden = old[..old_place].iter().any(|(_, earlier)| covers(Some(earlier), rule));
            let is_everybodys = user.is_some() && is_common(rule) && is_common(old_rule);
            if !is_taken
                && !is_hidden
                && !is_everybodys
                && overlap(rule, old_rule)
                && !live_alike(rule, old_rule, default)
            {
                found.push(Move {
                    rule: at.map(|(place, _)| *place),
                    user: user.map(str::to_owned),
                    pattern: rule.or(old_rule).map_or("*", |rule| &rule.pattern).to_owned(),
                    from: clusters(old_rule, default),
                    to: clusters(rule, default),
                    share: share_moved(old_rule, rule),
                });
            }
        }
    }
    found
}

/// Whether every key of `other` is one of `rule`; without a rule all keys are meant.
fn covers(rule: Option<&RouteRule>, other: Option<&RouteRule>) -> bool {
    let (Some(rule), Some(other)) = (rule, other) else {
        return rule.is_none_or(|rule| rule.pattern == "*");
    };
    let (wide, narrow) = (rule.pattern.as_bytes(), other.pattern.as_bytes());
    // A wildcard of the narrow pattern is in no text of the wide one, so only a star of that takes it, as it takes whatever stands for it.
    let has_stars_only = !wide.iter().any(|byte| b"?[\\".contains(byte));
    wide == narrow || (has_stars_only && !narrow.contains(&b'\\') && glob::matches(wide, narrow))
}

/// Whether some key may be one of both.
fn overlap(rule: Option<&RouteRule>, other: Option<&RouteRule>) -> bool {
    let (Some(rule), Some(other)) = (rule, other) else { return true };
    let (start, other_start) = (beginning(rule.pattern.as_bytes()), beginning(other.pattern.as_bytes()));
    start.starts_with(other_start) || other_start.starts_with(start)
}

/// Whether a key of both lives in the same cluster by either.
fn live_alike(rule: Option<&RouteRule>, other: Option<&RouteRule>, default: &str) -> bool {
    let (one, two) = (names(rule, default), names(other, default));
    let picks_alike = || match (rule, other) {
        (Some(rule), Some(other)) => rule.by == other.by && rule.pattern == other.pattern,
        _ => false,
    };
    one == two && (one.len() == 1 || picks_alike())
}

/// The cluster with the highest score of all is that of a key by both lists if it is on both.
fn share_moved(old: Option<&RouteRule>, new: Option<&RouteRule>) -> Option<f64> {
    let (old, new) = (old?, new?);
    if old.by != new.by || old.pattern != new.pattern || old.by.is_empty() {
        return None;
    }
    let is_in = |rule: &RouteRule, name: &str| rule.clusters.iter().any(|(_, known)| known == name);
    let in_both = old.clusters.iter().filter(|(_, name)| is_in(new, name)).count();
    let in_any = old.clusters.len() + new.clusters.len() - in_both;
    Some(1.0 - in_both as f64 / in_any as f64)
}

fn names<'r>(rule: Option<&'r RouteRule>, default: &'r str) -> Vec<&'r str> {
    let mut names = match rule {
        Some(rule) => rule.clusters.iter().map(|(_, name)| name.as_str()).collect(),
        None => vec![default],
    };
    names.sort_unstable();
    names.dedup();
    names
}

fn clusters(rule: Option<&RouteRule>, default: &str) -> String {
    names(rule, default).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::ClusterId;

    /// `pattern clusters by`, of a user if `user@` stands before it.
    fn rule(text: &str) -> RouteRule {
        let (user, text) = text.split_once('@').map_or((None, text), |(user, text)| (Some(user), text));
        let mut words = text.split(' ');
        let pattern = words.next().unwrap_or_default().to_owned();
        let clusters =
            words.next().unwrap_or_default().split(',').map(|name| (ClusterId(0), name.to_owned()));
        let clusters = clusters.collect();
        let by = words.next().unwrap_or_default().to_owned();
        RouteRule { user: user.map(str::to_owned), pattern, clusters, by }
    }

    fn check(old: &[&str], new: &[&str], expect: &[&str]) {
        let [old_rules, new_rules] =
            [old, new].map(|rules| rules.iter().map(|text| rule(text)).collect::<Vec<_>>());
        let shown: Vec<String> = moves(&old_rules, &new_rules, "default")
            .iter()
            .map(|found| {
                let user = found.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
                format!("{:?} {user}{}: {} -> {}", found.rule, found.pattern, found.from, found.to)
            })
            .collect();
        assert_eq!(shown, expect, "{old:?} to {new:?}");
    }

    #[test]
    fn other_clusters_for_the_same_part_move_a_share() {
        let share = |old: &str, new: &str| moves(&[rule(old)], &[rule(new)], "default")[0].share;
        assert_eq!(share("t:*:* a,b,c $1", "t:*:* a,b,c,d $1"), Some(0.25));
        assert_eq!(share("t:*:* a,b,c,d $1", "t:*:* a,b $1"), Some(0.5));
        assert_eq!(share("t:*:* a,b $1", "t:*:* c,d $1"), Some(1.0));
        assert_eq!(share("t:*:* a,b $1", "t:*:* a,b $2"), None);
    }

    #[test]
    fn what_stays_as_it_is_moves_nothing() {
        check(&[], &[], &[]);
        check(&["t:7:* big", "t:*:* a,b,c $1"], &["t:7:* big", "t:*:* c,b,a $1"], &[]);
        check(&["t:7:* big", "u:* a"], &["u:* a", "t:7:* big"], &[]);
        check(&["t:7:* big"], &["t:7:* big", "t:7:x:* big"], &[]);
        check(&["t:*:* big"], &["t:7:?:* big", "t:*:* big"], &[]);
        check(&[], &["t:7:* default"], &[]);
        check(&["t:7:* default"], &[], &[]);
        check(&["t:7:* big"], &["t:7:* big", "t:7:x:* a"], &[]);
    }

    #[test]
    fn what_is_added_changed_or_taken_out_moves_its_keys() {
        check(&[], &["t:7:* big"], &["Some(0) t:7:*: default -> big"]);
        check(&["t:7:* big"], &["t:7:* a"], &["Some(0) t:7:*: big -> a"]);
        check(&["t:7:* big"], &[], &["None t:7:*: big -> default"]);
        check(&["t:*:* a,b $1"], &["t:*:* a,b,c $1"], &["Some(0) t:*:*: a, b -> a, b, c"]);
        check(&["t:*:* a,b $1"], &["t:*:* a,b $2"], &["Some(0) t:*:*: a, b -> a, b"]);
        check(&["t:*:* a,b $1"], &["t:7:* big", "t:*:* a,b $1"], &["Some(0) t:7:*: a, b -> big"]);
        check(&["t:7:* big", "t:* a"], &["t:* a", "t:7:* big"], &["Some(0) t:*: big -> a"]);
    }

    #[test]
    fn a_rule_of_a_user_moves_the_keys_of_that_user() {
        check(&[], &["eve@* big"], &["Some(0) eve@*: default -> big"]);
        check(&["eve@* big"], &[], &["None eve@*: big -> default"]);
        check(&["eve@* big"], &["eve@* big", "bob@* default"], &[]);
        // What moves for everybody is told once, and does not concern those with a rule of their own before.
        check(&["eve@* big"], &["eve@* big", "t:* a"], &["Some(1) t:*: default -> a"]);
        check(&["eve@u:* big"], &["eve@u:* big", "t:* a"], &["Some(1) t:*: default -> a"]);
        // Behind a rule of everybody it takes what that leaves.
        check(&["t:* a"], &["t:* a", "eve@* big"], &["Some(1) eve@*: default -> big"]);
        check(
            &["t:* a"],
            &["eve@* big", "t:* a"],
            &["Some(0) eve@*: a -> big", "Some(0) eve@*: default -> big"],
        );
    }
}
