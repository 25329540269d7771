//! Who may use the HTTP side, and how often.
//!
//! - On loopback the `Host` header must name loopback. Otherwise a web page could reach the API through a DNS name that
//!   resolves to 127.0.0.1 (DNS rebinding). On other addresses any host name may be right.
//! - Tokens are compared by digest, all of them and in constant time, so timing leaks neither length nor beginning of one.
//! - Requests per second are bounded, per source and in total, separately for each class ([`super::allowance`]). Beyond the bound
//!   a request gets 429 and a closed connection, before any work is done for it. `/healthz` and `/readyz` are always answered.
//! - A request that is not done within [`REQUEST_PATIENCE`] is given up: its body did not come.
//!
//! Every refusal is counted ([`crate::monitor::turned_away`]).

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout};

use super::allowance::{Allowance, Class};
use super::assets::CONTENT_SECURITY_POLICY;
use super::connections::Source;
use super::listener::Peer;
use super::{Shared, last};
use crate::monitor::sources::Latest;
use crate::monitor::turned_away::Reason;
use crate::net::SocketName;

/// How long a request may take from its header to its answer: twice what a change of a quota may.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

/// A token that lets somebody in.
#[derive(Clone, Debug)]
pub struct AdminToken {
    /// The name under which changes are noted.
    pub name: String,
    /// SHA-256 of the token itself.
    pub digest: [u8; 32],
    /// Whether its bearer may change something.
    pub may_change: bool,
}

impl AdminToken {
    /// A token in clear.
    pub fn new(name: &str, token: &str, may_change: bool) -> Self {
        Self { name: name.to_owned(), digest: Sha256::digest(token.as_bytes()).into(), may_change }
    }
}

/// Who sends a request that was let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// No token is configured, so nobody says who it is.
    Anybody,
    /// The bearer of this token, which may look only.
    MayRead(String),
    /// The bearer of this token.
    MayChange(String),
}

impl Caller {
    /// The name of the token; empty where none is configured.
    pub fn name(&self) -> &str {
        match self {
            Self::Anybody => "",
            Self::MayRead(name) | Self::MayChange(name) => name,
        }
    }

    /// The name of the token, if it may change anything.
    ///
    /// # Errors
    /// It may not: a sentence.
    pub fn who_may_change(self) -> Result<String, String> {
        match self {
            Self::MayChange(name) => Ok(name),
            Self::MayRead(name) => {
                Err(format!("the token of {name} may only read; give it admin.bearer.may = \"change\""))
            }
            Self::Anybody => {
                Err("changes need an admin token: set admin.token in the configuration".to_owned())
            }
        }
    }
}

/// See the module.
pub struct Guard {
    loopback: bool,
    tokens: Latest<Arc<[AdminToken]>>,
    allowance: Mutex<Allowance>,
}

impl Guard {
    /// A guard for a server that listens on `address`.
    pub fn new(address: &SocketName, tokens: Latest<Arc<[AdminToken]>>) -> Self {
        let allowance = Mutex::new(Allowance::new(Instant::now()));
        Self { loopback: address.is_loopback(), tokens, allowance }
    }

    /// Who sends a request; nothing if a token is required and this has none that holds.
    fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        let tokens = (self.tokens)();
        if tokens.is_empty() {
            return Some(Caller::Anybody);
        }
        let found = bearer_of(headers, &tokens)?;
        let name = found.name.clone();
        Some(if found.may_change { Caller::MayChange(name) } else { Caller::MayRead(name) })
    }

    fn is_stranger(&self, headers: &HeaderMap) -> bool {
        self.caller(headers).is_none()
    }

    /// Where a request is counted; `None` for a probe.
    fn class_of(&self, request: &Request) -> Option<Class> {
        let path = request.uri().path();
        let asks = path.starts_with("/api/");
        Some(match path {
            "/healthz" | "/readyz" => return None,
            _ if (asks || path == "/metrics") && self.is_stranger(request.headers()) => Class::Stranger,
            "/metrics" => Class::Metrics,
            _ if asks => Class::Api,
            _ => Class::Page,
        })
    }

    fn admits(&self, peer: &SocketName, request: &Request) -> bool {
        // The lock is held for this arithmetic only.
        let mut allowance = self.allowance.lock().unwrap_or_else(PoisonError::into_inner);
        let source = Source::of(peer);
        self.class_of(request).is_none_or(|class| allowance.take(source, class, Instant::now()))
    }

    fn host_is_right(&self, headers: &HeaderMap) -> bool {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        !self.loopback || host.is_some_and(names_loopback)
    }
}

/// Checks host and rate, and marks every response with what browsers should know.
pub async fn admit(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = if !shared.guard.admits(&peer, &request) {
        let sentence = "too many requests per second; /healthz and /readyz are always answered";
        last(shared.turn_away(Reason::Rate, StatusCode::TOO_MANY_REQUESTS, sentence))
    } else if !shared.guard.host_is_right(request.headers()) {
        let sentence = "the Host header must name loopback: localhost, 127.0.0.1 or [::1]";
        shared.turn_away(Reason::Host, StatusCode::FORBIDDEN, sentence)
    } else {
        let given_up = |_| {
            let sentence = "the request did not come whole within 10 s";
            last(shared.turn_away(Reason::SlowRequest, StatusCode::REQUEST_TIMEOUT, sentence))
        };
        timeout(REQUEST_PATIENCE, next.run(request)).await.unwrap_or_else(given_up)
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Lets a request through when it carries a token, or when none is configured. Its handler learns who sends it.
pub async fn require_token(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    if let Some(caller) = shared.guard.caller(request.headers()) {
        request.extensions_mut().insert(caller);
        return next.run(request).await;
    }
    let sentence = match request.headers().contains_key(header::AUTHORIZATION) {
        true => "this is not the admin token (admin.token, admin.bearer)",
        false => "the admin token is required: Authorization: Bearer ...",
    };
    let mut response = shared.turn_away(Reason::Token, StatusCode::UNAUTHORIZED, sentence);
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"hotgate\""));
    response
}

/// The token that a request carries. All are looked at, each whole.
fn bearer_of<'t>(headers: &HeaderMap, tokens: &'t [AdminToken]) -> Option<&'t AdminToken> {
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes)?;
    let (scheme, given) = given.split_at_checked(7)?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return None;
    }
    let digest: [u8; 32] = Sha256::digest(given).into();
    let same = |token: &AdminToken| {
        token.digest.iter().zip(&digest).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    };
    tokens.iter().fold(None, |found, token| if same(token) { Some(token) } else { found })
}

fn names_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_name_loopback() {
        for host in ["localhost", "LOCALHOST:9380", "127.0.0.1:1", "127.9.9.9", "[::1]:9380", "[::1]"] {
            assert!(names_loopback(host), "{host}");
        }
        for host in
            ["", "evil.example", "127.0.0.1.evil.example:9380", "localhost.evil", "10.0.0.1", "[::2]:1"]
        {
            assert!(!names_loopback(host), "{host}");
        }
    }

    #[test]
    fn tokens() {
        let known = [AdminToken::new("ops", "sesame", true), AdminToken::new("page", "look", false)];
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            bearer_of(&headers, &known).map(|token| token.name.as_str())
        };
        assert_eq!(with("Bearer sesame"), Some("ops"));
        assert_eq!(with("bearer look"), Some("page"));
        for value in
            ["sesame", "Bearer", "Bearer ", "Bearer sesam", "Bearer sesame ", "Basic sesame", "Bearer SESAME"]
        {
            assert_eq!(with(value), None, "{value:?}");
        }
        assert!(bearer_of(&HeaderMap::new(), &known).is_none());
    }
}
