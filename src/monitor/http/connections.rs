//! The table of HTTP connections: which one is closed for the next when a bound is reached.
//!
//! There are two rooms. In the waiting room is who has been accepted and whose next request has not come: nobody knows yet whether it will be a
//! health check. So whoever comes gets in at once, without a wait, and the oldest one there gives way: first those that were kept
//! after an answer and those that have been silent for [`GRACE`] from their beginning, then newer ones. Among the served is who
//! asks for more than a health check or `/metrics`; there those whose request is being answered give way, the oldest first, and event
//! streams last. Health checks and scrapes are answered in the waiting room, where they give way last: whatever is served takes
//! nothing from them.
//!
//! One address may have half of each room. Beyond that its own are closed, and never its streams.
//!
//! It decides and does no IO; `listener` carries it out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::monitor::turned_away::Reason;
use crate::net::SocketName;

/// Connections up to which one address may have all: below it half would be too few for a single dashboard.
const UNSHARED_MAX: usize = 15;

/// How long a connection whose first request has not come is taken for one whose request is on its way.
const GRACE: Duration = Duration::from_secs(1);

/// For each connection that is served so many may wait for their first request. Of 64, half are those of one address: a flood from there that begins
/// 5,000 a second leaves each of its own 13 ms, and those of others alone.
pub const WAITING_PER_SERVED: usize = 2;

/// An address, as far as askers are told apart by it: of IPv6 the first 64 bits, since a host chooses the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// The one that an address belongs to.
    pub fn of(peer: &SocketName) -> Self {
        let SocketName::Ip(address) = peer else { return Self(Ipv4Addr::LOCALHOST.into()) };
        match address.ip().to_canonical() {
            IpAddr::V6(v6) => Self(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into()),
            v4 => Self(v4),
        }
    }

    /// The one that stands for all whom there is no room to tell apart.
    pub const fn others() -> Self {
        Self(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
    }
}

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// Its first request has not come.
    Coming,
    /// It was answered, and waits for its asker to take that or to ask again.
    Kept,
    /// A health check or a scrape is being answered.
    Probing,
    /// A request is being answered.
    Answering,
    /// An event stream.
    Streaming,
}

impl Doing {
    fn is_served(self) -> bool {
        matches!(self, Self::Answering | Self::Streaming)
    }
}

struct Entry {
    source: Source,
    doing: Doing,
    since: Instant,
    task: Option<AbortHandle>,
}

impl Entry {
    /// The smaller this is, the sooner it gives way to others of its room.
    fn worth(&self, now: Instant) -> (u8, Instant) {
        let rank = match self.doing {
            Doing::Kept => 0,
            Doing::Coming if now.saturating_duration_since(self.since) >= GRACE => 0,
            Doing::Coming | Doing::Answering => 1,
            Doing::Streaming | Doing::Probing => 2,
        };
        (rank, self.since)
    }
}

/// The places of a room, and how many of them one address may have.
#[derive(Clone, Copy)]
struct Room {
    is_served: bool,
    places: usize,
    source_places: usize,
}

impl Room {
    fn new(is_served: bool, places: usize) -> Self {
        let source_places = if places <= UNSHARED_MAX { places } else { places / 2 };
        Self { is_served, places, source_places }
    }
}

/// The address of a connection has as many streams as it may have places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// The table of connections. The listener and its connections share it.
pub struct Connections {
    all: HashMap<u64, Entry>,
    opened: u64,
    waiting: Room,
    served: Room,
}

impl Connections {
    /// None yet.
    pub fn new(served_max: usize) -> Self {
        Self {
            all: HashMap::new(),
            opened: 0,
            waiting: Room::new(false, served_max * WAITING_PER_SERVED),
            served: Room::new(true, served_max),
        }
    }

    /// Takes a connection into the waiting room. Gives its number, and why another one was closed for it, if one was.
    pub fn enter(&mut self, source: Source) -> (u64, Option<Reason>) {
        // There are no streams in the waiting room, so nobody is refused.
        let closed = self.make_room(self.waiting, source).unwrap_or(None);
        self.opened += 1;
        let entry = Entry { source, doing: Doing::Coming, since: Instant::now(), task: None };
        self.all.insert(self.opened, entry);
        (self.opened, closed)
    }

    /// The task that serves it, to be ended with it.
    pub fn tend(&mut self, number: u64, task: AbortHandle) {
        if let Some(entry) = self.all.get_mut(&number) {
            entry.task = Some(task);
        }
    }

