//! The tables of the file that say where hotgate stands and what it may use.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::address::Address;
use super::declare::section;
use super::network::Network;
use super::policies::{
    Admission, Combine, CounterScript, Detect, Ledger, Quota, ReadCache, Reserve, Route, Rule, Tenant,
    WriteBehind,
};
use super::schema::{
    GB, HOUR, KB, Kind, MB, MINUTE, MS, SECOND, count, count_or, duration, duration_or, size,
};
use super::types::{
    ClientAuth, LogFormat, LogLevel, LostReply, May, Pose, ReadFrom, Secret, SocketMode, UpstreamIdentity,
    UpstreamKindChoice, UserFrom,
};
use crate::route::DEFAULT_CLUSTER;

section! {
    /// The whole file.
    Config {
        gateway: Gateway = Gateway::default(), Kind::Table { directives: Gateway::DIRECTIVES }, live,
            "Where clients connect, and how the process runs.";
        tls: Tls = Tls::default(), Kind::Table { directives: Tls::DIRECTIVES }, live,
            "Clients that connect with TLS.";
        auth: Auth = Auth::default(), Kind::Table { directives: Auth::DIRECTIVES }, live,
            "Who may connect.";
        upstream: Upstream = Upstream::default(), Kind::Table { directives: Upstream::DIRECTIVES }, live,
            "The Redis server or cluster behind the gateway, where keys live that no route sends elsewhere.";
        limits: Limits = Limits::default(), Kind::Table { directives: Limits::DIRECTIVES }, live,
            "What one client may use.";
        detect: Detect = Detect::default(), Kind::Table { directives: Detect::DIRECTIVES }, live,
            "When a key counts as hot.";
        combine: Combine = Combine::default(), Kind::Table { directives: Combine::DIRECTIVES }, live,
            "How operations on a hot key are folded.";
        write_behind: WriteBehind = WriteBehind::default(),
            Kind::Table { directives: WriteBehind::DIRECTIVES }, live,
            "The bounds of keys that a rule puts in write-behind mode.";
        read_cache: ReadCache = ReadCache::default(), Kind::Table { directives: ReadCache::DIRECTIVES }, live,
            "The bounds of the copies that serve tracked and ttl reads.";
        admission: Admission = Admission::default(), Kind::Table { directives: Admission::DIRECTIVES }, live,
            "The bounds that all quotas share.";
        reserve: Reserve = Reserve::default(), Kind::Table { directives: Reserve::DIRECTIVES }, live,
            "How sales of reservations (RESERVE commands) are looked after.";
        ledger: Ledger = Ledger::default(), Kind::Table { directives: Ledger::DIRECTIVES }, live,
            "Reservations in an SQL database: hotgate ledger, a process of its own, writes them.";
        slowlog: SlowLog = SlowLog::default(), Kind::Table { directives: SlowLog::DIRECTIVES }, live,
            "Which requests SLOWLOG and COMMANDLOG show.";
        admin: Admin = Admin::default(), Kind::Table { directives: Admin::DIRECTIVES }, live,
            "The HTTP side: dashboard, API, metrics, webhook.";
        log: Log = Log::default(), Kind::Table { directives: Log::DIRECTIVES }, live,
            "What is written to standard error.";
        zones as "zone": Vec<Zone> = Vec::new(),
            Kind::List { of: &Kind::Table { directives: Zone::DIRECTIVES }, min: 0, max: 100 }, live,
            "A zone: servers between which the way is short, such as an availability zone of a cloud.";
        further_clusters as "cluster": Vec<Upstream> = Vec::new(),
            Kind::List { of: &Kind::Table { directives: Upstream::DIRECTIVES }, min: 0, max: 63 }, restart,
            "A further Redis server or cluster, with the keys of upstream. Routes send keys there.";
        routes as "route": Vec<Route> = Vec::new(),
            Kind::List { of: &Kind::Table { directives: Route::DIRECTIVES }, min: 0, max: 1000 }, live,
            "In which cluster the keys live that a pattern matches, or that a user names. The first route that matches a key applies.";
        tenants as "tenant": Vec<Tenant> = Vec::new(),
            Kind::List { of: &Kind::Table { directives: Tenant::DIRECTIVES }, min: 0, max: 1000 }, live,
            "What one of those who share the gateway may use of it. The tenant of a connection's user comes before those of keys, and of \
             these the first that matches.";
        rules as "rule": Vec<Rule> = Vec::new(),
            Kind::List { of: &Kind::Table { directives: Rule::DIRECTIVES }, min: 0, max: 1000 }, live,
            "What is done with the keys that a pattern matches. The first rule that matches a key applies.";
        counter_scripts as "counter_script": Vec<CounterScript> = Vec::new(),
            Kind::List { of: &Kind::Table { directives: CounterScript::DIRECTIVES }, min: 0, max: 1000 }, live,
            "Lua scripts that count. Calls of them on a hot key fold, as increments do.";
        quotas as "quota": Vec<Quota> = Vec::new(),
            Kind::List { of: &Kind::Table { directives: Quota::DIRECTIVES }, min: 0, max: 1000 }, live,
            "How far the counters that a pattern matches may go. All quotas that match a key apply together.";
    }
}

