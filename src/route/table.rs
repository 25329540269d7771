//! The rules of `[[route]]`, made ready for the data path: which cluster a key lives in.
//!
//! The first rule that matches decides, as with `[[rule]]` ([`first_match`](super::first_match)).
//!
//! Owns no connection and knows no address. It deliberately does not check the rules: the configuration does.

use super::ClusterId;
use super::first_match::{FirstMatch, beginning};
use super::pick::{Candidate, PartHash, pick};
use crate::command::glob;

/// A rule as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRule {
    /// The pattern of the keys.
    pub pattern: String,
    /// The clusters that share them, at least one.
    pub clusters: Vec<(ClusterId, String)>,
    /// The part of the key that picks one of several, with `$1` to `$9` for what the stars matched.
    pub by: String,
}

impl RouteRule {
    /// A rule of another gateway, which has numbers of its own for its clusters: to be compared by names.
    pub fn of_names(pattern: String, clusters: Vec<String>, by: String) -> Self {
        let clusters = clusters.into_iter().map(|name| (ClusterId::DEFAULT, name)).collect();
        Self { pattern, clusters, by }
    }
}

/// A piece of [`RouteRule::by`].
#[derive(Debug)]
enum Piece {
    Text(Box<[u8]>),
    /// What the star of this number matched, counted from 0.
    Star(usize),
}

#[derive(Debug)]
struct Compiled {
    pattern: Box<[u8]>,
    /// Behind its beginning stands one star and nothing else.
    is_prefix: bool,
    candidates: Box<[Candidate]>,
    by: Box<[Piece]>,
}

/// All rules.
#[derive(Debug)]
pub struct RouteTable {
    names: Vec<String>,
    rules: Vec<RouteRule>,
    compiled: Box<[Compiled]>,
    first_match: FirstMatch,
}

impl RouteTable {
    /// Makes them ready. `names` are those of all clusters.
    pub fn new(names: Vec<String>, rules: Vec<RouteRule>) -> Self {
        let compiled = rules.iter().map(Compiled::new).collect();
        let first_match = FirstMatch::new(rules.iter().map(|rule| rule.pattern.as_bytes()));
        Self { names, rules, compiled, first_match }
    }

    /// The cluster that a key lives in.
    pub fn cluster_of(&self, key: &[u8]) -> ClusterId {
        self.place_of_rule(key).map_or(ClusterId::DEFAULT, |place| self.compiled[place].cluster_of(key))
    }

    /// The rule that decides on a key, by its place; none where no rule matches.
    pub fn place_of_rule(&self, key: &[u8]) -> Option<usize> {
        self.first_match.place_of(key)
    }

    /// The rules as they are written.
    pub fn rules(&self) -> &[RouteRule] {
        &self.rules
    }

    /// What a cluster is called.
    pub fn name_of(&self, cluster: ClusterId) -> &str {
        self.names.get(cluster.position()).map_or("", String::as_str)
    }

    /// Whether some key of a pattern may live in `cluster`. It errs towards yes.
    pub fn may_hold(&self, pattern: &[u8], cluster: ClusterId) -> bool {
        let start = beginning(pattern);
        for rule in self.overlapping(start) {
            if rule.candidates.iter().any(|candidate| candidate.cluster == cluster) {
                return true;
            }
            if rule.is_prefix && start.starts_with(beginning(&rule.pattern)) {
                return false;
            }
        }
        cluster == ClusterId::DEFAULT
    }

    /// The rules that some key may meet which begins like this.
    fn overlapping<'t>(&'t self, start: &'t [u8]) -> impl Iterator<Item = &'t Compiled> {
        self.compiled.iter().filter(move |rule| {
            let beginning = beginning(&rule.pattern);
            let length = beginning.len().min(start.len());
            beginning[..length] == start[..length]
        })
    }

    /// Whether some key that begins like this may live elsewhere than in `cluster`. It errs towards yes.
    pub fn may_leave(&self, start: &[u8], cluster: ClusterId) -> bool {
        for rule in self.overlapping(start) {
            if rule.candidates.iter().any(|candidate| candidate.cluster != cluster) {
                return true;
            }
            if rule.is_prefix && start.starts_with(beginning(&rule.pattern)) {
                return false;
            }
        }
        cluster != ClusterId::DEFAULT
    }
}

impl Compiled {
    fn new(rule: &RouteRule) -> Self {
        let pattern: Box<[u8]> = rule.pattern.as_bytes().into();
        let is_prefix = pattern.strip_prefix(beginning(&pattern)) == Some(b"*");
        let candidates = rule.clusters.iter().map(|(cluster, name)| Candidate::new(*cluster, name)).collect();
        Self { is_prefix, candidates, by: pieces(rule.by.as_bytes()), pattern }
    }

