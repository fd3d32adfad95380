//! What Redis keeps: an answer with its name, the generations it hangs on and its times by Redis' clock, as bytes. Whether it
//! counts is decided in `cache/second.rs`; what is stored in the process is `cache/stored.rs`.

use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use sha2::{Digest, Sha256};

use super::super::freshness::Terms;
use super::super::stored::{Key, Stored};
use super::Ticket;
use crate::encode::hex;

/// How the text of an entry begins. Another form gets another one: replicas of several releases work beside one another.
const ANSWER: &[u8] = b"r1A";
/// The same of the fields that entries of a name differ by.
const DIFFER: &[u8] = b"r1V";
/// Of a time in the text, for `write.lua` to compare.
const DIGITS: usize = 16;

/// The value of a generation.
pub(super) type Mark = [u8; 16];

/// Everything that tells one answer for everybody from another. Who asks is not in it: nobody is named to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Name(Vec<u8>);

impl Name {
    /// Of what `key` stands for at the service that `uri` names.
    pub(in super::super) fn new(uri: &Uri, key: &Key) -> Self {
        let mut name = Vec::with_capacity(128);
        put(&mut name, uri.scheme_str().unwrap_or_default().as_bytes());
        let service = uri.authority().map_or("", |authority| authority.as_str());
        put(&mut name, service.as_bytes());
        key.each_part(|part| put(&mut name, part));
        Self(name)
    }

    /// Of the answer to requests with the same of these fields.
    pub(super) fn variant(&self, fields: &[HeaderName], headers: &HeaderMap) -> Self {
        let fields = fields.iter().map(|name| (name, headers.get_all(name)));
        self.with(fields.map(|(name, values)| (name, values.into_iter().collect())))
    }

    pub(super) fn variant_of(&self, stored: &Stored) -> Self {
        let fields = stored.selected_by().iter();
        self.with(fields.map(|(name, values)| (name, values.iter().collect())))
    }

    fn with<'a>(
        &self,
        fields: impl Iterator<Item = (&'a HeaderName, Vec<&'a HeaderValue>)>,
    ) -> Self {
        let mut name = self.0.clone();
        for (field, values) in fields {
            put(&mut name, field.as_str().as_bytes());
            put_number(&mut name, values.len());
            for value in values {
                put(&mut name, value.as_bytes());
            }
        }
        Self(name)
    }

    pub(super) fn digest(&self) -> String {
        hex(&Sha256::digest(&self.0))
    }
}

/// What may be under a name.
pub(super) enum Record {
    Answer(Box<Entry>),
    /// Answers of this name differ by these request fields.
    Differ(Vec<HeaderName>),
}

/// An answer that other replicas may use.
pub(in super::super) struct Entry {
    name: Vec<u8>,
    /// When it was asked for, and when it would have been made had its age only passed here; in microseconds by
    /// Redis' clock.
    pub(super) asked: u64,
    pub(super) born: u64,
    pub(in super::super) terms: Terms,
    pub(in super::super) status: StatusCode,
    pub(in super::super) headers: HeaderMap,
    pub(in super::super) selecting: Vec<(HeaderName, Vec<HeaderValue>)>,
    pub(in super::super) body: Bytes,
}

impl Record {
    /// What was kept, unless it hangs on something that has changed; `None` for anything that is none of ours, too.
    pub(super) fn parse(mut kept: Bytes, marks: &[Mark]) -> Option<Self> {
        let form = take(&mut kept, ANSWER.len())?;
        if form == DIFFER {
            return Some(Self::Differ(names(&mut kept)?));
        }
        if form != ANSWER {
            return None;
        }
        let asked = std::str::from_utf8(&take(&mut kept, DIGITS)?)
            .ok()?
            .parse()
            .ok()?;
        // One that hangs on something else was stored by a route with other tags.
        if number(&mut kept)? != marks.len() {
            return None;
        }
        for mark in marks {
            if take(&mut kept, mark.len())? != mark.as_slice() {
                return None;
            }
        }
        let entry = Entry {
            asked,
            name: text(&mut kept)?.to_vec(),
            born: kept.try_get_u64_le().ok()?,
            terms: Terms {
                lifetime: time(&mut kept)?,
                while_revalidate: time(&mut kept)?,
                if_error: time(&mut kept)?,
                stale_is_forbidden: kept.try_get_u8().ok()? != 0,
            },
            status: StatusCode::from_u16(kept.try_get_u16_le().ok()?).ok()?,
            headers: headers(&mut kept)?,
            selecting: selecting(&mut kept)?,
            body: kept,
        };
        Some(Self::Answer(Box::new(entry)))
    }

