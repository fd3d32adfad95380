//! Files that never change under their name, already in the codings that browsers like. Files from a disk are not served
//! by a gateway.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::compose::matches_weakly;
use crate::config::Coding;
use crate::edge::Accepted;
use crate::error::Error;

/// A file in the binary.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// The last segment of its address: it contains a hash of the content, since answers are kept for ever under it.
    /// Visible ASCII without quotes.
    pub file: &'static str,
    pub media_type: &'static str,
    pub plain: &'static [u8],
    /// The same content coded (RFC 9110, 8.4.1), where that is shorter: at its best, since it was done once.
    pub brotli: Option<&'static [u8]>,
    pub gzip: Option<&'static [u8]>,
}

/// All files of a BFF.
#[derive(Clone, Copy, Debug)]
pub struct Assets(pub &'static [Asset]);

impl Assets {
    /// The file of this name, as this client likes it best: kept by everybody for a year and never asked for again
    /// (RFC 8246), and 304 for a client that asks nevertheless.
    ///
    /// # Errors
    /// 404 when there is none, which is kept by nobody: it may be there after the next deployment.
    pub fn answer(&self, file: &str, headers: &HeaderMap) -> Result<Response, Error> {
        let asset = self.0.iter().find(|asset| asset.file == file);
        Ok(asset.ok_or_else(Error::not_found)?.answer(headers))
    }
}

impl Asset {
    fn answer(&self, headers: &HeaderMap) -> Response {
        // What is the same in every coding: the client has it, whichever it has.
        let known = headers.get_all(IF_NONE_MATCH).iter().any(|tags| {
            let variants = [None, Some(Coding::Brotli), Some(Coding::Gzip)];
            variants
                .into_iter()
                .any(|coding| matches_weakly(tags, &self.etag(coding)))
        });
        let (coding, bytes) = self.best(Accepted::of(headers));
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let media_type = HeaderValue::from_static(self.media_type);
            ([(CONTENT_TYPE, media_type)], Bytes::from_static(bytes)).into_response()
        };
        let answered = response.headers_mut();
        if let Some(coding) = coding.filter(|_| !known) {
            answered.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        }
        answered.insert(ETAG, self.etag(coding));
        answered.insert(VARY, HeaderValue::from_static("accept-encoding"));
        answered.insert(
            CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=31536000, immutable"),
        );
        response
    }

    /// Strong, so each coding has its own (RFC 9110, 8.8.3.3).
    fn etag(&self, coding: Option<Coding>) -> HeaderValue {
        let etag = match coding {
            Some(coding) => format!("\"{}.{}\"", self.file, coding.name()),
            None => format!("\"{}\"", self.file),
        };
        HeaderValue::try_from(etag).unwrap_or(HeaderValue::from_static("\"\""))
    }

    fn best(&self, accepted: Accepted) -> (Option<Coding>, &'static [u8]) {
        let of = |coding| match coding {
            Coding::Brotli => self.brotli,
            Coding::Gzip => self.gzip,
            Coding::Zstd => None,
        };
        let both = [Coding::Brotli, Coding::Gzip];
        let there = match (self.brotli, self.gzip) {
            (Some(_), Some(_)) => &both[..],
            (Some(_), None) => &both[..1],
            (None, Some(_)) => &both[1..],
            (None, None) => &[],
        };
        accepted
            .best(there)
            .and_then(|coding| Some((Some(coding), of(coding)?)))
            .unwrap_or((None, self.plain))
    }
}

#[cfg(test)]
mod tests;
