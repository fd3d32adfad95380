//! Query strings, and lists of ids in them. Which parameters there are is the business of each route.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use crate::problem::ServiceError;

/// Ids in one request; more are a mistake of the caller.
const MOST_IDS: usize = 200;

/// The parameters of a query string; 400 when they don't fit `T`.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

/// The value of `?ids=a,b,c`: no duplicates, in the order of the request, at most 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdList(Vec<String>);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Query<T>, ServiceError> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(parameters)) => Ok(Query(parameters)),
            Err(rejection) => Err(ServiceError::BadRequest(rejection.body_text())),
        }
    }
}

impl IdList {
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// A JSON array, for `WHERE id IN (SELECT value FROM json_each(?))`.
    pub fn to_json(&self) -> String {
        serde_json::Value::from(self.0.clone()).to_string()
    }
}

impl<'de> Deserialize<'de> for IdList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<IdList, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut ids: Vec<String> = Vec::new();
        for id in text.split(',').map(str::trim).filter(|id| !id.is_empty()) {
            if !ids.iter().any(|known| known == id) {
                ids.push(id.to_owned());
            }
        }
        if ids.len() > MOST_IDS {
            return Err(D::Error::custom(format!("more than {MOST_IDS} ids")));
        }
        Ok(IdList(ids))
    }
}
