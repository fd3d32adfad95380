//! The configuration as it is written: one private type a table, with the default of every optional key.
//! Nothing is cross-checked here (`config/validate.rs`), and no file is read (`config/load.rs`).

mod edge;
mod graphql;
mod plans;
mod session;
mod text;
mod tree;
mod upstream;
mod webhooks;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::{Method, Uri};
use ipnet::IpNet;
use jsonwebtoken::Algorithm;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::RedisServer;
use super::fault::ConfigFaults;
pub(super) use edge::{
    RawAppVersion, RawCoding, RawCompression, RawCors, RawCsrf, RawCsrfRule, RawHsts,
    RawResourcePolicy, RawRouteCors, RawSecurityHeaders, RawStreams, RawSwitch, RawUpgrade,
};
pub(super) use graphql::{RawGraphql, RawPersistedDocuments};
pub(super) use plans::{RawPartner, RawPlan};
pub(super) use session::RawSession;
pub(super) use text::{Rate, Share, Size, Text};
pub(super) use tree::{Tree, child, element};
pub(super) use upstream::{
    RawBreaker, RawDiscovery, RawDns, RawEjection, RawHealth, RawProtocol, RawRetry, RawUpstream,
};
pub(super) use webhooks::RawWebhooks;

/// Reads a document, reporting every value that does not fit and every key that is not known.
pub(super) fn read(mut document: Tree, faults: &mut ConfigFaults) -> RawConfig {
    // serde stops at the first fault, so what is at fault is reported, taken out, and the rest is read again.
    loop {
        let fault = match RawConfig::deserialize(document.reader()) {
            Ok(raw) => return raw,
            Err(fault) => fault,
        };
        let removed = document.remove(&fault.path);
        faults.push(fault.path.to_string(), fault.message);
        if !removed {
            return RawConfig::default();
        }
    }
}

#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    pub(super) server: RawServer,
    pub(super) admin: RawAdmin,
    pub(super) log: RawLog,
    pub(super) tracing: RawTracing,
    pub(super) problems: RawProblems,
    pub(super) deadline: RawDeadline,
    pub(super) issuers: Vec<RawIssuer>,
    pub(super) api_keys: Option<RawApiKeys>,
    pub(super) internal_token: RawInternalToken,
    pub(super) cors: RawCors,
    pub(super) csrf: RawCsrf,
    pub(super) session: Option<RawSession>,
    pub(super) security_headers: RawSecurityHeaders,
    pub(super) compression: RawCompression,
    pub(super) streams: RawStreams,
    pub(super) app_version: RawAppVersion,
    pub(super) upstreams: BTreeMap<String, RawUpstream>,
    pub(super) dns: RawDns,
    pub(super) rate_limits: BTreeMap<String, RawRateLimit>,
    pub(super) plans: BTreeMap<String, RawPlan>,
    pub(super) partners: BTreeMap<String, RawPartner>,
    pub(super) redis: Option<RawRedis>,
    pub(super) store: RawStore,
    pub(super) cache: RawCache,
    pub(super) events: Option<RawEvents>,
    pub(super) webhooks: RawWebhooks,
    pub(super) graphql: RawGraphql,
    pub(super) routes: Vec<RawRoute>,
    pub(super) policies: BTreeMap<String, RawPolicy>,
    pub(super) unmatched: RawUnmatched,
    pub(super) development: RawDevelopment,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawServer {
    pub(super) address: Text<SocketAddr>,
    pub(super) trusted_proxies: Vec<Text<IpNet>>,
    pub(super) workers: usize,
    pub(super) header_timeout: Text<Duration>,
    pub(super) idle_timeout: Text<Duration>,
    pub(super) body_timeout: Text<Duration>,
    pub(super) max_connections: usize,
    pub(super) max_requests: usize,
    pub(super) max_wait: Text<Duration>,
    pub(super) max_uri: Text<Size>,
    pub(super) max_header_bytes: Text<Size>,
    pub(super) max_headers: usize,
    pub(super) max_body: Text<Size>,
    pub(super) lame_duck: Text<Duration>,
    pub(super) grace: Text<Duration>,
    pub(super) tls: Option<RawTls>,
}

#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTls {
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) client_ca: Option<PathBuf>,
    pub(super) client_auth: Option<RawClientAuth>,
    pub(super) handshake_timeout: Option<Text<Duration>>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawClientAuth {
    Required,
    Optional,
}

impl Default for RawServer {
    fn default() -> Self {
        Self {
            address: Text(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))),
            trusted_proxies: Vec::new(),
            workers: 0,
            header_timeout: Text(Duration::from_secs(10)),
            idle_timeout: Text(Duration::from_mins(1)),
            body_timeout: Text(Duration::from_secs(10)),
            max_connections: 10_000,
            max_requests: 2_000,
            max_wait: Text(Duration::from_millis(50)),
            max_uri: Text(Size(8 << 10)),
            max_header_bytes: Text(Size(32 << 10)),
            max_headers: 100,
            max_body: Text(Size(256 << 10)),
            lame_duck: Text(Duration::from_secs(1)),
            grace: Text(Duration::from_secs(8)),
            tls: None,
        }
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAdmin {
    pub(super) address: Text<SocketAddr>,
    pub(super) hosts: Vec<String>,
}

