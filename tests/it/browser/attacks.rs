//! Somebody is signed in, and opens a page of somebody else: on `localhost`, which is another site, and on another port of
//! our own host, which is the same site and another origin. Whatever the page tries comes to nothing; that our own pages can
//! do it shows that it is possible at all.

use anyhow::{Context, Result, ensure};
use ftgo_tests::System;
use ftgo_tests::chromium::Chromium;
use ftgo_tests::system::eventually;
use serde_json::{Value, json};

const WHO: &str = "consumer-1";

/// Its order, as far as attacks are about it.
struct Scene {
    system: System,
    chromium: Chromium,
    token: String,
    order: String,
    origin: String,
    /// Pages of somebody else.
    foreign: String,
    neighbour: String,
    target: Value,
}

impl Scene {
    async fn start() -> Result<Self> {
        let chromium = Chromium::start("attacks")?;
        let system = System::start().await?;
        let token = system.token(WHO).await?;
        let order = system.approved_order(&token).await?;
        let origin = system.web_url("");
        let input = System::order_for(&system.open_restaurant(&token).await?);
        let place = "mutation($input: PlaceOrderInput!) { placeOrder(input: $input) { orderId } }";
        let follow = "subscription($id: ID!) { orderChanged(id: $id) { id } }";
        let elsewhere = chromium.step("elsewhere", WHO, json!({})).await?;
        let page = |name: &str| anyhow::Ok(elsewhere[name].as_str().context("no page")?.to_owned());
        Ok(Self {
            foreign: page("foreign")?,
            neighbour: page("neighbour")?,
            target: json!({
                "origin": origin,
                "placing": json!({"query": place, "variables": {"input": input}}).to_string(),
                "cancelling": format!("/api/orders/{order}/cancel"),
                "following": json!({"query": follow, "variables": {"id": order}}).to_string(),
            }),
            system,
            chromium,
            token,
            order,
            origin,
        })
    }

    /// What `step` comes to on a page at `from`.
    async fn attack(&self, step: &str, from: &str, more: Value) -> Result<Value> {
        let mut with = self.target.clone();
        with["from"] = from.into();
        if let (Some(with), Value::Object(more)) = (with.as_object_mut(), more) {
            with.extend(more);
        }
        self.chromium.step(step, WHO, with).await
    }

    /// The ids and states of all orders, as the consumer sees them.
    async fn orders(&self) -> Result<Vec<Value>> {
        let query = json!({"query": "{ orders(first: 100) { nodes { id state } } }"});
        let url = self.system.web_url("/graphql");
        let answer = self.system.http.post(&url, &self.token, &query).await?;
        let nodes = answer.body["data"]["orders"]["nodes"].as_array();
        Ok(nodes.with_context(|| format!("{answer:?}"))?.clone())
    }

    async fn is_signed_in(&self) -> Result<bool> {
        let url = json!({"url": format!("{}/bff/user", self.origin)});
        let user = self.chromium.step("go", WHO, url).await?;
        Ok(user["status"] == 200)
    }
}

