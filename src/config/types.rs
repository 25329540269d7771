//! The values that are more than a number: addresses, secrets, choices.

use std::fmt;
use std::time::Duration;

use super::address::Address;
use super::declare::choice;
use super::reader::{Node, Reader};
use super::schema::Kind;
use super::units;
use super::value::{Value, quote, read_only_key, scalar, text_fits};

/// Text that must not be printed: `Debug` shows only that there is one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(hidden)")
    }
}

choice! {
    /// The kind of the upstream.
    UpstreamKindChoice {
        /// Found out by asking.
        Auto = "auto",
        /// One server.
        Single = "single",
        /// A Redis Cluster.
        Cluster = "cluster",
        /// One master with replicas, which Sentinels name.
        Sentinel = "sentinel",
    }
}

choice! {
    /// Whether clients are asked for a certificate.
    ClientAuth {
        /// They are not.
        No = "no",
        /// They are; one that has none is let in, one whose certificate does not hold is not.
        Optional = "optional",
        /// Only clients with a certificate are let in.
        Required = "required",
    }
}

choice! {
    /// Who a client is that has shown a certificate.
    UserFrom {
        /// Whoever it logs in as, as without one.
        LogIn = "",
        /// The user that the certificate's common name names.
        CommonName = "cn",
    }
}

choice! {
    /// Who a restricted user is at Redis, for what only Redis can look at.
    UpstreamIdentity {
        /// The gateway's user: such commands are refused.
        Gateway = "gateway",
        /// Itself.
        Same = "same",
    }
}

choice! {
    /// Who may connect to the gateway's Unix socket, as file permissions.
    SocketMode {
        /// The gateway's own system user.
        Owner = "600",
        /// That, and its group.
        Group = "660",
        /// Everybody on this host.
        Everybody = "666",
    }
}

impl SocketMode {
    /// The permissions as the system takes them.
    pub fn bits(self) -> u32 {
        match self {
            SocketMode::Owner => 0o600,
            SocketMode::Group => 0o660,
            SocketMode::Everybody => 0o666,
        }
    }
}

choice! {
    /// What the gateway poses as.
    Pose {
        /// The kind of the upstream.
        Auto = "auto",
        /// A cluster, all of whose nodes are at the gateway's address.
        Cluster = "cluster",
    }
}

choice! {
    /// What the bearer of a token may do over HTTP.
    May {
        /// Look.
        Read = "read",
        /// Change as well.
        Change = "change",
    }
}

choice! {
    /// Where read-only commands go.
    ReadFrom {
        /// To the master, always.
        Master = "master",
        /// To a replica; an error when there is none.
        Replica = "replica",
        /// To a replica if there is one, else to the master.
        PreferReplica = "prefer-replica",
        /// To a replica in the gateway's own zone, or its master if that is there; else as `prefer-replica`.
        Nearest = "nearest",
    }
}

choice! {
    /// What a client gets when the outcome of its write is unknown.
    LostReply {
        /// An error that says so.
        Error = "error",
        /// The end of its connection, as from Redis.
        Close = "close",
    }
}

choice! {
    /// What a rule does with the commands on its keys.
    RuleMode {
        /// Combined while hot, as without a rule.
        Auto = "auto",
        /// Always combined.
        Combine = "combine",
        /// Answered before Redis does.
        WriteBehind = "write-behind",
        /// Always passed through.
        Off = "off",
    }
}

choice! {
    /// The unit of an argument of a script.
    ExpireUnit {
        /// As of `EXPIRE`.
        Seconds = "s",
        /// As of `PEXPIRE`.
        Milliseconds = "ms",
    }
}

impl ExpireUnit {
    /// In milliseconds.
    pub fn ms(self) -> i64 {
        match self {
            ExpireUnit::Seconds => 1000,
            ExpireUnit::Milliseconds => 1,
        }
    }
}

choice! {
    /// When a script that counts sets the time to live.
    ExpireWhen {
        /// For a counter that was not there.
        New = "new",
        /// With each call.
        Always = "always",
    }
}

