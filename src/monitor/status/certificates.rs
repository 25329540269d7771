//! Certificates: what expires soon, and what could not be taken over.

use super::{Findings, Level, duration_s};
use crate::monitor::view::CertificateView;

/// A certificate with less time than this is worth a warning, in seconds: 14 days. Those that are renewed by a program are renewed
/// long before.
const EXPIRES_SOON_S: i64 = 14 * 86_400;

pub(super) fn judge(certificates: &[CertificateView], found: &mut Findings) {
    for certificate in certificates {
        let CertificateView { table, file, expires_in_s, refused } = certificate;
        if let Some(why) = refused {
            found.add(Level::Warning, format!("[{table}] keeps its former certificates: {why}."));
        }
        let (Some(file), Some(expires_in_s)) = (file, *expires_in_s) else { continue };
        let left = duration_s(expires_in_s.unsigned_abs() as f64);
        if expires_in_s <= 0 {
            let who = if table == "upstream" { "servers" } else { "clients" };
            let sentence =
                format!("The certificate {file} of [{table}] expired {left} ago: {who} may refuse it.");
            found.add(Level::Critical, sentence);
        } else if expires_in_s < EXPIRES_SOON_S {
            found.add(Level::Warning, format!("The certificate {file} of [{table}] expires in {left}."));
        }
    }
}
