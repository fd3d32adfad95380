//! Values that are written as text in the file: `Text<T>` reads what `FromText` parses.
//! The units themselves are in `config/units.rs`.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::{HeaderName, Method, Uri};
use ipnet::IpNet;
use jsonwebtoken::Algorithm;
use redis::{ConnectionAddr, IntoConnectionInfo};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::config::fault::suggest;
use crate::config::{RedisServer, units};

/// A value that stands in the file as text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Text<T>(pub(crate) T);

/// What can be read from a text; the error is a message for the author of the file.
pub(crate) trait FromText: Sized {
    /// What the text should be, for a value that is no text at all.
    const EXPECTED: &'static str;
    /// What the text looks like, for editors: a regular expression without anchors. Empty = anything.
    const PATTERN: &'static str = "";
    fn from_text(text: &str) -> Result<Self, String>;
    /// A text that means the same, for operators to see. What is secret has none.
    fn to_text(&self) -> String;
}

impl<T: FromText> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_text())
    }
}

impl<T: FromText> JsonSchema for Text<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::EXPECTED.into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        if T::PATTERN.is_empty() {
            return json_schema!({ "type": "string" });
        }
        // Every text may come from the environment.
        let pattern = format!(r"^({}|.*\$\{{.+\}}.*)$", T::PATTERN);
        json_schema!({ "type": "string", "pattern": pattern })
    }
}

impl<'de, T: FromText> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor<T>(PhantomData<T>);

        impl<T: FromText> Visitor<'_> for TextVisitor<T> {
            type Value = Text<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<T>, E> {
                T::from_text(text).map(Text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(TextVisitor(PhantomData))
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// A part of a whole, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share(pub(crate) f64);

/// So many in that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) requests: u32,
    pub(crate) window: Duration,
}

impl FromText for Duration {
    const EXPECTED: &'static str = r#"a duration such as "250ms""#;
    const PATTERN: &'static str = r"[0-9]+ ?(ms|s|m|h|d)";
    fn from_text(text: &str) -> Result<Self, String> {
        units::duration(text)
    }
    fn to_text(&self) -> String {
        units::duration_text(*self)
    }
}

impl FromText for Size {
    const EXPECTED: &'static str = r#"a size such as "1MiB""#;
    const PATTERN: &'static str = r"[0-9]+ ?(B|KiB|MiB|GiB)";
    fn from_text(text: &str) -> Result<Self, String> {
        units::size(text).map(Self)
    }
    fn to_text(&self) -> String {
        units::size_text(self.0)
    }
}

impl FromText for Share {
    const EXPECTED: &'static str = r#"a share such as "10%""#;
    const PATTERN: &'static str = r"[0-9]+(\.[0-9]+)? ?%";
    fn from_text(text: &str) -> Result<Self, String> {
        units::share(text).map(Self)
    }
    fn to_text(&self) -> String {
        units::share_text(self.0)
    }
}

impl FromText for Rate {
    const EXPECTED: &'static str = r#"a rate such as "50/s""#;
    const PATTERN: &'static str = r"[0-9]+ ?/ ?[0-9]*(ms|s|m|h|d)";
    fn from_text(text: &str) -> Result<Self, String> {
        units::rate(text).map(|(requests, window)| Self { requests, window })
    }
    fn to_text(&self) -> String {
        units::rate_text(self.requests, self.window)
    }
}

impl FromText for SocketAddr {
    const EXPECTED: &'static str = r#"an address such as "127.0.0.1:8080""#;
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            format!(
                r#"`{text}` is not an address; write an IP address and a port: "127.0.0.1:8080""#
            )
        })
    }
    fn to_text(&self) -> String {
        self.to_string()
    }
}

