//! Pace: when the operations on a hot key go to Redis as they came, and when they are folded.
//!
//! Folding spends the callers' time to save Redis's time, so it spends none while Redis has time to spare. Redis does not say
//! whether it has. The gateway infers it from round trips.
//!
//! # The signal
//!
//! On each connection to a node one request at a time is timed, from its write to its reply ([`Gauge`]). A window of 5 ms shows
//! a *queue* if three things hold. At no look at the connection was everything answered that had been written. The shortest round
//! trip was longer than the floor, by more than the floor itself and more than 200 µs. The window before was the same.
//! The shortest round trip counts and not the mean: bursts, jitter and slow commands of others make some round trips long, but only
//! a standing queue makes all of them long (Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 2012). A round trip
//! that is not over counts with the time it has lasted, so a node that does not answer has a queue.
//!
//! A worker that is late itself sees long round trips while Redis idles. But when it reads at last, everything it had written is
//! answered: the node caught up, so there was no queue. The same rules out time stolen from the whole machine.
//!
//! The *floor* is the shortest round trip of the last five to ten minutes. Only round trips that began with nothing unanswered
//! set it, because others may have waited for the worker's own requests. A shorter round trip always lowers it. Until there
//! is one, the floor is the time of the TCP handshake, in which the server has no part. So a gateway that starts under
//! load does not take a standing queue for distance.
//!
//! # The decisions
//!
//! *Passing* ([`Course`]): every key begins so. When a queue stands at its node, the keys with the most operations there begin to
//! fold: as many as make up half of the operations, and no key with few ([`heaviest`]). While the queue stands, each window adds
//! the next ones.
//!
//! *Folding*: at most one flush per key is on the wire, so the queue goes away, and with it every sign of the load. Only an
//! attempt can show whether the node could take the load now.
//!
//! *Who may fold*: the keys of the hot set, and every key that has 64 operations outstanding where a queue stands ([`crowds()`]). So a
//! key that leaps up folds within 20 ms, and not only when detection has seen it twice.
//!
//! *Turns* ([`Turns`]): very many keys, or gateways, can make a queue of flushes alone. When a queue stands although nothing is left
//! to be folded, flushes leave by turns: at most 8 at a time per gateway and node, half as many every 10 ms that the queue
//! stands, and a quarter more for every 5 ms that it does not. Nobody probes meanwhile, since where there is no room for flushes
//! there is none for what would pass. However long the queue, a turn comes round within about 10 ms, so callers do not pay
//! without bound for others.
//!
//! *Probing*: that attempt. In rounds of 1 ms, 32 operations pass, then 64, and so on; the others are folded. A round that makes
//! round trips longer than *before the probe began* ends the probe, and the key waits: 100 ms after its first
//! folding, twice as long after each failure in a row, up to 3.2 s, with some randomness. When a round has nothing left to
//! fold, the key passes.
//!
//! # Why it does not oscillate
//!
//! Near the capacity of its node a key passes, makes a queue, folds, and probes without success at ever longer intervals: in
//! the end one probe of about 10 ms every 3 s, of which the last one or two rounds touch the capacity. A key that passed and had
//! to fold again sooner than its wait was long counts as a failed probe, so the doubling goes on. The load of a probe
//! doubles per millisecond, and its queue is noticed within two rounds, so the queue gets no longer than those.
//!
//! Folding ends where it does not help. If others keep the node busy, or the network got slower, round trips stay long
//! while the key is folded. After three seconds of that the key probes all the same. Its probe makes nothing longer, it passes,
//! and the present round trip becomes the floor, until a shorter one replaces it.
//!
//! # Outage, many keys, many gateways
//!
//! A node that does not answer has a queue, so within about 10 ms its hot keys fold: their operations wait here, within the bound
//! of their queues. When it answers again, each key has one flush, and not everything that waited at once; many keys have their
//! flushes by turns. Then the probe.
//!
//! Keys that share a node fold by halves, the heaviest first, until the queue is gone. One key at a time probes, and none while
//! the queue is not gone yet: its effect could not be told. A key with few operations at the node does not fold, because one
//! flush would be no fewer: so of many keys with little load each some pass while others fold.
//!
//! Gateways do not coordinate this. Each worker of each gateway sees the queue and folds its own operations. They try again at
//! different times, because their waits are random. While there is room, the next may pass as well. When there is none, whoever
//! sees the queue folds and waits longer. In no state do all of them together overload the node for more than a few windows. In the
//! simulation 16 gateways with 128 keys each, which offer three times what the node takes, leave a queue of 0.6 ms at most. With a
//! flush per key at all times it was 2.3 ms. The longest wait for a turn was 13 ms.
//!
//! # What it deliberately does not do
//!
//! No IO, no clock, no randomness: times and random numbers are passed in. It does not know the order of a client's operations:
//! `worker/hot` makes sure that passing and folding do not overtake each other. It does not decide when the flushes of a folded
//! key leave: that is [`crate::combine`].

mod crowds;
mod gauge;
mod key;
mod node;
mod turns;

pub use crowds::{CROWD_MIN, CrowdLooks, LOOKED_AT_MAX, crowds};
pub use gauge::{Gauge, WINDOW_NS, Window};
pub use key::{Course, KeyPace, REST_NS_MAX, REST_NS_MIN, heaviest};
pub use node::{NodePace, ROUND_NS, STANDING_WINDOWS};
pub use turns::{FLUSHES_MAX, Turns};
