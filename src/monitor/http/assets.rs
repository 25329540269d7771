//! The dashboard's files, embedded in the binary.

/// The page may load its own script, style and data, and nothing else from anywhere; no inline script or
/// style, no frame.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Path, media type and text of every file.
pub const FILES: [(&str, &str, &str); 9] = [
    ("/", HTML, include_str!("../assets/index.html")),
    ("/dashboard.css", CSS, include_str!("../assets/dashboard.css")),
    ("/dashboard.js", JS, include_str!("../assets/dashboard.js")),
    ("/charts.js", JS, include_str!("../assets/charts.js")),
    ("/format.js", JS, include_str!("../assets/format.js")),
    ("/ledger.js", JS, include_str!("../assets/ledger.js")),
    ("/routes.js", JS, include_str!("../assets/routes.js")),
    ("/sales.js", JS, include_str!("../assets/sales.js")),
    ("/tables.js", JS, include_str!("../assets/tables.js")),
];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
