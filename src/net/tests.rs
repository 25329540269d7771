//! Streams over the loopback interface.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::config::Address;

const LOOPBACK: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

fn host(address: SocketAddr) -> Address {
    Address::new(address.ip().to_string(), address.port())
}

/// Both ends of a stream: the one that dialled, and the accepted one.
async fn pair() -> (Stream, Stream) {
    let bound = BoundListener::alone(LOOPBACK.into()).unwrap();
    let address = host(bound.address().unwrap());
    let listener = bound.accepting().unwrap();
    (connect(&address, PATIENCE).await.unwrap(), listener.accept().await.unwrap())
}

#[tokio::test]
async fn the_ends_of_a_stream_name_each_other() {
    let (ours, theirs) = pair().await;
    assert_eq!(ours.peer().unwrap(), theirs.local().unwrap());
    assert_eq!(ours.local().unwrap(), theirs.peer().unwrap());
    let name = ours.local().unwrap();
    assert_eq!(name.to_string(), format!("127.0.0.1:{}", name.port()));
    assert_eq!((name.host().as_str(), name.is_loopback()), ("127.0.0.1", true));
    let name = SocketName::from("[2001:db8::1]:6380".parse::<SocketAddr>().unwrap());
    assert_eq!((name.host().as_str(), name.is_loopback()), ("2001:db8::1", false));
    assert_eq!(name.to_string(), "[2001:db8::1]:6380");
}

#[tokio::test]
async fn bytes_and_their_end_have_arrived_until_they_are_read() {
    let (mut ours, mut theirs) = pair().await;
    assert!(!theirs.has_arrived());
    ours.write_all(b"ab").await.unwrap();
    // What the loopback interface was given has arrived.
    assert!(theirs.has_arrived());
    assert_eq!(theirs.read_u8().await.unwrap(), b'a');
    assert!(theirs.has_arrived());
    assert_eq!(theirs.read_u8().await.unwrap(), b'b');
    assert!(!theirs.has_arrived());
    drop(ours);
    assert!(theirs.has_arrived(), "the end");
    assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
    assert!(theirs.has_arrived(), "the end stays");
}

#[tokio::test]
async fn a_full_stream_refuses_until_its_peer_has_read() {
    let (mut ours, mut theirs) = pair().await;
    let block = vec![7; 1 << 16];
    let slices = [IoSlice::new(&block), IoSlice::new(&block)];
    let mut sent = 0;
    let refused = loop {
        match ours.try_write_vectored(&slices) {
            Ok(count) => sent += count,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    assert_eq!(ours.try_write(&block).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    // The kernel takes what is left of its buffer, and then no more either.
    let refused = loop {
        match ours.press(&slices) {
            Ok(count) => sent += count,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    let (mut read, mut into) = (0, vec![0; 1 << 16]);
    while read < sent {
        read += theirs.read(&mut into).await.unwrap();
    }
    std::future::poll_fn(|cx| ours.poll_write_ready(cx)).await.unwrap();
    assert!(ours.try_write(b"x").is_ok());
}

#[tokio::test]
async fn several_may_share_an_address_and_one_alone_may_not() {
    let first = BoundListener::shared(LOOPBACK.into(), 8).unwrap();
    let address = first.address().unwrap();
    let second = BoundListener::shared(address, 8).unwrap();
    assert_eq!(second.address().unwrap(), address);
    let error = BoundListener::alone(address).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn why_there_is_no_connection() {
    let bound = BoundListener::alone(LOOPBACK.into()).unwrap();
    let address = host(bound.address().unwrap());
    drop(bound);
    let error = connect(&address, PATIENCE).await.unwrap_err();
    assert!(
        matches!(&error, ConnectError::Unreachable(why) if why.kind() == io::ErrorKind::ConnectionRefused)
    );
    assert!(error.to_string().starts_with("Connection refused"), "{error}");
    // No name is that long, so no server is asked.
    let error = connect(&Address::new("a".repeat(300), 6379), PATIENCE).await.unwrap_err();
    assert!(matches!(error, ConnectError::Resolve(_)), "{error}");
    // Who waits to be accepted beyond the backlog is not answered.
    let bound = BoundListener::shared(LOOPBACK.into(), 1).unwrap();
    let address = host(bound.address().unwrap());
    let mut waiting = Vec::new();
    let error = loop {
        match connect(&address, Some(Duration::from_millis(200))).await {
            Ok(stream) if waiting.len() < 100 => waiting.push(stream),
            outcome => break outcome.unwrap_err(),
        }
    };
    assert!(matches!(error, ConnectError::Timeout), "{error}");
}
