//! What to do about an error of a database server, by the code that the server gives: for whoever sets up a first ledger.
//!
//! Owns the sentences. Deliberately has none for what passes by itself, such as a server that restarts.

/// What to do where a table is another's, or `ledger_schema` was changed by hand.
const FOREIGN: &str = "; a table of this name is there that this program did not make: name another database in ledger.url, or rename the table";

/// What to do where the server refuses with this code; empty where its own words are enough.
pub fn of_postgres(code: &str, said: &str) -> &'static str {
    match code {
        "28P01" => "; see the user and the password in ledger.url",
        "28000" if said.contains("no encryption") => {
            "; add ?sslmode=require or sslmode=verify-full to ledger.url"
        }
        "3D000" => "; create it, or name another in ledger.url",
        "42P07" | "42703" => FOREIGN,
        "25006" => {
            "; it takes no writes: name the primary in ledger.url, or see default_transaction_read_only"
        }
        "42501" => "; docs/ledger.md lists the rights that the user needs",
        _ => "",
    }
}

/// The same for MariaDB.
pub fn of_maria(code: u16) -> &'static str {
    match code {
        // Who has to use TLS and does not is refused with the same code as who has another password.
        1045 => {
            "; see the user and the password in ledger.url, and whether the user needs ?sslmode=require there"
        }
        1049 => "; create it, or name another in ledger.url",
        1054 => FOREIGN,
        1290 | 1792 => "; it takes no writes: name the primary in ledger.url, or see read_only",
        1044 | 1142 => "; docs/ledger.md lists the rights that the user needs",
        3159 => "; add ?sslmode=require or sslmode=verify-full to ledger.url",
        _ => "",
    }
}

/// The same for SQLite, by its words.
pub fn of_sqlite(said: &str) -> &'static str {
    let is_foreign = ["already exists", "no such column", "has no column named", "is not a table"];
    if is_foreign.iter().any(|words| said.contains(words)) { FOREIGN } else { "" }
}
