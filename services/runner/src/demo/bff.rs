//! The three BFFs as the demo starts them: names, ports, origins and configuration files. How a process is started and
//! watched is `children`'s.

use crate::demo::ports::Offset;

/// One BFF process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bff {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    pub(crate) admin_port: u16,
    /// Its own complete file; `demo.toml` is merged over it.
    pub(crate) config: &'static str,
}

/// Merged over each BFF's own file.
pub(crate) const DEMO_CONFIG: &str = "demo.toml";

pub(crate) const WEB: Bff = Bff {
    name: "bff-web",
    port: 8080,
    admin_port: 9080,
    config: "web.toml",
};

pub(crate) const MOBILE: Bff = Bff {
    name: "bff-mobile",
    port: 8081,
    admin_port: 9081,
    config: "mobile.toml",
};

pub(crate) const PUBLIC: Bff = Bff {
    name: "bff-public",
    port: 8082,
    admin_port: 9082,
    config: "public.toml",
};

impl Bff {
    pub(crate) const ALL: [Bff; 3] = [WEB, MOBILE, PUBLIC];
}

/// Under which URLs clients reach the BFFs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origins {
    offset: Offset,
    tls: bool,
}

impl Origins {
    pub(crate) fn new(offset: Offset, tls: bool) -> Origins {
        Origins { offset, tls }
    }

    pub(crate) fn offset(self) -> Offset {
        self.offset
    }

    pub(crate) fn url(self, bff: Bff, path: &str) -> String {
        let scheme = if self.tls && bff == WEB {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://127.0.0.1:{}{path}", self.offset.port(bff.port))
    }

    /// Every origin that browsers may have for bff-web on this machine; identity tells the first one of logouts.
    pub(crate) fn browsers(self) -> Vec<String> {
        let port = self.offset.port(WEB.port);
        let schemes = match self.tls {
            true => ["https", "http"],
            false => ["http", "https"],
        };
        let of =
            |scheme| ["127.0.0.1", "localhost"].map(|host| format!("{scheme}://{host}:{port}"));
        schemes.into_iter().flat_map(of).collect()
    }
}
