//! Which of the media types of GraphQL over HTTP a client wants. What the choice means for a status is `response.rs`.

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};

use crate::error::{ClientError, Error};

/// The media type of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    /// `application/graphql-response+json`: the status tells whether the document was accepted.
    GraphqlResponse,
    /// `application/json`: the older one; a well-formed request is answered with 200.
    Json,
    /// `text/event-stream`: each result is an event (GraphQL over SSE, distinct connections mode).
    EventStream,
}

impl MediaType {
    pub(super) fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
            Self::EventStream => "text/event-stream; charset=utf-8",
        })
    }
}

/// The type with the highest quality; the newer one when a client likes both equally. A client that does not say, or
/// takes anything, gets the older one, which everybody can read.
pub(super) fn negotiate(headers: &HeaderMap) -> Result<MediaType, Error> {
    let mut best: Option<(u16, u8, MediaType)> = None;
    let mut stated = false;
    for value in headers.get_all(ACCEPT) {
        for range in value
            .to_str()
            .unwrap_or("")
            .split(',')
            .map(str::trim)
            .filter(|range| !range.is_empty())
        {
            stated = true;
            let Some((quality, rank, media_type)) = offer(range) else {
                continue;
            };
            if quality > 0
                && best.is_none_or(|(known, known_rank, _)| (quality, rank) > (known, known_rank))
            {
                best = Some((quality, rank, media_type));
            }
        }
    }
    match best {
        Some((_, _, media_type)) => Ok(media_type),
        None if stated => Err(ClientError::NotAcceptable.into()),
        None => Ok(MediaType::Json),
    }
}

/// What a media range means for us: its quality in thousandths, and how much we like it among equals.
fn offer(range: &str) -> Option<(u16, u8, MediaType)> {
    let mut parameters = range.split(';').map(str::trim);
    let (rank, media_type) = match parameters.next()?.to_ascii_lowercase().as_str() {
        "application/graphql-response+json" => (4, MediaType::GraphqlResponse),
        "application/json" => (3, MediaType::Json),
        "text/event-stream" => (2, MediaType::EventStream),
        "application/*" => (1, MediaType::Json),
        "*/*" => (0, MediaType::Json),
        _ => return None,
    };
    let mut quality = 1.0;
    for parameter in parameters {
        let Some((name, value)) = parameter.split_once('=') else {
            continue;
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => {
                quality = value
                    .trim()
                    .parse::<f32>()
                    .ok()
                    .filter(|q| (0.0..=1.0).contains(q))?;
            }
            // Answers are UTF-8 and nothing else.
            "charset" if !value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8") => {
                return None;
            }
            _ => {}
        }
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 1000"
    )]
    let thousandths = (quality * 1_000.0).round() as u16;
    Some((thousandths, rank, media_type))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn wanted(accept: &str) -> Option<MediaType> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
        negotiate(&headers).ok()
    }

    #[test]
    fn the_client_chooses() {
        assert_eq!(negotiate(&HeaderMap::new()).unwrap(), MediaType::Json);
        for json in [
            "application/json",
            "*/*",
            "application/*",
            "text/html, */*;q=0.1",
            "application/json, application/graphql-response+json;q=0.5",
            "application/json; charset=utf-8",
        ] {
            assert_eq!(wanted(json), Some(MediaType::Json), "{json}");
        }
        for newer in [
            "application/graphql-response+json",
            "application/graphql-response+json, application/json",
            "application/json, application/graphql-response+json",
            "Application/GraphQL-Response+JSON;charset=\"UTF-8\", application/json;q=0.9",
            "*/*, application/graphql-response+json",
        ] {
            assert_eq!(wanted(newer), Some(MediaType::GraphqlResponse), "{newer}");
        }
        for stream in ["text/event-stream", "*/*;q=0.1, text/event-stream"] {
            assert_eq!(wanted(stream), Some(MediaType::EventStream), "{stream}");
        }
        assert_eq!(
            wanted("text/event-stream, application/json"),
            Some(MediaType::Json)
        );
        for neither in [
            "text/html",
            "application/json;q=0",
            "application/json;charset=latin1",
            "application/json;q=x",
        ] {
            assert_eq!(wanted(neither), None, "{neither}");
        }
    }
}
