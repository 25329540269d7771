//! Certificates for tests, made by the `openssl` program: an authority, and what it signs.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::reaper;

/// An authority with a directory of its own, which is removed with it.
pub struct Authority {
    directory: TempDir,
}

/// A certificate and its key, as files.
#[derive(Clone, Debug)]
pub struct Pair {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new() -> Authority {
        let directory = tempfile::Builder::new().prefix("hotgate-test-certificates").tempdir().unwrap();
        reaper::remove_at_end(directory.path());
        let authority = Authority { directory };
        let (cert, key) = (authority.ca(), authority.path("ca.key"));
        let (cert, key) = (text(&cert), text(&key));
        openssl(&[
            &["req", "-x509"][..],
            &NEW_KEY,
            &["-keyout", key, "-out", cert, "-days", "3650", "-subj", "/CN=Tests"],
        ]);
        authority
    }

    /// Its own certificate.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.crt")
    }

    /// A file in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A certificate that holds for a year, for this machine.
    pub fn issue(&self, name: &str) -> Pair {
        self.issue_for(name, "IP:127.0.0.1,DNS:localhost", 365)
    }

    /// A certificate for these alternative names that holds for so many days; with -1 it has expired a day ago.
    pub fn issue_for(&self, name: &str, names: &str, days: i32) -> Pair {
        let pair = Pair { cert: self.path(&format!("{name}.crt")), key: self.path(&format!("{name}.key")) };
        let request = self.path(&format!("{name}.csr"));
        let (names, subject, days) =
            (format!("subjectAltName={names}"), format!("/CN={name}"), days.to_string());
        let (ca, ca_key) = (self.ca(), self.path("ca.key"));
        openssl(&[
            &["req"][..],
            &NEW_KEY,
            &["-keyout", text(&pair.key), "-out", text(&request), "-subj", &subject, "-addext", &names],
        ]);
        openssl(&[
            &["x509", "-req", "-copy_extensions", "copy", "-CA", text(&ca), "-CAkey", text(&ca_key)][..],
            &["-in", text(&request), "-out", text(&pair.cert), "-days", &days],
        ]);
        pair
    }

    /// A certificate that nobody but its own key has signed.
    pub fn self_signed(&self, name: &str) -> Pair {
        let pair = Pair { cert: self.path(&format!("{name}.crt")), key: self.path(&format!("{name}.key")) };
        openssl(&[
            &["req", "-x509"][..],
            &NEW_KEY,
            &["-keyout", text(&pair.key), "-out", text(&pair.cert), "-days", "365", "-subj", "/CN=self"],
            &["-addext", "subjectAltName=IP:127.0.0.1"],
        ]);
        pair
    }

    /// The options of a Redis server that speaks TLS beside its plain port. See [`tls_port`].
    pub fn server_options(&self, pair: &Pair) -> Vec<String> {
        [
            ("--tls-port", "{port+11000}"),
            ("--tls-cert-file", text(&pair.cert)),
            ("--tls-key-file", text(&pair.key)),
            ("--tls-ca-cert-file", text(&self.ca())),
            ("--tls-auth-clients", "no"),
        ]
        .into_iter()
        .flat_map(|(option, value)| [option.to_owned(), value.to_owned()])
        .collect()
    }

    /// `[upstream]` for servers with certificates of this authority.
    pub fn upstream(&self) -> String {
        format!("[upstream]\ntls = true\nca_file = \"{}\"\n", self.ca().display())
    }

    /// `[tls]` for clients that are shown this certificate.
    pub fn listener(&self, pair: &Pair) -> String {
        format!("[tls]\nlisten = [\"127.0.0.1:0\"]\n{}", pair.directives())
    }
}

impl Pair {
    /// The two directives that name it.
    pub fn directives(&self) -> String {
        format!("cert_file = \"{}\"\nkey_file = \"{}\"\n", self.cert.display(), self.key.display())
    }

    /// Takes the place of another pair: the files of that are replaced one after the other, as people do it.
    pub fn replaces(&self, other: &Pair) {
        std::fs::copy(&self.cert, &other.cert).unwrap();
        std::fs::copy(&self.key, &other.key).unwrap();
    }
}

/// Where a server that was started with [`Authority::server_options`] speaks TLS.
pub fn tls_port(port: u16) -> u16 {
    port + 11_000
}

const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn openssl(arguments: &[&[&str]]) {
    let output = Command::new("openssl").args(arguments.concat()).output().expect("openssl is installed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
