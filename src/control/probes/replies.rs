//! The questions of a probe, and what their replies tell. Pure.

use bytes::{Bytes, BytesMut};

use crate::control::topology::{ClusterState, field};
use crate::resp::{bulk_payload, elements, encode, first_error, parse_integer_reply};
use crate::shared::labels::NodeRefusal;
use crate::shared::probes::NodeProbe;

/// One question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// Whether it answers.
    Ping,
    /// How many keys it holds.
    Keys,
    /// Whether it is a master, and who copies it.
    Role,
    /// How many clients it has.
    Clients,
    /// Its id in its cluster.
    Id,
    /// What it holds of its cluster.
    State,
    /// How often its databases were swapped.
    Swaps,
}

impl Question {
    fn words(self) -> &'static [&'static [u8]] {
        match self {
            Self::Ping => &[b"PING"],
            Self::Keys => &[b"DBSIZE"],
            Self::Role => &[b"ROLE"],
            Self::Clients => &[b"INFO", b"clients"],
            Self::Id => &[b"CLUSTER", b"MYID"],
            Self::State => &[b"CLUSTER", b"INFO"],
            Self::Swaps => &[b"INFO", b"commandstats"],
        }
    }
}

/// The questions as they are sent.
pub fn request(questions: &[Question]) -> BytesMut {
    let mut request = BytesMut::new();
    questions.iter().for_each(|question| encode::command(&mut request, question.words()));
    request
}

/// What the role of a server comes to: that it is a master, with those that copy it, or that it copies another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A master; its replicas that are connected, as `host:port`, in order.
    Master(Vec<String>),
    /// A replica of the server at this address.
    Replica(String),
}

/// What the replies of one round say beyond the row.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Its role, if it said.
    pub role: Option<Role>,
    /// What it holds of its cluster, if it said.
    pub state: Option<ClusterState>,
    /// How often it has run `SWAPDB`, if it said.
    pub swaps: Option<u64>,
    /// Questions that it does not let the gateway's user ask.
    pub forbidden: Vec<Question>,
}

/// Puts down in `row` what the replies say, each to the question at its place. `is_known` says whether a server with this id may have
/// this address.
pub fn read(
    questions: &[Question],
    replies: &[Bytes],
    is_known: impl Fn(&str) -> bool,
    row: &mut NodeProbe,
) -> Heard {
    let mut heard = Heard::default();
    row.refusal = None;
    for (question, reply) in questions.iter().zip(replies) {
        let refusal = NodeRefusal::of_reply(reply);
        if refusal == Some(NodeRefusal::NoPermission) {
            heard.forbidden.push(*question);
            continue;
        }
        match question {
            Question::Ping => {
                row.turns_away = turned_away(reply);
                row.refusal = refusal.filter(|refusal| *refusal != NodeRefusal::NotLoggedIn);
            }
            Question::Keys => {
                row.keys = parse_integer_reply(reply).and_then(|keys| u64::try_from(keys).ok());
            }
            Question::Role => {
                heard.role = role(reply, row);
            }
            Question::State => {
                heard.state =
                    bulk_payload(reply).map(|text| ClusterState::parse(&String::from_utf8_lossy(text)));
                if heard.state.is_some_and(|state| !state.ok) {
                    row.refusal = row.refusal.or(Some(NodeRefusal::ClusterDown));
                }
            }
            Question::Clients => row.clients = clients(reply),
            Question::Swaps => heard.swaps = swaps(reply),
            Question::Id => {
                let id = bulk_payload(reply).map(|id| String::from_utf8_lossy(id).into_owned());
                row.stranger_id = id.filter(|id| !is_known(id));
            }
        }
    }
    heard
}

/// Why a connection is not served, by the reply to the first command on it.
pub fn turned_away(reply: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(first_error(reply)?).into_owned();
    let is_of_login = ["NOAUTH", "WRONGPASS"].iter().any(|word| text.starts_with(word));
    if text.contains("max number of clients") {
        Some("its maxclients is reached".to_owned())
    } else if is_of_login {
        Some(format!("it refuses the gateway's login ({text})"))
    } else if text.starts_with("DENIED") {
        Some(format!("its protected mode is on ({text})"))
    } else {
        None
    }
}

/// `ROLE`: a master names those that copy it; a replica says how its link is.
fn role(reply: &[u8], row: &mut NodeProbe) -> Option<Role> {
    let text = |element: &[u8]| bulk_payload(element).map(|text| String::from_utf8_lossy(text).into_owned());
    let parts: Vec<&[u8]> = elements(reply)?.collect();
    match text(parts.first()?)?.as_str() {
        "master" => {
            row.is_linked = None;
            let mut replicas: Vec<String> = elements(parts.get(2)?)?
                .filter_map(|replica| {
                    let mut parts = elements(replica)?;
                    Some(format!("{}:{}", text(parts.next()?)?, text(parts.next()?)?))
                })
                .collect();
            replicas.sort();
            Some(Role::Master(replicas))
        }
        "slave" => {
            row.is_linked = Some(text(parts.get(3)?)? == "connected");
            let port = parse_integer_reply(parts.get(2)?)?;
            Some(Role::Replica(format!("{}:{port}", text(parts.get(1)?)?)))
        }
        _ => None,
    }
}

