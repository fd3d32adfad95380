//! The HTTP surface: routes, bodies and the OpenAPI document. Rules are in the domain.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use ftgo_chassis::etag::{IfNoneMatch, etag};
use ftgo_chassis::idempotency::{self, Attempt, IdempotencyKey, StoredResponse};
use ftgo_chassis::json::accept;
use ftgo_chassis::openapi::{Document, Operation, schema_ref};
use ftgo_chassis::{Address, Caller, FieldError, IdList, Json, Query, ServiceError};
use ftgo_messaging::{Database, outbox};
use http::StatusCode;
use http::header::ETAG;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::domain::{Consumer, EmailAddress, MOST_ADDRESSES, PersonName, SavedAddress, Text};
use crate::{messages, store};

pub(crate) fn routes(database: Database) -> Router {
    Router::new()
        .route("/consumers", get(find_consumers).post(create_consumer))
        .route("/consumers/{id}", get(get_consumer))
        .route(
            "/consumers/{id}/addresses",
            get(get_addresses).post(add_address),
        )
        .route("/consumers/{id}/addresses/{address_id}", get(get_address))
        .route("/consumers/{id}/block", post(block))
        .route("/consumers/{id}/unblock", post(unblock))
        .with_state(database)
}

#[derive(Serialize, Deserialize)]
struct CreateConsumer {
    name: PersonName,
    email: EmailAddress,
    #[serde(default)]
    addresses: Vec<NewAddress>,
}

#[derive(Serialize, Deserialize)]
struct NewAddress {
    label: Text,
    #[serde(flatten)]
    address: Address,
}

#[derive(Deserialize)]
struct Ids {
    ids: IdList,
}

#[derive(Serialize)]
struct ConsumerBody<'a> {
    id: &'a str,
    name: &'a PersonName,
    email: &'a str,
    blocked: bool,
    addresses: Vec<AddressBody<'a>>,
    version: i64,
}

#[derive(Serialize)]
struct AddressBody<'a> {
    id: &'a str,
    label: &'a str,
    #[serde(flatten)]
    address: &'a Address,
}

async fn create_consumer(
    State(database): State<Database>,
    caller: Caller,
    key: IdempotencyKey,
    Json(request): Json<CreateConsumer>,
) -> Result<Response, ServiceError> {
    caller.require_internal()?;
    let addresses = request.addresses.iter().enumerate();
    let mut errors: Vec<FieldError> = addresses
        .flat_map(|(index, new)| new.address.check(&format!("/addresses/{index}")))
        .collect();
    if request.addresses.len() > MOST_ADDRESSES {
        errors.push(FieldError::new(
            "/addresses",
            format!("at most {MOST_ADDRESSES}"),
        ));
    }
    accept(errors)?;

    let mut tx = database.write().await?;
    let slot = match idempotency::begin(&mut tx, "POST /consumers", &key, &request).await? {
        Attempt::Repeated(response) => return Ok(response.into_response()),
        Attempt::First(slot) => slot,
    };
    let id = Uuid::now_v7().to_string();
    let mut consumer = Consumer::register(id, request.name, request.email);
    let created = messages::consumer_created(&consumer)?;
    for new in request.addresses {
        consumer
            .add_address(new.label, new.address)
            .map_err(ServiceError::internal)?;
    }
    store::save(&mut tx, &consumer).await?;
    outbox::publish(&mut tx, &created).await?;
    let response = StoredResponse::new(StatusCode::CREATED, &consumer_body(&consumer))?
        .location(format!("/consumers/{}", consumer.id));
    slot.store(&mut tx, &response).await?;
    tx.commit().await?;
    Ok(response.into_response())
}

/// Unknown ids, and those of others, are left out.
async fn find_consumers(
    State(database): State<Database>,
    caller: Caller,
    Query(Ids { ids }): Query<Ids>,
) -> Result<Response, ServiceError> {
    let consumers = store::find_all(&mut *database.read().acquire().await?, &ids).await?;
    let items: Vec<_> = consumers
        .iter()
        .filter(|consumer| caller.is_consumer(&consumer.id))
        .map(consumer_body)
        .collect();
    Ok(Json(json!({"items": items})).into_response())
}

async fn get_consumer(
    State(database): State<Database>,
    caller: Caller,
    Path(id): Path<String>,
    known: IfNoneMatch,
) -> Result<Response, ServiceError> {
    let consumer = read(&database, &caller, &id).await?;
    let tag = [(ETAG, etag(consumer.version))];
    if known.has(consumer.version) {
        return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
    }
    Ok((tag, Json(consumer_body(&consumer))).into_response())
}

