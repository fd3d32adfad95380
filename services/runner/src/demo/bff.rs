//! The three BFFs as the demo starts them: names, ports and configuration files. How a process is started and
//! watched is `children`'s.

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
