//! The options of `CLIENT TRACKING`: read, checked against those in force, and written for a node, in the words of Redis.
//!
//! Plain data. Does not know whether the client exists to which `REDIRECT` leads.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::resp::{Request, encode, parse_integer};

const SYNTAX: &str = "ERR syntax error";
const OTHER_BROADCAST: &str = "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.";
const OTHER_OPT: &str = "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.";

/// What a `CLIENT TRACKING` asks for, as far as it could be read.
#[derive(Debug)]
pub struct Asked {
    /// The client of `REDIRECT`, which Redis looks for before it reads on.
    pub redirect: Option<i64>,
    /// The rest, or the text of the error.
    pub rest: Result<(Switch, Options), &'static str>,
}

/// `ON` or `OFF`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// `ON`.
    On,
    /// `OFF`.
    Off,
}

/// The options themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `BCAST`: changes are told whether or not the key was read.
    pub broadcast: bool,
    /// `OPTIN`: only what is read after `CLIENT CACHING YES`.
    pub opt_in: bool,
    /// `OPTOUT`: not what is read after `CLIENT CACHING NO`.
    pub opt_out: bool,
    /// `NOLOOP`: not what the client changes itself.
    pub no_loop: bool,
    /// `PREFIX`, in the order in which Redis shows them.
    pub prefixes: BTreeSet<Bytes>,
    /// As they were given.
    given: Vec<Bytes>,
}

impl Asked {
    /// Reads the words of a `CLIENT TRACKING`.
    pub fn parse(request: &Request<'_>) -> Self {
        let mut asked = Asked { redirect: None, rest: Err(SYNTAX) };
        let mut options = Options::default();
        let mut words = request.args().skip(3);
        while let Some(word) = words.next() {
            match &word.to_ascii_lowercase()[..] {
                b"redirect" => {
                    let Some(id) = words.next() else { return asked };
                    let Some(id) = parse_integer(id) else {
                        asked.rest = Err("ERR value is not an integer or out of range");
                        return asked;
                    };
                    if asked.redirect.is_some() {
                        asked.rest = Err("ERR A client can only redirect to a single other client");
                        return asked;
                    }
                    asked.redirect = Some(id);
                }
                b"prefix" => match words.next() {
                    Some(prefix) => options.given.push(Bytes::copy_from_slice(prefix)),
                    None => return asked,
                },
                b"bcast" => options.broadcast = true,
                b"optin" => options.opt_in = true,
                b"optout" => options.opt_out = true,
                b"noloop" => options.no_loop = true,
                _ => return asked,
            }
        }
        asked.rest = match &request.arg(2).unwrap_or_default().to_ascii_lowercase()[..] {
            b"on" => Ok((Switch::On, options)),
            b"off" => Ok((Switch::Off, options)),
            _ => Err(SYNTAX),
        };
        asked
    }
}

impl Options {
    /// The options that are in force once these were asked for, where `present` were before. The error is the text of the
    /// reply.
    pub fn after(mut self, present: Option<&Options>) -> Result<Self, Vec<u8>> {
        let refused = |text: &str| Err(text.as_bytes().to_vec());
        if !self.broadcast && !self.given.is_empty() {
            return refused("ERR PREFIX option requires BCAST mode to be enabled");
        }
        if present.is_some_and(|present| present.broadcast != self.broadcast) {
            return refused(OTHER_BROADCAST);
        }
        if self.broadcast && (self.opt_in || self.opt_out) {
            return refused("ERR OPTIN and OPTOUT are not compatible with BCAST");
        }
        if self.opt_in && self.opt_out {
            return refused("ERR You can't specify both OPTIN mode and OPTOUT mode");
        }
        let switches =
            |present: &Options| (self.opt_in && present.opt_out) || (self.opt_out && present.opt_in);
        if present.is_some_and(switches) {
            return refused(OTHER_OPT);
        }
        if let Some(present) = present {
            self.prefixes.clone_from(&present.prefixes);
        }
        if self.broadcast {
            if let Some(error) = self.overlap() {
                return Err(error);
            }
            if self.given.is_empty() {
                self.prefixes.insert(Bytes::new());
            }
            self.prefixes.extend(self.given.iter().cloned());
        }
        Ok(self)
    }

