//! Frames: the unit of commit, and how a segment file is read again.
//!
//! A segment is a header and then frames. A frame holds the records of one group commit. It is written in one piece, and
//! is on disk before the next frame begins. So after a crash only the last frame can be incomplete, in whatever order
//! the file system wrote its blocks; and a damaged frame with a valid one behind it was whole once. The module `tail` judges
//! the last frame. (The write-ahead log of SQLite uses salts and checksums for the same purpose, see "WAL File Format" in
//! its documentation.)
//!
//! - header: magic (8 bytes), version (u32), length of the gateway id (u32), the id, number of clusters (u16), of each the length of
//!   its name (u32), the name, the length of the list of its servers (u32), the list, then salt (u32), token floor (u64), bytes of the
//!   checkpoint (u64), CRC-32 of all that (u32). Version 2 had one cluster, and only the list of its servers; version 1 not even that.
//!   In both a record had no cluster.
//! - frame: marker (u32), bytes of the records (u32), number within the segment (u64), CRC-32 (u32), the records.
//!
//! The frames of the checkpoint come first. The file gets its name when header and checkpoint are on disk, so damage there
//! is never a torn tail. The checksum of a frame begins with the random salt of its segment: so bytes of a deleted segment, or
//! a key that looks like a frame, are not taken for one.

use bytes::{Buf, BufMut};

use super::frame_head::{Damage, FRAME_HEAD_BYTES, FrameHead, MARKER, checksum};
use super::record::{KeyForm, Record};
use super::tail::{self, Tear};
use crate::route::DEFAULT_CLUSTER;

const MAGIC: &[u8; 8] = b"hotgjrnl";
const VERSION: u32 = 3;
/// There was one cluster, which had no name in the file.
const VERSION_WITHOUT_CLUSTERS: u32 = 2;
/// Its header does not say before which Redis the journal was begun.
const VERSION_WITHOUT_UPSTREAM: u32 = 1;
/// A gateway id has 40.
const GATEWAY_ID_BYTES_MAX: usize = 1024;
/// Of the name of a cluster; the configuration's are far shorter.
const CLUSTER_BYTES_MAX: usize = 1024;
/// A thousand addresses of 253 characters with their ports are fewer.
const UPSTREAM_BYTES_MAX: usize = 512 * 1024;

/// A cluster, as a header names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalCluster {
    /// Its name.
    pub name: String,
    /// Its servers as the process named them, each with its port, separated by commas; empty where that is not known.
    pub servers: String,
}

/// The header of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub gateway_id: Vec<u8>,
    /// The clusters that what is pending is for.
    pub clusters: Vec<JournalCluster>,
    pub salt: u32,
    /// No token up to this one may be used again.
    pub token_floor: u64,
    /// Bytes of the frames that were on disk before the file got its name.
    pub checkpoint_bytes: u64,
}

/// The content of a segment file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scan {
    pub header: Header,
    /// In order, each with the offset of its frame.
    pub records: Vec<(u64, Record)>,
    /// Where the torn tail begins, if there is one, and how it is torn.
    pub torn: Option<(u64, Tear)>,
}