impl Default for RawAdmin {
    fn default() -> Self {
        Self {
            address: Text(SocketAddr::from((Ipv4Addr::LOCALHOST, 9080))),
            hosts: Vec::new(),
        }
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLog {
    pub(super) filter: String,
}

impl Default for RawLog {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
        }
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTracing {
    pub(super) endpoint: String,
    pub(super) sample: Text<Share>,
    pub(super) service: Option<String>,
    pub(super) timeout: Text<Duration>,
    pub(super) queue: usize,
}

impl Default for RawTracing {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            sample: Text(Share(0.01)),
            service: None,
            timeout: Text(Duration::from_secs(5)),
            queue: 2048,
        }
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawProblems {
    pub(super) base: String,
}

impl Default for RawProblems {
    fn default() -> Self {
        Self {
            base: "/problems".to_owned(),
        }
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDeadline {
    pub(super) default: Text<Duration>,
    pub(super) reserve: Text<Share>,
    pub(super) reserve_min: Text<Duration>,
}

impl Default for RawDeadline {
    fn default() -> Self {
        Self {
            default: Text(Duration::from_secs(3)),
            reserve: Text(Share(0.1)),
            reserve_min: Text(Duration::from_millis(20)),
        }
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawIssuer {
    pub(super) issuer: Option<String>,
    pub(super) subject_prefix: String,
    pub(super) jwks_uri: Option<Text<Uri>>,
    pub(super) audiences: Vec<String>,
    pub(super) algorithms: Vec<Text<Algorithm>>,
    pub(super) token_types: Vec<String>,
    pub(super) partner_claim: Option<String>,
    pub(super) leeway: Text<Duration>,
    pub(super) refresh: Text<Duration>,
    pub(super) cooldown: Text<Duration>,
    pub(super) max_stale: Text<Duration>,
}

impl Default for RawIssuer {
    fn default() -> Self {
        Self {
            issuer: None,
            subject_prefix: String::new(),
            jwks_uri: None,
            audiences: Vec::new(),
            algorithms: vec![Text(Algorithm::RS256), Text(Algorithm::ES256)],
            // RFC 9068: without it an ID token of the same issuer would do as an access token.
            token_types: vec!["at+jwt".to_owned()],
            partner_claim: None,
            leeway: Text(Duration::from_secs(5)),
            refresh: Text(Duration::from_mins(10)),
            cooldown: Text(Duration::from_secs(10)),
            max_stale: Text(Duration::from_hours(12)),
        }
    }
}

#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawApiKeys {
    pub(super) prefix: Option<String>,
    pub(super) keys: Vec<RawApiKey>,
}

#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawApiKey {
    pub(super) id: Option<String>,
    pub(super) owner: Option<String>,
    /// Nobody has to see it: a key is known by its id.
    #[serde(skip_serializing)]
    pub(super) hash: Option<Text<[u8; 32]>>,
    pub(super) scopes: Vec<String>,
    pub(super) attributes: BTreeMap<String, String>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawInternalToken {
    /// A secret, which `Debug` leaves out, and what operators are shown, too.
    #[serde(skip_serializing)]
    pub(super) key: String,
    pub(super) key_file: String,
    pub(super) key_id: String,
    pub(super) lifetime: Text<Duration>,
    pub(super) attributes: Vec<String>,
}

impl Default for RawInternalToken {
    fn default() -> Self {
        Self {
            key: String::new(),
            key_file: String::new(),
            key_id: "gateway".to_owned(),
            lifetime: Text(Duration::from_secs(60)),
            attributes: Vec::new(),
        }
    }
}

impl std::fmt::Debug for RawInternalToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawInternalToken")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawRateLimitKey {
    Address,
    Principal,
    ApiKey,
    Route,
}

#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRateLimit {
    pub(super) key: Option<RawRateLimitKey>,
    pub(super) rate: Option<Text<Rate>>,
    pub(super) burst: Option<u32>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRedis {
    pub(super) url: Option<Text<RedisServer>>,
    pub(super) timeout: Text<Duration>,
    pub(super) replicas: Option<u32>,
    pub(super) prefix: Option<String>,
    pub(super) share_responses: bool,
    pub(super) max_response_age: Text<Duration>,
}

impl Default for RawRedis {
    fn default() -> Self {
        Self {
            url: None,
            timeout: Text(Duration::from_millis(25)),
            replicas: None,
            prefix: None,
            share_responses: false,
            max_response_age: Text(Duration::from_secs(60)),
        }
    }
}

#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawStore {
    pub(super) path: String,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCache {
    pub(super) max_bytes: Text<Size>,
    pub(super) max_entry: Text<Size>,
    pub(super) parts_max_bytes: Text<Size>,
}

impl Default for RawCache {
    fn default() -> Self {
        Self {
            max_bytes: Text(Size(64 << 20)),
            max_entry: Text(Size(1 << 20)),
            parts_max_bytes: Text(Size(32 << 20)),
        }
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawEvents {
    pub(super) upstream: Option<String>,
    pub(super) path: String,
    pub(super) heartbeat: Text<Duration>,
    pub(super) max_subscribers: usize,
}

impl Default for RawEvents {
    fn default() -> Self {
        Self {
            upstream: None,
            path: "/events".to_owned(),
            heartbeat: Text(Duration::from_secs(15)),
            max_subscribers: 20_000,
        }
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawRouteCache {
    Off,
    Private,
    Shared,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRoute {
    pub(super) name: Option<String>,
    pub(super) path: Option<String>,
    pub(super) methods: Vec<Text<Method>>,
    pub(super) upstream: Option<String>,
    pub(super) weights: BTreeMap<String, u32>,
    pub(super) mirror: Option<RawMirror>,
    pub(super) rewrite: Option<String>,
    pub(super) access: Option<RawAccess>,
    pub(super) limits: Vec<String>,
    pub(super) cost: Option<u32>,
    pub(super) deadline: Option<Text<Duration>>,
    pub(super) max_body: Option<Text<Size>>,
    pub(super) cors: Option<RawRouteCors>,
    pub(super) csrf: Option<RawCsrfRule>,
    pub(super) compression: Option<RawSwitch>,
    pub(super) cache: RawRouteCache,
    pub(super) stale_while_revalidate: Option<Text<Duration>>,
    pub(super) stale_if_error: Option<Text<Duration>>,
    pub(super) tags: Vec<String>,
    pub(super) upgrade: Option<RawUpgrade>,
}

impl Default for RawRoute {
    fn default() -> Self {
        Self {
            name: None,
            path: None,
            methods: vec![Text(Method::GET)],
            upstream: None,
            weights: BTreeMap::new(),
            mirror: None,
            rewrite: None,
            access: None,
            limits: Vec::new(),
            cost: None,
            deadline: None,
            max_body: None,
            cors: None,
            csrf: None,
            compression: None,
            cache: RawRouteCache::Off,
            stale_while_revalidate: None,
            stale_if_error: None,
            tags: Vec::new(),
            upgrade: None,
        }
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawMirror {
    pub(super) upstream: Option<String>,
    pub(super) share: Text<Share>,
}

impl Default for RawMirror {
    fn default() -> Self {
        Self {
            upstream: None,
            share: Text(Share(1.0)),
        }
    }
}

#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPolicy {
    pub(super) access: Option<RawAccess>,
    pub(super) limits: Vec<String>,
    pub(super) cost: Option<u32>,
    pub(super) deadline: Option<Text<Duration>>,
    pub(super) max_body: Option<Text<Size>>,
    pub(super) cors: Option<RawRouteCors>,
    pub(super) csrf: Option<RawCsrfRule>,
    pub(super) compression: Option<RawSwitch>,
}

/// Requests that are no route's.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawUnmatched {
    pub(super) limits: Vec<String>,
}

#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDevelopment {
    /// What a file relaxes, in words; each is logged as a warning at the start.
    pub(super) relaxations: Vec<String>,
}

/// `"public"`, `"authenticated"` or `{ scopes = […], any_scopes = […], roles = […], principals = […] }`.
#[derive(Debug)]
pub(super) enum RawAccess {
    Public,
    Authenticated,
    Requirement(RawRequirement),
}

#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRequirement {
    pub(super) scopes: Vec<String>,
    pub(super) any_scopes: Vec<String>,
    pub(super) roles: Vec<String>,
    pub(super) principals: Vec<RawAllowedPrincipal>,
}

/// One caller: `subject` (with `issuer`), `owner` or `key`.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAllowedPrincipal {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key_id: Option<String>,
}

impl Serialize for RawAccess {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Public => serializer.serialize_str("public"),
            Self::Authenticated => serializer.serialize_str("authenticated"),
            Self::Requirement(requirement) => requirement.serialize(serializer),
        }
    }
}

impl JsonSchema for RawAccess {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Access".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let requirement = generator.subschema_for::<RawRequirement>();
        json_schema!({
            "anyOf": [{ "enum": ["public", "authenticated"] }, requirement]
        })
    }
}

impl<'de> Deserialize<'de> for RawAccess {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AccessVisitor;

        impl<'de> Visitor<'de> for AccessVisitor {
            type Value = RawAccess;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(r#""public", "authenticated" or a table of scopes, any_scopes, roles, principals"#)
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<RawAccess, E> {
                match word {
                    "public" => Ok(RawAccess::Public),
                    "authenticated" => Ok(RawAccess::Authenticated),
                    _ => Err(E::unknown_variant(word, &["public", "authenticated"])),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawAccess, A::Error> {
                RawRequirement::deserialize(MapAccessDeserializer::new(map))
                    .map(RawAccess::Requirement)
            }
        }

        deserializer.deserialize_any(AccessVisitor)
    }
}
