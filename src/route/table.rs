//! The rules of `[[route]]`, made ready for the data path: which cluster a key lives in.
//!
//! The first rule that matches decides, as with `[[rule]]` ([`first_match`](super::first_match)). A rule of one user is tried for that user
//! only, in its place among those of everybody. So for each user whom rules name there is an index of its own beside that of
//! everybody, and whoever is not named looks into the latter alone.
//!
//! Owns no connection and knows no address. It deliberately does not check the rules: the configuration does.

use std::collections::HashMap;

use super::first_match::{FirstMatch, beginning};
use super::pick::{Candidate, PartHash, pick};
use super::{ClusterId, RoutedAs};
use crate::command::glob;

/// A rule as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRule {
    /// The user whose keys alone it is about, if it is one's.
    pub user: Option<String>,
    /// The pattern of the keys.
    pub pattern: String,
    /// The clusters that share them, at least one.
    pub clusters: Vec<(ClusterId, String)>,
    /// The part of the key that picks one of several, with `$1` to `$9` for what the stars matched.
    pub by: String,
}

impl RouteRule {
    /// A rule of another gateway, which has numbers of its own for its clusters: to be compared by names.
    pub fn of_names(keys: (Option<String>, String), clusters: Vec<String>, by: String) -> Self {
        let clusters = clusters.into_iter().map(|name| (ClusterId::DEFAULT, name)).collect();
        Self { user: keys.0, pattern: keys.1, clusters, by }
    }

    /// Whether it is tried for this user, or for those whom no rule names.
    pub(super) fn is_tried_for(&self, user: Option<&str>) -> bool {
        self.user.is_none() || self.user.as_deref() == user
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
    /// Whose it is; everybody's, if no user's.
    owner: RoutedAs,
    pattern: Box<[u8]>,
    /// Behind its beginning stands one star and nothing else.
    is_prefix: bool,
    candidates: Box<[Candidate]>,
    by: Box<[Piece]>,
}

/// The rules of one user, or those of everybody.
#[derive(Debug)]
struct OwnRules {
    first_match: FirstMatch,
    /// The place of each among all rules.
    places: Box<[u16]>,
}

impl OwnRules {
    fn new(owner: RoutedAs, compiled: &[Compiled]) -> Self {
        let own = || (0..).zip(compiled).filter(|(_, rule)| rule.owner == owner);
        Self {
            first_match: FirstMatch::new(own().map(|(_, rule)| &*rule.pattern)),
            places: own().map(|(place, _)| place).collect(),
        }
    }

    fn place_of(&self, key: &[u8]) -> Option<u16> {
        self.first_match.place_of(key).map(|place| self.places[place])
    }
}

/// All rules.
#[derive(Debug)]
pub struct RouteTable {
    names: Vec<String>,
    rules: Vec<RouteRule>,
    compiled: Box<[Compiled]>,
    /// Those whom rules name.
    users: HashMap<Box<[u8]>, RoutedAs, ahash::RandomState>,
    /// By [`RoutedAs`]: the rules of everybody, then those of each such user.
    lists: Box<[OwnRules]>,
}

impl RouteTable {
    /// Makes them ready. `names` are those of all clusters.
    pub fn new(names: Vec<String>, rules: Vec<RouteRule>) -> Self {
        let mut users = HashMap::default();
        let mut owner_of = |rule: &RouteRule| match &rule.user {
            None => RoutedAs::ANYBODY,
            Some(user) => {
                let next = RoutedAs(users.len() as u16 + 1);
                *users.entry(user.as_bytes().into()).or_insert(next)
            }
        };
        let compiled: Box<[Compiled]> =
            rules.iter().map(|rule| Compiled::new(owner_of(rule), rule)).collect();
        let lists = (0..=users.len() as u16).map(|owner| OwnRules::new(RoutedAs(owner), &compiled)).collect();
        Self { names, rules, compiled, users, lists }
    }

    /// By whose rules keys are looked for that this user names.
    pub fn routed_as(&self, user: &[u8]) -> RoutedAs {
        self.users.get(user).copied().unwrap_or(RoutedAs::ANYBODY)
    }

    /// Everybody whom rules tell from others: those whom none names, and each user that one does.
    pub fn all(&self) -> impl Iterator<Item = RoutedAs> + use<> {
        (0..self.lists.len() as u16).map(RoutedAs)
    }

    /// The cluster that a key lives in.
    #[inline]
    pub fn cluster_of(&self, routed_as: RoutedAs, key: &[u8]) -> ClusterId {
        let place = self.place_of_rule(routed_as, key);
        place.map_or(ClusterId::DEFAULT, |place| self.compiled[place].cluster_of(key))
    }

    /// The rule that decides on a key, by its place; none where no rule matches.
    #[inline]
    pub fn place_of_rule(&self, routed_as: RoutedAs, key: &[u8]) -> Option<usize> {
        let common = self.lists[0].place_of(key);
        let place = match routed_as {
            RoutedAs::ANYBODY => common,
            _ => self.own_place(routed_as, key, common),
        };
        place.map(usize::from)
    }

