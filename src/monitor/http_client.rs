//! A small HTTP/1.1 client: one request, one connection, bounded in time and size. The webhook and `hotgate
//! top` use it.
//!
//! Plain `http://` only. A TLS stack would be the largest dependency of the gateway for the least of its
//! tasks; a webhook that must leave the host in secret goes through a local relay (Alertmanager, Vector, an
//! Envoy or nginx on loopback).

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::config::Address;
use crate::net::connect;

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

/// One exchange, from connecting to the last byte of the response, in at most `patience`.
///
/// Errors are clauses that say which step failed: the address, connecting, the exchange, or the time. They
/// never hold the URL, whose path may be a secret.
pub async fn exchange(
    method: Method,
    url: &str,
    token: Option<&str>,
    json: Option<Bytes>,
    patience: Duration,
) -> Result<Response, String> {
    let uri: Uri = url.parse().map_err(|_| "the address is not a URL".to_owned())?;
    if uri.scheme_str() != Some("http") {
        return Err("the address must begin with http:// (TLS is left to a local relay)".into());
    }
    let host = uri.host().ok_or("the address names no host")?.trim_matches(['[', ']']);
    let address = Address::new(host, uri.port_u16().unwrap_or(80));
    let request = request(method, &uri, token, json)?;
    match timeout(patience, converse(&address, request)).await {
        Ok(response) => response,
        Err(_) => Err(format!("no answer within {} ms", patience.as_millis())),
    }
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

async fn converse(address: &Address, request: Request<Full<Bytes>>) -> Result<Response, String> {
    let stream = connect(address, None).await.map_err(|error| format!("can't connect: {error}"))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bad_addresses_and_dead_ports_are_clauses_without_the_url() {
        for (url, expect) in [
            ("https://secret.example/T0K3N", "http://"),
            ("not a url", "not a URL"),
            ("http://127.0.0.1:1/T0K3N", "can't connect"),
        ] {
            let error = exchange(Method::GET, url, None, None, Duration::from_secs(2)).await.unwrap_err();
            assert!(error.contains(expect) && !error.contains("T0K3N"), "{url}: {error}");
        }
    }
}
