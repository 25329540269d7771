//! The store beside a plain list that does the same.

use super::*;
use proptest::prelude::*;

/// What a store does, without any thought of its cost: a list in the order of use, the newest first.
struct Model {
    copies: Vec<Reply>,
    bounds: Bounds,
    /// Moments at which keys were dropped.
    dropped: HashMap<u64, u64>,
    dropped_all: u64,
}

impl Model {
    fn find(&self, version: RespVersion, request: &[u8]) -> Option<usize> {
        self.copies.iter().position(|copy| copy.version == version && copy.request == request)
    }

    fn get(&mut self, version: RespVersion, request: &[u8], now_ns: u64) -> Option<Bytes> {
        let copy = self.find(version, request).map(|place| self.copies.remove(place))?;
        if copy.until_ns <= now_ns {
            return None;
        }
        let bytes = copy.bytes.clone();
        self.copies.insert(0, copy);
        Some(bytes)
    }

    fn size(&self) -> usize {
        self.copies.iter().map(|copy| copy.request.len() + copy.bytes.len()).sum()
    }

    fn put(&mut self, reply: Reply, now_ns: u64) {
        let size = reply.request.len() + reply.bytes.len();
        let dropped = self.dropped.get(&reply.key).copied().unwrap_or(0).max(self.dropped_all);
        let known = self.find(reply.version, &reply.request);
        let outdated = known.is_some_and(|place| self.copies[place].sent > reply.sent);
        if reply.bytes.len() > self.bounds.value_bytes_max
            || size > self.bounds.bytes_max
            || reply.until_ns <= now_ns
            || reply.sent <= dropped
            || outdated
        {
            return;
        }
        known.map(|place| self.copies.remove(place));
        self.copies.insert(0, reply);
        while self.copies.len() > self.bounds.entries_max || self.size() > self.bounds.bytes_max {
            self.copies.pop();
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send,
    Put { request: u8, resp3: bool, len: usize, source: Option<u64>, back: u64, lives_ns: u64 },
    Get { request: u8, resp3: bool },
    DropOlder { request: u8, resp3: bool, back: u64 },
    DropKey(u8),
    DropSource(Option<u64>),
    DropAll,
    Tick(u64),
    Bounds { entries_max: usize, bytes_max: usize },
}

fn any_source() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(1..3_u64)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Send),
        8 => (0..8_u8, any::<bool>(), 0..40_usize, any_source(), 0..4_u64, 1..30_u64).prop_map(
            |(request, resp3, len, source, back, lives_ns)| Step::Put { request, resp3, len, source, back, lives_ns }
        ),
        8 => (0..8_u8, any::<bool>()).prop_map(|(request, resp3)| Step::Get { request, resp3 }),
        2 => (0..8_u8, any::<bool>(), 0..4_u64).prop_map(
            |(request, resp3, back)| Step::DropOlder { request, resp3, back }
        ),
        2 => (0..3_u8).prop_map(Step::DropKey),
        1 => any_source().prop_map(Step::DropSource),
        1 => Just(Step::DropAll),
        2 => (0..10_u64).prop_map(Step::Tick),
        1 => (1..8_usize, 20..200_usize).prop_map(|(entries_max, bytes_max)| Step::Bounds { entries_max, bytes_max }),
    ]
}

fn version_of(resp3: bool) -> RespVersion {
    if resp3 { RespVersion::Resp3 } else { RespVersion::Resp2 }
}

/// Both lists hold every copy, each key's those of the key.
fn check_lists(store: &Store) {
    let mut by_use = 0;
    let (mut next, mut before) = (store.newest, None);
    while let Some(at) = next {
        assert_eq!(store.copies[at].by_use.before, before);
        (before, next) = (next, store.copies[at].by_use.after);
        by_use += 1;
    }
    assert_eq!((by_use, before), (store.len(), store.oldest));
    let mut by_key = 0;
    for (key, first) in &store.keys {
        let mut next = Some(*first);
        while let Some(at) = next {
            assert_eq!(store.copies[at].reply.key, *key);
            by_key += 1;
            next = store.copies[at].by_key.after;
        }
    }
    assert_eq!(by_key, store.len());
}

