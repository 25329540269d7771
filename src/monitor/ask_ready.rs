//! `hotgate check --ready`: asks a running gateway whether clients may come. A health check of containers and scripts needs no other
//! program for it.

use std::path::Path;
use std::time::Duration;

use hyper::Method;

use super::http_client::HttpClient;

/// How long the gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks `/readyz` below `admin`, which needs no token. `ca_file` has the authorities that are trusted where that is https.
///
/// # Errors
/// It is not ready, or does not answer; a sentence.
pub async fn ask_ready(admin: &str, ca_file: Option<&Path>) -> Result<(), String> {
    let base = admin.trim_end_matches('/');
    let client = HttpClient::new(base, ca_file).map_err(|why| format!("--admin {base}: {why}"))?;
    match client.exchange(Method::GET, &format!("{base}/readyz"), None, None, PATIENCE).await {
        Ok(response) if response.status == 200 => Ok(()),
        Ok(response) => {
            let answer = String::from_utf8_lossy(&response.body);
            Err(format!(
                "hotgate at {base} is not ready: it answered {} to /readyz: {}",
                response.status,
                answer.trim_end()
            ))
        }
        Err(why) => Err(format!("hotgate at {base}: {why}")),
    }
}
