//! The configuration: its schema, defaults, validation, and what a live reload may take.
//!
//! Every directive is declared once, in `sections` and `policies`, with its type, default, range, meaning and
//! whether a reload takes it. From that declaration follow the structs, the parser, the manual's test
//! (`conf/hotgate.toml`) and [`Config::changes`]. Parsing reports every error in one go, with line and
//! column, unknown keys included.
//!
//! A [`Config`] is plain data: it does not connect, resolve names or watch files. Only `load` touches the
//! file system, once, to read the file and the secrets that it names. No secret appears in `Debug` or in an
//! error.

mod address;
mod declare;
mod error;
mod findings;
mod load;
mod network;
mod password_relations;
mod policies;
mod reader;
mod relations;
mod route_relations;
mod routes;
pub mod schema;
mod sections;
mod setting_names;
mod shown;
mod tenant_relations;
#[cfg(test)]
mod tests;
mod types;
mod units;
mod value;
mod zone_relations;

pub use address::{Address, listen_address};
pub use error::{ConfigError, LoadError};
pub use load::Overrides;
pub use network::Network;
pub use policies::{
    Admission, Combine, CounterScript, Detect, Ledger, Quota, ReadCache, Reserve, Route, Rule, Tenant,
    WriteBehind,
};
pub use routes::MovedKeys;
pub use sections::{
    Admin, Auth, Bearer, Config, Gateway, Limits, Log, SlowLog, Tls, TlsCertificate, Upstream, User, Zone,
};
pub use setting_names::naming;
pub use shown::{Origins, Shown, ShownTable};
pub use types::{
    ClientAuth, ExpireWhen, LogFormat, LogLevel, LostReply, May, OnUnavailable, Pose, QuotaReply, ReadFrom,
    ReadPolicy, RuleMode, Secret, SocketMode, TenantOver, UpstreamIdentity, UpstreamKindChoice, UserFrom,
};
pub use units::drain_delay;
pub use value::Change;
