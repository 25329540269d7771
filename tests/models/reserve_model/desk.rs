//! One who reserves: a connection to a server, the calls that a gateway would send, and their results in words.

use bytes::BytesMut;
use hotgate::reserve::{
    Figures, FlushResults, ListPart, OpKind, OpResult, ReserveCall, ReserveCommand, ReserveOp, Script,
    StateFilter, encode_list, open_result, sale_key, write_op_reply,
};
use hotgate::resp::{RespVersion, bulk_payload, elements, encode};

use crate::support::Client;
use crate::support::text::one_line;

/// A gateway's part for one sale.
pub struct Desk {
    /// One for each node that may have the sale.
    clients: Vec<Client>,
    /// The node that had it last.
    at: usize,
    pub sku: String,
    pub gateway: String,
    pub sequence: u64,
}

impl Desk {
    pub fn new(client: Client, sku: &str, gateway: &str) -> Desk {
        Self::of_nodes(vec![client], sku, gateway)
    }

    /// The sale is at the first of these, and may come to the second.
    pub fn of_nodes(clients: Vec<Client>, sku: &str, gateway: &str) -> Desk {
        Desk { clients, at: 0, sku: sku.to_owned(), gateway: gateway.to_owned(), sequence: 1 }
    }

    pub fn client(&mut self) -> &mut Client {
        &mut self.clients[self.at]
    }

    pub fn key(&self) -> Vec<u8> {
        sale_key(self.sku.as_bytes()).to_vec()
    }

    /// Sends a call by its digest, and with its source if the server does not know that. Follows redirections.
    pub fn call(&mut self, encode: impl Fn(bool, &mut BytesMut)) -> Vec<u8> {
        let (mut with_body, mut asking) = (false, false);
        for _ in 0..6 {
            let mut wire = BytesMut::new();
            encode(with_body, &mut wire);
            let at = if asking { 1 - self.at } else { self.at };
            if asking {
                self.clients[at].check("ASKING", "+OK");
            }
            self.clients[at].send(&wire);
            let reply = self.clients[at].reply();
            if reply.starts_with(b"-NOSCRIPT") {
                with_body = true;
            } else if reply.starts_with(b"-ASK ") {
                asking = true;
            } else if reply.starts_with(b"-MOVED ") {
                (self.at, asking) = (1 - self.at, false);
            } else {
                return reply;
            }
        }
        panic!("the call goes round in circles")
    }

    /// Sends a flush under this sequence; the reply's bytes.
    pub fn send(&mut self, ops: &[ReserveOp], sequence: u64) -> Vec<u8> {
        let (key, gateway) = (self.key(), self.gateway.clone());
        let sequence = ops.iter().any(|op| op.kind.is_write()).then_some(sequence);
        self.call(|with_body, out| {
            let call = ReserveCall { sale_key: &key, gateway: gateway.as_bytes(), sequence, with_body };
            call.encode(ops.iter(), out);
        })
    }

    /// Runs a flush once; the clients' replies and the sale's phase.
    pub fn flush(&mut self, ops: &[ReserveOp]) -> Vec<String> {
        self.sequence += 1;
        let reply = self.send(ops, self.sequence);
        words(&reply, ops)
    }

    /// Runs one line of a client, without `RESERVE.` and the SKU: `ADD ann COUNT 2`.
    pub fn ask(&mut self, line: &str) -> String {
        let mut words = line.split(' ');
        let name = format!("RESERVE.{}", words.next().unwrap());
        let sku = self.sku.clone();
        let request: Vec<&[u8]> =
            [name.as_bytes(), sku.as_bytes()].into_iter().chain(words.map(str::as_bytes)).collect();
        let key = self.key();
        match ReserveCommand::parse(&request) {
            Err(error) => format!("-{error}"),
            Ok(ReserveCommand::Op(op)) => self.flush(&[op]).remove(0),
            Ok(ReserveCommand::Open(terms)) => {
                let reply = self.call(|with_body, out| Script::encode_open(&key, &terms, with_body, out));
                outcome(&reply)
            }
            Ok(ReserveCommand::Close) => self.close(true),
            Ok(ReserveCommand::Reopen) => self.close(false),
            Ok(other) => panic!("{other:?} is not one call"),
        }
    }

    fn close(&mut self, closes: bool) -> String {
        let key = self.key();
        let reply = self.call(|with_body, out| Script::encode_close(&key, closes, with_body, out));
        outcome(&reply)
    }

    pub fn check(&mut self, line: &str, expect: &str) {
        assert_eq!(self.ask(line), expect, "{line}");
    }