choice! {
    /// What a quota does while Redis is away.
    OnUnavailable {
        /// Refuses.
        Refuse = "refuse",
        /// Lets through.
        Allow = "allow",
    }
}

choice! {
    /// The least severe message that is logged.
    LogLevel {
        /// Only what needs somebody's attention.
        Error = "error",
        /// And what may soon need it.
        Warn = "warn",
        /// And what happened.
        Info = "info",
        /// And why.
        Debug = "debug",
        /// And every step.
        Trace = "trace",
    }
}

choice! {
    /// The form of log lines.
    LogFormat {
        /// For people.
        Text = "text",
        /// For machines, one JSON object a line.
        Json = "json",
    }
}

/// How reads of a hot key are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadPolicy {
    /// One upstream read answers all who wait for it: exact.
    Collapse,
    /// From a copy that Redis invalidates (`CLIENT TRACKING`).
    Tracked,
    /// From a copy no older than this.
    Ttl(Duration),
}

impl ReadPolicy {
    /// The words of the file.
    pub const NAMES: &'static [&'static str] = &["collapse", "tracked"];
}

/// The reply to a refused increment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaReply {
    /// `-QUOTA limit of 1000000 reached for 'sku:8421:reserved'`.
    Error,
    /// Null.
    Nil,
    /// The counter's unchanged value.
    Value,
    /// This integer.
    Integer(i64),
}

impl QuotaReply {
    /// The words of the file.
    pub const NAMES: &'static [&'static str] = &["error", "nil", "value"];
}

/// What a tenant's request gets that comes faster than its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantOver {
    /// An error.
    Error,
    /// Its client is not read for at most this long; then an error.
    Delay(Duration),
}

impl TenantOver {
    /// The words of the file.
    pub const NAMES: &'static [&'static str] = &["error"];
}

scalar!(
    Secret,
    |value, kind| value.as_str().filter(|text| text_fits(text, kind)).map(Secret::new),
    |_this, _kind| quote("(hidden)")
);
scalar!(Address, |value, _kind| value.as_str().and_then(|text| text.parse().ok()), |this, _kind| quote(
    &this.to_string()
));

impl Value for ReadPolicy {
    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match node.value.get_ref().as_str() {
            Some("collapse") => Some(ReadPolicy::Collapse),
            Some("tracked") => Some(ReadPolicy::Tracked),
            _ => read_only_key(&node, reader).map(ReadPolicy::Ttl),
        }
    }

    fn render(&self, _: &Kind) -> String {
        match self {
            ReadPolicy::Collapse => quote("collapse"),
            ReadPolicy::Tracked => quote("tracked"),
            ReadPolicy::Ttl(ttl) => format!("{{ ttl = \"{}\" }}", units::render_duration(*ttl)),
        }
    }
}

impl Value for TenantOver {
    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match node.value.get_ref().as_str() {
            Some("error") => Some(TenantOver::Error),
            _ => read_only_key(&node, reader).map(TenantOver::Delay),
        }
    }

    fn render(&self, _: &Kind) -> String {
        match self {
            TenantOver::Error => quote("error"),
            TenantOver::Delay(delay) => format!("{{ delay = \"{}\" }}", units::render_duration(*delay)),
        }
    }
}

impl Value for QuotaReply {
    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match node.value.get_ref().as_str() {
            Some("error") => Some(QuotaReply::Error),
            Some("nil") => Some(QuotaReply::Nil),
            Some("value") => Some(QuotaReply::Value),
            _ => read_only_key(&node, reader).map(QuotaReply::Integer),
        }
    }

    fn render(&self, _: &Kind) -> String {
        match self {
            QuotaReply::Error => quote("error"),
            QuotaReply::Nil => quote("nil"),
            QuotaReply::Value => quote("value"),
            QuotaReply::Integer(integer) => format!("{{ integer = {integer} }}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        assert!(!format!("{:?}", Secret::new("hunter2")).contains("hunter2"));
    }
}
