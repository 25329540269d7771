//! The head of a frame: what stands before its records, and the checksum over both.
//!
//! The module of frames says why the checksum begins with the salt of the segment.

use bytes::{Buf, BufMut};

/// The first four bytes of every frame.
pub(super) const MARKER: u32 = 0xF7A3_E51D;

/// Marker, length, number and checksum.
pub(super) const FRAME_HEAD_BYTES: usize = 4 + 4 + 8 + 4;

/// A segment that cannot be trusted, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub offset: u64,
    pub what: &'static str,
}

/// The fields of a head, in their order on disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameHead {
    pub marker: u32,
    pub records_bytes: usize,
    pub number: u64,
    pub checksum: u32,
}

impl FrameHead {
    /// Reads a head from the front. Returns it with the bytes that follow it, or `None` if there are too few.
    pub fn split(mut bytes: &[u8]) -> Option<(Self, &[u8])> {
        let head = Self {
            marker: bytes.try_get_u32_le().ok()?,
            records_bytes: bytes.try_get_u32_le().ok()? as usize,
            number: bytes.try_get_u64_le().ok()?,
            checksum: bytes.try_get_u32_le().ok()?,
        };
        Some((head, bytes))
    }

    /// Writes the head.
    pub fn write(&self, out: &mut impl BufMut) {
        out.put_u32_le(self.marker);
        out.put_u32_le(self.records_bytes as u32);
        out.put_u64_le(self.number);
        out.put_u32_le(self.checksum);
    }

    /// Whether marker and number are those of the frame with this number.
    pub fn is_of(&self, number: u64) -> bool {
        self.marker == MARKER && self.number == number
    }
}

/// The checksum of a frame. It begins with the salt of its segment.
pub(super) fn checksum(salt: u32, number: u64, records: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(&number.to_le_bytes());
    hasher.update(&(records.len() as u32).to_le_bytes());
    hasher.update(records);
    hasher.finalize()
}
