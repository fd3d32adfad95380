//! A small builder for a service's OpenAPI 3.1 document. What the operations are is written by each service.

use serde_json::{Map, Value, json};

/// An OpenAPI 3.1 document.
#[derive(Clone, Debug)]
pub struct Document {
    title: String,
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
}

/// One operation of a [`Document`].
#[derive(Clone, Debug)]
pub struct Operation {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    status: u16,
    parameters: Vec<Value>,
    request: Option<Value>,
    response: Option<Value>,
}

impl Document {
    pub fn new(title: &str) -> Document {
        Document {
            title: title.to_owned(),
            paths: Map::new(),
            schemas: Map::new(),
        }
    }

    /// Names a JSON schema; operations use it through [`schema_ref`].
    #[must_use]
    pub fn schema(mut self, name: &str, schema: Value) -> Document {
        self.schemas.insert(name.to_owned(), schema);
        self
    }

    #[must_use]
    pub fn operation(mut self, operation: Operation) -> Document {
        let (path, method) = (operation.path, operation.method);
        let operations = self.paths.entry(path).or_insert_with(|| json!({}));
        operations[method] = operation.into_json();
        self
    }

    pub fn to_json(&self) -> Value {
        let mut schemas = self.schemas.clone();
        schemas.insert("Problem".to_owned(), problem_schema());
        json!({
            "openapi": "3.1.0",
            "info": {"title": self.title, "version": env!("CARGO_PKG_VERSION")},
            "paths": self.paths,
            "components": {"schemas": schemas},
        })
    }
}

/// A reference to a schema that was given to [`Document::schema`].
pub fn schema_ref(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

impl Operation {
    pub fn get(path: &'static str, summary: &'static str) -> Operation {
        Operation::new("get", path, summary)
    }

    pub fn post(path: &'static str, summary: &'static str) -> Operation {
        Operation::new("post", path, summary)
    }

    pub fn put(path: &'static str, summary: &'static str) -> Operation {
        Operation::new("put", path, summary)
    }

    /// The status of success, 200 unless said.
    #[must_use]
    pub fn status(mut self, status: u16) -> Operation {
        self.status = status;
        self
    }

    /// A query parameter, a string.
    #[must_use]
    pub fn query(mut self, name: &str, required: bool, description: &str) -> Operation {
        self.parameters.push(json!({
            "name": name, "in": "query", "required": required, "description": description,
            "schema": {"type": "string"},
        }));
        self
    }

    /// A header of the request, a string.
    #[must_use]
    pub fn header(mut self, name: &str, required: bool, description: &str) -> Operation {
        self.parameters.push(json!({
            "name": name, "in": "header", "required": required, "description": description,
            "schema": {"type": "string"},
        }));
        self
    }

    /// The JSON schema of the body.
    #[must_use]
    pub fn request(mut self, schema: Value) -> Operation {
        self.request = Some(schema);
        self
    }

    /// The JSON schema of the answer.
    #[must_use]
    pub fn response(mut self, schema: Value) -> Operation {
        self.response = Some(schema);
        self
    }

    fn new(method: &'static str, path: &'static str, summary: &'static str) -> Operation {
        // Every `{name}` of the path is a parameter.
        let parameters = path
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split_once('}'))
            .map(|(name, _)| {
                json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
            })
            .collect();
        Operation {
            method,
            path,
            summary,
            status: 200,
            parameters,
            request: None,
            response: None,
        }
    }

    fn into_json(self) -> Value {
        let mut success = json!({"description": "Success"});
        if let Some(schema) = self.response {
            success["content"] = json!({"application/json": {"schema": schema}});
        }
        let mut operation = json!({
            "summary": self.summary,
            "responses": {
                self.status.to_string(): success,
                "default": {
                    "description": "Failure",
                    "content": {"application/problem+json": {"schema": schema_ref("Problem")}},
                },
            },
        });
        if !self.parameters.is_empty() {
            operation["parameters"] = Value::from(self.parameters);
        }
        if let Some(schema) = self.request {
            operation["requestBody"] = json!({
                "required": true,
                "content": {"application/json": {"schema": schema}},
            });
        }
        operation
    }
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "code": {"type": "string"},
            "errors": {"type": "array", "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            }},
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Document, Operation, schema_ref};

    #[test]
    fn operations_of_one_path_stand_together_with_their_parameters() {
        let document = Document::new("consumer")
            .schema("Consumer", json!({"type": "object"}))
            .operation(Operation::get("/consumers/{id}", "One").response(schema_ref("Consumer")))
            .operation(Operation::put("/consumers/{id}", "Change").status(204))
            .to_json();
        let path = &document["paths"]["/consumers/{id}"];
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(path["get"]["parameters"][0]["name"], "id");
        let schema = &path["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        assert_eq!(schema["$ref"], "#/components/schemas/Consumer");
        assert!(path["put"]["responses"]["204"].is_object());
        assert!(document["components"]["schemas"]["Problem"].is_object());
    }
}
