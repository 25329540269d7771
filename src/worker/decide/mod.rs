//! What to do with a request: sync, free of IO, no side effect but on the session it is given.
//!
//! ```text
//! (session, resolved request) -> Verdict:  Forward   one node, as it came; or as the client's own user
//!                                 Split     in parts by slot
//!                                 Fan       to several masters
//!                                 Answer    by the gateway itself
//!                                 Session   state of the connection
//!                                 Queue     into the open transaction
//!                                 Reserve   to the home of a sale of reservations, or to whoever else does it
//!                                 Refuse    with this error
//! ```
//!
//! Deliberately absent: whether there is room, whether order allows it now, which connection carries it. Those depend on
//! what is in flight and are the dispatcher's.

pub mod classes;
pub mod clusters;
pub mod local;
mod near;
mod own_keys;
pub mod pose;
mod snapshots;
pub mod split;

use std::borrow::Cow;

pub use self::snapshots::Snapshots;
use super::client::session::Session as ClientSession;
use crate::access::{Denied, runs_inside};
use crate::command::{
    Class, Command, CommandError, CommandFlags, Fan, GIVEN_BY_RULE, Local, Reserve, Session,
};
use crate::config::ReadFrom;
use crate::resp::Request;
use crate::route::SlotAt;
use crate::worker::pending::{Hook, Outgoing, Route};
use crate::worker::resolve::{KeyAt, Resolved};

/// What the log says of a client that is closed.
const HTTP: &str = "POST or Host: as a command: somebody sends HTTP to the address for Redis clients";
const PROXY_HEADER: &str =
    "a PROXY header: list the address in gateway.proxy_protocol_from, or have the balancer there send none";

/// The error for keys in several slots, as Redis words it.
pub const CROSSSLOT: &[u8] = b"CROSSSLOT Keys in request don't hash to the same slot";
/// The error before authentication, as Redis words it.
pub const NOAUTH: &[u8] = b"NOAUTH Authentication required.";

/// The error for what may not be queued, as Redis words it.
const NO_MULTI: &[u8] = b"ERR Command not allowed inside a transaction";

/// What `RESERVE.*` gets in a transaction.
const NO_RESERVE_IN_MULTI: &[u8] =
    b"ERR hotgate: RESERVE commands can't stand in a transaction: each is atomic by itself. \
    For several SKUs in one order add all, and cancel what was got when one fails (docs/reservations.md)";

/// What a script gets that would have to run as the user itself on a connection which watches as the gateway.
const NO_WATCH_AS_USER: &[u8] =
    b"ERR hotgate: scripts, functions and commands of modules of a user that is itself at Redis can't stand in a transaction \
    behind WATCH: a script looks at keys and changes them in one step, without WATCH";

/// What precedes the error of an `EXEC` that is wrong by itself.
const ABORTED_BY: &[u8] = b"EXECABORT Transaction discarded because of: ";

/// The errors for what may be queued but not done, as Redis words them.
const NO_MONITOR: &[u8] = b"ERR MONITOR isn't allowed for DENY BLOCKING client";
const NO_SSUBSCRIBE: &[u8] = b"ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client";

/// The text of an error, without the leading `-`. It may hold a client's own bytes.
pub type Refusal = Cow<'static, [u8]>;

/// What to do with a request.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// Send it to one node as it is.
    Forward(Outgoing),
    /// The same, to be run at Redis as its client's own user.
    ForwardAsUser(Outgoing),
    /// Take it apart by slot.
    Split(split::Parts),
    /// Send it to several masters.
    Fan(Fan),
    /// Answer it here.
    Answer(Local),
    /// It opens, uses or closes state of the connection; where the state is at a slot, that is given.
    Session(Session, Option<SlotAt>),
    /// Queue it in the open transaction; the slot of its keys, if it has any.
    Queue {
        /// The slot.
        slot: Option<SlotAt>,
        /// It changes nothing.
        readonly: bool,
        /// Who does it at `EXEC`.
        part: Part,
    },
    /// It concerns a sale of reservations.
    Reserve(Reserve),
    /// Answer with this error.
    Refuse(Refusal),
    /// Answer with this error: its user may not do that.
    Deny(Denied, Refusal),
    /// Close the connection without an answer: it is something else that comes. What, for the log.
    HangUp(&'static str),
    /// As [`Verdict::Refuse`], and what is watched and queued is forgotten: an `EXEC` that is no such.
    Abort(Refusal),
}

