//! The certificates in force as rows for operators.

use super::view::CertificateView;
use crate::shared::certificates::CertificatesInUse;

/// A row for each certificate, or one for a use of TLS that shows none. What could not be taken over stands in the first of its table.
pub fn rows(in_use: &[CertificatesInUse], unix_ms: u64) -> Vec<CertificateView> {
    let now_s = (unix_ms / 1000) as i64;
    let rows = in_use.iter().flat_map(|used| {
        let row = move |place: usize| CertificateView {
            table: used.table.to_owned(),
            file: used.shown.get(place).map(|shown| shown.file.display().to_string()),
            expires_in_s: used.shown.get(place).and_then(|shown| Some(shown.expires_unix_s? - now_s)),
            refused: used.refused.clone().filter(|_| place == 0),
        };
        (0..used.shown.len().max(1)).map(row)
    });
    rows.collect()
}
