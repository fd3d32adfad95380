//! What the schema may lose: nothing that the last release had, unless it was deprecated there. What the schema is now is
//! a snapshot (`tests.rs`); that of the last release is `snapshots/released.graphql`, which changes with a release alone.

use std::collections::{BTreeMap, BTreeSet};

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, ConstDirective, FieldDefinition, InputValueDefinition, Type, TypeDefinition,
    TypeKind, TypeSystemDefinition,
};
use async_graphql::{Positioned, SDLExportOptions};

const RELEASED: &str = include_str!("../snapshots/released.graphql");

#[test]
fn nothing_is_gone_that_was_released_and_not_deprecated() {
    let now = crate::graphql::sdl(SDLExportOptions::new().sorted_fields());
    assert_eq!(losses(RELEASED, &now), Vec::<String>::new());
}

#[test]
fn the_released_schema_is_that_of_this_version() {
    let expected = format!("# The schema of release {}", env!("CARGO_PKG_VERSION"));
    let first = RELEASED.lines().next().unwrap_or_default();
    assert!(
        first.starts_with(&expected),
        "{first}: who raises the version writes the schema of that release into released.graphql (CONTRIBUTING.md)"
    );
}

#[test]
fn losses_are_found() {
    let released = "
        type Query { widget(id: ID!, size: Int = 3, old: Int @deprecated): Widget old: Old @deprecated widgets: [Widget!]! }
        type Widget implements Named { name: String! colour: Colour weight: Int }
        interface Named { name: String! }
        union Thing = Widget | Old
        type Old { name: String! }
        enum Colour { RED GREEN OLIVE @deprecated }
        input New { name: String! size: Int old: Int @deprecated }
        type Mutation { add(new: New): Widget }
        schema { query: Query mutation: Mutation }";
    let losses_of = |from: &str, to: &str| {
        assert!(released.contains(from), "{from}");
        losses(released, &released.replace(from, to))
    };
    let none: [&str; 0] = [];
    assert_eq!(losses_of("weight: Int", "weight: Int!"), none);
    assert_eq!(
        losses_of("weight: Int", "weight(of: Int): Int more: Int"),
        none
    );
    assert_eq!(losses_of("id: ID!", "id: ID"), none);
    assert_eq!(losses_of(", old: Int @deprecated", ""), none);
    assert_eq!(losses_of("OLIVE @deprecated", "BLUE"), none);
    assert_eq!(losses_of("old: Int @deprecated }", "new: Int }"), none);
    // Who used the deprecated field was told; nobody else could have met its type.
    let gone = released
        .replace("old: Old @deprecated", "")
        .replace("type Old { name: String! }", "")
        .replace(" | Old", "");
    assert_eq!(losses(released, &gone), ["Thing: Old is gone"]);

    for (from, to, loss) in [
        ("weight: Int", "", "Widget.weight is gone"),
        (
            "weight: Int",
            "weight: Float",
            "Widget.weight: Int has become Float",
        ),
        (
            "weight: Int",
            "weight(of: Int!): Int",
            "Widget.weight(of) is required now",
        ),
        (
            "[Widget!]!",
            "[Widget]!",
            "Query.widgets: [Widget!]! has become [Widget]!",
        ),
        (
            "[Widget!]!",
            "Widget!",
            "Query.widgets: [Widget!]! has become Widget!",
        ),
        ("size: Int = 3, ", "", "Query.widget(size) is gone"),
        (
            "size: Int = 3",
            "size: Int = 4",
            "Query.widget(size): the default 3 has become 4",
        ),
        (
            "size: Int = 3",
            "size: Int! = 3",
            "Query.widget(size): Int has become Int!",
        ),
        ("RED ", "", "Colour.RED is gone"),
        ("size: Int old", "old", "New.size is gone"),
        (
            "name: String! size: Int old",
            "name: String! size: Int! old",
            "New.size: Int has become Int!",
        ),
        (
            "input New {",
            "input New { more: Int!",
            "New.more is required now",
        ),
        (" implements Named", "", "Widget: Named is gone"),
        (
            "Thing = Widget | Old",
            "Thing = Old",
            "Thing: Widget is gone",
        ),
        (
            "enum Colour { RED GREEN OLIVE @deprecated }",
            "scalar Colour",
            "Colour is another kind of type",
        ),
        (
            "enum Colour { RED GREEN OLIVE @deprecated }",
            "",
            "Colour is gone",
        ),
        (" mutation: Mutation", "", "mutation is gone"),
    ] {
        assert_eq!(losses_of(from, to), [loss], "{from} → {to}");
    }
}

