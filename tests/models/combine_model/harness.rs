//! Drives a queue against two servers of the same kind: the subject runs its flushes, the oracle runs every member's
//! own command in the order of arrival. After each flush every reply has to be the same, byte for byte.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use hotgate::{
    combine::{
        EXEC, Flush, FlushDecision, FlushPolicy, Foldable, KeyQueue, MULTI, Member, Op, Settled, Verb,
        classify, transaction_op,
    },
    resp::{
        ReplyScan, ReplyScanner, Request, RequestLimits, RequestScan, RequestScanner, RespVersion, encode,
    },
};

pub const KEY: &[u8] = b"sku:{8421}:reserved";
/// No reply.
pub const NONE: [&[u8]; 0] = [];

/// Who waits for the operation of this number, in the order of arrival, and for so many in all from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub number: u32,
    pub operations: u32,
    /// Whose connection it is.
    pub connection: u32,
    pub verb: Verb,
}

impl From<u32> for Caller {
    fn from(number: u32) -> Self {
        Self { number, operations: 1, connection: number, verb: Verb::default() }
    }
}

impl Member for Caller {
    type Caller = u32;

    fn operations(&self) -> u32 {
        self.operations
    }

    fn one(&self, place: u32) -> Self {
        assert!(place < self.operations);
        Self { number: self.number + place, operations: 1, ..*self }
    }

    fn caller(&self) -> u32 {
        self.connection
    }

    fn verb(&self) -> Verb {
        self.verb
    }
}

/// The replies that lie one behind the other in these bytes, as many as the caller waits for.
pub fn split_replies(caller: Caller, mut bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut replies = Vec::new();
    for place in 0..caller.operations {
        let ReplyScan::Complete { len } = ReplyScanner::new().scan(bytes) else { panic!("half a reply") };
        replies.push((caller.number + place, bytes[..len].to_vec()));
        bytes = &bytes[len..];
    }
    assert!(bytes.is_empty(), "more replies than operations");
    replies
}

/// Something that runs commands.
pub trait Backend {
    /// No time passes, so that what counts from now can be compared.
    const TIME_STANDS_STILL: bool;

    /// Runs the pipelined requests and returns their replies.
    fn run(&mut self, wire: &[u8], version: RespVersion) -> Vec<Vec<u8>>;
}

/// Splits pipelined requests into their arguments.
pub fn requests(mut wire: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    while !wire.is_empty() {
        with_request(wire, |request| found.push(request.args().map(<[u8]>::to_vec).collect()));
        let mut scanner = scanner();
        let RequestScan::Complete { len } = scanner.scan(wire) else { panic!("half a request") };
        wire = &wire[len..];
    }
    found
}

fn scanner() -> RequestScanner {
    let max = 1 << 24;
    RequestScanner::new(RequestLimits {
        bulk_bytes_max: max,
        arguments_max: max,
        inline_bytes_max: 1 << 16,
        authenticated: true,
    })
}

fn with_request<R>(wire: &[u8], look: impl FnOnce(&Request) -> R) -> R {
    let mut scanner = scanner();
    let RequestScan::Complete { len } = scanner.scan(wire) else { panic!("half a request") };
    look(&Request::new(&wire[..len], scanner.spans()))
}

/// The bytes of a request, from words.
pub fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::command(&mut out, words);
    out
}

/// A transaction of these requests, each in words.
pub fn transaction(lines: &[Vec<&[u8]>]) -> Vec<u8> {
    let requests = lines.iter().flat_map(|words| request(words));
    MULTI.iter().copied().chain(requests).chain(EXEC.iter().copied()).collect()
}

