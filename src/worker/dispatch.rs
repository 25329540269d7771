//! A verdict becomes action: a slot in the reply queue, and requests on upstream connections.
//!
//! This is where order is kept. A request waits (and the client with it) when going on would let it overtake something of
//! the same client: after the topology changed, before a command that concerns everything the client did, while a
//! command of the session is under way.

use bytes::Bytes;

use super::client::Gate;
use super::decide::clusters::runs_in_one_cluster;
use super::decide::{Part, Snapshots, Verdict, decide, decide_unknown, is_exec};
use super::ended::Ended;
use super::flow::Flow;
use super::names::ClientKey;
use super::owners::Worker;
use super::policy::Policy;
use super::reply::ReplyBytes;
use super::resolve::{Resolved, resolve};
use crate::command::{CommandError, CommandId, Fan, Session};
use crate::resp::{Request, encode};
use crate::route::{ClusterId, RoutedAs};
use crate::shared::command_tallies::CommandRow;
use crate::shared::labels::{CloseReason, ErrorKind, RequestClass};

use super::errors::UpstreamError;

/// Between two lines of the log about clients that send HTTP, in nanoseconds, as in Redis.
const STRANGERS_LOG_PERIOD_NS: u64 = 60_000_000_000;

/// Acts on one request. `owned` are its bytes where they are a buffer of their own.
pub fn dispatch(worker: &mut Worker, key: ClientKey, request: &Request<'_>, owned: Option<&Bytes>) -> Flow {
    let flow = dispatch_one(worker, key, request, owned);
    if worker.core.tenants.is_some() {
        worker.charge_tenants(key, request, flow);
    }
    flow
}

// Each request comes through here: the call would cost it some twenty instructions.
#[inline(always)]
fn dispatch_one(worker: &mut Worker, key: ClientKey, request: &Request<'_>, owned: Option<&Bytes>) -> Flow {
    let Some(client) = worker.clients.all.get_mut(key) else { return Flow::Next };
    client.gate = Gate::Open;
    if client.topology_version != worker.core.snapshots.topology.version {
        // Under the old topology something may still be on its way to where the slot was.
        if !client.replies.is_empty() {
            return client.wait(Gate::Drain);
        }
        client.topology_version = worker.core.snapshots.topology.version;
    }
    let hasher = &worker.core.gateway.key_hasher;
    let resolved = match resolve(&worker.core.snapshots, hasher, &mut client.session, request) {
        Ok(resolved) => resolved,
        Err(error) => {
            client.replies.begin(row_of_refused(&worker.core.snapshots, request, &error));
            let verdict = decide_unknown(&mut client.session, request, &error);
            let flow = worker.act_here(key, verdict, None);
            return worker.taken(key, None, flow, Passed::Nothing);
        }
    };
    client.replies.begin(CommandRow::of(resolved.command));
    let verdict = decide(&worker.core.snapshots, &mut client.session, &resolved);
    let is_local = is_local(&verdict);
    if !worker.core.snapshots.topology.knows_all() && !is_local && !matches!(verdict, Verdict::Queue { .. }) {
        let unknown = unknown_cluster(&worker.core.snapshots, client.session.routed_as, &resolved, &verdict);
        if let Some(cluster) = unknown {
            return worker.await_first_topology(key, cluster);
        }
    }
    if worker.core.tenants.is_some()
        && let Some(flow) = worker.hold_to_tenants(key, &resolved, &verdict)
    {
        return worker.taken(key, Some(&resolved), flow, Passed::Nothing);
    }
    let passed = match &verdict {
        Verdict::Forward(_) | Verdict::ForwardAsUser(_) | Verdict::Reserve(_) => Passed::Nothing,
        _ if is_local => Passed::Nothing,
        // It is sent at `EXEC`, if at all.
        Verdict::Queue { .. } | Verdict::Session(Session::Multi | Session::Discard, _) => Passed::Copies,
        _ => Passed::QueuesAndCopies,
    };
    let (access, is_barrier) = match worker.policy(key, &resolved, &verdict) {
        Policy::Go(access) => (access, false),
        Policy::GoAsBarrier(access) => (access, true),
        Policy::Done(flow) => return worker.taken(key, Some(&resolved), flow, Passed::Nothing),
        Policy::Refuse(text) => {
            let flow = worker.refuse_by_quota(key, &text);
            return worker.taken(key, Some(&resolved), flow, passed);
        }
    };
    let flow = match verdict {
        // The commonest by far: the verdict is not moved once more for it.
        Verdict::Forward(outgoing) => worker.sender().forward(key, request, owned, outgoing, access),
        Verdict::ForwardAsUser(outgoing) => {
            worker.sender().forward_as_user(key, request, owned, outgoing, access)
        }
        other => worker.act(key, &resolved, other),
    };
    if is_barrier {
        worker.bar_combining(key);
    }
    worker.taken(key, Some(&resolved), flow, passed)
}

