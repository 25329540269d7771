//! Which server is the master, as Sentinels say it (`upstream.kind = "sentinel"`).
//!
//! All Sentinels that are named are asked at once, since any of them may be down, or cut off from the others and out of date. A failover gives
//! the master a higher configuration epoch, so the highest epoch is believed (Redis documentation, "Sentinel", "Configuration epochs"). One
//! that is lower than what was heard before is believed from a majority only: Sentinels that were set up anew begin again.
//!
//! What they name is then looked at like any server: this file only says where. Between looks a Sentinel tells of a switch by itself
//! ([`SentinelFollowers`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};

use super::diagnose::explain;
use crate::control::backoff::Backoff;
use crate::control::upstream_client::{Credentials, Timeouts, UpstreamClient, UpstreamError};
use crate::shared::topology::Address;

/// Sentinels that are asked: the first of the list. Nobody runs more than a handful for one master.
const SENTINELS_MAX: usize = 16;

/// How long to wait for the others once one has answered.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long a Sentinel that is listened to may be silent before it is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(5);

/// Pauses before a Sentinel is listened to again.
const LISTEN_PAUSE: Duration = Duration::from_millis(500);
const LISTEN_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Where a Sentinel says that a master has changed: `NAME OLD-HOST OLD-PORT HOST PORT`.
const SWITCHES: &[u8] = b"+switch-master";

/// The master that is wanted, and whom to ask for it.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Its name.
    pub master: String,
    /// The Sentinels.
    pub sentinels: Vec<Address>,
    /// The login of the gateway at the Sentinels.
    pub credentials: Credentials,
}

impl Watched {
    fn asked(&self) -> &[Address] {
        &self.sentinels[..self.sentinels.len().min(SENTINELS_MAX)]
    }
}

/// What one Sentinel says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    address: Address,
    /// The configuration epoch: grows with each failover.
    epoch: u64,
    /// It has promoted this one itself, and the others have yet to hear.
    is_ahead: bool,
}

/// What all of them said.
#[derive(Debug, Default)]
pub struct Heard {
    /// Where the master is, the likeliest place first; several while a failover is under way. Empty if nobody is believed.
    pub masters: Vec<Address>,
    /// The highest epoch that was heard.
    pub epoch: u64,
    /// The Sentinels that are of no use, and why.
    pub failures: Vec<(Address, String)>,
}

/// Asks all, and believes the freshest. `seen_epoch` is the highest that was heard before.
pub async fn ask_sentinels(watched: &Watched, timeouts: Timeouts, seen_epoch: u64) -> Heard {
    let mut asked = JoinSet::new();
    for sentinel in watched.asked() {
        let (sentinel, watched) = (sentinel.clone(), watched.clone());
        asked.spawn(async move { (ask(&sentinel, &watched, timeouts).await, sentinel) });
    }
    let (mut named, mut failures) = (Vec::new(), Vec::new());
    let mut waited_for = watched.asked().to_vec();
    let mut patience_ends = tokio::time::Instant::now() + timeouts.connect + timeouts.reply;
    while let Ok(Some(joined)) = timeout_at(patience_ends, asked.join_next()).await {
        let Ok((answer, sentinel)) = joined else { continue };
        waited_for.retain(|waited| *waited != sentinel);
        match answer {
            Ok(answer) => {
                patience_ends = patience_ends.min(tokio::time::Instant::now() + PATIENCE);
                named.push(answer);
            }
            Err(why) => failures.push((sentinel, why)),
        }
    }
    failures.extend(waited_for.into_iter().map(|sentinel| (sentinel, "no reply in time".to_owned())));
    failures.sort();
    let masters = believed(&named, watched.asked().len(), seen_epoch);
    if masters.is_empty() && !named.is_empty() {
        let stale = "it tells of a master from before a failover, and too few others answer".to_owned();
        failures.extend(named.iter().map(|answer| (answer.address.clone(), stale.clone())));
    }
    let epoch = named.iter().map(|answer| answer.epoch).max().unwrap_or(0);
    Heard { masters, epoch, failures }
}

/// Where the master is, the likeliest place first. Pure.
fn believed(named: &[Named], sentinels: usize, seen_epoch: u64) -> Vec<Address> {
    let Some(epoch) = named.iter().map(|answer| answer.epoch).max() else { return Vec::new() };
    if epoch < seen_epoch && named.len() * 2 <= sentinels {
        return Vec::new();
    }
    // By address: whether one is ahead with it, how many say it, and who said it first.
    let mut places: HashMap<&Address, (bool, usize, usize)> = HashMap::new();
    for (position, answer) in named.iter().enumerate().filter(|(_, answer)| answer.epoch == epoch) {
        let place = places.entry(&answer.address).or_insert((false, 0, usize::MAX - position));
        *place = (place.0 | answer.is_ahead, place.1 + 1, place.2);
    }
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort_by(|(_, one), (_, other)| other.cmp(one));
    places.into_iter().map(|(address, _)| address.clone()).collect()
}

