//! The bytes of a flush: many operations of one sale as one call of the hot script.
//!
//! Owns the layout of the arguments that `reserve.lua` documents. Deliberately does not decide what is in a flush, or when it goes.

use bytes::BytesMut;

use super::{
    op::{OPS_PER_CALL_MAX, ReserveOp},
    scripts::Script,
};
use crate::resp::encode;

/// Everything of a call but its operations.
#[derive(Clone, Copy, Debug)]
pub struct ReserveCall<'a> {
    /// From [`super::sale_key`].
    pub sale_key: &'a [u8],
    /// The gateway's id: part of the token.
    pub gateway: &'a [u8],
    /// The other part: larger than that of the flush of this sale before, and the same when this flush is sent again. `None` where no operation writes
    /// ([`super::OpKind::is_write`]).
    pub sequence: Option<u64>,
    /// Send the source along: Redis said that it does not know the script.
    pub with_body: bool,
}

impl ReserveCall<'_> {
    /// Appends the call. It has at most [`OPS_PER_CALL_MAX`] operations.
    pub fn encode<'o>(&self, ops: impl ExactSizeIterator<Item = &'o ReserveOp>, out: &mut BytesMut) {
        debug_assert!(ops.len() <= OPS_PER_CALL_MAX);
        encode::array(out, 6 + 3 * ops.len());
        Script::Reserve.encode_head(self.sale_key, self.with_body, out);
        encode::bulk(out, self.gateway);
        bulk_number(self.sequence, out);
        for op in ops {
            encode::bulk(out, &op.head());
            encode::bulk(out, &op.user);
            encode::bulk(out, &op.id);
        }
    }
}

fn bulk_number(number: Option<impl itoa::Integer>, out: &mut BytesMut) {
    let mut digits = itoa::Buffer::new();
    encode::bulk(out, number.map_or("", |number| digits.format(number)).as_bytes());
}
