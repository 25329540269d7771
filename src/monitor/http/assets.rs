//! The dashboard's files, embedded in the binary.

/// The page may load its own script, style and data, and nothing else from anywhere; no inline script or
/// style, no frame.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page, put together of its parts: what stands above every page, the pages of the navigation, dialogs.
const PAGE: &str = concat!(
    include_str!("../assets/pages/top.html"),
    include_str!("../assets/pages/overview.html"),
    include_str!("../assets/pages/keys.html"),
    include_str!("../assets/pages/key.html"),
    include_str!("../assets/pages/sales.html"),
    include_str!("../assets/pages/commands.html"),
    include_str!("../assets/pages/nodes.html"),
    include_str!("../assets/pages/clients.html"),
    include_str!("../assets/pages/events.html"),
    include_str!("../assets/pages/configuration.html"),
    include_str!("../assets/pages/end.html"),
    include_str!("../assets/pages/token.html"),
);

/// The board for a screen on the wall, which asks for the token as the page does.
const WALL: &str = concat!(include_str!("../assets/wall.html"), include_str!("../assets/pages/token.html"));

/// Path, media type and text of every file.
pub const FILES: [(&str, &str, &str); 26] = [
    ("/", HTML, PAGE),
    ("/wall", HTML, WALL),
    ("/dashboard.css", CSS, include_str!("../assets/dashboard.css")),
    ("/wall.css", CSS, include_str!("../assets/wall.css")),
    ("/ask.js", JS, include_str!("../assets/ask.js")),
    ("/bigkeys.js", JS, include_str!("../assets/bigkeys.js")),
    ("/charts.js", JS, include_str!("../assets/charts.js")),
    ("/commands.js", JS, include_str!("../assets/commands.js")),
    ("/configuration.js", JS, include_str!("../assets/configuration.js")),
    ("/confirm.js", JS, include_str!("../assets/confirm.js")),
    ("/dashboard.js", JS, include_str!("../assets/dashboard.js")),
    ("/facts.js", JS, include_str!("../assets/facts.js")),
    ("/format.js", JS, include_str!("../assets/format.js")),
    ("/history.js", JS, include_str!("../assets/history.js")),
    ("/key.js", JS, include_str!("../assets/key.js")),
    ("/ledger.js", JS, include_str!("../assets/ledger.js")),
    ("/lists.js", JS, include_str!("../assets/lists.js")),
    ("/pages.js", JS, include_str!("../assets/pages.js")),
    ("/quotas.js", JS, include_str!("../assets/quotas.js")),
    ("/routes.js", JS, include_str!("../assets/routes.js")),
    ("/sales.js", JS, include_str!("../assets/sales.js")),
    ("/slowlog.js", JS, include_str!("../assets/slowlog.js")),
    ("/stream.js", JS, include_str!("../assets/stream.js")),
    ("/table.js", JS, include_str!("../assets/table.js")),
    ("/tables.js", JS, include_str!("../assets/tables.js")),
    ("/wall.js", JS, include_str!("../assets/wall.js")),
];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
