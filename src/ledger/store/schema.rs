//! The tables, and how those of earlier versions become those of now.
//!
//! A version is a list of statements; a database gets those that it does not have yet, one version a transaction. A version that was published is
//! never changed: what is new is a further one.
//!
//! Why `opened_ms` is in the keys: a name tells no sale. Once one was dropped, or Redis has lost it, its name can be opened again, and places in line begin at 1 again.
//! With (sku, seq) for a key the rows of the new sale would overwrite those of the old one. In `reservation_now` (sku, seq) is unique.

/// The version of the tables that this program makes.
pub const VERSION: i64 = SQLITE.len() as i64;

/// The table that has the version.
pub const OF_VERSION: &str = "CREATE TABLE IF NOT EXISTS ledger_schema (version BIGINT NOT NULL)";

/// The statements of each version, for SQLite.
pub const SQLITE: &[&[&str]] = &[
    &[
        "CREATE TABLE reservation (
            sku TEXT NOT NULL, opened_ms INTEGER NOT NULL, seq INTEGER NOT NULL, user_id TEXT NOT NULL, count INTEGER NOT NULL,
            held INTEGER NOT NULL, state TEXT NOT NULL, since_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
            changed_ms INTEGER NOT NULL, entry INTEGER NOT NULL, PRIMARY KEY (sku, opened_ms, seq)) WITHOUT ROWID",
        "CREATE INDEX reservation_user ON reservation (user_id)",
        "CREATE TABLE ledger_sale (
            sku TEXT NOT NULL, opened_ms INTEGER NOT NULL, places INTEGER NOT NULL, per_user INTEGER NOT NULL,
            start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL, hold_ms INTEGER NOT NULL, holders_of TEXT NOT NULL,
            is_closed INTEGER NOT NULL, is_on INTEGER NOT NULL, entry INTEGER NOT NULL,
            PRIMARY KEY (sku, opened_ms)) WITHOUT ROWID",
        "CREATE TABLE ledger_position (
            sku TEXT NOT NULL PRIMARY KEY, opened_ms INTEGER NOT NULL, entry INTEGER NOT NULL, checksum INTEGER NOT NULL,
            halted TEXT) WITHOUT ROWID",
    ],
    &["CREATE VIEW reservation_now AS
            SELECT r.* FROM reservation r JOIN ledger_position p ON r.sku = p.sku AND r.opened_ms = p.opened_ms"],
];

/// The statements of each version, for PostgreSQL.
pub const POSTGRES: &[&[&str]] = &[
    &[
        "CREATE TABLE reservation (
            sku TEXT NOT NULL, opened_ms BIGINT NOT NULL, seq BIGINT NOT NULL, user_id TEXT NOT NULL, count BIGINT NOT NULL,
            held BIGINT NOT NULL, state TEXT NOT NULL, since_ms BIGINT NOT NULL, expires_ms BIGINT NOT NULL,
            changed_ms BIGINT NOT NULL, entry BIGINT NOT NULL, PRIMARY KEY (sku, opened_ms, seq))",
        "CREATE INDEX reservation_user ON reservation (user_id)",
        "CREATE TABLE ledger_sale (
            sku TEXT NOT NULL, opened_ms BIGINT NOT NULL, places BIGINT NOT NULL, per_user BIGINT NOT NULL,
            start_ms BIGINT NOT NULL, end_ms BIGINT NOT NULL, hold_ms BIGINT NOT NULL, holders_of TEXT NOT NULL,
            is_closed BOOLEAN NOT NULL, is_on BOOLEAN NOT NULL, entry BIGINT NOT NULL, PRIMARY KEY (sku, opened_ms))",
        "CREATE TABLE ledger_position (
            sku TEXT NOT NULL PRIMARY KEY, opened_ms BIGINT NOT NULL, entry BIGINT NOT NULL, checksum BIGINT NOT NULL, halted TEXT)",
    ],
    &["CREATE VIEW reservation_now AS
            SELECT r.* FROM reservation r JOIN ledger_position p ON r.sku = p.sku AND r.opened_ms = p.opened_ms"],
];

/// The statements of each version, for MariaDB, where each commits by itself: all of them may be run again. Text is compared byte by byte.
pub const MARIA: &[&[&str]] = &[
    &[
        "CREATE TABLE IF NOT EXISTS reservation (
            sku VARCHAR(512) NOT NULL, opened_ms BIGINT NOT NULL, seq BIGINT NOT NULL, user_id VARCHAR(2048) NOT NULL,
            count BIGINT NOT NULL, held BIGINT NOT NULL, state VARCHAR(16) NOT NULL, since_ms BIGINT NOT NULL,
            expires_ms BIGINT NOT NULL, changed_ms BIGINT NOT NULL, entry BIGINT NOT NULL,
            PRIMARY KEY (sku, opened_ms, seq), INDEX reservation_user (user_id(512)))
            ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
        "CREATE TABLE IF NOT EXISTS ledger_sale (
            sku VARCHAR(512) NOT NULL, opened_ms BIGINT NOT NULL, places BIGINT NOT NULL, per_user BIGINT NOT NULL,
            start_ms BIGINT NOT NULL, end_ms BIGINT NOT NULL, hold_ms BIGINT NOT NULL, holders_of VARCHAR(512) NOT NULL,
            is_closed BOOLEAN NOT NULL, is_on BOOLEAN NOT NULL, entry BIGINT NOT NULL, PRIMARY KEY (sku, opened_ms))
            ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
        "CREATE TABLE IF NOT EXISTS ledger_position (
            sku VARCHAR(512) NOT NULL PRIMARY KEY, opened_ms BIGINT NOT NULL, entry BIGINT NOT NULL, checksum BIGINT NOT NULL,
            halted TEXT) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
    ],
    &["CREATE OR REPLACE SQL SECURITY INVOKER VIEW reservation_now AS
            SELECT r.* FROM reservation r JOIN ledger_position p ON r.sku = p.sku AND r.opened_ms = p.opened_ms"],
];

const _: () = assert!(SQLITE.len() == POSTGRES.len() && SQLITE.len() == MARIA.len());
