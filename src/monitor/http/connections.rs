//! The table of HTTP connections: which one is closed for the next when the bound is reached.
//!
//! The next connection always gets in, so a health check is answered however many other connections there are. Another one is closed for it.
//! First go connections that were kept after an answer and those that have been silent for [`GRACE`] from their beginning, the oldest of them first; then
//! newer ones whose request has not come yet, then those whose request is being answered, and event streams last. None is closed
//! within [`YOUTH`] of its beginning while it is silent: the next one waits as long, in the system's queue. So a probe keeps its
//! place while its request is on its way, whatever else comes. One address may have half of the connections. Beyond that its own are
//! closed, and never its streams.
//!
//! It decides and does no IO; `listener` carries it out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::monitor::turned_away::Reason;
use crate::net::SocketName;

/// Connections up to which one address may have all: below it half would be too few for a single dashboard.
const UNSHARED_MAX: usize = 15;

/// How long a connection whose first request has not come is taken for one whose request is on its way.
const GRACE: Duration = Duration::from_secs(1);

/// For so long a new connection surely keeps its place. Half of 64 connections, which is what one address may have, then still begin 1,600 times a
/// second.
const YOUTH: Duration = Duration::from_millis(20);

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
pub enum Doing {
    /// Its first request has not come.
    Coming,
    /// It was answered, and waits for its asker to take that or to ask again.
    Kept,
    /// A request is being answered.
    Answering,
    /// An event stream.
    Streaming,
}

/// What a connection does and since when: written by the connection, read by the table.
#[derive(Debug)]
pub struct Course(Mutex<(Doing, Instant)>);