/// Who does a queued command when its transaction is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Redis.
    Redis,
    /// `SELECT`: Redis, and the client is in that database then.
    Select,
    /// `HELLO`: the gateway, but Redis has to change the version too.
    Hello,
    /// The gateway, as it would have done it alone.
    Here,
}

/// Decides on a request of a known command.
pub fn decide(snapshots: &Snapshots, session: &mut ClientSession, resolved: &Resolved<'_>) -> Verdict {
    if let Some((denied, text)) = denied(snapshots, session, resolved) {
        poison(session);
        return Verdict::Deny(denied, text);
    }
    if session.authenticated && own_keys::names_own_key(resolved) {
        poison(session);
        return Verdict::Refuse(own_keys::OWN_KEY.into());
    }
    match session.plain {
        true => by_class(snapshots, resolved),
        false => in_state(snapshots, session, resolved),
    }
}

/// Why a user may not send this, if it is one who may not do everything.
#[inline(always)]
fn denied(
    snapshots: &Snapshots,
    session: &ClientSession,
    resolved: &Resolved<'_>,
) -> Option<(Denied, Refusal)> {
    let user = session.restricted.as_ref().filter(|_| session.authenticated)?;
    let command = snapshots.commands.get(resolved.command);
    let mut verdict = user.check(resolved.command, command, resolved.request);
    if verdict.is_err() && session.login.is_some() && runs_inside(command) {
        verdict = user.check_as_itself(resolved.command, command, resolved.request);
    }
    let denied = verdict.err()?;
    let text = denied.message(user, command);
    Some((denied, if is_exec(resolved) { [ABORTED_BY, &text].concat().into() } else { text.into() }))
}

/// `EXEC`, which ends its transaction even where it may not be run.
pub fn is_exec(resolved: &Resolved<'_>) -> bool {
    resolved.class == Class::Session(Session::Exec)
}

/// How a connection begins that comes from a balancer which is not listed: a line of version 1, or what a reader of requests makes of
/// version 2. An error would be taken for the reply to the client's first request, and each reply for that to the next.
fn is_proxy_header(request: &Request<'_>) -> bool {
    match request.name() {
        b"PROXY" => request.arg(1).is_some_and(|kind| matches!(kind, b"TCP4" | b"TCP6" | b"UNKNOWN")),
        name => name == b"\0",
    }
}

/// Decides on a request of which the command is not known, or has not these arguments.
pub fn decide_unknown(session: &mut ClientSession, request: &Request<'_>, error: &CommandError) -> Verdict {
    let name = request.name();
    // Redis takes these for a browser that was made to attack it, and closes (`securityWarningCommand`).
    if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") {
        return Verdict::HangUp(HTTP);
    }
    if is_proxy_header(request) {
        return Verdict::HangUp(PROXY_HEADER);
    }
    if !session.authenticated {
        return Verdict::Refuse(NOAUTH.into());
    }
    let text = error.message(request);
    if name.eq_ignore_ascii_case(b"exec") {
        return Verdict::Abort([ABORTED_BY, text.strip_prefix(b"ERR ").unwrap_or(&text)].concat().into());
    }
    poison(session);
    Verdict::Refuse(text.into())
}

