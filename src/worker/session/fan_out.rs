//! Commands that more than one node answers: their parts go out here, and [`crate::worker::client::merge`] makes one reply of theirs.
//!
//! A part is a request like any other, but settles a share of its client's slot. Owns nothing, and does not decide which
//! commands are taken apart nor where their keys are: that has been decided when they come here.

use super::Sessions;
use crate::command::{CommandId, Fan};
use crate::config::ReadFrom;
use crate::resp::{Request, encode};
use crate::route::{ClusterId, RoutedAs};
use crate::shared::labels::ErrorKind;
use crate::shared::topology::{ClusterMap, NodeIndex, UpstreamKind};
use crate::worker::client::merge::{self, Merge, Plan, ScanPlace};
use crate::worker::client::{Client, Gate};
use crate::worker::decide::split;
use crate::worker::errors::UpstreamError;
use crate::worker::flow::Flow;
use crate::worker::names::ClientKey;
use crate::worker::pending::{Hook, Origin, Outgoing, Pending, Route};
use crate::worker::send::{Exit, Payload};
use crate::worker::upstream::Cargo;
use crate::worker::upstream::Room;

/// Keys that `RANDOMKEY` asks each node for: with as many keys of the gateway's own as of others, one time in 65,000 all are of
/// the gateway's own, which are not shown.
const RANDOM_KEY_TRIES: usize = 16;

/// Commands to all masters that concern the keys of one database.
const ABOUT_KEYS: [&[u8]; 4] = [b"keys", b"dbsize", b"randomkey", b"flushdb"];

