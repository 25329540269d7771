//! What each command counts as in the figures, worked out once per command table.

use crate::command::{Class, Command, CommandId, CommandTable, Local, Session};
use crate::shared::labels::RequestClass;

/// The class of every command of one table.
#[derive(Default)]
pub struct Classes(Vec<RequestClass>);

impl Classes {
    /// Works them out.
    pub fn new(table: &CommandTable) -> Self {
        let mut classes = vec![RequestClass::Write; table.len()];
        for (id, command) in table.iter() {
            classes[id.index()] = class_of(command);
        }
        Self(classes)
    }

    /// The class of one command.
    pub fn of(&self, id: CommandId) -> RequestClass {
        self.0.get(id.index()).copied().unwrap_or(RequestClass::Write)
    }
}

fn class_of(command: &Command) -> RequestClass {
    let name = &*command.name;
    match command.class {
        Class::Session(
            Session::Multi | Session::Exec | Session::Discard | Session::Watch | Session::Unwatch,
        ) => RequestClass::Transaction,
        Class::Session(Session::Blocking) => RequestClass::Blocking,
        Class::Session(Session::Monitor | Session::Tracking) | Class::Local(Local::Hotkeys) => {
            RequestClass::Local
        }
        Class::Session(_) => RequestClass::Pubsub,
        Class::Reserve(_) => RequestClass::Reserve,
        Class::Local(_) | Class::OneServer(_) | Class::Refuse(_) => RequestClass::Local,
        Class::Split(_) | Class::Fan(_) => RequestClass::Fan,
        _ if name.starts_with("eval") || name.starts_with("fcall") => RequestClass::Script,
        _ if name == "publish" || name == "spublish" => RequestClass::Pubsub,
        _ if matches!(
            name,
            "incr" | "decr" | "incrby" | "decrby" | "incrbyfloat" | "hincrby" | "hincrbyfloat" | "increx"
        ) =>
        {
            RequestClass::Counter
        }
        _ if command.is_readonly() => RequestClass::Read,
        _ => RequestClass::Write,
    }
}
