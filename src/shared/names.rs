//! The addresses that the names of upstream servers have now.
//!
//! `control/probes` looks them up and publishes them; workers look whether there are others, ten times a second, and leave connections to addresses
//! that are gone. Bounded by the servers that are probed; only names are in it, not servers that are known by their address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::topology::Address;
use crate::route::ClusterId;

/// By cluster and name.
pub type Names = HashMap<(ClusterId, Address), Arc<[IpAddr]>>;

/// Where they are published. Only one thread writes.
#[derive(Debug, Default)]
pub struct NamesCell(ArcSwap<Names>);

impl NamesCell {
    /// What is known now.
    pub fn load(&self) -> Arc<Names> {
        self.0.load_full()
    }

    /// A name has these addresses from now on. Returns whether it had others before.
    pub fn put(&self, cluster: ClusterId, name: &Address, addresses: Vec<IpAddr>) -> bool {
        let known = self.0.load();
        let place = (cluster, name.clone());
        let former = known.get(&place);
        if former.is_some_and(|former| former[..] == addresses[..]) {
            return false;
        }
        let is_other = former.is_some();
        let mut names = Names::clone(&known);
        names.insert(place, addresses.into());
        self.0.store(Arc::new(names));
        is_other
    }

    /// Nobody asks for this name any more.
    pub fn forget(&self, cluster: ClusterId, name: &Address) {
        let known = self.0.load();
        let place = (cluster, name.clone());
        if known.contains_key(&place) {
            let mut names = Names::clone(&known);
            names.remove(&place);
            self.0.store(Arc::new(names));
        }
    }
}
