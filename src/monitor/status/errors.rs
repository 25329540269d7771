//! Requests that fail. That is an effect: whatever is found to cause it comes before it.

use super::{Findings, Level, StatusInput, percent, rate};
use crate::config::naming;
use crate::shared::labels::ErrorKind;

/// Errors as a part of requests from which they are worth a warning, and a part that is an emergency.
const ERROR_SHARE_WARNING: f64 = 0.01;
const ERROR_SHARE_CRITICAL: f64 = 0.05;
/// A single error a second is no trend, whatever its share of little traffic.
const ERRORS_PER_S_MIN: f64 = 1.0;

pub(super) fn judge(input: &StatusInput<'_>, found: &mut Findings) {
    let now = input.now;
    // One request may count several errors, and a lost connection counts one beside those of its requests.
    let share = (now.errors_per_s / now.requests_per_s.max(1.0)).min(1.0);
    if now.errors_per_s < ERRORS_PER_S_MIN || share < ERROR_SHARE_WARNING {
        return;
    }
    let level = if share >= ERROR_SHARE_CRITICAL { Level::Critical } else { Level::Warning };
    let why = why(input).map_or(String::new(), |why| format!(": {why}"));
    found.add(level, format!("{} of all requests fail ({}/s){why}.", percent(share), rate(now.errors_per_s)));
}

/// What most of them are.
fn why(input: &StatusInput<'_>) -> Option<String> {
    let most = input.now.errors_by_kind_per_s.iter().max_by(|a, b| a.1.total_cmp(b.1));
    let (label, _) = most?;
    let kind = ErrorKind::ALL.iter().find(|kind| kind.label() == *label)?;
    let words = match kind {
        ErrorKind::ClientProtocol => "clients send what is not RESP, or too much of it at once",
        ErrorKind::ClientRequest => {
            "clients send unknown commands, wrong numbers of arguments, or keys in different slots"
        }
        ErrorKind::ClientAuth => "clients are not logged in, or lack a right; ACL LOG names them",
        ErrorKind::NotCarried => "clients send commands that the gateway does not carry",
        ErrorKind::UpstreamReply => return Some(said(input)),
        ErrorKind::UpstreamLost => "connections to Redis break while requests are on them",
        ErrorKind::UpstreamUnavailable => "Redis can't be reached",
        ErrorKind::UpstreamProtocol => "what answers in place of Redis does not speak RESP",
        ErrorKind::Timeout => return Some(timed_out(input)),
        ErrorKind::RedirectExhausted => "nodes of the cluster send requests from one to the other",
        ErrorKind::UnknownOutcome => "connections broke after writes were sent, so their outcome is unknown",
        ErrorKind::Overload => "a queue or a buffer of the gateway is full",
    };
    Some(words.to_owned())
}

/// Which setting is over, where it is of one cluster.
fn timed_out(input: &StatusInput<'_>) -> String {
    let mut clusters = input.nodes.iter().map(|node| &node.cluster);
    let (first, is_one) = (clusters.next(), clusters.all(|cluster| *cluster == input.nodes[0].cluster));
    match first {
        Some(_) if !is_one => "Redis does not reply within the request_timeout of its cluster".to_owned(),
        first => {
            let sentence = "Redis does not reply within upstream.request_timeout";
            first.map_or_else(|| sentence.to_owned(), |cluster| naming(cluster, sentence))
        }
    }
}

/// Which node replies with errors, and what it says.
fn said(input: &StatusInput<'_>) -> String {
    let most = input.nodes.iter().max_by(|a, b| a.errors_per_s.total_cmp(&b.errors_per_s));
    match most.filter(|node| node.errors_per_s > 0.0 && !node.last_error.is_empty()) {
        Some(node) => format!("{} says \"{}\"", node.node, node.last_error),
        None => "Redis replies with errors".to_owned(),
    }
}