/// A network, or one address.
impl FromText for IpNet {
    const EXPECTED: &'static str = r#"a network such as "10.0.0.0/8""#;
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
            .or_else(|_| text.parse::<IpAddr>().map(Self::from))
            .map_err(|_| {
                format!(
                    r#"`{text}` is not a network; write "10.0.0.0/8", "fd00::/8" or an address"#
                )
            })
    }
    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl FromText for RedisServer {
    const EXPECTED: &'static str = r#"a URL such as "redis://127.0.0.1:6379/0""#;
    fn from_text(text: &str) -> Result<Self, String> {
        // It may hold a password: neither the text nor the parser's words are repeated in a fault.
        text.into_connection_info().map(Self).map_err(|_| {
            "not a Redis URL; write redis://user:password@host:port/database, or rediss:// for TLS"
                .to_owned()
        })
    }
    fn to_text(&self) -> String {
        // Without what it takes to get in.
        let scheme = match self.0.addr() {
            ConnectionAddr::Tcp(..) => "redis",
            ConnectionAddr::TcpTls { .. } => "rediss",
            _ => "redis+unix",
        };
        format!("{scheme}://{self}/{}", self.0.redis_settings().db())
    }
}

impl FromText for Uri {
    const EXPECTED: &'static str = r#"a URI such as "http://127.0.0.1:8101""#;
    fn from_text(text: &str) -> Result<Self, String> {
        // Addresses can come from the environment and hold a password: never repeated in a fault.
        text.parse::<Uri>()
            .map_err(|error| format!("not a URI: {error}"))
    }
    fn to_text(&self) -> String {
        // `Uri` adds the slash of an empty path.
        let text = self.to_string();
        match self.path() {
            "/" => text.trim_end_matches('/').to_owned(),
            _ => text,
        }
    }
}

impl FromText for Method {
    const EXPECTED: &'static str = r#"a method such as "GET""#;
    const PATTERN: &'static str = r"GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS";
    fn from_text(text: &str) -> Result<Self, String> {
        const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        match text {
            "TRACE" | "CONNECT" => Err(format!("`{text}` is never forwarded")),
            _ if KNOWN.contains(&text) => text.parse().map_err(|_| "not a method".to_owned()),
            _ => Err(format!("unknown method `{text}`; {}", suggest(text, KNOWN))),
        }
    }
    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl FromText for HeaderName {
    const EXPECTED: &'static str = r#"the name of a header such as "X-Request-Id""#;
    const PATTERN: &'static str = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+";
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| format!("`{text}` cannot be the name of a header"))
    }
    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl FromText for Algorithm {
    const EXPECTED: &'static str = r#"a signature algorithm such as "ES256""#;
    const PATTERN: &'static str = r"[RP]S(256|384|512)|ES(256|384)|EdDSA";
    fn from_text(text: &str) -> Result<Self, String> {
        const KNOWN: [&str; 9] = [
            "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
        ];
        // `none` is no signature at all; with HS* whoever can check a token could also make one.
        if text.eq_ignore_ascii_case("none") || text.starts_with("HS") {
            return Err(format!(
                "`{text}` is refused: tokens need an asymmetric signature; there are `{}`",
                KNOWN.join("`, `")
            ));
        }
        if !KNOWN.contains(&text) {
            return Err(format!(
                "unknown algorithm `{text}`; {}",
                suggest(text, KNOWN)
            ));
        }
        text.parse()
            .map_err(|_| format!("unknown algorithm `{text}`"))
    }
    fn to_text(&self) -> String {
        format!("{self:?}")
    }
}

/// A SHA-256 digest, written `sha256:` and 64 hexadecimal digits.
impl FromText for [u8; 32] {
    const EXPECTED: &'static str = r#"a digest such as "sha256:9f86…""#;
    const PATTERN: &'static str = r"sha256:[0-9a-fA-F]{64}";
    fn from_text(text: &str) -> Result<Self, String> {
        let parse = || {
            let digits = text.strip_prefix("sha256:")?;
            if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            let mut digest = [0; 32];
            for (index, byte) in digest.iter_mut().enumerate() {
                *byte = u8::from_str_radix(&digits[index * 2..index * 2 + 2], 16).ok()?;
            }
            Some(digest)
        };
        // The text is not repeated: somebody may have put the key itself here.
        parse().ok_or_else(|| {
            "not a digest; write `sha256:` and 64 hexadecimal digits, never the key itself"
                .to_owned()
        })
    }
    fn to_text(&self) -> String {
        // Never shown: `RawApiKey` leaves it out.
        String::new()
    }
}
