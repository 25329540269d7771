//! Sentences that name settings of servers: those of the cluster that they are about.
//!
//! Whoever writes such a sentence writes it for `[upstream]`. Before somebody reads it, it is turned into one of the cluster's own table.

use std::fmt::Write;

use super::sections::Upstream;
use crate::route::DEFAULT_CLUSTER;

/// What precedes the name of a directive of `[upstream]`.
const PREFIX: &str = "upstream.";

/// A sentence about the servers of `cluster`, with every directive of `[upstream]` in it named as the one of that cluster's table. Other
/// words stay, whoever said them.
pub fn naming(cluster: &str, sentence: &str) -> String {
    if cluster == DEFAULT_CLUSTER {
        return sentence.to_owned();
    }
    let mut parts = sentence.split(PREFIX);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(part.len());
        let (directive, rest) = part.split_at(end);
        let before = out.chars().next_back();
        let begins_a_word = before.is_none_or(|before| !before.is_alphanumeric() && before != '.');
        match begins_a_word && Upstream::DIRECTIVES.iter().any(|known| known.key == directive) {
            // Writing into a string does not fail.
            true => drop(write!(out, "{directive} of [[cluster]] {cluster}{rest}")),
            false => drop(write!(out, "{PREFIX}{part}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_the_table_of_its_cluster() {
        for (said, expect) in [
            (
                "it wants a password (NOAUTH): set upstream.password",
                "it wants a password (NOAUTH): set password of [[cluster]] orders",
            ),
            (
                "set upstream.user and upstream.password",
                "set user of [[cluster]] orders and password of [[cluster]] orders",
            ),
            ("upstream.example.com: no such host", "upstream.example.com: no such host"),
            ("redis.upstream.servers: no such host", "redis.upstream.servers: no such host"),
            ("it does not answer", "it does not answer"),
        ] {
            assert_eq!(naming("orders", said), expect);
            assert_eq!(naming(DEFAULT_CLUSTER, said), said);
        }
    }
}
