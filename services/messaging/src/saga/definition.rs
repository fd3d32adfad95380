//! What a saga consists of, as data that is checked when it is compiled.
//! Not here: how an instance walks through it (`progress`).

/// The field that a command takes from the failure that turned its saga round, not from the saga's data.
///
/// Its value is the failure's code, e.g. `"LIMIT_EXCEEDED"`. Only compensations may carry it.
pub const REASON: &str = "reason";

/// One kind of saga: its steps, in order.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    kind: &'static str,
    steps: &'static [Step],
}

/// One step of a saga.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    name: &'static str,
    role: Role,
    command: Option<CommandTemplate>,
    compensation: Option<CommandTemplate>,
}

/// What a failure of a step means for its saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Its failure turns the saga round; once done it can be undone.
    Compensatable,
    /// Its failure turns the saga round; once done there is no way back.
    Pivot,
    /// Cannot be refused: issued again until it succeeds.
    Retriable,
}

/// A command before it is filled in: where it goes, its type, and which fields of the saga's data it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandTemplate {
    pub topic: &'static str,
    pub kind: &'static str,
    pub fields: &'static [&'static str],
}

impl Definition {
    /// A saga with these steps.
    ///
    /// # Panics
    ///
    /// At compile time, when it stands in a `const`: unless the first step is the only local one, exactly one step is
    /// the pivot, all before it are compensatable and all after it retriable.
    pub const fn new(kind: &'static str, steps: &'static [Step]) -> Definition {
        assert!(
            steps.len() >= 2,
            "a saga has a local first step and at least a pivot"
        );
        let mut pivots = 0;
        let mut index = 0;
        while index < steps.len() {
            let step = &steps[index];
            assert!(
                (index == 0) == step.command.is_none(),
                "the first step is local, and no other is"
            );
            match step.role {
                Role::Compensatable => {
                    assert!(pivots == 0, "a compensatable step stands before the pivot");
                }
                Role::Pivot => pivots += 1,
                Role::Retriable => assert!(pivots == 1, "a retriable step stands after the pivot"),
            }
            index += 1;
        }
        assert!(pivots == 1, "a saga has exactly one pivot");
        Definition { kind, steps }
    }

    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    pub const fn steps(&self) -> &'static [Step] {
        self.steps
    }

    /// The index of the step of this name.
    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.name == name)
    }

    /// The first field that some command of this saga carries and `data` lacks.
    pub(crate) fn missing_field(
        &self,
        data: &serde_json::Map<String, serde_json::Value>,
    ) -> Option<&'static str> {
        self.steps
            .iter()
            .flat_map(|step| {
                let command = step.command.iter().flat_map(|command| command.fields);
                let compensation = step.compensation.iter().flat_map(|command| command.fields);
                command.chain(compensation.filter(|field| **field != REASON))
            })
            .copied()
            .find(|field| !data.contains_key(*field))
    }
}

impl Step {
    /// The first step: done by whoever starts the saga, in the same transaction, and undone by a command.
    pub const fn local(name: &'static str, compensation: CommandTemplate) -> Step {
        Step {
            name,
            role: Role::Compensatable,
            command: None,
            compensation: Some(compensation),
        }
    }

    /// A step that leaves something behind which `compensation` takes away.
    pub const fn compensatable(command: CommandTemplate, compensation: CommandTemplate) -> Step {
        Step {
            name: command.kind,
            role: Role::Compensatable,
            command: Some(command),
            compensation: Some(compensation),
        }
    }

    /// A step before the pivot that changes nothing, so that there is nothing to undo.
    pub const fn verification(command: CommandTemplate) -> Step {
        Step {
            name: command.kind,
            role: Role::Compensatable,
            command: Some(command),
            compensation: None,
        }
    }

    /// The go or no-go of the saga.
    pub const fn pivot(command: CommandTemplate) -> Step {
        Step {
            name: command.kind,
            role: Role::Pivot,
            command: Some(command),
            compensation: None,
        }
    }

    /// A step after the pivot.
    pub const fn retriable(command: CommandTemplate) -> Step {
        Step {
            name: command.kind,
            role: Role::Retriable,
            command: Some(command),
            compensation: None,
        }
    }

    /// The name of a local step, or the type of the step's command.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    pub const fn role(&self) -> Role {
        self.role
    }

    pub(crate) const fn command(&self) -> Option<CommandTemplate> {
        self.command
    }

    pub(crate) const fn compensation(&self) -> Option<CommandTemplate> {
        self.compensation
    }
}

impl CommandTemplate {
    pub const fn new(
        topic: &'static str,
        kind: &'static str,
        fields: &'static [&'static str],
    ) -> CommandTemplate {
        CommandTemplate {
            topic,
            kind,
            fields,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CommandTemplate, Definition, REASON, Step};
    use serde_json::json;

    const fn to(kind: &'static str, fields: &'static [&'static str]) -> CommandTemplate {
        CommandTemplate::new("t.commands", kind, fields)
    }

    const SAGA: Definition = Definition::new(
        "S",
        &[
            Step::local("Begin", to("Undo", &["id", REASON])),
            Step::pivot(to("Pay", &["id", "amount"])),
        ],
    );

    #[test]
    fn a_start_without_a_field_that_some_command_needs_is_noticed() {
        let missing = |data: serde_json::Value| {
            SAGA.missing_field(data.as_object().unwrap_or(&serde_json::Map::new()))
        };
        assert_eq!(missing(json!({"id": "1"})), Some("amount"));
        assert_eq!(
            missing(json!({"id": "1", "amount": "2"})),
            None,
            "the reason comes from the failure"
        );
    }

    fn defined(steps: Vec<Step>) -> Definition {
        Definition::new("S", steps.leak())
    }

    #[test]
    #[should_panic(expected = "exactly one pivot")]
    fn a_saga_without_a_pivot_is_refused() {
        let _ = defined(vec![
            Step::local("Begin", to("Undo", &[])),
            Step::verification(to("Check", &[])),
        ]);
    }

    #[test]
    #[should_panic(expected = "before the pivot")]
    fn a_compensatable_step_after_the_pivot_is_refused() {
        let _ = defined(vec![
            Step::local("Begin", to("Undo", &[])),
            Step::pivot(to("Pay", &[])),
            Step::compensatable(to("Make", &[]), to("Unmake", &[])),
        ]);
    }

    #[test]
    #[should_panic(expected = "after the pivot")]
    fn a_retriable_step_before_the_pivot_is_refused() {
        let _ = defined(vec![
            Step::local("Begin", to("Undo", &[])),
            Step::retriable(to("Confirm", &[])),
            Step::pivot(to("Pay", &[])),
        ]);
    }

    #[test]
    #[should_panic(expected = "the first step is local")]
    fn a_saga_that_begins_with_a_command_is_refused() {
        let _ = defined(vec![
            Step::pivot(to("Pay", &[])),
            Step::retriable(to("Confirm", &[])),
        ]);
    }
}