section! {
    /// `[[zone]]`: which servers are in one zone.
    Zone {
        name: String, Kind::Text, live,
            "What the zone is called; it must be given.";
        networks: Vec<Network>, Kind::List { of: &Kind::Network, min: 1, max: 100 }, live,
            "The addresses of its servers, as their clusters tell them; it must be given.";
    }
}

section! {
    /// `[gateway]`: where clients connect, and how the process runs.
    Gateway {
        listen: Vec<SocketAddr> = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 6380))],
            Kind::List { of: &Kind::Listen, min: 0, max: 16 }, restart,
            "The addresses that clients connect to.";
        unix_socket: Option<PathBuf> = None, Kind::Path, restart,
            "A Unix socket that clients connect to, beside the addresses of gateway.listen; empty is none.";
        unix_socket_mode: SocketMode = SocketMode::Owner, Kind::Choice { names: SocketMode::NAMES }, restart,
            "Who may connect to that socket: the gateway's own system user, also its group, or everybody on the host.";
        proxy_protocol_from: Vec<Network> = Vec::new(), Kind::List { of: &Kind::Network, min: 0, max: 100 }, live,
            "The addresses of balancers whose connections begin with a PROXY header (version 1 or 2), which names the client.";
        protected_mode: bool = true, Kind::Flag, live,
            "Whether a start is refused that would let everybody in from other hosts, as in redis.conf.";
        share_port: bool = false, Kind::Flag, restart,
            "Whether another process of the same system user may listen on the same addresses.";
        workers: Option<usize> = None, count_or(1, 256, "one for each core"), restart,
            "The number of worker threads.";
        announce: Option<Address> = None, Kind::Address, live,
            "The address that CLUSTER replies give for every node; empty gives the address that the client \
             dialled. Needed only behind NAT.";
        pose: Pose = Pose::Auto, Kind::Choice { names: Pose::NAMES }, live,
            "Whether clients see what is upstream, or always a cluster whose nodes are all at the gateway's address.";
        clients_max: usize = 10_000, count(1, 1_000_000), live,
            "The number of clients that may be connected to the process at once.";
        unauthenticated_clients_max: usize = 5000, count(1, 1_000_000), live,
            "The number of connected clients that have not logged in, where that is asked for.";
        tcp_backlog: u32 = 511, count(1, 65_535), restart,
            "The connections that the kernel holds for each worker until they are accepted.";
        tcp_keepalive: Option<Duration> = Some(Duration::from_secs(300)),
            duration_or(SECOND, 24 * HOUR, "no probes"), live,
            "How long a client connection is silent before the kernel checks whether the client is still there.";
        drain_delay: Duration = Duration::ZERO, duration(0, HOUR), live,
            "How long SIGTERM leaves clients coming while `/readyz` already says no.";
        drain_timeout: Duration = Duration::from_secs(10), duration(0, HOUR), live,
            "How long SIGTERM waits for requests in flight and pending increments.";
        zone: Option<String> = None, Kind::Text, live,
            "The zone that this gateway runs in, one of those that the file describes.";
        handover_timeout: Duration = Duration::from_secs(3600), duration(0, 24 * HOUR), live,
            "How long clients may stay with a process that another has taken over from, before it drains.";
        state_dir: Option<PathBuf> = None, Kind::Path, restart,
            "The directory for what the gateway knows beyond a restart: the changes that operators made, what \
             happened, and how it fared over the last day. Empty keeps them in memory.";
    }
}