    pub fn starts(&mut self, line: &str, expect: &str) {
        let got = self.ask(line);
        assert!(got.starts_with(expect), "{line}: {got}, not {expect}");
    }
}

pub fn op(kind: OpKind, user: &str) -> ReserveOp {
    let count = (kind == OpKind::Add).then_some(1);
    ReserveOp { count, ..ReserveOp::on(kind, user.as_bytes()) }
}

/// The replies of a flush as a client of RESP2 gets them, each in one line; `~` where it must be tried again.
pub fn words(reply: &[u8], ops: &[ReserveOp]) -> Vec<String> {
    let Some(results) = FlushResults::parse(reply, ops.len()) else {
        return vec![one_line(reply); ops.len()];
    };
    let write = |(op, result): (&ReserveOp, OpResult)| {
        let mut out = Vec::new();
        write_op_reply(&mut out, RespVersion::Resp2, op.kind, &result);
        if result == OpResult::TryAgain { "~".to_owned() } else { one_line(&out) }
    };
    let words: Vec<String> = ops.iter().zip(results).map(write).collect();
    assert_eq!(words.len(), ops.len(), "{}", one_line(reply));
    words
}

fn outcome(reply: &[u8]) -> String {
    match open_result(reply) {
        None => one_line(reply),
        Some(Ok(())) => "+OK".to_owned(),
        Some(Err(refusal)) => {
            let mut out = Vec::new();
            refusal.write(&mut out);
            one_line(&out)
        }
    }
}

/// An entry of the ledger.
pub struct Event {
    pub name: String,
    pub user: String,
    pub count: i64,
}

impl Event {
    /// By how many places it changes what is taken.
    pub fn places(&self) -> i64 {
        match self.name.as_str() {
            "add" | "move-in" => self.count,
            "cancel" | "expire" | "move-out" => -self.count,
            "confirm" | "terms" => 0,
            other => panic!("{other} is no event"),
        }
    }
}

/// What the sweeper left: the figures when nothing that is over is left.
pub struct Settled {
    pub taken: i64,
    pub held: i64,
    pub confirmed: i64,
    pub now: i64,
}

impl Desk {
    /// All rows of `RESERVE.LIST`, page by page.
    pub fn rows(&mut self, after: i64, count: usize, state: &str) -> Vec<(i64, String, i64, String)> {
        let (key, mut after, mut rows) = (self.key(), after, Vec::new());
        let filter = match state {
            "" => None,
            "held" => Some(StateFilter::Held),
            "confirmed" => Some(StateFilter::Confirmed),
            _ => Some(StateFilter::Moved),
        };
        loop {
            let reply = self.call(|with_body, out| encode_list(&key, after, count, filter, with_body, out));
            let part = ListPart::parse(&reply).unwrap_or_else(|| panic!("{}", one_line(&reply))).unwrap();
            assert!(part.row_count() <= count);
            rows.extend(part.rows().map(|row| {
                let user = String::from_utf8_lossy(row.user).into_owned();
                (row.seq, user, row.count, row.state.word().to_owned())
            }));
            if part.at_end {
                return rows;
            }
            assert!(part.next_after > after, "{} behind {after}", part.next_after);
            after = part.next_after;
        }
    }

    /// Every event, oldest first.
    pub fn ledger(&mut self) -> Vec<Event> {
        let key = String::from_utf8(self.key()).unwrap().replacen(":sale:", ":sale.ledger:", 1);
        let reply = self.call(|_, out| encode::command(out, &[b"XRANGE", key.as_bytes(), b"-", b"+"]));
        let event = |entry: &[u8]| {
            let fields = elements(entry).unwrap().nth(1).unwrap();
            let words: Vec<String> = elements(fields)
                .unwrap()
                .map(|word| String::from_utf8_lossy(bulk_payload(word).unwrap()).into_owned())
                .collect();
            let of = |name: &str| {
                let at = words.iter().position(|word| word == name).unwrap();
                words[at + 1].clone()
            };
            Event { name: of("event"), user: of("user"), count: of("count").parse().unwrap() }
        };
        elements(&reply).unwrap().map(event).collect()
    }

    /// Ends what is over, and says what is left then.
    pub fn settle(&mut self) -> Settled {
        loop {
            let info = op(OpKind::Info, "");
            let reply = self.send(std::slice::from_ref(&info), 0);
            let mut results = FlushResults::parse(&reply, 1).unwrap();
            let state = results.state;
            let Some(OpResult::Figures(figures)) = results.next() else { panic!("{}", one_line(&reply)) };
            if !state.more {
                let Figures { taken, held, confirmed, .. } = figures;
                return Settled { taken, held, confirmed, now: state.now_ms };
            }
        }
    }
}
