//! The addresses of one name, looked up again and again.
//!
//! A resolver may give a part of them at a time, another one each time. So an address counts as removed only when [`ABSENCES`] answers in a row
//! lacked it. No answer says nothing.

use std::net::IpAddr;

/// Answers without an address until it counts as removed: some three seconds.
const ABSENCES: u8 = 3;

/// See the module.
#[derive(Debug, Default)]
pub struct Name {
    /// Each with the number of answers in a row that lacked it.
    known: Vec<(IpAddr, u8)>,
}

impl Name {
    /// The resolver has given these, in order. Returns those that the name has, in order.
    pub fn note(&mut self, answer: &[IpAddr]) -> Vec<IpAddr> {
        for (address, absences) in &mut self.known {
            *absences = if answer.contains(address) { 0 } else { absences.saturating_add(1) };
        }
        self.known.retain(|(_, absences)| *absences < ABSENCES);
        let new = answer.iter().filter(|address| !self.known.iter().any(|(known, _)| known == *address));
        let new: Vec<(IpAddr, u8)> = new.map(|address| (*address, 0)).collect();
        self.known.extend(new);
        self.known.sort_unstable();
        self.known.iter().map(|(address, _)| *address).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_gone_when_it_was_lacking_three_times_in_a_row() {
        let mut name = Name::default();
        let mut check = |answer: &[u8], expect: &[u8]| {
            let of = |all: &[u8]| all.iter().map(|last| IpAddr::from([10, 0, 0, *last])).collect::<Vec<_>>();
            assert_eq!(name.note(&of(answer)), of(expect), "{answer:?}");
        };
        check(&[1], &[1]);
        check(&[2], &[1, 2]);
        check(&[2], &[1, 2]);
        check(&[2], &[2]);
        // Answers that hold a part each.
        check(&[1, 3], &[1, 2, 3]);
        check(&[2], &[1, 2, 3]);
        check(&[3], &[1, 2, 3]);
        check(&[1], &[1, 2, 3]);
    }
}
