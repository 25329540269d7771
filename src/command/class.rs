//! The classes of commands: what the gateway does with a command. Each command has exactly one class.
//!
//! A class says where a request goes and how replies are merged. The worker does it.

/// How the gateway carries a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Goes as it came to the owner of the one slot of its keys; keys in several slots get `CROSSSLOT`.
    Key,
    /// Goes to the owners of its keys' slots in parts, and the replies are merged in the order of the keys.
    Split(Split),
    /// Goes to several masters, and the replies are merged.
    Fan(Fan),
    /// Names no key: any one master will do.
    AnyNode,
    /// The gateway answers.
    Local(Local),
    /// Changes the state of the connection or waits on it, so it needs an upstream connection of its own for as
    /// long as that state lasts.
    Session(Session),
    /// Concerns a sale of reservations. Redis knows no such command: the gateway makes it of scripts.
    Reserve(Reserve),
    /// Speaks of one server: forwarded where there is one, and as [`Class::Refuse`] where there are several.
    OneServer(&'static str),
    /// Not passed on; the text says why and what to do instead ([`super::Command::refusal`] gives the error).
    Refuse(&'static str),
}

impl Class {
    /// Whether the upstream has to know the command for it to be of use, or for clients to expect it.
    pub fn is_run_upstream(self) -> bool {
        match self {
            Self::Key | Self::Split(_) | Self::Fan(_) | Self::AnyNode | Self::OneServer(_) => true,
            Self::Session(_) | Self::Refuse(_) => true,
            Self::Local(local) => matches!(local, Local::Administer | Local::ResetLog | Local::CommandLog),
            Self::Reserve(_) => false,
        }
    }
}

/// Why administration of the servers ([`Local::Administer`]) is refused to somebody to whom nobody gave it.
pub const GIVEN_BY_RULE: &str = "it administers the servers, which a user may who is given that by a rule with '+' \
    ([[auth.user]] rules, auth.acl_file or ACL SETUSER)";

/// How a multi-key request is taken apart by slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// `MGET`: each part replies an array with one element per key.
    Mget,
    /// `MSET`: keys alternate with values; `OK` when every part replied `OK`, else the first error.
    Mset,
    /// `DEL UNLINK EXISTS TOUCH`: the sum of the integers.
    Sum,
}

/// How the replies of all masters become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fan {
    /// The sum of the integers: `DBSIZE`, `PUBSUB NUMPAT`.
    Sum,
    /// The elements of all arrays, each once: `KEYS`, `PUBSUB CHANNELS`, `PUBSUB SHARDCHANNELS`.
    ConcatArrays,
    /// One of the replies when none is an error, else the first error: `FLUSHALL`, `SCRIPT LOAD`, ...
    AllOk,
    /// The first reply that is not an error, else the error that says most of the script: `SCRIPT KILL`, `FUNCTION KILL`, which
    /// all nodes but the busy one answer with `NOTBUSY`.
    AnyOk,
    /// The reply of a node that runs something, else the first: `FUNCTION STATS`.
    Running,
    /// `WAIT`: the smallest integer. It blocks, so each leg needs a connection that nobody else waits behind; and
    /// the server waits for what that very connection saw last, so the leg must follow the client's writes.
    Min,
    /// `LASTSAVE`: the smallest integer.
    Oldest,
    /// `WAITAOF`: position by position the smallest integer. What [`Fan::Min`] says of the legs holds here too.
    MinArray,
    /// `SCAN`: one master after the other; the cursor carries the node.
    Scan,
    /// `RANDOMKEY`: the reply of a random master that has keys.
    RandomKey,
    /// `SCRIPT EXISTS`: position by position 1 only where every master replied 1.
    AndArray,
    /// `PUBSUB NUMSUB`, `PUBSUB SHARDNUMSUB`: channels alternate with counts, which are summed by channel.
    PubsubNumsub,
    /// All masters hold the same, so one is asked: `FUNCTION LIST`, `FUNCTION DUMP`.
    First,
}

/// Which part of the gateway answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Local {
    Ping,
    Echo,
    Hello,
    Auth,
    Quit,
    Reset,
    Select,
    /// `CLIENT` and its subcommands, but for those of [`Session::Tracking`].
    Client,
    /// `COMMAND` and its subcommands: [`super::render`].
    Command,
    Info,
    /// `CONFIG GET`.
    Config,
    Time,
    /// `ROLE`: the gateway poses as a master without replicas.
    Role,
    /// `ACL WHOAMI`: the user that the client is to the gateway.
    Whoami,
    /// `ACL`: the users of the gateway. The servers' own users are not its matter.
    Acl,
    /// `CLUSTER SLOTS`, `CLUSTER SHARDS`, `CLUSTER NODES`, ...; `COUNTKEYSINSLOT` and `GETKEYSINSLOT` among them,
    /// which only the owner of the slot can answer.
    Cluster,
    /// `READONLY READWRITE ASKING`: the word between a cluster's client and one node, which the gateway is not.
    Readonly,
    /// `HOTGATE`.
    Hotgate,
    /// Administration of the servers, which the control thread passes on to all masters for users who were given that by a rule.
    Administer,
    /// `LATENCY RESET`: emptied at all masters, for whoever may, and noted.
    ResetLog,
    /// `SLOWLOG` and `COMMANDLOG`: the gateway's own.
    CommandLog,
    /// `LATENCY HISTOGRAM`: the gateway's own as well.
    Latency,
    Hotkeys,
    /// What of `RESERVE.*` the control thread does: [`Reserve::Control`].
    Reserve,
}

/// Who does a command about a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserve {
    /// The home of the sale gathers it with others: `RESERVE.ADD`, `CONFIRM`, `CANCEL`, `CHECK`, `MCHECK`, `INFO`.
    Home,
    /// The control thread: `RESERVE.OPEN`, `CLOSE`, `REOPEN`, `LIST`, `SKUS`, `MOVE`, `DROP`.
    Control,
}

/// Which state of a connection a command opens, uses or closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Session {
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
    /// May wait on the server: `BLPOP BRPOP BLMOVE BLMPOP BRPOPLPUSH BZPOPMIN BZPOPMAX BZMPOP`, and
    /// `XREAD XREADGROUP` with `BLOCK`. Its keys are to be found as for [`Class::Key`].
    Blocking,
    Subscribe,
    Psubscribe,
    Ssubscribe,
    Unsubscribe,
    Punsubscribe,
    Sunsubscribe,
    Monitor,
    /// `CLIENT TRACKING`, `CACHING`, `TRACKINGINFO`, `GETREDIR`.
    Tracking,
}