/// What a request that was sent went past.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Passed {
    Nothing,
    /// Copies of the keys that it names.
    Copies,
    /// Those, and the queues of combined keys.
    QueuesAndCopies,
}

/// Whether the gateway itself does what was decided, at once.
fn is_local(verdict: &Verdict) -> bool {
    matches!(
        verdict,
        Verdict::Answer(_) | Verdict::Refuse(_) | Verdict::Deny(..) | Verdict::Abort(_) | Verdict::HangUp(_)
    )
}

/// Where a request is counted that can't be carried out: with its command if only the number of its arguments is wrong.
#[cold]
fn row_of_refused(snapshots: &Snapshots, request: &Request<'_>, error: &CommandError) -> CommandRow {
    let CommandError::Arity { of_subcommand } = error else { return CommandRow::UNKNOWN };
    let command = snapshots.commands.lookup(request.name());
    let command = match of_subcommand {
        true => command.and_then(|id| snapshots.commands.subcommand(id, request.arg(1)?)),
        false => command,
    };
    command.map_or(CommandRow::UNKNOWN, CommandRow::of)
}

/// A cluster that a request goes to and of which nothing is known yet.
fn unknown_cluster(
    snapshots: &Snapshots,
    routed_as: RoutedAs,
    resolved: &Resolved<'_>,
    verdict: &Verdict,
) -> Option<ClusterId> {
    let is_unknown = |cluster: &ClusterId| !snapshots.topology.cluster(*cluster).is_known();
    match verdict {
        Verdict::Forward(outgoing) | Verdict::ForwardAsUser(outgoing) => {
            Some(snapshots.cluster_of(outgoing.route)).filter(is_unknown)
        }
        Verdict::Session(_, Some(place)) => Some(place.cluster).filter(is_unknown),
        Verdict::Fan(fan) if *fan != Fan::First => {
            snapshots.unknown_clusters().find(|cluster| snapshots.reaches(routed_as, *cluster))
        }
        _ if resolved.keys.is_empty() => Some(resolved.keyless).filter(is_unknown),
        _ => resolved.keys.iter().map(|key| key.slot.cluster).find(is_unknown),
    }
}

impl Worker {
    /// Does what was decided of a request that is not simply forwarded.
    fn act(&mut self, key: ClientKey, resolved: &Resolved<'_>, verdict: Verdict) -> Flow {
        let (command, request) = (Some(resolved.command), resolved.request);
        match verdict {
            Verdict::Split(parts) => self.sessions().send_split(key, parts),
            Verdict::Fan(fan) => self.sessions().fan_out(key, command, request, fan),
            Verdict::Answer(local) => self.sessions().answer(key, local, command, request),
            Verdict::Session(session, slot) => {
                self.sessions().run_session(key, session, command, slot, request)
            }
            Verdict::Reserve(by) => self.reserve(key, resolved, by),
            Verdict::Queue { slot, readonly, part } => {
                self.sessions().note_flush(key, request);
                if part == Part::Redis {
                    self.note_queued_keys(key, resolved);
                }
                let has_place = runs_in_one_cluster(&self.core.snapshots, resolved.class);
                let is_keyless = has_place && resolved.keys.is_empty() && part == Part::Redis;
                let place = (slot, is_keyless.then_some(resolved.keyless));
                self.sessions().queue_command(key, request, place, readonly, part)
            }
            Verdict::Deny(denied, text) => {
                if is_exec(resolved) {
                    self.sessions().drop_transaction(key);
                }
                self.deny(key, resolved, denied, &text)
            }
            Verdict::Forward(_)
            | Verdict::ForwardAsUser(_)
            | Verdict::Abort(_)
            | Verdict::HangUp(_)
            | Verdict::Refuse(_) => self.act_here(key, verdict, command),
        }
    }

