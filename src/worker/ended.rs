//! (d) The one end of a request, whoever answered it: what is counted of it, and how long it took.
//!
//! A node, the home of a hot key, a copy, the gateway itself or a refusal: whoever ends a request says so with an [`Ended`], and hands
//! it in with the reply where the slot of the reply queue is settled ([`super::client::Clients::settle`] and its like). Nothing else
//! counts requests or takes their times. What is counted of a *node*, of a key or of a quota is not a matter of requests, and
//! is counted by whoever knows of it.
//!
//! A command that is queued in a transaction ends with its `EXEC`, which counts once. Each part of a request to several nodes counts.
//! Figures by command are as Redis has them: there a request in several parts is one call, and what `EXEC` has run are calls as well.

use super::client::settled::{Ran, Settled};
use super::core::Core;
use super::pending::Pending;
use super::reply_times::{Called, Times as Took, count_called};
use crate::shared::command_tallies::CommandRow;
use crate::shared::ending::Ending;
use crate::shared::labels::{ErrorKind, Outcome, RequestClass};
use crate::shared::topology::NodeIndex;

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    class: RequestClass,
    ending: Ending,
    times: Times,
    /// The node that it was written to, as it came.
    node: Option<NodeIndex>,
}

/// What is told of the time that a request took.
#[derive(Clone, Copy, Debug)]
enum Times {
    /// Nothing: it failed, may block, or needs no node; or its time is taken with that of another.
    Untold,
    /// It was written to a node.
    Forwarded { received_ns: u64, sent_ns: u64 },
    /// It was answered out of something that took Redis so long.
    Shared { received_ns: u64, upstream_ns: u64 },
}

impl Ended {
    /// A client's request that was forwarded, with the reply of its node.
    #[inline]
    pub fn forwarded(pending: &Pending, node: Option<NodeIndex>) -> Self {
        let ended = match pending.class {
            // How long a command blocks is what its client asked for, and no figure of Redis or of the gateway.
            RequestClass::Blocking => Self::untimed(pending.class, Outcome::Forwarded),
            class => Self::fetched(class, pending.received_ns, pending.sent_ns),
        };
        ended.at(node)
    }

    /// The same, answered by this node.
    #[inline]
    pub fn at(self, node: Option<NodeIndex>) -> Self {
        Self { node, ..self }
    }

    /// A client's request that came at `received_ns` and for which one was sent at `sent_ns`, whose reply it got.
    #[inline]
    pub fn fetched(class: RequestClass, received_ns: u64, sent_ns: u64) -> Self {
        let times = Times::Forwarded { received_ns, sent_ns };
        Self { class, ending: Outcome::Forwarded.into(), times, node: None }
    }

    /// A request that shared the answer to another, or the work of several, or got a copy: it came at `received_ns`, and Redis
    /// took `upstream_ns`. The times of failures are not told.
    pub fn shared(
        class: RequestClass,
        ending: impl Into<Ending>,
        received_ns: u64,
        upstream_ns: u64,
    ) -> Self {
        let ending = ending.into();
        let times = match ending.outcome {
            Outcome::Failed => Times::Untold,
            _ => Times::Shared { received_ns, upstream_ns },
        };
        Self { class, ending, times, node: None }
    }

    /// A request that the gateway answered by itself.
    pub fn answered(class: RequestClass) -> Self {
        Self::untimed(class, Outcome::Answered)
    }

    /// A request that the gateway refused, by a quota or by a rule.
    pub fn refused(class: RequestClass) -> Self {
        Self::untimed(class, Outcome::Refused)
    }

    /// A request that got an error of the gateway's own.
    pub fn failed(class: RequestClass, kind: ErrorKind) -> Self {
        Self::untimed(class, Ending::failed(kind))
    }

    /// A request that ended so, and whose time is not told.
    pub fn untimed(class: RequestClass, ending: impl Into<Ending>) -> Self {
        Self { class, ending: ending.into(), times: Times::Untold, node: None }
    }

    /// Its client sees the end of its connection in place of a reply.
    pub fn hangs_up(&self) -> bool {
        self.ending.hangs_up
    }
}