section! {
    /// `[tls]`: where and how clients connect with TLS.
    Tls {
        listen: Vec<SocketAddr> = Vec::new(), Kind::List { of: &Kind::Listen, min: 0, max: 16 }, restart,
            "The addresses that clients connect to with TLS, beside those of gateway.listen.";
        cert_file: Option<PathBuf> = None, Kind::Path, live,
            "The certificate that clients are shown, with its chain.";
        key_file: Option<PathBuf> = None, Kind::Path, live,
            "The private key of that certificate.";
        client_ca_file: Option<PathBuf> = None, Kind::Path, live,
            "The authorities that may have signed the certificates of clients.";
        client_auth: ClientAuth = ClientAuth::No, Kind::Choice { names: ClientAuth::NAMES }, live,
            "Whether clients are asked for a certificate, and whether they must have one.";
        user_from: UserFrom = UserFrom::LogIn, Kind::Choice { names: UserFrom::NAMES }, live,
            "What of a client's certificate names its user, so that it need not log in: nothing, or the common name (CN).";
        handshakes_max: usize = 128, count(1, 65_536), restart,
            "The number of handshakes of one worker at once.";
        handshake_timeout: Duration = Duration::from_secs(5), duration(10 * MS, MINUTE), restart,
            "How long a handshake may take.";
        certificates as "certificate": Vec<TlsCertificate> = Vec::new(),
            Kind::List { of: &Kind::Table { directives: TlsCertificate::DIRECTIVES }, min: 0, max: 100 }, live,
            "A certificate for clients that ask for one of these names (SNI); others get the one above.";
    }
}

section! {
    /// `[[tls.certificate]]`: a certificate for clients that ask for a name.
    TlsCertificate {
        names: Vec<String>, Kind::List { of: &Kind::Text, min: 1, max: 100 }, live,
            "The names; \"*.example.com\" stands for every name with one label before it. It must be given.";
        cert_file: PathBuf, Kind::Path, live,
            "The certificate, with its chain; it must be given.";
        key_file: PathBuf, Kind::Path, live,
            "Its private key; it must be given.";
    }
}

section! {
    /// `[auth]`: who may connect.
    Auth {
        password: Option<Secret> = None, Kind::Secret, live,
            "The password of the user default, as requirepass in redis.conf; empty asks for no password.";
        password_file: Option<PathBuf> = None, Kind::Path, live,
            "A file whose first line is that password, instead of password.";
        password_next: Option<Secret> = None, Kind::Secret, live,
            "A second password that is taken as well, while the first is being changed; empty is none.";
        password_next_file: Option<PathBuf> = None, Kind::Path, live,
            "A file whose first line is that second password, instead of password_next; an empty one holds none.";
        acl_file: Option<PathBuf> = None, Kind::Path, live,
            "A file of users and their rules as Redis's ACL SAVE writes it, instead of password and [[auth.user]].";
        login_timeout: Option<Duration> = Some(Duration::from_secs(30)), duration_or(SECOND, HOUR, "never"), live,
            "How long a client that has to log in may take for it.";
        upstream_identity: UpstreamIdentity = UpstreamIdentity::Gateway, Kind::Choice { names: UpstreamIdentity::NAMES }, live,
            "Who runs the scripts, functions and module commands of a user that may not do everything: nobody, or the user itself.";
        users as "user": Vec<User> = Vec::new(),
            Kind::List { of: &Kind::Table { directives: User::DIRECTIVES }, min: 0, max: 1000 }, live,
            "A user who may connect with AUTH name password.";
    }
}

