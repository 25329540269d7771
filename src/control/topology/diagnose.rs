//! Says what stands at an address that cannot serve as an upstream, and what to change.
//!
//! Mostly it reads replies that are there already. Only if a server closes the connection without a word is it asked again,
//! with a TLS greeting, because such a server usually expects TLS; and one with which there is no TLS session is asked plainly.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::info::field;
use crate::control::upstream_client::UpstreamError;
use crate::net::connect;
use crate::shared::topology::Address;

/// The types of TLS records that answer a greeting: an alert, and a handshake (RFC 8446, section 5.1).
const TLS_ANSWERS: [u8; 2] = [0x15, 0x16];

/// Cipher suites of the greeting. Any server that speaks TLS answers, be it with an alert.
const CIPHER_SUITES: [u8; 8] = [0x13, 0x01, 0xc0, 0x2f, 0xc0, 0x30, 0x00, 0x2f];

/// Whether a server that says this of itself in `INFO server` keeps data for us.
///
/// # Errors
/// Says what it is instead, and what to do: a Sentinel, or the gateway `own_id` itself.
pub fn check_identity(info_server: &str, own_id: &str) -> Result<(), String> {
    if field(info_server, "redis_mode") == Some("sentinel") {
        return Err(
            "it is a Sentinel, which keeps no data: set upstream.kind = \"sentinel\" and upstream.master, or name the master that \
             it watches in upstream.servers"
                .to_owned(),
        );
    }
    if field(info_server, "run_id").is_some_and(|id| id == own_id) {
        return Err("it is this gateway itself: name the Redis behind it in upstream.servers".to_owned());
    }
    Ok(())
}

/// A sentence, if a server that should take writes is a replica. It was named in the configuration, or by Sentinels.
pub fn replica_of(address: &Address, replication: &str, named_by_sentinels: bool) -> Option<String> {
    let master = match (field(replication, "role")?, field(replication, "master_host")) {
        ("slave", Some(host)) => {
            format!("{host}:{}", field(replication, "master_port").unwrap_or_default())
        }
        _ => return None,
    };
    Some(match named_by_sentinels {
        true => format!(
            "{address}, which the Sentinels name as the master, is a replica of {master}: every write fails until they have settled \
             it (SENTINEL MASTER shows what they know)"
        ),
        false => {
            format!(
                "{address} is a replica of {master}: every write fails; name the master in upstream.servers"
            )
        }
    })
}

/// A clause, if a server reads its data from disk and refuses everything meanwhile.
pub fn loading(address: &Address, info: &str) -> Option<String> {
    (field(info, "loading") == Some("1")).then_some(())?;
    let left = field(info, "loading_eta_seconds").map_or(String::new(), |s| format!(", {s} s to go"));
    let done =
        field(info, "loading_loaded_perc").and_then(|percent| percent.split('.').next()).unwrap_or("0");
    Some(format!("{address} is loading its data: {done} %{left}"))
}

/// Why a server gave no usable answer, and what to do where that is known.
pub fn explain(error: &UpstreamError) -> String {
    match error {
        UpstreamError::Auth(text) => {
            format!("it refuses the gateway's password ({text}): set upstream.user and upstream.password")
        }
        UpstreamError::Refused(text) if text.starts_with("NOAUTH") => {
            format!("it wants a password ({text}): set upstream.password")
        }
        UpstreamError::Refused(text) if text.starts_with("BUSY") => {
            "it is busy with a script that does not end: SCRIPT KILL ends it".to_owned()
        }
        other => other.to_string(),
    }
}

/// Whether a server that broke the connection speaks TLS: it is greeted in TLS, and what it answers is looked at.
pub async fn speaks_tls(address: &Address, patience: Duration) -> bool {
    let exchange = async {
        let mut stream = connect(address, None).await.ok()?;
        stream.write_all(&client_hello()).await.ok()?;
        stream.read_u8().await.ok()
    };
    timeout(patience, exchange).await.is_ok_and(|first| first.is_some_and(|byte| TLS_ANSWERS.contains(&byte)))
}

/// Whether a server with which there is no TLS session speaks the Redis protocol without it.
pub async fn speaks_plainly(address: &Address, patience: Duration) -> bool {
    let exchange = async {
        let mut stream = connect(address, None).await.ok()?;
        stream.write_all(b"PING\r\n").await.ok()?;
        stream.read_u8().await.ok()
    };
    timeout(patience, exchange).await.is_ok_and(|first| first.is_some_and(|byte| b"+-".contains(&byte)))
}

/// The shortest greeting of a TLS client (RFC 5246, section 7.4.1.2).
fn client_hello() -> Vec<u8> {
    let mut body = vec![0x03, 0x03];
    body.extend_from_slice(&rand::random::<[u8; 32]>());
    body.extend_from_slice(&[0, 0, CIPHER_SUITES.len() as u8]);
    body.extend_from_slice(&CIPHER_SUITES);
    body.extend_from_slice(&[1, 0]);
    let (body_len, message_len) = (body.len() as u8, body.len() as u8 + 4);
    let mut record = vec![0x16, 0x03, 0x01, 0, message_len, 0x01, 0, 0, body_len];
    record.append(&mut body);
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_no_data_for_us_is_named() {
        let check = |info: &str, expect: Option<&str>| {
            let verdict = check_identity(info, "me");
            assert_eq!(verdict.as_ref().err().is_some(), expect.is_some(), "{info}");
            assert!(expect.is_none_or(|word| verdict.err().is_some_and(|why| why.contains(word))), "{info}");
        };
        check("redis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:other\r\n", None);
        check("", None);
        check("redis_mode:sentinel\r\nrun_id:other\r\n", Some("Sentinel"));
        check("redis_mode:standalone\r\nrun_id:me\r\n", Some("itself"));
    }

    #[test]
    fn a_replica_names_its_master() {
        let address = Address::new("10.0.0.3", 6379);
        let replication = "role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6380\r\n";
        let why = replica_of(&address, replication, false).unwrap_or_default();
        assert!(why.starts_with("10.0.0.3:6379 is a replica of 10.0.0.1:6380"), "{why}");
        assert_eq!(replica_of(&address, "role:master\r\n", false), None);
        assert_eq!(replica_of(&address, "", false), None);
    }

    #[test]
    fn a_server_that_loads_says_how_far_it_is() {
        let address = Address::new("10.0.0.3", 6379);
        let info = "role:master\r\nloading:1\r\nloading_loaded_perc:41.27\r\nloading_eta_seconds:12\r\n";
        assert_eq!(
            loading(&address, info).as_deref(),
            Some("10.0.0.3:6379 is loading its data: 41 %, 12 s to go")
        );
        assert_eq!(loading(&address, "role:master\r\nloading:0\r\n"), None);
    }
}
