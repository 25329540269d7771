//! Whether a user may send a request.

use smallvec::SmallVec;

use super::patterns::KeyUse;
use super::selector::Selector;
use super::user::User;
use crate::command::{Command, CommandFlags, CommandId, Group, KeyFlags, KeyUses};
use crate::resp::Request;

/// Why a request is denied. Later ones say more, so they are told when several selectors deny it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denied {
    /// The user may not run the command.
    Command,
    /// It may, but the command runs a script or a function, which does what it likes with the gateway's rights.
    Code,
    /// It may, but the arguments do not tell the keys, or more are touched than are named.
    UnnamedKey,
    /// It may, but not with the key that is this argument.
    Key(usize),
    /// It may, but not with the channel that is this argument.
    Channel(usize),
}

/// Why scripts are denied to a user who may run them.
const CODE_DENIED: &[u8] =
    b": scripts run with the gateway's rights, so only users who may do everything run them \
    (or users who logged in with a password that Redis knows too, see auth.upstream_identity)";

/// The kind of thing that was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialReason {
    /// To log in.
    Auth,
    /// To run a command.
    Command,
    /// To use a key.
    Key,
    /// To name a channel.
    Channel,
}

impl DenialReason {
    /// Redis's word for it in `ACL LOG`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Command => "command",
            Self::Key => "key",
            Self::Channel => "channel",
        }
    }
}

/// One key of a request and what is done with it.
type Use = (usize, KeyUse);

/// The keys of a request, or nothing where the arguments do not tell.
type Uses = Option<SmallVec<[Use; 4]>>;

impl User {
    /// Whether it may read every key, so that it may be shown which there are.
    pub fn reads_all_keys(&self) -> bool {
        self.all_selectors().any(|selector| selector.keys.all_readable())
    }

    /// Whether it may send a request of this command.
    ///
    /// # Errors
    /// Why not.
    #[inline]
    pub fn check(&self, id: CommandId, command: &Command, request: &Request<'_>) -> Result<(), Denied> {
        match command.only_key() {
            Some((position, flags)) if position < request.len() => {
                self.check_one(id, request, (position, use_of(command, request, flags)))
            }
            _ => self.check_any(id, command, request),
        }
    }

    fn check_any(&self, id: CommandId, command: &Command, request: &Request<'_>) -> Result<(), Denied> {
        if self.is_unrestricted() {
            return Ok(());
        }
        let uses = uses_of(command, request);
        let touches_unnamed = touches_unnamed_keys(command, request);
        let mut denied = Denied::Command;
        for selector in self.all_selectors() {
            match check_selector(selector, (id, command), request, (&uses, touches_unnamed)) {
                Ok(()) => return Ok(()),
                Err(why) => denied = denied.max(why),
            }
        }
        Err(denied)
    }

    /// As [`User::check`] for a command with one key, which is most of what restricted users send: nothing is looked for and nothing allocated.
    fn check_one(&self, id: CommandId, request: &Request<'_>, (position, wanted): Use) -> Result<(), Denied> {
        let key = request.arg(position).unwrap_or_default();
        let may_run = |selector: &Selector| selector.commands.allow(id, request);
        if self.all_selectors().any(|selector| may_run(selector) && selector.keys.allow(key, wanted)) {
            return Ok(());
        }
        Err(if self.all_selectors().any(may_run) { Denied::Key(position) } else { Denied::Command })
    }
}

impl User {
    /// The same where Redis runs the command as this user itself, and so looks at what a script or a command of a module does. For those
    /// only ([`runs_inside`]).
    ///
    /// # Errors
    /// Why not.
    pub fn check_as_itself(
        &self,
        id: CommandId,
        command: &Command,
        request: &Request<'_>,
    ) -> Result<(), Denied> {
        let Some(uses) = uses_of(command, request) else { return self.check(id, command, request) };
        let mut denied = Denied::Command;
        for selector in self.all_selectors().filter(|selector| selector.commands.allow(id, request)) {
            let allowed = |(position, wanted): &Use| {
                selector.keys.allow(request.arg(*position).unwrap_or_default(), *wanted)
            };
            match uses.iter().find(|used| !allowed(used)) {
                None => return Ok(()),
                Some((position, _)) => denied = denied.max(Denied::Key(*position)),
            }
        }
        Err(denied)
    }
}

