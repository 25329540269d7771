//! What a sale says of itself to an operator's commands: how its ledger stands, and its terms.
//!
//! Changes nothing, and compares nothing.

use super::asker::Asker;
use super::names::text_of;
use super::store::TermsRow;
use crate::reserve::{
    FlushResults, LedgerStatus, OpKind, OpResult, Refusal, ReserveCall, ReserveOp, SalePhase, encode_ledger,
    sale_key,
};

/// How a sale's ledger stands in Redis; `None` where there is no such sale.
///
/// # Errors
/// Redis does not say.
pub async fn status_of(asker: &mut Asker, sku: &[u8]) -> Result<Option<LedgerStatus>, String> {
    let key = sale_key(sku);
    let reply = asker.call(sku, |with_body, out| encode_ledger(&key, None, with_body, out)).await?;
    match LedgerStatus::parse(&reply) {
        Some(Ok(status)) => Ok(Some(status)),
        Some(Err(Refusal::NoSku)) => Ok(None),
        _ => Err("Redis says nothing of the sale that can be read".to_owned()),
    }
}

/// The terms that the sale has now, and its phase. Whether one that has moved was closed, it does not say.
///
/// # Errors
/// Redis does not say.
pub async fn terms_of(
    asker: &mut Asker,
    sku: &[u8],
    status: &LedgerStatus,
) -> Result<(TermsRow, SalePhase), String> {
    let key = sale_key(sku);
    let ops = [ReserveOp::on(OpKind::Info, b"")];
    let reply = asker
        .call(sku, |with_body, out| {
            let call = ReserveCall { sale_key: &key, gateway: b"ledger", sequence: None, with_body };
            call.encode(ops.iter(), out);
        })
        .await?;
    let figures = FlushResults::parse(&reply, 1).and_then(|mut results| results.next());
    let Some(OpResult::Figures(figures)) = figures else {
        return Err("Redis gives no figures of the sale that can be read".to_owned());
    };
    let terms = TermsRow {
        limit: figures.limit,
        per_user: figures.per_user,
        start_ms: figures.start_ms,
        end_ms: figures.end_ms,
        hold_ms: figures.hold_ms,
        holders_of: text_of(figures.holders_of),
        is_closed: figures.phase == SalePhase::Closed,
        is_on: figures.ledger,
        entry: status.last,
    };
    Ok((terms, figures.phase))
}