/// What clients of `released` may have written that `now` does not understand, or answers with what they do not expect.
fn losses(released: &str, now: &str) -> Vec<String> {
    let (released, now) = (Schema::parse(released), Schema::parse(now));
    let mut losses = Vec::new();
    for (operation, root) in &released.roots {
        match now.roots.get(operation) {
            Some(found) if found == root => {}
            Some(found) => losses.push(format!("{operation}: {root} has become {found}")),
            None => losses.push(format!("{operation} is gone")),
        }
    }
    for name in released.in_use() {
        let before = &released.types[&name];
        match now.types.get(&name) {
            Some(after) => compare(before, after, &mut losses),
            None => losses.push(format!("{name} is gone")),
        }
    }
    losses
}

struct Schema {
    types: BTreeMap<String, TypeDefinition>,
    /// By operation: "query" → "Query".
    roots: BTreeMap<&'static str, String>,
}

impl Schema {
    fn parse(text: &str) -> Self {
        let mut types = BTreeMap::new();
        let mut roots = BTreeMap::new();
        for definition in parse_schema(text).unwrap().definitions {
            match definition {
                TypeSystemDefinition::Type(definition) => {
                    let definition = definition.node;
                    types.insert(definition.name.node.to_string(), definition);
                }
                TypeSystemDefinition::Schema(schema) => {
                    let schema = schema.node;
                    for (operation, root) in [
                        ("query", schema.query),
                        ("mutation", schema.mutation),
                        ("subscription", schema.subscription),
                    ] {
                        roots.extend(root.map(|root| (operation, root.node.to_string())));
                    }
                }
                TypeSystemDefinition::Directive(_) => {}
            }
        }
        Self { types, roots }
    }

    /// The types that a client can meet without anything deprecated on the way. Those that nothing leads to are among them:
    /// interfaces and unions know of each other by name.
    fn in_use(&self) -> BTreeSet<String> {
        let deprecated_only = |name: &str| {
            let mut uses = self.uses().filter(|(used, _)| *used == name).peekable();
            uses.peek().is_some() && uses.all(|(_, deprecated)| deprecated)
        };
        self.types
            .keys()
            .filter(|name| !deprecated_only(name))
            .cloned()
            .collect()
    }

    /// Every mention of a type, and whether it is deprecated.
    fn uses(&self) -> impl Iterator<Item = (&str, bool)> {
        self.types.values().flat_map(|definition| {
            let mut uses = Vec::new();
            let (fields, inputs) = members(definition);
            for field in fields {
                let gone = is_deprecated(&field.node.directives);
                uses.push((named(&field.node.ty.node), gone));
                uses.extend(field.node.arguments.iter().map(|argument| {
                    let argument = &argument.node;
                    let gone = gone || is_deprecated(&argument.directives);
                    (named(&argument.ty.node), gone)
                }));
            }
            uses.extend(inputs.iter().map(|input| {
                let input = &input.node;
                (named(&input.ty.node), is_deprecated(&input.directives))
            }));
            uses
        })
    }
}

type Members<'a> = (
    &'a [Positioned<FieldDefinition>],
    &'a [Positioned<InputValueDefinition>],
);

/// The fields of a type that is answered, and those of one that is sent.
fn members(definition: &TypeDefinition) -> Members<'_> {
    match &definition.kind {
        TypeKind::Object(object) => (&object.fields, &[]),
        TypeKind::Interface(interface) => (&interface.fields, &[]),
        TypeKind::InputObject(input) => (&[], &input.fields),
        TypeKind::Scalar | TypeKind::Union(_) | TypeKind::Enum(_) => (&[], &[]),
    }
}

