//! One request, whole, as the rest of the gateway sees it.
//!
//! Owns nothing: it borrows the bytes and the ranges from the connection that read them. Deliberately knows no
//! command, and no other encoding than the array of bulk strings that goes onto the wire.

/// A range of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first byte, counted from the first byte of the request.
    pub start: u32,
    /// The number of bytes.
    pub len: u32,
}

/// One whole request, encoded as an array of bulk strings, and where its arguments lie. Borrows both from the
/// connection that read it, and dies before that connection reads on.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
    behind: &'a [u8],
}

impl<'a> Request<'a> {
    /// Puts together what a `RequestScanner` found: after `RequestScan::Complete` the first `len` bytes of the
    /// buffer, after `RequestScan::Inline` the bytes of `RequestScanner::inline`.
    pub fn new(bytes: &'a [u8], spans: &'a [Span]) -> Self {
        Self { bytes, spans, behind: &[] }
    }

    /// The request in the first `len` bytes of a buffer: what `RequestScan::Complete` found.
    pub fn at_front_of(buffer: &'a [u8], len: usize, spans: &'a [Span]) -> Self {
        let (bytes, behind) = buffer.split_at(len);
        Self { bytes, spans, behind }
    }

    /// How many requests behind this one in its buffer are equal to it, byte for byte, with nothing between them; at
    /// most `max`.
    pub fn repeats(&self, max: usize) -> usize {
        self.behind
            .chunks_exact(self.bytes.len().max(1))
            .take(max)
            .take_while(|next| *next == self.bytes)
            .count()
    }

    /// The request as it goes onto the wire.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The number of arguments, the command's name included: at least 1.
    #[allow(clippy::len_without_is_empty, reason = "a request without arguments does not exist")]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// The argument at this index; 0 is the command's name. `None` behind the last.
    pub fn arg(&self, index: usize) -> Option<&'a [u8]> {
        self.spans.get(index).and_then(|&span| slice(self.bytes, span))
    }

    /// The command's name as the client spelled it.
    pub fn name(&self) -> &'a [u8] {
        self.arg(0).unwrap_or_default()
    }

    /// All arguments in order, the name first.
    pub fn args(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let bytes = self.bytes;
        self.spans.iter().filter_map(move |&span| slice(bytes, span))
    }

    /// Where the arguments lie, relative to [`Self::bytes`].
    pub fn spans(&self) -> &'a [Span] {
        self.spans
    }
}

fn slice(bytes: &[u8], span: Span) -> Option<&[u8]> {
    bytes.get(span.start as usize..)?.get(..span.len as usize)
}