async fn get_addresses(
    State(database): State<Database>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, ServiceError> {
    let consumer = read(&database, &caller, &id).await?;
    let items: Vec<_> = consumer.addresses.iter().map(address_body).collect();
    Ok(Json(json!({"items": items})).into_response())
}

async fn get_address(
    State(database): State<Database>,
    caller: Caller,
    Path((id, address_id)): Path<(String, String)>,
) -> Result<Response, ServiceError> {
    let consumer = read(&database, &caller, &id).await?;
    let saved = consumer
        .addresses
        .iter()
        .find(|saved| saved.id == address_id);
    let saved = saved.ok_or(ServiceError::NotFound)?;
    Ok(Json(address_body(saved)).into_response())
}

async fn add_address(
    State(database): State<Database>,
    caller: Caller,
    Path(id): Path<String>,
    key: IdempotencyKey,
    Json(request): Json<NewAddress>,
) -> Result<Response, ServiceError> {
    own(&caller, &id)?;
    accept(request.address.check(""))?;
    let operation = format!("POST /consumers/{id}/addresses");
    let mut tx = database.write().await?;
    let slot = match idempotency::begin(&mut tx, &operation, &key, &request).await? {
        Attempt::Repeated(response) => return Ok(response.into_response()),
        Attempt::First(slot) => slot,
    };
    let mut consumer = store::find(&mut tx, &id)
        .await?
        .ok_or(ServiceError::NotFound)?;
    let saved = consumer
        .add_address(request.label, request.address)
        .map_err(|error| ServiceError::conflict("TOO_MANY_ADDRESSES", error.to_string()))?;
    store::save(&mut tx, &consumer).await?;
    let response = StoredResponse::new(StatusCode::CREATED, &address_body(&saved))?
        .location(format!("/consumers/{id}/addresses/{}", saved.id));
    slot.store(&mut tx, &response).await?;
    tx.commit().await?;
    Ok(response.into_response())
}

async fn block(
    database: State<Database>,
    caller: Caller,
    id: Path<String>,
) -> Result<Response, ServiceError> {
    caller.require_internal()?;
    set_blocked(database, id, true).await
}

async fn unblock(
    database: State<Database>,
    caller: Caller,
    id: Path<String>,
) -> Result<Response, ServiceError> {
    caller.require_internal()?;
    set_blocked(database, id, false).await
}

async fn set_blocked(
    State(database): State<Database>,
    Path(id): Path<String>,
    blocked: bool,
) -> Result<Response, ServiceError> {
    let mut tx = database.write().await?;
    let mut consumer = store::find(&mut tx, &id)
        .await?
        .ok_or(ServiceError::NotFound)?;
    if consumer.set_blocked(blocked) {
        store::save(&mut tx, &consumer).await?;
        tx.commit().await?;
    }
    Ok((
        [(ETAG, etag(consumer.version))],
        Json(consumer_body(&consumer)),
    )
        .into_response())
}

/// The record, if it is the caller's own: another's is as one that does not exist.
async fn read(database: &Database, caller: &Caller, id: &str) -> Result<Consumer, ServiceError> {
    own(caller, id)?;
    let mut connection = database.read().acquire().await?;
    let consumer = store::find(&mut connection, id).await?;
    consumer.ok_or(ServiceError::NotFound)
}

fn own(caller: &Caller, id: &str) -> Result<(), ServiceError> {
    if caller.is_consumer(id) {
        Ok(())
    } else {
        Err(ServiceError::NotFound)
    }
}

fn consumer_body(consumer: &Consumer) -> ConsumerBody<'_> {
    ConsumerBody {
        id: &consumer.id,
        name: &consumer.name,
        email: consumer.email.as_str(),
        blocked: consumer.blocked,
        addresses: consumer.addresses.iter().map(address_body).collect(),
        version: consumer.version,
    }
}

fn address_body(saved: &SavedAddress) -> AddressBody<'_> {
    AddressBody {
        id: &saved.id,
        label: saved.label.as_str(),
        address: &saved.address,
    }
}

pub(crate) fn document() -> Document {
    let text = json!({"type": "string"});
    let consumer = || schema_ref("Consumer");
    let saved = || schema_ref("SavedAddress");
    let items = |schema| json!({"type": "object", "required": ["items"], "properties": {"items": {"type": "array", "items": schema}}});
    let key = (
        "Idempotency-Key",
        "A repeated request gets the first answer",
    );
    Document::new("FTGO consumer")
        .schema("PersonName", json!({
            "type": "object", "required": ["first", "last"],
            "properties": {"first": text, "last": text},
        }))
        .schema("NewAddress", json!({
            "type": "object", "required": ["label", "street1", "city", "state", "zip"],
            "properties": {
                "label": text, "street1": text, "street2": text, "city": text, "state": text, "zip": text,
            },
        }))
        .schema("SavedAddress", json!({
            "allOf": [schema_ref("NewAddress"), {"type": "object", "required": ["id"], "properties": {"id": text}}],
        }))
        .schema("NewConsumer", json!({
            "type": "object", "required": ["name", "email"],
            "properties": {
                "name": schema_ref("PersonName"), "email": {"type": "string", "format": "email"},
                "addresses": {"type": "array", "items": schema_ref("NewAddress"), "maxItems": MOST_ADDRESSES},
            },
        }))
        .schema("Consumer", json!({
            "type": "object", "required": ["id", "name", "email", "blocked", "addresses", "version"],
            "properties": {
                "id": text, "name": schema_ref("PersonName"), "email": text, "blocked": {"type": "boolean"},
                "addresses": {"type": "array", "items": saved()}, "version": {"type": "integer"},
            },
        }))
        .operation(Operation::get("/consumers", "Several consumers; unknown ids are left out")
            .query("ids", true, "Ids, separated by commas")
            .response(items(consumer())))
        .operation(Operation::post("/consumers", "Registers a consumer").status(201)
            .header(key.0, false, key.1).request(schema_ref("NewConsumer")).response(consumer()))
        .operation(Operation::get("/consumers/{id}", "A consumer").response(consumer()))
        .operation(Operation::get("/consumers/{id}/addresses", "The addresses of a consumer")
            .response(items(saved())))
        .operation(Operation::post("/consumers/{id}/addresses", "Adds an address").status(201)
            .header(key.0, false, key.1).request(schema_ref("NewAddress")).response(saved()))
        .operation(Operation::get("/consumers/{id}/addresses/{address_id}", "One address").response(saved()))
        .operation(Operation::post("/consumers/{id}/block", "Staff: no more orders from this consumer")
            .response(consumer()))
        .operation(Operation::post("/consumers/{id}/unblock", "Staff: orders again").response(consumer()))
}
