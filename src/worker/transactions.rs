//! `EXEC` of a transaction on one hot key: it joins the queue of its key, if transactions of its shape fold.
//!
//! `MULTI` and what is queued are answered by the gateway in any case ([`super::session`]), so that at `EXEC` the transaction is whole, and
//! nothing of it has left. What folds, and why, is in [`crate::combine`]. One that does not fold goes the way of all others, past
//! the queues. Never folded: what is watched for, what the gateway has a part in, and what was refused before.

use super::client::transaction::{Transaction, TransactionState};
use super::flow::Flow;
use super::hot::{HotVerdict, Standing, Turn};
use super::names::ClientKey;
use super::owners::Worker;
use super::policy::Policy;
use super::resolve::{KeyAt, Resolved};
use crate::combine::{Verb, transaction_op};
use crate::limits::LONG_REQUEST_BYTES;

impl Worker {
    /// Remembers which keys a command names that an open transaction queues next.
    pub(super) fn note_queued_keys(&mut self, client: ClientKey, resolved: &Resolved<'_>) {
        let Some(client) = self.clients.all.get_mut(client) else { return };
        let Some(transaction) = client.session.transaction.queuing_mut() else { return };
        for key in &resolved.keys {
            let span = resolved.request.spans().get(key.position as usize).copied();
            transaction.note_key(key.hash, span.unwrap_or_default());
        }
    }

    /// What the policies make of an `EXEC`.
    pub(super) fn policy_of_exec(&mut self, client_key: ClientKey, resolved: &Resolved<'_>) -> Policy {
        let waits = self.has_combined(client_key);
        let watches = self.clients.all.get(client_key).is_some_and(|client| client.session.watch.is_on());
        let client = self.clients.all.get_mut(client_key);
        let taken = client.and_then(|client| client.session.transaction.take_queuing());
        let Some(transaction) = taken else {
            return if waits {
                Policy::Done(self.clients.wait_for_all(client_key))
            } else {
                Policy::Go(None)
            };
        };
        let key_hash = transaction.key_hashes.first().copied();
        let verdict = match transaction
            .only_key()
            .filter(|_| !watches && !transaction.as_user && transaction.may_fold())
        {
            Some((hash, name)) => self.fold_transaction(client_key, resolved, &transaction, (hash, name)),
            None => {
                let hashes = &transaction.key_hashes;
                hashes.iter().for_each(|hash| self.hot.note_unfolded(*hash, resolved.command));
                None
            }
        };
        if let Some(client) = self.clients.all.get_mut(client_key) {
            if !matches!(verdict, Some(HotVerdict::Combined(_))) {
                client.session.transaction = TransactionState::Queuing(transaction);
            }
            client.session.refresh_plain();
        }
        match verdict {
            Some(HotVerdict::Combined(_)) => Policy::Done(Flow::Next),
            Some(HotVerdict::AwaitRoom) => {
                let hash = key_hash.unwrap_or_default();
                Policy::Done(self.await_room_of(client_key, hash))
            }
            Some(HotVerdict::Wait) => Policy::Done(self.clients.wait_for_all(client_key)),
            Some(HotVerdict::Barrier) if !waits => Policy::GoAsBarrier(None),
            // What may touch any key waits for what is in queues.
            _ if waits => Policy::Done(self.clients.wait_for_all(client_key)),
            _ => Policy::Go(None),
        }
    }

    /// Takes a transaction on one key into the queue of that. `None` where the key is no hot one.
    fn fold_transaction(
        &mut self,
        client_key: ClientKey,
        resolved: &Resolved<'_>,
        transaction: &Transaction,
        (hash, name): (u64, &[u8]),
    ) -> Option<HotVerdict> {
        let slot = transaction.slot?;
        let key = KeyAt { position: 0, slot, hash };
        if !self.hot.knows(name, hash)
            && (self.hot.is_under_quota(name, hash)
                || !self.hot.begin_by_rule(&mut self.core, name, key.id()))
        {
            return None;
        }
        if self.hot.entry(hash).is_some_and(|entry| entry.passes()) {
            let client = self.clients.all.get_mut(client_key)?;
            let may_pass = client.may_pass(self.hot.pass_epoch());
            let standing = Standing { may_pass, is_queued: client.combined > 0 };
            return match self.hot.take_turn(&self.core, hash, true, standing) {
                Turn::Goes(verdict) => Some(verdict),
                Turn::Folds => None,
            };
        }
        if let Some(client) = self.clients.all.get_mut(client_key) {
            client.replies.begin_transaction(transaction.runs.clone());
        }
        let is_short = transaction.commands.len() < LONG_REQUEST_BYTES && !self.hot.is_copied(name, hash);
        let op = if is_short { transaction_op(&transaction.commands) } else { None };
        Some(self.combine(client_key, resolved, (key, name), op.map(|op| (op, Verb::default()))))
    }
}
