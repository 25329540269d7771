//! The gateway's own commands about sales of reservations, one a line; `table/mod.rs` explains the columns.
//!
//! A sale is named where other commands have their key, so that rules about keys, and clients that look for the slot of a key, find it
//! there. None of them may stand in a transaction: what they do is a script of the gateway's own, or waits for its control thread.

use super::super::arguments::Argument;
use super::super::arguments::ArgumentType::{Integer, Key, OneOf, String, UnixTime};
use super::*;

commands! { RESERVATIONS: Reservations []
    "reserve.add"     -3 [WRITE DENYOOM NOSCRIPT FAST NO_MULTI]  [at(1, RW|ACCESS|UPDATE)]                             Reserve(By::Home),    "0.1.0" "Take places of a sale for a user, or tell what the user holds";
    "reserve.cancel"  -3 [WRITE NOSCRIPT FAST NO_MULTI]          [at(1, RW|ACCESS|UPDATE)]                             Reserve(By::Home),    "0.1.0" "Give places of a sale back that a user holds";
    "reserve.check"    3 [READONLY NOSCRIPT FAST NO_MULTI]       [at(1, RO|ACCESS)]                                    Reserve(By::Home),    "0.1.0" "Tell what a user holds of a sale";
    "reserve.close"    2 [WRITE ADMIN NOSCRIPT NO_MULTI]         [at(1, RW|UPDATE)]                                    Reserve(By::Control), "0.1.0" "Have a sale refuse whoever holds nothing of it";
    "reserve.confirm"  3 [WRITE DENYOOM NOSCRIPT FAST NO_MULTI]  [at(1, RW|ACCESS|UPDATE)]                             Reserve(By::Home),    "0.1.0" "Make what a user holds of a sale for a time the user's for good";
    "reserve.drop"    -2 [WRITE ADMIN NOSCRIPT NO_MULTI]         [at(1, RM|DELETE)]                                    Reserve(By::Control), "0.1.0" "Remove a closed sale and all that is known of it, in steps";
    "reserve.info"     2 [READONLY NOSCRIPT FAST NO_MULTI]       [at(1, RO|ACCESS)]                                    Reserve(By::Home),    "0.1.0" "Tell how a sale goes";
    "reserve.list"    -2 [READONLY NOSCRIPT NO_MULTI]            [at(1, RO|ACCESS)]                                    Reserve(By::Control), "0.1.0" "List who holds places of a sale, page by page";
    "reserve.mcheck"  -3 [READONLY NOSCRIPT NO_MULTI]            [at(1, RO|ACCESS)]                                    Reserve(By::Home),    "0.1.0" "Tell what each of several users holds of a sale";
    "reserve.move"    -3 [WRITE DENYOOM ADMIN NOSCRIPT NO_MULTI] [two(1, RW|UPDATE)]                                   Reserve(By::Control), "0.1.0" "Carry all holders of a sale over to another, in steps";
    "reserve.open"    -4 [WRITE DENYOOM ADMIN NOSCRIPT NO_MULTI] [at(1, RW|UPDATE), after("HOLDERSOF", 2, RO|ACCESS)]   Reserve(By::Control), "0.1.0" "Open a sale, or change what it allows";
    "reserve.reopen"   2 [WRITE ADMIN NOSCRIPT NO_MULTI]         [at(1, RW|UPDATE)]                                    Reserve(By::Control), "0.1.0" "Have a closed sale take users again";
    "reserve.skus"    -1 [READONLY NOSCRIPT NO_MULTI]            []                                                    Reserve(By::Control), "0.1.0" "List the sales that there are";
}

const SKU: Argument = Argument::of("sku", Key(0));
const USER: Argument = Argument::of("user", String);
const COUNT: Argument = Argument::option("COUNT", "count", Integer);
const STATES: &[Argument] = &[
    Argument::word("held", "HELD"),
    Argument::word("confirmed", "CONFIRMED"),
    Argument::word("moved", "MOVED"),
];
const ON_OFF: &[Argument] = &[Argument::word("on", "ON"), Argument::word("off", "OFF")];

/// The arguments of one of these commands; none for others.
pub(in crate::command) fn arguments(name: &str) -> &'static [Argument] {
    match name {
        "reserve.add" => const { &[SKU, USER, COUNT, Argument::option("IDMP", "id", String)] },
        "reserve.cancel" => const { &[SKU, USER, COUNT] },
        "reserve.check" | "reserve.confirm" => const { &[SKU, USER] },
        "reserve.close" | "reserve.info" | "reserve.reopen" => const { &[SKU] },
        "reserve.drop" => const { &[SKU, COUNT] },
        "reserve.list" => {
            const {
                &[
                    SKU,
                    Argument::option("AFTER", "seq", Integer),
                    COUNT,
                    Argument::option("STATE", "state", OneOf(STATES)),
                ]
            }
        }
        "reserve.mcheck" => const { &[SKU, Argument::many("user", String)] },
        "reserve.move" => const { &[Argument::of("from", Key(0)), Argument::of("to", Key(0)), COUNT] },
        "reserve.open" => {
            const {
                &[
                    SKU,
                    Argument::option("LIMIT", "limit", Integer),
                    Argument::option("PERUSER", "per-user", Integer),
                    Argument::option("START", "start-unix-ms", UnixTime),
                    Argument::option("END", "end-unix-ms", UnixTime),
                    Argument::option("HOLD", "hold-ms", Integer),
                    Argument::option("HOLDERSOF", "other-sku", Key(1)),
                    Argument::option("LEDGER", "ledger", OneOf(ON_OFF)),
                ]
            }
        }
        "reserve.skus" => const { &[Argument::option("AFTER", "sku", String), COUNT] },
        _ => const { &[] },
    }
}
