//! What stands behind the last valid frame of a segment: what a crash leaves there, and what is damage.
//!
//! A frame is acknowledged once it has been synced, and whole then. So of a tail that is no valid frame there are three kinds:
//!
//! - It ends before its frame does. That is what a process leaves that is killed while it writes, and a full disk: the file is
//!   as long as what was written. No such frame was ever synced, so nothing in it was acknowledged.
//! - It holds zeros where the frame was to stand. That is what a power failure may leave: a file system writes the length of a
//!   file and the bytes in it at different times, and until then reads zeros in their place (on ext4 the rest of the block in
//!   which the file ended before, on others any block). What is missing is missing by whole sectors. Such a frame had not been
//!   synced, unless the disk has lost what it had: the bytes don't tell, so that is said and not denied.
//! - Anything else is damage. All of the frame is there and its checksum is wrong, or its head is, and no crash does that:
//!   it may have been acknowledged long ago, so it is not cut off, no more than if a valid frame followed it.
//!
//! A frame whose length is damaged looks like the first kind. It is told apart by its checksum, which is right for all that
//! stands behind the head.
//!
//! Deliberately does not: repair, or think of a file system that shows after a crash what was in its blocks before (ext4 with
//! `data=writeback`). There a torn tail may look damaged, and is refused.

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