/// The decision for a session without open state.
// Each request comes through here: the call would cost it some twenty instructions.
#[inline(always)]
fn by_class(snapshots: &Snapshots, resolved: &Resolved<'_>) -> Verdict {
    let command = snapshots.commands.get(resolved.command);
    match resolved.class {
        Class::Key => forward_by_key(snapshots, command, resolved),
        Class::Split(split) => match slots_of(&resolved.keys) {
            Slots::Several => match split::by_slot(split, resolved) {
                Some(parts) => Verdict::Split(parts),
                None => Verdict::Refuse(
                    CommandError::Arity { of_subcommand: false }.message(resolved.request).into(),
                ),
            },
            Slots::One(slot) => forward(snapshots, Route::Slot(slot), command, resolved),
            Slots::None => forward(snapshots, Route::AnyNode, command, resolved),
        },
        Class::Fan(fan) => Verdict::Fan(fan),
        Class::AnyNode if command.flags.contains(CommandFlags::PUBSUB) => {
            forward(snapshots, Route::Messages(resolved.keyless), command, resolved)
        }
        Class::AnyNode => forward(snapshots, Route::AnyNode, command, resolved),
        Class::Local(local) => Verdict::Answer(local),
        Class::Session(session @ (Session::Watch | Session::Blocking)) => {
            match slots_of(&resolved.keys) {
                Slots::Several => Verdict::Refuse(clusters::crossing(snapshots, resolved)),
                Slots::One(slot) => Verdict::Session(session, Some(slot)),
                // Malformed: Redis itself says what is wrong with it, without blocking.
                Slots::None => forward(snapshots, Route::AnyNode, command, resolved),
            }
        }
        Class::Session(session) => Verdict::Session(session, None),
        Class::Reserve(reserve) => Verdict::Reserve(reserve),
        Class::OneServer(_) if snapshots.is_one_server() => {
            forward(snapshots, Route::AnyNode, command, resolved)
        }
        // Whether there is a cluster for clients at all is known there.
        Class::Refuse(_) if command.name.starts_with("cluster|") => Verdict::Answer(Local::Cluster),
        Class::OneServer(why) | Class::Refuse(why) => {
            Verdict::Refuse(command.refusal(why).into_bytes().into())
        }
    }
}

/// The decision for a session in a state: not authenticated, in a transaction, subscribed, tracked, with suppressed replies.
fn in_state(snapshots: &Snapshots, session: &mut ClientSession, resolved: &Resolved<'_>) -> Verdict {
    let command = snapshots.commands.get(resolved.command);
    let class = resolved.class;
    if !session.authenticated {
        return match class {
            Class::Local(local @ (Local::Auth | Local::Hello | Local::Quit | Local::Reset)) => {
                Verdict::Answer(local)
            }
            Class::Session(Session::Exec) => Verdict::Refuse([ABORTED_BY, NOAUTH].concat().into()),
            _ => Verdict::Refuse(NOAUTH.into()),
        };
    }
    if session.transaction.queuing().is_some() {
        return in_transaction(snapshots, session, resolved);
    }
    if session.transaction.replying().is_some() {
        // Redis runs a transaction without looking at what its client is subscribed to.
        return match class {
            Class::Session(refused @ (Session::Monitor | Session::Ssubscribe)) => {
                let is_monitor = refused == Session::Monitor;
                Verdict::Refuse(if is_monitor { NO_MONITOR.into() } else { NO_SSUBSCRIBE.into() })
            }
            _ => by_class(snapshots, resolved),
        };
    }
    if session.is_subscriber_only() {
        let allowed = matches!(
            class,
            Class::Local(Local::Ping | Local::Quit | Local::Reset)
                | Class::Session(
                    Session::Subscribe
                        | Session::Psubscribe
                        | Session::Ssubscribe
                        | Session::Unsubscribe
                        | Session::Punsubscribe
                        | Session::Sunsubscribe
                )
        );
        if !allowed {
            let name = &command.name;
            let text = format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
            );
            return Verdict::Refuse(text.into_bytes().into());
        }
    }
    match by_class(snapshots, resolved) {
        Verdict::Forward(outgoing) if session.login.is_some() && runs_inside(command) => {
            Verdict::ForwardAsUser(outgoing)
        }
        verdict => verdict,
    }
}