/// One Sentinel's word, or a clause that says why there is none.
async fn ask(sentinel: &Address, watched: &Watched, timeouts: Timeouts) -> Result<Named, String> {
    let asked = async {
        let mut client = UpstreamClient::connect(sentinel, &watched.credentials, timeouts).await?;
        let name = watched.master.as_bytes();
        let state = match client.command(&[b"SENTINEL", b"MASTER", name]).await {
            Err(UpstreamError::Refused(why)) if why.contains("No such master") => {
                return Ok(Err(not_watched(&mut client, &watched.master).await));
            }
            state => state?,
        };
        // During a failover it may name the promoted server already, of which the former reply says nothing.
        let place = client.command(&[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", name]).await?;
        Ok::<_, UpstreamError>(Ok((state, place)))
    };
    match asked.await {
        Ok(Ok((state, place))) => read(&state, &place)
            .ok_or_else(|| "it answers what no Sentinel does: name Sentinels in upstream.servers".to_owned()),
        Ok(Err(why)) => Err(why),
        Err(error) => Err(explain_sentinel(&error)),
    }
}

/// What to do where a master is unknown.
async fn not_watched(client: &mut UpstreamClient, master: &str) -> String {
    let names: Vec<String> = match client.command(&[b"SENTINEL", b"MASTERS"]).await {
        Ok(OwnedFrame::Array(masters)) => masters
            .iter()
            .filter_map(|master| Some(fields(master).remove("name")?.to_owned()))
            .take(8)
            .collect(),
        _ => Vec::new(),
    };
    let watches = match names.as_slice() {
        [] => "none that it tells of".to_owned(),
        names => names.join(", "),
    };
    format!("this Sentinel watches no master called {master:?} (but {watches}): correct upstream.master")
}

fn explain_sentinel(error: &UpstreamError) -> String {
    match error {
        UpstreamError::Auth(text) => format!(
            "this Sentinel refuses the gateway's password ({text}): set upstream.sentinel_user and upstream.sentinel_password"
        ),
        UpstreamError::Refused(text) if text.starts_with("NOAUTH") => {
            format!("this Sentinel wants a password ({text}): set upstream.sentinel_password")
        }
        UpstreamError::Refused(text) if text.starts_with("NOPERM") => format!(
            "this Sentinel does not let the gateway's user ask ({text}): ACL SETUSER there +sentinel +subscribe +ping allchannels"
        ),
        UpstreamError::Refused(text) if text.contains("unknown command") => {
            "it is no Sentinel: name the Sentinels in upstream.servers, or take upstream.kind and upstream.master out".to_owned()
        }
        other => explain(other),
    }
}

/// A reply of alternating names and values.
fn fields(reply: &OwnedFrame) -> HashMap<&str, &str> {
    let OwnedFrame::Array(words) = reply else { return HashMap::new() };
    let words: Vec<&str> = words.iter().filter_map(text).collect();
    words.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

fn text(frame: &OwnedFrame) -> Option<&str> {
    match frame {
        OwnedFrame::BulkString(bytes) | OwnedFrame::SimpleString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

fn read(state: &OwnedFrame, place: &OwnedFrame) -> Option<Named> {
    let state = fields(state);
    let epoch = state.get("config-epoch")?.parse().ok()?;
    let OwnedFrame::Array(place) = place else { return None };
    let [host, port] = place.as_slice() else { return None };
    let (host, port) = (text(host)?, text(port)?.parse().ok().filter(|port| *port != 0)?);
    let is_ahead =
        state.get("ip") != Some(&host) || state.get("port").and_then(|port| port.parse().ok()) != Some(port);
    Some(Named { address: Address::new(host, port), epoch, is_ahead })
}

/// Listens to all Sentinels for a switch of the master. Dropping it ends that.
pub struct SentinelFollowers {
    tasks: JoinSet<()>,
    switched: Arc<Notify>,
}

impl SentinelFollowers {
    /// Listens to nobody yet.
    pub fn new() -> Self {
        Self { tasks: JoinSet::new(), switched: Arc::new(Notify::new()) }
    }

    /// Listens to these from now on.
    pub fn listen_to(&mut self, watched: Option<&Watched>, timeouts: Timeouts) {
        self.tasks = JoinSet::new();
        for sentinel in watched.into_iter().flat_map(Watched::asked) {
            let Some(watched) = watched.cloned() else { continue };
            self.tasks.spawn(follow(sentinel.clone(), watched, timeouts, Arc::clone(&self.switched)));
        }
    }

    /// What is notified when one of them has told of a switch.
    pub fn switched(&self) -> Arc<Notify> {
        Arc::clone(&self.switched)
    }
}

/// Listens to one Sentinel for as long as it is wanted, and again whenever the connection is lost.
async fn follow(sentinel: Address, watched: Watched, timeouts: Timeouts, switched: Arc<Notify>) {
    let mut pause = Backoff::new(LISTEN_PAUSE, LISTEN_PAUSE_MAX);
    loop {
        let mut is_listening = false;
        let heard = listen(&sentinel, &watched, timeouts, (&switched, &mut is_listening), &mut pause).await;
        // One that has gone may be the last: whether any can be asked is to be known now.
        if is_listening {
            switched.notify_one();
        }
        if let Err(error) = heard {
            tracing::debug!(%sentinel, "not listened to: {error}");
        }
        let delay = pause.next_delay(&mut rand::rng());
        sleep(delay).await;
    }
}

async fn listen(
    sentinel: &Address,
    watched: &Watched,
    timeouts: Timeouts,
    (switched, is_listening): (&Notify, &mut bool),
    pause: &mut Backoff,
) -> Result<(), UpstreamError> {
    let mut client = UpstreamClient::connect(sentinel, &watched.credentials, timeouts).await?;
    client.send(&[b"SUBSCRIBE", SWITCHES]).await?;
    loop {
        let heard = match client.next_reply(SILENCE).await? {
            Some(heard) => heard,
            None => {
                client.send(&[b"PING"]).await?;
                client.next_reply(timeouts.reply).await?.ok_or(UpstreamError::ReplyTimeout)?
            }
        };
        pause.reset();
        *is_listening = true;
        let Ok(Some((OwnedFrame::Array(words), _))) = decode(&heard) else { continue };
        let concerns =
            words.last().and_then(text).and_then(|said| said.split(' ').next()) == Some(&watched.master);
        if words.len() == 3 && concerns {
            switched.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(port: u16, epoch: u64, is_ahead: bool) -> Named {
        Named { address: Address::new("h", port), epoch, is_ahead }
    }

    #[test]
    fn the_highest_epoch_is_believed_and_a_lower_one_than_before_from_a_majority_only() {
        let check = |named: &[Named], seen_epoch: u64, expect: &[u16]| {
            let ports: Vec<u16> = believed(named, 3, seen_epoch).iter().map(|address| address.port).collect();
            assert_eq!(ports, expect, "{named:?} after {seen_epoch}");
        };
        check(&[], 0, &[]);
        check(&[named(1, 0, false)], 0, &[1]);
        check(&[named(1, 4, false), named(2, 5, false), named(1, 4, false)], 4, &[2]);
        // Of one epoch: who is ahead, then what most say, then who answered first.
        check(&[named(1, 4, false), named(1, 4, false), named(2, 4, true)], 4, &[2, 1]);
        check(&[named(1, 4, false), named(2, 4, false), named(2, 4, false)], 4, &[2, 1]);
        check(&[named(1, 4, false), named(2, 4, false)], 4, &[1, 2]);
        // One that was cut off, and Sentinels that were set up anew.
        check(&[named(1, 3, false)], 4, &[]);
        check(&[named(1, 0, false), named(1, 0, false)], 4, &[1]);
    }

    #[test]
    fn a_sentinels_words_are_read() {
        let bulk = |word: &str| OwnedFrame::BulkString(word.as_bytes().to_vec());
        let list = |words: &[&str]| OwnedFrame::Array(words.iter().map(|word| bulk(word)).collect());
        let state = list(&["name", "m", "ip", "10.0.0.1", "port", "6379", "config-epoch", "7"]);
        assert_eq!(
            read(&state, &list(&["10.0.0.1", "6379"])),
            Some(Named { address: Address::new("10.0.0.1", 6379), epoch: 7, is_ahead: false })
        );
        assert!(read(&state, &list(&["10.0.0.2", "6379"])).unwrap().is_ahead);
        for place in
            [OwnedFrame::Null, list(&["10.0.0.1"]), list(&["10.0.0.1", "0"]), list(&["10.0.0.1", "x"])]
        {
            assert_eq!(read(&state, &place), None);
        }
        assert_eq!(read(&OwnedFrame::Null, &list(&["10.0.0.1", "6379"])), None);
    }
}