    /// A connection has ended.
    pub fn leave(&mut self, number: u64) {
        self.all.remove(&number);
    }

    /// A request of it is answered from now on, which is more than a health check.
    ///
    /// # Errors
    /// There is no place for it.
    pub fn serve(&mut self, number: u64) -> Result<Option<Reason>, Refused> {
        // One that was closed meanwhile is not answered any more.
        let source = self.all.get(&number).ok_or(Refused)?.source;
        let closed = self.make_room(self.served, source)?;
        self.turn(number, Doing::Answering);
        Ok(closed)
    }

    /// A health check or a scrape of it is answered from now on. That needs no other place than it has, and gives way last.
    pub fn probe(&mut self, number: u64) {
        self.turn(number, Doing::Probing);
    }

    /// The answer is an event stream, which has no end.
    pub fn stream(&mut self, number: u64) {
        self.turn(number, Doing::Streaming);
    }

    /// The answer is there. A stream goes on.
    pub fn answered(&mut self, number: u64) -> Option<Reason> {
        let entry = self.all.get(&number)?;
        if entry.doing == Doing::Streaming {
            return None;
        }
        let closed = match entry.doing.is_served() {
            true => self.make_room(self.waiting, entry.source).unwrap_or(None),
            false => None,
        };
        self.turn(number, Doing::Kept);
        closed
    }

    fn turn(&mut self, number: u64, doing: Doing) {
        if let Some(entry) = self.all.get_mut(&number) {
            (entry.doing, entry.since) = (doing, Instant::now());
        }
    }

    /// Closes the one that gives way first, where there is no place for one more of that source.
    fn make_room(&mut self, room: Room, source: Source) -> Result<Option<Reason>, Refused> {
        let inside = || self.all.values().filter(|entry| entry.doing.is_served() == room.is_served);
        let crowded = inside().filter(|entry| entry.source == source).count() >= room.source_places;
        let (reason, number) = if crowded {
            // Its streams stay, so that a page that is open is not closed by the next.
            let own = |entry: &Entry| entry.source == source && entry.doing != Doing::Streaming;
            (Reason::Source, self.first_to_go(room, own).ok_or(Refused)?)
        } else if inside().count() >= room.places {
            (Reason::Connections, self.first_to_go(room, |_| true).ok_or(Refused)?)
        } else {
            return Ok(None);
        };
        if let Some(task) = self.all.remove(&number).and_then(|entry| entry.task) {
            task.abort();
        }
        Ok(Some(reason))
    }

    /// The one of a room that gives way first. It walks all, of which there are at most 12,288.
    fn first_to_go(&self, room: Room, may: impl Fn(&Entry) -> bool) -> Option<u64> {
        let now = Instant::now();
        let inside = self.all.iter().filter(|(_, entry)| entry.doing.is_served() == room.is_served);
        let candidates = inside.filter(|(_, entry)| may(entry));
        candidates.min_by_key(|(number, entry)| (entry.worth(now), **number)).map(|(number, _)| *number)
    }
}

/// A connection's place in the table.
#[derive(Clone)]
pub struct Place {
    table: Arc<Mutex<Connections>>,
    number: u64,
}

impl Place {
    /// That of the connection with this number.
    pub fn new(table: Arc<Mutex<Connections>>, number: u64) -> Self {
        Self { table, number }
    }

    /// As [`Connections::serve`].
    ///
    /// # Errors
    /// There is no place for it.
    pub fn serve(&self) -> Result<Option<Reason>, Refused> {
        locked(&self.table).serve(self.number)
    }

    /// As [`Connections::probe`].
    pub fn probe(&self) {
        locked(&self.table).probe(self.number);
    }

    /// As [`Connections::stream`].
    pub fn stream(&self) {
        locked(&self.table).stream(self.number);
    }

    /// As [`Connections::answered`].
    pub fn answered(&self) -> Option<Reason> {
        locked(&self.table).answered(self.number)
    }
}

