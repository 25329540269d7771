use super::*;
use crate::demo::private_redis::PrivateServer;
use tokio::net::TcpListener;

const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(5), reply: Duration::from_secs(5) };

fn credentials(user: Option<&str>, password: &str) -> Credentials {
    Credentials {
        user: user.map(str::to_owned),
        password: Some(Secret::new(password)),
        ..Credentials::default()
    }
}

#[tokio::test]
async fn a_real_server_is_asked() {
    let server = PrivateServer::start(&[]).await.unwrap();
    let mut client =
        UpstreamClient::connect(&server.address(), &Credentials::default(), TIMEOUTS).await.unwrap();
    assert!(client.text(&[b"INFO", b"server"]).await.unwrap().contains("redis_version:"));
    assert!(matches!(client.command(&[b"NOPE"]).await, Err(UpstreamError::Refused(_))));
    assert_eq!(
        client.command(&[b"ECHO", b"a\r\nb"]).await.unwrap(),
        OwnedFrame::BulkString(b"a\r\nb".to_vec())
    );
    let commands = client.command_raw(&[b"COMMAND"]).await.unwrap();
    assert!(matches!(decode(&commands), Ok(Some((OwnedFrame::Array(all), _))) if all.len() > 100));
}

#[tokio::test]
async fn credentials_are_presented() {
    let acl = ["--requirepass", "secret", "--user", "gate", "on", ">pass", "~*", "+@all"];
    let server = PrivateServer::start(&acl).await.unwrap();
    let with_next =
        |next: &str| Credentials { next: Some(Secret::new(next)), ..credentials(Some("gate"), "not yet") };
    for (credentials, expect) in [
        (with_next("pass"), true),
        (with_next("neither"), false),
        (credentials(None, "secret"), true),
        (credentials(Some("gate"), "pass"), true),
        (credentials(Some("gate"), "secret"), false),
        (credentials(None, ""), false),
    ] {
        let client = UpstreamClient::connect(&server.address(), &credentials, TIMEOUTS).await;
        assert_eq!(client.is_ok(), expect, "{credentials:?}");
        assert!(expect || matches!(client, Err(UpstreamError::Auth(_))));
    }
}

/// Answers the first request with `answer`, and holds the connection open.
async fn impostor(answer: Vec<u8>) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::new("127.0.0.1", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 64];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(&answer).await;
        let _ = stream.read(&mut request).await;
    });
    address
}

#[tokio::test]
async fn what_is_no_answer_is_an_error() {
    let endless = [b"$99999999\r\n".to_vec(), vec![b'x'; REPLY_BYTES_MAX + 1]].concat();
    for (answer, expect) in [
        (b"*1\r\n".repeat(50_000), UpstreamError::Unreadable("nested too deep")),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), UpstreamError::Unreadable("not RESP2")),
        (endless, UpstreamError::Unreadable("longer than any answer to what was asked")),
    ] {
        let address = impostor(answer).await;
        let mut client = UpstreamClient::connect(&address, &Credentials::default(), TIMEOUTS).await.unwrap();
        assert_eq!(client.command(&[b"PING"]).await, Err(expect));
    }
}

#[tokio::test]
async fn a_silent_server_is_not_waited_for() {
    let address = impostor(Vec::new()).await;
    let timeouts = Timeouts { reply: Duration::from_millis(20), ..TIMEOUTS };
    let mut client = UpstreamClient::connect(&address, &Credentials::default(), timeouts).await.unwrap();
    assert_eq!(client.command(&[b"PING"]).await, Err(UpstreamError::ReplyTimeout));
}
