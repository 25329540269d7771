//! One discovery of the upstream: which nodes to ask, how many at once, and when to stop waiting.
//!
//! A few nodes are asked at once, because any of them may be down, paused, or out of date. Each failure, and each quarter
//! of a second without an acceptable answer, adds the next candidate. A quarter of a second after an acceptable answer the
//! discovery ends with what it has. So a dead node costs no time while another answers, and one living node of a
//! cluster is enough to find it.

use std::time::Duration;

use redis_protocol::resp2::types::OwnedFrame;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::choose::ClusterAnswer;
use super::diagnose::{check_identity, explain, speaks_plainly, speaks_tls};
use super::info::{ClusterState, field};
use super::parse::{Asked, parse_shards, parse_slots};
use crate::control::upstream_client::{Credentials, Timeouts, UpstreamClient, UpstreamError};
use crate::shared::topology::{Address, UpstreamKind};

/// Nodes asked at once, and answers after which no more are waited for. With three, a single stale or dead node is
/// outvoted.
const ANSWERS_WANTED: usize = 3;

/// How long to wait for further answers after the first acceptable one, and between further candidates before it.
const PATIENCE: Duration = Duration::from_millis(250);

/// The answer of one node.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It is part of a cluster.
    Cluster(ClusterAnswer),
    /// It stands alone.
    Single {
        /// Its `INFO replication` and `INFO persistence`; empty when it refuses to say.
        info: String,
    },
}

impl Answer {
    /// There is something to publish in it: an owner of some slot, or a server that takes writes.
    fn is_acceptable(&self) -> bool {
        match self {
            Self::Cluster(answer) => answer.view.assigned_slots() > 0,
            Self::Single { info } => is_master(info),
        }
    }
}

/// `INFO replication` of a server that takes writes, or that does not say.
pub fn is_master(replication: &str) -> bool {
    field(replication, "role").is_none_or(|role| role == "master")
}

/// How to ask.
#[derive(Clone, Debug)]
pub struct DiscoveryOptions {
    /// The kind of the upstream, if it is known; otherwise each node is asked.
    pub kind: Option<UpstreamKind>,
    /// The login of the gateway at the servers.
    pub credentials: Credentials,
    /// How long to wait for one node.
    pub timeouts: Timeouts,
    /// By what the gateway would know itself as its own upstream.
    pub own_id: String,
}

/// The result of a discovery.
#[derive(Debug, Default)]
pub struct Discovery {
    /// The answers with the addresses that gave them, in the order of the candidates.
    pub answers: Vec<(Address, Answer)>,
    /// The nodes that gave no answer, and why.
    pub failures: Vec<(Address, String)>,
    /// One of them gave an answer that can't be used.
    pub is_wrong: bool,
}

/// Why a server gave no usable answer.
enum Failure {
    /// None that was heard.
    Unheard(String),
    /// One that is not what was asked for.
    Wrong(String),
}

impl From<UpstreamError> for Failure {
    fn from(error: UpstreamError) -> Self {
        match &error {
            // A password that was changed says nothing of connections that are open.
            UpstreamError::Refused(text) if !text.starts_with("NOAUTH") => Self::Wrong(explain(&error)),
            UpstreamError::Unreadable(_) => Self::Wrong(explain(&error)),
            _ => Self::Unheard(explain(&error)),
        }
    }
}

/// Asks the candidates, the first ones first.
pub async fn discover(candidates: Vec<Address>, asking: &DiscoveryOptions) -> Discovery {
    let mut found: Vec<(usize, Address, Answer)> = Vec::new();
    let mut failures = Vec::new();
    let mut waiting = candidates.into_iter().enumerate();
    let mut asked = JoinSet::new();
    let mut ask_next = |asked: &mut JoinSet<_>| {
        if let Some((position, address)) = waiting.next() {
            let asking = asking.clone();
            asked.spawn(async move { (position, ask(&address, &asking).await, address) });
        }
    };
    for _ in 0..ANSWERS_WANTED {
        ask_next(&mut asked);
    }
    let mut patience_ends = Instant::now() + PATIENCE;
    let (mut accepted, mut is_wrong) = (false, false);
    while !asked.is_empty() && (found.len() < ANSWERS_WANTED || !accepted) {
        tokio::select! {
            Some(joined) = asked.join_next() => {
                let Ok((position, answer, address)) = joined else { continue };
                match answer {
                    Ok(answer) => {
                        if answer.is_acceptable() && !accepted {
                            accepted = true;
                            patience_ends = Instant::now() + PATIENCE;
                        } else if !accepted {
                            ask_next(&mut asked);
                        }
                        found.push((position, address, answer));
                    }
                    Err(failure) => {
                        is_wrong |= matches!(failure, Failure::Wrong(_));
                        let (Failure::Unheard(why) | Failure::Wrong(why)) = failure;
                        failures.push((address, why));
                        ask_next(&mut asked);
                    }
                }
            }
            () = sleep_until(patience_ends) => {
                if accepted {
                    break;
                }
                ask_next(&mut asked);
                patience_ends = Instant::now() + PATIENCE;
            }
        }
    }
    found.sort_by_key(|(position, _, _)| *position);
    failures.sort();
    let answers = found.into_iter().map(|(_, address, answer)| (address, answer)).collect();
    Discovery { answers, failures, is_wrong }
}

