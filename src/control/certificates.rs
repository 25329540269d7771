//! Certificates change without a restart: at a reload and every [`LOOK_PERIOD`] their files are looked at.
//!
//! A new content is taken over whole, or not at all: a file that is missing, half written, or a key of another certificate leaves
//! in force what was, says so in the log once, and is published until the files are right. Sessions that are established go on
//! with the certificate that they began with.
//!
//! Owns what was read last. Deliberately does not: watch the file system, which has too many ways to replace a file (a link to
//! another directory, as Kubernetes does it, among them).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::config::{Admin, Config, Tls, Upstream};
use crate::net::Dialer;
use crate::net::tls::{Acceptor, ClientTls, ServerTls, Shown, TlsError, TlsFiles};
use crate::shared::certificates::CertificatesInUse;
use crate::shared::events::{Event, EventKind, Events};
use crate::shared::gateway::Gateway;

/// Between two looks at the files.
const LOOK_PERIOD: Duration = Duration::from_secs(10);

/// What has to be read for one use of TLS.
trait Source: Clone + PartialEq {
    /// Its table in the configuration.
    const TABLE: &'static str;
    /// What is made of the files.
    type Made;

    fn files(&self) -> impl Iterator<Item = &PathBuf>;
    fn make(&self, files: &TlsFiles) -> Result<(Self::Made, Vec<Shown>), TlsError>;
}

impl Source for Upstream {
    const TABLE: &'static str = "upstream";
    type Made = ClientTls;

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        ClientTls::files_of(self)
    }

    fn make(&self, files: &TlsFiles) -> Result<(ClientTls, Vec<Shown>), TlsError> {
        ClientTls::of(self, files).map(|(tls, shown)| (tls, shown.into_iter().collect()))
    }
}

impl Source for Tls {
    const TABLE: &'static str = "tls";
    type Made = ServerTls;

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        ServerTls::files_of(self)
    }

    fn make(&self, files: &TlsFiles) -> Result<(ServerTls, Vec<Shown>), TlsError> {
        ServerTls::of(self, files)
    }
}

/// The certificate of the HTTP side, as a table of those who are let in.
#[derive(Clone, PartialEq)]
struct AdminSide(Tls);

impl AdminSide {
    /// None while it speaks no TLS.
    fn of(config: &Config) -> Option<Self> {
        let Admin { cert_file, key_file, .. } = &config.admin;
        cert_file
            .is_some()
            .then(|| Self(Tls { cert_file: cert_file.clone(), key_file: key_file.clone(), ..Tls::default() }))
    }
}

impl Source for AdminSide {
    const TABLE: &'static str = "admin";
    type Made = ServerTls;

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        ServerTls::files_of(&self.0)
    }

    fn make(&self, files: &TlsFiles) -> Result<(ServerTls, Vec<Shown>), TlsError> {
        ServerTls::of(&self.0, files)
    }
}

/// One use of TLS: what was read last, and what came of it.
struct Use<S: Source> {
    source: S,
    /// `None` if they could not be read.
    files: Option<TlsFiles>,
    in_use: CertificatesInUse,
}

impl<S: Source> Use<S> {
    fn open(source: &S) -> Result<(Self, S::Made), TlsError> {
        let files = TlsFiles::read(source.files())?;
        let (made, shown) = source.make(&files)?;
        let in_use = CertificatesInUse { table: S::TABLE, shown, refused: None };
        Ok((Self { source: source.clone(), files: Some(files), in_use }, made))
    }

    /// What is to be in force from now on, if that is something new.
    fn look(&mut self, source: &S) -> Option<S::Made> {
        let read = TlsFiles::read(source.files());
        let is_known = self.source == *source && read.as_ref().ok() == self.files.as_ref();
        if is_known && self.files.is_some() {
            return None;
        }
        self.source = source.clone();
        let made = read.and_then(|files| {
            self.files = Some(files.clone());
            source.make(&files)
        });
        match made {
            Ok((made, shown)) => {
                tracing::info!(table = S::TABLE, "took over the certificates of the files");
                self.in_use = CertificatesInUse { table: S::TABLE, shown, refused: None };
                Some(made)
            }
            Err(error) => {
                let why = error.to_string();
                if self.in_use.refused.as_ref() != Some(&why) {
                    tracing::error!(
                        table = S::TABLE,
                        "new certificates are not taken over, those before stay in force: {why}"
                    );
                }
                self.in_use.refused = Some(why);
                None
            }
        }
    }
}

/// The uses of TLS of the process, with the handles that the connections are made by.
#[derive(Default)]
pub struct Certificates {
    /// By [`ClusterId`](crate::route::ClusterId), as the dialers.
    upstreams: Vec<Option<Use<Upstream>>>,
    clients: Option<Use<Tls>>,
    admin: Option<(Use<AdminSide>, Acceptor)>,
    /// How the servers of each cluster are reached.
    pub dialers: Vec<Dialer>,
    /// How clients are let in with TLS.
    pub acceptor: Option<Acceptor>,
}

