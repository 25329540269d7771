//! Taking `MGET MSET DEL UNLINK EXISTS TOUCH` apart by slot.

use crate::command::Split;
use crate::resp::encode;
use crate::route::SlotAt;
use crate::worker::client::merge::Plan;
use crate::worker::resolve::Resolved;

/// One part: the request for one slot.
#[derive(Debug, PartialEq)]
pub struct Part {
    /// The slot of all its keys.
    pub slot: SlotAt,
    /// The whole request.
    pub request: Vec<u8>,
}

/// A request in parts.
#[derive(Debug)]
pub struct Parts {
    /// In the order in which their first keys appear.
    pub parts: Vec<Part>,
    /// How their replies become one.
    pub plan: Plan,
    /// It changes nothing.
    pub readonly: bool,
}

impl PartialEq for Parts {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts && self.readonly == other.readonly
    }
}

/// Splits a request whose keys are in several slots. `None` when its arguments are malformed (`MSET` with a key that
/// lacks its value): then Redis says what is wrong.
pub fn by_slot(split: Split, resolved: &Resolved<'_>) -> Option<Parts> {
    let request = resolved.request;
    let width = if split == Split::Mset { 2 } else { 1 };
    if !(request.len() - 1).is_multiple_of(width) {
        return None;
    }
    let mut groups: Vec<(SlotAt, Vec<&[u8]>)> = Vec::new();
    let mut order = Vec::with_capacity(resolved.keys.len());
    let mut group_of_slot = ahash::HashMap::default();
    for key in &resolved.keys {
        let slot = key.slot;
        let group = *group_of_slot.entry(slot).or_insert_with(|| {
            groups.push((slot, vec![request.name()]));
            groups.len() - 1
        });
        let arguments = &mut groups[group].1;
        order.push((group as u32, arguments.len() as u32 - 1));
        for offset in 0..width {
            arguments.push(request.arg(key.position as usize + offset)?);
        }
    }
    let parts = groups
        .into_iter()
        .map(|(slot, arguments)| {
            let mut request = Vec::new();
            encode::command(&mut request, &arguments);
            Part { slot, request }
        })
        .collect();
    let plan = match split {
        Split::Mget => Plan::Interleave(order),
        Split::Mset => Plan::Same,
        Split::Sum => Plan::Sum,
    };
    Some(Parts { parts, plan, readonly: resolved.reads_only() })
}
