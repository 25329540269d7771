//! What to do about an error of a database server, by the code that the server gives: for whoever sets up a first ledger.
//!
//! Owns the sentences. Deliberately has none for what passes by itself, such as a server that restarts.

/// What to do where the server refuses with this code; empty where its own words are enough.
pub fn of_postgres(code: &str, said: &str) -> &'static str {
    match code {
        "28P01" => "; see the user and the password in ledger.url",
        "28000" if said.contains("no encryption") => {
            "; add ?sslmode=require or sslmode=verify-full to ledger.url"
        }
        "3D000" => "; create it, or name another in ledger.url",
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
        1044 | 1142 => "; docs/ledger.md lists the rights that the user needs",
        3159 => "; add ?sslmode=require or sslmode=verify-full to ledger.url",
        _ => "",
    }
}
