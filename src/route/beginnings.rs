//! Which of many texts a key begins with: a tree by byte, in which a run of bytes without a branch is one step.
//!
//! A hundred routes for a hundred tenants are so found in a few steps, whatever their number.
//!
//! Owns the texts. It deliberately does not know what stands behind them.

use smallvec::SmallVec;

/// The texts, each with the numbers of those who have it.
#[derive(Debug, Default)]
pub(super) struct Beginnings {
    /// The bytes between the branch above and here.
    text: Box<[u8]>,
    /// Who has the text that ends here, ascending.
    numbers: SmallVec<[u16; 2]>,
    /// What goes on from here, by its first byte, ascending.
    branches: Box<[(u8, Beginnings)]>,
}

impl Beginnings {
    /// The tree of these texts, which are numbered from 0.
    pub fn new<'t>(texts: impl Iterator<Item = &'t [u8]>) -> Self {
        let mut numbered: Vec<(&[u8], u16)> =
            texts.enumerate().map(|(number, text)| (text, number as u16)).collect();
        numbered.sort_unstable();
        Self::behind(0, &numbered)
    }

    /// The part of the tree behind the first `depth` bytes, which these texts have in common.
    fn behind(depth: usize, texts: &[(&[u8], u16)]) -> Self {
        let ([(first, _), ..], [.., (last, _)]) = (texts, texts) else { return Self::default() };
        // What the first and the last of sorted texts have in common, all of them have.
        let end =
            depth + first[depth..].iter().zip(&last[depth..]).take_while(|(one, other)| one == other).count();
        let (here, longer) = texts.split_at(texts.partition_point(|(text, _)| text.len() == end));
        Self {
            text: first[depth..end].into(),
            numbers: here.iter().map(|(_, number)| *number).collect(),
            branches: longer
                .chunk_by(|(one, _), (other, _)| one[end] == other[end])
                .map(|alike| (alike[0].0[end], Self::behind(end, alike)))
                .collect(),
        }
    }

    /// For each text that a key begins with, the shortest first, who has it.
    #[inline]
    pub fn of<'t>(&'t self, key: &'t [u8]) -> impl Iterator<Item = &'t [u16]> {
        let mut next = Some((self, key));
        std::iter::from_fn(move || {
            let (node, rest) = next.take()?;
            // Where many texts branch at once there is nothing to compare.
            let rest = if node.text.is_empty() { rest } else { rest.strip_prefix(&*node.text)? };
            next = rest.first().and_then(|byte| Some((node.branch(*byte)?, rest)));
            Some(node.numbers.as_slice())
        })
    }

    #[inline]
    fn branch(&self, byte: u8) -> Option<&Self> {
        let place = self.branches.binary_search_by_key(&byte, |(first, _)| *first).ok()?;
        Some(&self.branches[place].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_beginning_and_nothing_else() {
        let texts = ["t:1:", "", "t:12:", "t:1:", "counter:", "t:", "\u{ff}", "t:1"];
        let tree = Beginnings::new(texts.iter().map(|text| text.as_bytes()));
        for key in [
            "",
            "t",
            "t:",
            "t:1",
            "t:1:",
            "t:1:x",
            "t:12",
            "t:12:cart",
            "t:2:",
            "counter:7",
            "count",
            "\u{ff}7",
        ] {
            let mut walked: Vec<usize> =
                (0..texts.len()).filter(|number| key.starts_with(texts[*number])).collect();
            walked.sort_by_key(|number| texts[*number].len());
            let found: Vec<usize> =
                tree.of(key.as_bytes()).flatten().map(|number| usize::from(*number)).collect();
            assert_eq!(found, walked, "{key:?}");
        }
        assert_eq!(Beginnings::new(std::iter::empty()).of(b"key").flatten().count(), 0);
    }
}