section! {
    /// `[[auth.user]]`: a user of the gateway. Redis does not know it.
    User {
        name: String, Kind::Text, live,
            "The name that AUTH and HELLO give; it must be given.";
        password: Option<Secret> = None, Kind::Secret, live,
            "The user's password.";
        password_file: Option<PathBuf> = None, Kind::Path, live,
            "A file whose first line is that password, instead of password.";
        password_next: Option<Secret> = None, Kind::Secret, live,
            "A second password that is taken as well, while the first is being changed; empty is none.";
        password_next_file: Option<PathBuf> = None, Kind::Path, live,
            "A file whose first line is that second password, instead of password_next; an empty one holds none.";
        rules: Option<Secret> = None, Kind::Secret, live,
            "What the user may do, in the syntax of Redis's ACL; empty is everything.";
    }
}

section! {
    /// `[upstream]` and each `[[cluster]]`: a Redis server or cluster behind the gateway.
    Upstream {
        name: String = DEFAULT_CLUSTER.to_owned(), Kind::Text, restart,
            "The name of the cluster in routes and figures. The one of the section upstream is \"default\".";
        servers: Vec<Address> = vec![Address { host: "127.0.0.1".to_owned(), port: 6379 }],
            Kind::List { of: &Kind::Server, min: 1, max: 1000 }, restart,
            "The server, some nodes of the cluster, or the Sentinels.";
        tls: bool = false, Kind::Flag, restart,
            "Whether the gateway speaks TLS with its servers, on every connection.";
        ca_file: Option<PathBuf> = None, Kind::Path, live,
            "The authorities that may have signed the servers' certificates; empty trusts those of the system.";
        cert_file: Option<PathBuf> = None, Kind::Path, live,
            "The certificate of the gateway, with its chain, for servers that ask for one.";
        key_file: Option<PathBuf> = None, Kind::Path, live,
            "The private key of that certificate.";
        server_name: Option<String> = None, Kind::Text, live,
            "The name that the servers' certificates must have; empty takes the host of each server's address.";
        kind: UpstreamKindChoice = UpstreamKindChoice::Auto,
            Kind::Choice { names: UpstreamKindChoice::NAMES }, restart,
            "Whether the upstream is one server, a cluster, or a master that Sentinels name; auto asks it.";
        master: Option<String> = None, Kind::Text, restart,
            "The name of the master at the Sentinels.";
        sentinel_user: Option<String> = None, Kind::Text, live,
            "The user of the gateway at the Sentinels; empty is the user default.";
        sentinel_password: Option<Secret> = None, Kind::Secret, live,
            "The password of the gateway at the Sentinels; empty gives none.";
        sentinel_password_file: Option<PathBuf> = None, Kind::Path, live,
            "A file whose first line is that password, instead of sentinel_password.";
        user: Option<String> = None, Kind::Text, live,
            "The user of the gateway at Redis; empty is the user default.";
        password: Option<Secret> = None, Kind::Secret, live,
            "The password of the gateway at Redis; empty gives none.";
        password_file: Option<PathBuf> = None, Kind::Path, live,
            "A file whose first line is that password, instead of password.";
        password_next: Option<Secret> = None, Kind::Secret, live,
            "A second password, tried where Redis refuses the first, while it is being changed there; empty is none.";
        password_next_file: Option<PathBuf> = None, Kind::Path, live,
            "A file whose first line is that second password, instead of password_next; an empty one holds none.";
        password_command: Vec<String> = Vec::new(), Kind::List { of: &Kind::Text, min: 0, max: 64 }, live,
            "A program, with its arguments, that prints the password, instead of password: for tokens that hold for a while.";
        password_command_timeout: Duration = Duration::from_secs(10), duration(10 * MS, MINUTE), live,
            "How long that program may take.";
        password_lifetime: Duration = Duration::from_secs(900), duration(SECOND, 24 * HOUR), live,
            "How long a password of password_command holds. The program is run again when two thirds of that are over.";
        read_from: ReadFrom = ReadFrom::Master, Kind::Choice { names: ReadFrom::NAMES }, live,
            "Where read-only commands go; a replica may answer with an older value.";
        connect_timeout: Duration = Duration::from_secs(1), duration(MS, MINUTE), live,
            "How long a connection to a node may take, login included.";
        request_timeout: Duration = Duration::from_secs(5), duration(MS, HOUR), live,
            "How long a node may be silent while a request waits for its reply.";
        lost_reply: LostReply = LostReply::Error, Kind::Choice { names: LostReply::NAMES }, live,
            "What a client gets when the connection breaks after its write was sent and before the reply.";
        unavailable_wait: Duration = Duration::from_secs(1), duration(0, MINUTE), live,
            "How long a request waits for a node that is away or being failed over.";
        redirects_max: usize = 8, count(1, 64), live,
            "The number of MOVED and ASK replies that one request follows.";
        backoff_min: Duration = Duration::from_millis(20), duration(MS, MINUTE), live,
            "The pause before the first attempt to reconnect. Each further pause is twice as long, with jitter.";
        backoff_max: Duration = Duration::from_secs(2), duration(MS, HOUR), live,
            "The longest pause between attempts to reconnect.";
        topology_refresh: Duration = Duration::from_secs(10), duration(100 * MS, HOUR), live,
            "How often the topology of the cluster is read even if nothing seems to have changed.";
        inflight_max: usize = 65_536, count(1, 1_048_576), live,
            "The number of requests in flight on one connection to a node.";
        output_buffer_max: usize = 64 * MB as usize, size(64 * KB, 4 * GB), live,
            "The bytes of requests on one connection to a node, from their arrival until they are answered.";
        reply_bytes_max: usize = 4 * GB as usize, size(MB, 64 * GB), live,
            "The size of one reply of a node.";
        session_connections_max: usize = 1000, count(1, 65_536), live,
            "The connections that one worker opens for single clients: transactions, blocking commands, \
             subscriptions and CLIENT TRACKING.";
    }
}

