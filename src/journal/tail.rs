//! Judges the bytes behind the last valid frame of a segment: what a crash leaves there, or damage.
//!
//! A frame is acknowledged after it was synced, so an acknowledged frame is whole. A tail without a valid frame is of one of
//! three kinds:
//!
//! - *Cut short.* The file ends before its frame does. A process that is killed while it writes leaves this, and so does a full
//!   disk. Such a frame was never synced, so nothing in it was acknowledged.
//! - *Unwritten.* There are zeros where the frame should be. A power failure may leave this: a file system writes the length of a
//!   file and its bytes at different times, and reads zeros until then (on ext4 the rest of the block in which
//!   the file ended before, on others any block). Whole sectors are missing. Such a frame had not been synced, unless the disk
//!   lost what it had. The bytes do not tell, so the report says so.
//! - *Damage.* The frame is all there, and its checksum or its head is wrong. No crash does that. It may have been
//!   acknowledged long ago, so it is not cut off.
//!
//! A frame with a damaged length looks like the first kind. Its checksum, which is right for everything behind the head, tells
//! it apart.
//!
//! Deliberately does not repair. Deliberately ignores file systems that show old blocks after a crash (ext4 with
//! `data=writeback`): there a torn tail may look damaged, and is refused.

use super::frame_head::{Damage, FrameHead, checksum};

/// The smallest unit in which a disk writes; larger ones are multiples of it.
const SECTOR_BYTES: usize = 512;

/// How a tail is incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// The file ends before the frame does: nothing in it was acknowledged.
    CutShort,
    /// There are zeros where nothing was written: nothing in it was acknowledged, unless the disk lost it later.
    Unwritten,
}

/// Judges the tail that begins at this byte of the file, where the frame of this number should be.
pub(super) fn judge(tail: &[u8], offset: u64, salt: u32, number: u64) -> Result<Tear, Damage> {
    let Some((head, records)) = FrameHead::split(tail) else { return Ok(Tear::CutShort) };
    let whole = head.checksum == checksum(salt, number, records);
    if head.is_of(number) && head.records_bytes > records.len() && !whole {
        return Ok(Tear::CutShort);
    }
    if !whole && has_unwritten_sector(tail, offset) {
        return Ok(Tear::Unwritten);
    }
    let what = "the last record is damaged and may have been acknowledged; cut off at that byte the file opens, and what \
                the record held is lost, or counted twice if it began a flush";
    Err(Damage { offset, what })
}

/// Whether the part of a sector that belongs to the tail is zeros, for any sector.
fn has_unwritten_sector(tail: &[u8], offset: u64) -> bool {
    let to_boundary = SECTOR_BYTES - (offset % SECTOR_BYTES as u64) as usize;
    let (first, others) = tail.split_at(to_boundary.min(tail.len()));
    std::iter::once(first).chain(others.chunks(SECTOR_BYTES)).any(|part| part.iter().all(|byte| *byte == 0))
}
