//! Reservations in SQL: a sale while the ledger is killed and comes back, and then a Redis that has lost everything.
//!
//! What is shown: each grant is in the database once, a `kill -9` of the ledger costs nothing but time, and the database gives the holders back.

use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::load::{Arrival, Catalogue, Connections, LoadError, Offer};
use super::private_redis::PrivateLedger;
use super::{Ground, figures, say};

/// Places of the sale, and buyers per second, each of whom asks for one.
const PLACES: u64 = 8_000;
const BUYERS_PER_S: u32 = 1_500;

/// How long buyers come, if nothing else is asked for.
const LOAD_TIME: Duration = Duration::from_secs(8);

/// Clients that they share.
const CLIENTS: usize = 64;

/// How long the database may take until it has all.
const CATCH_UP_TIME_MAX: Duration = Duration::from_secs(60);

const SKU: &str = "mask";

/// Shows it. `ledger` runs before the server of `ground`.
pub(super) fn show(
    ground: &Ground,
    mut ledger: PrivateLedger,
    load_time: Option<Duration>,
) -> Result<(), LoadError> {
    let gateway = ground.gateways.first().map_or(0, |gateway| gateway.port);
    let server = ground.servers.first().map_or(0, |server| server.port);
    let time = load_time.unwrap_or(LOAD_TIME);
    let buyers = BUYERS_PER_S * time.as_secs() as u32;
    let mut catalogue = Catalogue::default();
    for buyer in 0..buyers {
        let name = format!("buyer{buyer}");
        catalogue.add(&[b"RESERVE.ADD", SKU.as_bytes(), name.as_bytes()], 0, 0);
    }
    figures::ask(gateway, &format!("RESERVE.OPEN {SKU} LIMIT {PLACES}"))?;
    say(&format!(
        "\n{PLACES} places of {SKU} are on sale, and {buyers} buyers come, {BUYERS_PER_S} a second. `hotgate ledger` brings each grant into\n\
         {}.\nIn the middle it is killed (kill -9), and comes back. {}\n\n{:>8}{:>12}{:>12}{:>18}   the ledger",
        ledger.database().display(),
        ground.page(0),
        "second",
        "granted",
        "refused",
        "holders in SQL",
    ));
    let mut connections = Connections::open(&[gateway], CLIENTS, &ground.stop)?;
    let step_us = 1_000_000 / BUYERS_PER_S;
    let arrivals = (0..buyers).map(|request| Arrival { due_us: request * step_us, request });
    let (mut second, mut granted, mut refused) = (0, 0, 0);
    let (dies_at, comes_back_at) = (time.as_secs() / 3, time.as_secs() * 2 / 3);
    let outcome = connections.offer_by_seconds(&catalogue, arrivals, Offer { time, classes: 1 }, |seen| {
        second += 1;
        granted += seen.classes[0].answered;
        refused += seen.classes[0].errors;
        let mut state = "runs";
        if second == dies_at {
            ledger.kill();
            state = "is killed";
        } else if second > dies_at && second < comes_back_at {
            state = "is not there";
        } else if second == comes_back_at {
            // Should it not start, the rows do not come, and that is said.
            let _ = ledger.start_again();
            state = "starts";
        }
        say(&format!("{second:>8}{granted:>12}{refused:>12}{:>18}   {state}", holders(&ledger)));
    })?;
    drop(outcome);
    let taken = settled(ground, gateway, &ledger)?;
    say(&format!(
        "\nRedis gave {taken} places; the database has {} holders. `hotgate ledger verify` says: {}.",
        holders(&ledger),
        ledger.run(&["verify"])?,
    ));
    ledger.kill();
    figures::ask(server, "FLUSHALL")?;
    let lost = figures::ask(server, "DBSIZE")?;
    say(&format!(
        "\nNow Redis loses everything: FLUSHALL, and it has {} keys.",
        lost.trim_start_matches(':').trim_end()
    ));
    let restored = ledger.run(&["restore", SKU])?;
    let first = figures::ask(gateway, &format!("RESERVE.CHECK {SKU} buyer0"))?;
    let first: Vec<&str> = first.lines().skip(1).filter(|line| !line.starts_with('$')).collect();
    say(&format!(
        "`hotgate ledger restore {SKU}` says: {restored}. RESERVE.CHECK {SKU} buyer0: {}.\n`hotgate ledger verify` says: {}.",
        first.iter().map(|word| word.trim_start_matches(':')).collect::<Vec<_>>().join(", "),
        ledger.run(&["verify"])?,
    ));
    Ok(())
}

/// Waits until the database has as many holders as the sale; how many those are.
fn settled(ground: &Ground, gateway: u16, ledger: &PrivateLedger) -> Result<u64, LoadError> {
    let start = Instant::now();
    loop {
        ground.stop.check()?;
        let taken = taken(gateway)?;
        if taken == holders(ledger) || start.elapsed() > CATCH_UP_TIME_MAX {
            return Ok(taken);
        }
        thread::park_timeout(Duration::from_millis(100));
    }
}

/// The places of the sale that are taken, by `RESERVE.INFO`.
fn taken(gateway: u16) -> Result<u64, LoadError> {
    let info = figures::ask(gateway, &format!("RESERVE.INFO {SKU}"))?;
    let mut lines = info.lines().skip_while(|line| *line != "taken").skip(1);
    lines.next().and_then(|line| line.strip_prefix(':')?.trim_end().parse().ok()).ok_or(LoadError::Malformed)
}

/// The holders that the database has; none before it is there.
fn holders(ledger: &PrivateLedger) -> u64 {
    let count = || {
        let database = Connection::open_with_flags(ledger.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        database.query_row("SELECT count(*) FROM reservation_now", [], |row| row.get::<_, i64>(0))
    };
    count().map_or(0, |count| count as u64)
}