/// The replies to what a gateway tells of: of a transaction that to its `EXEC`, with the reason why it was not run.
pub fn run_whole(server: &mut impl Backend, wire: &[u8], version: RespVersion) -> Vec<Vec<u8>> {
    let mut whole = Vec::new();
    let mut inside: Option<Option<Vec<u8>>> = None;
    for (words, reply) in requests(wire).iter().zip(server.run(wire, version)) {
        match (words[0].as_slice(), &mut inside) {
            (b"MULTI", _) => inside = Some(None),
            (b"EXEC", refused) => {
                let refused = refused.take().flatten().filter(|_| reply.starts_with(b"-EXECABORT"));
                let by: &[u8] = b"-EXECABORT Transaction discarded because of: ";
                whole.push(refused.map_or(reply, |error| [by, &error[1..]].concat()));
            }
            (_, Some(refused)) if reply.starts_with(b"-") => _ = refused.get_or_insert(reply),
            (_, Some(_)) => {}
            (_, None) => whole.push(reply),
        }
    }
    whole
}

/// Hands the operation of a request, or of a transaction, to whoever wants it.
pub fn with_op<R>(wire: &[u8], take: impl FnOnce(Op) -> R) -> R {
    if let Some(commands) = wire.strip_prefix(MULTI).and_then(|rest| rest.strip_suffix(EXEC)) {
        return take(transaction_op(commands).expect("it folds"));
    }
    let op = |request: &Request| {
        let op = classify(request).or_else(|| super::counter_scripts::op(request));
        take(op.expect("it folds"))
    };
    with_request(wire, op)
}

/// What a client sent, and what the oracle said if it has run it already.
#[derive(Clone)]
struct Sent {
    wire: Vec<u8>,
    version: RespVersion,
    connection: u32,
    answered: bool,
    early: Option<Vec<u8>>,
}

/// A queue between its two servers.
pub struct World<B> {
    pub subject: B,
    pub oracle: B,
    pub queue: KeyQueue<Caller>,
    pub exactly_once: bool,
    pub now_ns: u64,
    members: Vec<Sent>,
    settled: usize,
    /// Somebody else has written.
    written_beside: bool,
    /// The outcome of something is unknown, so there is nothing to compare with any more.
    pub void: bool,
    /// No member may be told that it was not executed.
    pub executes_all: bool,
    /// By connection: the last operation of it that took effect.
    newest: BTreeMap<u32, u32>,
}

impl<B: Backend> World<B> {
    pub fn new(subject: B, oracle: B, exactly_once: bool, gateway: &str) -> Self {
        let queue = KeyQueue::new(Bytes::from_static(KEY), gateway.as_bytes());
        let newest = BTreeMap::new();
        let mut world = Self {
            subject,
            oracle,
            queue,
            exactly_once,
            now_ns: 1,
            members: Vec::new(),
            settled: 0,
            written_beside: false,
            void: false,
            executes_all: false,
            newest,
        };
        // Nothing waits yet, but now it knows how it is flushed.
        assert!(world.take().is_none());
        world
    }

    pub fn push(&mut self, wire: Vec<u8>, version: RespVersion) {
        let connection = self.members.len() as u32;
        self.push_run(wire, version, 1, connection);
    }

    /// So many equal requests of one client.
    pub fn push_run(&mut self, wire: Vec<u8>, version: RespVersion, operations: u32, connection: u32) {
        let verb = with_request(&wire, |request| Foldable::by_name(request.name()).map(Foldable::verb));
        let verb = verb.unwrap_or_default();
        let caller = Caller { number: self.members.len() as u32, operations, connection, verb };
        with_op(&wire, |op| self.queue.push(op, caller, version));
        let sent = Sent { wire, version, connection, answered: false, early: None };
        self.members.extend(std::iter::repeat_n(sent, operations as usize));
    }

    /// Another client's command, which does not pass through the queue.
    pub fn outside(&mut self, words: &[&[u8]]) {
        self.written_beside = true;
        let wire = request(words);
        self.subject.run(&wire, RespVersion::Resp2);
        self.oracle.run(&wire, RespVersion::Resp2);
    }

