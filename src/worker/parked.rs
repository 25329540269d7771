//! The order of one client's requests that wait to be sent again.

/// The turns of one client's requests among the retries: they go in the order in which they came, also when one comes back.
#[derive(Debug, Default)]
pub struct Parked {
    /// The first that has not gone.
    head: u32,
    /// So many wait.
    count: u32,
    /// The first is being tried.
    trying: bool,
}

impl Parked {
    /// Whether any waits that is not being tried right now.
    pub fn others_wait(&self) -> bool {
        self.count > 0 && !self.trying
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The turn of one that comes, or comes back from its try.
    pub(super) fn take_turn(&mut self) -> u32 {
        if std::mem::take(&mut self.trying) {
            return self.head;
        }
        self.count += 1;
        self.head.wrapping_add(self.count - 1)
    }

    pub(super) fn is_next(&self, turn: u32) -> bool {
        turn == self.head
    }

    pub(super) fn begin(&mut self) {
        self.trying = true;
    }

    /// The try is over. If it did not come back, the next one is first.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.trying) {
            self.head = self.head.wrapping_add(1);
            self.count -= 1;
        }
    }
}
