//! `/api/stream`: server-sent events, one frame a second.
//!
//! Each event is the latest frame when its turn comes, shared with all other streams: a slow reader misses
//! frames and costs no memory, and one that stops reading is cut off by its connection's patience.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use tokio::time::{MissedTickBehavior, interval};

use super::{Shared, error};

/// Between two events.
const PERIOD: Duration = Duration::from_secs(1);

/// Opens a stream, or answers 503 when as many as allowed are open.
pub async fn open(State(shared): State<Arc<Shared>>) -> Response {
    let Ok(place) = Arc::clone(&shared.streams).try_acquire_owned() else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "too many event streams are open");
    };
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let events = unfold((shared, period, place), async |(shared, mut period, place)| {
        period.tick().await;
        let event = Event::default().event("frame").data(&*shared.board.latest().stream());
        Some((Ok::<_, Infallible>(event), (shared, period, place)))
    });
    Sse::new(events).into_response()
}
