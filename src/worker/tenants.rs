//! Limits of tenants: whose a request is, whether it may go now, and what it has used.
//!
//! | when | what |
//! |---|---|
//! | a client comes or logs in | the tenant of its user is found, and its place among the connections taken |
//! | a request was decided | it goes, or its client is held back, or it gets an error |
//! | it was taken | it is charged to each tenant that it concerns |
//! | its reply comes | the bytes of that are charged too; figures are of the first tenant that it concerns |
//!
//! To hold a client back is not to read it: nothing is queued. Who is held back for longer than the tenant's `delay` gets the error.
//! Where no tenant is configured nothing of this is done.
//!
//! Owns nothing: limits are [`super::tenant_shares`]', notes the client's.

use smallvec::SmallVec;
use std::time::Duration;

use super::client::tenancy::Tenancy;
use super::client::{Client, Gate, Phase};
use super::core::Core;
use super::decide::Verdict;
use super::flow::Flow;
use super::names::ClientKey;
use super::owners::Worker;
use super::reply::ReplyBytes;
use super::resolve::Resolved;
use super::turn::turn;
use crate::command::Session;
use crate::resp::{Request, encode};
use crate::route::tenants::TenantId;
use crate::shared::command_tallies::CommandRow;
use crate::shared::labels::CloseReason;
use crate::shared::tenant_tallies::TenantLimit;
use crate::shared::tenants::Tenant;

impl Worker {
    /// The tenants are others: clients are theirs from now on. Nobody loses a place.
    pub(super) fn follow_tenants(&mut self) {
        let keys: Vec<ClientKey> = self.clients.all.iter().map(|client| client.key).collect();
        let is_on = self.core.tenants.is_some();
        for key in keys {
            let Some(client) = self.clients.all.get_mut(key) else { continue };
            // Until the new place is taken the old one is kept.
            let former = std::mem::replace(&mut client.tenancy, is_on.then(Box::default));
            if is_on {
                self.find_tenant(key, false);
            }
            drop(former);
            // One that was held back looks again.
            self.clients.all.get_mut(key).into_iter().for_each(|client| client.wake());
        }
    }

    /// A client has come. If its user has as many connections as it may, it is told, and goes.
    pub(super) fn begin_tenancy(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.all.get_mut(key) {
            client.tenancy = Some(Box::default());
        }
        self.find_tenant(key, true);
    }

    /// Finds the tenant of a client's user, and its place there. `false` if there is none left.
    pub(super) fn find_tenant(&mut self, key: ClientKey, is_bounded: bool) -> bool {
        let (Some(tenants), Some(client)) = (&self.core.tenants, self.clients.all.get_mut(key)) else {
            return true;
        };
        let in_force = &tenants.in_force;
        let Client { session, tenancy: Some(tenancy), .. } = client else { return true };
        let of_user = in_force.table.by_user(&session.user).filter(|_| session.authenticated);
        if of_user == tenancy.of_user {
            return true;
        }
        (tenancy.of_user, tenancy.place) = (of_user, None);
        let Some(id) = of_user else { return true };
        let tenant = in_force.get(id);
        tenancy.place = tenant.pools.places.take(tenant.clients_max.filter(|_| is_bounded));
        if tenancy.place.is_some() {
            return true;
        }
        tenancy.of_user = None;
        let text = format!(
            "ERR hotgate: tenant '{}' has as many connections as it may (clients_max = {}); close some, or raise it",
            tenant.name,
            tenant.clients_max.unwrap_or_default()
        );
        count_refused(&mut self.core, id, TenantLimit::Clients);
        let mut error = Vec::new();
        encode::error(&mut error, text);
        self.clients.add(key, ReplyBytes::Borrowed(&error), false);
        if let Some(client) = self.clients.all.get_mut(key) {
            client.phase = Phase::Finishing(CloseReason::Tenant);
        }
        false
    }

    /// Whether a request may go as far as tenants are concerned. `None` if it may; then it is noted.
    pub(super) fn hold_to_tenants(
        &mut self,
        key: ClientKey,
        resolved: &Resolved<'_>,
        verdict: &Verdict,
    ) -> Option<Flow> {
        if !is_held_to_limits(verdict) {
            return None;
        }
        let now_ns = self.core.now_ns;
        let client = self.clients.all.get_mut(key)?;
        // What `EXEC` brought was held to limits when it was queued.
        if client.session.transaction.replying().is_some() {
            return None;
        }
        let tenants = self.core.tenants.as_mut()?;
        let concerned = concerned(client.tenancy.as_ref()?, &tenants.in_force.table, resolved);
        let reached = concerned.iter().find_map(|id| Some((*id, tenants.reached(*id, now_ns)?)));
        let Some((id, (limit, ready_ns))) = reached else {
            // Whatever answered those before it: no more are noted than wait.
            client.count_left(&mut self.core);
            let sequence = client.replies.next_sequence();
            let tenancy = client.tenancy.as_mut()?;
            tenancy.held_since_ns = None;
            if let Some(first) = concerned.first() {
                tenancy.note(*first, CommandRow::of(resolved.command), sequence, now_ns);
            }
            tenancy.at_hand = concerned;
            return None;
        };
        let delay_max = tenants.in_force.get(id).delay_max;
        let tenancy = client.tenancy.as_mut()?;
        // Something else has woken it: its turn is still to come.
        if tenancy.is_to_be_woken {
            return Some(client.wait(Gate::Room));
        }
        let since_ns = tenancy.held_since_ns.unwrap_or(now_ns);
        let until_ns = delay_max.map_or(0, |delay_max| since_ns + delay_max.as_nanos() as u64);
        if let Some(turn_ns) = tenants.turn_ns(id, limit, (ready_ns, until_ns)) {
            let is_first = tenancy.held_since_ns.replace(since_ns).is_none();
            if let Some(row) = self.core.tallies.tenants.rows.get_mut(id.position()).filter(|_| is_first) {
                row.delayed += 1;
            }
            return Some(self.hold_back(key, turn_ns - now_ns));
        }
        tenancy.held_since_ns = None;
        let text = refusal(tenants.in_force.get(id), limit, ready_ns - now_ns);
        count_refused(&mut self.core, id, limit);
        Some(self.refuse_by_quota(key, &text))
    }

