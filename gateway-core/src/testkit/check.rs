//! What has to hold for an answer while something behind it fails. Which things fail is `matrix.rs`.

use std::time::Duration;

use http::HeaderMap;
use serde_json::Value;

use super::fault::{Fault, INTERNAL_WORD};
use super::gateway::eventually;
use super::log;
use super::matrix::{NotFound, Part, Screen, Shape};
use super::service::Seen;

/// An answer, and what services were asked for it.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
    pub(super) body: Value,
    /// By how much more than a gateway may be late.
    pub(super) late: Duration,
    /// How late the machine's own timers were meanwhile.
    pub(super) machine_late: Duration,
    pub(super) request_id: String,
    pub(super) seen: Vec<Seen>,
}

/// Waits for the request's line, which is written when its last byte has been sent.
pub(super) async fn is_logged_once(request_id: &str, status: u16) {
    eventually("the request was logged", || {
        !log::access_lines(request_id).is_empty()
    })
    .await;
    let statuses: Vec<_> = log::access_lines(request_id)
        .iter()
        .map(|line| line["status"].as_u64())
        .collect();
    assert_eq!(statuses, [Some(u64::from(status))]);
}

/// Without a fault everything is there, and exactly the parts that are declared are asked for.
pub(super) fn healthy(screen: &Screen, answered: &Answered) -> Result<(), String> {
    if !(200..300).contains(&answered.status) {
        return Err(format!("status {}: {}", answered.status, answered.text));
    }
    for part in &screen.parts {
        if calls_of(part, answered) == 0 {
            return Err(format!("{} of {} was not asked", part.call, part.service));
        }
    }
    let undeclared = answered.seen.iter().find(|seen| {
        let declared = |part: &Part| part.service == seen.service && part.call == seen.call;
        !screen.parts.iter().any(declared)
    });
    if let Some(seen) = undeclared {
        return Err(format!("no part is declared for {}", seen.call));
    }
    calls_are_sane(screen, answered)?;
    failures_are(screen, answered, |_| None)
}

/// Without a fault a section that is asked for alone is there, with all that it needs, and no other one.
pub(super) fn alone(section: &str, screen: &Screen, answered: &Answered) -> Result<(), String> {
    if !(200..300).contains(&answered.status) {
        return Err(format!("status {}: {}", answered.status, answered.text));
    }
    let mut others = screen.parts.iter().flat_map(|part| &part.feeds);
    let other = others.find(|other| **other != section && answered.body.get(other).is_some());
    if let Some(other) = other {
        return Err(format!("{other} is there, too: {}", answered.text));
    }
    let found = &answered.body[section];
    if found["status"] != "ok" || found.get("data").is_none() {
        return Err(format!("it is {found}"));
    }
    Ok(())
}

/// One cell: `part` has failed with `fault`.
pub(super) fn cell(
    screen: &Screen,
    part: &Part,
    fault: Fault,
    answered: &Answered,
) -> Result<(), String> {
    let asked = calls_of(part, answered);
    match (fault, asked) {
        (Fault::Refused, 0) => {}
        (Fault::Refused, _) | (_, 0) => return Err(format!("it was asked {asked} times")),
        _ => {}
    }
    calls_are_sane(screen, answered)?;
    // Who does not listen fails all of its parts.
    let failed = |other: &Part| {
        let same = other.call == part.call || fault == Fault::Refused;
        other.service == part.service && same
    };
    let decisive = screen
        .parts
        .iter()
        .find(|part| part.required && failed(part));
    if let Some(part) = decisive {
        nothing_was_done_after(part, screen, answered)?;
        return is_problem(part, fault, answered);
    }
    if !(200..300).contains(&answered.status) {
        return Err(format!("status {}: {}", answered.status, answered.text));
    }
    if fault == Fault::NotFound && part.not_found == NotFound::Nothing {
        return failures_are(screen, answered, |_| None);
    }
    nothing_is_stored(answered)?;
    stays_inside(answered)?;
    failures_are(screen, answered, |name| {
        let fed = |part: &Part| failed(part) && part.feeds.contains(&name);
        screen.parts.iter().any(fed).then(|| fault.reason())
    })
}

fn calls_of(part: &Part, answered: &Answered) -> usize {
    let same = |seen: &&Seen| seen.service == part.service && seen.call == part.call;
    answered.seen.iter().filter(same).count()
}

/// A command is sent once, and services are told how long they have.
fn calls_are_sane(screen: &Screen, answered: &Answered) -> Result<(), String> {
    for part in &screen.parts {
        let asked = calls_of(part, answered);
        if asked > 1 && is_command(part, answered) {
            return Err(format!("{} was sent {asked} times", part.call));
        }
    }
    let told = |seen: &&Seen| {
        ["request-timeout", "grpc-timeout"]
            .iter()
            .any(|name| seen.headers.contains_key(*name))
    };
    match answered.seen.iter().find(|seen| !told(seen)) {
        Some(seen) => Err(format!("{} was not told its time", seen.call)),
        None => Ok(()),
    }
}

/// What a failed part was asked for is not done all the same: commands that are declared behind it are not sent.
fn nothing_was_done_after(
    failed: &Part,
    screen: &Screen,
    answered: &Answered,
) -> Result<(), String> {
    let behind = screen
        .parts
        .iter()
        .skip_while(|part| !std::ptr::eq(*part, failed));
    let done = behind
        .skip(1)
        .find(|part| is_command(part, answered) && calls_of(part, answered) > 0);
    match done {
        Some(part) => Err(format!(
            "{} was sent after {} had failed",
            part.call, failed.call
        )),
        None => Ok(()),
    }
}

