//! What the person at the keyboard chose, and the latest frame: all that a screen is drawn from. No IO.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::Value;

use super::tables::{Column, HOT_KEYS, LEDGER, NODES, QUOTAS, SALES, text};

/// The tables, in the order in which they stand below each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Hot keys.
    HotKeys,
    /// Redis nodes.
    Nodes,
    /// Quotas.
    Quotas,
    /// Sales of reservations.
    Sales,
    /// What brings them into an SQL database.
    Ledger,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::HotKeys, Self::Nodes, Self::Quotas, Self::Sales, Self::Ledger];

    /// Its columns; the first one is the name.
    pub const fn columns(self) -> &'static [Column] {
        match self {
            Self::HotKeys => HOT_KEYS,
            Self::Nodes => NODES,
            Self::Quotas => QUOTAS,
            Self::Sales => SALES,
            Self::Ledger => LEDGER,
        }
    }

    /// Where a frame has its rows, or its only one.
    const fn field(self) -> &'static str {
        match self {
            Self::HotKeys => "hotkeys",
            Self::Nodes => "nodes",
            Self::Quotas => "quotas",
            Self::Sales => "sales",
            Self::Ledger => "ledger",
        }
    }

    fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }
}

/// What is to follow a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Draw anew.
    Stay,
    /// Draw anew, and ask the gateway at once.
    AskAgain,
    /// End.
    Quit,
}

/// How one table is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// By which column it is sorted; `None`: as the gateway has it.
    pub sorted: Option<usize>,
    /// The other way round.
    pub reversed: bool,
    /// Rows that were scrolled away.
    pub scrolled: usize,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Looks {
    /// The latest frame.
    pub frame: Value,
    /// Why there is no newer one.
    pub fault: Option<String>,
    /// The table that keys are for.
    pub focus: Table,
    /// How each is looked at.
    pub tables: [Look; Table::ALL.len()],
    /// Only rows whose name holds this are shown.
    pub filter: String,
    /// The filter is being typed.
    pub typing: bool,
}

impl Default for Looks {
    fn default() -> Self {
        Self {
            frame: Value::Null,
            fault: None,
            focus: Table::HotKeys,
            tables: [Look::default(); Table::ALL.len()],
            filter: String::new(),
            typing: false,
        }
    }
}

/// The longest filter, in characters.
const FILTER_MAX: usize = 64;

impl Looks {
    /// Takes a frame, or why there is none; then the last one stays.
    pub fn take(&mut self, fetched: Result<Value, String>) {
        match fetched {
            Ok(frame) => (self.frame, self.fault) = (frame, None),
            Err(why) => self.fault = Some(why),
        }
    }

    /// How a table is looked at.
    pub fn look(&self, table: Table) -> Look {
        self.tables[table as usize]
    }

    /// All rows of a table, as the gateway has them.
    pub fn all_rows(&self, table: Table) -> &[Value] {
        match &self.frame[table.field()] {
            Value::Array(rows) => rows,
            only @ Value::Object(_) => std::slice::from_ref(only),
            _ => &[],
        }
    }

    /// The rows of a table, filtered and sorted.
    pub fn rows(&self, table: Table) -> Vec<&Value> {
        let all = self.all_rows(table);
        let wanted = self.filter.to_lowercase();
        let name = table.columns()[0].text;
        let mut rows: Vec<&Value> = all
            .iter()
            .filter(|row| wanted.is_empty() || name(row, 0).to_lowercase().contains(&wanted))
            .collect();
        let look = self.look(table);
        let by = look.sorted.and_then(|column| table.columns().get(column)).and_then(|column| column.rank);
        match by {
            // Highest first, names in their order. The sort is stable: among equals the gateway's order holds.
            Some(rank) => rows.sort_by(|a, b| rank(b).total_cmp(&rank(a))),
            None if look.sorted == Some(0) => rows.sort_by_key(|row| name(row, 0)),
            None => {}
        }
        if look.reversed {
            rows.reverse();
        }
        rows
    }

    /// Follows a key.
    pub fn press(&mut self, key: KeyEvent) -> Next {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Next::Quit } else { Next::Stay };
        }
        if self.typing {
            return self.type_filter(key.code);
        }
        let rows = self.rows(self.focus).len();
        let (focus, look) = (self.focus, &mut self.tables[self.focus as usize]);
        match key.code {
            KeyCode::Char('q') => return Next::Quit,
            KeyCode::Esc if self.filter.is_empty() => return Next::Quit,
            KeyCode::Esc => {
                self.filter.clear();
                return Next::AskAgain;
            }
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Tab => self.focus = focus.next(),
            KeyCode::Char('s') => {
                look.sorted = next_sort(focus, look.sorted);
                return Next::AskAgain;
            }
            KeyCode::Char('r') => look.reversed = !look.reversed,
            KeyCode::Down | KeyCode::Char('j') => {
                look.scrolled = (look.scrolled + 1).min(rows.saturating_sub(1))
            }
            KeyCode::Up | KeyCode::Char('k') => look.scrolled = look.scrolled.saturating_sub(1),
            KeyCode::PageDown => look.scrolled = (look.scrolled + 10).min(rows.saturating_sub(1)),
            KeyCode::PageUp => look.scrolled = look.scrolled.saturating_sub(10),
            KeyCode::Home => look.scrolled = 0,
            _ => {}
        }
        Next::Stay
    }

    fn type_filter(&mut self, code: KeyCode) -> Next {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(char) if self.filter.chars().count() < FILTER_MAX => self.filter.push(char),
            _ => return Next::Stay,
        }
        self.tables.iter_mut().for_each(|look| look.scrolled = 0);
        Next::AskAgain
    }

    /// A text of the frame, without what could steer the terminal.
    pub fn text(&self, at: &[&str]) -> String {
        text(at.iter().fold(&self.frame, |value, field| &value[*field]))
    }

    /// A number of the frame; 0 where there is none.
    pub fn number(&self, at: &[&str]) -> f64 {
        at.iter().fold(&self.frame, |value, field| &value[*field]).as_f64().unwrap_or(0.0)
    }
}

/// The column to sort by after this one: as the gateway has it, then each that can be sorted by.
fn next_sort(table: Table, sorted: Option<usize>) -> Option<usize> {
    let columns = table.columns();
    let from = sorted.map_or(0, |column| column + 1);
    (from..columns.len()).find(|column| *column == 0 || columns[*column].rank.is_some())
}
