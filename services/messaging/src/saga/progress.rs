//! The pure heart of a saga: where an instance stands, and where a reply moves it.
//! Not here: rows, messages, clocks; the caller brings the time and carries out what comes back.

use chrono::{DateTime, Utc};

use super::definition::{CommandTemplate, Definition, Role};
use super::retry::RetryPolicy;

/// Where a saga stands. Steps are indices into its definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// The reply to this step's command is awaited.
    Acting(usize),
    /// The reply to this step's compensation is awaited.
    Compensating(usize),
    /// Every step was done.
    Completed,
    /// Every step that had been done was undone.
    Compensated,
}

/// All that changes in an instance while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) position: Position,
    /// Which issue of the awaited command this is, from 1.
    pub(crate) attempt: u32,
    /// When the command is to be issued again; `None` while a reply is awaited.
    pub(crate) due: Option<DateTime<Utc>>,
    /// The code of the failure that turned the saga round.
    pub(crate) reason: Option<String>,
    /// The latest failure of any command.
    pub(crate) last_error: Option<String>,
}

/// A participant's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// The token of the command that it answers, as the command carried it.
    pub(crate) token: String,
    pub(crate) outcome: Result<(), Failure>,
}

/// A participant's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) detail: String,
}

/// What a reply does to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Transition {
    /// The instance moves; `command`, if any, is to be issued with the new position's token.
    Moves {
        progress: Progress,
        command: Option<CommandTemplate>,
    },
    /// The command was refused though it must not be: the same one is issued again at `progress.due`.
    WaitsToRetry {
        progress: Progress,
        due: DateTime<Utc>,
    },
    /// The reply changes nothing.
    Ignores(Ignored),
}

/// Why a reply changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ignored {
    /// The saga had ended.
    Ended,
    /// It answers another command than the one awaited: a duplicate, or late.
    NotAwaited,
}

impl Progress {
    /// An instance whose local first step is being done, with the command of its second.
    pub(crate) fn begin(definition: &Definition) -> (Progress, Option<CommandTemplate>) {
        let progress = Progress {
            position: Position::Acting(0),
            attempt: 1,
            due: None,
            reason: None,
            last_error: None,
        };
        let position = after(definition, 0);
        let command = command(definition, position);
        (
            Progress {
                position,
                ..progress
            },
            command,
        )
    }

    /// What names the awaited command among all commands of this instance: its type, and from the second attempt on
    /// the attempt, as in `ConfirmTicket.2`. `None` after the end and between two attempts, when nothing is awaited.
    pub(crate) fn token(&self, definition: &Definition) -> Option<String> {
        let command = command(definition, self.position)?;
        match (self.due, self.attempt) {
            (Some(_), _) => None,
            (None, 1) => Some(command.kind.to_owned()),
            (None, attempt) => Some(format!("{}.{attempt}", command.kind)),
        }
    }

    /// The same instance once its due time has come, with the command to issue again; `None` if nothing is due by
    /// `now`.
    pub(crate) fn reissue(
        &self,
        definition: &Definition,
        now: DateTime<Utc>,
    ) -> Option<(Progress, CommandTemplate)> {
        let command = command(definition, self.position)?;
        self.due.filter(|due| *due <= now)?;
        Some((
            Progress {
                due: None,
                ..self.clone()
            },
            command,
        ))
    }
}

/// Where `reply` moves an instance of `definition` that stands at `progress`.
pub(crate) fn step(
    definition: &Definition,
    progress: &Progress,
    reply: &Reply,
    retry: RetryPolicy,
    now: DateTime<Utc>,
) -> Transition {
    match (progress.position, &reply.outcome) {
        (Position::Completed | Position::Compensated, _) => Transition::Ignores(Ignored::Ended),
        _ if progress.token(definition).as_deref() != Some(reply.token.as_str()) => {
            Transition::Ignores(Ignored::NotAwaited)
        }
        (Position::Acting(index), Ok(())) => {
            moves(definition, progress.clone(), after(definition, index))
        }
        (Position::Compensating(index), Ok(())) => {
            moves(definition, progress.clone(), before(definition, index))
        }
        (Position::Acting(index), Err(failure))
            if definition.steps()[index].role() != Role::Retriable =>
        {
            let turned = Progress {
                reason: Some(failure.code.clone()),
                last_error: Some(failure.to_string()),
                ..progress.clone()
            };
            moves(definition, turned, before(definition, index))
        }
        (Position::Acting(_) | Position::Compensating(_), Err(failure)) => {
            let due = now + retry.delay(progress.attempt);
            let progress = Progress {
                attempt: progress.attempt.saturating_add(1),
                due: Some(due),
                last_error: Some(failure.to_string()),
                ..progress.clone()
            };
            Transition::WaitsToRetry { progress, due }
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.detail.as_str() {
            "" => formatter.write_str(&self.code),
            detail => write!(formatter, "{}: {detail}", self.code),
        }
    }
}

/// The command whose reply is awaited at `position`.
fn command(definition: &Definition, position: Position) -> Option<CommandTemplate> {
    match position {
        Position::Acting(index) => definition.steps().get(index)?.command(),
        Position::Compensating(index) => definition.steps().get(index)?.compensation(),
        Position::Completed | Position::Compensated => None,
    }
}

fn moves(definition: &Definition, progress: Progress, position: Position) -> Transition {
    Transition::Moves {
        progress: Progress {
            position,
            attempt: 1,
            due: None,
            ..progress
        },
        command: command(definition, position),
    }
}

/// The step after `index`, or the end.
fn after(definition: &Definition, index: usize) -> Position {
    if index + 1 < definition.steps().len() {
        Position::Acting(index + 1)
    } else {
        Position::Completed
    }
}

/// The nearest step before `index` that has something to undo, or the end.
fn before(definition: &Definition, index: usize) -> Position {
    (0..index)
        .rev()
        .find(|index| definition.steps()[*index].compensation().is_some())
        .map_or(Position::Compensated, Position::Compensating)
}

#[cfg(test)]
mod tests;