impl Core {
    /// Counts so many requests that ended alike, now. `settled` is what their reply has done, if somebody still waits for it. For the
    /// places where reply slots are settled, and for no others.
    #[inline]
    pub(super) fn count_ended(&mut self, ended: Ended, requests: u32, settled: Option<&Settled>) {
        let (now_ns, requests) = (self.now_ns, u64::from(requests));
        let called = settled.map(|settled| self.called(&ended, requests, settled));
        let (tallies, times) = (&mut self.tallies, &mut self.reply_times);
        tallies.count_many(ended.class, ended.ending.outcome, requests);
        if let Some(kind) = ended.ending.error {
            tallies.error(kind);
        }
        let took = match ended.times {
            Times::Untold => {
                called.into_iter().for_each(|called| count_called(called, None, requests, tallies));
                return;
            }
            Times::Forwarded { received_ns, sent_ns } => Took::forwarded(received_ns, sent_ns, now_ns),
            Times::Shared { received_ns, upstream_ns } => Took::folded(received_ns, upstream_ns, now_ns),
        };
        times.add(took, called, requests, tallies);
    }

    /// Whose figures by command requests belong to that ended so.
    #[inline]
    fn called(&mut self, ended: &Ended, requests: u64, settled: &Settled) -> Called {
        let went_well =
            settled.error.is_none() && !matches!(ended.ending.outcome, Outcome::Failed | Outcome::Refused);
        let was_run = went_well || self.count_failure(ended, requests, settled);
        if let Some(ran) = &settled.ran {
            self.count_ran(ran, requests);
        }
        Called { command: settled.command, is_call: was_run && settled.is_whole, node: ended.node }
    }

    /// Counts requests that failed or were refused. Says whether they were run.
    #[cold]
    fn count_failure(&mut self, ended: &Ended, requests: u64, settled: &Settled) -> bool {
        let Settled { command, is_whole, is_at_hand, error, .. } = *settled;
        if let (Some(node), Some(_)) = (ended.node, error) {
            self.tallies.node(node.position()).commands.row(command).errors += requests;
        }
        if !is_whole {
            return false;
        }
        if let Some(code) = error {
            self.tallies.commands.errors.count(code, requests);
        }
        let was_run = match ended.ending.outcome {
            Outcome::Refused => false,
            // What failed later had been sent, or might have been.
            Outcome::Failed => !is_at_hand,
            _ => !error.is_some_and(|code| code.is_rejection()),
        };
        let row = self.tallies.commands.commands.row(command);
        match was_run {
            true => row.failed += requests,
            false => row.rejected += requests,
        }
        was_run
    }

    /// Counts what transactions have run. How long each command took of that, Redis does not say.
    #[cold]
    fn count_ran(&mut self, ran: &Ran, transactions: u64) {
        for (command, error) in &ran.0 {
            let row = self.tallies.commands.commands.row(*command);
            row.calls += transactions;
            if let Some(code) = error {
                row.failed += transactions;
                self.tallies.commands.errors.count(*code, transactions);
            }
        }
    }

    /// Counts a command that ends with another request, such as `MULTI` with its `EXEC`, where calls of commands are counted.
    pub(super) fn count_call(&mut self, command: CommandRow) {
        self.tallies.commands.commands.row(command).calls += 1;
    }

    /// Counts the error of a request of the gateway's own, which ends nobody's.
    pub(super) fn count_error(&mut self, ending: Ending) {
        if let Some(kind) = ending.error {
            self.tallies.error(kind);
        }
    }

    /// Takes the time of a request of the gateway's own that was sent at `sent_ns` and is answered now: it is nobody's, and ends
    /// nobody's.
    pub(super) fn time_own(&mut self, sent_ns: u64) {
        self.reply_times.add(Took::own(sent_ns, self.now_ns), None, 1, &mut self.tallies);
    }

    /// Moves the times taken so far into the tallies.
    pub(super) fn flush_times(&mut self) {
        self.reply_times.flush(&mut self.tallies);
    }
}