/// Whether a command does inside Redis what its arguments do not tell: one that runs a script or a function, or one of a module.
pub fn runs_inside(command: &Command) -> bool {
    runs_code(command) || is_of_module(command)
}

fn check_selector(
    selector: &Selector,
    (id, command): (CommandId, &Command),
    request: &Request<'_>,
    (uses, touches_unnamed): (&Uses, bool),
) -> Result<(), Denied> {
    let is_open = command.flags.contains(CommandFlags::NO_AUTH);
    if !is_open && !selector.commands.allow(id, request) {
        return Err(Denied::Command);
    }
    if runs_code(command) {
        return Err(Denied::Code);
    }
    if !selector.keys.are_all() {
        let Some(uses) = uses else { return Err(Denied::UnnamedKey) };
        let allowed = |(position, wanted): &Use| {
            selector.keys.allow(request.arg(*position).unwrap_or_default(), *wanted)
        };
        if let Some((position, _)) = uses.iter().find(|used| !allowed(used)) {
            return Err(Denied::Key(*position));
        }
        let may_touch = selector.keys.all_readable() && !is_of_module(command);
        if touches_unnamed && !may_touch {
            return Err(Denied::UnnamedKey);
        }
    }
    if !selector.channels.are_all() && command.flags.contains(CommandFlags::PUBSUB) {
        check_channels(selector, command, request)?;
    }
    Ok(())
}

/// Scripts and functions run with the rights of the gateway, not with the user's.
fn runs_code(command: &Command) -> bool {
    command.group == Group::Scripting
        && matches!(&*command.name, "eval" | "eval_ro" | "evalsha" | "evalsha_ro" | "fcall" | "fcall_ro")
}

fn is_of_module(command: &Command) -> bool {
    command.group == Group::Module
}

/// Whether a request touches keys that it does not name.
fn touches_unnamed_keys(command: &Command, request: &Request<'_>) -> bool {
    command.follows_patterns(request)
        || (is_of_module(command) && !command.has_keys())
        || shows_any_key(command, request)
}

/// Whether it is a command of the gateway's own that shows whatever keys there are.
fn shows_any_key(command: &Command, request: &Request<'_>) -> bool {
    match &*command.name {
        "hotgate|bigkeys" | "hotgate|hotkeys" | "hotgate|top" | "hotgate|stats" | "reserve.skus" => true,
        "slowlog|get" | "commandlog|get" | "hotgate|slowlog" => true,
        "hotgate|quotas" => !shows_one_counter(request),
        _ => false,
    }
}

/// The counter that a command of the gateway's own names, and what it does with it. To the data path these commands have no keys: no
/// quota holds them up, and they touch nothing at Redis that a queue would have to wait for.
fn counter_of(command: &Command, request: &Request<'_>) -> Option<Use> {
    match &*command.name {
        "hotgate|quota" => Some((3, KeyUse { reads: false, writes: true })),
        "hotgate|quotas" if shows_one_counter(request) => Some((3, KeyUse { reads: true, writes: false })),
        _ => None,
    }
}

/// `HOTGATE QUOTAS GET key`.
fn shows_one_counter(request: &Request<'_>) -> bool {
    request.arg(2).is_some_and(|word| word.eq_ignore_ascii_case(b"get"))
}

fn check_channels(selector: &Selector, command: &Command, request: &Request<'_>) -> Result<(), Denied> {
    let (channels, is_pattern) = match &*command.name {
        "subscribe" | "ssubscribe" => (1..request.len(), false),
        "psubscribe" => (1..request.len(), true),
        "publish" | "spublish" => (1..2, false),
        _ => return Ok(()),
    };
    let denied =
        |position: &usize| !selector.channels.allow(request.arg(*position).unwrap_or_default(), is_pattern);
    channels.into_iter().find(denied).map_or(Ok(()), |position| Err(Denied::Channel(position)))
}