    /// The earlier of the rule of everybody that matches and of the user's own that does.
    fn own_place(&self, routed_as: RoutedAs, key: &[u8], common: Option<u16>) -> Option<u16> {
        let own = self.lists.get(routed_as.position()).and_then(|list| list.place_of(key));
        own.into_iter().chain(common).min()
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
    pub fn may_hold(&self, routed_as: RoutedAs, pattern: &[u8], cluster: ClusterId) -> bool {
        let start = beginning(pattern);
        for rule in self.overlapping(routed_as, start) {
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
    fn overlapping<'t>(&'t self, routed_as: RoutedAs, start: &'t [u8]) -> impl Iterator<Item = &'t Compiled> {
        let tried =
            self.compiled.iter().filter(move |rule| [RoutedAs::ANYBODY, routed_as].contains(&rule.owner));
        tried.filter(move |rule| {
            let beginning = beginning(&rule.pattern);
            let length = beginning.len().min(start.len());
            beginning[..length] == start[..length]
        })
    }

    /// Whether some key that begins like this may live elsewhere than in `cluster`. It errs towards yes.
    pub fn may_leave(&self, routed_as: RoutedAs, start: &[u8], cluster: ClusterId) -> bool {
        for rule in self.overlapping(routed_as, start) {
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
    fn new(owner: RoutedAs, rule: &RouteRule) -> Self {
        let pattern: Box<[u8]> = rule.pattern.as_bytes().into();
        let is_prefix = pattern.strip_prefix(beginning(&pattern)) == Some(b"*");
        let candidates = rule.clusters.iter().map(|(cluster, name)| Candidate::new(*cluster, name)).collect();
        Self { owner, is_prefix, candidates, by: pieces(rule.by.as_bytes()), pattern }
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
        RouteRule { user: None, pattern: pattern.to_owned(), clusters, by: by.to_owned() }
    }

    const ANYBODY: RoutedAs = RoutedAs::ANYBODY;

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
            assert_eq!(table.cluster_of(ANYBODY, key.as_bytes()), ClusterId(cluster), "{key}");
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
                assert_eq!(table.place_of_rule(ANYBODY, key.as_bytes()), walk, "{key:?} by {rules:?}");
            }
        }
    }

    #[test]
    fn the_captured_part_alone_picks_the_cluster() {
        let table = table(&[rule("t:*:*", &[1, 2, 3], "$1")]);
        let mut seen = std::collections::HashSet::new();
        for tenant in 0..100 {
            let of = |rest: &str| table.cluster_of(ANYBODY, format!("t:{tenant}:{rest}").as_bytes());
            assert_eq!(of("cart"), of("orders:1"));
            seen.insert(of("cart"));
        }
        assert_eq!(seen.len(), 3);
        assert_eq!(table.cluster_of(ANYBODY, b"other"), ClusterId::DEFAULT);
    }

    /// A walk over all rules finds what the indexes find, whoever asks.
    #[test]
    fn a_rule_of_a_user_is_tried_for_that_user_in_its_place() {
        let of = |user: &str, rule: RouteRule| RouteRule { user: Some(user.to_owned()), ..rule };
        let rules = [
            of("eve", rule("t:7:*", &[1], "")),
            rule("t:7:x", &[2], ""),
            of("bob", rule("t:*", &[3], "")),
            rule("t:*", &[4], ""),
            of("eve", rule("*", &[5], "")),
        ];
        let table = table(&rules);
        for user in ["eve", "bob", "default", ""] {
            let routed_as = table.routed_as(user.as_bytes());
            assert_eq!(routed_as == ANYBODY, !["eve", "bob"].contains(&user), "{user}");
            for key in ["t:7:x", "t:7:y", "t:8", "u"] {
                let matches = |rule: &RouteRule| {
                    rule.is_tried_for(Some(user)) && glob::matches(rule.pattern.as_bytes(), key.as_bytes())
                };
                let walk = rules.iter().position(matches);
                assert_eq!(table.place_of_rule(routed_as, key.as_bytes()), walk, "{user} {key}");
            }
            let reaches = |cluster: u16| table.may_hold(routed_as, b"*", ClusterId(cluster));
            let reached: Vec<u16> = (0..6).filter(|cluster| reaches(*cluster)).collect();
            match user {
                "eve" => assert_eq!(reached, [1, 2, 4, 5], "her last rule takes all others"),
                "bob" => assert_eq!(reached, [0, 2, 3, 4]),
                _ => assert_eq!(reached, [0, 2, 4]),
            }
        }
        assert_eq!(table.all().count(), 3);
        // Of other routes: nobody's.
        assert_eq!(table.place_of_rule(RoutedAs(9), b"t:7:y"), Some(3));
    }

    #[test]
    fn knows_which_names_may_live_elsewhere() {
        let table = table(&[rule("t:7:*", &[1], ""), rule("t:*", &[2], ""), rule("u:*:x", &[3], "")]);
        let check = |start: &str, cluster: u16, expect: bool| {
            assert_eq!(
                table.may_leave(ANYBODY, start.as_bytes(), ClusterId(cluster)),
                expect,
                "{start} {cluster}"
            );
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
            (0..4).filter(|id| table.may_hold(ANYBODY, pattern.as_bytes(), ClusterId(*id))).collect()
        };
        assert_eq!(holds("t:7:*"), [1]);
        assert_eq!(holds("t:*:n"), [1, 2]);
        assert_eq!(holds("u:*"), [0, 3]);
        assert_eq!(holds("*"), [0, 1, 2, 3]);
    }
}
