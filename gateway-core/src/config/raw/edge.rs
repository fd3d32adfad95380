//! The tables of what the edge does for browsers, as they are written: `[cors]`, `[csrf]`, `[security_headers]`,
//! `[compression]`, and what a route can say otherwise. They are checked in `config/validate/edge.rs`.

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderName, Method, Uri};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::text::{Size, Text};

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawCors {
    pub(in crate::config) origins: Vec<String>,
    pub(in crate::config) methods: Option<Vec<Text<Method>>>,
    pub(in crate::config) headers: Vec<Text<HeaderName>>,
    pub(in crate::config) exposed_headers: Vec<Text<HeaderName>>,
    pub(in crate::config) credentials: bool,
    pub(in crate::config) max_age: Text<Duration>,
}

impl Default for RawCors {
    fn default() -> Self {
        let names = |names: &[&'static str]| {
            names
                .iter()
                .map(|name| Text(HeaderName::from_static(name)))
                .collect()
        };
        Self {
            origins: Vec::new(),
            methods: None,
            headers: names(&[
                "accept",
                "authorization",
                "content-type",
                "idempotency-key",
                "if-match",
                "if-none-match",
                "last-event-id",
                "request-timeout",
                "traceparent",
                "tracestate",
                "x-api-key",
                "x-csrf",
                "x-request-id",
            ]),
            exposed_headers: names(&[
                "deprecation",
                "etag",
                "idempotent-replayed",
                "link",
                "location",
                "ratelimit",
                "ratelimit-policy",
                "retry-after",
                "server-timing",
                "sunset",
                "www-authenticate",
                "x-request-id",
            ]),
            credentials: false,
            max_age: Text(Duration::from_mins(10)),
        }
    }
}

/// A route's own: keys that are absent are those of `[cors]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawCorsOverride {
    pub(in crate::config) origins: Option<Vec<String>>,
    pub(in crate::config) methods: Option<Vec<Text<Method>>>,
    pub(in crate::config) headers: Option<Vec<Text<HeaderName>>>,
    pub(in crate::config) exposed_headers: Option<Vec<Text<HeaderName>>>,
    pub(in crate::config) credentials: Option<bool>,
    pub(in crate::config) max_age: Option<Text<Duration>>,
}

/// `"off"`, or a table.
#[derive(Clone, Debug)]
pub(in crate::config) enum RawRouteCors {
    Off,
    Other(RawCorsOverride),
}

impl Serialize for RawRouteCors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::Other(other) => other.serialize(serializer),
        }
    }
}

impl JsonSchema for RawRouteCors {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RouteCors".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let other = generator.subschema_for::<RawCorsOverride>();
        json_schema!({ "anyOf": [{ "enum": ["off"] }, other] })
    }
}

impl<'de> Deserialize<'de> for RawRouteCors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CorsVisitor;

        impl<'de> Visitor<'de> for CorsVisitor {
            type Value = RawRouteCors;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(r#""off" or a table with keys of [cors]"#)
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<RawRouteCors, E> {
                match word {
                    "off" => Ok(RawRouteCors::Off),
                    _ => Err(E::unknown_variant(word, &["off"])),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawRouteCors, A::Error> {
                RawCorsOverride::deserialize(MapAccessDeserializer::new(map))
                    .map(RawRouteCors::Other)
            }
        }

        deserializer.deserialize_any(CorsVisitor)
    }
}

#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawCsrf {
    pub(in crate::config) cookie: Option<String>,
    pub(in crate::config) header_below: Vec<String>,
    pub(in crate::config) origins: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum RawCsrfRule {
    Exempt,
    Origin,
    Header,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawSecurityHeaders {
    pub(in crate::config) hsts: RawHsts,
    pub(in crate::config) hsts_max_age: Text<Duration>,
    pub(in crate::config) hsts_subdomains: bool,
    pub(in crate::config) referrer_policy: String,
    pub(in crate::config) resource_policy: RawResourcePolicy,
    pub(in crate::config) permissions_policy: String,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum RawHsts {
    Off,
    Tls,
    Always,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum RawResourcePolicy {
    SameOrigin,
    SameSite,
    CrossOrigin,
}

impl Default for RawSecurityHeaders {
    fn default() -> Self {
        Self {
            hsts: RawHsts::Tls,
            hsts_max_age: Text(Duration::from_hours(365 * 24)),
            hsts_subdomains: false,
            referrer_policy: "no-referrer".to_owned(),
            resource_policy: RawResourcePolicy::SameOrigin,
            permissions_policy:
                "accelerometer=(), camera=(), geolocation=(), gyroscope=(), magnetometer=(), \
                                 microphone=(), payment=(), usb=()"
                    .to_owned(),
        }
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawCompression {
    pub(in crate::config) codings: Vec<RawCoding>,
    pub(in crate::config) min_size: Text<Size>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum RawCoding {
    Zstd,
    Br,
    Gzip,
}

impl Default for RawCompression {
    fn default() -> Self {
        Self {
            codings: vec![RawCoding::Zstd, RawCoding::Br, RawCoding::Gzip],
            min_size: Text(Size(1 << 10)),
        }
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawStreams {
    pub(in crate::config) idle: Text<Duration>,
    pub(in crate::config) lifetime: Text<Duration>,
    pub(in crate::config) max_frame: Text<Size>,
    pub(in crate::config) heartbeat: Text<Duration>,
    pub(in crate::config) max_per_caller: usize,
}

impl Default for RawStreams {
    fn default() -> Self {
        Self {
            idle: Text(Duration::from_mins(2)),
            lifetime: Text(Duration::from_hours(4)),
            max_frame: Text(Size(1 << 20)),
            heartbeat: Text(Duration::from_secs(15)),
            max_per_caller: 20,
        }
    }
}

#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawAppVersion {
    pub(in crate::config) minimum: Option<String>,
    pub(in crate::config) recommended: Option<String>,
    pub(in crate::config) store_url: Option<Text<Uri>>,
}

/// A protocol that a connection may be upgraded to.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum RawUpgrade {
    Websocket,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum RawSwitch {
    On,
    Off,
}
