//! Which versions of an app are still served: one below the minimum is refused and told where to get a newer one, one below
//! the recommended is told so beside its answer. Whoever says nothing, or nothing that can be read, is served: a gate that
//! locks out by mistake does more harm than an old app.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::{AppVersion, AppVersionConfig};
use crate::error::ClientError;

static APP_VERSION: HeaderName = HeaderName::from_static("app-version");
pub(super) static RECOMMENDED: HeaderName = HeaderName::from_static("app-version-recommended");

/// What the client says it is, if it says it once and readably.
fn version_of(headers: &HeaderMap) -> Option<AppVersion> {
    let mut said = headers.get_all(&APP_VERSION).iter();
    let version = said.next()?.to_str().ok()?;
    match said.next() {
        None => AppVersion::parse(version),
        Some(_contradiction) => None,
    }
}

/// What becomes of a request of an app.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    Current,
    /// Served, and told that there is something newer.
    Old(&'a HeaderValue),
    Unsupported(&'a str),
}

impl Verdict<'_> {
    /// # Errors
    /// 403 for a version that is not served any more.
    pub(super) fn admit(&self) -> Result<(), ClientError> {
        match self {
            Self::Unsupported(store_url) => Err(ClientError::AppVersionUnsupported {
                store_url: (*store_url).to_owned(),
            }),
            Self::Current | Self::Old(_) => Ok(()),
        }
    }
}

pub(super) fn judge<'a>(config: &'a AppVersionConfig, headers: &HeaderMap) -> Verdict<'a> {
    // Without a word of configuration nothing is read.
    if config.minimum.is_none() && config.recommended.is_none() {
        return Verdict::Current;
    }
    let Some(version) = version_of(headers) else {
        return Verdict::Current;
    };
    if config.minimum.is_some_and(|minimum| version < minimum) {
        return Verdict::Unsupported(&config.store_url);
    }
    match &config.recommended {
        Some((recommended, header)) if version < *recommended => Verdict::Old(header),
        Some(_) | None => Verdict::Current,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::{APP_VERSION, Verdict, judge};
    use crate::config::{AppVersion, AppVersionConfig};
    use http::{HeaderMap, HeaderValue};

    fn config(minimum: &str, recommended: &str) -> AppVersionConfig {
        let version = AppVersion::parse(recommended);
        AppVersionConfig {
            minimum: AppVersion::parse(minimum),
            recommended: version.map(|version| {
                (
                    version,
                    HeaderValue::from_str(&version.to_string()).unwrap(),
                )
            }),
            store_url: "https://store.example/app".to_owned(),
        }
    }

    fn says(versions: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for version in versions {
            headers.append(&APP_VERSION, HeaderValue::from_static(version));
        }
        headers
    }

    #[test]
    fn versions_are_numbers_and_not_texts() {
        let is = |text| AppVersion::parse(text).map(|version| version.to_string());
        for (text, version) in [
            ("2", "2.0.0"),
            ("2.1", "2.1.0"),
            (" 2.1.7 ", "2.1.7"),
            ("2.1.7-beta.3+901", "2.1.7"),
            ("02.010.0", "2.10.0"),
        ] {
            assert_eq!(is(text).as_deref(), Some(version), "{text}");
        }
        for text in [
            "",
            "v2",
            "2.",
            ".2",
            "2.1.7.3",
            "2.x",
            "-1",
            "99999999999",
            "2,1",
        ] {
            assert_eq!(is(text), None, "{text}");
        }
        assert!(AppVersion::parse("2.9.0") < AppVersion::parse("2.10"));
    }

    #[test]
    fn only_who_is_surely_too_old_is_refused() {
        let gate = config("2.0.0", "2.10.0");
        let newer = HeaderValue::from_static("2.10.0");
        for (said, verdict) in [
            (
                &["1.9.9"][..],
                Verdict::Unsupported("https://store.example/app"),
            ),
            (&["0"], Verdict::Unsupported("https://store.example/app")),
            (&["2.0.0"], Verdict::Old(&newer)),
            (&["2.9"], Verdict::Old(&newer)),
            (&["2.10"], Verdict::Current),
            (&["3"], Verdict::Current),
            (&[], Verdict::Current),
            (&["one"], Verdict::Current),
            (&["1.0.0", "3.0.0"], Verdict::Current),
        ] {
            assert_eq!(judge(&gate, &says(said)), verdict, "{said:?}");
        }
        let open = AppVersionConfig::default();
        assert_eq!(judge(&open, &says(&["0.0.1"])), Verdict::Current);
    }
}
