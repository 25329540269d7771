//! Drives a queue against two servers of the same kind: the subject runs its flushes, the oracle runs every member's
//! own command in the order of arrival. After each flush every reply has to be the same, byte for byte.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use hotgate::{
    combine::{
        Flush, FlushDecision, FlushPolicy, Foldable, KeyQueue, Member, Op, QueueLimits, Settled, Verb,
        classify,
    },
    resp::{
        ReplyScan, ReplyScanner, Request, RequestLimits, RequestScan, RequestScanner, RespVersion, encode,
    },
};
use rand::{Rng, SeedableRng, rngs::SmallRng};

pub const KEY: &[u8] = b"sku:{8421}:reserved";
/// No reply.
pub const NONE: [&[u8]; 0] = [];
pub const LIMITS: QueueLimits = QueueLimits { operations_max: 1 << 20, bytes_max: 1 << 26 };

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
    fn operations(&self) -> u32 {
        self.operations
    }

    fn one(&self, place: u32) -> Self {
        assert!(place < self.operations);
        Self { number: self.number + place, operations: 1, ..*self }
    }

    fn caller(&self) -> u64 {
        u64::from(self.connection)
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

/// Hands the operation of a request to whoever wants it.
pub fn with_op<R>(wire: &[u8], take: impl FnOnce(Op) -> R) -> R {
    with_request(wire, |request| take(classify(request).expect("it folds")))
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
    /// By connection: the last operation of it that took effect.
    newest: BTreeMap<u32, u32>,
}

impl<B: Backend> World<B> {
    pub fn new(subject: B, oracle: B, exactly_once: bool, gateway: &str) -> Self {
        let queue = KeyQueue::new(Bytes::from_static(KEY), gateway.as_bytes(), LIMITS);
        let newest = BTreeMap::new();
        Self {
            subject,
            oracle,
            queue,
            exactly_once,
            now_ns: 1,
            members: Vec::new(),
            settled: 0,
            written_beside: false,
            void: false,
            newest,
        }
    }

    pub fn push(&mut self, wire: Vec<u8>, version: RespVersion) {
        let connection = self.members.len() as u32;
        self.push_run(wire, version, 1, connection);
    }

    /// So many equal requests of one client.
    fn push_run(&mut self, wire: Vec<u8>, version: RespVersion, operations: u32, connection: u32) {
        let verb = with_request(&wire, |request| Foldable::by_name(request.name()).map(Foldable::verb));
        let verb = verb.unwrap_or_default();
        let caller = Caller { number: self.members.len() as u32, operations, connection, verb };
        with_op(&wire, |op| self.queue.push(op, caller, version)).expect("there is room");
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
        let replies = self.subject.run(wire, flush.version.unwrap_or(RespVersion::Resp2));
        assert_eq!(replies.len(), flush.commands);
        let mut answers = Vec::new();
        self.queue.settle(&replies, |caller, settled| match settled {
            Settled::Reply(bytes) => answers.extend(split_replies(caller, bytes)),
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
        self.void |= not_understood && self.written_beside && !self.exactly_once;
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
            None => self.oracle.run(&member.wire, member.version).remove(0),
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
        if !self.exactly_once {
            return self.lose_plain(flush, wire, executed);
        }
        if executed {
            let replies = self.subject.run(wire, flush.version.unwrap_or(RespVersion::Resp2));
            // A flush refused for want of memory has changed nothing and is not remembered: the retry applies it.
            let refused = replies[0].windows(4).any(|bytes| bytes == b"!OOM");
            let took_effect = !replies[0].starts_with(b"-") && !refused;
            for member in self.members.iter_mut().skip(self.settled).take(flush.script_operations) {
                if took_effect && member.early.is_none() {
                    member.early = Some(self.oracle.run(&member.wire, member.version).remove(0));
                }
            }
        }
        self.queue.lost(self.now_ns, &NONE, 0, |_, _| panic!("a token is retried"));
    }

    /// Without tokens: some replies have come, and some commands had not been written.
    fn lose_plain(&mut self, flush: &Flush, wire: &[u8], executed: bool) {
        let replies = match executed {
            true => self.subject.run(wire, flush.version.unwrap_or(RespVersion::Resp2)),
            false => Vec::new(),
        };
        let heard = replies.len() * (self.now_ns as usize % 3) / 2;
        let heard = heard.min(replies.len());
        let unsent = if executed { 0 } else { flush.commands };
        let (mut answers, mut unknown) = (Vec::new(), 0);
        self.queue.lost(self.now_ns, &replies[..heard], unsent, |caller, settled| match settled {
            Settled::Reply(b) if b.starts_with(b"-ERR hotgate: outcome unknown") => {
                assert_eq!(caller.operations, 1, "an error is told to each");
                unknown += 1;
            }
            Settled::Reply(bytes) => answers.extend(split_replies(caller, bytes)),
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
        for read in ["GET", "HGETALL", "EXPIRETIME"] {
            let wire = request(&[read.as_bytes(), KEY]);
            let [subject, oracle] =
                [&mut self.subject, &mut self.oracle].map(|server| server.run(&wire, RespVersion::Resp2));
            assert_eq!(subject, oracle, "{read} afterwards");
        }
    }
}

const ODD_VALUES: &[&str] = &[
    "0",
    "5",
    "-3",
    "05",
    "+5",
    " 5",
    "5 ",
    "-0",
    "",
    "abc",
    "3.5",
    "1e3",
    "0x10",
    "nan",
    "inf",
    "9007199254740993",
    "9223372036854775800",
    "9223372036854775807",
    "-9223372036854775800",
    "-9223372036854775808",
    "9223372036854775808",
    "99999999999999999999999",
];

const DELTAS: &[i64] = &[
    1,
    1,
    1,
    1,
    2,
    5,
    -1,
    -1,
    -4,
    0,
    7,
    i64::MAX,
    i64::MIN,
    i64::MAX / 2,
    i64::MIN / 2,
    1 << 53,
    -(1 << 60),
];

/// A random command that folds. `flavour` 0: a counter with its reads, 1: with `SET` as well, 2: hashes too, 3: only
/// `INCR` and `DECR`.
fn random_request(rng: &mut SmallRng, flavour: u32) -> Vec<u8> {
    let delta = DELTAS[rng.random_range(0..DELTAS.len())];
    let small = rng.random_range(-3..10i64);
    let number = if rng.random_ratio(1, 6) { delta } else { small }.to_string();
    let value = ODD_VALUES[rng.random_range(0..ODD_VALUES.len())];
    let field: &[u8] = if rng.random_ratio(4, 5) { b"a" } else { b"b" };
    let choice = match flavour {
        0 => rng.random_range(0..14),
        1 => rng.random_range(0..18),
        2 => rng.random_range(0..28),
        _ => rng.random_range(0..8),
    };
    match choice {
        0..=5 => request(&[b"INCR", KEY]),
        6..=7 => request(&[b"DECR", KEY]),
        8 => request(&[b"INCRBY", KEY, number.as_bytes()]),
        9 => request(&[b"DECRBY", KEY, small.to_string().as_bytes()]),
        10..=11 => request(&[b"GET", KEY]),
        12 => request(&[[b"EXISTS".as_slice(), b"STRLEN", b"TYPE"][rng.random_range(0..3)], KEY]),
        13 => request(&[b"EXPIRETIME", KEY]),
        14..=15 => request(&[b"SET", KEY, value.as_bytes()]),
        16..=17 => request(&[b"get", KEY]),
        18..=22 => request(&[b"HINCRBY", KEY, field, number.as_bytes()]),
        23..=25 => request(&[b"HGET", KEY, field]),
        _ => request(&[b"HGETALL", KEY]),
    }
}

fn random_outside<B: Backend>(world: &mut World<B>, rng: &mut SmallRng) {
    let value = ODD_VALUES[rng.random_range(0..ODD_VALUES.len())].as_bytes();
    match rng.random_range(0..14) {
        0..=3 => world.outside(&[b"SET", KEY, value]),
        4..=6 => world.outside(&[b"DEL", KEY]),
        7 => world.outside(&[b"RPUSH", KEY, b"x"]),
        8..=9 => world.outside(&[b"HSET", KEY, b"a", value]),
        10 => world.outside(&[b"EXPIREAT", KEY, b"4000000000"]),
        11 => world.outside(&[b"CONFIG", b"SET", b"maxmemory", b"1"]),
        12 => world.outside(&[b"SCRIPT", b"FLUSH"]),
        _ => world.outside(&[b"INCR", KEY]),
    }
}

/// One random history: bursts of operations, faults, and other writers between the flushes.
pub fn play<B: Backend>(world: &mut World<B>, seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let flavour = rng.random_range(0..4);
    let faults = rng.random_bool(0.5);
    let versions = [RespVersion::Resp2, RespVersion::Resp3];
    for _ in 0..rng.random_range(1..12) {
        let burst = if rng.random_ratio(1, 8) { 90 } else { 12 };
        for _ in 0..rng.random_range(0..burst) {
            let version = versions[usize::from(rng.random_ratio(1, 4))];
            let operations = if rng.random_ratio(1, 4) { rng.random_range(2..6) } else { 1 };
            let connection = rng.random_range(0..8);
            world.push_run(random_request(&mut rng, flavour), version, operations, connection);
        }
        if rng.random_ratio(1, 3) {
            random_outside(world, &mut rng);
        }
        world.now_ns += rng.random_range(0..3_000_000);
        let Some((flush, wire)) = world.take() else { continue };
        match rng.random_range(0..6) {
            0 if faults => world.queue.not_executed(),
            1 if faults => world.lose(&flush, &wire, true),
            2 if faults => world.lose(&flush, &wire, false),
            _ => world.deliver(&flush, &wire),
        }
        if rng.random_ratio(1, 4) {
            world.outside(&[b"CONFIG", b"SET", b"maxmemory", b"0"]);
        }
    }
    world.drain();
    world.outside(&[b"CONFIG", b"SET", b"maxmemory", b"0"]);
    if !world.void {
        world.check_content();
    }
}

/// Plays many histories; a failure names its seed.
pub fn play_all<B: Backend>(seeds: std::ops::Range<u64>, mut make: impl FnMut(u64, bool) -> World<B>) {
    for seed in seeds {
        for exactly_once in [false, true] {
            let mut world = make(seed, exactly_once);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(&mut world, seed)));
            if let Err(panic) = outcome {
                eprintln!("HOTGATE_SEED={seed}, exactly_once {exactly_once}");
                std::panic::resume_unwind(panic);
            }
        }
    }
}
