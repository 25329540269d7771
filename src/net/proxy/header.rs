//! The PROXY header, versions 1 and 2, by which a balancer names the client of a connection: pure, bytes in, addresses out.
//!
//! The specification is HAProxy's (`doc/proxy-protocol.txt`). A header names both ends of the client's connection to the balancer;
//! or it names none, for connections that the balancer makes for itself (health checks), and for kinds of addresses other than IP.
//! Deliberately ignores what version 2 may say beyond addresses (TLVs).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The longest header of version 1, with its end (specification, section 2.1).
const LINE_BYTES_MAX: usize = 107;

/// The longest header of version 2. The addresses take 36 bytes at the most; the rest is for what balancers add.
const BINARY_BYTES_MAX: usize = 4096;

/// How a header of version 1 begins.
const LINE_START: &[u8] = b"PROXY ";

/// How one of version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What version 2 has before the addresses: the signature, version and command, kind of addresses, length of what follows.
const BINARY_START_BYTES: usize = SIGNATURE.len() + 4;

/// The ends of a connection, as a balancer tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Where the client is.
    pub client: SocketAddr,
    /// What the client has dialled: an address of the balancer.
    pub dialled: SocketAddr,
}

/// A header that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its bytes. Those behind are the client's.
    pub length: usize,
    /// What it says. None: the connection is the balancer's own.
    pub ends: Option<Ends>,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// They begin in another way.
    Missing,
    /// They begin as a header does, and this is wrong with it.
    Malformed(&'static str),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => out.write_str(
                "its address is in gateway.proxy_protocol_from, and it began without a PROXY header: have the balancer \
                 send one, or take the address out",
            ),
            Self::Malformed(what) => write!(out, "its PROXY header is malformed: expected {what}"),
        }
    }
}

/// Reads the header that these bytes begin with. `None` while all of them belong to one that is not whole.
///
/// # Errors
/// They are no header, whatever follows.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let begins = |start: &[u8]| bytes.iter().zip(start).all(|(byte, expected)| byte == expected);
    if begins(SIGNATURE) {
        parse_binary(bytes)
    } else if begins(LINE_START) {
        parse_line(bytes)
    } else {
        Err(HeaderError::Missing)
    }
}

fn parse_line(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let window = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return match bytes.len() < LINE_BYTES_MAX {
            true => Ok(None),
            false => Err(HeaderError::Malformed("the end of a line within 107 bytes")),
        };
    };
    let line = std::str::from_utf8(&window[..end]).map_err(|_| HeaderError::Malformed("text"))?;
    let ends = match line.split(' ').collect::<Vec<_>>().as_slice() {
        [_, "UNKNOWN", ..] => None,
        [_, family @ ("TCP4" | "TCP6"), client, dialled, client_port, dialled_port] => {
            let end = |address: &str, port: &str| {
                let address: IpAddr = address.parse().ok()?;
                (address.is_ipv4() == (*family == "TCP4")).then_some(())?;
                Some(SocketAddr::new(address, parse_port(port)?))
            };
            let ends = end(client, client_port).zip(end(dialled, dialled_port));
            let (client, dialled) = ends
                .ok_or(HeaderError::Malformed("two addresses of the family that it names, and two ports"))?;
            Some(Ends { client, dialled })
        }
        _ => {
            return Err(HeaderError::Malformed(
                "PROXY TCP4|TCP6 address address port port, or PROXY UNKNOWN",
            ));
        }
    };
    Ok(Some(Header { length: end + 2, ends }))
}

/// A port as the specification writes it: digits, and no leading zero.
fn parse_port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

