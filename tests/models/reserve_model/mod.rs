//! What reservations promise, checked against a pure model: the real scripts in a real server, without a gateway.

mod bounds;
mod desk;
mod ledger;
mod model;
mod moves;
mod play;
mod rights;
mod slots;
mod terms;