/// The decision between `MULTI` and `EXEC`: what Redis would queue is queued, what it would refuse poisons. So does what the
/// gateway does not pass on, as a command does which the user may not run.
fn in_transaction(snapshots: &Snapshots, session: &mut ClientSession, resolved: &Resolved<'_>) -> Verdict {
    let (command, class) = (snapshots.commands.get(resolved.command), resolved.class);
    let single = snapshots.is_one_server();
    let part = match class {
        Class::Session(ending @ (Session::Exec | Session::Discard | Session::Multi | Session::Watch)) => {
            return Verdict::Session(ending, None);
        }
        Class::Local(local @ (Local::Quit | Local::Reset)) => return Verdict::Answer(local),
        Class::Reserve(_) => {
            poison(session);
            return Verdict::Refuse(NO_RESERVE_IN_MULTI.into());
        }
        _ if command.flags.contains(CommandFlags::NO_MULTI) => {
            poison(session);
            return Verdict::Refuse(NO_MULTI.into());
        }
        Class::Local(Local::Administer) if !session.administers => {
            poison(session);
            return Verdict::Refuse(command.refusal(GIVEN_BY_RULE).into_bytes().into());
        }
        Class::OneServer(_) if single => Part::Redis,
        Class::Refuse(_) if single && command.name.starts_with("cluster|") => Part::Here,
        Class::OneServer(why) | Class::Refuse(why) => {
            poison(session);
            return Verdict::Refuse(command.refusal(why).into_bytes().into());
        }
        Class::Local(Local::Select) => Part::Select,
        Class::Local(Local::Hello) => Part::Hello,
        // `CLIENT CACHING` is for what Redis runs next.
        Class::Session(Session::Tracking) if &*command.name == "client|caching" => Part::Redis,
        Class::Session(Session::Blocking | Session::Unwatch) => Part::Redis,
        Class::Local(_) | Class::Session(_) => Part::Here,
        // Inside a transaction `WAIT` does not wait, and what is waited for is where the transaction runs.
        Class::Fan(Fan::Min | Fan::MinArray) => Part::Redis,
        Class::Fan(_) if !single => Part::Here,
        Class::Fan(_) | Class::Key | Class::Split(_) | Class::AnyNode => Part::Redis,
    };
    let readonly = command.is_readonly() || part != Part::Redis;
    let queue = |slot| Verdict::Queue { slot, readonly, part };
    if part != Part::Redis {
        return queue(None);
    }
    if session.login.is_some() && runs_inside(command) {
        if session.watch.is_on() {
            poison(session);
            return Verdict::Refuse(NO_WATCH_AS_USER.into());
        }
        if let Some(transaction) = session.transaction.queuing_mut() {
            transaction.as_user = true;
        }
    }
    match slots_of(&resolved.keys) {
        Slots::None if clusters::leaves_transaction(snapshots, session, resolved) => {
            poison(session);
            Verdict::Refuse(clusters::TRANSACTION_LEAVES.into())
        }
        Slots::None => queue(None),
        Slots::One(slot) => {
            let transaction = session.transaction.queuing();
            let elsewhere = transaction.and_then(|transaction| transaction.slot);
            if clusters::is_elsewhere(snapshots, transaction, slot) {
                poison(session);
                Verdict::Refuse(clusters::TRANSACTION_LEAVES.into())
            } else if single || elsewhere.is_none_or(|pinned| pinned == slot) {
                queue(Some(slot))
            } else {
                poison(session);
                Verdict::Refuse(CROSSSLOT.into())
            }
        }
        Slots::Several => {
            poison(session);
            Verdict::Refuse(clusters::crossing(snapshots, resolved))
        }
    }
}

/// A refused command inside a transaction makes `EXEC` abort.
fn poison(session: &mut ClientSession) {
    if let Some(transaction) = session.transaction.queuing_mut() {
        transaction.poisoned = true;
    }
}

fn forward_by_key(snapshots: &Snapshots, command: &Command, resolved: &Resolved<'_>) -> Verdict {
    match slots_of(&resolved.keys) {
        Slots::One(slot) => forward(snapshots, Route::Slot(slot), command, resolved),
        Slots::None => forward(snapshots, Route::AnyNode, command, resolved),
        Slots::Several => Verdict::Refuse(clusters::crossing(snapshots, resolved)),
    }
}

fn forward(snapshots: &Snapshots, route: Route, command: &Command, resolved: &Resolved<'_>) -> Verdict {
    let readonly = command.is_readonly();
    let route = match route {
        Route::Slot(place) if readonly && snapshots.read_from(place.cluster) != ReadFrom::Master => {
            Route::ReadSlot(place)
        }
        other => other,
    };
    Verdict::Forward(Outgoing { route, readonly, class: resolved.counts_as, hook: Hook::None })
}

/// The slots that a request touches.
enum Slots {
    /// It has no keys, or its arguments are malformed so that they can't be told.
    None,
    One(SlotAt),
    Several,
}

fn slots_of(keys: &[KeyAt]) -> Slots {
    match keys {
        [] => Slots::None,
        [first, others @ ..] if others.iter().all(|key| key.slot == first.slot) => Slots::One(first.slot),
        _ => Slots::Several,
    }
}
