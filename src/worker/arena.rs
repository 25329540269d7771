//! Things owned by a worker, found by a key that goes stale when the thing goes away.
//!
//! Clients and upstream connections refer to each other, and either may vanish at any time. A reference is a key, and a
//! key whose thing is gone finds nothing, also when its place has been taken by another.

use std::fmt;
use std::marker::PhantomData;

use slab::Slab;

/// Names one thing in an [`Arena`].
pub struct Key<T> {
    place: u32,
    generation: u32,
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.place, self.generation) == (other.place, other.generation)
    }
}

impl<T> Eq for Key<T> {}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.place, self.generation)
    }
}

impl<T> Key<T> {
    /// The key as a number that is its own for as long as the arena lives (until 2^32 things have come and gone).
    pub fn to_number(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.place)
    }

    /// The key of a number that [`Key::to_number`] gave.
    pub fn from_number(number: u64) -> Self {
        Self { place: number as u32, generation: (number >> 32) as u32, kind: PhantomData }
    }
}

/// The things.
pub struct Arena<T> {
    places: Slab<(u32, T)>,
    generation: u32,
    /// Places that were ever taken.
    places_used: usize,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { places: Slab::new(), generation: 0, places_used: 0 }
    }
}

impl<T> Arena<T> {
    /// Adds what `make` builds around its own key.
    pub fn insert(&mut self, make: impl FnOnce(Key<T>) -> T) -> Key<T> {
        self.generation = self.generation.wrapping_add(1);
        let entry = self.places.vacant_entry();
        let key = Key { place: entry.key() as u32, generation: self.generation, kind: PhantomData };
        self.places_used = self.places_used.max(entry.key() + 1);
        entry.insert((key.generation, make(key)));
        key
    }

    /// The thing, if it is still there.
    pub fn get(&self, key: Key<T>) -> Option<&T> {
        match self.places.get(key.place as usize) {
            Some((generation, thing)) if *generation == key.generation => Some(thing),
            _ => None,
        }
    }

    /// The thing, if it is still there.
    pub fn get_mut(&mut self, key: Key<T>) -> Option<&mut T> {
        match self.places.get_mut(key.place as usize) {
            Some((generation, thing)) if *generation == key.generation => Some(thing),
            _ => None,
        }
    }

    /// Takes the thing out.
    pub fn remove(&mut self, key: Key<T>) -> Option<T> {
        self.get(key)?;
        Some(self.places.remove(key.place as usize).1)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().map(|(_, (_, thing))| thing)
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().map(|(_, (_, thing))| thing)
    }

    /// The thing in a place, if there is one. Places count from 0 to [`Self::places`], and things keep theirs.
    pub fn at(&mut self, place: usize) -> Option<&mut T> {
        self.places.get_mut(place).map(|(_, thing)| thing)
    }

    /// How many places there are, empty ones included.
    pub fn places(&self) -> usize {
        self.places_used
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_something_gone_finds_nothing_though_its_place_is_taken() {
        let mut arena = Arena::default();
        let first = arena.insert(|_| "first");
        assert_eq!(arena.remove(first), Some("first"));
        let second = arena.insert(|_| "second");
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.remove(first), None);
        assert_eq!(arena.get(second), Some(&"second"));
        assert_eq!(arena.len(), 1);
    }
}