fn compare(before: &TypeDefinition, after: &TypeDefinition, losses: &mut Vec<String>) {
    let name = before.name.node.as_str();
    if std::mem::discriminant(&before.kind) != std::mem::discriminant(&after.kind) {
        losses.push(format!("{name} is another kind of type"));
        return;
    }
    for gone in names(before).difference(&names(after)) {
        losses.push(format!("{name}: {gone} is gone"));
    }
    if let (TypeKind::Enum(before), TypeKind::Enum(after)) = (&before.kind, &after.kind) {
        for value in before.values.iter().map(|value| &value.node) {
            let stays = after
                .values
                .iter()
                .any(|known| known.node.value.node == value.value.node);
            if !stays && !is_deprecated(&value.directives) {
                losses.push(format!("{name}.{} is gone", value.value.node));
            }
        }
    }
    let ((fields, inputs), (fields_after, inputs_after)) = (members(before), members(after));
    compare_inputs(
        inputs,
        inputs_after,
        |input| format!("{name}.{input}"),
        losses,
    );
    for field in fields.iter().map(|field| &field.node) {
        let path = format!("{name}.{}", field.name.node);
        let found = fields_after
            .iter()
            .find(|known| known.node.name.node == field.name.node);
        let Some(Positioned { node: found, .. }) = found else {
            if !is_deprecated(&field.directives) {
                losses.push(format!("{path} is gone"));
            }
            continue;
        };
        let (was, is) = (&field.ty.node, &found.ty.node);
        if !is_narrower(is, was) {
            losses.push(format!("{path}: {was} has become {is}"));
        }
        let of = |argument: &str| format!("{path}({argument})");
        compare_inputs(&field.arguments, &found.arguments, of, losses);
    }
}

/// Arguments, or the fields of what is sent.
fn compare_inputs(
    before: &[Positioned<InputValueDefinition>],
    after: &[Positioned<InputValueDefinition>],
    path: impl Fn(&str) -> String,
    losses: &mut Vec<String>,
) {
    let find = |among: &'_ [Positioned<InputValueDefinition>], name: &str| {
        let found = among.iter().find(|known| known.node.name.node == name);
        found.map(|found| found.node.clone())
    };
    for input in before.iter().map(|input| &input.node) {
        let path = path(&input.name.node);
        let Some(found) = find(after, &input.name.node) else {
            if !is_deprecated(&input.directives) {
                losses.push(format!("{path} is gone"));
            }
            continue;
        };
        let (was, is) = (&input.ty.node, &found.ty.node);
        if !is_narrower(was, is) {
            losses.push(format!("{path}: {was} has become {is}"));
        }
        let default = |input: &InputValueDefinition| {
            let default = input.default_value.as_ref();
            default.map_or_else(|| "none".to_owned(), |value| value.node.to_string())
        };
        let (was, is) = (default(input), default(&found));
        if was != is {
            losses.push(format!("{path}: the default {was} has become {is}"));
        }
    }
    for input in after.iter().map(|input| &input.node) {
        let is_new = find(before, &input.name.node).is_none();
        if is_new && !input.ty.node.nullable && input.default_value.is_none() {
            losses.push(format!("{} is required now", path(&input.name.node)));
        }
    }
}

/// Interfaces of a type, members of a union.
fn names(definition: &TypeDefinition) -> BTreeSet<&str> {
    let names = match &definition.kind {
        TypeKind::Object(object) => &object.implements,
        TypeKind::Interface(interface) => &interface.implements,
        TypeKind::Union(union) => &union.members,
        TypeKind::Scalar | TypeKind::Enum(_) | TypeKind::InputObject(_) => return BTreeSet::new(),
    };
    names.iter().map(|name| name.node.as_str()).collect()
}

/// Whether whoever expects `wide` is content with `narrow`.
fn is_narrower(narrow: &Type, wide: &Type) -> bool {
    let same = match (&narrow.base, &wide.base) {
        (BaseType::Named(narrow), BaseType::Named(wide)) => narrow == wide,
        (BaseType::List(narrow), BaseType::List(wide)) => is_narrower(narrow, wide),
        (BaseType::Named(_), BaseType::List(_)) | (BaseType::List(_), BaseType::Named(_)) => false,
    };
    same && (wide.nullable || !narrow.nullable)
}

fn named(of: &Type) -> &str {
    match &of.base {
        BaseType::Named(name) => name,
        BaseType::List(of) => named(of),
    }
}

fn is_deprecated(directives: &[Positioned<ConstDirective>]) -> bool {
    directives
        .iter()
        .any(|directive| directive.node.name.node == "deprecated")
}
