//! Where a queue stands at a node, the oldest requests of a connection to it are looked at for crowds: keys with very many operations
//! there. Such a key may fold before detection calls it hot. [`crate::pace`] says what a crowd is and when to look;
//! `worker/hot` takes it from there.
//!
//! Deliberately looks only at what folds by itself: a crowd of transactions or scripts waits for detection.

use bytes::Bytes;

use super::names::UpstreamKey;
use super::owners::Worker;
use super::pending::{Hook, Origin, Pending, Route};
use crate::combine::classify;
use crate::limits::{INLINE_BYTES_MAX, LARGE_REQUEST_BYTES};
use crate::pace::{LOOKED_AT_MAX, crowds};
use crate::resp::{Request, RequestLimits, RequestScan, RequestScanner};
use crate::route::SlotAt;

impl Worker {
    /// A queue stands at the node of this connection: keys that have a crowd there may fold from now on.
    pub(super) fn look_for_crowds(&mut self, key: UpstreamKey) {
        let Some(upstream) = self.upstreams.connections.get(key) else { return };
        let node = upstream.node;
        // Only what is in database 0 folds.
        if upstream.selection().database != 0 {
            return;
        }
        let topology = &self.core.snapshots.topology;
        let mut scanner = new_scanner();
        let oldest = upstream.wire.oldest().take(LOOKED_AT_MAX);
        let keys = oldest.filter_map(|(pending, bytes)| {
            let place = place_of(pending).filter(|place| topology.master_of(*place) == Some(node))?;
            Some((place, foldable_key(&mut scanner, bytes)?))
        });
        let found: Vec<(SlotAt, Bytes)> =
            crowds(keys).into_iter().map(|(place, key)| (place, Bytes::copy_from_slice(key))).collect();
        self.hot.take_crowds(&mut self.core, node, found);
    }
}

/// The place of the key of a client's request that goes as it came.
fn place_of(pending: &Pending) -> Option<SlotAt> {
    let as_it_came = matches!(pending.origin, Origin::Client { .. })
        && pending.hook == Hook::None
        && (pending.leading, pending.prefix_len) == (0, 0);
    match pending.route {
        Route::Slot(place) | Route::ReadSlot(place) if as_it_came => Some(place),
        _ => None,
    }
}

/// A scanner for requests that lie among others on a wire.
fn new_scanner() -> RequestScanner {
    RequestScanner::new(RequestLimits {
        bulk_bytes_max: LARGE_REQUEST_BYTES,
        arguments_max: LARGE_REQUEST_BYTES,
        inline_bytes_max: INLINE_BYTES_MAX,
        authenticated: true,
    })
}

/// The key of a request that folds with others of its kind.
fn foldable_key<'a>(scanner: &mut RequestScanner, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let RequestScan::Complete { len } = scanner.scan(bytes) else {
        *scanner = new_scanner();
        return None;
    };
    let key = *scanner.spans().get(1)?;
    classify(&Request::new(bytes.get(..len)?, scanner.spans()))?;
    bytes.get(key.start as usize..)?.get(..key.len as usize)
}
