//! The response cache on the wire, rule by rule: what a service says, what clients ask, and what becomes of it. Services are
//! bytes here. Time does not pass: an answer that has to be old comes with an `Age`.

mod rules;

use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::world::{Reply, World};
use rules::{RULES, Step, Whose};

/// What the service is to answer, and what it has been asked.
#[derive(Default)]
struct Script {
    answers: Vec<String>,
    asked: Vec<String>,
}

/// A gateway with two cached routes before a service that answers as the script says.
struct Stage {
    world: World,
    script: Arc<Mutex<Script>>,
    /// A permit for each answer that waits for one (`!wait`).
    go: Arc<Semaphore>,
}

impl Stage {
    /// `more` is for its routes, `tables` for all else.
    async fn new(more: &str, tables: &str) -> Self {
        let script = Arc::<Mutex<Script>>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let go = Arc::new(Semaphore::new(0));
        let (play, wait) = (Arc::clone(&script), Arc::clone(&go));
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(socket, Arc::clone(&play), Arc::clone(&wait)));
            }
        });
        let mut text = format!(
            r#"
            [upstreams.parts]
            address = "http://{address}"
            [upstreams.parts.retry]
            retries = 0
            [upstreams.parts.breaker]
            min_calls = 1000000
            "#
        );
        for (name, share) in [("everybody", "shared"), ("caller", "private")] {
            write!(
                text,
                r#"
                [[routes]]
                name = "{name}"
                path = "/{name}/{{id}}"
                methods = ["GET", "POST", "PUT", "DELETE"]
                upstream = "parts"
                access = "public"
                cache = "{share}"
                {more}
                "#
            )
            .unwrap();
        }
        text.push_str(tables);
        Self {
            world: World::with(&text).await,
            script,
            go,
        }
    }

    async fn send(&self, method: &str, path: &str, fields: &[&str]) -> Reply {
        let mut lines = vec!["Content-Length: 0"];
        lines.extend(fields.iter().filter(|field| **field != "@key"));
        let request = self.world.head(&format!("{method} {path}"), &lines);
        if fields.contains(&"@key") {
            return self.world.raw(&request).await;
        }
        let mut anonymous = String::new();
        for line in request.split_inclusive("\r\n") {
            if !line.starts_with("X-API-Key") {
                anonymous.push_str(line);
            }
        }
        self.world.raw(&anonymous).await
    }
}

/// Answers one request with the next answer, or again with the last one.
async fn answer(mut socket: TcpStream, script: Arc<Mutex<Script>>, go: Arc<Semaphore>) {
    let mut head = Vec::new();
    while memchr::memmem::find(&head, b"\r\n\r\n").is_none() {
        if socket.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let head = String::from_utf8(head).unwrap();
    let text = {
        let mut script = script.lock().unwrap();
        script.asked.push(head.clone());
        if script.answers.len() > 1 {
            script.answers.remove(0)
        } else {
            script.answers.first().cloned().unwrap_or_default()
        }
    };
    if text.is_empty() || text == "!gone" {
        return;
    }
    let text = match text.strip_prefix("!wait | ") {
        Some(text) => {
            go.acquire().await.unwrap().forget();
            text
        }
        None => text.as_str(),
    };
    let mut parts = text.split('|').map(str::trim);
    let status = parts.next().unwrap();
    let mut answer = format!("HTTP/1.1 {status} \r\nConnection: close\r\n");
    let mut short = false;
    for field in parts.filter(|field| !field.starts_with('?')) {
        if field == "!short" {
            short = true;
        } else {
            write!(answer, "{field}\r\n").unwrap();
        }
    }
    let body = if ["204", "304"].contains(&status) {
        ""
    } else {
        write!(answer, "Content-Length: 4\r\n").unwrap();
        if short { "bo" } else { "body" }
    };
    answer.push_str("\r\n");
    if !head.starts_with("HEAD") {
        answer.push_str(body);
    }
    let _ = socket.write_all(answer.as_bytes()).await;
}

/// Puts dates and paths in.
fn filled(text: &str, path: &str) -> String {
    let last = path.rsplit('/').next().unwrap();
    let text = text.replace("{path}", path).replace("{last}", last);
    let mut filled = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let (seconds, after) = after.split_once('}').unwrap();
        let seconds: i64 = seconds.parse().unwrap();
        let by = Duration::from_secs(seconds.unsigned_abs());
        let now = SystemTime::now();
        let date = if seconds < 0 { now - by } else { now + by };
        write!(filled, "{before}{}", httpdate::fmt_http_date(date)).unwrap();
        rest = after;
    }
    filled + rest
}