/// `INFO clients`. A server before 7.0 does not say how many there may be.
fn clients(reply: &[u8]) -> Option<(u64, u64)> {
    let text = String::from_utf8_lossy(bulk_payload(reply)?).into_owned();
    let number = |name| field(&text, name)?.parse().ok();
    Some((number("connected_clients")?, number("maxclients")?))
}

/// `INFO commandstats`, which has no line of a command that was never run.
fn swaps(reply: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(bulk_payload(reply)?).into_owned();
    let Some(said) = field(&text, "cmdstat_swapdb") else { return Some(0) };
    said.strip_prefix("calls=")?.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> String {
        format!("${}\r\n{text}\r\n", text.len())
    }

    fn check(question: Question, reply: &str, row: &NodeProbe, heard: &Heard) {
        let mut found = NodeProbe::default();
        let said =
            read(&[question], &[Bytes::copy_from_slice(reply.as_bytes())], |id| id == "me", &mut found);
        assert_eq!((&found, &said), (row, heard), "{reply}");
    }

    #[test]
    fn replies_are_read() {
        let (row, heard) = (NodeProbe::default, Heard::default);
        check(Question::Ping, "+PONG\r\n", &row(), &heard());
        check(Question::Keys, ":7\r\n", &NodeProbe { keys: Some(7), ..row() }, &heard());
        let refusal = Some(NodeRefusal::Loading);
        check(Question::Ping, "-LOADING Redis is loading\r\n", &NodeProbe { refusal, ..row() }, &heard());
        let turns_away = Some("its maxclients is reached".to_owned());
        check(
            Question::Ping,
            "-ERR max number of clients reached\r\n",
            &NodeProbe { turns_away, ..row() },
            &heard(),
        );
        let turns_away = Some("it refuses the gateway's login (NOAUTH Authentication required.)".to_owned());
        check(
            Question::Ping,
            "-NOAUTH Authentication required.\r\n",
            &NodeProbe { turns_away, ..row() },
            &heard(),
        );
        check(
            Question::Keys,
            "-NOPERM no\r\n",
            &row(),
            &Heard { forbidden: vec![Question::Keys], ..heard() },
        );
        for (lines, swaps) in [("", 0), ("cmdstat_get:calls=9,x=1\r\ncmdstat_swapdb:calls=12,usec=3\r\n", 12)]
        {
            let info = bulk(&format!("# Commandstats\r\n{lines}"));
            check(Question::Swaps, &info, &row(), &Heard { swaps: Some(swaps), ..heard() });
        }
        let info = bulk("# Clients\r\nconnected_clients:3\r\nmaxclients:10\r\n");
        check(Question::Clients, &info, &NodeProbe { clients: Some((3, 10)), ..row() }, &heard());
        check(Question::Clients, &bulk("connected_clients:3\r\n"), &row(), &heard());
        check(Question::Id, &bulk("me"), &row(), &heard());
        let info = "cluster_state:fail\r\ncluster_slots_assigned:16383\r\ncluster_current_epoch:7\r\n";
        let state = Some(ClusterState { ok: false, current_epoch: 7, assigned_slots: 16_383 });
        let down = NodeProbe { refusal: Some(NodeRefusal::ClusterDown), ..row() };
        check(Question::State, &bulk(info), &down, &Heard { state, ..heard() });
        check(Question::Id, &bulk("you"), &NodeProbe { stranger_id: Some("you".into()), ..row() }, &heard());
    }

    #[test]
    fn roles_are_read() {
        let replica = |host, port| format!("*3\r\n{}{}{}", bulk(host), bulk(port), bulk("0"));
        let master =
            format!("*3\r\n{}:90\r\n*2\r\n{}{}", bulk("master"), replica("h", "2"), replica("g", "1"));
        let role = Some(Role::Master(vec!["g:1".into(), "h:2".into()]));
        check(Question::Role, &master, &NodeProbe::default(), &Heard { role, ..Heard::default() });
        for (state, linked) in [("connected", true), ("connect", false), ("sync", false)] {
            let reply = format!("*5\r\n{}{}:6379\r\n{}:9\r\n", bulk("slave"), bulk("m"), bulk(state));
            let row = NodeProbe { is_linked: Some(linked), ..NodeProbe::default() };
            let role = Some(Role::Replica("m:6379".into()));
            check(Question::Role, &reply, &row, &Heard { role, ..Heard::default() });
        }
        check(Question::Role, "-ERR unknown command\r\n", &NodeProbe::default(), &Heard::default());
    }
}
