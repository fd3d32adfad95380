//! The failure matrix: every part of every screen, through every fault. What has to hold in a cell is `check.rs`.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use http::Method;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::check::{self, Answered};
use super::fault::Fault;
use super::gateway::{Setup, TestGateway};
use super::service::FaultAt;
use crate::{Gateway, config};

/// What a request may take whose service never answers.
const DEADLINE: Duration = Duration::from_millis(1_000);
/// What a gateway may be late, on a machine that is in time itself.
const LATE: Duration = Duration::from_millis(50);
/// A machine that is later than this may make a gateway miss its own deadline: that is 20 ms after the request's.
const DISTURBED: Duration = Duration::from_millis(10);
/// Between two looks at how late the machine is.
const LOOK: Duration = Duration::from_millis(5);
/// A machine that is busy with other things gets more tries at a cell that is about time.
const TRIES: usize = 10;
/// Cells that are tried at the same time.
const AT_ONCE: usize = 6;

/// All screens of a BFF.
pub struct Matrix {
    pub setup: Setup,
    pub screens: Vec<Screen>,
    /// Composed routes that call no service, by name.
    pub without_upstreams: &'static [&'static str],
}

/// A request, and the parts that its answer is made of.
#[derive(Clone, Debug)]
pub struct Screen {
    pub(super) route: &'static str,
    method: Method,
    path: &'static str,
    /// The one section that is asked for, when it is not all of them.
    only: Option<&'static str>,
    body: Option<Value>,
    headers: Vec<(&'static str, &'static str)>,
    pub(super) parts: Vec<Part>,
    pub(super) shape: Shape,
    /// By its place in [`Setup::keys`].
    caller: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The sections that it feeds, or the paths of fields in a GraphQL answer.
    pub(super) feeds: Vec<&'static str>,
    pub(super) service: &'static str,
    pub(super) call: &'static str,
    pub(super) required: bool,
    /// What it means that the service does not know the thing.
    pub(super) not_found: NotFound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotFound {
    Failure,
    /// The client's own 404.
    Passed,
    /// An answer like others: nothing.
    Nothing,
}

/// What failures look like in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Members are sections, or there are only required parts.
    Sections,
    /// The first event of this name in a stream that goes on; if it has sections, they are its members.
    Stream(&'static str),
    GraphQl,
}

impl Screen {
    #[must_use]
    pub fn get(route: &'static str, path: &'static str) -> Self {
        Self::new(route, Method::GET, path, None)
    }

    #[must_use]
    pub fn post(route: &'static str, path: &'static str, body: Value) -> Self {
        Self::new(route, Method::POST, path, Some(body))
    }

    #[must_use]
    pub fn put(route: &'static str, path: &'static str, body: Value) -> Self {
        Self::new(route, Method::PUT, path, Some(body))
    }

    /// A GraphQL document; its parts feed the fields with these paths (`widget.maker`, `widgets.nodes.0.stock`).
    #[must_use]
    pub fn graphql(route: &'static str, path: &'static str, query: &str) -> Self {
        let mut screen = Self::new(route, Method::POST, path, Some(json!({"query": query})));
        screen.shape = Shape::GraphQl;
        screen
    }

    fn new(route: &'static str, method: Method, path: &'static str, body: Option<Value>) -> Self {
        Self {
            route,
            method,
            path,
            only: None,
            body,
            headers: Vec::new(),
            parts: Vec::new(),
            shape: Shape::Sections,
            caller: 0,
        }
    }

    /// Another caller than the first, by its place in [`Setup::keys`].
    #[must_use]
    pub fn as_caller(mut self, caller: usize) -> Self {
        self.caller = caller;
        self
    }

    /// Asked for as a stream of events; it is judged by the first one that is called `event`.
    #[must_use]
    pub fn as_stream_of(mut self, event: &'static str) -> Self {
        self.shape = Shape::Stream(event);
        self.header("accept", "text/event-stream")
    }

    /// With a header of its own.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// A part that decides the status, and its section (`""` when the answer has none); `call` is method and path.
    #[must_use]
    pub fn required(
        self,
        section: &'static str,
        service: &'static str,
        call: &'static str,
    ) -> Self {
        self.part(&[section], service, call, true)
    }

