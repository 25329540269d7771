//! The last known value of a key in Redis, without the deltas that are pending here.

/// A value that Redis told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Total {
    pub value: i64,
    /// A key that does not exist counts as 0, but a `GET` of it is null.
    pub exists: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Unknown,
    Asked,
    Known(Total),
}

/// Unknown, asked for, or known since some time.
#[derive(Debug, Default)]
pub(super) struct Base {
    state: State,
    told_ns: u64,
    /// The total that is in doubt, until there is a new one.
    doubted: Option<Total>,
}

impl Base {
    /// The value, if it is known.
    pub fn total(&self) -> Option<Total> {
        match self.state {
            State::Known(total) => Some(total),
            State::Unknown | State::Asked => None,
        }
    }

    /// Whether Redis has been asked for it and has not told.
    pub fn is_asked(&self) -> bool {
        self.state == State::Asked
    }

    /// Whether Redis has to be asked now; from then on it has been.
    pub fn ask(&mut self) -> bool {
        let ask = self.state == State::Unknown;
        if ask {
            self.state = State::Asked;
        }
        ask
    }

    /// Nobody will tell: it may be asked for again.
    pub fn give_up_asking(&mut self) {
        if self.is_asked() {
            self.state = State::Unknown;
        }
    }

    /// Redis has told.
    pub fn learn(&mut self, total: Total, now_ns: u64) {
        *self = Self { state: State::Known(total), told_ns: now_ns, doubted: None };
    }

    /// The last total from Redis is no longer valid.
    pub fn forget(&mut self) {
        (self.state, self.doubted) = (State::Unknown, None);
    }

    /// Redis has to be asked anew; what it told is kept for when it cannot.
    pub fn doubt(&mut self) {
        self.doubted = self.total().or(self.doubted);
        self.state = State::Unknown;
    }

    /// Doubts what was told longer ago than `age_ns_max`.
    pub fn doubt_if_old(&mut self, now_ns: u64, age_ns_max: u64) {
        if self.total().is_some() && now_ns.saturating_sub(self.told_ns) > age_ns_max {
            self.doubt();
        }
    }

    /// Redis cannot tell: what it told last is taken, if that was only doubted. False if there is nothing.
    pub fn fall_back(&mut self, now_ns: u64) -> bool {
        let Some(total) = self.doubted.filter(|_| self.total().is_none()) else { return false };
        self.learn(total, now_ns);
        true
    }

    /// Takes for granted that Redis has added this.
    pub fn assume_added(&mut self, sum: i64) {
        if let State::Known(total) = self.state {
            self.state = match total.value.checked_add(sum) {
                Some(value) => State::Known(Total { value, exists: true }),
                None => State::Unknown,
            };
        }
    }
}
