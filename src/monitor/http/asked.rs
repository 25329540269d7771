//! What a request asks for: what of a list, or which change, and by whom.
//!
//! Owns what is the same for all of them: what can't be read is refused in words; for a change the right is looked at before the body, and its
//! author is named for [`super::audit`]. Deliberately does not know what may be asked for.

use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json, RequestExt};
use serde::de::DeserializeOwned;

use super::guard::Caller;
use super::listener::Peer;
use super::{Shared, error};
use crate::shared::audit::Author;

/// What the query of a `GET` says.
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Shared>> for Asked<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Response> {
        match Query::from_request_parts(parts, shared).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(rejection) => Err(error(StatusCode::BAD_REQUEST, &rejection.body_text())),
        }
    }
}

/// A change that its author may make.
pub struct Changing<T> {
    /// Whose token it came with, and from where.
    pub by: Author,
    /// The body.
    pub change: T,
}

impl<T: DeserializeOwned> FromRequest<Arc<Shared>> for Changing<T> {
    type Rejection = Response;

    async fn from_request(mut request: Request, shared: &Arc<Shared>) -> Result<Self, Response> {
        let parts = request.extract_parts::<(ConnectInfo<Peer>, Extension<Caller>)>().await;
        let (ConnectInfo(Peer(peer)), Extension(caller)) = parts.map_err(IntoResponse::into_response)?;
        let user = caller.who_may_change().map_err(|sentence| error(StatusCode::FORBIDDEN, &sentence))?;
        match Json::from_request(request, shared).await {
            Ok(Json(change)) => {
                Ok(Self { by: Author { user, address: format!("{peer} over HTTP") }, change })
            }
            Err(rejection) => Err(error(rejection.status(), &rejection.body_text())),
        }
    }
}
