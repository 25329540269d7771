//! `EVALSHA` of a script that its node does not know although a client loaded it through this gateway.
//!
//! The gateway loads it there and runs it, so that a node that joined or lost its cache surprises nobody. While it is not known
//! that a node has the script, nothing else of the client goes out, so that the second try keeps its place.

use super::Sessions;
use bytes::Bytes;

use crate::limits::LOADED_SCRIPTS_MAX;
use crate::resp::{self, Request, encode};
use crate::shared::topology::NodeIndex;
use crate::worker::errors::UpstreamError;
use crate::worker::pending::{Origin, Pending};

impl Sessions<'_> {
    /// Remembers the bodies of scripts that clients load, and forgets them when they are flushed.
    pub fn note_script_command(&mut self, request: &Request<'_>) {
        let (Some(name), Some(verb)) = (request.arg(0), request.arg(1)) else { return };
        if !name.eq_ignore_ascii_case(b"script") {
            return;
        }
        if verb.eq_ignore_ascii_case(b"load")
            && let Some(body) = request.arg(2)
        {
            self.core.gateway.scripts.insert(Bytes::copy_from_slice(body));
        } else if verb.eq_ignore_ascii_case(b"flush") {
            self.core.gateway.scripts.clear();
            self.upstreams.loaded_scripts.clear();
        }
    }

    /// A node answered `NOSCRIPT`: loads the script there and sends the request again, or passes the reply on if we do
    /// not have it.
    pub fn load_script(&mut self, node: NodeIndex, mut pending: Pending, bytes: Bytes, reply: &[u8]) {
        let body = script_of(&bytes).and_then(|sha| self.core.gateway.scripts.body(sha));
        let cluster = self.core.snapshots.cluster_of_node(node);
        let redirects_max = self.core.upstream_of(cluster).redirects_max;
        let Some(body) = body.filter(|_| usize::from(pending.redirects) <= redirects_max) else {
            let error = UpstreamError::Redirected(pending.redirects);
            self.sender().fail(pending, error, Some(reply));
            return;
        };
        let load = loading(&body);
        pending.leading += 1;
        pending.prefix_len = load.len() as u32;
        self.sender().send_to(node, pending, &load, bytes);
    }

    /// What loads the script of a request that goes to another node; nothing if it calls none that is known here.
    pub fn script_before(&self, bytes: &[u8]) -> Vec<u8> {
        let name = resp::elements(bytes).and_then(|mut words| words.next()).and_then(resp::bulk_payload);
        let calls =
            name.and_then(|name| name.get(..7)).is_some_and(|name| name.eq_ignore_ascii_case(b"evalsha"));
        let sha = if calls { script_of(bytes) } else { None };
        sha.and_then(|sha| self.core.gateway.scripts.body(sha)).map_or(Vec::new(), |body| loading(&body))
    }

    /// The script of a request that was answered is loaded at `node`.
    pub fn note_script(&mut self, node: NodeIndex, pending: &Pending) {
        let Origin::Client { key, .. } = pending.origin else { return };
        let Some(sha) = self.clients.all.get_mut(key).and_then(|client| client.session.script.take()) else {
            return;
        };
        if self.upstreams.loaded_scripts.len() >= LOADED_SCRIPTS_MAX {
            self.upstreams.loaded_scripts.clear();
        }
        self.upstreams.loaded_scripts.insert((node, sha));
    }
}

fn loading(body: &[u8]) -> Vec<u8> {
    let mut load = Vec::new();
    encode::command(&mut load, &[b"SCRIPT", b"LOAD", body]);
    load
}

/// The digest that an `EVALSHA` on the wire names.
fn script_of(bytes: &[u8]) -> Option<&[u8]> {
    resp::bulk_payload(resp::elements(bytes)?.nth(1)?)
}
