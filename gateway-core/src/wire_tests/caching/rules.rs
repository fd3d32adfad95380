//! The rules of caching as a table: what happens one after the other, and where it is written. `caching.rs` plays it.

/// A rule: its place, whose cache it is about, and what happens one after the other.
pub(super) type Row = (&'static str, Whose, &'static [Step]);

/// What a client asks, what the service answers (nothing: it must not be asked), and what the client gets.
///
/// Fields stand behind `|`; `{+7}` is a date seven seconds from now, `{path}` the path of the row. A client with `@key` shows
/// credentials. What it gets begins with a status, when that is not the service's, and the words of `Cache-Status`; behind
/// it stand what fields begin with, or `!` and the name of one that is not there.
pub(super) type Step = (&'static str, &'static str, &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The route is shared.
    Everybodys,
    /// The route is private.
    Callers,
}
use Whose::{Callers, Everybodys};

// One line a step.
#[rustfmt::skip]
pub(super) const RULES: &[Row] = &[
    // RFC 9111, 3: what is stored.
    ("3: what says how long it is fresh", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
        ("GET", "", "hit; ttl=5 | age: 0"),
    ]),
    ("3: nothing that cannot be of use", Everybodys, &[
        ("GET", "200", "fwd=uri-miss | !age"),
        ("GET", "200", "fwd=uri-miss"),
    ]),
    ("3: what can be made sure of", Everybodys, &[
        ("GET", "200 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET", "304 | ETag: \"1\"", "200 fwd=stale; fwd-status=304; stored"),
    ]),
    ("3: the response directive no-store", Everybodys, &[
        ("GET", "200 | Cache-Control: no-store, max-age=60", "fwd=uri-miss"),
        ("GET", "200", "fwd=uri-miss"),
    ]),
    ("3: no-store counts for more than a validator", Everybodys, &[
        ("GET", "200 | Cache-Control: No-Store | ETag: \"1\"", "fwd=uri-miss"),
        ("GET", "200", "fwd=uri-miss"),
    ]),
    ("3: not to a POST", Everybodys, &[
        ("POST", "200 | Cache-Control: max-age=60", "-"),
        ("GET", "200", "fwd=uri-miss"),
    ]),
    ("3: not the answer to a HEAD", Everybodys, &[
        ("HEAD", "200 | Cache-Control: max-age=60", "fwd=uri-miss"),
        ("GET", "200", "fwd=uri-miss"),
    ]),
    ("3: a status that is stored by default: 404", Everybodys, &[
        ("GET", "404 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
        ("GET", "", "404 hit"),
    ]),
    ("3: a status that is stored by default: 410, with a validator alone", Everybodys, &[
        ("GET", "410 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET", "304", "410 fwd=stale; fwd-status=304; stored"),
    ]),
    ("3: a status that is stored by default: 301", Everybodys, &[
        ("GET", "301 | Cache-Control: max-age=60 | Location: /a", "fwd=uri-miss; stored"),
        ("GET", "", "301 hit | location: /a"),
    ]),
    ("3: a status that is stored by default: 204", Everybodys, &[
        ("GET", "204 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
        ("GET", "", "204 hit | !content-length"),
    ]),
    ("3: another one that says so", Everybodys, &[
        ("GET", "302 | Cache-Control: max-age=60 | Location: /a", "fwd=uri-miss; stored"),
        ("GET", "", "302 hit"),
    ]),
    ("3: another one that does not", Everybodys, &[
        ("GET", "302 | ETag: \"1\" | Location: /a", "fwd=uri-miss"),
        ("GET", "200", "fwd=uri-miss"),
    ]),
    ("3: no failure", Everybodys, &[
        ("GET", "503 | Cache-Control: max-age=60", "502 fwd=uri-miss; fwd-status=503"),
        ("GET", "200", "fwd=uri-miss"),
    ]),
    ("3: no status that is not known here", Everybodys, &[
        ("GET", "299 | Cache-Control: max-age=60", "fwd=uri-miss"),
        ("GET", "200", "fwd=uri-miss"),
    ]),
    ("3.1: fields about a connection are not stored", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60 | Keep-Alive: 5 | Connection: X-Hop | X-Hop: 1 | X-End: 1", "fwd=uri-miss; stored"),
        ("GET", "", "hit | !keep-alive | !x-hop | x-end: 1"),
    ]),
    ("3.2: a 304 replaces fields", Everybodys, &[
        ("GET", "200 | ETag: \"1\" | X-Version: old | X-Kept: 1", "fwd=uri-miss; stored"),
        ("GET", "304 | Cache-Control: max-age=60 | X-Version: new", "200 fwd=stale; fwd-status=304; stored | x-version: new | x-kept: 1 | etag: \"1\""),
        ("GET", "", "200 hit | x-version: new | x-kept: 1 | etag: \"1\""),
    ]),
    ("3.2: but not how the body is to be read", Everybodys, &[
        ("GET", "200 | ETag: \"1\" | Content-Encoding: x", "fwd=uri-miss; stored"),
        ("GET", "304 | Cache-Control: max-age=60 | Content-Encoding: y", "200 fwd=stale; fwd-status=304; stored | content-encoding: x | content-length: 4"),
    ]),
    ("3.3: what breaks off is not stored", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60 | !short", "broken"),
        ("GET", "200", "fwd=uri-miss"),
    ]),
    ("3.4: parts are neither stored nor put together", Everybodys, &[
        ("GET | Range: bytes=0-1", "206 | Cache-Control: max-age=60 | Content-Range: bytes 0-1/4", "fwd=bypass"),
        ("GET", "200 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
        ("GET | Range: bytes=0-1", "206 | Content-Range: bytes 0-1/4", "fwd=bypass"),
    ]),
    ("3.5: with credentials not for everybody", Everybodys, &[
        ("GET | @key", "200 | Cache-Control: max-age=60", "fwd=uri-miss"),
        ("GET | Cookie: a=b", "200 | Cache-Control: max-age=60", "fwd=uri-miss"),
        ("GET | @key", "200", "fwd=uri-miss"),
    ]),
    ("3.5: unless public", Everybodys, &[
        ("GET | @key", "200 | Cache-Control: public, max-age=60", "fwd=uri-miss; stored"),
        ("GET", "", "hit"),
        ("GET | @key", "", "hit"),
    ]),
    ("3.5: or s-maxage", Everybodys, &[
        ("GET | @key", "200 | Cache-Control: s-maxage=60", "fwd=uri-miss; stored"),
        ("GET", "", "hit"),
    ]),
    ("3.5: or must-revalidate", Everybodys, &[
        ("GET | @key", "200 | Cache-Control: must-revalidate, max-age=60", "fwd=uri-miss; stored"),
        ("GET", "", "hit"),
    ]),
    ("3.5: what was asked for without them is for everybody", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
        ("GET | @key", "", "hit"),
    ]),
    ("3.5: it is about caches that are shared", Callers, &[
        ("GET | @key", "200 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
        ("GET | @key", "", "hit"),
        ("GET", "200 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
    ]),
    ("7.3: what comes with a cookie is for the one who gets that", Everybodys, &[
        ("GET", "200 | Cache-Control: public, max-age=60 | Set-Cookie: a=b", "fwd=uri-miss | !set-cookie"),
        ("GET", "200", "fwd=uri-miss"),
    ]),
    ("7.3: so is what a 304 with a cookie says", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60 | Age: 61 | ETag: \"1\" | X-For: all", "fwd=uri-miss; stored"),
        ("GET", "304 | Cache-Control: max-age=60 | X-For: one | Set-Cookie: a=b", "200 fwd=stale; fwd-status=304 | x-for: one | !set-cookie"),
        ("GET", "304 | Cache-Control: max-age=60 | ?if-none-match: \"1\"", "200 fwd=stale; fwd-status=304; stored | x-for: all"),
    ]),
    // 4.1: what selects.
    ("4.1: the fields that Vary names", Everybodys, &[
        ("GET | Accept-Language: de", "200 | Cache-Control: max-age=60 | Vary: Accept-Language | X-Is: de", "fwd=uri-miss; stored"),
        ("GET | Accept-Language: en", "200 | Cache-Control: max-age=60 | Vary: accept-language | X-Is: en", "fwd=vary-miss; stored"),
        ("GET", "200 | Cache-Control: max-age=60 | Vary: Accept-Language | X-Is: none", "fwd=vary-miss; stored"),
        ("GET | Accept-Language: de", "", "hit | x-is: de"),
        ("GET | Accept-Language: en", "", "hit | x-is: en"),
        ("GET", "", "hit | x-is: none"),
    ]),
    ("4.1: on several lines, all of them", Everybodys, &[
        ("GET | A: 1 | B: 1", "200 | Cache-Control: max-age=60 | Vary: a | Vary: b", "fwd=uri-miss; stored"),
        ("GET | A: 1 | B: 2", "200 | Cache-Control: max-age=60 | Vary: a | Vary: b", "fwd=vary-miss; stored"),
        ("GET | B: 1 | A: 1", "", "hit"),
    ]),
    ("4.1: Vary: * is selected by nothing", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60 | Vary: a, *", "fwd=uri-miss"),
        ("GET", "200", "fwd=uri-miss"),
    ]),
    ("4.1: no Vary is selected by everything", Everybodys, &[
        ("GET | A: 1", "200 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
        ("GET | A: 2", "", "hit"),
    ]),
    ("4.1: what does not come to the service selects nothing", Everybodys, &[
        ("GET | Cookie: a=1", "200 | Cache-Control: public, max-age=60 | Vary: Cookie | ?!cookie", "fwd=uri-miss; stored"),
        ("GET | Cookie: a=2", "", "hit"),
        ("GET", "", "hit"),
    ]),
    ("4.1: what the service is told of the way does", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60 | Vary: Forwarded", "fwd=uri-miss; stored"),
        ("GET", "", "hit"),
    ]),
    ("7.3: what was asked for by another name is another thing", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
        ("GET http://other.example", "200 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
        ("GET", "", "hit"),
    ]),
    // 4.2: freshness.
    ("4.2.1: s-maxage goes before max-age", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=10, s-maxage=100 | Age: 50", "fwd=uri-miss; stored"),
        ("GET", "", "hit; ttl=4"),
    ]),
    ("4.2.1: also when it is shorter", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=100, s-maxage=10 | Age: 50 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET", "304", "200 fwd=stale; fwd-status=304; stored"),
    ]),
    ("4.2.1: s-maxage is for shared caches", Callers, &[
        ("GET | @key", "200 | Cache-Control: max-age=10, s-maxage=100 | Age: 50 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET | @key", "304", "200 fwd=stale; fwd-status=304; stored"),
    ]),
    ("4.2.1: max-age goes before Expires", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60 | Expires: {-60}", "fwd=uri-miss; stored"),
        ("GET", "", "hit"),
    ]),
    ("4.2.1: Expires less Date", Everybodys, &[
        ("GET", "200 | Date: {-30} | Expires: {+30} | X-A: 1", "fwd=uri-miss; stored"),
        ("GET", "", "hit; ttl=2 | age: 3"),
    ]),
    ("4.2.1: Expires without Date counts from when it came", Everybodys, &[
        ("GET", "200 | Expires: {+30}", "fwd=uri-miss; stored"),
        ("GET", "", "hit; ttl=2 | age: 0"),
    ]),
    ("5.3: an Expires that is no date is over", Everybodys, &[
        ("GET", "200 | Expires: 0 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET", "304", "200 fwd=stale; fwd-status=304; stored"),
    ]),
    ("4.2.1: a lifetime that cannot be read is over", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=soon | Expires: {+60} | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET", "304", "200 fwd=stale; fwd-status=304; stored"),
    ]),
    ("4.2.1: of two lifetimes the shorter", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=100 | Cache-Control: max-age=10 | Age: 50 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET", "304", "200 fwd=stale; fwd-status=304; stored"),
    ]),
    ("1.2.2: a lifetime that is too large is very long", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=99999999999999999999", "fwd=uri-miss; stored"),
        ("GET", "", "hit; ttl=214748364"),
    ]),
    ("5.2: directives in any case, their values also quoted", Everybodys, &[
        ("GET", "200 | Cache-Control: MAX-AGE=\"60\"", "fwd=uri-miss; stored"),
        ("GET", "", "hit"),
    ]),
    ("5.2: what stands between quotation marks is no directive", Everybodys, &[
        ("GET", "200 | Cache-Control: x=\"a, no-store, b\", max-age=60", "fwd=uri-miss; stored"),
        ("GET", "", "hit"),
    ]),
    ("5.2.3: directives that are not known say nothing", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60, immutable, x=1", "fwd=uri-miss; stored"),
        ("GET", "", "hit"),
    ]),
    ("4.2.2: nothing is guessed", Everybodys, &[
        ("GET", "200 | Last-Modified: {-86400000}", "fwd=uri-miss; stored"),
        ("GET", "304", "200 fwd=stale; fwd-status=304; stored"),
    ]),
    ("4.2.3: Age counts", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60 | Age: 20", "fwd=uri-miss; stored"),
        ("GET", "", "hit; ttl=3 | age: 2"),
    ]),
    ("4.2.3: so does Date, whichever makes it older", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60 | Age: 20 | Date: {-40}", "fwd=uri-miss; stored"),
        ("GET", "", "hit; ttl=1 | age: 4"),
    ]),
    ("4.2.3: a Date in the future makes nothing younger", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60 | Age: 20 | Date: {+40}", "fwd=uri-miss; stored"),
        ("GET", "", "hit; ttl=3 | age: 2"),
    ]),
    ("5.1: an Age that cannot be read says nothing, of several the first counts", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60 | Age: old", "fwd=uri-miss; stored"),
        ("GET", "", "hit; ttl=5 | age: 0"),
        ("GET | Cache-Control: no-cache", "200 | Cache-Control: max-age=60 | Age: 20, 50", "fwd=request; stored"),
        ("GET", "", "hit; ttl=3 | age: 2"),
    ]),
    ("1.2.2: an Age that is too large is a very large one", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60 | Age: 4294967296 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET", "304 | Cache-Control: max-age=60 | Age: 99999999999999999999999", "200 fwd=stale; fwd-status=304; stored"),
        ("GET", "304", "200 fwd=stale; fwd-status=304"),
    ]),
    ("RFC 9110, 6.6.1: what has no Date gets one", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
        ("GET", "", "hit | date: "),
    ]),
    // 4.2.4: stale answers.
    ("4.2.4: not used without leave", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=10 | Age: 20", "fwd=uri-miss; stored"),
        ("GET", "200", "fwd=stale"),
    ]),
    // 4.3: validation.
    ("4.3.1: with the ETag", Everybodys, &[
        ("GET", "200 | ETag: \"1\" | Last-Modified: {-60}", "fwd=uri-miss; stored"),
        ("GET | If-None-Match: \"mine\"", "304 | ?if-none-match: \"1\" | ?!if-modified-since", "200 fwd=stale; fwd-status=304; stored"),
    ]),
    ("4.3.1: with Last-Modified when there is no other", Everybodys, &[
        ("GET", "200 | Last-Modified: Mon, 01 Jan 2001 00:00:00 GMT", "fwd=uri-miss; stored"),
        ("GET", "304 | ?if-modified-since: Mon, 01 Jan 2001 00:00:00 GMT", "200 fwd=stale; fwd-status=304; stored"),
    ]),
    ("4.3.2: If-None-Match is answered here", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60 | ETag: W/\"1\" | Vary: a", "fwd=uri-miss; stored"),
        ("GET | If-None-Match: \"0\", \"1\"", "", "304 hit | etag: W/\"1\" | vary: a | cache-control: max-age=60 | age: 0 | !content-length | !content-type"),
        ("GET | If-None-Match: \"2\"", "", "200 hit"),
        ("GET | If-None-Match: *", "", "304 hit"),
        ("HEAD | If-None-Match: W/\"1\"", "", "304 hit"),
        ("GET | If-None-Match: \"2\" | If-Modified-Since: {+60}", "", "200 hit"),
    ]),
    ("4.3.2: If-Modified-Since too", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60 | Last-Modified: {-60}", "fwd=uri-miss; stored"),
        ("GET | If-Modified-Since: {-30}", "", "304 hit"),
        ("GET | If-Modified-Since: {-90}", "", "200 hit"),
        ("GET | If-Modified-Since: lately", "", "200 hit"),
    ]),
    ("4.3.2: with Date when there is no Last-Modified", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60 | Date: {-20}", "fwd=uri-miss; stored"),
        ("GET | If-Modified-Since: {-10}", "", "304 hit"),
        ("GET | If-Modified-Since: {-30}", "", "200 hit"),
    ]),
    ("4.3.2: what else is a condition is the service's to judge", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET | If-Match: \"2\"", "412", "fwd=bypass"),
        ("GET | If-Unmodified-Since: {-60}", "412", "fwd=bypass"),
    ]),
    ("4.3.3: a full answer takes the place of the old one", Everybodys, &[
        ("GET", "200 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET", "200 | ETag: \"2\" | Cache-Control: max-age=60", "fwd=stale; fwd-status=200; stored | etag: \"2\""),
        ("GET", "", "hit | etag: \"2\""),
    ]),
    ("4.3.3: a failure does not", Everybodys, &[
        ("GET", "200 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET", "500", "502 fwd=stale; fwd-status=500"),
        ("GET", "304", "200 fwd=stale; fwd-status=304; stored"),
    ]),
    ("4.3.4: a 304 about another answer confirms nothing", Everybodys, &[
        ("GET", "200 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET", "304 | ETag: \"2\" || 200 | ETag: \"2\" | ?!if-none-match", "200 fwd=stale; fwd-status=200; stored | etag: \"2\""),
    ]),
    ("4.3.4: a client's own condition, when nothing is stored", Everybodys, &[
        ("GET | If-None-Match: \"1\"", "304 | Cache-Control: max-age=60 | ETag: \"1\" | ?if-none-match: \"1\"", "304 fwd=uri-miss"),
        ("GET", "200", "fwd=uri-miss"),
    ]),
    ("4: a HEAD is answered from a GET", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
        ("HEAD", "", "200 hit | content-length: 4"),
    ]),
    // 4.4: invalidation. What a change by another method than these does is tested beside the code.
    ("4.4: an unsafe method that succeeds", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
        ("PUT", "204", "-"),
        ("GET", "200 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
        ("DELETE", "303 | Location: /", "-"),
        ("GET", "200", "fwd=uri-miss"),
    ]),
    ("4.4: also one whose answer says that it failed: it may have been done", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
        ("PUT", "500", "502 -"),
        ("GET", "200", "fwd=uri-miss"),
    ]),
    ("4.4: not one that is refused", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
        ("PUT", "409", "-"),
        ("GET", "", "hit"),
    ]),
    ("4.4: what Location names", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
        ("POST ../other", "201 | Location: {path}", "-"),
        ("GET", "200", "fwd=uri-miss"),
    ]),
    ("4.4: what Content-Location names, also relatively", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
        ("POST ../other", "200 | Content-Location: ./{last}", "-"),
        ("GET", "200", "fwd=uri-miss"),
    ]),
    ("4.4: as clients call it", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
        ("POST ../other", "201 | Location: http://gateway.example{path}", "-"),
        ("GET", "200", "fwd=uri-miss"),
    ]),
    ("4.4: nothing of another origin", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
        ("POST ../other", "201 | Location: http://other.example{path}", "-"),
        ("GET", "", "hit"),
    ]),
    // 5.2.1: what requests say.
    ("5.2.1.1: max-age", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60 | Age: 20 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET | Cache-Control: max-age=30", "", "200 hit"),
        ("GET | Cache-Control: max-age=10", "304 | Cache-Control: max-age=60 | Age: 20", "200 fwd=request; fwd-status=304; stored"),
        ("GET | Cache-Control: max-age=x", "", "200 hit"),
    ]),
    ("5.2.1.2: max-stale without a value", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=10 | Age: 50 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET | Cache-Control: max-stale", "", "200 hit; ttl=-4"),
    ]),
    ("5.2.1.2: max-stale up to a value", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=10 | Age: 50 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET | Cache-Control: max-stale=60", "", "200 hit; ttl=-4 | age: 5"),
        ("GET | Cache-Control: max-stale=60, max-age=20", "304 | Cache-Control: max-age=10 | Age: 50", "200 fwd=stale; fwd-status=304"),
        ("GET | Cache-Control: max-stale=30", "304", "200 fwd=stale; fwd-status=304"),
    ]),
    ("5.2.1.2: not where the service forbids it", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=10, must-revalidate | Age: 50 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET | Cache-Control: max-stale", "304", "200 fwd=stale; fwd-status=304"),
    ]),
    ("5.2.1.3: min-fresh", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60 | Age: 20 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET | Cache-Control: min-fresh=30", "", "200 hit"),
        ("GET | Cache-Control: min-fresh=50", "304", "200 fwd=request; fwd-status=304"),
    ]),
    ("5.2.1.4: no-cache", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET | Cache-Control: no-cache", "304 | ?if-none-match: \"1\"", "200 fwd=request; fwd-status=304"),
    ]),
    ("5.2.1.5: no-store", Everybodys, &[
        ("GET | Cache-Control: no-store", "200 | Cache-Control: max-age=60", "fwd=uri-miss"),
        ("GET", "200 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
        ("GET | Cache-Control: no-store", "", "200 hit"),
    ]),
    ("5.2.1.7: only-if-cached", Everybodys, &[
        ("GET | Cache-Control: only-if-cached", "", "504 -"),
        ("GET", "200 | Cache-Control: max-age=60", "fwd=uri-miss; stored"),
        ("GET | Cache-Control: only-if-cached", "", "200 hit"),
    ]),
    ("5.4: Pragma, when there is no Cache-Control", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET | Pragma: no-cache", "304 | Cache-Control: max-age=60", "200 fwd=request; fwd-status=304"),
        ("GET | Pragma: no-cache | Cache-Control: max-age=60", "", "200 hit"),
    ]),
    // 5.2.2: what answers say.
    ("5.2.2.2: must-revalidate forbids nothing while it is fresh", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60, must-revalidate", "fwd=uri-miss; stored"),
        ("GET", "", "hit"),
    ]),
    ("5.2.2.3: must-understand goes before no-store", Everybodys, &[
        ("GET", "200 | Cache-Control: must-understand, no-store, max-age=60", "fwd=uri-miss; stored"),
        ("GET", "", "hit"),
    ]),
    ("5.2.2.3: for statuses that are understood", Everybodys, &[
        ("GET", "299 | Cache-Control: must-understand, max-age=60", "fwd=uri-miss"),
        ("GET", "200", "fwd=uri-miss"),
    ]),
    ("5.2.2.4: no-cache is stored and never used unasked", Everybodys, &[
        ("GET", "200 | Cache-Control: no-cache, max-age=60 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET | Cache-Control: max-stale", "304", "200 fwd=stale; fwd-status=304"),
    ]),
    ("5.2.2.4: no-cache for some fields", Everybodys, &[
        ("GET", "200 | Cache-Control: no-cache=\"X-A, x-b\", max-age=60 | X-A: 1 | X-B: 1 | X-C: 1", "fwd=uri-miss; stored | x-a: 1"),
        ("GET", "", "hit | !x-a | !x-b | x-c: 1"),
    ]),
    ("5.2.2.7: private", Everybodys, &[
        ("GET", "200 | Cache-Control: private, max-age=60", "fwd=uri-miss"),
        ("GET", "200", "fwd=uri-miss"),
    ]),
    ("5.2.2.7: private for some fields", Everybodys, &[
        ("GET", "200 | Cache-Control: private=\"x-a\", max-age=60 | X-A: 1 | X-C: 1", "fwd=uri-miss; stored | x-a: 1"),
        ("GET", "", "hit | !x-a | x-c: 1"),
    ]),
    ("5.2.2.7: private is about caches that are shared", Callers, &[
        ("GET | @key", "200 | Cache-Control: private, max-age=60 | X-A: 1", "fwd=uri-miss; stored"),
        ("GET | @key", "", "hit | x-a: 1"),
        ("GET", "200 | Cache-Control: private, max-age=60", "fwd=uri-miss"),
        ("GET", "200", "fwd=uri-miss"),
    ]),
    ("5.2.2.8: proxy-revalidate forbids nothing while it is fresh", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60, proxy-revalidate", "fwd=uri-miss; stored"),
        ("GET", "", "hit"),
    ]),
    ("5.2.2.8: proxy-revalidate, when it is stale", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=10, proxy-revalidate | Age: 20 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET | Cache-Control: max-stale", "304", "200 fwd=stale; fwd-status=304"),
    ]),
    ("5.2.2.8: is about caches that are shared", Callers, &[
        ("GET | @key", "200 | Cache-Control: max-age=10, proxy-revalidate, s-maxage=1 | Age: 20 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET | @key | Cache-Control: max-stale", "", "200 hit; ttl=-"),
    ]),
    ("5.2.2.9: public, where nothing else is said", Everybodys, &[
        ("GET", "302 | Cache-Control: public | ETag: \"1\" | Location: /a", "fwd=uri-miss; stored"),
        ("GET", "304", "302 fwd=stale; fwd-status=304"),
    ]),
    ("5.2.2.10: s-maxage is proxy-revalidate, too", Everybodys, &[
        ("GET", "200 | Cache-Control: s-maxage=10 | Age: 20 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET | Cache-Control: max-stale", "304", "200 fwd=stale; fwd-status=304"),
    ]),
    ("5.5: Warning is obsolete", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=10 | Age: 20 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET | Cache-Control: max-stale", "", "200 hit; ttl=-1 | !warning"),
    ]),
    ("RFC 9211, 2: caches nearer to the service stand before", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=60 | Cache-Status: origin; hit", "fwd=uri-miss; stored | cache-status: origin; hit"),
    ]),
    // RFC 5861.
    ("RFC 5861, 3: while it is made sure of", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=10, stale-while-revalidate=60 | Age: 30 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET", "304 | Cache-Control: max-age=60 | ?if-none-match: \"1\"", "200 hit; ttl=-2 | age: 3 | !warning"),
        ("GET", "", "200 hit; ttl=5"),
    ]),
    ("RFC 5861, 3: not for longer than it says", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=10, stale-while-revalidate=10 | Age: 30 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET", "304", "200 fwd=stale; fwd-status=304"),
    ]),
    ("RFC 5861, 3: not where stale answers are forbidden", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=10, stale-while-revalidate=60, must-revalidate | Age: 30 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET", "304", "200 fwd=stale; fwd-status=304"),
    ]),
    ("RFC 5861, 3: nor with no-cache", Everybodys, &[
        ("GET", "200 | Cache-Control: no-cache, stale-while-revalidate=60 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET", "304", "200 fwd=stale; fwd-status=304"),
    ]),
    ("RFC 5861, 3: nor for who wants it younger", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=10, stale-while-revalidate=60 | Age: 30 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET | Cache-Control: max-age=5", "304 | Cache-Control: max-age=10, stale-while-revalidate=60 | Age: 30", "200 fwd=stale; fwd-status=304"),
        ("GET | Cache-Control: no-cache", "304", "200 fwd=stale; fwd-status=304"),
    ]),
    ("RFC 5861, 4: when the service fails", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=10, stale-if-error=60 | Age: 30 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET", "503", "200 fwd=stale; fwd-status=503; ttl=-2 | age: 3 | etag: \"1\" | !warning"),
        ("GET", "500", "200 fwd=stale; fwd-status=500; ttl=-2"),
        ("HEAD", "503", "200 fwd=stale; fwd-status=503; ttl=-2"),
        ("GET | If-None-Match: \"1\"", "503", "304 fwd=stale; fwd-status=503"),
        ("GET", "!gone", "200 fwd=stale; ttl=-2"),
    ]),
    ("RFC 5861, 4: not when it refuses", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=10, stale-if-error=60 | Age: 30 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET", "404", "fwd=stale; fwd-status=404"),
        ("GET", "503", "502 fwd=uri-miss; fwd-status=503"),
    ]),
    ("RFC 5861, 4: not for longer than it says", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=10, stale-if-error=10 | Age: 30 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET", "503", "502 fwd=stale; fwd-status=503"),
    ]),
    ("RFC 5861, 4: for as long as the client says, when that is more", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=10 | Age: 30 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET | Cache-Control: stale-if-error=60", "503", "200 fwd=stale; fwd-status=503; ttl=-2"),
        ("GET", "503", "502 fwd=stale; fwd-status=503"),
    ]),
    ("RFC 5861, 4: not where stale answers are forbidden", Everybodys, &[
        ("GET", "200 | Cache-Control: max-age=10, stale-if-error=60, must-revalidate | Age: 30 | ETag: \"1\"", "fwd=uri-miss; stored"),
        ("GET | Cache-Control: stale-if-error=60", "503", "502 fwd=stale; fwd-status=503"),
    ]),
];
