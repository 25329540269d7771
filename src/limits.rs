//! The bounds of the data path and of the mailboxes between threads: what each is derived from, and what happens at it.
//!
//! Bounds that an operator sets are in [`crate::config`]. Bounds of a leaf, of the journal, of the control thread or of monitoring
//! stand where they are used. So does a time that concerns one place.

use std::time::Duration;

// Time, in which several directories have to agree.

/// The step of detection and of housekeeping. Once per slice each worker hands over its counts, publishes its tallies and checks
/// time limits. A hot key is noticed within two slices.
pub const SLICE: Duration = Duration::from_millis(100);

/// Slices of the longest window. Each costs every key that is remembered one cell of its history, and the control thread
/// one look at it. The configuration refuses a longer window.
pub const WINDOW_SLICES_MAX: usize = 20;

// Reading, from clients and from nodes alike.

/// Bytes of the scratch buffer. Each worker has one: it is the most that one read takes while nothing is unfinished. A
/// pipeline of 64 short commands is about 3 KiB, and 50 clients' replies of one tick about 64 KiB. More stays in the
/// socket for the next read.
pub const SCRATCH_BYTES: usize = 64 * 1024;

/// The least room made behind an unfinished frame before reading on, so that a frame that grows with what arrives is not
/// read in crumbs.
pub const READ_BYTES_MIN: usize = 16 * 1024;

/// Room is made for an announced frame at once up to this size; a larger one grows with what really arrives, so that
/// announcing a huge length costs the sender the bytes as well.
pub const RESERVE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Reads from one connection in a row: eight times the scratch buffer is enough to empty a full socket buffer. Then other
/// tasks get their turn, and the connection is read on after them.
pub const READS_PER_TURN_MAX: usize = 8;

// `usize::clamp` panics on bounds that are the wrong way round.
const _: () = assert!(READ_BYTES_MIN <= RESERVE_BYTES_MAX);

// The input of a client.

/// The longest line of an inline request, or of a count in a request, in bytes (`PROTO_INLINE_MAX_SIZE` of Redis). Beyond it
/// the client gets a protocol error and is closed.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// While a client has to wait, what it sends is still read until this much is kept, so that its leaving is noticed. Then it
/// is not read any more, and what it sends stays in its socket.
pub const READ_AHEAD_BYTES_MAX: usize = 16 * 1024;

/// A request of at least this many bytes keeps its own allocation instead of being copied into the log of its connection.
/// Below it the copy is cheaper than one more entry in the list of slices.
pub const LARGE_REQUEST_BYTES: usize = 16 * 1024;

/// A request of at least this many bytes, about 8 ms of a network of 1 Gbit/s, takes the other connection to its node, so that nobody else's
/// waits behind it. Its client goes on when it has been answered.
pub const LONG_REQUEST_BYTES: usize = 1024 * 1024;

/// Channels and patterns that one client may be subscribed to. Beyond it `SUBSCRIBE` is refused. Redis has no such bound, but
/// here each name is held twice.
pub const SUBSCRIPTIONS_MAX: usize = 16_384;

/// Commands that one transaction may queue. Beyond it queueing is refused and `EXEC` aborts.
pub const TRANSACTION_COMMANDS_MAX: usize = 65_536;

/// Bytes of the commands of one transaction, which are 1 KiB for each of as many as there may be. The same happens beyond it.
pub const TRANSACTION_BYTES_MAX: usize = 64 * 1024 * 1024;

// A read that fills the scratch buffer is the last of a client that waits.
const _: () = assert!(READ_AHEAD_BYTES_MAX <= SCRATCH_BYTES);
// A request that does not fit into the scratch buffer is forwarded without another copy, and so is every long one.
const _: () = assert!(LARGE_REQUEST_BYTES <= SCRATCH_BYTES && SCRATCH_BYTES <= LONG_REQUEST_BYTES);
// A request in flight counts its bytes and the replies that come before its own in 32 bits. A transaction travels as one,
// with a reply for each command and one for `MULTI`.
const _: () = assert!(TRANSACTION_BYTES_MAX <= u32::MAX as usize / 2);
const _: () = assert!(TRANSACTION_COMMANDS_MAX < u32::MAX as usize);

// The output of a client.

/// A client is not served further while more than this share, one in so many, of `limits.client_output_buffer_max` is used:
/// the rest is for the replies to what is in flight. Of large replies as much as another such share is in flight.
pub const OUTPUT_SHARE_SERVED: usize = 4;

/// A client that has not logged in and does not take its replies is closed once this much of them waits, so that
/// `gateway.unauthenticated_clients_max` of them hold 80 MiB at the most where each may have 16 KiB. Redis allows 1 KiB: here one reads up to
/// [`SCRATCH_BYTES`] of requests before it writes, and who reads is never closed.
pub const STRANGER_OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// Requests of a client that may be under way before anything is known of its replies. Eight of 4 MiB are the default of
/// `limits.client_output_buffer_max`.
pub const WINDOW_REQUESTS_MIN: usize = 8;