async fn ask(address: &Address, asking: &DiscoveryOptions) -> Result<Answer, Failure> {
    let mut client = introduce(address, asking).await?;
    let kind = match asking.kind {
        Some(kind) => kind,
        None => ask_kind(&mut client).await?,
    };
    match kind {
        UpstreamKind::Cluster => {
            ask_cluster(&mut client, Asked { host: &address.host, tls: asking.credentials.dialer.is_tls() })
                .await
                .map(Answer::Cluster)
        }
        UpstreamKind::Single => {
            let mut info = String::new();
            for section in [&b"replication"[..], b"persistence"] {
                match client.text(&[b"INFO", section]).await {
                    Ok(text) => info += &text,
                    // It answers, and its user may not ask for this.
                    Err(UpstreamError::Refused(why)) if why.starts_with("NOPERM") => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(Answer::Single { info })
        }
    }
}

/// A connection to a server that keeps data for us, as far as it says what it is.
async fn introduce(address: &Address, asking: &DiscoveryOptions) -> Result<UpstreamClient, Failure> {
    let greeting = async {
        let mut client = UpstreamClient::connect(address, &asking.credentials, asking.timeouts).await?;
        match client.text(&[b"INFO", b"server"]).await {
            // It answers, and its user may not ask for this.
            Err(UpstreamError::Refused(why)) if !why.starts_with("NOAUTH") => Ok((client, String::new())),
            answer => Ok((client, answer?)),
        }
    };
    match greeting.await {
        Ok((client, info)) => check_identity(&info, &asking.own_id).map(|()| client).map_err(Failure::Wrong),
        Err(UpstreamError::Broken(_) | UpstreamError::Unreadable(_))
            if !asking.credentials.dialer.is_tls() && speaks_tls(address, asking.timeouts.connect).await =>
        {
            let why = "it speaks TLS: set upstream.tls, or name a plain port in upstream.servers";
            Err(Failure::Wrong(why.to_owned()))
        }
        Err(UpstreamError::Tls(_)) if speaks_plainly(address, asking.timeouts.connect).await => {
            let why =
                "it does not speak TLS: name its TLS port in upstream.servers, or take upstream.tls out";
            Err(Failure::Wrong(why.to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

/// `INFO cluster` has `cluster_enabled`; a server or a user without it is asked for `CLUSTER INFO`, which a server that
/// stands alone refuses.
async fn ask_kind(client: &mut UpstreamClient) -> Result<UpstreamKind, UpstreamError> {
    let info = match client.text(&[b"INFO", b"cluster"]).await {
        Ok(info) => info,
        Err(UpstreamError::Refused(_)) => String::new(),
        Err(error) => return Err(error),
    };
    match field(&info, "cluster_enabled") {
        Some("1") => return Ok(UpstreamKind::Cluster),
        Some("0") => return Ok(UpstreamKind::Single),
        _ => {}
    }
    match client.text(&[b"CLUSTER", b"INFO"]).await {
        Ok(_) => Ok(UpstreamKind::Cluster),
        Err(UpstreamError::Refused(why))
            if why.contains("cluster support disabled") || why.contains("unknown command") =>
        {
            Ok(UpstreamKind::Single)
        }
        Err(error) => Err(error),
    }
}

async fn ask_cluster(client: &mut UpstreamClient, asked: Asked<'_>) -> Result<ClusterAnswer, Failure> {
    let shards = match client.command(&[b"CLUSTER", b"SHARDS"]).await {
        // An older server, or a user who may not ask for it.
        Err(UpstreamError::Refused(_)) => None,
        Err(error) => return Err(error.into()),
        Ok(reply) => Some(reply),
    };
    let state = ClusterState::parse(&client.text(&[b"CLUSTER", b"INFO"]).await?);
    let from_shards = shards.as_ref().and_then(|reply| parse_shards(reply, asked).ok());
    // A map of the shards that lacks slots the node itself counts as assigned is the bug that `parse` tells of.
    let complete = from_shards.filter(|view| u64::from(view.assigned_slots()) >= state.assigned_slots);
    let view = match complete {
        Some(view) => view,
        None => {
            let slots: OwnedFrame = client.command(&[b"CLUSTER", b"SLOTS"]).await?;
            parse_slots(&slots, asked).map_err(|error| Failure::Wrong(error.to_string()))?
        }
    };
    Ok(ClusterAnswer { view, state })
}
