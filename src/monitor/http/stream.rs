//! `/api/stream`: server-sent events, one frame a second.
//!
//! Each event is the latest frame at its time. Its bytes are made once for all streams. A slow reader misses frames and costs no
//! memory. A reader that stops is cut off by the time limit of its connection.
//!
//! Streams take at most half of the connections, and one address at most three quarters of that. A page that comes later
//! polls instead.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use tokio::time::{MissedTickBehavior, interval};

use super::Shared;
use super::connections::{Place as Connection, Source};
use super::listener::Peer;
use crate::monitor::turned_away::Reason;

/// Between two events.
const PERIOD: Duration = Duration::from_secs(1);
/// Streams at once, however many connections there may be. Each costs one shared frame a second.
const STREAMS_MAX: usize = 32;

/// The streams that are open, by source.
pub struct Streams {
    open: Mutex<HashMap<Source, usize>>,
    streams_max: usize,
    source_max: usize,
}

impl Streams {
    /// None yet.
    pub fn new(connections_max: usize) -> Arc<Self> {
        let streams_max = (connections_max / 2).clamp(1, STREAMS_MAX);
        let source_max = (streams_max * 3).div_ceil(4);
        Arc::new(Self { open: Mutex::default(), streams_max, source_max })
    }

    /// A place for one more, if there is one.
    fn enter(self: &Arc<Self>, source: Source) -> Option<Place> {
        // The lock is held for this arithmetic only.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.get(&source).copied().unwrap_or(0);
        if own >= self.source_max || open.values().sum::<usize>() >= self.streams_max {
            return None;
        }
        open.insert(source, own + 1);
        Some(Place { streams: Arc::clone(self), source })
    }
}

/// A stream's place, given back when it is dropped.
struct Place {
    streams: Arc<Streams>,
    source: Source,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(&self.source)),
        }
    }
}

/// Opens a stream, or answers 503 when as many as allowed are open.
pub async fn open(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    Extension(connection): Extension<Connection>,
) -> Response {
    let Some(place) = shared.streams.enter(Source::of(&peer)) else {
        let sentence = "as many event streams are open as may be: ask /api/stats now and then instead";
        return shared.turn_away(Reason::Streams, StatusCode::SERVICE_UNAVAILABLE, sentence);
    };
    connection.stream();
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let events = unfold((shared, period, place), async |(shared, mut period, place)| {
        period.tick().await;
        (shared.sources.sales_looked_at)();
        let event = shared.board.latest().event();
        Some((Ok::<_, Infallible>(event), (shared, period, place)))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::SocketName;

    #[test]
    fn streams_are_bounded_in_all_and_for_each_source() {
        let source = |last: u8| Source::of(&SocketName::Ip(([10, 0, 0, last], 1).into()));
        let streams = Streams::new(64);
        let mut places: Vec<_> = (0..100).map_while(|_| streams.enter(source(1))).collect();
        assert_eq!(places.len(), 24);
        places.extend((0..100).map_while(|_| streams.enter(source(2))));
        assert_eq!(places.len(), 32);
        assert!(streams.enter(source(3)).is_none());
        places.pop();
        assert!(streams.enter(source(3)).is_some());
        drop(places);
        assert!(streams.open.lock().unwrap().is_empty());
        assert!(Streams::new(1).enter(source(1)).is_some());
    }
}