/// A held reply up to this size costs no allocation. A counter's has at most 23 bytes: a colon, a sign and 19 digits, and the
/// end of the line. A longer one gets an allocation of its own.
pub const HELD_INLINE_BYTES_MAX: usize = 30;

/// An empty output buffer larger than this is given back, so that ten thousand clients that each had a burst hold 40 MiB at
/// the most.
pub const OUTPUT_KEPT_BYTES_MAX: usize = 4 * 1024;

/// What a list or a buffer may keep for its next use while it is empty. Of a client or a connection that has nothing under way
/// it is looked at ten times a second, or less often if there are more than a thousand of them.
pub const KEPT_BYTES_MAX: usize = 4 * 1024;

/// A reply of at least this many bytes is passed on as the buffer that it was read into; a shorter one is cheaper to copy.
pub const LARGE_REPLY_BYTES: usize = 16 * 1024;

/// A reply that needs at least this many bytes more makes clients that have nothing unsettled take the other connection.
pub const LONG_REPLY_BYTES: usize = 1024 * 1024;

// Its length is kept in one byte, and a counter's reply fits.
const _: () = assert!(23 <= HELD_INLINE_BYTES_MAX && HELD_INLINE_BYTES_MAX <= u8::MAX as usize);
// A reply that does not fit into the scratch buffer is passed on without another copy, and so is every long one.
const _: () = assert!(LARGE_REPLY_BYTES <= SCRATCH_BYTES && SCRATCH_BYTES <= LONG_REPLY_BYTES);

// Upstream connections. How many requests and bytes may be on one is `upstream.inflight_max` and `.output_buffer_max`.

/// Slices given to one `writev`, to a client or to a node. Linux takes up to 1,024 (`IOV_MAX`), and more than a few dozen
/// bring nothing. What is left goes with the next call.
pub const SLICES_MAX: usize = 32;

/// The longest line of a reply, in bytes: a status, an error, a number. Redis's own have a few hundred bytes; a script or module
/// can make longer ones, but nothing in use does. Beyond it the reply is given up, and the connection with it.
pub const REPLY_LINE_BYTES_MAX: usize = 1024 * 1024;

/// The longest line that announces a length or a count in a reply, in bytes: a sign and 19 digits fit.
pub const REPLY_HEADER_BYTES_MAX: usize = 32;

/// The log of requests is moved to its front only when at least this much dead space has come before the oldest request, so
/// that a busy connection moves each byte less than once on average.
pub const LOG_COMPACT_BYTES_MIN: usize = 64 * 1024;

/// An empty log larger than this is given back: a connection that had a burst holds no more.
pub const LOG_KEPT_BYTES_MAX: usize = 16 * LOG_COMPACT_BYTES_MIN;

/// Clean connections kept per node for the next session that needs one. More than these are closed when they come back.
pub const SPARES_PER_NODE_MAX: usize = 16;

/// Silent connections of one node about which one question asks it. Few are silent while a node lives, and those beyond it
/// are asked about when others of them are not silent any more.
pub const UPSTREAM_CONNECTIONS_ASKED_MAX: usize = 64;

/// Pairs of node and script that one worker knows to be loaded, about 2 MiB. Beyond it all are forgotten, which costs each
/// script one pause in a pipeline.
pub const LOADED_SCRIPTS_MAX: usize = 16_384;

const _: () = assert!(SLICES_MAX <= 1024);
// A line is read into the scratch buffer first, and then in pieces.
const _: () = assert!(REPLY_HEADER_BYTES_MAX < SCRATCH_BYTES && SCRATCH_BYTES <= REPLY_LINE_BYTES_MAX);
// Were every script that is kept in use at one node, they would be forgotten again and again.
const _: () = assert!(LOADED_SCRIPTS_MAX >= SCRIPTS_MAX);

// Hot keys. How many operations may wait for one is `combine.pending_max` and `write_behind.pending_max`.

/// Accesses per second of one worker up to which each is recorded. A worker that does more has no time to spare, and one in
/// a few of so many tells as much: beyond it a sample is recorded.
pub const RECORDED_PER_SECOND_MAX: u64 = 500_000;

/// Keys that a worker combines up to which rules alone may add one. Beyond it further ones are passed through, which is
/// always right.
pub const RULED_KEYS_MAX: usize = 4096;

/// The longest name, in bytes, of a key that a rule has combined or in write-behind mode. Several copies of it are kept for as
/// long as the key is: with as many keys as there may be, four are 64 MiB. A key with a longer one is passed through, which is
/// always right.
pub const RULED_NAME_BYTES_MAX: usize = 4096;

/// Verdicts on keys that are remembered, by the lowest bits of their hashes: 32 bytes each for the rules, so 256 KiB a
/// worker, and half of it for the quotas. A key whose place another has taken is judged again.
pub const KEY_VERDICTS: usize = 8192;

/// Bytes of values, fields and requests that the queue of one combined key holds, shared out among the workers. At the bound
/// clients are held back, as they are by a full connection; each worker goes beyond its share by one request, which is short.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Limit keys that are polled, one after the other. More of them are not read, and their counters refuse; at the usual tenth
/// of a millisecond for each, this many take as long as two rechecks.
pub const POLLED_KEYS_MAX: usize = 1024;

