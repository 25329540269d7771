//! Sales that Redis does not have any more: dropped, or lost with all that Redis had.
//!
//! A sale that is dropped was closed before, and the database knows it. One that nobody closed and that has holders was lost: by a FLUSHALL, a server that came
//! back empty, a failover to a replica that never had it. That is said as a gap is, until the sale is there again (`hotgate ledger restore`) or its
//! holders are given up (`hotgate ledger resync`). Of one that was closed nobody can tell; `hotgate ledger verify` names it.

use bytes::Bytes;

use super::counts::Cause;
use super::follower::Follower;
use super::registry;
use super::store::{Position, StoreError};

/// Of a sale whose name has another one now.
pub(super) const ROWS_STAY: &str = "the rows of the one before stay, with its time of opening";

impl Follower {
    /// Redis says that it has no such sales.
    pub(super) async fn take_gone(&mut self, gone: Vec<Bytes>) -> Result<(), StoreError> {
        for stream in gone {
            let Some(sale) = self.sales.get(&stream).filter(|sale| sale.lost.is_none()) else { continue };
            let is_unlisted = registry::lacks(&self.registry, &sale.sku);
            let (text, opened_ms) =
                (sale.text.clone(), sale.position.as_ref().map(|position| position.opened_ms));
            let holders = match opened_ms {
                Some(opened_ms) if self.open_sales.contains(&text) => self.holders(&text, opened_ms).await?,
                _ => 0,
            };
            match holders {
                0 if is_unlisted => drop(self.sales.remove(&stream)),
                0 => {}
                holders => self.lose_sale(&stream, holders),
            }
        }
        Ok(())
    }

    /// A sale of this name was opened anew, and nobody had closed the one before.
    pub(super) async fn take_opened_anew(&mut self, text: &str, before: &Position) -> Result<(), StoreError> {
        let opened_ms = before.opened_ms;
        match self.holders(text, opened_ms).await? {
            0 => tracing::info!(sku = text, "a sale of this name was opened anew; {ROWS_STAY}"),
            holders => {
                self.counts.error(Cause::Gap);
                tracing::error!(
                    sku = text,
                    "a sale of this name was opened anew, and Redis has lost the one of unix-ms {opened_ms} with {holders} holders; {ROWS_STAY}"
                );
            }
        }
        Ok(())
    }

    async fn holders(&mut self, text: &str, opened_ms: i64) -> Result<i64, StoreError> {
        let mut store = self.take_store()?;
        let holders = self.while_reporting(store.holders(text, opened_ms)).await?;
        self.give_store(store);
        Ok(holders)
    }

    fn lose_sale(&mut self, stream: &Bytes, holders: i64) {
        let Some(sale) = self.sales.get_mut(stream) else { return };
        let why = format!(
            "Redis does not have the sale any more, nobody closed it, and the database has {holders} holders"
        );
        tracing::error!(
            sku = sale.text,
            "lost: {why}; give them back with `hotgate ledger restore`, or stop the ledger and give them up with `hotgate ledger resync`"
        );
        sale.lost = Some(why);
        self.counts.error(Cause::Gap);
    }
}