/// The table. It is held for a decision only, which does not wait.
pub fn locked(table: &Mutex<Connections>) -> MutexGuard<'_, Connections> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> Source {
        Source::of(&SocketName::Ip(([10, 0, 0, last], 1).into()))
    }

    /// One that has come so long ago.
    fn came(table: &mut Connections, last: u8, ago: Duration) -> u64 {
        let (number, _) = table.enter(source(last));
        table.all.get_mut(&number).unwrap().since -= ago;
        number
    }

    fn served(table: &mut Connections, last: u8) -> (u64, Result<Option<Reason>, Refused>) {
        let (number, _) = table.enter(source(last));
        (number, table.serve(number))
    }

    #[test]
    fn hosts_of_one_network_are_one_source() {
        let of = |text: &str| Source::of(&SocketName::Ip((text.parse::<IpAddr>().unwrap(), 1).into()));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.2"), of("10.0.0.1"));
    }

    #[test]
    fn of_the_served_the_oldest_gives_way_and_a_stream_last() {
        let mut table = Connections::new(3);
        let [(first, _), (second, _), (third, _)] = [1, 2, 3].map(|last| served(&mut table, last));
        table.stream(first);
        let (fourth, closed) = served(&mut table, 4);
        assert_eq!(closed, Ok(Some(Reason::Connections)));
        assert!(!table.all.contains_key(&second), "the oldest answer before a stream");
        [third, fourth].into_iter().for_each(|number| table.stream(number));
        assert_eq!(served(&mut table, 5).1, Ok(Some(Reason::Connections)));
        assert!(!table.all.contains_key(&first), "the oldest stream if there is nothing else");
    }

    /// A health check is not served: it needs a place in the waiting room, and there is always one.
    #[test]
    fn whoever_comes_waits_for_its_request_whatever_is_served() {
        let mut table = Connections::new(16);
        for last in 0..16 {
            let (number, _) = served(&mut table, last);
            table.stream(number);
        }
        let probe = table.enter(source(1)).0;
        table.probe(probe);
        let flood: Vec<_> = (0..100).map(|_| table.enter(source(2))).collect();
        assert_eq!(flood[16], (flood[15].0 + 1, Some(Reason::Source)));
        assert!(!table.all.contains_key(&flood[0].0), "the oldest of the crowd has given way");
        assert!(table.all.contains_key(&probe), "and none of another address");
        assert_eq!(table.all.len(), 16 + 1 + 16);
        assert_eq!(table.all.values().filter(|entry| entry.doing == Doing::Streaming).count(), 16);
    }

    #[test]
    fn one_whose_request_is_on_its_way_outlasts_those_that_do_not_ask() {
        let mut table = Connections::new(2);
        let silent = came(&mut table, 1, GRACE);
        let kept = came(&mut table, 2, Duration::ZERO);
        let probe = came(&mut table, 3, Duration::from_millis(5));
        came(&mut table, 4, Duration::ZERO);
        table.answered(kept);
        assert_eq!(table.enter(source(5)).1, Some(Reason::Connections));
        assert!(!table.all.contains_key(&silent) && table.all.contains_key(&kept), "who is silent longest");
        table.enter(source(6));
        assert!(!table.all.contains_key(&kept) && table.all.contains_key(&probe));
        table.probe(probe);
        for last in 7..20 {
            table.enter(source(last));
        }
        assert!(table.all.contains_key(&probe), "one that is being answered, whoever comes");
    }

    #[test]
    fn one_address_has_half_and_its_own_give_way_beyond() {
        let mut table = Connections::new(16);
        let (other, _) = served(&mut table, 2);
        let own: Vec<_> = (0..8).map(|_| served(&mut table, 1).0).collect();
        let (ninth, closed) = served(&mut table, 1);
        assert_eq!(closed, Ok(Some(Reason::Source)));
        assert!(table.all.contains_key(&other) && !table.all.contains_key(&own[0]));
        own[1..].iter().chain([&ninth]).for_each(|number| table.stream(*number));
        let (refused, verdict) = served(&mut table, 1);
        assert_eq!(verdict, Err(Refused), "streams do not give way to their own address");
        assert!(table.all.contains_key(&refused), "it is told so");
        assert_eq!(served(&mut table, 3).1, Ok(None));
    }

    #[test]
    fn who_was_answered_waits_again() {
        let mut table = Connections::new(2);
        let numbers = [1, 2, 3, 4].map(|last| came(&mut table, last, Duration::ZERO));
        let (served, _) = served(&mut table, 5);
        assert!(!table.all.contains_key(&numbers[0]));
        table.enter(source(6));
        assert_eq!(
            table.answered(served),
            Some(Reason::Connections),
            "another gives way in the waiting room"
        );
        assert_eq!(table.all.len(), 4);
    }
}