section! {
    /// `[limits]`: what one client may use.
    Limits {
        request_bytes_max: usize = GB as usize, size(16 * KB, 2 * GB), live,
            "The size of one request, as Redis's client-query-buffer-limit.";
        bulk_bytes_max: usize = 512 * MB as usize, size(KB, 2 * GB), live,
            "The size of one argument, as Redis's proto-max-bulk-len.";
        arguments_max: usize = 1_048_576, count(16, 2_147_483_647), live,
            "The number of arguments of one request, the command's name included.";
        client_inflight_max: usize = 1024, count(1, 1_048_576), live,
            "The number of requests of one client whose replies have not been sent to it.";
        client_output_buffer_max: usize = 32 * MB as usize, size(16 * KB, 4 * GB), live,
            "The bytes of replies that wait for one client to read them.";
        output_stall_timeout: Duration = Duration::from_secs(60), duration(100 * MS, 24 * HOUR), live,
            "How long a client may read nothing while replies wait for it.";
        idle_timeout: Option<Duration> = None, duration_or(SECOND, 30 * 24 * HOUR, "never"), live,
            "How long a client may be silent. Subscribed and blocked clients may be silent for ever.";
    }
}

section! {
    /// `[slowlog]`: which requests stand out, so that `SLOWLOG` and `COMMANDLOG` show them.
    SlowLog {
        slower_than: Option<Duration> = Some(Duration::from_millis(10)), duration_or(1, HOUR, "never"), live,
            "How long a request takes that is logged, from its last byte to its reply. Blocking commands are not.";
        request_larger_than: usize = MB as usize, size(1, 512 * MB), live,
            "The size of a request that is logged.";
        reply_larger_than: usize = MB as usize, size(1, 512 * MB), live,
            "The size of a reply whose request is logged.";
        entries_max: usize = 128, count(1, 10_000), live,
            "The number of requests that each list keeps: slow ones, large ones, those with a large reply.";
    }
}