/// Plays one step; what is wrong with it.
async fn play(stage: &Stage, path: &str, (ask, answers, says): Step) -> Result<(), String> {
    let answers = filled(answers, path);
    let mut parts: Vec<&str> = answers.split("||").map(str::trim).collect();
    parts.retain(|answer| !answer.is_empty());
    {
        let mut script = stage.script.lock().unwrap();
        script.answers = parts.iter().map(|&answer| answer.to_owned()).collect();
        script.asked.clear();
    }
    let ask = filled(ask, path);
    let mut asked = ask.split('|').map(str::trim);
    let mut line = asked.next().unwrap().split(' ');
    let method = line.next().unwrap();
    let target = line.next().map_or_else(
        || path.to_owned(),
        |other| match other.strip_prefix("../") {
            Some(sibling) => format!("{}/{sibling}", &path[..path.rfind('/').unwrap()]),
            None => format!("{other}{path}"),
        },
    );
    let fields: Vec<&str> = asked.collect();
    let reply = stage.send(method, &target, &fields).await;

    if parts.is_empty() != stage.script.lock().unwrap().asked.is_empty() {
        // Somebody may be asking beside.
        let asked = async {
            while stage.script.lock().unwrap().asked.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        let asked = tokio::time::timeout(Duration::from_secs(5), asked)
            .await
            .is_ok();
        if !asked || parts.is_empty() {
            return Err(format!("the service was asked: {asked}; {reply:?}"));
        }
    }
    let seen = stage.script.lock().unwrap().asked.join("");
    let seen = seen.to_ascii_lowercase();
    for wanted in parts.iter().flat_map(|answer| answer.split('|')) {
        let Some(wanted) = wanted.trim().strip_prefix('?') else {
            continue;
        };
        let fits = match wanted.strip_prefix('!') {
            // Of the last request.
            Some(name) => !seen.rsplit("get /").next().unwrap().contains(name),
            None => seen.contains(&wanted.to_ascii_lowercase()),
        };
        if !fits {
            return Err(format!("{wanted:?} was not what was asked: {seen}"));
        }
    }
    got(&reply, parts.last().copied().unwrap_or_default(), says)
}

/// Whether the client got what it should.
fn got(reply: &Reply, answer: &str, says: &str) -> Result<(), String> {
    if says == "broken" {
        // It ended before what its head says.
        let short = reply.header("content-length") == Some("4") && reply.body.len() < 4;
        return short.then_some(()).ok_or_else(|| format!("{reply:?}"));
    }
    let mut says = says.split(" | ").map(str::trim);
    let first = says.next().unwrap();
    let own = first
        .split_once(' ')
        .and_then(|(status, rest)| Some((status.parse().ok()?, rest)));
    let (status, cache) = own.unwrap_or_else(|| {
        let answered = answer.split('|').next().unwrap().trim();
        (answered.parse().unwrap_or(200), first)
    });
    let lines = reply.all("cache-status");
    let said = lines
        .last()
        .map_or("-", |line| line.strip_prefix("gateway; ").unwrap_or(line));
    let exactly = cache == "-" || cache.ends_with("miss");
    let fits = if exactly {
        said == cache
    } else {
        said.starts_with(cache)
    };
    if !fits || reply.status != status {
        return Err(format!("{} {said}", reply.status));
    }
    for field in says {
        let fits = match field.split_once(':') {
            None => reply.header(&field[1..]).is_none(),
            Some((name, value)) => reply
                .header(name)
                .is_some_and(|found| found.starts_with(value.trim())),
        };
        if !fits {
            return Err(format!("{field:?}: {reply:?}"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_rules_of_caching_hold() {
    let stage = Stage::new("", "").await;
    let mut broken = Vec::new();
    for (number, (rule, whose, steps)) in RULES.iter().enumerate() {
        let path = match whose {
            Whose::Everybodys => format!("/everybody/{number}"),
            Whose::Callers => format!("/caller/{number}"),
        };
        for (at, step) in steps.iter().enumerate() {
            let mut played = play(&stage, &path, *step).await;
            // What is asked for beside may take its time.
            for _ in 0..50 {
                if played.is_ok() || !step.1.is_empty() {
                    break;
                }
                tokio::task::yield_now().await;
                played = play(&stage, &path, *step).await;
            }
            if let Err(fault) = played {
                broken.push(format!("{rule}, step {}: {step:?}\n    {fault}", at + 1));
                break;
            }
        }
    }
    assert!(
        broken.is_empty(),
        "{} of {} rules:\n{}",
        broken.len(),
        RULES.len(),
        broken.join("\n")
    );
}

#[tokio::test]
async fn caches_before_us_are_told_whose_an_answer_is() {
    let stage = Stage::new("", "").await;
    let answer = "200 | Cache-Control: max-age=60".to_owned();
    stage.script.lock().unwrap().answers = vec![answer];
    let all = vec!["authorization, cookie, x-api-key"];
    // A miss, and a hit.
    for _ in 0..2 {
        let own = stage.send("GET", "/caller/1", &["@key"]).await;
        assert_eq!(own.all("vary"), all);
        assert_eq!(own.all("cache-control"), ["max-age=60", "private"]);
        // What nobody in particular gets is not for those who are somebody.
        let nobodys = stage.send("GET", "/caller/1", &[]).await;
        assert_eq!(nobodys.all("vary"), all);
        assert_eq!(nobodys.all("cache-control"), ["max-age=60"]);
        let shared = stage.send("GET", "/everybody/1", &["@key"]).await;
        assert!(shared.all("vary").is_empty(), "{shared:?}");
        assert_eq!(shared.all("cache-control"), ["max-age=60"]);
    }
    // Of credentials nothing is stored for everybody that does not say `public`.
    assert_eq!(stage.script.lock().unwrap().asked.len(), 4);
}

/// Plays steps on paths of their own; what is wrong.
async fn play_all(stage: &Stage, steps: &[(&str, Step)]) -> Result<(), String> {
    for (at, (path, step)) in steps.iter().enumerate() {
        let played = play(stage, path, *step).await;
        played.map_err(|fault| format!("step {}: {step:?}\n    {fault}", at + 1))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_route_says_for_how_long_stale_answers_are_of_use() {
    let more = "stale_while_revalidate = \"30s\"\nstale_if_error = \"60s\"";
    let stage = Stage::new(more, "").await;
    let get = |answer, says| ("GET", answer, says);
    #[rustfmt::skip]
    let steps = [
        ("/everybody/1", get("200 | Cache-Control: max-age=10 | Age: 30", "fwd=uri-miss; stored")),
        ("/everybody/1", get("200 | Cache-Control: max-age=60", "hit; ttl=-2")),
        ("/everybody/2", get("200 | Cache-Control: max-age=10 | Age: 50", "fwd=uri-miss; stored")),
        ("/everybody/2", get("503", "200 fwd=stale; fwd-status=503; ttl=-4")),
        ("/everybody/2", get("!gone", "200 fwd=stale; ttl=-4")),
        // What the service says goes before.
        ("/everybody/3", get("200 | Cache-Control: max-age=10, stale-while-revalidate=0, stale-if-error=0 | Age: 20", "fwd=uri-miss; stored")),
        ("/everybody/3", get("503", "502 fwd=stale; fwd-status=503")),
        // And nobody can allow what it forbids.
        ("/everybody/4", get("200 | Cache-Control: max-age=10, must-revalidate | Age: 20", "fwd=uri-miss; stored")),
        ("/everybody/4", get("503", "502 fwd=stale; fwd-status=503")),
        ("/everybody/5", get("200 | Cache-Control: s-maxage=10 | Age: 20", "fwd=uri-miss; stored")),
        ("/everybody/5", get("503", "502 fwd=stale; fwd-status=503")),
        ("/caller/5", get("200 | Cache-Control: no-cache | ETag: \"1\"", "fwd=uri-miss; stored")),
        ("/caller/5", get("503", "502 fwd=stale; fwd-status=503")),
    ];
    play_all(&stage, &steps).await.unwrap();
}

#[tokio::test]
async fn what_is_stored_ends_with_its_tags() {
    let stage = Stage::new("tags = [\"widget:{id}\"]", "").await;
    let stored = || {
        (
            "GET",
            "200 | Cache-Control: max-age=60",
            "fwd=uri-miss; stored",
        )
    };
    let hit = ("GET", "", "200 hit");
    #[rustfmt::skip]
    let steps = [
        ("/everybody/1", stored()), ("/everybody/2", stored()), ("/caller/1", stored()),
        ("/everybody/1", hit), ("/everybody/2", hit), ("/caller/1", hit),
        // A command on another route, with the same tag; also when it is refused: it may have been too late.
        ("/caller/%31", ("PUT", "409", "-")),
        ("/everybody/1", stored()), ("/everybody/2", hit), ("/caller/1", stored()),
    ];
    play_all(&stage, &steps).await.unwrap();
    // An operator.
    let body = r#"{"tags":["widget:2"]}"#;
    let mut socket = stage.world.connect_to_admin().await;
    let request = format!(
        "POST /purge HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(super::world::reply(socket).await.status, 204);
    let steps = [("/everybody/1", hit), ("/everybody/2", stored())];
    play_all(&stage, &steps).await.unwrap();
}

/// Two routes may bring the same thing, and only one say what it depends on.
#[tokio::test]
async fn what_a_route_depends_on_counts_for_what_another_one_stored() {
    let plain = r#"
        [[routes]]
        name = "plain"
        path = "/plain/{id}"
        methods = ["GET"]
        upstream = "parts"
        access = "public"
        cache = "shared"
        rewrite = "/everybody/{id}"
    "#;
    let stage = Stage::new("tags = [\"widget:{id}\"]", plain).await;
    let stored = || {
        (
            "GET",
            "200 | Cache-Control: max-age=60",
            "fwd=uri-miss; stored",
        )
    };
    let hit = ("GET", "", "200 hit");
    // A refused command of another route: nothing but the tag says that it concerns this.
    let change = ("PUT", "409", "-");
    #[rustfmt::skip]
    let steps = [
        ("/plain/1", stored()), ("/plain/2", stored()),
        ("/everybody/1", hit), ("/everybody/2", hit),
        ("/caller/1", change),
        ("/plain/1", hit),
        ("/everybody/1", stored()), ("/everybody/2", hit),
        ("/plain/1", hit),
    ];
    play_all(&stage, &steps).await.unwrap();
}

/// Over sockets, on several workers.
#[tokio::test]
async fn a_thousand_clients_that_want_the_same_are_one_call() {
    const CLIENTS: usize = 1000;
    let stage = Stage::new(
        "deadline = \"20s\"",
        "[server]\nworkers = 3\nmax_requests = 2000",
    )
    .await;
    stage.script.lock().unwrap().answers =
        vec!["!wait | 200 | Cache-Control: max-age=60".to_owned()];
    let mut sockets = Vec::new();
    for _ in 0..CLIENTS {
        let mut socket = stage.world.connect().await;
        let request = "GET /everybody/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        socket.write_all(request.as_bytes()).await.unwrap();
        sockets.push(socket);
    }
    // Nobody is answered before everybody waits.
    let cache = stage.world.cache();
    let everybody_waits = async {
        while cache.seated() < CLIENTS {
            tokio::task::yield_now().await;
        }
    };
    let bound = Duration::from_secs(20);
    tokio::time::timeout(bound, everybody_waits).await.unwrap();
    stage.go.add_permits(1);
    let mut waited = 0;
    for socket in sockets {
        let reply = super::world::reply(socket).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "body"));
        let said = reply.header("cache-status").unwrap();
        waited += usize::from(said.ends_with("collapsed"));
    }
    assert_eq!(stage.script.lock().unwrap().asked.len(), 1);
    assert_eq!(waited, CLIENTS - 1);
}