    #[must_use]
    pub fn optional(
        self,
        section: &'static str,
        service: &'static str,
        call: &'static str,
    ) -> Self {
        self.part(&[section], service, call, false)
    }

    /// An optional part that feeds several sections.
    #[must_use]
    pub fn optional_for(
        self,
        sections: &[&'static str],
        service: &'static str,
        call: &'static str,
    ) -> Self {
        self.part(sections, service, call, false)
    }

    /// When the service of the part before does not know the thing, the client gets 404.
    #[must_use]
    pub fn or_not_found(self) -> Self {
        self.not_found(NotFound::Passed)
    }

    /// When the service of the part before does not know the thing, there is none, and that is no failure.
    #[must_use]
    pub fn or_nothing(self) -> Self {
        self.not_found(NotFound::Nothing)
    }

    fn not_found(mut self, not_found: NotFound) -> Self {
        let part = self.parts.last_mut();
        part.expect("what comes before is a part").not_found = not_found;
        self
    }

    fn part(
        mut self,
        feeds: &[&'static str],
        service: &'static str,
        call: &'static str,
        required: bool,
    ) -> Self {
        let feeds = feeds.iter().copied().filter(|name| !name.is_empty());
        self.parts.push(Part {
            feeds: feeds.collect(),
            service,
            call,
            required,
            not_found: NotFound::Failure,
        });
        self
    }

    /// The same request for each of its sections alone (`?fields=`).
    fn alone(&self) -> Vec<Self> {
        if self.shape == Shape::GraphQl {
            return Vec::new();
        }
        let sections: BTreeSet<_> = self.parts.iter().flat_map(|part| &part.feeds).collect();
        let alone = |section: &&'static str| Self {
            only: Some(section),
            ..self.clone()
        };
        sections.into_iter().map(alone).collect()
    }

    /// Sends the request to a world in which `fault` is wrong.
    async fn send(&self, setup: &Setup, fault: Option<FaultAt>) -> Answered {
        let world = TestGateway::with_fault(setup, fault).await;
        let request_id = uuid::Uuid::now_v7().to_string();
        let path = match self.only {
            None => self.path.to_owned(),
            Some(section) if self.path.contains('?') => format!("{}&fields={section}", self.path),
            Some(section) => format!("{}?fields={section}", self.path),
        };
        let mut request = world
            .request(self.method.clone(), &path, self.caller)
            .header("x-request-id", &request_id);
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = &self.body {
            request = request.json(body);
        }
        if fault.is_some_and(|at| at.fault.takes_all_time()) {
            request = request.header("request-timeout", DEADLINE.as_millis().to_string());
        }
        let began = Instant::now();
        let exchange = async {
            let response = request.send().await.unwrap();
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let is_stream = headers
                .get(CONTENT_TYPE)
                .is_some_and(|is| is == "text/event-stream");
            let text = match self.shape {
                Shape::Stream(event) if is_stream => first_event(event, response).await,
                _ => response.text().await.unwrap(),
            };
            (status, headers, text, began.elapsed())
        };
        let mut machine_late = Duration::ZERO;
        let (status, headers, text, took) = tokio::select! {
            exchanged = exchange => exchanged,
            never = watch_the_machine(&mut machine_late) => match never {},
        };
        let seen = world.seen();
        check::is_logged_once(&request_id, status).await;
        Answered {
            status,
            headers,
            body: serde_json::from_str(&text).unwrap_or_default(),
            text,
            late: took.saturating_sub(DEADLINE + LATE + 2 * machine_late),
            machine_late,
            request_id,
            seen,
        }
    }
}

/// The data of a stream's first event of a name; with that it is left.
async fn first_event(name: &str, mut stream: reqwest::Response) -> String {
    let line = format!("event: {name}\n");
    let mut text = String::new();
    loop {
        let begun = text.split_once(&line);
        if let Some((block, _)) = begun.and_then(|(_, rest)| rest.split_once("\n\n")) {
            let data = block.lines().find_map(|line| line.strip_prefix("data: "));
            return data.unwrap_or_default().to_owned();
        }
        let Some(chunk) = stream.chunk().await.unwrap() else {
            return text;
        };
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
}

/// How late timers of this process come: what the machine is busy with, no gateway can do anything about.
async fn watch_the_machine(worst: &mut Duration) -> std::convert::Infallible {
    loop {
        let began = Instant::now();
        sleep(LOOK).await;
        *worst = began.elapsed().saturating_sub(LOOK).max(*worst);
    }
}

impl Matrix {
    /// Runs all cells.
    ///
    /// # Panics
    /// With everything that does not hold, cell by cell.
    pub async fn run(&self) {
        super::log::listen();
        let mut failures = self.uncovered();
        let healthy = stream::iter(&self.screens).map(|screen| async move {
            let answered = screen.send(&self.setup, None).await;
            let fault = check::healthy(screen, &answered).err();
            fault.map(|fault| format!("{} without a fault: {fault}", screen.route))
        });
        let sections = self.screens.iter().flat_map(Screen::alone);
        let alone = stream::iter(sections).map(|screen| async move {
            let section = screen.only.unwrap_or_default();
            let answered = screen.send(&self.setup, None).await;
            let fault = check::alone(section, &screen, &answered).err();
            fault.map(|fault| format!("{}?fields={section} without a fault: {fault}", screen.route))
        });
        let cells = self.screens.iter().flat_map(|screen| {
            let parts = screen.parts.iter();
            parts.flat_map(move |part| Fault::ALL.map(|fault| (screen, part, fault)))
        });
        let cells = stream::iter(cells).map(|(screen, part, fault)| async move {
            let result = self.cell(screen, part, fault).await;
            result
                .err()
                .map(|why| format!("{}: {} × {fault:?}: {why}", screen.route, part.call))
        });
        let healthy: Vec<_> = healthy.buffer_unordered(AT_ONCE).collect().await;
        failures.extend(healthy.into_iter().flatten());
        if failures.is_empty() {
            let alone: Vec<_> = alone.buffer_unordered(AT_ONCE).collect().await;
            failures.extend(alone.into_iter().flatten());
        }
        if failures.is_empty() {
            let cells: Vec<_> = cells.buffer_unordered(AT_ONCE).collect().await;
            failures.extend(cells.into_iter().flatten());
        }
        assert!(
            failures.is_empty(),
            "{} of the matrix:\n{}",
            failures.len(),
            failures.join("\n")
        );
    }

    async fn cell(&self, screen: &Screen, part: &Part, fault: Fault) -> Result<(), String> {
        let at = FaultAt {
            service: part.service,
            call: part.call,
            fault,
        };
        let mut result = Ok(());
        for _ in 0..TRIES {
            let answered = screen.send(&self.setup, Some(at)).await;
            result = check::cell(screen, part, fault, &answered);
            if !fault.takes_all_time() {
                break;
            }
            let is_late = !answered.late.is_zero();
            if result.is_ok() && is_late {
                result = Err(format!("it was late by {:?} more", answered.late));
            }
            // What is wrong is wrong, unless the machine may have made it so.
            if result.is_ok() || !is_late && answered.machine_late < DISTURBED {
                break;
            }
        }
        result
    }

    /// Composed routes that no screen is for.
    #[must_use]
    pub fn uncovered(&self) -> Vec<String> {
        crate::install_crypto();
        let config = config::from_text(self.setup.config).unwrap();
        let gateway = Gateway::new(self.setup.app, config).unwrap();
        let composed = gateway.routes().into_iter();
        composed
            .filter(|route| route.action == "composed")
            .filter(|route| !self.without_upstreams.contains(&route.name))
            .filter(|route| !self.screens.iter().any(|screen| screen.route == route.name))
            .map(|route| format!("the composed route {} is not in the matrix", route.name))
            .collect()
    }

    /// The paths of all GraphQL fields that are fed by a part, without the places in lists.
    #[must_use]
    pub fn fields(&self) -> Vec<Vec<&'static str>> {
        let graphql = self.screens.iter().filter(|s| s.shape == Shape::GraphQl);
        let feeds = graphql.flat_map(|screen| screen.parts.iter().flat_map(|part| &part.feeds));
        feeds
            .map(|path| {
                let names = path
                    .split('.')
                    .filter(|name| name.parse::<usize>().is_err());
                names.collect()
            })
            .collect()
    }
}