    /// Does what was decided of a request that goes nowhere.
    fn act_here(&mut self, key: ClientKey, verdict: Verdict, command: Option<CommandId>) -> Flow {
        match verdict {
            Verdict::Abort(text) => {
                self.sessions().drop_transaction(key);
                self.refuse(key, ErrorKind::ClientRequest, &text)
            }
            Verdict::HangUp(why) => self.hang_up(key, why),
            Verdict::Refuse(text) => {
                let kind = if command.is_none() { ErrorKind::ClientRequest } else { ErrorKind::NotCarried };
                self.refuse(key, kind, &text)
            }
            _ => Flow::Next,
        }
    }

    /// Notes that a request was taken, unless it has to wait, and with it what later ones have to know of it.
    // Each request comes through here: the call would cost it some twenty instructions.
    #[inline(always)]
    fn taken(&mut self, key: ClientKey, resolved: Option<&Resolved<'_>>, flow: Flow, passed: Passed) -> Flow {
        let requests = match flow {
            Flow::Next => 1,
            Flow::NextAfter(repeats) => 1 + u64::from(repeats),
            Flow::Wait => return flow,
        };
        let Some(client) = self.clients.all.get_mut(key) else { return flow };
        let command = resolved.map(|resolved| resolved.command);
        client.requests += requests;
        client.active_ns = self.core.now_ns;
        client.session.last_seen = command.or(client.session.last_seen);
        client.session.forget_caching(command, &self.core.snapshots.commands);
        let has_barrier = client.barrier.is_some();
        if passed == Passed::QueuesAndCopies {
            client.combine_after = client.replies.next_sequence();
        }
        if let (Passed::Copies | Passed::QueuesAndCopies, Some(resolved)) = (passed, resolved) {
            self.passed_copies(key, resolved);
        }
        if has_barrier {
            self.mark_barrier(key);
        }
        flow
    }

    /// What a client has sent up to now has to be answered before anything more of it is combined.
    fn bar_combining(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.all.get_mut(key) {
            client.combine_after = client.replies.next_sequence();
        }
    }

    /// Nothing is known of its cluster yet. The request waits a little, since the gateway may just have started.
    fn await_first_topology(&mut self, key: ClientKey, cluster: ClusterId) -> Flow {
        let patience_ns = self.core.unavailable_wait_ns(cluster);
        let now_ns = self.core.now_ns;
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        let since_ns = *client.unrouted_since_ns.get_or_insert(now_ns);
        if now_ns - since_ns < patience_ns {
            let flow = client.wait(Gate::Drain);
            self.upstreams.retries.look_later(self.core.now_ns, key);
            return flow;
        }
        client.unrouted_since_ns = None;
        let error = UpstreamError::none_known(self.core.gateway.facts_of(cluster));
        self.refuse(key, ErrorKind::UpstreamUnavailable, error.to_string())
    }

    /// Closes the connection of somebody who speaks something else, and says so now and then.
    fn hang_up(&mut self, key: ClientKey, why: &'static str) -> Flow {
        self.core.tallies.error(ErrorKind::ClientProtocol);
        let now_ns = self.core.now_ns;
        if self
            .clients
            .strangers_logged_ns
            .is_none_or(|logged_ns| now_ns.saturating_sub(logged_ns) >= STRANGERS_LOG_PERIOD_NS)
        {
            self.clients.strangers_logged_ns = Some(now_ns);
            let peer = self.clients.all.get(key).map(|client| client.peer.to_string());
            tracing::warn!(peer, "closed a client that sent {why}");
        }
        self.clients.close(key, CloseReason::Protocol);
        Flow::Next
    }

    /// Answers with an error of our own.
    pub fn refuse(&mut self, key: ClientKey, kind: ErrorKind, text: impl AsRef<[u8]>) -> Flow {
        self.clients.refuse(&mut self.core, key, kind, text);
        Flow::Next
    }

    /// Answers a command that would pass by a quota, or that its tenant may not send now. It makes an open transaction abort.
    pub(super) fn refuse_by_quota(&mut self, key: ClientKey, text: &str) -> Flow {
        let transaction =
            self.clients.all.get_mut(key).and_then(|client| client.session.transaction.queuing_mut());
        if let Some(transaction) = transaction {
            transaction.poisoned = true;
        }
        let mut reply = Vec::new();
        encode::error(&mut reply, text);
        let ended = Ended::refused(RequestClass::Local);
        self.clients.answer(&mut self.core, key, ended, ReplyBytes::Borrowed(&reply));
        Flow::Next
    }
}