impl Certificates {
    /// Reads what the configuration names.
    ///
    /// # Errors
    /// A file can't be used: a sentence without a full stop.
    pub fn open(config: &Config) -> Result<Self, TlsError> {
        let mut opened = Self::default();
        for cluster in config.clusters() {
            let upstream = config.upstream_of(cluster);
            let (used, dialer) = match upstream.tls {
                true => Use::open(upstream).map(|(used, tls)| (Some(used), Dialer::with_tls(tls)))?,
                false => (None, Dialer::default()),
            };
            opened.upstreams.push(used);
            opened.dialers.push(dialer);
        }
        if !config.tls.listen.is_empty() {
            let (used, tls) = Use::open(&config.tls)?;
            (opened.clients, opened.acceptor) = (Some(used), Some(Acceptor::new(tls)));
        }
        if let Some(side) = AdminSide::of(config) {
            let (used, tls) = Use::open(&side)?;
            opened.admin = Some((used, Acceptor::new(tls)));
        }
        Ok(opened)
    }

    /// How askers of the HTTP side are let in, if it speaks TLS.
    pub fn admin_acceptor(&self) -> Option<&Acceptor> {
        self.admin.as_ref().map(|(_, acceptor)| acceptor)
    }

    /// What is in force, to be published.
    pub fn in_use(&self) -> Vec<CertificatesInUse> {
        let upstreams = self.upstreams.iter().flatten().map(|used| used.in_use.clone());
        let clients = self.clients.iter().map(|used| used.in_use.clone());
        upstreams.chain(clients).chain(self.admin.iter().map(|(used, _)| used.in_use.clone())).collect()
    }

    /// Takes over what the files have become. Returns the tables of which other certificates are in force now.
    fn look(&mut self, config: &Config) -> Vec<&'static str> {
        let mut renewed = Vec::new();
        for (cluster, (used, dialer)) in config.clusters().zip(self.upstreams.iter_mut().zip(&self.dialers)) {
            if let Some(used) = used
                && let Some(tls) = used.look(config.upstream_of(cluster))
            {
                dialer.renew(tls);
                renewed.push(Upstream::TABLE);
            }
        }
        if let (Some((used, acceptor)), Some(side)) = (&mut self.admin, AdminSide::of(config))
            && let Some(tls) = used.look(&side)
        {
            acceptor.renew(tls);
            renewed.push(AdminSide::TABLE);
        }
        if let (Some(used), Some(acceptor)) = (&mut self.clients, &self.acceptor)
            && let Some(tls) = used.look(&config.tls)
        {
            acceptor.renew(tls);
            renewed.push(Tls::TABLE);
        }
        renewed
    }
}

/// What is wrong with the files that a configuration names for TLS, as lines.
pub fn faults(config: &Config, now_unix_s: i64) -> Vec<String> {
    let upstreams =
        config.clusters().map(|cluster| config.upstream_of(cluster)).filter(|upstream| upstream.tls);
    let mut faults: Vec<String> = upstreams.flat_map(|upstream| faults_of(upstream, now_unix_s)).collect();
    if !config.tls.listen.is_empty() {
        faults.extend(faults_of(&config.tls, now_unix_s));
    }
    faults.extend(AdminSide::of(config).into_iter().flat_map(|side| faults_of(&side, now_unix_s)));
    faults
}

fn faults_of<S: Source>(source: &S, now_unix_s: i64) -> Vec<String> {
    let shown = match Use::open(source) {
        Ok((used, _)) => used.in_use.shown,
        Err(error) => return vec![format!("[{}] {error}", S::TABLE)],
    };
    let expired = |shown: &Shown| {
        let ago_s = now_unix_s - shown.expires_unix_s?;
        let days = ago_s / 86_400;
        (ago_s >= 0)
            .then(|| format!("[{}] {} expired {days} days ago: renew it", S::TABLE, shown.file.display()))
    };
    shown.iter().filter_map(expired).collect()
}

/// Takes over what the files have become, at each reload and now and then.
pub async fn follow_certificates(
    gateway: Arc<Gateway>,
    mut certificates: Certificates,
    reloaded: Arc<Notify>,
) {
    if certificates.in_use().is_empty() {
        return;
    }
    loop {
        // Either is a reason to look.
        let _ = timeout(LOOK_PERIOD, reloaded.notified()).await;
        let renewed = certificates.look(&gateway.config.load());
        let in_use = certificates.in_use();
        note(&gateway.events, renewed, &gateway.certificates.load(), &in_use);
        gateway.certificates.store(in_use);
    }
}

/// What the last look has found.
fn note(
    events: &Events,
    renewed: Vec<&'static str>,
    before: &[CertificatesInUse],
    now: &[CertificatesInUse],
) {
    for table in renewed {
        events.record(Event::new(
            EventKind::CertificateRenewed,
            table,
            "the certificates of the files are in force",
        ));
    }
    for (before, now) in before.iter().zip(now) {
        if let Some(why) = now.refused.as_ref().filter(|_| now.refused != before.refused) {
            events.record(Event::new(EventKind::CertificateRefused, now.table, why));
        }
    }
}
