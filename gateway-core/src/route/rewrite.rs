//! Templates with the placeholders of a passthrough route's path: the path that it sends upstream, and the tags of what it
//! stores. They have no expressions: the day a path needs an `if`, the route moves to code.

use crate::encode::decoded;

/// For most paths with their queries.
const ROOM: usize = 128;
/// For most tags, so that they grow only once.
const TAG_ROOM: usize = 64;

/// A parsed template such as `/widgets/{id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rewrite(Vec<Piece>);

/// A parsed template such as `widget:{id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TagTemplate(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Parameter(String),
}

/// A template that cannot be used for its route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RewriteFault {
    #[error("`{0}` has a brace that is not closed")]
    OpenBrace(String),
    #[error("`{{{0}}}` is not a placeholder of the route's path")]
    UnknownPlaceholder(String),
    #[error("`{0}` does not begin with a slash")]
    Relative(String),
    #[error("is empty")]
    Empty,
}

impl Rewrite {
    /// Parses `template` for a route with `path`.
    pub(crate) fn parse(template: &str, path: &str) -> Result<Self, RewriteFault> {
        if !template.starts_with('/') {
            return Err(RewriteFault::Relative(template.to_owned()));
        }
        pieces(template, path).map(Self)
    }

    /// The path for one request: parameters go in as the client encoded them.
    pub(crate) fn apply(&self, parameters: &matchit::Params<'_, '_>) -> String {
        let mut path = String::with_capacity(ROOM);
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::Parameter(name) => path.push_str(parameters.get(name).unwrap_or("")),
            }
        }
        path
    }
}

impl TagTemplate {
    /// Parses `template` for a route with `path`.
    pub(crate) fn parse(template: &str, path: &str) -> Result<Self, RewriteFault> {
        if template.is_empty() {
            return Err(RewriteFault::Empty);
        }
        pieces(template, path).map(Self)
    }

    /// The tag for one request: parameters go in decoded, since one thing has one tag however its path is written.
    pub(crate) fn apply(&self, parameters: &matchit::Params<'_, '_>) -> String {
        let mut tag = String::with_capacity(TAG_ROOM);
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => tag.push_str(text),
                Piece::Parameter(name) => {
                    tag.push_str(&decoded(parameters.get(name).unwrap_or("")));
                }
            }
        }
        tag
    }
}

fn pieces(template: &str, path: &str) -> Result<Vec<Piece>, RewriteFault> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let close = rest[open..]
            .find('}')
            .ok_or_else(|| RewriteFault::OpenBrace(template.to_owned()))?
            + open;
        let name = rest[open + 1..close].trim_start_matches('*');
        if !path.contains(&format!("{{{name}}}")) && !path.contains(&format!("{{*{name}}}")) {
            return Err(RewriteFault::UnknownPlaceholder(name.to_owned()));
        }
        if open > 0 {
            pieces.push(Piece::Text(rest[..open].to_owned()));
        }
        pieces.push(Piece::Parameter(name.to_owned()));
        rest = &rest[close + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn placeholders_are_filled_as_the_client_encoded_them() {
        let rewrite = Rewrite::parse("/widgets/{id}/parts/{part}", "/api/w/{id}/{part}").unwrap();
        let mut router = matchit::Router::new();
        router.insert("/api/w/{id}/{part}", ()).unwrap();
        let matched = router.at("/api/w/a%20b/7").unwrap();
        assert_eq!(rewrite.apply(&matched.params), "/widgets/a%20b/parts/7");
    }

    #[test]
    fn one_thing_has_one_tag_however_its_path_is_written() {
        let template = TagTemplate::parse("widget:{id}", "/api/w/{id}").unwrap();
        let mut router = matchit::Router::new();
        router.insert("/api/w/{id}", ()).unwrap();
        for path in ["/api/w/a7", "/api/w/%61%37"] {
            let matched = router.at(path).unwrap();
            assert_eq!(template.apply(&matched.params), "widget:a7", "{path}");
        }
        let fault = TagTemplate::parse("", "/api/w/{id}");
        assert_eq!(fault, Err(RewriteFault::Empty));
        let fault = TagTemplate::parse("widget:{other}", "/api/w/{id}");
        assert_eq!(
            fault,
            Err(RewriteFault::UnknownPlaceholder("other".to_owned()))
        );
    }

    #[test]
    fn a_template_that_cannot_be_filled_is_a_fault() {
        assert_eq!(
            Rewrite::parse("/widgets/{other}", "/api/{id}"),
            Err(RewriteFault::UnknownPlaceholder("other".to_owned()))
        );
        assert!(matches!(
            Rewrite::parse("/widgets/{id", "/api/{id}"),
            Err(RewriteFault::OpenBrace(_))
        ));
        assert!(matches!(
            Rewrite::parse("widgets", "/api/{id}"),
            Err(RewriteFault::Relative(_))
        ));
    }
}
