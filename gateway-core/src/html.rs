//! Text that becomes markup. Only literals of the code are markup; everything else is escaped, wherever it came from.

use std::fmt::{Display, Write};

/// A document, or a part of one.
#[derive(Debug, Default)]
pub(crate) struct Html {
    text: String,
}

impl Html {
    /// Takes literals: use [`html!`].
    pub(crate) fn markup(&mut self, literal: &'static str) {
        self.text.push_str(literal);
    }

    /// Good between tags, and in the quotes of an attribute.
    pub(crate) fn text(&mut self, value: impl Display) {
        // Writing to a string does not fail.
        let _ = write!(Escaped(&mut self.text), "{value}");
    }

    pub(crate) fn into_string(self) -> String {
        self.text
    }
}

struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                other => self.0.push(other),
            }
        }
        Ok(())
    }
}

/// Writes markup: literals as they are, values in braces escaped. `html!(out, "<b>" {name} "</b>")`.
macro_rules! html {
    ($out:expr, $($piece:tt)*) => {{
        $(html!(@ $out, $piece);)*
    }};
    (@ $out:expr, { $value:expr }) => {
        $out.text($value)
    };
    (@ $out:expr, $literal:literal) => {
        // `concat!` takes nothing but literals.
        $out.markup(concat!($literal))
    };
}
pub(crate) use html;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_never_become_markup() {
        let mut out = Html::default();
        let evil = "\"><script>alert('1')</script>&amp;";
        html!(out, "<a title=\"" {evil} "\">" {evil} {format_args!("{}", 1.5)} "</a>");
        assert_eq!(
            out.into_string(),
            "<a title=\"&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;amp;\">\
             &quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;amp;1.5</a>"
        );
    }
}