section! {
    /// `[admin]`: dashboard, API, metrics, webhook.
    Admin {
        listen: Option<SocketAddr> = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9380))),
            Kind::Listen, restart,
            "The address of the HTTP side; empty turns it off.";
        cert_file: Option<PathBuf> = None, Kind::Path, restart,
            "The certificate of the HTTP side, with its chain; with one it speaks TLS (https) and nothing else.";
        key_file: Option<PathBuf> = None, Kind::Path, restart,
            "The private key of that certificate.";
        token: Option<Secret> = None, Kind::Secret, live,
            "The bearer token that every page but /healthz and /readyz asks for. Without a token everybody may \
             look and nobody may change anything.";
        token_file: Option<PathBuf> = None, Kind::Path, live,
            "A file whose first line is that token, instead of token.";
        connections_max: usize = 64, count(1, 4096), restart,
            "The number of HTTP connections at once, event streams included.";
        bearers as "bearer": Vec<Bearer> = Vec::new(),
            Kind::List { of: &Kind::Table { directives: Bearer::DIRECTIVES }, min: 0, max: 32 }, live,
            "Somebody with a token of its own, beside admin.token, which may change everything.";
        hash_key_names: bool = false, Kind::Flag, restart,
            "Whether metrics, API, log and webhook show keys by a hash, for names that must stay private.";
        metric_keys_max: usize = 20, count(0, 1000), restart,
            "The number of hot keys, and of quotas' keys, that get a label of their own in /metrics.";
        webhook_url: Option<Secret> = None, Kind::Url, restart,
            "Where a JSON message is posted when a key becomes hot, when it cools, and for each other event; empty \
             posts none.";
        webhook_ca_file: Option<PathBuf> = None, Kind::Path, restart,
            "The authorities that may have signed the certificate of an https webhook; empty trusts those of the system.";
        webhook_timeout: Duration = Duration::from_secs(5), duration(10 * MS, MINUTE), restart,
            "How long one attempt to post may take.";
        webhook_attempts_max: usize = 5, count(1, 100), restart,
            "The number of attempts to post one message, with backoff between them.";
        webhook_queue_max: usize = 1024, count(1, 65_536), restart,
            "The number of messages that wait to be posted.";
    }
}

section! {
    /// `[[admin.bearer]]`: who may use the HTTP side, by a token of its own.
    Bearer {
        name: String, Kind::Text, live,
            "The name under which its changes are noted; it must be given.";
        token: Option<Secret> = None, Kind::Secret, live,
            "The bearer token.";
        token_file: Option<PathBuf> = None, Kind::Path, live,
            "A file whose first line is that token, instead of token.";
        token_hash: Option<String> = None, Kind::Text, live,
            "The SHA-256 of that token in hexadecimal digits, instead of token.";
        may: May = May::Read, Kind::Choice { names: May::NAMES }, live,
            "Whether it may only look, or change what can be changed as well.";
    }
}

section! {
    /// `[log]`: what is written to standard error.
    Log {
        level: LogLevel = LogLevel::Info, Kind::Choice { names: LogLevel::NAMES }, restart,
            "The least severe message that is written.";
        format: LogFormat = LogFormat::Text, Kind::Choice { names: LogFormat::NAMES }, restart,
            "The form of a line.";
    }
}
