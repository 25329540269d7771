//! Networks as people write them: an IP address, or one with the number of its leading bits that count.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::value::{quote, scalar};

/// Addresses that begin with the same bits. One address alone has all of its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether the address is one of these. An IPv4 address that is written as IPv6 is that IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(address.to_canonical(), self.bits).is_some_and(|masked| masked == self.address)
    }
}

/// The address without what stands behind its first `bits`. None if it has fewer.
fn masked(address: IpAddr, bits: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let dropped = 32_u32.checked_sub(bits.into())?;
            let mask = u32::MAX.checked_shl(dropped).unwrap_or(0);
            Some(Ipv4Addr::from_bits(address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let dropped = 128_u32.checked_sub(bits.into())?;
            let mask = u128::MAX.checked_shl(dropped).unwrap_or(0);
            Some(Ipv6Addr::from_bits(address.to_bits() & mask).into())
        }
    }
}

impl FromStr for Network {
    type Err = &'static str;

    /// `10.0.0.7`, `10.0.0.0/8`, `2001:db8::/32`. Bits behind those that count are dropped.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        let expected =
            "expected an IP address, or one with the number of bits that count, such as 10.0.0.0/8";
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| expected)?;
        let address = address.to_canonical();
        let bits = match bits {
            Some(bits) => bits.parse().map_err(|_| expected)?,
            None if address.is_ipv4() => 32,
            None => 128,
        };
        Ok(Self { address: masked(address, bits).ok_or(expected)?, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        match self.bits == whole {
            true => self.address.fmt(out),
            false => write!(out, "{}/{}", self.address, self.bits),
        }
    }
}

scalar!(Network, |value, _kind| value.as_str().and_then(|text| text.parse().ok()), |this, _kind| quote(
    &this.to_string()
));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_a_network_by_its_first_bits() {
        for (network, address, expect) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.9.9.9/8", "10.1.1.1", true),
            ("10.0.0.7", "10.0.0.7", true),
            ("10.0.0.7", "10.0.0.8", false),
            ("10.0.0.7", "::ffff:10.0.0.7", true),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("2001:db8::/64", "10.0.0.7", false),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), expect, "{network} {address}");
        }
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "ten", "10.0.0.0/", "10.0.0/8", "a/8"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        for (text, expect) in [
            ("10.0.0.7", "10.0.0.7"),
            ("10.0.0.7/8", "10.0.0.0/8"),
            ("::1/128", "::1"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), expect);
        }
    }
}
