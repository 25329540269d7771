//! A small HTTP/1.1 client: one request, one connection, bounded in time and size, with TLS where the URL says `https`. The webhook
//! and `hotgate top` use it.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::config::Address;
use crate::net::Dialer;
use crate::net::tls::ClientTls;

/// The most bytes of a response that are read: `/api/hotkeys` with a full hot set stays below 200 KiB.
const RESPONSE_BYTES_MAX: usize = 4 << 20;

/// The response.
#[derive(Debug)]
pub struct Response {
    /// The HTTP status code.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

/// How the servers of one URL are reached.
#[derive(Clone, Debug)]
pub struct HttpClient {
    dialer: Dialer,
}

impl HttpClient {
    /// For URLs that begin as this one does. `ca_file` has the authorities that are trusted; without it those of the system are.
    ///
    /// # Errors
    /// It is no URL of HTTP, or nobody can be trusted: a clause, without the URL.
    pub fn new(url: &str, ca_file: Option<&Path>) -> Result<Self, String> {
        let dialer = match target(url)? {
            (_, _, true) => {
                Dialer::with_tls(ClientTls::signed_by(ca_file).map_err(|error| error.to_string())?)
            }
            (_, _, false) => Dialer::default(),
        };
        Ok(Self { dialer })
    }

    /// One exchange, from connecting to the last byte of the response, in at most `patience`.
    ///
    /// # Errors
    /// Clauses that say which step failed: the address, connecting, the exchange, or the time. They never hold the URL, whose path
    /// may be a secret.
    pub async fn exchange(
        &self,
        method: Method,
        url: &str,
        token: Option<&str>,
        json: Option<Bytes>,
        patience: Duration,
    ) -> Result<Response, String> {
        let (uri, address, is_tls) = target(url)?;
        if is_tls != self.dialer.is_tls() {
            return Err("the address is one of http:// where the others are https://, or the reverse".into());
        }
        let request = request(method, &uri, token, json)?;
        match timeout(patience, self.converse(&address, request)).await {
            Ok(response) => response,
            Err(_) => Err(format!("no answer within {} ms", patience.as_millis())),
        }
    }

    async fn converse(&self, address: &Address, request: Request<Full<Bytes>>) -> Result<Response, String> {
        let stream =
            self.dialer.connect(address, None).await.map_err(|error| format!("can't connect: {error}"))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let driver = tokio::spawn(connection);
        let response =
            sender.send_request(request).await.map_err(|error| format!("the exchange failed: {error}"))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), RESPONSE_BYTES_MAX).collect().await;
        driver.abort();
        let body = body.map_err(|error| format!("the response broke off or is too long: {error}"))?;
        Ok(Response { status, body: body.to_bytes() })
    }
}

/// A single exchange, by a client of its own that trusts the authorities of the system.
///
/// # Errors
/// Those of [`HttpClient::new`] and [`HttpClient::exchange`].
pub async fn exchange(
    method: Method,
    url: &str,
    token: Option<&str>,
    json: Option<Bytes>,
    patience: Duration,
) -> Result<Response, String> {
    HttpClient::new(url, None)?.exchange(method, url, token, json, patience).await
}

/// A URL, the address that it names, and whether TLS is spoken there.
fn target(url: &str) -> Result<(Uri, Address, bool), String> {
    let uri: Uri = url.parse().map_err(|_| "the address is not a URL".to_owned())?;
    let is_tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err("the address must begin with http:// or https://".into()),
    };
    let host = uri.host().ok_or("the address names no host")?.trim_matches(['[', ']']);
    let address = Address::new(host, uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }));
    Ok((uri, address, is_tls))
}

fn request(
    method: Method,
    uri: &Uri,
    token: Option<&str>,
    json: Option<Bytes>,
) -> Result<Request<Full<Bytes>>, String> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    // User and password in the URL are not sent as a Host.
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let mut builder = Request::builder().method(method).uri(path).header(header::HOST, host);
    builder = builder.header(header::USER_AGENT, concat!("hotgate/", env!("CARGO_PKG_VERSION")));
    if let Some(token) = token {
        builder = builder.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if json.is_some() {
        builder = builder.header(header::CONTENT_TYPE, "application/json");
    }
    builder
        .body(Full::new(json.unwrap_or_default()))
        .map_err(|_| "the token or address holds bytes HTTP can't carry".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bad_addresses_and_dead_ports_are_clauses_without_the_url() {
        for (url, expect) in [
            ("ftp://secret.example/T0K3N", "http://"),
            ("not a url", "not a URL"),
            ("http://127.0.0.1:1/T0K3N", "can't connect"),
        ] {
            let error = exchange(Method::GET, url, None, None, Duration::from_secs(2)).await.unwrap_err();
            assert!(error.contains(expect) && !error.contains("T0K3N"), "{url}: {error}");
        }
    }

    #[test]
    fn a_file_of_authorities_that_is_not_there_is_named() {
        let missing = Path::new("/nowhere/ca.pem");
        assert!(HttpClient::new("https://h/", Some(missing)).unwrap_err().contains("/nowhere/ca.pem"));
        assert!(HttpClient::new("http://h/", Some(missing)).is_ok());
    }
}
