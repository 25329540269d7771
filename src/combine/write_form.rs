//! How writes of many callers become one, and how each caller's reply follows from the one reply.
//!
//! Redis always gets one of the members' own requests, or one request with the elements of all and the name that all used. So it
//! needs no other right, and a refusal is the refusal of each member. The members take effect one behind the other, in their
//! order, all at the moment of the one command:
//!
//! | form | what goes | first | the others |
//! |---|---|---|---|
//! | [`WriteForm::Once`]: equal requests; the second changes nothing | the first | Redis's reply | 0 |
//! | [`WriteForm::Last`]: each undoes the one before it | the last | Redis's reply | the same |
//! | [`WriteForm::First`]: only one can win | the first | Redis's reply | that of a loser |
//! | [`WriteForm::Fields`]: the same fields, or members of a sorted set | the last, of `HSETNX` the first | Redis's reply | 0, of `HMSET` the same |
//! | [`WriteForm::Push`]: elements behind each other | all of them | the length behind its own | the same |
//! | [`WriteForm::Alone`]: its reply does not follow from another's | itself | Redis's reply | |
//!
//! A time to live counts in full from that one moment. So the second of equal `EXPIRE`s finds what it would set, and `GT` and
//! `LT` refuse it. A point in time may be past: then `EXPIREAT` deletes the key, and its reply does not say so. Therefore without
//! a condition it goes alone, and a `SET NX` with such a time does not fold.

/// How a write folds with others of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteForm {
    /// Equal requests of which the second changes nothing, and says 0.
    Once,
    /// Each undoes what the one before it did, and all are answered alike.
    Last(Overwrite),
    /// Only the first can win.
    First(Claim),
    /// The same fields: the last values stay, and the first is told how many fields are new.
    Fields(FieldWrite),
    /// Elements that go behind each other; each is told the length behind its own.
    Push(PushVerb),
    /// Goes by itself.
    Alone,
}

/// Whose request goes for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// All have the same.
    Equal,
    First,
    Last,
    /// It has the elements of all.
    All,
}

/// A write that undoes what an equal one before it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// `SET` that sets or removes the time to live.
    Set,
    /// `SET ... KEEPTTL`.
    SetKeepTtl,
    /// `SET ... XX`.
    SetExisting,
    /// `SET ... XX KEEPTTL`.
    SetExistingKeepTtl,
    /// `SETEX`
    Setex,
    /// `PSETEX`
    Psetex,
    /// `EXPIRE` without a condition.
    Expire,
    /// `EXPIRE ... XX`.
    ExpireExisting,
    /// `PEXPIRE` without a condition.
    Pexpire,
    /// `PEXPIRE ... XX`.
    PexpireExisting,
}

/// A write of which only the first can win.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// `SET ... NX`: the others are told null.
    SetNew,
    /// `SETNX`: the others are told 0.
    Setnx,
}

/// A write of some fields of a hash, or members of a sorted set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldWrite {
    /// `HSET`
    Hset,
    /// `HMSET`
    Hmset,
    /// `HSETNX`
    Hsetnx,
    /// `ZADD` without an option.
    Zadd,
}

/// A write of elements at an end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushVerb {
    /// `LPUSH`
    Lpush,
    /// `RPUSH`
    Rpush,
    /// `LPUSHX`
    Lpushx,
    /// `RPUSHX`
    Rpushx,
}

/// Bytes of one folded push: about 10,000 short elements, which take Redis less than a millisecond.
const PUSH_BYTES_MAX: usize = 64 * 1024;

impl WriteForm {
    /// What it leaves under the key may be another string.
    pub(super) fn sets_string(self) -> bool {
        match self {
            Self::Last(overwrite) => !matches!(
                overwrite,
                Overwrite::Expire
                    | Overwrite::ExpireExisting
                    | Overwrite::Pexpire
                    | Overwrite::PexpireExisting
            ),
            Self::First(_) => true,
            _ => false,
        }
    }

    /// It may change the field of a hash.
    pub(super) fn sets_fields(self) -> bool {
        matches!(self, Self::Fields(_))
    }

    /// How many elements a request pushes; 0 where it pushes none. A member waits for one such request only.
    pub(super) fn elements(self, request: &[u8]) -> i64 {
        if matches!(self, Self::Push(_)) { words(request).skip(2).count() as i64 } else { 0 }
    }

    /// Whose request goes.
    pub(super) fn whose(self) -> Whose {
        match self {
            Self::Once => Whose::Equal,
            Self::First(_) | Self::Fields(FieldWrite::Hsetnx) | Self::Alone => Whose::First,
            Self::Last(_) | Self::Fields(_) => Whose::Last,
            Self::Push(_) => Whose::All,
        }
    }

    /// Takes the first so many elements out of the pushes that go as one.
    pub(super) fn drop_first(self, goes: &mut Vec<u8>, elements: usize) {
        if !matches!(self, Self::Push(_)) || elements == 0 {
            return;
        }
        let [start, end] = [2, 2 + elements].map(|words| goes.len() - behind_words(goes, words).len());
        goes.drain(start..end);
    }