    /// A request was taken, or has to come again: it is charged, or forgotten.
    #[cold]
    pub(super) fn charge_tenants(&mut self, key: ClientKey, request: &Request<'_>, flow: Flow) {
        let Self { core, clients, .. } = self;
        let Some(client) = clients.all.get_mut(key) else { return };
        let Some(tenancy) = client.tenancy.as_mut().filter(|tenancy| !tenancy.at_hand.is_empty()) else {
            return;
        };
        let concerned = std::mem::take(&mut tenancy.at_hand);
        let requests = match flow {
            Flow::Wait => return tenancy.take_back(),
            Flow::Next => 1,
            Flow::NextAfter(repeats) => {
                tenancy.repeat(1 + repeats);
                1 + u64::from(repeats)
            }
        };
        let bytes = request.bytes().len() as u64 * requests;
        if let Some(row) = concerned.first().and_then(|id| core.tallies.tenants.rows.get_mut(id.position())) {
            row.bytes_in += bytes;
        }
        let (now_ns, Some(tenants)) = (core.now_ns, &mut core.tenants) else { return };
        for id in concerned {
            tenants.spend_requests(id, requests, now_ns);
            tenants.spend_bytes(id, bytes, now_ns);
        }
    }

    /// Does not read a client for this long.
    fn hold_back(&mut self, key: ClientKey, pause_ns: u64) -> Flow {
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        let flow = client.wait(Gate::Room);
        let is_to_be_woken =
            client.tenancy.as_mut().map(|tenancy| std::mem::replace(&mut tenancy.is_to_be_woken, true));
        if let (Some(false), Some(worker)) = (is_to_be_woken, self.me.upgrade()) {
            tokio::task::spawn_local(async move {
                tokio::time::sleep(Duration::from_nanos(pause_ns)).await;
                turn(&worker, |worker| {
                    let Some(client) = worker.clients.all.get_mut(key) else { return };
                    client.tenancy.iter_mut().for_each(|tenancy| tenancy.is_to_be_woken = false);
                    client.wake();
                });
            });
        }
        flow
    }
}

impl Core {
    /// Counts a reply to a tenant's request.
    pub fn count_tenant_reply(&mut self, tenant: TenantId, reply: &[u8]) {
        if let Some(row) = self.tallies.tenants.rows.get_mut(tenant.position()) {
            row.bytes_out += reply.len() as u64;
            row.errors += u64::from(reply.first() == Some(&b'-'));
        }
        if let Some(tenants) = &mut self.tenants {
            tenants.spend_bytes(tenant, reply.len() as u64, self.now_ns);
        }
    }
}

/// Whether a request may be refused or held back. What ends something may not.
fn is_held_to_limits(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Forward(_)
        | Verdict::ForwardAsUser(_)
        | Verdict::Split(_)
        | Verdict::Fan(_)
        | Verdict::Reserve(_)
        | Verdict::Queue { .. } => true,
        Verdict::Session(session, _) => !matches!(
            session,
            Session::Multi
                | Session::Exec
                | Session::Discard
                | Session::Unwatch
                | Session::Unsubscribe
                | Session::Punsubscribe
                | Session::Sunsubscribe
        ),
        _ => false,
    }
}

/// The tenants that a request concerns, each once: that of its user, or else those of its keys.
fn concerned(
    tenancy: &Tenancy,
    table: &crate::route::tenants::TenantTable,
    resolved: &Resolved<'_>,
) -> SmallVec<[TenantId; 2]> {
    if let Some(id) = tenancy.of_user {
        return SmallVec::from_slice(&[id]);
    }
    let mut found = SmallVec::new();
    for (_, name) in resolved.named_keys() {
        if let Some(id) = table.by_key(name)
            && !found.contains(&id)
        {
            found.push(id);
        }
    }
    found
}

fn count_refused(core: &mut Core, id: TenantId, limit: TenantLimit) {
    if let Some(row) = core.tallies.tenants.rows.get_mut(id.position()) {
        row.refused[limit.index()] += 1;
    }
}

fn refusal(tenant: &Tenant, limit: TenantLimit, pause_ns: u64) -> String {
    let (rate, of_what) = match limit {
        TenantLimit::BytesRate => (tenant.bytes_rate, "bytes"),
        _ => (tenant.rate, "requests"),
    };
    let (name, per_s) = (&tenant.name, rate.map_or(0, |rate| rate.per_s));
    let pause_ms = pause_ns.div_ceil(1_000_000);
    format!(
        "THROTTLED hotgate: tenant '{name}' is over its {} of {per_s} {of_what} per second at this gateway; try again in {pause_ms} ms",
        limit.label()
    )
}
