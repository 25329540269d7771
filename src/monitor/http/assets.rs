//! The dashboard's files, embedded in the binary.

use axum::http::{HeaderName, header};
use axum::response::IntoResponse;

/// The page may load its own script, style and data, and nothing else from anywhere; no inline script or style, no frame.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

type Asset = ([(HeaderName, &'static str); 1], &'static str);

const fn asset(media_type: &'static str, text: &'static str) -> Asset {
    ([(header::CONTENT_TYPE, media_type)], text)
}

/// `/`
pub async fn index() -> impl IntoResponse {
    asset("text/html; charset=utf-8", include_str!("../assets/index.html"))
}

/// `/dashboard.css`
pub async fn css() -> impl IntoResponse {
    asset("text/css; charset=utf-8", include_str!("../assets/dashboard.css"))
}

/// `/dashboard.js`
pub async fn js() -> impl IntoResponse {
    asset("text/javascript; charset=utf-8", include_str!("../assets/dashboard.js"))
}