fn parse_binary(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let Some((start, rest)) = bytes.split_at_checked(BINARY_START_BYTES) else { return Ok(None) };
    let [command, kind, high, low] = [12, 13, 14, 15].map(|place| start[place]);
    if command >> 4 != 2 {
        return Err(HeaderError::Malformed("version 1 or 2"));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if BINARY_START_BYTES + length > BINARY_BYTES_MAX {
        return Err(HeaderError::Malformed("at most 4096 bytes"));
    }
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let ends = match command & 0x0f {
        // The balancer's own connection, whatever addresses it gives.
        0 => None,
        1 => parse_ends(kind, body)?,
        _ => return Err(HeaderError::Malformed("the command LOCAL or PROXY")),
    };
    Ok(Some(Header { length: BINARY_START_BYTES + length, ends }))
}

/// The addresses of TCP over IPv4 and IPv6. Other kinds name no client that could be shown.
fn parse_ends(kind: u8, body: &[u8]) -> Result<Option<Ends>, HeaderError> {
    let ends = match kind {
        0x11 => both_ends(body, |at| Some((at + 4, IpAddr::from(bytes_at::<4>(body, at)?)))),
        0x21 => both_ends(body, |at| Some((at + 16, IpAddr::from(bytes_at::<16>(body, at)?)))),
        _ => return Ok(None),
    };
    ends.map(Some).ok_or(HeaderError::Malformed("addresses and ports as long as their kind says"))
}

/// Two addresses, each read by `address` with where it ends, then their ports.
fn both_ends(body: &[u8], address: impl Fn(usize) -> Option<(usize, IpAddr)>) -> Option<Ends> {
    let (second, client) = address(0)?;
    let (ports, dialled) = address(second)?;
    let port = |at| bytes_at(body, at).map(u16::from_be_bytes);
    Some(Ends {
        client: SocketAddr::new(client, port(ports)?),
        dialled: SocketAddr::new(dialled, port(ports + 2)?),
    })
}

fn bytes_at<const COUNT: usize>(bytes: &[u8], at: usize) -> Option<[u8; COUNT]> {
    bytes.get(at..at + COUNT)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIXTEEN: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];

    fn binary(command: u8, kind: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [SIGNATURE, &[command, kind], &length, body].concat()
    }

    fn four() -> Vec<u8> {
        [&[203, 0, 113, 9][..], &[192, 0, 2, 1], &4000_u16.to_be_bytes(), &6379_u16.to_be_bytes()].concat()
    }

    fn ends(client: &str, dialled: &str) -> Option<Ends> {
        Some(Ends { client: client.parse().unwrap(), dialled: dialled.parse().unwrap() })
    }

    #[test]
    fn both_versions_name_both_ends() {
        let six = [&SIXTEEN[..], &SIXTEEN, &1_u16.to_be_bytes(), &2_u16.to_be_bytes()].concat();
        let with_more = [four(), b"\x03\x00\x04abcd".to_vec()].concat();
        let told = || ends("203.0.113.9:4000", "192.0.2.1:6379");
        let cases: [(Vec<u8>, Option<Ends>); 9] = [
            (b"PROXY TCP4 203.0.113.9 192.0.2.1 4000 6379\r\n".to_vec(), told()),
            (b"PROXY TCP6 2001:db8::9 ::1 65535 0\r\n".to_vec(), ends("[2001:db8::9]:65535", "[::1]:0")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (binary(0x21, 0x11, &four()), told()),
            (binary(0x21, 0x11, &with_more), told()),
            (binary(0x21, 0x21, &six), ends("[2001:db8::9]:1", "[2001:db8::9]:2")),
            // Its own connection; and one over a Unix socket.
            (binary(0x20, 0x11, &four()), None),
            (binary(0x21, 0x31, &[0; 216]), None),
        ];
        for (bytes, expect) in cases {
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]), Ok(None), "{cut} of {bytes:?}");
            }
            let followed = [&bytes[..], b"*1\r\n$4\r\nPING\r\n"].concat();
            for bytes in [&bytes, &followed] {
                let header = parse(bytes).unwrap().unwrap();
                assert_eq!(header.ends, expect);
                assert_eq!(&followed[header.length..], b"*1\r\n$4\r\nPING\r\n");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused_as_soon_as_that_is_certain() {
        for bytes in
            [&b"*"[..], b"PING\r\n", b"PRO*", b"\x16\x03\x01", b"\r\n\r\nPING", b"\r\n\r\n\0\r\nQUIT\r"]
        {
            assert_eq!(parse(bytes), Err(HeaderError::Missing), "{bytes:?}");
        }
        let endless = [LINE_START, &[b'a'; 101]].concat();
        let malformed: [Vec<u8>; 14] = [
            b"PROXY \r\n".to_vec(),
            b"PROXY TCP4\r\n".to_vec(),
            b"PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::1 1 2\r\n".to_vec(),
            b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n".to_vec(),
            endless,
            binary(0x11, 0x11, &four()),
            binary(0x22, 0x11, &four()),
            binary(0x21, 0x11, &four()[..11]),
        ];
        for bytes in malformed {
            assert!(matches!(parse(&bytes), Err(HeaderError::Malformed(_))), "{bytes:?}");
        }
        // Its length is believed before its bytes are kept.
        let huge = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
        assert!(matches!(parse(&huge), Err(HeaderError::Malformed(_))));
    }
}