/// What a request does with each of its keys.
fn uses_of(command: &Command, request: &Request<'_>) -> Uses {
    if let Some(used) = counter_of(command, request) {
        return Some(SmallVec::from_iter([used]));
    }
    let mut found = KeyUses::new();
    command.key_uses(request, &mut found).ok()?;
    let uses =
        found.into_iter().map(|(position, flags)| (position as usize, use_of(command, request, flags)));
    Some(uses.collect())
}

#[inline]
fn use_of(command: &Command, request: &Request<'_>, flags: KeyFlags) -> KeyUse {
    let changes = KeyFlags::UPDATE.with(KeyFlags::INSERT).with(KeyFlags::DELETE);
    let usual = KeyUse { reads: flags.contains(KeyFlags::ACCESS), writes: flags.intersects(changes) };
    if flags.contains(KeyFlags::VARIABLE_FLAGS) { use_by_arguments(command, request, usual) } else { usual }
}

/// What a command does with its key that does more or less by its arguments.
fn use_by_arguments(command: &Command, request: &Request<'_>, usual: KeyUse) -> KeyUse {
    match &*command.name {
        // Without GET it tells nothing of the old value.
        "set" => KeyUse { reads: has_word(request, 3, &[b"get"]), ..usual },
        "bitfield" => KeyUse { writes: bitfield_writes(request), ..usual },
        _ => usual,
    }
}

/// Whether a `BITFIELD` changes its key. One that is wrong counts as if it did, as at Redis (`bitfieldGetKeys`).
fn bitfield_writes(request: &Request<'_>) -> bool {
    let mut place = 2;
    while let Some(word) = request.arg(place) {
        let behind = request.len() - place - 1;
        place += match &word.to_ascii_lowercase()[..] {
            b"get" if behind >= 2 => 3,
            b"overflow" if behind >= 1 => 2,
            _ => return true,
        };
    }
    false
}

fn has_word(request: &Request<'_>, from: usize, words: &[&[u8]]) -> bool {
    request.args().skip(from).any(|argument| words.iter().any(|word| argument.eq_ignore_ascii_case(word)))
}

impl Denied {
    /// The text of the client's error, without its leading `-`, in the words of Redis 7.
    pub fn message(self, user: &User, command: &Command) -> Vec<u8> {
        match self {
            Self::Command | Self::Code => [b"NOPERM ", self.explain(user, command, b"").as_slice()].concat(),
            Self::UnnamedKey | Self::Key(_) => b"NOPERM No permissions to access a key".to_vec(),
            Self::Channel(_) => b"NOPERM No permissions to access a channel".to_vec(),
        }
    }

    /// What `ACL DRYRUN` says, which names the key or channel `object`.
    pub fn explain(self, user: &User, command: &Command, object: &[u8]) -> Vec<u8> {
        let name = user.name.as_slice();
        match self {
            Self::Command | Self::Code => {
                let why: &[u8] = match self {
                    Self::Code => CODE_DENIED,
                    _ => b"",
                };
                [
                    b"User ",
                    name,
                    b" has no permissions to run the '",
                    command.name.as_bytes(),
                    b"' command",
                    why,
                ]
                .concat()
            }
            Self::UnnamedKey | Self::Key(_) => {
                [b"User ", name, b" has no permissions to access the '", object, b"' key"].concat()
            }
            Self::Channel(_) => {
                [b"User ", name, b" has no permissions to access the '", object, b"' channel"].concat()
            }
        }
    }

    /// The argument that is denied: a key, a channel, or the command itself.
    pub fn argument(self) -> usize {
        match self {
            Self::Command | Self::Code | Self::UnnamedKey => 0,
            Self::Key(position) | Self::Channel(position) => position,
        }
    }

    /// The kind of thing that is denied.
    pub fn reason(self) -> DenialReason {
        match self {
            Self::Command | Self::Code => DenialReason::Command,
            Self::UnnamedKey | Self::Key(_) => DenialReason::Key,
            Self::Channel(_) => DenialReason::Channel,
        }
    }
}
