//! Strict Host (RFC 9112, 3.2): a request without exactly one host is refused before anything is routed by it.

use http::header::HOST;
use http::{Request, Version};

use crate::error::Error;

pub(super) fn check<B>(request: &Request<B>) -> Result<(), Error> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Error::bad_request("A request has one Host header."));
    }
    // HTTP/2 names the host in `:authority`.
    let named = first.is_some_and(|host| !host.is_empty())
        || request.version() == Version::HTTP_2 && request.uri().authority().is_some();
    if named {
        Ok(())
    } else {
        Err(Error::bad_request("A request names its host."))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn exactly_one_host() {
        let request = |hosts: &[&str]| {
            let mut builder = Request::builder().uri("/");
            for host in hosts {
                builder = builder.header(HOST, *host);
            }
            builder.body(()).unwrap()
        };
        assert!(check(&request(&["a.example"])).is_ok());
        assert!(check(&request(&[])).is_err());
        assert!(check(&request(&[""])).is_err());
        assert!(check(&request(&["a.example", "a.example"])).is_err());
    }

    #[test]
    fn http2_names_it_in_the_authority() {
        let request = Request::builder()
            .version(Version::HTTP_2)
            .uri("http://a.example/")
            .body(())
            .unwrap();
        assert!(check(&request).is_ok());
    }
}