impl Sessions<'_> {
    /// Sends the parts of a command whose keys are in several slots; their replies are put together again.
    pub fn send_split(&mut self, key: ClientKey, parts: split::Parts) -> Flow {
        if !self.sender().choose_connection_to_several(key, Cargo::reading(parts.readonly)) {
            return self.clients.wait_for_all(key);
        }
        let split::Parts { parts, plan, readonly } = parts;
        let mut outgoing = Vec::with_capacity(parts.len());
        for split::Part { slot, request } in parts {
            let replicas = readonly && self.core.snapshots.read_from(slot.cluster) != ReadFrom::Master;
            let route = if replicas { Route::ReadSlot(slot) } else { Route::Slot(slot) };
            let node = self.sender().node_for(key, route).ok();
            let Some(exit) = self.sender().exit_or_wait(key, route, node) else { return Flow::Wait };
            outgoing.push((exit, route, request));
        }
        self.send_parts(key, plan, readonly, outgoing)
    }

    /// Sends the parts of one request, for each of which there is room.
    fn send_parts<B: AsRef<[u8]>>(
        &mut self,
        key: ClientKey,
        plan: Plan,
        readonly: bool,
        parts: Vec<(Exit, Route, B)>,
    ) -> Flow {
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        let suppressed = client.take_suppressed();
        let sequence = client.replies.push_merge(Merge::new(plan, parts.len()), suppressed);
        for (part, (exit, route, bytes)) in parts.into_iter().enumerate() {
            let origin = Origin::Client { key, sequence, part: part as u32 };
            let pending = Pending::part(origin, route, readonly, self.core.now_ns);
            self.sender().send_out(exit, pending, Payload::Borrowed(bytes.as_ref()));
        }
        Flow::Next
    }

    /// Sends a command that speaks of no one slot: to all masters, or to the one that can answer for all.
    pub fn fan_out(
        &mut self,
        key: ClientKey,
        command: Option<CommandId>,
        request: &Request<'_>,
        fan: Fan,
    ) -> Flow {
        let readonly = command.is_some_and(|id| self.core.snapshots.commands.get(id).is_readonly());
        if matches!(fan, Fan::Min | Fan::MinArray) {
            return self.wait_for_replicas(key, request, fan);
        }
        if fan == Fan::AnyOk {
            return self.end_script(key, request);
        }
        let single = self.core.snapshots.is_one_server();
        let shows_keys =
            matches!(fan, Fan::Scan | Fan::RandomKey) || request.name().eq_ignore_ascii_case(b"keys");
        if single && shows_keys {
            return self.show_keys(key, request, fan);
        }
        if single || fan == Fan::First {
            let (route, class) = (Route::AnyNode, self.core.class_of(command));
            let outgoing = Outgoing { route, readonly, class, hook: Hook::None };
            let flow = self.sender().forward(key, request, None, outgoing, None);
            if flow != Flow::Wait {
                self.note_flush(key, request);
                self.note_script_command(request);
            }
            return flow;
        }
        if !self.sender().choose_connection_to_several(key, Cargo::reading(readonly)) {
            return self.clients.wait_for_all(key);
        }
        if fan == Fan::Scan {
            return self.scan_page(key, request);
        }
        let masters = match self.masters_to_ask(key, request) {
            Ok(masters) => masters,
            Err(text) => return self.refuse(key, ErrorKind::ClientRequest, text),
        };
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        let plan = merge::plan_of(fan, client.session.version, rand::random());
        let tries = if fan == Fan::RandomKey { RANDOM_KEY_TRIES } else { 1 };
        let mut parts = Vec::with_capacity(tries * masters.len());
        for part in 0..tries * masters.len() {
            let node = masters[part % masters.len()];
            let route = Route::Node(node);
            let Some(exit) = self.sender().exit_or_wait(key, route, Some(node)) else { return Flow::Wait };
            parts.push((exit, route, request.bytes()));
        }
        self.note_flush(key, request);
        self.note_script_command(request);
        self.send_parts(key, plan, readonly, parts)
    }

    /// The masters that hold keys of a client, as far as it has routes of its own.
    fn masters_of_keys(&self, key: ClientKey) -> Vec<NodeIndex> {
        let snapshots = &self.core.snapshots;
        let routed_as =
            self.clients.all.get(key).map_or(RoutedAs::ANYBODY, |client| client.session.routed_as);
        let mut masters = snapshots.all_masters();
        if routed_as != RoutedAs::ANYBODY {
            masters.retain(|node| snapshots.reaches(routed_as, snapshots.cluster_of_node(*node)));
        }
        masters
    }

    /// The masters that a command to all of them concerns. A client that has selected a database other than 0 sees keys of servers
    /// only, since a Redis Cluster has none there; what is not about keys is not done in half of the clusters.
    fn masters_to_ask(&self, key: ClientKey, request: &Request<'_>) -> Result<Vec<NodeIndex>, &'static str> {
        let snapshots = &self.core.snapshots;
        let is_about = |names: &[&[u8]]| names.iter().any(|name| request.name().eq_ignore_ascii_case(name));
        let mut masters = match is_about(&ABOUT_KEYS) || is_about(&[b"flushall"]) {
            true => self.masters_of_keys(key),
            false => snapshots.all_masters(),
        };
        let has_databases = |node: &NodeIndex| snapshots.has_databases(snapshots.cluster_of_node(*node));
        let database = self.clients.all.get(key).map_or(0, |client| client.session.database);
        if database == 0 || masters.iter().all(has_databases) {
            return Ok(masters);
        }
        if !is_about(&ABOUT_KEYS) {
            return Err(
                "ERR hotgate: this command goes to all clusters, and some are Redis Clusters, which have \
                        database 0 only; SELECT 0 first (docs/routes.md)",
            );
        }
        masters.retain(has_databases);
        Ok(masters)
    }

    /// `KEYS`, `SCAN` and `RANDOMKEY` before one server. The reply is looked through for keys of the gateway's own.
    fn show_keys(&mut self, key: ClientKey, request: &Request<'_>, fan: Fan) -> Flow {
        if !self.sender().choose_connection_to_several(key, Cargo::reading(true)) {
            return self.clients.wait_for_all(key);
        }
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        let plan = match fan {
            Fan::Scan => Plan::ScanOne,
            _ => merge::plan_of(fan, client.session.version, rand::random()),
        };
        let tries = if fan == Fan::RandomKey { RANDOM_KEY_TRIES } else { 1 };
        let mut parts = Vec::with_capacity(tries);
        for _ in 0..tries {
            let route = Route::AnyNode;
            let node = self.sender().node_for(key, route).ok();
            let Some(exit) = self.sender().exit_or_wait(key, route, node) else { return Flow::Wait };
            parts.push((exit, route, request.bytes()));
        }
        self.send_parts(key, plan, true, parts)
    }

    /// Says that a client removes what quotas keep in Redis, along with all else.
    pub fn note_flush(&mut self, key: ClientKey, request: &Request<'_>) {
        let name = request.name();
        let flushes = name.eq_ignore_ascii_case(b"flushall") || name.eq_ignore_ascii_case(b"flushdb");
        if !flushes || self.core.config.quotas.is_empty() {
            return;
        }
        self.core.tallies.admission.flushed += 1;
        let client = self.clients.all.get(key).map(|client| client.peer.to_string());
        let command = name.escape_ascii().to_string();
        tracing::warn!(
            client,
            command,
            "a client has all keys removed: with them go the limits and pauses that operators set, and what windows have counted"
        );
    }

    /// `SCRIPT KILL` and `FUNCTION KILL` ask every master, and wait for nothing there: least of all for the script that they
    /// are to end.
    fn end_script(&mut self, key: ClientKey, request: &Request<'_>) -> Flow {
        let masters = self.core.snapshots.all_masters();
        if masters.is_empty() {
            return self.refuse(
                key,
                ErrorKind::UpstreamUnavailable,
                UpstreamError::NoneKnown(None).to_string(),
            );
        }
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        let suppressed = client.take_suppressed();
        let sequence = client.replies.push_merge(Merge::new(Plan::AnyOk, masters.len()), suppressed);
        for (part, node) in masters.into_iter().enumerate() {
            let origin = Origin::Client { key, sequence, part: part as u32 };
            if !self.upstreams.send_out_of_band(self.core, node, origin, request.bytes()) {
                let error = UpstreamError::Full("the queue of commands that end scripts");
                let unsent = Pending::out_of_band(origin, self.core.now_ns);
                self.sender().fail(unsent, error, None);
            }
        }
        Flow::Next
    }

    /// `SCAN` goes through the masters one after the other; the cursor says where it is.
    fn scan_page(&mut self, key: ClientKey, request: &Request<'_>) -> Flow {
        let cursor = request.arg(1).and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
        let Some(cursor) = cursor else {
            return self.refuse(key, ErrorKind::ClientRequest, "ERR invalid cursor");
        };
        let several = self.core.snapshots.routes.several().is_some();
        let (place, node_cursor) = merge::split_cursor(cursor, several);
        let all = self.scanned(key);
        let at = all
            .iter()
            .position(|(known, _)| *known == place)
            .or((cursor == 0 && !all.is_empty()).then_some(0));
        let Some(at) = at else {
            return self.refuse(key, ErrorKind::ClientRequest, "ERR invalid cursor");
        };
        let text = node_cursor.to_string();
        let arguments: Vec<&[u8]> = request
            .args()
            .enumerate()
            .map(|(place, argument)| if place == 1 { text.as_bytes() } else { argument })
            .collect();
        let mut bytes = Vec::new();
        encode::command(&mut bytes, &arguments);
        let ((place, node), next) = (all[at], all.get(at + 1).map(|(next, _)| *next));
        let plan = Plan::ScanPage { place, next, several };
        let route = Route::Node(node);
        let Some(exit) = self.sender().exit_or_wait(key, route, Some(node)) else { return Flow::Wait };
        self.send_parts(key, plan, true, vec![(exit, route, bytes)])
    }

    /// The masters that `SCAN` goes through, in this order: those that have its client's database, and may hold keys of it.
    fn scanned(&self, key: ClientKey) -> Vec<(ScanPlace, NodeIndex)> {
        let Some(Client { session, .. }) = self.clients.all.get(key) else { return Vec::new() };
        let snapshots = &self.core.snapshots;
        let maps = snapshots.topology.clusters().iter().enumerate();
        let has_database = |map: &ClusterMap| session.database == 0 || map.kind == UpstreamKind::Single;
        let is_scanned = |(cluster, map): &(usize, &ClusterMap)| {
            has_database(map) && snapshots.reaches(session.routed_as, ClusterId(*cluster as u16))
        };
        let masters = maps.filter(is_scanned).flat_map(|(cluster, map)| {
            map.masters.iter().enumerate().map(move |(node, master)| {
                (ScanPlace { cluster: cluster as u64, node: node as u64 }, *master)
            })
        });
        masters.collect()
    }

    /// `WAIT` and `WAITAOF` block, and they wait for what their own connection wrote last. So each master is asked on a
    /// connection of its own, after everything of the client has been answered; the `PING` before makes the server take
    /// its present offset for that connection's last write.
    fn wait_for_replicas(&mut self, key: ClientKey, request: &Request<'_>, fan: Fan) -> Flow {
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        if !client.replies.is_empty() {
            return client.wait(Gate::Drain);
        }
        let selection = client.session.selection();
        let masters = self.masters_of_keys(key);
        let mut rooms = Vec::with_capacity(masters.len());
        for node in masters {
            let selection = self.core.snapshots.selection_at(node, selection);
            match self.upstreams.session_connection(self.core, node, key, selection) {
                Some(room) => rooms.push(room),
                None => {
                    rooms.iter().for_each(|room: &Room| {
                        self.upstreams.release_connection(self.core, room.connection())
                    });
                    let error = UpstreamError::Full("the table of session connections").to_string();
                    return self.refuse(key, ErrorKind::Overload, &error);
                }
            }
        }
        if rooms.is_empty() {
            let error = UpstreamError::none_known(self.core.gateway.keyless_facts());
            return self.refuse(key, ErrorKind::UpstreamUnavailable, error.to_string());
        }
        let plan = if fan == Fan::Min { Plan::Min } else { Plan::MinArray };
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        let suppressed = client.take_suppressed();
        client.exclusive = true;
        let sequence = client.replies.push_merge(Merge::new(plan, rooms.len()), suppressed);
        for (part, room) in rooms.into_iter().enumerate() {
            let origin = Origin::Client { key, sequence, part: part as u32 };
            let pending = Pending::part_of_wait(origin, self.core.now_ns);
            self.upstreams.send(room, pending, &[b"*1\r\n$4\r\nPING\r\n", request.bytes()]);
        }
        Flow::Next
    }
}
