//! The three small sets of flags that describe a command, its keys and its ACL categories, under the names
//! that Redis gives them in `COMMAND INFO`.
//!
//! A set is one integer, so that the data path tests a flag with one instruction; names exist for rendering and
//! for reading an upstream's reply only.

/// Declares a set of named flags over one integer.
macro_rules! flag_set {
    ($(#[$doc:meta])* $set:ident: $int:ty { $($flag:ident = $bit:expr, $name:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $set($int);

        #[allow(missing_docs)]
        impl $set {
            $(pub const $flag: Self = Self(1 << $bit);)*
        }

        impl $set {
            const NAMES: &[($set, &str)] = &[$((Self::$flag, $name)),*];

            /// The set without flags.
            pub const NONE: Self = Self(0);

            /// This set and `other` together.
            pub const fn with(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// Whether every flag of `other` is in this set.
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether any flag of `other` is in this set.
            pub const fn intersects(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }

            /// The flag that Redis calls `name`, in any case; `None` for a name that this version does not know.
            pub fn by_name(name: &[u8]) -> Option<Self> {
                Self::NAMES.iter().find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name)).map(|(flag, _)| *flag)
            }

            /// The names of all flags, in Redis's order.
            pub fn all_names() -> impl Iterator<Item = &'static str> {
                Self::NAMES.iter().map(|(_, name)| *name)
            }

            /// The names of the flags in this set, in Redis's order.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                Self::NAMES.iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| *name)
            }
        }
    };
}

flag_set! {
    /// What Redis says of a command: <https://redis.io/docs/latest/commands/command/#flags>.
    CommandFlags: u32 {
        WRITE = 0, "write";
        READONLY = 1, "readonly";
        DENYOOM = 2, "denyoom";
        MODULE = 3, "module";
        ADMIN = 4, "admin";
        PUBSUB = 5, "pubsub";
        NOSCRIPT = 6, "noscript";
        BLOCKING = 7, "blocking";
        LOADING = 8, "loading";
        STALE = 9, "stale";
        SKIP_MONITOR = 10, "skip_monitor";
        SKIP_SLOWLOG = 11, "skip_slowlog";
        ASKING = 12, "asking";
        FAST = 13, "fast";
        NO_AUTH = 14, "no_auth";
        NO_MANDATORY_KEYS = 15, "no_mandatory_keys";
        NO_ASYNC_LOADING = 16, "no_async_loading";
        NO_MULTI = 17, "no_multi";
        MOVABLEKEYS = 18, "movablekeys";
        ALLOW_BUSY = 19, "allow_busy";
    }
}

flag_set! {
    /// How a command uses the keys of one key specification:
    /// <https://redis.io/docs/latest/develop/reference/key-specs/#logical-operation-flags>.
    KeyFlags: u16 {
        RO = 0, "RO";
        RW = 1, "RW";
        OW = 2, "OW";
        RM = 3, "RM";
        ACCESS = 4, "access";
        UPDATE = 5, "update";
        INSERT = 6, "insert";
        DELETE = 7, "delete";
        NOT_KEY = 8, "not_key";
        INCOMPLETE = 9, "incomplete";
        VARIABLE_FLAGS = 10, "variable_flags";
    }
}

flag_set! {
    /// The ACL categories of a command: <https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/>.
    Categories: u32 {
        KEYSPACE = 0, "keyspace";
        READ = 1, "read";
        WRITE = 2, "write";
        SET = 3, "set";
        SORTEDSET = 4, "sortedset";
        LIST = 5, "list";
        HASH = 6, "hash";
        STRING = 7, "string";
        BITMAP = 8, "bitmap";
        HYPERLOGLOG = 9, "hyperloglog";
        GEO = 10, "geo";
        STREAM = 11, "stream";
        PUBSUB = 12, "pubsub";
        ADMIN = 13, "admin";
        FAST = 14, "fast";
        SLOW = 15, "slow";
        BLOCKING = 16, "blocking";
        DANGEROUS = 17, "dangerous";
        CONNECTION = 18, "connection";
        TRANSACTION = 19, "transaction";
        SCRIPTING = 20, "scripting";
    }
}

impl KeyFlags {
    pub(super) const fn bits(self) -> u16 {
        self.0
    }

    pub(super) const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }
}

impl Categories {
    /// The categories of a command with these flags whose line in the table names `explicit` ones: Redis derives
    /// the rest from the flags (`setImplicitACLCategories` of its `server.c`).
    pub(super) fn implied_by(flags: CommandFlags, explicit: Self) -> Self {
        let scripting = explicit.contains(Self::SCRIPTING);
        let implied = [
            (flags.contains(CommandFlags::WRITE), Self::WRITE),
            (flags.contains(CommandFlags::READONLY) && !scripting, Self::READ),
            (flags.contains(CommandFlags::ADMIN), Self::ADMIN.with(Self::DANGEROUS)),
            (flags.contains(CommandFlags::PUBSUB), Self::PUBSUB),
            (flags.contains(CommandFlags::BLOCKING), Self::BLOCKING),
            (flags.contains(CommandFlags::FAST), Self::FAST),
            (!flags.contains(CommandFlags::FAST), Self::SLOW),
        ];
        implied.iter().filter(|(holds, _)| *holds).fold(explicit, |all, (_, category)| all.with(*category))
    }
}
