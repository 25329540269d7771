//! Who may ask, and how often.
//!
//! - On loopback the `Host` header must name loopback: else a web page could reach the API through a DNS name
//!   of its own that resolves to 127.0.0.1 (DNS rebinding). On other addresses any host name may be the right
//!   one.
//! - A token, where configured, is compared by digest and in constant time, so that neither its length nor
//!   its beginning leaks through timing.
//! - Requests per second are bounded for all askers together. What is beyond gets 429 and a closed
//!   connection, before any work is done for it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use sha1_smol::Sha1;
use tokio::time::Instant;

use super::assets::CONTENT_SECURITY_POLICY;
use super::{Shared, error};
use crate::monitor::sources::Latest;
use crate::net::SocketName;

/// Requests per second in the long run. At 50 µs each that is 1 % of a core; ten dashboards and as many
/// scrapers need 50.
const REQUESTS_PER_S_MAX: f64 = 200.0;
/// Requests at once after a pause.
const BURST_MAX: f64 = 400.0;

/// See the module.
pub struct Guard {
    loopback: bool,
    token: Latest<Option<String>>,
    bucket: Mutex<(f64, Instant)>,
}

impl Guard {
    /// A guard for a server that listens on `address`.
    pub fn new(address: &SocketName, token: Latest<Option<String>>) -> Self {
        Self { loopback: address.is_loopback(), token, bucket: Mutex::new((BURST_MAX, Instant::now())) }
    }

    /// The token that is required; `None` when none is configured.
    pub fn token(&self) -> Option<String> {
        (self.token)().filter(|token| !token.is_empty())
    }

    fn take(&self, now: Instant) -> bool {
        // The lock is held for this arithmetic only, on the control thread.
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let gained = now.saturating_duration_since(bucket.1).as_secs_f64() * REQUESTS_PER_S_MAX;
        *bucket = ((bucket.0 + gained).min(BURST_MAX), now);
        let admitted = bucket.0 >= 1.0;
        if admitted {
            bucket.0 -= 1.0;
        }
        admitted
    }

    fn host_is_right(&self, headers: &HeaderMap) -> bool {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        !self.loopback || host.is_some_and(names_loopback)
    }
}

/// Checks host and rate, and marks every response with what browsers should know.
pub async fn admit(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mut response = if !shared.guard.take(Instant::now()) {
        let mut response =
            error(StatusCode::TOO_MANY_REQUESTS, "too many requests per second for all askers together");
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    } else if !shared.guard.host_is_right(request.headers()) {
        error(StatusCode::FORBIDDEN, "the Host header must name loopback: localhost, 127.0.0.1 or [::1]")
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Lets a request through when it carries the token, or when none is configured.
pub async fn require_token(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let expected = shared.guard.token();
    if expected.is_none_or(|token| carries(request.headers(), &token)) {
        return next.run(request).await;
    }
    let mut response =
        error(StatusCode::UNAUTHORIZED, "the admin token is required: Authorization: Bearer ...");
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"hotgate\""));
    response
}

fn carries(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let given = given.and_then(|value| value.split_at_checked(7));
    let Some((scheme, given)) = given else { return false };
    scheme.eq_ignore_ascii_case(b"bearer ") && equal(given, token.as_bytes())
}

/// Equality whose time depends on the lengths of neither beginning nor match: digests are compared whole.
fn equal(given: &[u8], expected: &[u8]) -> bool {
    let (given, expected) = (Sha1::from(given).digest().bytes(), Sha1::from(expected).digest().bytes());
    given.iter().zip(expected).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
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
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            carries(&headers, "sesame")
        };
        assert!(with("Bearer sesame") && with("bearer sesame"));
        for value in
            ["sesame", "Bearer", "Bearer ", "Bearer sesam", "Bearer sesame ", "Basic sesame", "Bearer SESAME"]
        {
            assert!(!with(value), "{value:?}");
        }
        assert!(!carries(&HeaderMap::new(), "sesame"));
    }

    #[tokio::test]
    async fn a_burst_is_bounded_and_refills() {
        let loopback = SocketName::from(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
        let guard = Guard::new(&loopback, Box::new(|| None));
        let now = Instant::now();
        assert_eq!((0..1_000).filter(|_| guard.take(now)).count(), BURST_MAX as usize);
        let later = now + std::time::Duration::from_millis(100);
        assert_eq!((0..1_000).filter(|_| guard.take(later)).count(), 20);
    }
}
