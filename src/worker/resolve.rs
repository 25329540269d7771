//! A request is resolved once: which command it is, what it counts as, and which keys it names.
//!
//! Whoever decides or acts later reads it here. Nobody else looks up a command by its name, finds keys among arguments or hashes
//! one. It deliberately does not judge: what is wrong with a request that names a command is the matter of [`super::decide`].

use smallvec::SmallVec;

use super::client::session::Session;
use super::decide::Snapshots;
use super::decide::clusters::{class_over_clusters, cluster_of_channel};
use crate::command::{Class, Command, CommandError, CommandFlags, CommandId, KeyPositions};
use crate::resp::Request;
use crate::route::{ClusterId, KeyHasher, KeyId, RoutedAs, SlotAt};
use crate::shared::labels::RequestClass;

/// One key of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyAt {
    /// Which argument it is.
    pub position: u32,
    /// Its place. One server owns all slots: there every key is in slot 0.
    pub slot: SlotAt,
    /// The hash under which hot keys, rules and quotas know it.
    pub hash: u64,
}

impl KeyAt {
    /// Which hot key it may be.
    pub fn id(self) -> KeyId {
        KeyId { cluster: self.slot.cluster, hash: self.hash }
    }
}

/// The keys of a request, in the order of its arguments.
pub type Keys = SmallVec<[KeyAt; 1]>;

/// A request of a known command.
pub struct Resolved<'r> {
    /// The request.
    pub request: &'r Request<'r>,
    /// Its command.
    pub command: CommandId,
    /// What Redis says of the command.
    pub flags: CommandFlags,
    /// What the gateway does with this request.
    pub class: Class,
    /// What it counts as.
    pub counts_as: RequestClass,
    /// The keys that it names.
    pub keys: Keys,
    /// Where it goes if it names no key: for what concerns a channel, to the cluster of that.
    pub keyless: ClusterId,
    /// Its arguments do not tell which keys it names: Redis says what is wrong with it.
    pub is_malformed: bool,
    /// It reads keys whose names follow from data, as `SORT` by patterns does.
    pub follows_patterns: bool,
}

impl<'r> Resolved<'r> {
    /// Its keys with their names.
    pub fn named_keys(&self) -> impl Iterator<Item = (KeyAt, &'r [u8])> + '_ {
        let request = self.request;
        self.keys.iter().filter_map(move |key| Some((*key, request.arg(key.position as usize)?)))
    }

    /// Its only key, for a command that has just one wherever it is sent.
    pub fn only_key(&self) -> Option<(KeyAt, &'r [u8])> {
        match self.keys.as_slice() {
            [key] if !self.flags.contains(CommandFlags::MOVABLEKEYS) => {
                Some((*key, self.request.arg(key.position as usize)?))
            }
            _ => None,
        }
    }

    /// It may change data by itself.
    pub fn writes(&self) -> bool {
        self.flags.contains(CommandFlags::WRITE)
    }

    /// It surely changes nothing.
    pub fn reads_only(&self) -> bool {
        self.flags.contains(CommandFlags::READONLY)
    }
}

/// Resolves a request.
///
/// # Errors
/// There is no such command, or it takes another number of arguments.
pub fn resolve<'r>(
    snapshots: &Snapshots,
    hasher: &KeyHasher,
    session: &mut Session,
    request: &'r Request<'r>,
) -> Result<Resolved<'r>, CommandError> {
    let id = command_of(snapshots, session, request)?;
    let command = snapshots.commands.get(id);
    let mut resolved = Resolved {
        request,
        command: id,
        flags: command.flags,
        class: command.class_of(request),
        counts_as: snapshots.classes.of(id),
        keys: Keys::new(),
        keyless: snapshots.routes.keyless(),
        is_malformed: false,
        follows_patterns: command.follows_patterns(request),
    };
    resolved.is_malformed =
        find_keys((snapshots, hasher), session.routed_as, command, request, &mut resolved.keys).is_none();
    if snapshots.routes.several().is_some() {
        resolved.keyless = cluster_of_channel(snapshots, session, &resolved);
        resolved.class = class_over_clusters(snapshots, session, &resolved);
    }
    Ok(resolved)
}

/// The command of a request. A client that sends the same command again is spared the look-up.
fn command_of(
    snapshots: &Snapshots,
    session: &mut Session,
    request: &Request<'_>,
) -> Result<CommandId, CommandError> {
    let name = request.name();
    if let Some(id) = session.last_command.find(name)
        && snapshots.commands.get(id).accepts(request.len())
    {
        return Ok(id);
    }
    let id = snapshots.commands.resolve(request)?;
    if !snapshots.commands.get(id).name.contains('|') {
        session.last_command.remember(name, id);
    }
    Ok(id)
}

fn find_keys(
    (snapshots, hasher): (&Snapshots, &KeyHasher),
    routed_as: RoutedAs,
    command: &Command,
    request: &Request<'_>,
    keys: &mut Keys,
) -> Option<()> {
    let mut add = |position: u32| {
        let key = request.arg(position as usize).unwrap_or_default();
        let slot = snapshots.place_of(routed_as, key);
        keys.push(KeyAt { position, slot, hash: hasher.id(slot.cluster, key).hash });
    };
    let range = command.key_range;
    let is_one = range.first > 0 && range.last == range.first;
    if is_one && !command.flags.contains(CommandFlags::MOVABLEKEYS) {
        return (range.first as usize).lt(&request.len()).then(|| add(range.first as u32));
    }
    let mut positions = KeyPositions::new();
    command.keys(request, &mut positions).ok()?;
    positions.into_iter().for_each(add);
    Some(())
}
