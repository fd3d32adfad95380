//! What of a browser matters for signing in: cookies by host (whatever the port), redirects one by one, and the fields that
//! say where a request comes from. It runs no scripts.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Method, RequestBuilder, Response, Url};

const TIMEOUT: Duration = Duration::from_secs(20);
const MOST_REDIRECTS: usize = 12;

pub struct Browser {
    http: reqwest::Client,
    /// By host, then by name.
    jar: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
    /// Every `Set-Cookie` so far.
    pub set_cookies: Mutex<Vec<String>>,
}

impl Browser {
    pub fn new() -> Result<Self> {
        Self::believing("")
    }

    /// One that believes these certificates (PEM), and no other.
    pub fn believing(certificates: &str) -> Result<Self> {
        Ok(Self {
            http: reqwest::Client::builder()
                .timeout(TIMEOUT)
                .redirect(Policy::none())
                .tls_certs_only(Certificate::from_pem_bundle(certificates.as_bytes())?)
                .build()?,
            jar: Mutex::default(),
            set_cookies: Mutex::default(),
        })
    }

    /// A person opens `url`: the answer, its cookies kept. Redirects are not followed.
    pub async fn open(&self, url: &str) -> Result<Response> {
        let request = self
            .request(Method::GET, url)?
            .header("sec-fetch-site", "none")
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-user", "?1");
        self.send(request).await
    }

    /// The same, and on to where the redirects end. With the URL that is shown then.
    pub async fn visit(&self, url: &str) -> Result<(Url, Response)> {
        let mut url = Url::parse(url)?;
        for _ in 0..MOST_REDIRECTS {
            let response = self.open(url.as_str()).await?;
            match location(&response) {
                Some(next) => url = url.join(&next)?,
                None => return Ok((url, response)),
            }
        }
        anyhow::bail!("redirects without an end, at {url}")
    }

    /// A form of the page at `url`'s own origin is sent.
    pub async fn submit(&self, url: &str, form: &[(String, String)]) -> Result<Response> {
        let request = self
            .request(Method::POST, url)?
            .header("sec-fetch-site", "same-origin")
            .header("origin", origin(url)?)
            .form(form);
        self.send(request).await
    }

    /// What a script of our own pages sends.
    pub fn script(&self, method: Method, url: &str) -> Result<RequestBuilder> {
        Ok(self
            .request(method, url)?
            .header("sec-fetch-site", "same-origin")
            .header("origin", origin(url)?)
            .header("x-csrf", "1"))
    }

    /// A request with the cookies of `url`'s host, and nothing else.
    pub fn request(&self, method: Method, url: &str) -> Result<RequestBuilder> {
        let host = Url::parse(url)?.host_str().context("no host")?.to_owned();
        let request = self.http.request(method, url);
        let jar = self.jar.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs: Vec<String> = jar
            .get(&host)
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        Ok(if pairs.is_empty() {
            request
        } else {
            request.header(COOKIE, pairs.join("; "))
        })
    }

    pub async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await?;
        let host = response.url().host_str().context("no host")?.to_owned();
        for line in response.headers().get_all(SET_COOKIE) {
            self.keep(&host, line.to_str()?)?;
        }
        Ok(response)
    }

    /// The value of a cookie.
    pub fn cookie(&self, host: &str, name: &str) -> Option<String> {
        let jar = self.jar.lock().unwrap_or_else(PoisonError::into_inner);
        jar.get(host)?.get(name).cloned()
    }

    /// The names of all cookies of a host.
    pub fn cookies(&self, host: &str) -> Vec<String> {
        let jar = self.jar.lock().unwrap_or_else(PoisonError::into_inner);
        jar.get(host)
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect()
    }

    pub fn put_cookie(&self, host: &str, name: &str, value: &str) {
        let mut jar = self.jar.lock().unwrap_or_else(PoisonError::into_inner);
        let of_host = jar.entry(host.to_owned()).or_default();
        of_host.insert(name.to_owned(), value.to_owned());
    }

    pub fn drop_cookie(&self, host: &str, name: &str) {
        let mut jar = self.jar.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_host) = jar.get_mut(host) {
            of_host.remove(name);
        }
    }

    /// RFC 6265bis, 5.6 and 5.7, as far as servers under test need it.
    fn keep(&self, host: &str, line: &str) -> Result<()> {
        self.set_cookies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line.to_owned());
        let mut parts = line.split(';').map(str::trim);
        let (name, value) = parts
            .next()
            .and_then(|pair| pair.split_once('='))
            .context("no cookie")?;
        let attributes: Vec<String> = parts.map(str::to_ascii_lowercase).collect();
        let has = |text: &str| attributes.iter().any(|attribute| attribute == text);
        if name.starts_with("__Host-") {
            let has_domain = attributes.iter().any(|one| one.starts_with("domain"));
            ensure!(
                has("secure") && has("path=/") && !has_domain,
                "refused: {line}"
            );
        }
        if has("max-age=0")
            || attributes
                .iter()
                .any(|one| one.starts_with("expires=thu, 01 jan 1970"))
        {
            self.drop_cookie(host, name);
        } else {
            self.put_cookie(host, name, value);
        }
        Ok(())
    }
}

/// Where an answer sends the browser.
pub fn location(response: &Response) -> Option<String> {
    if !response.status().is_redirection() {
        return None;
    }
    let location = response.headers().get(LOCATION)?;
    Some(location.to_str().ok()?.to_owned())
}

/// One parameter of a URL's query.
pub fn parameter(url: &str, name: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    url.query_pairs()
        .find_map(|(found, value)| (found == name).then(|| value.into_owned()))
}

fn origin(url: &str) -> Result<String> {
    Ok(Url::parse(url)?.origin().ascii_serialization())
}
