//! The parameters of a request as OAuth reads them: no name twice, an empty value is none (RFC 6749, 3.1). Not here: what
//! they mean.

use url::form_urlencoded;

/// The decoded pairs of a query string or a form, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

/// A parameter that stands in the request more than once.
#[derive(Debug, thiserror::Error)]
#[error("the parameter {0} is repeated")]
pub(super) struct Repeated(&'static str);

impl Parameters {
    pub(super) fn parse(encoded: &[u8]) -> Self {
        Parameters(form_urlencoded::parse(encoded).into_owned().collect())
    }

    /// The value of `name`; `None` when it is missing or empty.
    pub(super) fn get(&self, name: &'static str) -> Result<Option<&str>, Repeated> {
        let mut values = self
            .0
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_str());
        let first = values.next();
        if values.next().is_some() {
            return Err(Repeated(name));
        }
        Ok(first.filter(|value| !value.is_empty()))
    }

    /// Every pair but those called like one of `names`.
    pub(super) fn without(&self, names: &[&str]) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .filter(move |(key, _)| !names.contains(key))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::Parameters;

    #[test]
    fn an_empty_value_is_none_and_a_second_one_is_a_fault() {
        let parameters = Parameters::parse(b"scope=a+b&state=&client_id=x&client_id=");
        assert_eq!(parameters.get("scope").unwrap(), Some("a b"));
        assert_eq!(parameters.get("state").unwrap(), None);
        assert_eq!(parameters.get("nonce").unwrap(), None);
        assert_eq!(
            parameters.get("client_id").unwrap_err().to_string(),
            "the parameter client_id is repeated"
        );
    }
}