    fn policy(&self) -> FlushPolicy<'static> {
        FlushPolicy {
            interval_ns: 1_000_000,
            early_min: 64,
            exactly_once: self.exactly_once,
            clamp: None,
            withhold: false,
        }
    }

    /// The next flush and its bytes; time passes if it has to.
    pub fn take(&mut self) -> Option<(Flush, BytesMut)> {
        loop {
            match self.queue.next_flush(self.now_ns, &self.policy()) {
                FlushDecision::Idle => return None,
                FlushDecision::NotBefore(at) => {
                    assert!(at > self.now_ns);
                    self.now_ns = at;
                }
                FlushDecision::InFlight => panic!("a second flush in flight"),
                FlushDecision::Withheld => panic!("withheld without a quota"),
                FlushDecision::Send(flush) => {
                    let mut wire = BytesMut::new();
                    self.queue.encode(&mut wire);
                    return Some((flush, wire));
                }
            }
        }
    }

    /// Runs a flush and checks every answer that comes of it.
    pub fn deliver(&mut self, flush: &Flush, wire: &[u8]) {
        let replies = run_whole(&mut self.subject, wire, flush.version.unwrap_or(RespVersion::Resp2));
        assert_eq!(replies.len(), flush.commands);
        let mut answers = Vec::new();
        self.queue.settle(&replies, |caller, settled| match settled {
            Settled::Reply(bytes) | Settled::Unsent(bytes) | Settled::OutcomeUnknown(bytes) => {
                answers.extend(split_replies(caller, bytes));
            }
            other => panic!("{other:?} without a quota"),
        });
        for (member, reply) in answers {
            self.check(member, &reply);
        }
    }

    fn check(&mut self, member: u32, reply: &[u8]) {
        let index = member as usize;
        // A way that turns was folded on the strength of a value that is not there any more.
        let not_understood = reply.starts_with(b"-ERR hotgate: outcome unknown: the reply");
        let is_plain = !self.exactly_once || self.members[index].wire.starts_with(MULTI);
        self.void |= not_understood && self.written_beside && is_plain;
        if self.void {
            self.settled += 1;
            return;
        }
        if self.exactly_once {
            assert_eq!(index, self.settled, "members are answered once and in the order of arrival");
        }
        self.settled += 1;
        let member = &mut self.members[index];
        assert!(!std::mem::replace(&mut member.answered, true), "answered twice");
        if reply.starts_with(b"-ERR hotgate: the command was not executed") {
            assert!(!self.executes_all, "member {index} was not executed");
            return;
        }
        // What a node in a mood refused has not run.
        if reply.ends_with(b" a mood\r\n") {
            assert!(!reply.starts_with(b"-MOVED"), "no client hears of that");
            let of_writes = [b"-OOM".as_slice(), b"-MISCONF", b"-READONLY", b"-NOREPLICAS"];
            let is_get = member.wire.windows(5).any(|bytes| bytes.eq_ignore_ascii_case(b"GET\r\n"));
            let says_of_writes = of_writes.iter().any(|error| reply.starts_with(error));
            assert!(!(is_get && says_of_writes), "a GET is told what only a write is refused for");
            return;
        }
        // What failed has no place in the order.
        if !reply.starts_with(b"-") {
            let newest = self.newest.insert(member.connection, index as u32);
            assert!(
                newest < Some(index as u32),
                "member {index} took effect behind one that its connection sent later"
            );
        }
        let expect = match member.early.take() {
            Some(early) => early,
            None => run_whole(&mut self.oracle, &member.wire, member.version).remove(0),
        };
        assert_eq!(
            String::from_utf8_lossy(reply),
            String::from_utf8_lossy(&expect),
            "member {index}: {:?}",
            String::from_utf8_lossy(&member.wire)
        );
    }

    /// The connection is lost: before the flush was executed, or behind it so that only the replies are.
    pub fn lose(&mut self, flush: &Flush, wire: &[u8], executed: bool) {
        if !self.exactly_once || flush.script_operations == 0 {
            return self.lose_plain(flush, wire, executed);
        }
        if executed {
            let replies = run_whole(&mut self.subject, wire, flush.version.unwrap_or(RespVersion::Resp2));
            // A flush refused for want of memory has changed nothing and is not remembered: the retry applies it.
            let refused = replies[0].windows(4).any(|bytes| bytes == b"!OOM");
            let took_effect = !replies[0].starts_with(b"-") && !refused;
            for member in self.members.iter_mut().skip(self.settled).take(flush.script_operations) {
                if took_effect && member.early.is_none() {
                    member.early = Some(run_whole(&mut self.oracle, &member.wire, member.version).remove(0));
                }
            }
        }
        self.queue.lost(self.now_ns, &NONE, 0, |_, _| panic!("a token is retried"));
    }

    /// Without tokens: some replies have come, and some commands had not been written.
    fn lose_plain(&mut self, flush: &Flush, wire: &[u8], executed: bool) {
        let replies = match executed {
            true => run_whole(&mut self.subject, wire, flush.version.unwrap_or(RespVersion::Resp2)),
            false => Vec::new(),
        };
        let heard = replies.len() * (self.now_ns as usize % 3) / 2;
        let heard = heard.min(replies.len());
        let unsent = if executed { 0 } else { flush.commands };
        let (mut answers, mut unknown) = (Vec::new(), 0);
        self.queue.lost(self.now_ns, &replies[..heard], unsent, |caller, settled| match settled {
            Settled::OutcomeUnknown(error) => {
                assert!(error.starts_with(b"-ERR hotgate: outcome unknown"));
                assert_eq!(caller.operations, 1, "an error is told to each");
                unknown += 1;
            }
            Settled::Reply(bytes) | Settled::Unsent(bytes) => answers.extend(split_replies(caller, bytes)),
            other => panic!("{other:?} without a quota"),
        });
        assert!(executed || (unknown == 0 && answers.is_empty()), "nothing was sent");
        for (member, reply) in answers {
            self.check(member, &reply);
        }
        self.settled += unknown;
        // What became of those of unknown outcome, the oracle can't know.
        self.outside(&[b"DEL", KEY]);
    }

    /// Flushes until nothing is left, without faults.
    pub fn drain(&mut self) {
        while let Some((flush, wire)) = self.take() {
            self.deliver(&flush, &wire);
        }
        assert!(self.queue.is_empty());
        assert_eq!(self.settled, self.members.len());
    }

    /// The key has the same content on both sides.
    pub fn check_content(&mut self) {
        let reads: [&[&[u8]]; 6] = [
            &[b"GET", KEY],
            &[b"HGETALL", KEY],
            &[b"LRANGE", KEY, b"0", b"-1"],
            &[b"SMEMBERS", KEY],
            &[b"ZRANGE", KEY, b"0", b"-1", b"WITHSCORES"],
            &[b"EXPIRETIME", KEY],
        ];
        for read in reads {
            let wire = request(read);
            let [subject, oracle] = [&mut self.subject, &mut self.oracle].map(|server| {
                String::from_utf8_lossy(&server.run(&wire, RespVersion::Resp2)[0]).into_owned()
            });
            let is_equal = match read[0] {
                b"EXPIRETIME" => nearly_equal(&subject, &oracle),
                b"SMEMBERS" => sorted(&subject) == sorted(&oracle),
                _ => subject == oracle,
            };
            assert!(is_equal, "{} afterwards: {subject} and not {oracle}", String::from_utf8_lossy(read[0]));
        }
    }
}

/// A time to live begins when a command is done, and the two sides do it one after the other.
fn nearly_equal(one: &str, other: &str) -> bool {
    let number = |reply: &str| reply.trim().trim_start_matches(':').parse::<i64>().unwrap();
    let (one, other) = (number(one), number(other));
    one == other || (one.min(other) > 0 && one.abs_diff(other) < 300)
}

/// The members of a set have no order.
fn sorted(reply: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = reply.lines().collect();
    lines.sort_unstable();
    lines
}
