//! Addresses as people write them: of servers, and to listen on.
//!
//! Names are not resolved here.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::str::FromStr;

/// A host name or IP address with its port, or the path of a Unix socket. IPv6 addresses are kept without their brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Name or IP address; of a Unix socket its path, which begins with a slash as no host does.
    pub host: String,
    /// Never 0, but of a Unix socket.
    pub port: u16,
}

impl Address {
    /// The address of `host`, an IPv6 one without brackets, at `port`.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Address { host: host.into(), port }
    }

    /// The path, if it is a Unix socket's.
    pub fn unix_path(&self) -> Option<&Path> {
        self.host.starts_with('/').then(|| Path::new(&self.host))
    }

    /// Whether a server can be there: a cluster shows a node whose address it does not know with port 0.
    pub fn is_somewhere(&self) -> bool {
        self.port != 0 || self.unix_path().is_some()
    }
}

/// The port of a server whose URL names none: Redis's own.
const REDIS_PORT: u16 = 6379;

/// What a server's address must be.
const ADDRESS_EXPECTED: &str = "expected host:port, such as 127.0.0.1:6379 or [::1]:6379, or unix: and a path, such as unix:/run/redis/redis.sock";

/// An address to listen on: `ip:port`, or a port alone, `:port` or `localhost:port`, which are all on loopback. To be reached from
/// elsewhere has to be written out: `0.0.0.0:6380`.
///
/// # Errors
/// What was expected instead.
pub fn listen_address(text: &str) -> Result<SocketAddr, &'static str> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let port = text.strip_prefix("localhost:").or(text.strip_prefix(':')).or(Some(text));
    let is_number = |port: &&str| port.bytes().all(|byte| byte.is_ascii_digit());
    match port.filter(is_number).and_then(|port| port.parse::<u16>().ok()) {
        Some(port) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => {
            Err("expected ip:port, such as 127.0.0.1:6380, 0.0.0.0:6380 or [::1]:6380, or a port on loopback")
        }
    }
}

impl FromStr for Address {
    type Err = &'static str;

    /// `host:port`, an IPv6 host in brackets. `redis://host` and `redis://host:port` are the same as long as they hold nothing else:
    /// who logs in is told by directives of their own, and clients choose databases.
    ///
    /// `unix:` or `unix://` and an absolute path is a Unix socket.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.starts_with('/') && !path.contains(char::is_control) {
                true => Ok(Address::new(path, 0)),
                false => Err("expected an absolute path behind unix:, such as unix:/run/redis/redis.sock"),
            };
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return parse_address(text).ok_or(ADDRESS_EXPECTED);
        };
        if matches!(scheme, "rediss" | "valkeys") {
            return Err("expected host:port or redis://host:port; for TLS set upstream.tls = true in a file");
        }
        if !matches!(scheme, "redis" | "valkey") {
            return Err("expected host:port or redis://host:port, found another kind of URL");
        }
        if rest.contains('@') {
            return Err(
                "expected an address without a login; give it in a file, as upstream.user and upstream.password_file",
            );
        }
        let place = rest.strip_suffix("/0").or(rest.strip_suffix('/')).unwrap_or(rest);
        if place.contains('/') {
            return Err("expected an address without a database; clients choose theirs with SELECT");
        }
        let has_port = place.rsplit(']').next().is_some_and(|end| end.contains(':'));
        let whole = if has_port { place.to_owned() } else { format!("{place}:{REDIS_PORT}") };
        parse_address(&whole).ok_or(ADDRESS_EXPECTED)
    }
}

fn parse_address(text: &str) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()),
        None => Some(host).filter(|host| !host.contains(':')),
    };
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'@' | b'[' | b']');
    let host = host.filter(|host| !host.is_empty() && host.bytes().all(plain))?;
    Some(Address { host: host.to_owned(), port })
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.unix_path().is_some() {
            write!(out, "unix:{}", self.host)
        } else if self.host.contains(':') {
            write!(out, "[{}]:{}", self.host, self.port)
        } else {
            write!(out, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |text: &str, expect: Option<(&str, u16)>| {
            let expect = expect.map(|(host, port)| Address { host: host.into(), port });
            assert_eq!(text.parse().ok(), expect, "{text:?}");
            if let Some(address) = expect {
                assert_eq!(address.to_string(), text);
            }
        };
        check("127.0.0.1:6379", Some(("127.0.0.1", 6379)));
        check("redis-0.redis:7000", Some(("redis-0.redis", 7000)));
        check("[::1]:6379", Some(("::1", 6379)));
        check("unix:/run/redis:1/redis.sock", Some(("/run/redis:1/redis.sock", 0)));
        for wrong in [
            "",
            "host",
            "host:",
            ":6379",
            "host:0",
            "host:65536",
            "::1:6379",
            "[x]:1",
            "a b:1",
            "unix:",
            "unix:redis.sock",
            "/run:1",
        ] {
            check(wrong, None);
        }
        assert!("user:secret@host:6379".parse::<Address>().is_err());
    }

    #[test]
    fn urls_of_servers() {
        let cases = [
            ("redis://h:1", Some(("h", 1))),
            ("redis://h", Some(("h", 6379))),
            ("valkey://h:1/0", Some(("h", 1))),
            ("redis://[::1]/", Some(("::1", 6379))),
            ("redis://[::1]:7000", Some(("::1", 7000))),
            ("redis://", None),
            ("redis://h:1/3", None),
            ("redis://h:", None),
            ("redis://user:secret@h:1", None),
            ("http://h:1", None),
        ];
        for (text, expect) in cases {
            let expect = expect.map(|(host, port)| Address::new(host, port));
            assert_eq!(text.parse().ok(), expect, "{text:?}");
        }
        let why = "redis://user:secret@h:1".parse::<Address>().unwrap_err();
        assert!(why.contains("upstream.password_file") && !why.contains("secret"), "{why}");
    }

    #[test]
    fn addresses_to_listen_on() {
        let loopback = |port| Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let cases = [
            ("127.0.0.1:6380", loopback(6380)),
            ("6380", loopback(6380)),
            (":6380", loopback(6380)),
            ("localhost:0", loopback(0)),
            ("0.0.0.0:6380", Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 6380)))),
            ("[::1]:6380", "[::1]:6380".parse().ok()),
            ("localhost", None),
            ("localhost6380", None),
            ("", None),
            (":", None),
            ("+6380", None),
            ("65536", None),
            ("::1:6380", None),
            ("example.org:6380", None),
        ];
        for (text, expect) in cases {
            assert_eq!(listen_address(text).ok(), expect, "{text:?}");
        }
    }
}
