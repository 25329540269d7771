//! Reservations: a sale gives a bounded number of places to users, and each user holds his once.
//!
//! # What is kept, and why in one slot
//!
//! A sale is one SKU. How many places are taken, who holds them and what happened change together or not at all. Redis changes
//! several keys in one atomic step only if they are in one slot. So all keys of a sale are in the slot of its SKU. Two
//! systems, one for the count and one for the holders, differ after every lost reply; one does not.
//!
//! That costs no parallelism. The count of a sale is one number, so the grants of one sale are one after the other wherever it is. What a
//! node can do for one sale is raised by batches: many operations travel as one call ([`ReserveCall`]). Different sales are in different slots.
//!
//! | key | what | goes |
//! |---|---|---|
//! | `{tag}hotgate:sale:<sku>` | hash: terms, counts, the last flush of each gateway | with DROP, last |
//! | `...sale.holders.<n>:<sku>` | hash: user to holding, at most about 50 a bucket | with DROP |
//! | `...sale.pages.<n>:<sku>` | hash: 128 places in line to users | with DROP; an entry with its holding |
//! | `...sale.due:<sku>` | sorted set of the seconds in which holds end | with DROP; a second when it is over |
//! | `...sale.due.<second>:<sku>` | list of the places in line whose hold ends then | when it is over |
//! | `...sale.ids.<n>:<sku>` | hash: user to the ids of his ADDs, at most 32 | with DROP |
//! | `...sale.ledger:<sku>` | stream of what happened | with DROP; its reader trims it |
//!
//! `tag` is three letters that hash to the SKU's slot ([`crate::combine::slot_tag`]).
//!
//! # How ten million holders fit
//!
//! One hash of ten million fields stalls Redis when it grows, cannot be moved to another node, and takes several times the memory of its
//! content. So holders are in buckets that are small enough for Redis's compact form (a listpack). The bucket of a user follows from
//! his SHA-1. The number of buckets grows one by one with the holders (*linear hashing*, Litwin 1980): when the
//! mean is above 24, the next bucket in turn is split in two. A holding has four bytes of the SHA-1, so that a split, which looks at twice as many
//! users as have come since the last, hashes none; and of the user of an operation the gateway tells it. So an operation costs the same at ten
//! holders and at ten million, and no operation pays for more than a few splits of fifty fields. Buckets never become fewer.
//!
//! Every holder has a place in line, `seq`, given in order and never twice. A page has 128 of them, so reading on behind a
//! `seq` finds its page by division: the last page costs what the first does.
//!
//! # Time
//!
//! Redis's clock decides, read once per call. A hold that is over ends when somebody looks at its holder, when a call takes back holds that
//! are over (32 of them at most; 32 more where a place is missing), and when the sweeper calls without an operation. Those that end in one
//! second are one list, so that ending them needs no search. A list entry is compared with the holding, so a confirmed or cancelled hold leaves
//! its entry behind and that is dropped. Where more holds are over than a call may take back and no place is free, the operation is told to
//! try again ([`OpResult::TryAgain`]): it is not sold out.
//!
//! # Exactly once
//!
//! A flush has a token: gateway and sequence. The sale remembers each gateway's last one with its results, in the step that applies it. A
//! flush that is sent again because the connection broke gets those results and changes nothing; one that is older than the last is
//! refused (`STALE`). The argument is that of [`crate::combine`]: one flush per sale and gateway is in flight. What no gateway repeats any more (older than
//! ten minutes) is forgotten when a 65th gateway comes.
//!
//! Clients repeat as well. An ADD without an id finds the user's holding and returns it. One with an id finds the id. CONFIRM finds the places
//! confirmed. So a lost reply is no lost place, and no second one.
//!
//! # A slot that moves
//!
//! Redis moves a slot key by key. Meanwhile a script on the new node sees a key that is still on the old one as one that does not exist.
//! So each bucket, page and sorted set has a field (its name is empty) from its first moment on, and the stream exists
//! while it is empty. One that is missing is elsewhere: the script writes nothing and returns `TRYAGAIN`. On the old node, the server itself refuses
//! what is not there, and a script asks for each key that it will write, even a new one, before it writes the first.
//!
//! # Terms
//!
//! - Holding again under a new id renews the end of what the user holds; what is confirmed stays so.
//! - CANCEL with a count takes from what is held before what is confirmed.
//! - A user has 32 ids; the 33rd is refused (`PERUSER`).
//! - The ledger has 10,000,000 entries at most. An ADD that would be one more is refused (`LEDGERFULL`); other operations are not.
//!
//! # The ledger
//!
//! Entries are numbered from 1 on without a gap: the number is the entry's id in the stream. It is counted in the sale's numbers, in the step that
//! writes the entry. So a reader that misses one knows, whatever a failover, a clock or a hand did. Each has what the holding is behind it, so a
//! reader may apply one twice. The reader says up to which entry it has them for good ([`LedgerStatus`]); the sale keeps that beside the count,
//! so a grant sees without a further look whether too many are unread. Two sales of one name are told apart by when they were opened.
//!
//! # What it deliberately does not do
//!
//! No IO, no clock, no retries, no queue, and no choice of what is asked when: it names keys, reads commands, writes calls and reads their
//! replies.

mod call;
mod command;
mod ledger;
mod moving;
mod names;
mod op;
mod page;
mod refusal;
mod reply;
mod report;
mod result;
mod scripts;
mod terms;
mod words;

pub use call::ReserveCall;
pub use command::{ReserveCommand, StateFilter};
pub use ledger::{
    LedgerStatus, RestoredRow, encode_ledger, encode_restore_begin, encode_restore_end, encode_restore_rows,
    encode_whole_rows, whole_rows,
};
pub use moving::{
    DROPPED_PER_STEP_MAX, Departure, MOVED_PER_STEP_MAX, encode_drop, encode_move_out, steps_left,
};
pub use names::{
    REGISTRY_SHARDS, bucket_of, ledger_key, registry_key, registry_mark, registry_shard, sale_key, sku_of,
};
pub use op::{OPS_PER_CALL_MAX, OpKind, ReserveOp};
pub use page::{ListPart, ROWS_PER_CALL_MAX, Row, encode_list};
pub use refusal::Refusal;
pub use reply::write_op_reply;
pub use report::{HALTED_NAMED_MAX, LedgerReport, report_key};
pub use result::{Figures, FlushResults, HoldingState, OpResult, SalePhase, SaleState, is_try_again};
pub use scripts::{COMMANDS, KEY_PATTERN, Script, open_result};
pub use terms::{ID_BYTES_MAX, LIMIT_MAX, OpenTerms, USER_BYTES_MAX};
