//! What a user logged in with that is itself at Redis (`auth.upstream_identity = "same"`).
//!
//! Plain data: sessions own it together, and the last of them to let go wipes it. [`super::upstream::user_logins`] has the connections.

use std::fmt;
use std::rc::Rc;

use zeroize::Zeroizing;

use super::selection::LoginNumber;

/// A name and a password that were right.
pub struct UserLogin {
    /// Which of its worker's. 0 until it is first used.
    pub number: LoginNumber,
    /// The user's name.
    pub name: Box<[u8]>,
    /// Its password.
    pub password: Zeroizing<Box<[u8]>>,
}

impl UserLogin {
    /// What a client has just logged in with.
    pub fn new(name: &[u8], password: &[u8]) -> Rc<Self> {
        Rc::new(Self { number: 0, name: name.into(), password: Zeroizing::new(password.into()) })
    }
}

impl fmt::Debug for UserLogin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_a_password() {
        let login = UserLogin::new(b"app", b"topsecret");
        assert!(!format!("{login:?} {:?}", Some(&login)).contains("secret"));
    }
}