    /// Takes another request into the one that goes. False if it does not fold with that; nothing is changed then.
    pub(super) fn take(self, goes: &mut Vec<u8>, request: &[u8]) -> bool {
        match self {
            Self::Alone => return false,
            Self::Once => return goes == request,
            Self::First(_) => return true,
            Self::Fields(write) if !same_fields(write, goes, request) => return false,
            Self::Fields(FieldWrite::Hsetnx) => return true,
            Self::Last(_) | Self::Fields(_) => {
                goes.clear();
                goes.extend_from_slice(request);
            }
            Self::Push(_) => {
                let elements = behind_words(request, 2);
                if goes.len() + elements.len() > PUSH_BYTES_MAX {
                    return false;
                }
                goes.extend_from_slice(elements);
            }
        }
        true
    }
}

/// Whether two requests write the same fields, in the same order.
fn same_fields(write: FieldWrite, one: &[u8], other: &[u8]) -> bool {
    // A sorted set has the score before the member.
    let first = if write == FieldWrite::Zadd { 3 } else { 2 };
    let fields = |request| words(request).skip(first).step_by(2);
    fields(one).eq(fields(other))
}

/// The words of a request that a scanner has passed before: an array of bulk strings.
pub(super) fn words(request: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = behind_words(request, 0);
    std::iter::from_fn(move || {
        let (word, behind) = split_word(rest)?;
        rest = behind;
        Some(word)
    })
}

/// What stands behind so many words of a request.
pub(super) fn behind_words(request: &[u8], count: usize) -> &[u8] {
    let mut rest = after_line(request).map_or(b"".as_slice(), |(_, rest)| rest);
    for _ in 0..count {
        rest = split_word(rest).map_or(b"", |(_, rest)| rest);
    }
    rest
}

fn split_word(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (line, rest) = after_line(bytes)?;
    let digits = line.strip_prefix(b"$")?;
    let len = digits.iter().try_fold(0usize, |len, digit| {
        len.checked_mul(10)?.checked_add(usize::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?))
    })?;
    let (word, rest) = rest.split_at_checked(len)?;
    Some((word, rest.get(2..)?))
}

fn after_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\r')?;
    Some((&bytes[..end], bytes.get(end + 2..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> Vec<u8> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut out = Vec::new();
        crate::resp::encode::command(&mut out, &words);
        out
    }

    #[test]
    fn what_goes_is_the_first_the_last_or_all() {
        let check = |form: WriteForm, one: &str, other: &str, expect: Option<&str>| {
            let mut goes = request(one);
            let taken = form.take(&mut goes, &request(other));
            let goes = words(&goes).map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ");
            assert_eq!(taken.then_some(&*goes), expect, "{form:?}: {one}; {other}");
            assert!(taken || goes == one, "{form:?}: changed for nothing");
        };
        check(WriteForm::Once, "SADD k a", "SADD k a", Some("SADD k a"));
        check(WriteForm::Once, "SADD k a", "SADD k b", None);
        check(WriteForm::Last(Overwrite::Expire), "EXPIRE k 9", "EXPIRE k 5", Some("EXPIRE k 5"));
        check(WriteForm::First(Claim::SetNew), "SET k 1 NX", "SET k 2 NX", Some("SET k 1 NX"));
        check(
            WriteForm::Fields(FieldWrite::Hset),
            "HSET k a 1 b 2",
            "HSET k a 3 b 4",
            Some("HSET k a 3 b 4"),
        );
        check(WriteForm::Fields(FieldWrite::Hset), "HSET k a 1 b 2", "HSET k b 3 a 4", None);
        check(WriteForm::Fields(FieldWrite::Hset), "HSET k a 1", "HSET k a 3 b 4", None);
        check(WriteForm::Fields(FieldWrite::Hsetnx), "HSETNX k a 1", "HSETNX k a 2", Some("HSETNX k a 1"));
        check(WriteForm::Fields(FieldWrite::Zadd), "ZADD k 1 a", "ZADD k 2 a", Some("ZADD k 2 a"));
        check(WriteForm::Fields(FieldWrite::Zadd), "ZADD k 1 a", "ZADD k 1 b", None);
        check(WriteForm::Push(PushVerb::Lpush), "LPUSH k a b", "LPUSH k c", Some("LPUSH k a b c"));
        check(WriteForm::Alone, "EXPIREAT k 5", "EXPIREAT k 5", None);
    }

    #[test]
    fn elements_leave_from_the_front() {
        let form = WriteForm::Push(PushVerb::Rpush);
        let mut goes = request("RPUSH k a b");
        assert!(form.take(&mut goes, &request("RPUSH k c")) && form.take(&mut goes, &request("RPUSH k d")));
        form.drop_first(&mut goes, 0);
        form.drop_first(&mut goes, 3);
        let words: Vec<&[u8]> = words(&goes).collect();
        assert_eq!(words, [&b"RPUSH"[..], b"k", b"d"]);
    }

    #[test]
    fn a_push_is_bounded() {
        let form = WriteForm::Push(PushVerb::Rpush);
        let mut goes = request("RPUSH k a");
        let long = request(&format!("RPUSH k {}", "x".repeat(PUSH_BYTES_MAX / 4)));
        assert!((0..3).all(|_| form.take(&mut goes, &long)) && !form.take(&mut goes, &long));
        assert!(form.take(&mut goes, &request("RPUSH k b")));
    }
}