fn is_of_nobody(message: &str) -> bool {
    let message = serde_json::from_str::<Value>(message).unwrap_or_default();
    message["payload"] == json!({"data": {"me": null}})
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_others_can_do_nothing_in_somebodys_name() -> Result<()> {
    let scene = Scene::start().await?;
    scene
        .chromium
        .sign_in(WHO, &scene.origin, WHO, "/graphiql")
        .await?;
    let own = format!("{}/graphiql", scene.origin);
    eventually("the order is listed", async || {
        Ok((scene.orders().await?.len() == 1).then_some(()))
    })
    .await?;

    for (from, is_neighbour) in [(&scene.foreign, false), (&scene.neighbour, true)] {
        // Scripts: whatever they send, they see nothing of the answer, and nothing that changes something is executed.
        let tried = scene.attack("scripts", from, json!({})).await?;
        let got = tried["got"].as_object().context("nothing tried")?;
        assert!(got.len() > 20, "{tried}");
        for (name, got) in got {
            // From another site no cookie comes along: such a socket is nobody's, and says what everybody may know.
            let nobody = !is_neighbour && got["text"].as_str().is_some_and(is_of_nobody);
            let nothing = got == "nothing" || got == "opaque";
            assert!(nothing || nobody, "{from}: {name}: {got}");
        }
        let sent = tried["sent"].as_array().context("nothing sent")?;
        let with_cookie = |request: &&Value| request["cookie"] == true;
        if is_neighbour {
            let forged: Vec<_> = sent
                .iter()
                .filter(|request| request["method"] == "POST" && request["status"].is_u64())
                .collect();
            assert!(
                forged.len() > 8 && forged.iter().all(with_cookie),
                "{tried}"
            );
            assert!(
                forged.iter().all(|request| request["status"] == 403),
                "{tried}"
            );
        } else {
            assert_eq!(sent.iter().find(with_cookie), None, "{tried}");
        }
        // Forms, which take the whole page along.
        let forms = scene.attack("forms", from, json!({})).await?;
        let forms = forms.as_array().context("no forms")?;
        assert_eq!(forms.len(), 6);
        for form in forms {
            assert_eq!(form["cookie"], is_neighbour, "{form}");
            let status = form["status"].as_u64().unwrap_or_default();
            if is_neighbour {
                assert_eq!(status, 403, "{form}");
            } else {
                // Nobody may sign out: there is nothing to do, and the browser's cookie stays.
                let url = form["url"].as_str().unwrap_or_default();
                let is_logout = url.ends_with("/bff/logout");
                assert!([401, 415].contains(&status) || is_logout, "{form}");
            }
        }
        // Frames and windows: of ours there is nothing in them, or nothing to be read.
        let page = |path: &str| format!("{}{path}", scene.origin);
        let urls = json!({"urls": [own, page("/bff/user"), page("/")]});
        let frames = scene.attack("frames", from, urls.clone()).await?;
        let frames = frames.as_array().context("no frames")?;
        assert_eq!(frames[0]["shown"], frames[0]["url"]);
        for frame in &frames[1..] {
            let shown = frame["shown"].as_str().unwrap_or_default();
            assert!(shown.starts_with("chrome-error:"), "{frame}");
        }
        let windows = scene.attack("windows", from, urls).await?;
        let windows = windows.as_array().context("no windows")?;
        assert_eq!(windows[0]["read"], "Win a prize!", "{windows:?}");
        for window in &windows[1..] {
            let read = &window["read"];
            assert!(read == "closed" || read == "SecurityError", "{window}");
        }
        let user = windows[2]["there"].as_str().unwrap_or_default();
        assert!(user.contains(WHO), "{user}");
        assert!(scene.is_signed_in().await?, "after {from}");
    }
    let now = scene.orders().await?;
    assert_eq!(now, [json!({"id": scene.order, "state": "APPROVED"})]);

    // The same from our own page: what needs the header needs it here, too, and with it everything can be done.
    let only = [
        "text/plain",
        "json",
        "a mutation by GET",
        "json with the header",
        "a query by GET",
        "who is signed in",
        "a WebSocket",
        "an event stream",
        "a command with the header",
        "logout",
        "logout with the header",
    ];
    let done = scene.attack("scripts", &own, json!({"only": only})).await?;
    let got = &done["got"];
    let has = |name: &str, status: u64, text: &str| {
        let got = &got[name];
        let seen = got["text"].as_str().unwrap_or_default().contains(text);
        ensure!(got["status"] == status && seen, "{name}: {got}");
        Ok(())
    };
    has("text/plain", 403, "")?;
    has("json", 403, "")?;
    has("a mutation by GET", 405, "")?;
    has("json with the header", 200, "orderId")?;
    has("a query by GET", 200, WHO)?;
    has("who is signed in", 200, WHO)?;
    has("a command with the header", 202, "")?;
    has("logout", 403, "")?;
    has("logout with the header", 200, "logoutUrl")?;
    for (name, heard) in [("a WebSocket", WHO), ("an event stream", &scene.order)] {
        let text = got[name]["text"].as_str().unwrap_or_default();
        assert!(text.contains(heard), "{name}: {}", got[name]);
    }
    assert!(!scene.is_signed_in().await?);
    eventually("one order more, and one that is cancelled", async || {
        let now = scene.orders().await?;
        let cancelled = json!({"id": scene.order, "state": "CANCELLED"});
        Ok((now.len() == 2 && now.contains(&cancelled)).then_some(()))
    })
    .await?;
    scene.chromium.end().await
}
