//! `hotgate check --running`: asks a running gateway for its routes, to tell which keys another file would move.
//!
//! Owns the question. It deliberately does not compare: the configuration does.

use std::path::Path;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;

use super::http_client::HttpClient;
use crate::route::table::RouteRule;

/// How long the gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is read of the answer.
#[derive(Deserialize)]
struct Answer {
    routes: Vec<Told>,
}

#[derive(Deserialize)]
struct Told {
    #[serde(rename = "match")]
    pattern: String,
    /// Older gateways know no routes of users.
    user: Option<String>,
    clusters: Vec<String>,
    by: String,
}

/// The routes of the gateway whose HTTP side is at `admin`.
///
/// # Errors
/// It does not answer, or not as one; a sentence.
pub async fn ask_routes(
    admin: &str,
    ca_file: Option<&Path>,
    token: Option<&str>,
) -> Result<Vec<RouteRule>, String> {
    let base = admin.trim_end_matches('/');
    let client = HttpClient::new(base, ca_file).map_err(|why| format!("--admin {base}: {why}"))?;
    let asked = client.exchange(Method::GET, &format!("{base}/api/routes"), token, None, PATIENCE).await;
    let response = asked.map_err(|why| format!("hotgate at {base}: {why}"))?;
    if response.status != 200 {
        let answer = String::from_utf8_lossy(&response.body);
        return Err(format!(
            "hotgate at {base} answered {} to /api/routes, expected 200: {}",
            response.status,
            answer.trim_end()
        ));
    }
    let answer: Answer = serde_json::from_slice(&response.body)
        .map_err(|error| format!("what is at {base} does not tell routes as hotgate does: {error}"))?;
    let rule = |told: Told| RouteRule::of_names((told.user, told.pattern), told.clusters, told.by);
    Ok(answer.routes.into_iter().map(rule).collect())
}
