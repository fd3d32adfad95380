//! What can be read from a parsed document without its schema: the operation that is meant, and the fields that a
//! selection collects (GraphQL, 6.3.2). Whether the document fits the schema is the executor's to say.

use std::collections::HashSet;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{
    BaseType, Directive, ExecutableDocument, Field, OperationDefinition, OperationType, Selection,
    SelectionSet, Type,
};
use async_graphql::{Name, Positioned, ServerError, Value, Variables};
use foldhash::quality::RandomState;

use super::request::Asked;

/// One operation of a document, with the variables that steer it.
pub(super) struct Plan<'a> {
    document: &'a ExecutableDocument,
    operation: &'a OperationDefinition,
    variables: &'a Variables,
}

/// The keys of an object in the order of the query, each with the selections below it: several, when the query names the key
/// several times. Looked up, not searched: a document can have thousands.
pub(super) type Collected<'a> = IndexMap<&'a Name, Vec<&'a SelectionSet>, RandomState>;

/// Finds the operation called `operationName`, or the only one.
pub(super) fn select<'a>(
    document: &'a ExecutableDocument,
    asked: &'a Asked,
) -> Result<Plan<'a>, ServerError> {
    let mut operations = document.operations.iter();
    let found = match &asked.operation_name {
        Some(wanted) => operations
            .find(|(name, _)| name.is_some_and(|name| name.as_str() == wanted))
            .ok_or_else(|| {
                ServerError::new(format!("There is no operation named {wanted:?}."), None)
            })?,
        None => match (operations.next(), operations.next()) {
            (Some(only), None) => only,
            _ => {
                return Err(ServerError::new(
                    "operationName has to say which operation is meant.",
                    None,
                ));
            }
        },
    };
    Ok(Plan {
        document,
        operation: &found.1.node,
        variables: &asked.variables,
    })
}

impl<'a> Plan<'a> {
    pub(super) fn kind(&self) -> OperationType {
        self.operation.ty
    }

    pub(super) fn root(&self) -> &'a SelectionSet {
        &self.operation.selection_set.node
    }

    /// Whether every variable is obviously of its type: scalars by their name, and no objects, whose members are the
    /// schema's to judge.
    pub(super) fn has_plain_variables(&self) -> bool {
        self.operation
            .variable_definitions
            .iter()
            .all(|definition| {
                let Positioned {
                    node: definition, ..
                } = definition;
                match self.variables.get(&definition.name.node) {
                    Some(value) => is_plainly(value, &definition.var_type.node),
                    None => definition.var_type.node.nullable || definition.default_value.is_some(),
                }
            })
    }

    /// Refuses what the executor would do wrong: async-graphql runs a mutation once for each time its key is selected,
    /// where the specification merges the selections and runs it once. Otherwise how many things it does: each mutation
    /// is one, and a query or a subscription is one.
    pub(super) fn check(&self) -> Result<usize, ServerError> {
        match self.operation.ty {
            OperationType::Query => return Ok(1),
            OperationType::Subscription => return self.check_subscription().map(|()| 1),
            OperationType::Mutation => {}
        }
        let fields = self.collect(&[self.root()]);
        match fields.iter().find(|(_, selections)| selections.len() > 1) {
            Some((twice, _)) => Err(ServerError::new(
                format!(
                    "Select the mutation {:?} once, or give each its own alias.",
                    twice.as_str()
                ),
                Some(self.operation.selection_set.pos),
            )),
            None => Ok(fields.len().max(1)),
        }
    }

    /// A subscription has one root field (GraphQL, 5.2.4.1), which is not one about the schema. It has to stand there once and
    /// by itself: async-graphql opens a stream for each time that it is selected, whatever its key and its conditions, and
    /// none for what a fragment selects.
    fn check_subscription(&self) -> Result<(), ServerError> {
        if let [only] = &self.root().items[..]
            && let Selection::Field(field) = &only.node
            && !field.node.name.node.starts_with("__")
            && !self.is_skipped(&field.node.directives)
        {
            return Ok(());
        }
        Err(ServerError::new(
            "A subscription has to select one field, once, and not by a fragment.",
            Some(self.operation.selection_set.pos),
        ))
    }

    /// The keys of an object in the order in which the query selects them. A fragment is taken to apply: which type an
    /// object has is not known here, and a key that the object does not have is of no consequence.
    pub(super) fn collect(&self, selections: &[&'a SelectionSet]) -> Collected<'a> {
        let mut collected = Collected::default();
        let mut visited = HashSet::default();
        for set in selections {
            self.collect_into(set, &mut visited, &mut collected);
        }
        collected
    }

    fn collect_into(
        &self,
        set: &'a SelectionSet,
        visited: &mut HashSet<&'a Name, RandomState>,
        collected: &mut Collected<'a>,
    ) {
        for Positioned {
            node: selection, ..
        } in &set.items
        {
            if self.is_skipped(selection.directives()) {
                continue;
            }
            match selection {
                Selection::Field(field) => add(&field.node, collected),
                Selection::InlineFragment(fragment) => {
                    self.collect_into(&fragment.node.selection_set.node, visited, collected);
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if !visited.insert(name) {
                        continue;
                    }
                    if let Some(fragment) = self.document.fragments.get(name) {
                        self.collect_into(&fragment.node.selection_set.node, visited, collected);
                    }
                }
            }
        }
    }

    fn is_skipped(&self, directives: &[Positioned<Directive>]) -> bool {
        directives.iter().any(
            |Positioned {
                 node: directive, ..
             }| match directive.name.node.as_str() {
                "skip" => self.condition(directive) == Some(true),
                "include" => self.condition(directive) == Some(false),
                _ => false,
            },
        )
    }

    /// The value of `if`: a literal, a variable, or the variable's default.
    fn condition(&self, directive: &Directive) -> Option<bool> {
        let argument = directive.get_argument("if")?.node.clone();
        match argument.into_const_with(|name| self.variable(&name).ok_or(())) {
            Ok(Value::Boolean(value)) => Some(value),
            _ => None,
        }
    }

    fn variable(&self, name: &Name) -> Option<Value> {
        let given = self.variables.get(name).cloned();
        given.or_else(|| {
            let mut definitions = self.operation.variable_definitions.iter();
            definitions
                .find(|definition| definition.node.name.node == *name)?
                .node
                .default_value()
                .cloned()
        })
    }
}

fn is_plainly(value: &Value, expected: &Type) -> bool {
    match (value, &expected.base) {
        (Value::Null, _) => expected.nullable,
        (Value::List(items), BaseType::List(of)) => items.iter().all(|item| is_plainly(item, of)),
        (Value::Boolean(_), BaseType::Named(name)) => name == "Boolean",
        (Value::String(_), BaseType::Named(name)) => {
            !["Boolean", "Int", "Float"].contains(&name.as_str())
        }
        (Value::Number(number), BaseType::Named(name)) => match name.as_str() {
            "Int" => number
                .as_i64()
                .is_some_and(|whole| i32::try_from(whole).is_ok()),
            "Float" => true,
            _ => false,
        },
        _ => false,
    }
}

fn add<'a>(field: &'a Field, collected: &mut Collected<'a>) {
    let key = &field.response_key().node;
    let selection = &field.selection_set.node;
    collected.entry(key).or_default().push(selection);
}
