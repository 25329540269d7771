//! Whose a request is: the tenant of its user, or of a key that it names.
//!
//! Owns names and patterns. It deliberately knows no limit and counts nothing.

use super::first_match::FirstMatch;

/// A tenant of the configuration, by its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TenantId(pub u16);

impl TenantId {
    /// Its place in the list.
    pub const fn position(self) -> usize {
        self.0 as usize
    }
}

/// What makes a request a tenant's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantOf {
    /// A key that it names matches this pattern.
    Keys(String),
    /// Its connection has logged in as this user.
    User(String),
}

/// All tenants.
#[derive(Debug)]
pub struct TenantTable {
    users: ahash::HashMap<Box<[u8]>, TenantId>,
    keys: FirstMatch,
    /// By the place of the pattern in `keys`.
    by_pattern: Box<[TenantId]>,
}

impl TenantTable {
    /// Makes them ready, in the order of the configuration. The first pattern that matches a key decides.
    pub fn new<'t>(tenants: impl Iterator<Item = &'t TenantOf> + Clone) -> Self {
        let numbered = || (0..).map(TenantId).zip(tenants.clone());
        let users = numbered().filter_map(|(id, of)| match of {
            TenantOf::User(user) => Some((user.as_bytes().into(), id)),
            TenantOf::Keys(_) => None,
        });
        let patterns = || {
            numbered().filter_map(|(id, of)| match of {
                TenantOf::Keys(pattern) => Some((id, pattern.as_bytes())),
                TenantOf::User(_) => None,
            })
        };
        Self {
            users: users.collect(),
            keys: FirstMatch::new(patterns().map(|(_, pattern)| pattern)),
            by_pattern: patterns().map(|(id, _)| id).collect(),
        }
    }

    /// The tenant whose user this is.
    pub fn by_user(&self, user: &[u8]) -> Option<TenantId> {
        self.users.get(user).copied()
    }

    /// The tenant whose key this is.
    pub fn by_key(&self, key: &[u8]) -> Option<TenantId> {
        self.keys.place_of(key).map(|place| self.by_pattern[place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_found_by_its_user_and_by_its_keys() {
        let tenants =
            [TenantOf::Keys("t:7:*".into()), TenantOf::User("shop-a".into()), TenantOf::Keys("t:*".into())];
        let table = TenantTable::new(tenants.iter());
        assert_eq!(table.by_user(b"shop-a"), Some(TenantId(1)));
        assert_eq!(table.by_user(b"shop-b"), None);
        assert_eq!(table.by_key(b"t:7:x"), Some(TenantId(0)));
        assert_eq!(table.by_key(b"t:8:x"), Some(TenantId(2)));
        assert_eq!(table.by_key(b"u"), None);
    }
}
