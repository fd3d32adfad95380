//! The running service over a real socket: creation, validators and preconditions, and what is said about bad requests.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::SocketAddr;

use ftgo_chassis::{Environment, RunningService};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, header};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::testing::draft;

struct Restaurants {
    running: RunningService,
    client: Client,
    directory: TempDir,
}

impl Restaurants {
    async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), false).await
    }

    async fn start_in(directory: TempDir, seed: bool) -> Self {
        let running = crate::start(Environment {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            data_dir: directory.path().to_owned(),
            transport: None,
            faults: false,
            seed,
            trust: None,
            collector: None,
        })
        .await
        .unwrap();
        Self {
            running,
            client: {
                // Needed before a client is built; the other tests of this process may have been faster.
                let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
                Client::new()
            },
            directory,
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.running.address());
        self.client.request(method, url)
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    async fn post(&self, body: &Value) -> Response {
        self.request(Method::POST, "/restaurants")
            .json(body)
            .send()
            .await
            .unwrap()
    }

    async fn put_menu(&self, location: &str, version: Option<&str>, menu: &Value) -> Response {
        let mut request = self
            .request(Method::PUT, &format!("{location}/menu"))
            .json(menu);
        if let Some(version) = version {
            request = request.header(header::IF_MATCH, version);
        }
        request.send().await.unwrap()
    }

    /// The path of a new restaurant.
    async fn created(&self) -> String {
        location(&self.post(&draft()).await)
    }
}

fn location(response: &Response) -> String {
    assert_eq!(response.status(), StatusCode::CREATED);
    response.headers()[header::LOCATION]
        .to_str()
        .unwrap()
        .to_owned()
}

fn header_of(response: &Response, name: header::HeaderName) -> &str {
    response.headers()[name].to_str().unwrap()
}

async fn problem(response: Response, status: StatusCode) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(
        header_of(&response, header::CONTENT_TYPE),
        "application/problem+json"
    );
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status.as_u16());
    problem
}

fn pointers(problem: &Value) -> Vec<&str> {
    problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect()
}

fn menu(name: &str, price: &str) -> Value {
    json!({"items": [{"id": "1", "name": name, "price": {"amount": price, "currency": "USD"}}]})
}

#[tokio::test]
async fn a_created_restaurant_is_found_where_the_answer_says() {
    let restaurants = Restaurants::start().await;
    let response = restaurants.post(&draft()).await;
    let path = location(&response);
    assert_eq!(header_of(&response, header::ETAG), "\"v1\"");
    let created: Value = response.json().await.unwrap();

    let response = restaurants.get(&path).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header_of(&response, header::ETAG), "\"v1\"");
    assert_eq!(
        header_of(&response, header::CACHE_CONTROL),
        "public, max-age=5"
    );
    let found: Value = response.json().await.unwrap();
    assert_eq!(found, created);
    assert_eq!(
        path,
        format!("/restaurants/{}", found["id"].as_str().unwrap())
    );

    let mut resource = found;
    let fields = resource.as_object_mut().unwrap();
    fields.remove("id").unwrap();
    fields.remove("createdAt").unwrap();
    let mut expected = draft();
    expected["version"] = json!(1);
    assert_eq!(resource, expected);
    restaurants.running.stop().await;
}

#[tokio::test]
async fn a_reader_who_has_it_already_gets_304() {
    let restaurants = Restaurants::start().await;
    let path = restaurants.created().await;
    for (known, status) in [
        ("\"v1\"", StatusCode::NOT_MODIFIED),
        ("W/\"v1\", \"v7\"", StatusCode::NOT_MODIFIED),
        ("*", StatusCode::NOT_MODIFIED),
        ("\"v2\"", StatusCode::OK),
    ] {
        let response = restaurants
            .request(Method::GET, &path)
            .header(header::IF_NONE_MATCH, known)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), status, "{known}");
        assert_eq!(header_of(&response, header::ETAG), "\"v1\"");
        assert_eq!(
            header_of(&response, header::CACHE_CONTROL),
            "public, max-age=5"
        );
    }
    restaurants.running.stop().await;
}

#[tokio::test]
async fn several_are_listed_in_the_order_of_the_question() {
    let restaurants = Restaurants::start_in(tempfile::tempdir().unwrap(), true).await;
    let response = restaurants
        .get("/restaurants?ids=restaurant-3,unknown,restaurant-1,restaurant-3")
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    let page: Value = response.json().await.unwrap();
    let ids: Vec<_> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["restaurant-3", "restaurant-1"]);
    problem(
        restaurants.get("/restaurants").await,
        StatusCode::BAD_REQUEST,
    )
    .await;
    let none: Value = restaurants
        .get("/restaurants?ids=")
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(none, json!({"items": []}));
    restaurants.running.stop().await;
}

#[tokio::test]
async fn an_unknown_restaurant_is_404() {
    let restaurants = Restaurants::start().await;
    problem(
        restaurants.get("/restaurants/none").await,
        StatusCode::NOT_FOUND,
    )
    .await;
    let put = restaurants
        .put_menu("/restaurants/none", None, &menu("Larb", "1.00"))
        .await;
    problem(put, StatusCode::NOT_FOUND).await;
    restaurants.running.stop().await;
}

