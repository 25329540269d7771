//! A sale in memory, as the rules read: one operation after the other, every hold that is over gone at once.

use std::collections::BTreeMap;

use hotgate::reserve::{OpKind, ReserveOp};

/// Entries of holds that one call looks at without need.
const TAKEN_BACK: usize = 32;

#[derive(Clone, Debug, Default)]
pub struct Holding {
    pub seq: i64,
    pub confirmed: i64,
    pub held: i64,
    pub expires: i64,
}

impl Holding {
    pub fn count(&self) -> i64 {
        self.confirmed + self.held
    }

    pub fn state(&self) -> &'static str {
        if self.held > 0 { "held" } else { "confirmed" }
    }
}

/// The sale's terms and what users have.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub limit: i64,
    pub per_user: i64,
    pub start: i64,
    pub end: i64,
    pub hold: i64,
    pub closed: bool,
    /// What users hold in the sale whose holders alone may take from this one.
    pub other: Option<BTreeMap<String, i64>>,
    pub seq: i64,
    pub users: BTreeMap<String, Holding>,
    ids: BTreeMap<String, Vec<(Vec<u8>, i64)>>,
    /// The ends of all holds that began, as far as they were not looked at.
    entries: Vec<i64>,
    backlog: usize,
}

impl Model {
    pub fn taken(&self) -> i64 {
        self.users.values().map(Holding::count).sum()
    }

    /// It is `now`. Says whether one call may have left holds behind that are over.
    pub fn advance(&mut self, now: i64) -> bool {
        let before = self.entries.len();
        self.entries.retain(|&end| end > now);
        self.backlog = (self.backlog + before - self.entries.len()).saturating_sub(TAKEN_BACK);
        for holding in self.users.values_mut().filter(|holding| holding.held > 0 && holding.expires <= now) {
            (holding.held, holding.expires) = (0, 0);
        }
        self.users.retain(|_, holding| holding.count() > 0);
        self.backlog > 0
    }

    /// The reply that a client of RESP2 gets, in one line.
    pub fn apply(&mut self, op: &ReserveOp, now: i64) -> String {
        let user = String::from_utf8(op.user.to_vec()).unwrap();
        match op.kind {
            OpKind::Add => self.add(&user, op, now).unwrap_or_else(|refusal| refusal),
            OpKind::Confirm => self.confirm(&user),
            OpKind::Cancel => self.cancel(&user, op.count),
            OpKind::Check => self.check(&user),
            OpKind::Info | OpKind::Bucket => panic!("not of this model"),
        }
    }

    fn add(&mut self, user: &str, op: &ReserveOp, now: i64) -> Result<String, String> {
        let have = self.users.get(user).cloned().unwrap_or_default();
        if op.id.is_empty() && have.seq > 0 {
            return Ok(self.added(user));
        }
        let ids = self.ids.get(user).map_or(&[][..], Vec::as_slice);
        if let Some((_, seq)) = ids.iter().find(|(id, _)| *id == op.id) {
            let left = self.limit - self.taken();
            let ended = format!("*4 $5 ended :{seq} :{left} :0");
            return Ok(if *seq == have.seq { self.added(user) } else { ended });
        }
        if !op.id.is_empty() && ids.len() >= 32 {
            return Err("-PERUSER this user has used 32 IDMP ids".to_owned());
        }
        let count = i64::from(op.count.unwrap());
        self.refuse(user, have.count() + count, now)?;
        let left = self.limit - self.taken();
        if count > left {
            let fewer = format!("-SOLDOUT fewer places are left than COUNT asks for: {left}");
            return Err(if left <= 0 { "-SOLDOUT no place is left".to_owned() } else { fewer });
        }
        let mut have = have;
        if have.seq == 0 {
            self.seq += 1;
            have.seq = self.seq;
        }
        if self.hold > 0 {
            (have.held, have.expires) = (have.held + count, now + self.hold);
            self.entries.push(have.expires);
        } else {
            have.confirmed += count;
        }
        if !op.id.is_empty() {
            self.ids.entry(user.to_owned()).or_default().push((op.id.to_vec(), have.seq));
        }
        self.users.insert(user.to_owned(), have);
        Ok(self.added(user))
    }

    fn refuse(&self, user: &str, places: i64, now: i64) -> Result<(), String> {
        if self.closed || (self.end > 0 && now >= self.end) {
            return Err("-CLOSED this sale gives no places now: it was closed, or its END is over".to_owned());
        }
        if now < self.start {
            return Err(format!("-NOTOPEN this sale opens at unix-ms {}", self.start));
        }
        let mut most = self.per_user;
        if let Some(other) = &self.other {
            let theirs = other.get(user).copied().unwrap_or(0);
            if theirs == 0 {
                return Err("-NOTHOLDER".to_owned());
            }
            if places > theirs {
                most = theirs;
            }
        }
        if places > most {
            return Err(format!("-PERUSER this user may have {most} places at the most"));
        }
        Ok(())
    }

    fn added(&self, user: &str) -> String {
        let holding = &self.users[user];
        let state = holding.state();
        let (length, left) = (state.len(), self.limit - self.taken());
        format!("*4 ${length} {state} :{} :{left} :{}", holding.seq, holding.expires)
    }

    fn shown(&self, user: &str) -> String {
        let holding = &self.users[user];
        let state = holding.state();
        format!("*4 ${} {state} :{} :{} :{}", state.len(), holding.seq, holding.count(), holding.expires)
    }

    fn confirm(&mut self, user: &str) -> String {
        let Some(holding) = self.users.get_mut(user) else {
            return "-NOTHELD this user holds no place; its time may be over, RESERVE.ADD again".to_owned();
        };
        holding.confirmed += holding.held;
        (holding.held, holding.expires) = (0, 0);
        self.shown(user)
    }

    fn cancel(&mut self, user: &str, count: Option<u32>) -> String {
        let Some(holding) = self.users.get_mut(user) else { return "*-1".to_owned() };
        let places = count.map_or(holding.count(), |count| i64::from(count).min(holding.count()));
        let of_held = places.min(holding.held);
        holding.held -= of_held;
        holding.confirmed -= places - of_held;
        if holding.held == 0 {
            holding.expires = 0;
        }
        if holding.count() > 0 {
            return self.shown(user);
        }
        let seq = holding.seq;
        self.users.remove(user);
        format!("*4 $9 cancelled :{seq} :0 :0")
    }

    fn check(&self, user: &str) -> String {
        if self.users.contains_key(user) { self.shown(user) } else { "*-1".to_owned() }
    }
}