    fn cluster_of(&self, key: &[u8]) -> ClusterId {
        if let [only] = &*self.candidates {
            return only.cluster;
        }
        let stars = glob::captures(&self.pattern, key).unwrap_or_default();
        let mut part = PartHash::default();
        for piece in &self.by {
            part.write(match piece {
                Piece::Text(text) => text,
                Piece::Star(star) => stars.get(*star).copied().unwrap_or_default(),
            });
        }
        pick(&self.candidates, part)
    }
}

fn pieces(by: &[u8]) -> Box<[Piece]> {
    let (mut pieces, mut text, mut rest) = (Vec::new(), Vec::new(), by);
    loop {
        match rest {
            [b'$', digit @ b'1'..=b'9', tail @ ..] => {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text).into()));
                }
                pieces.push(Piece::Star(usize::from(digit - b'1')));
                rest = tail;
            }
            [byte, tail @ ..] => {
                text.push(*byte);
                rest = tail;
            }
            [] => break,
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text.into()));
    }
    pieces.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str, clusters: &[u16], by: &str) -> RouteRule {
        let clusters = clusters.iter().map(|id| (ClusterId(*id), format!("c{id}"))).collect();
        RouteRule { pattern: pattern.to_owned(), clusters, by: by.to_owned() }
    }

    fn table(rules: &[RouteRule]) -> RouteTable {
        RouteTable::new((0..9).map(|id| format!("c{id}")).collect(), rules.to_vec())
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let table = table(&[
            rule("t:7:*", &[1], ""),
            rule("t:*:cart", &[2], ""),
            rule("t:7*", &[3], ""),
            rule("exact", &[4], ""),
            rule("a\\*b", &[5], ""),
            rule("*:end", &[6], ""),
            rule("exact", &[7], ""),
        ]);
        let check = |key: &str, cluster: u16| {
            assert_eq!(table.cluster_of(key.as_bytes()), ClusterId(cluster), "{key}");
        };
        check("t:7:cart", 1);
        check("t:8:cart", 2);
        check("t:77", 3);
        check("t:77:end", 3);
        check("t:8:end", 6);
        check("exact", 4);
        check("exactly", 0);
        check("a*b", 5);
        check("acb", 0);
        check("", 0);
    }

    /// The index finds what a walk over all rules finds.
    #[test]
    fn the_index_overlooks_no_rule() {
        let patterns = ["", "a*", "ab*", "a", "ab", "*b", "a?", "[ab]*", "abc*", "*", "b*a", "a\\*"];
        let keys: Vec<String> = (0..4u32)
            .flat_map(|length| (0..4u32.pow(length)).map(move |number| (length, number)))
            .map(|(length, number)| {
                (0..length).map(|at| ['a', 'b', 'c', '*'][(number >> (2 * at) & 3) as usize]).collect()
            })
            .collect();
        for shift in 0..patterns.len() {
            let rules: Vec<RouteRule> = (0..patterns.len())
                .map(|place| rule(patterns[(place * 5 + shift) % patterns.len()], &[place as u16 + 1], ""))
                .collect();
            let rules = &rules[..8];
            let table = table(rules);
            for key in &keys {
                let walk =
                    rules.iter().position(|rule| glob::matches(rule.pattern.as_bytes(), key.as_bytes()));
                assert_eq!(table.place_of_rule(key.as_bytes()), walk, "{key:?} by {rules:?}");
            }
        }
    }

    #[test]
    fn the_captured_part_alone_picks_the_cluster() {
        let table = table(&[rule("t:*:*", &[1, 2, 3], "$1")]);
        let mut seen = std::collections::HashSet::new();
        for tenant in 0..100 {
            let of = |rest: &str| table.cluster_of(format!("t:{tenant}:{rest}").as_bytes());
            assert_eq!(of("cart"), of("orders:1"));
            seen.insert(of("cart"));
        }
        assert_eq!(seen.len(), 3);
        assert_eq!(table.cluster_of(b"other"), ClusterId::DEFAULT);
    }

    #[test]
    fn knows_which_names_may_live_elsewhere() {
        let table = table(&[rule("t:7:*", &[1], ""), rule("t:*", &[2], ""), rule("u:*:x", &[3], "")]);
        let check = |start: &str, cluster: u16, expect: bool| {
            assert_eq!(table.may_leave(start.as_bytes(), ClusterId(cluster)), expect, "{start} {cluster}");
        };
        check("t:7:w_", 1, false);
        check("t:7", 1, true);
        check("t:8:", 2, false);
        check("t:", 2, true);
        check("", 0, true);
        check("v", 0, false);
        check("u:1:", 3, true);
        check("u:1:", 0, true);
        let holds = |pattern: &str| -> Vec<u16> {
            (0..4).filter(|id| table.may_hold(pattern.as_bytes(), ClusterId(*id))).collect()
        };
        assert_eq!(holds("t:7:*"), [1]);
        assert_eq!(holds("t:*:n"), [1, 2]);
        assert_eq!(holds("u:*"), [0, 3]);
        assert_eq!(holds("*"), [0, 1, 2, 3]);
    }
}