impl Header {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.gateway_id.len());
        out.put_slice(MAGIC);
        out.put_u32_le(VERSION);
        out.put_u32_le(self.gateway_id.len() as u32);
        out.put_slice(&self.gateway_id);
        out.put_u16_le(self.clusters.len() as u16);
        for text in self.clusters.iter().flat_map(|cluster| [&cluster.name, &cluster.servers]) {
            out.put_u32_le(text.len() as u32);
            out.put_slice(text.as_bytes());
        }
        out.put_u32_le(self.salt);
        out.put_u64_le(self.token_floor);
        out.put_u64_le(self.checkpoint_bytes);
        out.put_u32_le(crc32fast::hash(&out));
        out
    }

    /// Reads the head of a file, and tells how many bytes it takes and how records name keys.
    fn decode(file: &[u8]) -> Result<(Self, usize, KeyForm), Damage> {
        let damage = |what| Damage { offset: 0, what };
        let short = damage("the header is cut short");
        let mut input = file;
        if input.split_off(..MAGIC.len()).ok_or(short)? != MAGIC {
            return Err(damage("it does not begin like a journal"));
        }
        let version = input.try_get_u32_le().map_err(|_| short)?;
        if !(VERSION_WITHOUT_UPSTREAM..=VERSION).contains(&version) {
            return Err(damage("it has the format of another version"));
        }
        let text = |input: &mut &[u8], bytes_max: usize| {
            let length = input.try_get_u32_le().map_err(|_| short)? as usize;
            if length > bytes_max {
                return Err(damage("the checksum of the header is wrong"));
            }
            Ok(input.split_off(..length).ok_or(short)?.to_vec())
        };
        let gateway_id = text(&mut input, GATEWAY_ID_BYTES_MAX)?;
        let count = if version == VERSION { input.try_get_u16_le().map_err(|_| short)? } else { 1 };
        let mut clusters = Vec::new();
        for _ in 0..count {
            let name = match version {
                VERSION => text(&mut input, CLUSTER_BYTES_MAX)?,
                _ => DEFAULT_CLUSTER.into(),
            };
            let servers = match version {
                VERSION_WITHOUT_UPSTREAM => Vec::new(),
                _ => text(&mut input, UPSTREAM_BYTES_MAX)?,
            };
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            clusters.push(JournalCluster { name: text(name), servers: text(servers) });
        }
        let salt = input.try_get_u32_le().map_err(|_| short)?;
        let token_floor = input.try_get_u64_le().map_err(|_| short)?;
        let checkpoint_bytes = input.try_get_u64_le().map_err(|_| short)?;
        let summed = file.len() - input.len();
        let checksum = input.try_get_u32_le().map_err(|_| short)?;
        if checksum != crc32fast::hash(&file[..summed]) {
            return Err(damage("the checksum of the header is wrong"));
        }
        let form = match version {
            VERSION_WITHOUT_UPSTREAM | VERSION_WITHOUT_CLUSTERS => KeyForm::Name,
            _ => KeyForm::ClusterAndName,
        };
        Ok((Self { gateway_id, clusters, salt, token_floor, checkpoint_bytes }, summed + 4, form))
    }
}

/// Frames of one segment, as they are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameWriter {
    salt: u32,
    number: u64,
}

impl FrameWriter {
    pub fn new(salt: u32) -> Self {
        Self { salt, number: 0 }
    }

    /// Completes a frame: `frame` holds room for its header and then the records.
    pub fn seal(&mut self, frame: &mut [u8]) {
        let number = self.number;
        self.number += 1;
        let (mut header, records) = frame.split_at_mut(FRAME_HEAD_BYTES);
        let checksum = checksum(self.salt, number, records);
        FrameHead { marker: MARKER, records_bytes: records.len(), number, checksum }.write(&mut header);
    }
}

/// The records of the frame at the front of `bytes`, if it is valid and not of an earlier number than this.
fn frame(bytes: &[u8], salt: u32, number_min: u64) -> Option<(u64, &[u8])> {
    let (head, rest) = FrameHead::split(bytes)?;
    let records = rest.get(..head.records_bytes)?;
    let sound = head.checksum == checksum(salt, head.number, records);
    let valid = head.marker == MARKER && head.number >= number_min && sound;
    valid.then_some((head.number, records))
}

/// Reads a whole segment.
pub(super) fn scan(file: &[u8]) -> Result<Scan, Damage> {
    let (header, header_bytes, form) = Header::decode(file)?;
    let checkpoint_end = (header_bytes as u64).saturating_add(header.checkpoint_bytes);
    let mut records = Vec::new();
    let mut offset = header_bytes;
    let mut torn = None;
    for number in 0.. {
        let rest = &file[offset..];
        let at = offset as u64;
        if rest.is_empty() && at >= checkpoint_end {
            break;
        }
        let Some((_, payload)) = frame(rest, header.salt, number).filter(|(found, _)| *found == number)
        else {
            if at < checkpoint_end {
                return Err(Damage { offset: at, what: "the checkpoint is damaged or cut short" });
            }
            if valid_frame_follows(rest, header.salt, number) {
                return Err(Damage { offset: at, what: "a record is damaged, and valid ones follow it" });
            }
            torn = Some((at, tail::judge(rest, at, header.salt, number)?));
            break;
        };
        let mut input = payload;
        while !input.is_empty() {
            let unknown = Damage { offset: at, what: "it holds a record that this version does not know" };
            let record = Record::decode(&mut input, form).ok_or(unknown)?;
            if record.key().cluster.position() >= header.clusters.len() {
                return Err(Damage {
                    offset: at,
                    what: "it holds a record of a cluster that its header does not name",
                });
            }
            records.push((at, record));
        }
        offset += FRAME_HEAD_BYTES + payload.len();
    }
    Ok(Scan { header, records, torn })
}

fn valid_frame_follows(rest: &[u8], salt: u32, number: u64) -> bool {
    memchr::memmem::find_iter(rest, &MARKER.to_le_bytes())
        .filter(|&place| place > 0)
        .any(|place| frame(&rest[place..], salt, number).is_some())
}
