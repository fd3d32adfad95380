//! Collects what is wrong with a draft, and where: all of it at once, so that nobody has to fix it one answer at a time.
//! The rules are with the types that have them.

use ftgo_chassis::FieldError;

/// The broken rules found so far.
#[derive(Debug, Default)]
pub(crate) struct Violations(Vec<FieldError>);

impl Violations {
    pub(crate) fn add(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.0.push(FieldError::new(pointer, detail));
    }

    pub(crate) fn add_all(&mut self, errors: Vec<FieldError>) {
        self.0.extend(errors);
    }

    /// Text that a person is to read: not blank, and at most `longest` characters.
    pub(crate) fn check_text(&mut self, pointer: impl Into<String>, text: &str, longest: usize) {
        if text.trim().is_empty() {
            self.add(pointer, "must not be empty");
        } else if text.chars().count() > longest {
            self.add(pointer, format!("must be at most {longest} characters"));
        }
    }

    /// `valid`, if nothing was found.
    pub(crate) fn into_result<T>(self, valid: T) -> Result<T, Vec<FieldError>> {
        if self.0.is_empty() {
            Ok(valid)
        } else {
            Err(self.0)
        }
    }
}
