//! Byte streams: how they come to be, and what they are made of.
//!
//! Clients, upstream nodes, the control side and the HTTP side all talk over a [`Stream`]: some come from a [`Listener`], others
//! from [`connect()`] or a [`Dialer`]. What a stream is made of is a variant of [`Stream`], `Listener` and
//! [`SocketName`], and nothing outside this directory changes with it: no other file names a socket type.
//!
//! Owns system calls on sockets and what they mean. Deliberately knows no protocol, keeps no connection alive and never retries:
//! that is the business of whoever holds the stream.

mod connect;
mod dialer;
pub mod handover_socket;
mod listener;
pub mod local_requests;
mod name;
mod proxy;
mod stream;
pub mod tls;
mod unix;

pub use connect::{ConnectError, connect, resolve};
pub use dialer::Dialer;
pub use listener::{BoundListener, Listener, listen_advice};
pub use name::SocketName;
pub use proxy::{Ends, HeaderError, ProxyError};
pub use stream::Stream;
pub use unix::{SocketFile, listen_at, listen_on_inherited};

#[cfg(test)]
mod tests;
