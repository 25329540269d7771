//! The hash slot of a key in Redis Cluster.
//!
//! Owns the CRC and the hash tag rule of the
//! [cluster specification](https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/).
//! Deliberately does not know which node serves a slot.

use memchr::memchr;

/// The number of slots of a cluster, fixed by the specification.
pub const SLOT_COUNT: u16 = 16384;

/// CRC16/XMODEM: polynomial 0x1021, initial value 0, nothing reflected.
const POLYNOMIAL: u16 = 0x1021;

/// How many bytes one step of the CRC takes in. Byte by byte each step has to wait for the table entry of the one
/// before it; eight look-ups at once need eight tables (4 KiB, well inside the first-level cache) but wait once.
const STRIDE: usize = 8;

/// `TABLES[k][b]` is the CRC of the byte `b` followed by `k` zero bytes.
const TABLES: [[u16; 256]; STRIDE] = tables();

/// The slot of a key, in `0..SLOT_COUNT`. If the key has a `{`, and after it a `}` with something between the two,
/// only that part is hashed, so that applications can place keys together.
pub fn key_slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) % SLOT_COUNT
}

/// The part of the key that counts: from the first `{` to the first `}` behind it, or all of the key.
fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = memchr(b'{', key) else { return key };
    let tail = &key[open + 1..];
    match memchr(b'}', tail) {
        None | Some(0) => key,
        Some(length) => &tail[..length],
    }
}

fn crc16(bytes: &[u8]) -> u16 {
    let mut crc: u16 = 0;
    let (strides, rest) = bytes.as_chunks::<STRIDE>();
    for stride in strides {
        let mixed = [stride[0] ^ (crc >> 8) as u8, stride[1] ^ crc as u8];
        crc = TABLES[7][usize::from(mixed[0])]
            ^ TABLES[6][usize::from(mixed[1])]
            ^ TABLES[5][usize::from(stride[2])]
            ^ TABLES[4][usize::from(stride[3])]
            ^ TABLES[3][usize::from(stride[4])]
            ^ TABLES[2][usize::from(stride[5])]
            ^ TABLES[1][usize::from(stride[6])]
            ^ TABLES[0][usize::from(stride[7])];
    }
    for &byte in rest {
        crc = (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)];
    }
    crc
}

const fn tables() -> [[u16; 256]; STRIDE] {
    let mut tables = [[0; 256]; STRIDE];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut zeros = 0;
        while zeros < STRIDE {
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 0x8000 != 0 { (crc << 1) ^ POLYNOMIAL } else { crc << 1 };
                bit += 1;
            }
            tables[zeros][byte] = crc;
            zeros += 1;
        }
        byte += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::{SLOT_COUNT, crc16, key_slot};
    use proptest::prelude::*;

    #[test]
    fn follows_the_cluster_specification() {
        let check = |key: &str, expect: u16| assert_eq!(key_slot(key.as_bytes()), expect, "{key:?}");
        check("123456789", 0x31C3 % SLOT_COUNT);
        check("", 0);
        check("foo", 12182);
        check("{user1000}.following", key_slot(b"user1000"));
        check("{user1000}.followers", key_slot(b"user1000"));
        check("foo{{bar}}zap", key_slot(b"{bar"));
        check("foo{bar}{zap}", key_slot(b"bar"));
        for whole in ["foo{}{bar}", "foo{bar", "foo}bar{", "{}", "}{"] {
            check(whole, crc16(whole.as_bytes()) % SLOT_COUNT);
        }
    }

    proptest! {
        #[test]
        fn agrees_with_redis_protocol(key: Vec<u8>, tagged in "[ab{}]{0,12}") {
            prop_assert_eq!(key_slot(&key), redis_protocol::redis_keyslot(&key));
            prop_assert_eq!(key_slot(tagged.as_bytes()), redis_protocol::redis_keyslot(tagged.as_bytes()));
        }
    }
}
