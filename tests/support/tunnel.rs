//! Brings plain clients to a port that speaks TLS: what they send is sent on in a session, byte for byte, and so are the ends of
//! both directions.

use std::net::{Ipv4Addr, SocketAddr};

use hotgate::config::{Address, Upstream};
use hotgate::net::Dialer;
use hotgate::net::tls::{ClientTls, TlsFiles};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::certificates::{Authority, Pair};

/// How sessions are made: with certificates of this authority, and showing this one.
pub fn dialer(authority: &Authority, shown: Option<&Pair>) -> Dialer {
    let upstream = Upstream {
        tls: true,
        ca_file: Some(authority.ca()),
        cert_file: shown.map(|pair| pair.cert.clone()),
        key_file: shown.map(|pair| pair.key.clone()),
        ..Upstream::default()
    };
    let files = TlsFiles::read(ClientTls::files_of(&upstream)).unwrap();
    Dialer::with_tls(ClientTls::of(&upstream, &files).unwrap().0)
}

/// As [`open`]; each connection to the target begins with these bytes, before the session.
pub fn open_behind(dialer: Dialer, target: SocketAddr, start: Vec<u8>) -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let balancer = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((mut client, _)) = listener.accept().await {
                let start = start.clone();
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(target).await else { return };
                    let Ok(()) = server.write_all(&start).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
    });
    open(dialer, balancer)
}

/// Where plain clients may connect from now on. It is there until the test process ends.
pub fn open(dialer: Dialer, target: SocketAddr) -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            let target = Address::new(target.ip().to_string(), target.port());
            while let Ok((mut plain, _)) = listener.accept().await {
                let (dialer, target) = (dialer.clone(), target.clone());
                tokio::spawn(async move {
                    // A target that lets nobody in closes the plain side as well.
                    let Ok(mut session) = dialer.connect(&target, None).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut plain, &mut session).await;
                });
            }
        });
    });
    address
}