#[tokio::test]
async fn the_menu_changes_only_at_the_version_that_the_writer_knows() {
    let restaurants = Restaurants::start().await;
    let path = restaurants.created().await;

    let unconditional = restaurants
        .put_menu(&path, None, &menu("Larb", "13.00"))
        .await;
    problem(unconditional, StatusCode::PRECONDITION_REQUIRED).await;
    let stale = restaurants
        .put_menu(&path, Some("\"v9\""), &menu("Larb", "13.00"))
        .await;
    problem(stale, StatusCode::PRECONDITION_FAILED).await;
    // A weak validator never matches here (RFC 9110, 13.1.1).
    let weak = restaurants
        .put_menu(&path, Some("W/\"v1\""), &menu("Larb", "13.00"))
        .await;
    problem(weak, StatusCode::PRECONDITION_FAILED).await;

    let revised = restaurants
        .put_menu(&path, Some("\"v1\""), &menu("Larb", "13.00"))
        .await;
    assert_eq!(revised.status(), StatusCode::OK);
    assert_eq!(header_of(&revised, header::ETAG), "\"v2\"");
    let revised: Value = revised.json().await.unwrap();
    assert_eq!(revised["version"], 2);
    assert_eq!(revised["menu"]["items"][0]["price"]["amount"], "13.00");

    let late = restaurants
        .put_menu(&path, Some("\"v1\""), &menu("Larb", "14.00"))
        .await;
    problem(late, StatusCode::PRECONDITION_FAILED).await;
    let found: Value = restaurants.get(&path).await.json().await.unwrap();
    assert_eq!(found, revised);
    restaurants.running.stop().await;
}

#[tokio::test]
async fn of_many_writers_at_one_version_one_wins() {
    let restaurants = Restaurants::start().await;
    let path = restaurants.created().await;
    let menus: Vec<_> = (0..8).map(|n| menu(&format!("Dish {n}"), "5.00")).collect();
    let answers = futures_util::future::join_all(
        menus
            .iter()
            .map(|menu| restaurants.put_menu(&path, Some("\"v1\""), menu)),
    )
    .await;
    let (won, lost): (Vec<_>, Vec<_>) = answers
        .iter()
        .map(Response::status)
        .partition(|status| *status == StatusCode::OK);
    assert_eq!((won.len(), lost.len()), (1, 7));
    assert!(
        lost.iter()
            .all(|status| *status == StatusCode::PRECONDITION_FAILED)
    );
    restaurants.running.stop().await;
}

#[tokio::test]
async fn an_invalid_menu_is_422_with_every_fault() {
    let restaurants = Restaurants::start().await;
    let path = restaurants.created().await;
    let bad = json!({"items": [
        {"id": "1", "name": "", "price": {"amount": "0.00", "currency": "USD"}},
        {"id": "1", "name": "Larb", "price": {"amount": "1.00", "currency": "EUR"}}
    ]});
    let problem = problem(
        restaurants.put_menu(&path, Some("\"v1\""), &bad).await,
        StatusCode::UNPROCESSABLE_ENTITY,
    )
    .await;
    assert_eq!(
        pointers(&problem),
        [
            "/items/0/name",
            "/items/0/price",
            "/items/1/id",
            "/items/1/price"
        ]
    );
    restaurants.running.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_told_where() {
    let restaurants = Restaurants::start().await;
    let mut wrong_type = draft();
    wrong_type["location"]["lat"] = json!("north");
    let answer = restaurants.post(&wrong_type).await;
    let answer = problem(answer, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(pointers(&answer), ["/location/lat"]);

    let mut too_exact = draft();
    too_exact["menu"]["items"][0]["price"]["amount"] = json!("9.995");
    let answer = restaurants.post(&too_exact).await;
    let answer = problem(answer, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(pointers(&answer), ["/menu/items/0/price"]);

    let mut invalid = draft();
    invalid["timeZone"] = json!("Oakland");
    let answer = restaurants.post(&invalid).await;
    let answer = problem(answer, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(pointers(&answer), ["/timeZone"]);

    let malformed = restaurants
        .request(Method::POST, "/restaurants")
        .header(header::CONTENT_TYPE, "application/json")
        .body("{\"name\": ")
        .send()
        .await
        .unwrap();
    problem(malformed, StatusCode::BAD_REQUEST).await;
    let text = restaurants
        .request(Method::POST, "/restaurants")
        .header(header::CONTENT_TYPE, "text/plain")
        .body("a restaurant")
        .send()
        .await
        .unwrap();
    problem(text, StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
    let deleted = restaurants
        .request(Method::DELETE, "/restaurants")
        .send()
        .await;
    problem(deleted.unwrap(), StatusCode::METHOD_NOT_ALLOWED).await;
    restaurants.running.stop().await;
}

#[tokio::test]
async fn a_repeated_key_creates_once() {
    let restaurants = Restaurants::start().await;
    let post = async |key: &str, body: &Value| {
        restaurants
            .request(Method::POST, "/restaurants")
            .header("Idempotency-Key", key)
            .json(body)
            .send()
            .await
            .unwrap()
    };
    let first = location(&post("k1", &draft()).await);
    let again = post("k1", &draft()).await;
    assert_eq!(location(&again), first);
    assert_eq!(header_of(&again, header::ETAG), "\"v1\"");
    assert_ne!(location(&post("k2", &draft()).await), first);

    let mut other = draft();
    other["name"] = json!("Other");
    problem(post("k1", &other).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    restaurants.running.stop().await;
}

#[tokio::test]
async fn restaurants_survive_a_restart() {
    let restaurants = Restaurants::start().await;
    let path = restaurants.created().await;
    restaurants.running.stop().await;
    let restarted = Restaurants::start_in(restaurants.directory, false).await;
    assert_eq!(restarted.get(&path).await.status(), StatusCode::OK);
    restarted.running.stop().await;
}

#[tokio::test]
async fn the_document_names_every_path() {
    let restaurants = Restaurants::start().await;
    let document: Value = restaurants.get("/openapi.json").await.json().await.unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    for path in [
        "/restaurants",
        "/restaurants/{id}",
        "/restaurants/{id}/menu",
    ] {
        assert!(paths.contains(&&path.to_owned()), "{path}");
    }
    restaurants.running.stop().await;
}
