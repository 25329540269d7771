//! One end of the socket between a process and the one that takes over from it: whole messages, each with at most one descriptor.
//!
//! The pair has no name, so nobody else can connect to it, and each end learns at once that the other process has gone. Knows nothing
//! of what the messages say.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair, sockopt,
};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

/// The longest message, in bytes. They hold an address or a sentence.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024;

/// Room for one descriptor beside a message.
const SPACE: usize = rustix::cmsg_space!(ScmRights(1));

/// One end. Its socket keeps messages apart, as one for datagrams does, but is connected: the runtime knows no other type for that.
#[derive(Debug)]
pub struct HandoverSocket(UnixDatagram);

impl HandoverSocket {
    /// This process's end, and the one that the other process gets as its standard input.
    ///
    /// # Errors
    /// The system refuses.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (own, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self::new(own)?, other))
    }

    /// Takes the end that is this process's standard input, which then reads nothing more.
    ///
    /// # Errors
    /// Standard input is something else.
    pub fn take_standard_input() -> io::Result<OwnedFd> {
        let standard_input = io::stdin();
        if sockopt::socket_type(&standard_input)? != SocketType::SEQPACKET {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let own = standard_input.as_fd().try_clone_to_owned()?;
        // The other process has to see this one's end close when this process ends it.
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        Ok(own)
    }

    /// Follows an end on the runtime of the caller.
    ///
    /// # Errors
    /// The runtime can't.
    pub fn new(end: OwnedFd) -> io::Result<Self> {
        UnixDatagram::from_std(end.into()).map(Self)
    }

    /// Sends a message, with a descriptor if one is given.
    ///
    /// # Errors
    /// The other process has gone.
    pub async fn send(&self, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, || send_now(self.0.as_fd(), message, descriptor)).await
    }

    /// The next message; `None` when the other process has gone.
    ///
    /// # Errors
    /// The system refuses.
    pub async fn receive(&self) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
        self.0.async_io(Interest::READABLE, || receive_now(self.0.as_fd())).await
    }
}

/// Sends a message without waiting for room.
///
/// # Errors
/// There is no room, or the other process has gone.
pub fn send_now(end: BorrowedFd<'_>, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.map(|descriptor| [descriptor]);
    if let Some(descriptors) = &descriptors
        && !beside.push(SendAncillaryMessage::ScmRights(descriptors))
    {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(end, &[IoSlice::new(message)], &mut beside, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive_now(end: BorrowedFd<'_>) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut message = vec![0; MESSAGE_BYTES_MAX];
    let mut receive =
        || recvmsg(end, &mut [IoSliceMut::new(&mut message)], &mut beside, RecvFlags::CMSG_CLOEXEC);
    let received = match receive() {
        // The other process has ended without having read everything. What it said last is behind this error.
        Err(error) if error == rustix::io::Errno::CONNRESET => receive()?,
        outcome => outcome?,
    };
    message.truncate(received.bytes);
    let descriptor = beside.drain().find_map(|what| match what {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok((received.bytes > 0).then_some((message, descriptor)))
}
