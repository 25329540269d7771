//! hotgate: a gateway between applications and Redis that finds hot keys, folds the load on them and holds quotas.
//!
//! # Threads
//!
//! ```text
//!   main thread: control/ and monitor/        worker-0 ... worker-N: worker/, nothing shared between them
//!     topology, reload, the hot set,            each: its own listener (SO_REUSEPORT), its clients,
//!     figures, answers to INFO                  its connections to every node, its share of the homes of hot keys
//!   http: accepts HTTP, answers health checks,      /
//!     passes all else to the main thread           /
//!                \                               /
//!                 shared/: snapshots (swapped whole), tallies (published copies), bounded mailboxes
//! ```
//!
//! `process` starts and stops them, and hands the listening sockets of a running process to a newer one (`process/handover`); a panic in
//! any of them ends the process ([`panics`]). A worker never waits for another thread, and no lock or shared atomic is touched per request.
//!
//! # The round trip of a request
//!
//! ```text
//!   client --bytes--> (a) worker/serve     scans requests where they lie in the read buffer
//!                         worker/resolve   command, class, keys with place and hash: once
//!                         worker/decide    verdict: forward, split, fan out, answer, session, queue, refuse
//!                         worker/tenants   whether its tenant may send more now; nothing where no tenant is configured
//!                         worker/policy    quota, write-behind, copies, combining, in this order; none of them forwards as it came
//!                         worker/send      the one exit: node, room on a connection, and the request is put there
//!                     (b) worker/upstream  writes what is on the wire of a shared connection; one write per tick
//!   Redis  <--bytes-- ...
//!   Redis  --bytes--> (c) worker/deliver   the oldest request on the wire gets the reply (or redirect: it goes elsewhere; lost: it is tried again)
//!                         worker/standouts what took long or is large goes into the command log
//!                         worker/ended     the one end of a request, whoever answered it: what it counts as, how long it took
//!   client <--bytes-- (d) worker/client    replies leave in the order of the requests; one write per burst
//! ```
//!
//! `docs/architecture.md` walks through it, file by file.
//!
//! # Invariants
//!
//! - Replies of a client leave in the order of its requests. Its commands on one key take effect in that order. `worker/dispatch`
//!   says what waits for what; `worker/redirect` says what a moving slot changes.
//! - A write that may have run is never sent again without a token (`worker/lost`, [`combine`]).
//! - A client never sees `MOVED` or `ASK`: the gateway follows them (`worker/redirect`).
//! - A combined operation gets the reply that Redis would have given it in that order ([`combine`]).
//! - Only a rule makes the gateway answer before Redis has the write, or answer from a copy. With the journal the write is on disk
//!   first (`worker/hot/behind`, [`journal`]). A connection never sees less than it has seen before (`worker/hot/cache`).
//! - Every queue has a bound, and the bound says what happens there: in the configuration if an operator sets it, in [`limits`] if
//!   it is of the data path or between threads, otherwise where it is used.
//!
//! # Where things live
//!
//! The directory is the ownership class. Leaves know nothing of the others and do no IO; `tests/house` holds that.
//!
//! | directory | class | what |
//! |---|---|---|
//! | [`worker`] | hot, one thread | the data path |
//! | [`shared`] | between threads | snapshots, tallies, mailboxes |
//! | [`control`] | cold | topology, reload, the hot set, commands about the whole process |
//! | [`monitor`] | cold | metrics, INFO and HOTKEYS views, HTTP, dashboard, `hotgate top` |
//! | [`resp`] [`command`] [`access`] [`route`] [`detect`] [`pace`] [`combine`] [`admission`] [`reserve`] [`config`] | leaf | protocol, command table, who may do what, where a key lives, heavy hitters, when to fold, fold and settle, quotas, reservations, configuration |
//! | [`journal`] | its own thread | the write-ahead file for deltas that are acknowledged before Redis has them |
//! | [`ledger`] | its own process | what happens in sales, brought into an SQL database |
//! | [`net`] | any thread | byte streams: listen, accept, connect; the only place that names sockets |
//! | [`console`] | tool | standard output of commands |
//! | [`demo`] | tool | private Redis servers with gateways before them, and a load on both |

#![deny(clippy::print_stdout)]

pub mod access;
pub mod admission;
pub mod combine;
pub mod command;
pub mod config;
pub mod console;
pub mod control;
pub mod demo;
pub mod detect;
pub mod journal;
pub mod ledger;
pub mod limits;
pub mod monitor;
pub mod net;
pub mod pace;
pub mod panics;
pub mod process;
pub mod reserve;
pub mod resp;
pub mod route;
pub mod shared;
pub mod worker;
