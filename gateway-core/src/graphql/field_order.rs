//! Puts the fields of an answer into the order of its query (GraphQL, 7.2.2): async-graphql leaves them in the order in
//! which they were resolved. No field is added or taken away.
//!
//! Where fragments on *different* types select the same key in a different order, the first mention counts for all of
//! them, since the type of an object is not known here.

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::SelectionSet;
use async_graphql::{Name, Value};

use super::document::Plan;

pub(super) fn arrange(data: &mut Value, plan: &Plan<'_>) {
    arrange_level(vec![data], &[plan.root()], plan);
}

/// Arranges all values that one selection has given. They are taken together, so that the query is read once for a
/// list and not once for each of its elements.
fn arrange_level<'p>(values: Vec<&mut Value>, selections: &[&'p SelectionSet], plan: &Plan<'p>) {
    let mut objects = Vec::new();
    for value in values {
        objects_in(value, &mut objects);
    }
    if objects.is_empty() {
        return;
    }
    let collected = plan.collect(selections);
    // A scalar that is an object has no selection: all its keys have the same rank, and stay where they are.
    let rank = |key: &Name| collected.get_index_of(key).unwrap_or(collected.len());
    for object in &mut objects {
        if !object.keys().is_sorted_by_key(&rank) {
            object.sort_by_cached_key(|key, _| rank(key));
        }
    }
    for (key, selections) in &collected {
        // A leaf has nothing below it to be arranged.
        if selections.iter().all(|set| set.items.is_empty()) {
            continue;
        }
        let children = objects
            .iter_mut()
            .filter_map(|object| object.get_mut(*key))
            .collect();
        arrange_level(children, selections, plan);
    }
}

/// The objects in a value, through lists of any depth.
fn objects_in<'v>(value: &'v mut Value, objects: &mut Vec<&'v mut IndexMap<Name, Value>>) {
    match value {
        Value::Object(object) => objects.push(object),
        Value::List(items) => items.iter_mut().for_each(|item| objects_in(item, objects)),
        Value::Null
        | Value::Number(_)
        | Value::String(_)
        | Value::Boolean(_)
        | Value::Binary(_)
        | Value::Enum(_) => {}
    }
}