/// gRPC's methods do not say whether they are commands; what is asked of gRPC services here is read.
fn is_command(part: &Part, answered: &Answered) -> bool {
    !part.call.starts_with("GET ") && !is_grpc(part, answered)
}

fn is_grpc(part: &Part, answered: &Answered) -> bool {
    let mut calls = answered.seen.iter().filter(|seen| seen.call == part.call);
    calls.any(|seen| seen.headers.contains_key("grpc-timeout"))
}

/// Checks that exactly those sections or fields have failed for which `reason` has one.
fn failures_are(
    screen: &Screen,
    answered: &Answered,
    reason: impl Fn(&str) -> Option<&'static str>,
) -> Result<(), String> {
    match screen.shape {
        Shape::Sections | Shape::Stream(_) => sections_are(screen, answered, reason),
        Shape::GraphQl => fields_are(screen, answered, reason),
    }
}

fn sections_are(
    screen: &Screen,
    answered: &Answered,
    reason: impl Fn(&str) -> Option<&'static str>,
) -> Result<(), String> {
    let feeds = screen.parts.iter().flat_map(|part| &part.feeds);
    let sections: Vec<&str> = feeds.copied().collect();
    if sections.is_empty() {
        return Ok(());
    }
    let members = answered.body.as_object().ok_or("it is not an object")?;
    for (name, section) in members {
        if !sections.contains(&name.as_str()) {
            // Other members than sections are what the required parts say.
            if section.get("status").is_none() {
                continue;
            }
            return Err(format!("no part is declared for the section {name}"));
        }
        let expected = match reason(name) {
            Some(reason) => {
                *section == serde_json::json!({"status": "unavailable", "reason": reason})
            }
            None => section["status"] == "ok" && section.get("data").is_some(),
        };
        if !expected {
            return Err(format!("section {name} is {section}"));
        }
    }
    match sections.iter().find(|name| !members.contains_key(**name)) {
        Some(missing) => Err(format!("section {missing} is missing")),
        None => Ok(()),
    }
}

fn fields_are(
    screen: &Screen,
    answered: &Answered,
    reason: impl Fn(&str) -> Option<&'static str>,
) -> Result<(), String> {
    let errors = answered.body["errors"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let path_of = |error: &Value| -> String {
        let steps = error["path"].as_array().map_or(&[][..], Vec::as_slice);
        let words = steps.iter().map(|step| match step {
            Value::String(name) => name.clone(),
            other => other.to_string(),
        });
        words.collect::<Vec<_>>().join(".")
    };
    for error in errors {
        let path = path_of(error);
        let given = match error["extensions"]["code"].as_str() {
            Some("NOT_FOUND") => Some("not_found"),
            _ => error["extensions"]["reason"].as_str(),
        };
        if given.is_none() || reason(&path) != given {
            return Err(format!("an unexpected error: {error}"));
        }
        if error["extensions"]["requestId"] != answered.request_id.as_str() {
            return Err(format!("an error without the request's id: {error}"));
        }
    }
    for field in screen.parts.iter().flat_map(|part| &part.feeds) {
        let pointer = format!("/data/{}", field.replace('.', "/"));
        let value = answered.body.pointer(&pointer);
        let failed = errors.iter().any(|error| path_of(error) == *field);
        // With what holds it there is no field that could fail.
        let of_failed = |error: &Value| field.starts_with(&format!("{}.", path_of(error)));
        if errors.iter().any(of_failed) {
            continue;
        }
        match reason(field) {
            Some(_) if !failed => return Err(format!("{field} has no error: {}", answered.text)),
            Some(_) if value.is_some_and(|value| !value.is_null()) => {
                return Err(format!("{field} failed and has a value"));
            }
            // What nothing was wrong with is there: a service that is well has an answer for every part.
            None if value.is_none_or(Value::is_null) => {
                return Err(format!("{field} is not there: {}", answered.text));
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_problem(part: &Part, fault: Fault, answered: &Answered) -> Result<(), String> {
    let (status, name) = match (fault, part.not_found) {
        (Fault::NotFound, NotFound::Passed) => (404, "not-found"),
        _ => fault.problem(),
    };
    let body = &answered.body;
    let media_type = answered.headers.get("content-type");
    let kind = body["type"].as_str().unwrap_or_default();
    let sane = answered.status == status
        && media_type.is_some_and(|value| value == "application/problem+json")
        && kind.ends_with(&format!("/{name}"))
        && body["status"] == status
        && body["title"]
            .as_str()
            .is_some_and(|title| !title.is_empty())
        && body["instance"]
            .as_str()
            .is_some_and(|path| path.starts_with('/'))
        && body["requestId"] == answered.request_id.as_str();
    if !sane {
        return Err(format!(
            "instead of {status} {name} with {media_type:?}: {} {}",
            answered.status, answered.text
        ));
    }
    nothing_is_stored(answered)?;
    stays_inside(answered)
}

/// Neither by the client nor by anything between.
fn nothing_is_stored(answered: &Answered) -> Result<(), String> {
    let rule = answered.headers.get("cache-control");
    let no_store = rule
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("no-store"));
    if !no_store || answered.headers.contains_key("etag") {
        return Err(format!("it may be stored: {:?}", answered.headers));
    }
    Ok(())
}

fn stays_inside(answered: &Answered) -> Result<(), String> {
    for word in [INTERNAL_WORD, "127.0.0.1", "hyper", "tonic", "os error"] {
        if answered.text.contains(word) {
            return Err(format!("{word:?} left the gateway: {}", answered.text));
        }
    }
    Ok(())
}
