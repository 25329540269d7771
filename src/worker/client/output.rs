//! The bytes on their way to one client (d).
//!
//! Small replies gather in one buffer and leave with one write per burst; a large reply is the very buffer that it was
//! read into. Owns the bytes only: when to write, and what happens when the client does not read, is decided by the
//! connection.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::Bytes;

use crate::limits::{KEPT_BYTES_MAX, LARGE_REPLY_BYTES, OUTPUT_KEPT_BYTES_MAX, SLICES_MAX};
use crate::net::Stream;

/// The output queue of one client: `chunks`, then `tail`.
#[derive(Debug, Default)]
pub struct Output {
    chunks: VecDeque<Bytes>,
    chunk_bytes: usize,
    tail: Vec<u8>,
    /// How much of the tail has been written; only ever above zero while `chunks` is empty.
    tail_written: usize,
}

impl Output {
    /// Bytes that have not been written.
    pub fn len(&self) -> usize {
        self.chunk_bytes + self.tail.len() - self.tail_written
    }

    /// Whether everything was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives back what the largest burst has left behind. The buffer of small replies is given back as soon as it is empty.
    pub fn give_back(&mut self) {
        if self.chunks.is_empty() && self.chunks.capacity() > KEPT_BYTES_MAX / size_of::<Bytes>() {
            self.chunks = VecDeque::new();
        }
    }

    /// Where small replies are encoded.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Appends a whole reply, without copying it when it is large.
    pub fn push(&mut self, reply: Bytes) {
        if reply.len() < LARGE_REPLY_BYTES {
            self.tail.extend_from_slice(&reply);
            return;
        }
        if self.tail.len() > self.tail_written {
            let mut tail = Bytes::from(std::mem::take(&mut self.tail));
            let _ = tail.split_to(self.tail_written);
            self.chunk_bytes += tail.len();
            self.chunks.push_back(tail);
        } else {
            self.tail.clear();
        }
        self.tail_written = 0;
        self.chunk_bytes += reply.len();
        self.chunks.push_back(reply);
    }

    /// Writes until nothing is left (`Ok(true)`) or the socket takes no more (`Ok(false)`).
    ///
    /// # Errors
    /// The client's connection is broken.
    pub fn write_to(&mut self, stream: &mut Stream) -> io::Result<bool> {
        self.write_with(|slices| match slices {
            [one] => stream.try_write(one),
            _ => stream.try_write_vectored(slices),
        })
    }

    /// As [`Output::write_to`], also while the runtime has yet to hear that the socket takes something: the kernel says so only
    /// when a good part of its buffer is free, which takes a slow reader long.
    ///
    /// # Errors
    /// The client's connection is broken.
    pub fn press_into(&mut self, stream: &mut Stream) -> io::Result<bool> {
        self.write_with(|slices| stream.press(slices))
    }

    fn write_with(&mut self, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<bool> {
        while !self.is_empty() {
            match self.write_once(&mut write) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn write_once(&self, write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<usize> {
        if self.chunks.is_empty() {
            return write(&[IoSlice::new(&self.tail[self.tail_written..])]);
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(chunk);
            count += 1;
        }
        if count < SLICES_MAX {
            slices[count] = IoSlice::new(&self.tail[self.tail_written..]);
            count += 1;
        }
        write(&slices[..count])
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(front) = self.chunks.front_mut() {
            let step = count.min(front.len());
            let _ = front.split_to(step);
            self.chunk_bytes -= step;
            count -= step;
            if !front.is_empty() {
                return;
            }
            self.chunks.pop_front();
        }
        self.tail_written += count;
        if self.tail_written == self.tail.len() {
            self.tail_written = 0;
            self.tail.clear();
            if self.tail.capacity() > OUTPUT_KEPT_BYTES_MAX {
                self.tail = Vec::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(output: &Output) -> Vec<u8> {
        let mut bytes: Vec<u8> = output.chunks.iter().flat_map(|chunk| chunk.to_vec()).collect();
        bytes.extend_from_slice(&output.tail[output.tail_written..]);
        bytes
    }

    #[test]
    fn small_and_large_replies_keep_their_order_however_they_are_written() {
        for step in [1, 1000, 16 * 1024, 1 << 20] {
            let mut output = Output::default();
            let mut expected = Vec::new();
            let mut written = Vec::new();
            for round in 0..20_u8 {
                output.tail().extend_from_slice(&[round; 3]);
                expected.extend_from_slice(&[round; 3]);
                let large = Bytes::from(vec![round; LARGE_REPLY_BYTES + usize::from(round)]);
                expected.extend_from_slice(&large);
                output.push(large);
                let ready = pending(&output);
                let count = step.min(ready.len());
                written.extend_from_slice(&ready[..count]);
                output.advance(count);
            }
            written.extend_from_slice(&pending(&output));
            assert!(written == expected, "in steps of {step}");
            assert_eq!(output.len(), pending(&output).len());
        }
    }
}
