//! Pace: when a hot key's operations go to Redis as they came, and when they are folded.
//!
//! Folding spends the callers' time to save that of Redis, so it spends none while Redis has time to spare. Whether it has,
//! Redis does not say; the gateway sees it by what it waits for.
//!
//! # The signal
//!
//! On each connection to a node one request at a time is timed, from its write to its reply ([`Gauge`]). Three things make a
//! *queue* of a window of 5 ms: at no look at the connection was everything answered that had been written; the shortest round
//! trip was longer than the floor by more than the floor itself and more than 200 µs; and the window before was the same. The
//! shortest counts, and not the mean, because bursts, jitter and other people's slow commands make some round trips long, but only
//! a queue that stands makes all of them long (Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 2012). A round trip
//! that is not over counts for as long as it has lasted, so a node that does not answer at all has a queue.
//!
//! A worker that is late itself sees long round trips while Redis idles. But when it comes to read at last, all that it had
//! written is answered: it caught up, and no queue stood. The same refutes time stolen from the whole machine.
//!
//! The *floor* is the shortest round trip of the last five to ten minutes. Only those make it that began with nothing unanswered,
//! since the others may have waited for the worker's own requests; any that is shorter lowers it. Until there is one it is the time in which the system connected,
//! in which no server has a part: so a gateway that starts under load does not take a standing queue for the distance.
//!
//! # The decisions
//!
//! *Passing* ([`Course`]) is how each key begins. When a queue stands at its node, the keys with most operations there fold, as
//! many as bring half of those, and none that has few ([`heaviest`]); while the queue stands, the next follow with each
//! window.
//!
//! *Folding* bounds what reaches the node to one flush on the wire per key, so the queue goes away, and with it every sign
//! of how great the load is. Only an attempt can show whether the node would take it by now.
//!
//! *Probing* is that attempt: in rounds of 1 ms, 32 operations pass, then 64, and so on, the others are folded. A round that makes
//! the round trips longer than they were *before the probe began* ends it, and the key rests: 100 ms after its first
//! folding, twice as long after each failure in a row, up to 3.2 s, with some chance in it. When a round had nothing left to
//! fold, everything passes.
//!
//! # Why it does not oscillate
//!
//! Around the capacity of a node a key passes, makes a queue, folds, and probes with failure at ever longer intervals: in the end
//! a probe of about 10 ms every 3 s, of which the last round or two touch the capacity. A key that passed and had to fold again
//! sooner than it had rested counts as a failed probe, so the doubling goes on. The load that a probe adds doubles per
//! millisecond, and its queue is noticed within two rounds: it never gets longer than those.
//!
//! What folding cannot mend ends folding. If others keep the node busy, or the way to it became longer, round trips stay as
//! long when the key is folded. After three seconds of that it probes all the same; its probe makes nothing longer, it passes, and
//! what a round trip takes now is the floor, until a shorter one proves that wrong.
//!
//! # Outage, many keys, many gateways
//!
//! A node that does not answer has a queue, so within about 10 ms its hot keys fold: their operations wait here, within the bound
//! of their queues. When it answers again each has one flush, and not all that was waiting at once; then the probe.
//!
//! Many keys share a node: they fold by halves, the heaviest first, until the queue is gone. One at a time probes, and none while
//! the queue is still being got rid of: what it adds to that could not be told.
//!
//! Gateways do not talk of this. Each worker of each gateway sees the queue at a node and folds what it sends there itself.
//! They find back at different times, by the chance in their rests. As long as those that pass leave room, the next may
//! pass as well; when they do not, whoever sees the queue folds and rests longer. There is no state in which the sum of them
//! overloads the node for longer than a few windows.
//!
//! # What it deliberately does not do
//!
//! No IO, no clock, no randomness: times and chance are passed in. It does not know the order of a client's operations:
//! `worker/hot` sees to it that passing and folding do not overtake each other. It does not decide when the flushes of a folded
//! key go: that is [`crate::combine`]'s.

mod gauge;
mod key;
mod node;

pub use gauge::{Gauge, Window};
pub use key::{Course, KeyPace, REST_NS_MAX, REST_NS_MIN, heaviest};
pub use node::{NodePace, ROUND_NS, STANDING_WINDOWS, WINDOW_NS};
