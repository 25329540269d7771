//! The replies to refused operations.
//!
//! An operation that the quota itself refused (nothing left, too large, paused) gets the reply that the quota configures. An
//! operation that is refused because nobody can decide (Redis is away, the limit cannot be read) always gets an error:
//! "sold out" and "unknown" must not look alike.
//!
//! Keys in errors have every byte outside printable ASCII escaped as `\xNN`, and are cut at [`KEY_BYTES_SHOWN_MAX`]: an
//! error is one line, and a key may be 512 MiB.

use std::fmt::Write;

use crate::{
    combine::{Cause, Refusal},
    config::QuotaReply,
    resp::{RespVersion, encode},
};

/// The beginning of a key that an error shows; more is cut and marked by three dots.
const KEY_BYTES_SHOWN_MAX: usize = 128;

/// The key as an error shows it, with its quotes.
pub(super) fn shown(key: &[u8]) -> String {
    let (cut, dots) =
        if key.len() > KEY_BYTES_SHOWN_MAX { (KEY_BYTES_SHOWN_MAX, "...") } else { (key.len(), "") };
    format!("'{}{dots}'", key[..cut].escape_ascii())
}

/// Writes the reply to an operation that the quota refused. `value` is the counter's, if it is known; without it a client
/// that was to get it gets the error.
pub(super) fn write_judgement(
    reply: QuotaReply,
    error: &str,
    value: Option<i64>,
    version: RespVersion,
    out: &mut Vec<u8>,
) {
    match (reply, value) {
        (QuotaReply::Nil, _) => encode::null(out, version),
        (QuotaReply::Integer(number), _) => encode::integer(out, number),
        (QuotaReply::Value, Some(value)) => encode::integer(out, value),
        (QuotaReply::Error, _) | (QuotaReply::Value, None) => encode::error(out, error),
    }
}

/// The error for a refusal, without the leading `-`. `window_ms` is the length of the window that refused.
pub(super) fn error_text(key: &[u8], refusal: &Refusal, window_ms: Option<u64>) -> String {
    let (key, limit) = (shown(key), refusal.limit);
    match refusal.cause {
        Cause::Ceiling => format!("QUOTA limit of {limit} reached for {key}"),
        Cause::Floor => format!("QUOTA floor of {limit} reached for {key}"),
        Cause::Window(_) => {
            let mut per = String::new();
            if let Some(window_ms) = window_ms {
                // Writing to a string cannot fail.
                let _ = write!(per, " per {:?}", std::time::Duration::from_millis(window_ms));
            }
            format!("QUOTA limit of {limit}{per} reached for {key}")
        }
        Cause::Paused => format!("QUOTA paused by an operator for {key}"),
        Cause::TooLarge => format!("QUOTA value or increment beyond {limit} for {key}"),
    }
}

/// The error while Redis is away and the quota refuses then.
pub(super) fn unavailable_text(key: &[u8]) -> String {
    format!("QUOTA cannot be checked for {}: Redis is not available", shown(key))
}

/// The error when the quota cannot be applied.
pub(super) fn fault_text(key: &[u8], fault: &str) -> String {
    format!("QUOTA cannot be applied for {}: {fault}", shown(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_worded() {
        let check = |key: &[u8], cause, limit, window_ms, expect: &str| {
            let refusal = Refusal { cause, limit, value: 7 };
            assert_eq!(error_text(key, &refusal, window_ms), expect);
        };
        let key = b"sku:8421:reserved";
        check(key, Cause::Ceiling, 1_000_000, None, "QUOTA limit of 1000000 reached for 'sku:8421:reserved'");
        check(b"stock", Cause::Floor, 0, None, "QUOTA floor of 0 reached for 'stock'");
        check(b"k", Cause::Window(0), 5, Some(1000), "QUOTA limit of 5 per 1s reached for 'k'");
        check(b"k", Cause::Window(0), 5, Some(250), "QUOTA limit of 5 per 250ms reached for 'k'");
        check(b"k", Cause::Paused, 5, None, "QUOTA paused by an operator for 'k'");
        check(
            b"k",
            Cause::TooLarge,
            1 << 52,
            None,
            "QUOTA value or increment beyond 4503599627370496 for 'k'",
        );
        check(b"a'\r\n\xff", Cause::Ceiling, 1, None, "QUOTA limit of 1 reached for 'a\\'\\r\\n\\xff'");
        let long = unavailable_text(&[b'x'; 1000]);
        assert_eq!(
            long,
            format!("QUOTA cannot be checked for '{}...': Redis is not available", "x".repeat(128))
        );
        assert_eq!(fault_text(b"k", "no"), "QUOTA cannot be applied for 'k': no");
    }

    #[test]
    fn every_reply_in_both_versions() {
        let check = |reply, value, version, expect: &str| {
            let mut out = Vec::new();
            write_judgement(reply, "QUOTA full", value, version, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        };
        for version in [RespVersion::Resp2, RespVersion::Resp3] {
            check(QuotaReply::Error, Some(7), version, "-QUOTA full\r\n");
            check(QuotaReply::Value, Some(7), version, ":7\r\n");
            check(QuotaReply::Value, None, version, "-QUOTA full\r\n");
            check(QuotaReply::Integer(-1), Some(7), version, ":-1\r\n");
        }
        check(QuotaReply::Nil, Some(7), RespVersion::Resp2, "$-1\r\n");
        check(QuotaReply::Nil, Some(7), RespVersion::Resp3, "_\r\n");
    }
}