proptest! {
    #[test]
    fn does_what_a_plain_list_does(steps in proptest::collection::vec(step(), 1..120)) {
        let bounds = Bounds { entries_max: 6, bytes_max: 150, value_bytes_max: 30 };
        let mut store = Store::new(bounds);
        let mut model = Model { copies: Vec::new(), bounds, dropped: HashMap::new(), dropped_all: 0 };
        let mut now_ns = 0;
        for step in steps {
            match step {
                Step::Send => {
                    store.send();
                }
                Step::Put { request, resp3, len, source, back, lives_ns } => {
                    let reply = Reply {
                        request: Bytes::from(vec![request; 5]),
                        version: version_of(resp3),
                        key: u64::from(request % 3),
                        bytes: Bytes::from(vec![b'x'; len]),
                        source,
                        sent: store.moment().saturating_sub(back),
                        until_ns: now_ns + lives_ns,
                    };
                    store.put(reply.clone(), now_ns);
                    model.put(reply, now_ns);
                }
                Step::Get { request, resp3 } => {
                    let key = u64::from(request % 3);
                    let request = [request; 5];
                    prop_assert!(store.get(version_of(resp3), (&request, key + 1), now_ns, 0).is_none());
                    let found = store.get(version_of(resp3), (&request, key), now_ns, 0).cloned();
                    prop_assert_eq!(found, model.get(version_of(resp3), &request, now_ns));
                }
                Step::DropOlder { request, resp3, back } => {
                    let (request, sent) = ([request; 5], store.moment().saturating_sub(back));
                    let known = model.find(version_of(resp3), &request);
                    if let Some(place) = known.filter(|place| model.copies[*place].sent < sent) {
                        model.copies.remove(place);
                    }
                    store.drop_older(version_of(resp3), &request, sent);
                }
                Step::DropKey(key) => {
                    let key = u64::from(key);
                    let before = model.copies.len();
                    model.copies.retain(|copy| copy.key != key);
                    model.dropped.insert(key, store.moment());
                    prop_assert_eq!(store.drop_key(key), before - model.copies.len());
                }
                Step::DropSource(source) => {
                    let before = model.copies.len();
                    model.copies.retain(|copy| copy.source != source);
                    model.dropped_all = store.moment();
                    prop_assert_eq!(store.drop_sources(|of| of == source), before - model.copies.len());
                }
                Step::DropAll => {
                    model.copies.clear();
                    model.dropped_all = store.moment();
                    store.drop_sources(|_| true);
                }
                Step::Tick(ns) => now_ns += ns,
                Step::Bounds { entries_max, bytes_max } => {
                    let bounds = Bounds { entries_max, bytes_max, value_bytes_max: 30 };
                    store.set_bounds(bounds);
                    model.bounds = bounds;
                    while model.copies.len() > entries_max || model.size() > bytes_max {
                        model.copies.pop();
                    }
                }
            }
            prop_assert_eq!((store.len(), store.bytes()), (model.copies.len(), model.size()));
            check_lists(&store);
        }
    }
}

#[test]
fn a_client_that_knows_newer_gets_no_older_copy() {
    let mut store = Store::new(Bounds { entries_max: 9, bytes_max: 999, value_bytes_max: 99 });
    let reply = |sent, bytes: &'static [u8]| Reply {
        request: Bytes::from_static(b"GET k"),
        version: RespVersion::Resp2,
        key: 7,
        bytes: Bytes::from_static(bytes),
        source: None,
        sent,
        until_ns: 100,
    };
    let (first, second) = (store.send(), store.send());
    assert!(store.put(reply(second, b"$1\r\n2\r\n"), 0));
    assert!(!store.put(reply(first, b"$1\r\n1\r\n"), 0), "the reply of an earlier read came later");
    assert!(store.get(RespVersion::Resp2, (b"GET k", 7), 0, second + 1).is_none());
    assert_eq!(store.get(RespVersion::Resp2, (b"GET k", 7), 0, second).unwrap(), &b"$1\r\n2\r\n"[..]);
}