    pub(super) fn answer(self) -> Option<Box<Entry>> {
        match self {
            Self::Answer(entry) => Some(entry),
            Self::Differ(_) => None,
        }
    }
}

impl Entry {
    /// Whether it was kept under this name, and not only under one with the same digest.
    pub(super) fn is_named(&self, name: &Name) -> bool {
        self.name == name.0
    }
}

/// An answer as it is kept.
pub(super) fn entry_text(ticket: &Ticket, born: u64, stored: &Stored) -> Vec<u8> {
    let mut out = Vec::with_capacity(stored.body().len() + 1024);
    out.extend_from_slice(ANSWER);
    out.extend_from_slice(digits(ticket.asked).as_bytes());
    put_number(&mut out, ticket.marks.len());
    for mark in &ticket.marks {
        out.extend_from_slice(mark);
    }
    put(&mut out, &ticket.name.0);
    out.extend_from_slice(&born.to_le_bytes());
    let Terms {
        lifetime,
        while_revalidate,
        if_error,
        stale_is_forbidden,
    } = stored.freshness().terms();
    for time in [lifetime, while_revalidate, if_error] {
        put_time(&mut out, time);
    }
    out.push(u8::from(stale_is_forbidden));
    out.extend_from_slice(&stored.status().as_u16().to_le_bytes());
    put_number(&mut out, stored.headers().len());
    for (name, value) in stored.headers() {
        put(&mut out, name.as_str().as_bytes());
        put(&mut out, value.as_bytes());
    }
    put_number(&mut out, stored.selected_by().len());
    for (name, values) in stored.selected_by() {
        put(&mut out, name.as_str().as_bytes());
        put_number(&mut out, values.len());
        for value in values {
            put(&mut out, value.as_bytes());
        }
    }
    out.extend_from_slice(stored.body());
    out
}

/// The fields that answers of a name differ by, as they are kept; and when the answer that says so was asked for, for
/// `write.lua`. Who reads the fields stops before that.
pub(super) fn fields_text(fields: &[HeaderName], asked: u64) -> Vec<u8> {
    let mut out = DIFFER.to_vec();
    put_number(&mut out, fields.len());
    for name in fields {
        put(&mut out, name.as_str().as_bytes());
    }
    out.extend_from_slice(digits(asked).as_bytes());
    out
}

/// A time in an order that texts have, too.
pub(super) fn digits(micros: u64) -> String {
    format!("{micros:0DIGITS$}")
}

fn put(out: &mut Vec<u8>, text: &[u8]) {
    put_number(out, text.len());
    out.extend_from_slice(text);
}

fn put_number(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(&(number as u64).to_le_bytes());
}

fn put_time(out: &mut Vec<u8>, time: Duration) {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    out.extend_from_slice(&millis.to_le_bytes());
}

fn take(from: &mut Bytes, count: usize) -> Option<Bytes> {
    (count <= from.len()).then(|| from.split_to(count))
}

fn number(from: &mut Bytes) -> Option<usize> {
    usize::try_from(from.try_get_u64_le().ok()?).ok()
}

fn text(from: &mut Bytes) -> Option<Bytes> {
    let length = number(from)?;
    take(from, length)
}

fn time(from: &mut Bytes) -> Option<Duration> {
    from.try_get_u64_le().ok().map(Duration::from_millis)
}

fn name(from: &mut Bytes) -> Option<HeaderName> {
    HeaderName::from_bytes(&text(from)?).ok()
}

fn value(from: &mut Bytes) -> Option<HeaderValue> {
    // A copy: what is read here is one buffer with the body.
    HeaderValue::from_bytes(&text(from)?).ok()
}

fn names(from: &mut Bytes) -> Option<Vec<HeaderName>> {
    (0..number(from)?).map(|_| name(from)).collect()
}

fn headers(from: &mut Bytes) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for _ in 0..number(from)? {
        let name = name(from)?;
        headers.try_append(name, value(from)?).ok()?;
    }
    Some(headers)
}

fn selecting(from: &mut Bytes) -> Option<Vec<(HeaderName, Vec<HeaderValue>)>> {
    (0..number(from)?)
        .map(|_| {
            let name = name(from)?;
            let values = (0..number(from)?)
                .map(|_| value(from))
                .collect::<Option<_>>()?;
            Some((name, values))
        })
        .collect()
}