impl Course {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new((Doing::Coming, Instant::now()))))
    }

    /// It does something else from now on.
    pub fn turn(&self, doing: Doing) {
        // The lock is held for this assignment only, on the control thread.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (doing, Instant::now());
    }

    /// What it does, and since when.
    pub fn now(&self) -> (Doing, Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Entry {
    source: Source,
    course: Arc<Course>,
    task: Option<AbortHandle>,
}

impl Entry {
    /// The smaller this is, the sooner it gives way.
    fn worth(&self, now: Instant) -> (u8, Instant) {
        let (doing, since) = self.course.now();
        let rank = match doing {
            Doing::Kept => 0,
            Doing::Coming if now.saturating_duration_since(since) >= GRACE => 0,
            Doing::Coming => 1,
            Doing::Answering => 2,
            Doing::Streaming => 3,
        };
        (rank, since)
    }
}

/// What becomes of the next connection.
#[derive(Debug)]
pub enum Entrance {
    /// It is in the table.
    Entered {
        /// Its number there.
        number: u64,
        /// What it is to tell of itself.
        course: Arc<Course>,
        /// Why another one was closed for it, if one was.
        closed: Option<Reason>,
    },
    /// All that might give way have just begun: it is to come again after so long.
    Later(Duration),
    /// Its address has as many streams as connections.
    Refused,
}

/// Who leaves the table for another.
enum GivesWay {
    Now(u64),
    Later(Duration),
    Nobody,
}

/// The table of connections; the listener owns it.
pub struct Connections {
    all: HashMap<u64, Entry>,
    opened: u64,
    connections_max: usize,
    source_max: usize,
}

impl Connections {
    /// None yet.
    pub fn new(connections_max: usize) -> Self {
        let source_max = if connections_max <= UNSHARED_MAX { connections_max } else { connections_max / 2 };
        Self { all: HashMap::new(), opened: 0, connections_max, source_max }
    }

    /// Takes a connection in, if there is room or another gives way.
    pub fn enter(&mut self, source: Source) -> Entrance {
        let crowded = self.all.values().filter(|entry| entry.source == source).count() >= self.source_max;
        let full = self.all.len() >= self.connections_max;
        let gives_way = if crowded {
            // Its streams stay, so that a page that is open is not closed by the next.
            self.first_to_go(|entry| entry.source == source && entry.course.now().0 != Doing::Streaming)
        } else if full {
            self.first_to_go(|_| true)
        } else {
            GivesWay::Nobody
        };
        let closed = match gives_way {
            GivesWay::Later(pause) => return Entrance::Later(pause),
            GivesWay::Now(number) => {
                self.end(number);
                Some(if crowded { Reason::Source } else { Reason::Connections })
            }
            GivesWay::Nobody if crowded => return Entrance::Refused,
            GivesWay::Nobody => None,
        };
        self.opened += 1;
        let course = Course::new();
        self.all.insert(self.opened, Entry { source, course: Arc::clone(&course), task: None });
        Entrance::Entered { number: self.opened, course, closed }
    }

    /// The task that serves it, to be ended with it.
    pub fn serve(&mut self, number: u64, task: AbortHandle) {
        if let Some(entry) = self.all.get_mut(&number) {
            entry.task = Some(task);
        }
    }

    /// A connection has ended.
    pub fn leave(&mut self, number: u64) {
        self.all.remove(&number);
    }

    /// The one that gives way first. It walks all, of which there are at most 4,096.
    fn first_to_go(&self, may: impl Fn(&Entry) -> bool) -> GivesWay {
        let now = Instant::now();
        let candidates = self.all.iter().filter(|(_, entry)| may(entry));
        let Some((number, entry)) = candidates.min_by_key(|(number, entry)| (entry.worth(now), **number))
        else {
            return GivesWay::Nobody;
        };
        let (doing, since) = entry.course.now();
        let age = now.saturating_duration_since(since);
        match YOUTH.checked_sub(age).filter(|left| doing == Doing::Coming && !left.is_zero()) {
            Some(left) => GivesWay::Later(left),
            None => GivesWay::Now(*number),
        }
    }

    fn end(&mut self, number: u64) {
        if let Some(task) = self.all.remove(&number).and_then(|entry| entry.task) {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> Source {
        Source::of(&SocketName::Ip(([10, 0, 0, last], 1).into()))
    }

    /// One that has begun long enough ago.
    fn entered(table: &mut Connections, last: u8) -> (Arc<Course>, Option<Reason>) {
        let Entrance::Entered { course, closed, .. } = table.enter(source(last)) else {
            panic!("it is refused")
        };
        *course.0.lock().unwrap() = (Doing::Coming, Instant::now() - YOUTH);
        (course, closed)
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
    fn the_one_that_waited_longest_gives_way_and_a_stream_last() {
        let mut table = Connections::new(3);
        let (first, _) = entered(&mut table, 1);
        let (second, _) = entered(&mut table, 2);
        let (_, none) = entered(&mut table, 3);
        assert_eq!(none, None);
        first.turn(Doing::Streaming);
        second.turn(Doing::Answering);
        let held = |table: &Connections, course: &Arc<Course>| {
            table.all.values().any(|entry| Arc::ptr_eq(&entry.course, course))
        };
        let (fourth, reason) = entered(&mut table, 4);
        assert_eq!((reason, table.all.len()), (Some(Reason::Connections), 3));
        assert!(held(&table, &first) && held(&table, &second));
        fourth.turn(Doing::Streaming);
        let (fifth, _) = entered(&mut table, 5);
        assert!(held(&table, &first) && !held(&table, &second), "an answer before a stream");
        fifth.turn(Doing::Streaming);
        entered(&mut table, 6);
        assert!(!held(&table, &first) && held(&table, &fifth), "the oldest stream if there is nothing else");
    }

    /// A health check whose request is on its way outlasts those who were answered, and those who never ask.
    #[test]
    fn one_whose_request_is_on_its_way_keeps_its_place() {
        let mut table = Connections::new(3);
        let held = |table: &Connections, course: &Arc<Course>| {
            table.all.values().any(|entry| Arc::ptr_eq(&entry.course, course))
        };
        let (silent, _) = entered(&mut table, 1);
        *silent.0.lock().unwrap() = (Doing::Coming, Instant::now() - GRACE);
        let (kept, _) = entered(&mut table, 2);
        let (probe, _) = entered(&mut table, 3);
        kept.turn(Doing::Kept);
        entered(&mut table, 4);
        assert!(!held(&table, &silent) && held(&table, &kept), "who was silent since longer");
        entered(&mut table, 5);
        assert!(!held(&table, &kept) && held(&table, &probe));
        *probe.0.lock().unwrap() = (Doing::Coming, Instant::now());
        for last in [6, 7, 8] {
            if let Entrance::Entered { course, .. } = table.enter(source(last)) {
                course.turn(Doing::Coming);
            }
        }
        assert!(held(&table, &probe), "one that has just begun");
        let next = table.enter(source(9));
        assert!(matches!(next, Entrance::Later(pause) if pause <= YOUTH), "{next:?}");
    }

    #[test]
    fn one_address_has_half_and_its_own_give_way_beyond() {
        let mut table = Connections::new(16);
        let (other, _) = entered(&mut table, 2);
        let courses: Vec<_> = (0..8).map(|_| entered(&mut table, 1).0).collect();
        let (_, reason) = entered(&mut table, 1);
        assert_eq!((reason, table.all.len()), (Some(Reason::Source), 9));
        assert!(table.all.values().any(|entry| Arc::ptr_eq(&entry.course, &other)));
        courses[1..].iter().for_each(|course| course.turn(Doing::Streaming));
        entered(&mut table, 1).0.turn(Doing::Streaming);
        let refused = table.enter(source(1));
        assert!(
            matches!(refused, Entrance::Refused),
            "streams do not give way to their own address: {refused:?}"
        );
        assert!(matches!(table.enter(source(3)), Entrance::Entered { .. }));
    }
}