    /// The error for prefixes of which one begins with another.
    fn overlap(&self) -> Option<Vec<u8>> {
        let overlaps = |left: &[u8], right: &[u8]| left.starts_with(right) || right.starts_with(left);
        let error = |prefix: &[u8], kind: &[u8], other: &[u8]| {
            let end: &[u8] = b"'. Prefixes for a single client must not overlap.";
            Some([b"ERR Prefix '", prefix, b"' overlaps with ", kind, b" prefix '", other, end].concat())
        };
        for (place, prefix) in self.given.iter().enumerate() {
            if let Some(other) = self.prefixes.iter().find(|other| overlaps(prefix, other)) {
                return error(prefix, b"an existing", other);
            }
            if let Some(other) = self.given[place + 1..].iter().find(|other| overlaps(prefix, other)) {
                return error(prefix, b"another provided", other);
            }
        }
        None
    }

    /// The command that a connection starts with so that it tracks like this, its messages going to the connection with the
    /// id `companion` if there is one.
    pub fn command(&self, companion: Option<u64>) -> Bytes {
        // The empty prefix is that of all keys, and Redis takes no other beside it in one command.
        let all = self.prefixes.iter().any(|prefix| prefix.is_empty());
        self.encode(companion, self.prefixes.iter().filter(|_| !all))
    }

    /// The command for a connection that tracks already, as the client has given it.
    pub fn command_again(&self, companion: Option<u64>) -> Bytes {
        self.encode(companion, self.given.iter())
    }

    fn encode<'a>(&self, companion: Option<u64>, prefixes: impl Iterator<Item = &'a Bytes>) -> Bytes {
        let id = companion.map(|id| id.to_string());
        let mut words: Vec<&[u8]> = vec![b"CLIENT", b"TRACKING", b"ON"];
        if let Some(id) = &id {
            words.extend([&b"REDIRECT"[..], id.as_bytes()]);
        }
        let flags: [(bool, &[u8]); 4] = [
            (self.broadcast, b"BCAST"),
            (self.opt_in, b"OPTIN"),
            (self.opt_out, b"OPTOUT"),
            (self.no_loop, b"NOLOOP"),
        ];
        words.extend(flags.iter().filter(|(set, _)| *set).map(|(_, word)| *word));
        prefixes.for_each(|prefix| words.extend([&b"PREFIX"[..], prefix]));
        let mut command = Vec::new();
        encode::command(&mut command, &words);
        command.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(prefixes: &[&str]) -> Options {
        let given = prefixes.iter().map(|prefix| Bytes::copy_from_slice(prefix.as_bytes())).collect();
        Options { broadcast: true, given, ..Options::default() }
    }

    #[test]
    fn prefixes_add_up_and_must_not_overlap() {
        let first = options(&["b", "a"]).after(None).unwrap();
        assert_eq!(first.prefixes.iter().collect::<Vec<_>>(), ["a", "b"]);
        let second = options(&["c"]).after(Some(&first)).unwrap();
        assert_eq!(second.prefixes.len(), 3);
        let check = |prefixes: &[&str], expected: &str| {
            let error = options(prefixes).after(Some(&first)).unwrap_err();
            assert!(error.starts_with(expected.as_bytes()), "{prefixes:?}");
        };
        check(&["ab"], "ERR Prefix 'ab' overlaps with an existing prefix 'a'.");
        check(&["c", "cd"], "ERR Prefix 'c' overlaps with another provided prefix 'cd'.");
        check(&[""], "ERR Prefix '' overlaps with an existing prefix 'a'.");
    }

    #[test]
    fn a_node_is_told_what_is_in_force() {
        let told = |options: Options, companion| {
            String::from_utf8_lossy(&options.command(companion)).replace("\r\n", " ")
        };
        assert_eq!(told(Options::default(), None), "*3 $6 CLIENT $8 TRACKING $2 ON ");
        let all = options(&["a"]).after(None).unwrap();
        assert_eq!(
            told(all, Some(7)),
            "*8 $6 CLIENT $8 TRACKING $2 ON $8 REDIRECT $1 7 $5 BCAST $6 PREFIX $1 a "
        );
    }
}
