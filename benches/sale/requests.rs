//! The requests of a crowd, rendered before it comes.

use bytes::BytesMut;
use hotgate::demo::load::{Arrival, Catalogue};
use hotgate::reserve::{OpKind, ReserveCall, ReserveOp, sale_key};
use hotgate::resp::{bulk_payload, elements};

/// Where requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Road {
    /// To Redis: each is a call of the script.
    Straight,
    /// To the gateway: each is a `RESERVE` command.
    Through,
}

/// What each of a crowd wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A place; each is another customer.
    Places,
    /// A place in a sale that is sold out, by customers who hold none.
    PlacesOfStrangers,
    /// To know what he holds.
    Holdings,
}

/// A crowd before a sale.
pub struct Crowd {
    pub catalogue: Catalogue,
    requests: u32,
}

impl Crowd {
    pub fn new(road: Road, sku: &str, wish: Wish, requests: u32) -> Crowd {
        let mut catalogue = Catalogue::default();
        let key = sale_key(sku.as_bytes());
        for number in 0..requests {
            let name = match wish {
                Wish::PlacesOfStrangers => format!("stranger{number:08}"),
                Wish::Places | Wish::Holdings => format!("user{number:08}"),
            };
            let kind = if wish == Wish::Holdings { OpKind::Check } else { OpKind::Add };
            match road {
                Road::Straight => {
                    let op = ReserveOp {
                        count: (kind == OpKind::Add).then_some(1),
                        ..ReserveOp::on(kind, name.as_bytes())
                    };
                    let call = ReserveCall { sale_key: &key, gateway: b"", sequence: None, with_body: false };
                    let mut bytes = BytesMut::new();
                    call.encode([op].iter(), &mut bytes);
                    let words: Vec<&[u8]> =
                        elements(&bytes).into_iter().flatten().filter_map(bulk_payload).collect();
                    catalogue.add(&words, 0, 0);
                }
                Road::Through => {
                    let verb: &[u8] = if kind == OpKind::Add { b"RESERVE.ADD" } else { b"RESERVE.CHECK" };
                    catalogue.add(&[verb, sku.as_bytes(), name.as_bytes()], 0, 0);
                }
            }
        }
        Crowd { catalogue, requests }
    }

    /// When each is due.
    pub fn arrivals(&self, rate: f64) -> impl Iterator<Item = Arrival> {
        (0..self.requests)
            .map(move |request| Arrival { due_us: (f64::from(request) * 1e6 / rate) as u32, request })
    }
}