/// The highest limit of a quota and the highest value of a counter under one, 2^52: the script that grants counts in doubles, and
/// up to here sums and differences are exact. A limit beyond it is refused.
pub const QUOTA_VALUE_MAX: i64 = 1 << 52;

/// The most that a call of a script adds that is declared to count. A thousand thousand of them are a sum that Lua has exact.
pub const COUNTER_SCRIPT_BY_MAX: i64 = 1_000_000_000;

/// Counters under quotas without a row of their own of which a worker tells in one slice. More of them wait for the next.
pub const QUOTAS_TOLD_MAX: usize = 256;

/// Such lists that may wait for the control thread. At the bound workers keep theirs.
pub const QUOTA_NEWS_WAITING_MAX: usize = 64;

/// Sales of reservations whose home is one worker. Beyond it operations on others are refused, until one has been idle for a minute. A sale
/// that nobody waits for holds about 1 KiB.
pub const SALES_MAX: usize = 16_384;

/// Bytes of the operations of one call for a sale. A name of 100 bytes has 128 operations below 20 KiB; longer names make shorter calls.
pub const SALE_CALL_BYTES_MAX: usize = 64 * 1024;

/// Denials that wait to be told in `ACL LOG`. At the bound further ones are counted only.
pub const DENIALS_WAITING_MAX: usize = 1024;

/// Keys in write-behind mode of which one worker keeps a machine. Beyond it further ones are passed through, which is always
/// right.
pub const BEHIND_KEYS_MAX: usize = 16_384;

/// The longest read, in bytes, of whose reply a copy may be kept. A longer one goes the ordinary way.
pub const COPIED_REQUEST_BYTES_MAX: usize = 4096;

/// Reads under way in one worker whose replies are to be copied. Beyond it reads go the ordinary way.
pub const CACHE_FETCHES_MAX: usize = 1024;

/// Places for the moments at which keys were dropped from the copies, by the lowest bits of their hashes. Keys that share a
/// place only keep a reply from being stored now and then. 32 KiB a worker, once there is a copy.
pub const COPY_DROPS: usize = 4096;

/// Open keys of one client that are kept apart. Beyond it all keys are open, which costs a read more for each.
pub const OPEN_KEYS_MAX: usize = 16;

/// Keys whose reads one client awaits that are kept apart. Beyond it what the client reads is at least as new as the last of
/// them.
pub const AWAITED_KEYS_MAX: usize = 16;

// The lowest bits of a hash are a place.
const _: () = assert!(KEY_VERDICTS.is_power_of_two() && COPY_DROPS.is_power_of_two());
// A flush is a request in flight as well. With 64 workers it may have as much again.
const _: () = assert!(QUEUE_BYTES_MAX + 64 * LONG_REQUEST_BYTES <= u32::MAX as usize / 2);
// What the reads to be copied hold is 4 MiB at the most, and each goes into the log of its connection.
const _: () = assert!(CACHE_FETCHES_MAX * COPIED_REQUEST_BYTES_MAX <= 4 * 1024 * 1024);
const _: () = assert!(COPIED_REQUEST_BYTES_MAX < LARGE_REQUEST_BYTES);

// Between threads.

/// Messages that may wait for one worker. At the bound what another worker has for it stays there and is tried again, a
/// notice to subscribers is dropped, and the control thread waits.
pub const WORKER_MAILBOX_MAX: usize = 1024;

/// Commands of clients that may wait for the control thread. At the bound the client gets an error that says so.
pub const CONTROL_MAILBOX_MAX: usize = 1024;

/// Requests for a new topology that may wait. The keeper drains all of them before each refresh, so one more says nothing new
/// and is dropped.
pub const REFRESHES_WAITING_MAX: usize = 64;

/// Requests for rows of clients that may wait at one worker: two interactive askers, and a spare for each. The next asker
/// gets no rows from it.
pub const CLIENT_ROWS_WAITING_MAX: usize = 4;

/// Bytes of invalidations that wait for one other worker; one has a few dozen. Beyond it the clients are told to drop their
/// whole caches.
pub const BACKLOG_BYTES_MAX: usize = 1024 * 1024;

/// Changes of quotas that may wait for the control thread. They are typed by people, and each is a write to Redis. The next
/// one is refused.
pub const QUOTA_CHANGES_WAITING_MAX: usize = 16;

/// Scripts whose bodies are kept for the process. At the bound no more are: the client of a script beyond it may see
/// `NOSCRIPT`, as from Redis itself.
pub const SCRIPTS_MAX: usize = 4096;

/// Bytes of all those bodies together, 4 KiB each on average. The same happens at the bound.
pub const SCRIPT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Combined keys, cached keys, and quota keys, that a worker tallies one by one; what is beyond shares one row. 256 rows are
/// 48 KiB to copy, ten times a second.
pub const KEYS_TALLIED_MAX: usize = 256;
