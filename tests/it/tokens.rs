//! What a bearer token must not be: one thing wrong at a time, over a socket and before a service of the test's own, which
//! counts its calls. Every answer is the same one of RFC 6750, and none of these requests gets to the service.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ftgo_tests::Client;
use ftgo_tests::bff::Bff;
use ftgo_tests::fleet::overlay_trusting;
use ftgo_tests::issuer::{AUDIENCE, Issuer, LEEWAY, signed_with_secret, unix_time, unsigned};
use ftgo_tests::system::eventually;
use ftgo_tests::upstream::Upstream;
use gateway_core::{Gateway, RunningGateway, config};
use jsonwebtoken::Algorithm;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// RFC 6750, 3.1: the code, and nothing that helps a guesser.
const INVALID: &str = r#"Bearer realm="gateway", error="invalid_token""#;
/// The longest that a refusal may take on a machine that is busy with other tests.
const PROMPTLY: Duration = Duration::from_secs(3);

struct World {
    issuer: Issuer,
    /// Believed as well, with keys of its own under the same names.
    another: Issuer,
    upstream: Upstream,
    gateway: RunningGateway,
    client: Client,
}

impl World {
    async fn start() -> Result<Self> {
        gateway_core::install_crypto();
        let issuer = Issuer::start().await?;
        let another = Issuer::start_another().await?;
        let upstream = Upstream::start().await?;
        let route = "[[routes]]\nname = \"mine\"\npath = \"/x/mine\"\nupstream = \"order\"\n\
                     access = \"authenticated\"\nmethods = [\"GET\"]\n";
        let prefixed = another
            .config()
            .replacen('{', "{ subject_prefix = \"another:\",", 1);
        let issuers = [issuer.config(), prefixed];
        let overlay = overlay_trusting(&issuers, upstream.address, route);
        let config = config::from_text(&[Bff::Mobile.shipped(), &overlay])?;
        let world = Self {
            gateway: Gateway::start(Bff::Mobile.app(), config)?,
            issuer,
            another,
            upstream,
            client: Client::new()?,
        };
        let ready = format!("http://{}/ready", world.gateway.admin_address());
        eventually("both issuers' keys are there", async || {
            let status = world.client.get_raw(&ready).await?.status();
            Ok((status == 200).then_some(()))
        })
        .await?;
        Ok(world)
    }

    fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// What the fields of one request come to: status, challenge, and the problem without what differs by request.
    async fn ask(&self, fields: &[(&str, String)]) -> Result<Refusal> {
        let url = format!("http://{}/x/mine", self.address());
        let mut request = self.client.request(Method::GET, &url);
        for (name, value) in fields {
            request = request.header(*name, value);
        }
        let answer = self.client.send(request).await?;
        let mut problem = answer.body.clone();
        if let Some(members) = problem.as_object_mut() {
            members.remove("requestId");
            members.remove("instance");
        }
        Ok(Refusal {
            status: answer.status,
            challenge: answer.header("www-authenticate").map(str::to_owned),
            problem: problem.to_string(),
            took: answer.took,
        })
    }

    async fn bearer(&self, token: &str) -> Result<Refusal> {
        self.ask(&[("authorization", format!("Bearer {token}"))])
            .await
    }

    /// The claims of a good token with one changed.
    fn with(&self, name: &str, value: impl Into<Value>) -> Result<String> {
        let mut claims = self.issuer.claims();
        claims[name] = value.into();
        self.issuer.token(&claims)
    }

    fn without(&self, name: &str) -> Result<String> {
        let mut claims = self.issuer.claims();
        let members = claims.as_object_mut().context("claims are an object")?;
        members.remove(name).context("no such claim")?;
        self.issuer.token(&claims)
    }

    /// A token whose claims are good, with this header, rightly signed by RS256.
    fn with_header(&self, header: &Value) -> Result<String> {
        let claims = self.issuer.claims().to_string();
        self.issuer.rsa.sign(&header.to_string(), &claims)
    }

    /// The claims of a good token as a text in which `old` is replaced, rightly signed: for what no JSON library writes.
    /// `claims` with another text in place of `old`: what no JSON value says.
    fn with_text(&self, claims: &Value, old: &str, new: &str) -> Result<String> {
        let claims = claims.to_string();
        ensure!(claims.contains(old), "{old} is not in {claims}");
        self.issuer
            .rsa
            .sign(&header("RS256", "rsa"), &claims.replacen(old, new, 1))
    }
}

#[derive(Debug)]
struct Refusal {
    status: u16,
    challenge: Option<String>,
    problem: String,
    took: Duration,
}

fn header(algorithm: &str, kid: &str) -> String {
    json!({"alg": algorithm, "typ": "at+jwt", "kid": kid}).to_string()
}

type Cases = Vec<(&'static str, String)>;

/// The header lies about the algorithm, the key, or what it takes to understand the token.
fn algorithms_and_keys(world: &World) -> Result<Cases> {
    let (issuer, another) = (&world.issuer, &world.another);
    let claims = issuer.claims().to_string();
    let none = |algorithm: &str| unsigned(&header(algorithm, "rsa"), &claims);
    let good = issuer.token(&issuer.claims())?;
    let (_, signature) = good.rsplit_once('.').context("a signature")?;
    let secret = |secret: &[u8]| signed_with_secret(secret, &header("HS256", "rsa"), &claims);
    let modulus = issuer.rsa.jwk["n"].as_str().context("a modulus")?;
    let rs256 = |name: &str, value: Value| {
        let mut header = json!({"alg": "RS256", "typ": "at+jwt", "kid": "rsa"});
        header[name] = value;
        world.with_header(&header)
    };
    let foreign = |header: &Value| another.rsa.sign(&header.to_string(), &claims);
    let jwks = format!("{}/stray-jwks", issuer.url);
    let foreign_key = another.rsa.jwk.clone();
    Ok(vec![
        ("alg none, no signature", format!("{}.", none("none"))),
        ("alg None", format!("{}.", none("None"))),
        ("alg NONE", format!("{}.", none("NONE"))),
        (
            "alg none with a signature",
            format!("{}.{signature}", none("none")),
        ),
        ("alg empty", format!("{}.{signature}", none(""))),
        (
            "HS256 with the public key in PEM",
            secret(issuer.rsa.public_pem.as_bytes())?,
        ),
        (
            "HS256 with the public key in PEM, trimmed",
            secret(issuer.rsa.public_pem.trim().as_bytes())?,
        ),
        (
            "HS256 with the public key in DER",
            secret(&issuer.rsa.public_der)?,
        ),
        (
            "HS256 with the JWK",
            secret(issuer.rsa.jwk.to_string().as_bytes())?,
        ),
        (
            "HS256 with the modulus as text",
            secret(modulus.as_bytes())?,
        ),
        (
            "HS256 with the modulus",
            secret(&URL_SAFE_NO_PAD.decode(modulus)?)?,
        ),
        ("HS256 with an empty secret", secret(b"")?),
        (
            "HS256 with the other key, for that one",
            signed_with_secret(&issuer.ec.public_der, &header("HS256", "ec"), &claims)?,
        ),
        (
            "an algorithm that the issuer is not configured for",
            issuer
                .rsa
                .sign_as(Algorithm::PS256, &header("PS256", "rsa"), &claims)?,
        ),
        (
            "another algorithm than it was signed by",
            issuer.rsa.sign(&header("RS384", "rsa"), &claims)?,
        ),
        (
            "ES256 with the name of an RSA key",
            issuer.ec.sign(&header("ES256", "rsa"), &claims)?,
        ),
        (
            "ES256 over an RSA signature",
            issuer.rsa.sign(&header("ES256", "rsa"), &claims)?,
        ),
        (
            "RS256 with the name of an EC key",
            issuer.rsa.sign(&header("RS256", "ec"), &claims)?,
        ),
        (
            "RS256 over an EC signature",
            issuer.ec.sign(&header("RS256", "rsa"), &claims)?,
        ),
        (
            "alg in lower case",
            issuer.rsa.sign(&header("rs256", "rsa"), &claims)?,
        ),
        ("alg is a list", rs256("alg", json!(["RS256"]))?),
        (
            "no alg",
            world.with_header(&json!({"typ": "at+jwt", "kid": "rsa"}))?,
        ),
        (
            "a kid that nobody knows",
            issuer.rsa.sign(&header("RS256", "no-such-key"), &claims)?,
        ),
        (
            "a kid that is a path",
            issuer
                .rsa
                .sign(&header("RS256", "../../dev/null"), &claims)?,
        ),
        ("a kid that is a number", rs256("kid", json!(1))?),
        (
            "a key of somebody else",
            another.rsa.sign(&header("RS256", "rsa"), &claims)?,
        ),
        (
            "no kid, and a key of somebody else",
            foreign(&json!({"alg": "RS256", "typ": "at+jwt"}))?,
        ),
        (
            "a key that it brings itself",
            foreign(&json!({"alg": "RS256", "typ": "at+jwt", "kid": "own", "jwk": foreign_key}))?,
        ),
        (
            "a key that it brings itself, under a name that is known",
            foreign(&json!({"alg": "RS256", "typ": "at+jwt", "kid": "rsa", "jwk": foreign_key}))?,
        ),
        (
            "a key set that it names itself",
            foreign(&json!({"alg": "RS256", "typ": "at+jwt", "kid": "own", "jku": jwks}))?,
        ),
        (
            "a certificate that it names itself",
            foreign(&json!({"alg": "RS256", "typ": "at+jwt", "kid": "rsa", "x5u": jwks}))?,
        ),
        (
            "a certificate that it brings itself",
            foreign(&json!({
                "alg": "RS256", "typ": "at+jwt", "kid": "rsa",
                "x5c": [STANDARD.encode(&another.rsa.public_der)]
            }))?,
        ),
        ("critical extensions", rs256("crit", json!(["exp"]))?),
        (
            "critical extensions, none of them",
            rs256("crit", json!([]))?,
        ),
        (
            "an unencoded payload, critical",
            world.with_header(&json!({
                "alg": "RS256", "typ": "at+jwt", "kid": "rsa", "b64": false, "crit": ["b64"]
            }))?,
        ),
        ("an unencoded payload", rs256("b64", json!(false))?),
        (
            "no typ",
            world.with_header(&json!({"alg": "RS256", "kid": "rsa"}))?,
        ),
        (
            "the typ of another kind of token",
            rs256("typ", json!("JWT"))?,
        ),
        (
            "the typ of our internal token",
            rs256("typ", json!("internal+jwt"))?,
        ),
        ("a typ that is no text", rs256("typ", json!(["at+jwt"]))?),
        (
            "a header member twice",
            issuer.rsa.sign(
                r#"{"alg":"none","typ":"at+jwt","kid":"rsa","alg":"RS256"}"#,
                &claims,
            )?,
        ),
        (
            "a header member twice, once escaped",
            issuer.rsa.sign(
                r#"{"alg":"RS256","typ":"at+jwt","kid":"rsa","\u0061lg":"RS256"}"#,
                &claims,
            )?,
        ),
        (
            "a header that is a list",
            issuer.rsa.sign(r#"["RS256"]"#, &claims)?,
        ),
        (
            "a header that is no JSON",
            issuer.rsa.sign("RS256", &claims)?,
        ),
        (
            "something behind the header's JSON",
            issuer
                .rsa
                .sign(&format!("{}{{}}", header("RS256", "rsa")), &claims)?,
        ),
    ])
}

/// Rightly signed, and not for us, not now, or from nobody.
fn claims(world: &World) -> Result<Cases> {
    let now = unix_time();
    // Made once: a second later they are others.
    let good = world.issuer.claims();
    let exp = format!("\"exp\":{}", good["exp"]);
    let sub = r#""sub":"someone""#;
    let expires = |text: &str| world.with_text(&good, &exp, &format!("\"exp\":{text}"));
    let mut of_another = world.issuer.claims();
    of_another["iss"] = world.another.url.clone().into();
    Ok(vec![
        (
            "expired by a second, with the leeway",
            world.with("exp", now - LEEWAY - 1)?,
        ),
        ("expired long ago", world.with("exp", 1)?),
        ("exp is missing", world.without("exp")?),
        ("exp is a text", world.with("exp", (now + 300).to_string())?),
        ("exp is null", world.with("exp", Value::Null)?),
        ("exp is negative", expires("-1")?),
        ("exp is minus zero", expires("-0")?),
        ("exp is a fraction, and past", world.with("exp", 1.5)?),
        ("exp is beyond 64 bits", expires("18446744073709551616")?),
        ("exp is beyond any number", expires("1e999")?),
        ("exp is a large float", expires("1e300")?),
        ("exp is true", world.with("exp", true)?),
        ("exp is a list", world.with("exp", json!([now + 300]))?),
        (
            "exp twice",
            world.with_text(&good, &exp, &format!("\"exp\":1,{exp}"))?,
        ),
        ("not valid yet", world.with("nbf", now + LEEWAY + 60)?),
        ("nbf is a text", world.with("nbf", now.to_string())?),
        (
            "nbf is beyond any number",
            world.with_text(&good, "\"nbf\":", "\"nbf\":1e300,\"x\":")?,
        ),
        ("another audience", world.with("aud", "theirs")?),
        (
            "an audience that ours begins",
            world.with("aud", format!("{AUDIENCE}-too"))?,
        ),
        (
            "an audience in other case",
            world.with("aud", AUDIENCE.to_uppercase())?,
        ),
        (
            "several audiences, none ours",
            world.with("aud", json!(["theirs", "others"]))?,
        ),
        ("no audience in a list", world.with("aud", json!([]))?),
        ("an empty audience", world.with("aud", "")?),
        (
            "an audience that is no text",
            world.with("aud", json!([AUDIENCE, 1]))?,
        ),
        (
            "an audience in an object",
            world.with("aud", json!({"0": AUDIENCE}))?,
        ),
        ("aud is missing", world.without("aud")?),
        (
            "an issuer that is not believed",
            world.with("iss", "https://login.example")?,
        ),
        (
            "an issuer with a slash more",
            world.with("iss", format!("{}/", world.issuer.url))?,
        ),
        ("iss is missing", world.without("iss")?),
        (
            "iss is a list",
            world.with("iss", json!([world.issuer.url]))?,
        ),
        (
            "another issuer that is believed, with this one's key",
            world.issuer.token(&of_another)?,
        ),
        (
            "this issuer, with the key of another one",
            world.another.token(&world.issuer.claims())?,
        ),
        ("sub is missing", world.without("sub")?),
        ("sub is a number", world.with("sub", 7)?),
        ("sub is empty", world.with("sub", "")?),
        ("sub is null", world.with("sub", Value::Null)?),
        (
            "sub twice",
            world.with_text(&good, sub, &format!("{sub},{sub}"))?,
        ),
        (
            "sub twice, once escaped",
            world.with_text(&good, sub, &format!(r#"{sub},"su\u0062":"admin""#))?,
        ),
        (
            "a claim of no meaning twice",
            world.with_text(&good, sub, &format!(r#"{sub},"x":1,"x":2"#))?,
        ),
        ("jti is a number", world.with("jti", 1)?),
        ("scope is a number", world.with("scope", 1)?),
        (
            "claims that are a list",
            world.issuer.rsa.sign(&header("RS256", "rsa"), "[]")?,
        ),
        (
            "claims that are no JSON",
            world
                .issuer
                .rsa
                .sign(&header("RS256", "rsa"), "sub=someone")?,
        ),
        (
            "something behind the claims' JSON",
            world.issuer.rsa.sign(
                &header("RS256", "rsa"),
                &format!("{} {{}}", world.issuer.claims()),
            )?,
        ),
    ])
}

/// No token at all, or one with something before, behind or within it.
fn forms(world: &World) -> Result<Cases> {
    let good = world.issuer.token(&world.issuer.claims())?;
    let (message, signature) = good.rsplit_once('.').context("a signature")?;
    let (header, payload) = message.split_once('.').context("a payload")?;
    let padding = "=".repeat((4 - header.len() % 4) % 4);
    let standard = STANDARD.encode(URL_SAFE_NO_PAD.decode(signature)?);
    let spare_bits = spare_bits(signature)?;
    Ok(vec![
        ("one part", "abc".to_owned()),
        ("two parts", message.to_owned()),
        ("no signature", format!("{message}.")),
        ("no payload", format!("{header}..{signature}")),
        ("four parts", format!("{good}.{signature}")),
        ("an empty fourth part", format!("{good}.")),
        ("an empty first part", format!(".{good}")),
        (
            "an encrypted token",
            format!("{header}.{payload}.{payload}.{payload}.{signature}"),
        ),
        ("dots alone", "..".to_owned()),
        (
            "the parts in another order",
            format!("{payload}.{header}.{signature}"),
        ),
        (
            "a cut signature",
            format!("{message}.{}", &signature[..signature.len() - 4]),
        ),
        ("something behind the signature", format!("{good}AAAA")),
        (
            "a character that is none of base64url",
            format!("{header}.{payload}~.{signature}"),
        ),
        (
            "padding",
            format!("{header}{padding}=.{payload}.{signature}"),
        ),
        (
            "a signature in the other base64",
            format!("{message}.{standard}"),
        ),
        (
            "a signature with bits that mean nothing",
            format!("{message}.{spare_bits}"),
        ),
        ("a space within", format!("{header}. {payload}.{signature}")),
        ("a tab within", format!("{header}.\t{payload}.{signature}")),
        ("two tokens", format!("{good} {good}")),
        ("two tokens by comma", format!("{good},{good}")),
        ("in quotes", format!("\"{good}\"")),
        ("a scheme within", format!("Bearer {good}")),
        (
            "an API key where there are none",
            "ftgo_live_0000000000000000000000000000000000000000".to_owned(),
        ),
    ])
}

/// The same bytes, with another last character: what two readers take for two tokens.
fn spare_bits(signature: &str) -> Result<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // 256 bytes end with one byte in two characters: the last four bits mean nothing.
    ensure!(signature.len() % 4 == 2, "no bits to spare");
    let (rest, last) = signature.split_at(signature.len() - 1);
    let index = ALPHABET
        .iter()
        .position(|character| last.as_bytes() == [*character])
        .context("not base64url")?;
    ensure!(index % 16 == 0, "the bits are used already");
    Ok(format!("{rest}{}", char::from(ALPHABET[index + 1])))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_token_gets_the_same_answer_and_never_reaches_the_service() -> Result<()> {
    let world = World::start().await?;
    let mut problems = BTreeSet::new();
    let cases = [
        algorithms_and_keys(&world)?,
        claims(&world)?,
        forms(&world)?,
    ]
    .concat();
    let mut wrong = Vec::new();
    for (what, token) in &cases {
        let refusal = world
            .bearer(token)
            .await
            .with_context(|| (*what).to_owned())?;
        let as_it_must_be = refusal.status == 401
            && refusal.challenge.as_deref() == Some(INVALID)
            && refusal.took < PROMPTLY;
        if !as_it_must_be {
            wrong.push(format!("{what}: {refusal:?}"));
        }
        problems.insert(refusal.problem);
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(cases.len() > 100, "only {} cases", cases.len());
    assert_eq!(
        problems.len(),
        1,
        "answers tell causes apart: {problems:#?}"
    );
    assert_eq!(world.upstream.requests(), 0);
    // Whatever a token names, nothing was fetched from there.
    assert_eq!(world.issuer.strays() + world.another.strays(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unusual_but_right_is_let_in_and_counted() -> Result<()> {
    let world = World::start().await?;
    let now = unix_time();
    let claims = world.issuer.claims();
    let text = claims.to_string();
    let (rsa, ec) = (world.issuer.rsa, world.issuer.ec);
    let good = world.issuer.token(&claims)?;
    let cases = [
        ("nothing special", good.clone()),
        ("another algorithm", ec.sign(&header("ES256", "ec"), &text)?),
        ("another issuer", world.another.token(&world.another.claims())?),
        ("ours among several audiences", world.with("aud", json!(["theirs", AUDIENCE]))?),
        ("one audience in a list", world.with("aud", json!([AUDIENCE]))?),
        ("expired within the leeway", world.with("exp", now - 1)?),
        ("valid soon, within the leeway", world.with("nbf", now + 2)?),
        ("no nbf", world.without("nbf")?),
        ("exp is a fraction", world.with("exp", now as f64 + 100.5)?),
        ("no kid, and one key for the algorithm", world.with_header(&json!({"alg": "RS256", "typ": "at+jwt"}))?),
        ("typ as a whole media type", world.with_header(&json!({"alg": "RS256", "typ": "application/at+jwt", "kid": "rsa"}))?),
        ("an encoded payload, spelled out", world.with_header(&json!({"alg": "RS256", "typ": "at+jwt", "kid": "rsa", "b64": true}))?),
        (
            "a good signature beside keys that it names itself",
            world.with_header(&json!({
                "alg": "RS256", "typ": "at+jwt", "kid": "rsa", "jku": format!("{}/stray", world.issuer.url),
                "jwk": world.another.rsa.jwk
            }))?,
        ),
        ("white space around the claims", rsa.sign(&header("RS256", "rsa"), &format!(" {text}\n"))?),
    ];
    for (what, token) in &cases {
        let answer = world.bearer(token).await?;
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
    }
    let mut expected = cases.len();
    for scheme in ["bearer", "BEARER", "bEaReR", "Bearer  "] {
        let field = ("authorization", format!("{scheme} {good}"));
        assert_eq!(world.ask(&[field]).await?.status, 200, "{scheme}");
        expected += 1;
    }
    assert_eq!(world.upstream.requests(), expected);
    assert_eq!(world.issuer.strays() + world.another.strays(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_stand_in_one_place_once() -> Result<()> {
    let world = World::start().await?;
    let good = world.issuer.token(&world.issuer.claims())?;
    let bearer = || ("authorization", format!("Bearer {good}"));
    let other = |text: &str| ("authorization", text.to_owned());
    let api_key = ("x-api-key", "ftgo_live_0".to_owned());
    for (what, fields, status, challenge) in [
        ("nothing", vec![], 401, Some(r#"Bearer realm="gateway""#)),
        ("an empty token", vec![other("Bearer")], 401, Some(INVALID)),
        (
            "a space for a token",
            vec![other("Bearer  ")],
            401,
            Some(INVALID),
        ),
        (
            "another scheme",
            vec![other("Basic YTpi")],
            401,
            Some(r#"Bearer realm="gateway""#),
        ),
        (
            "a scheme that begins like ours",
            vec![other(&format!("Bearer2 {good}"))],
            401,
            Some(r#"Bearer realm="gateway""#),
        ),
        (
            "no scheme",
            vec![other(&good)],
            401,
            Some(r#"Bearer realm="gateway""#),
        ),
        (
            "a colon",
            vec![other(&format!("Bearer: {good}"))],
            401,
            Some(r#"Bearer realm="gateway""#),
        ),
        // RFC 6750, 3.1: more than one method of credentials is an invalid request.
        ("the same twice", vec![bearer(), bearer()], 400, None),
        (
            "two schemes",
            vec![bearer(), other("Basic YTpi")],
            400,
            None,
        ),
        (
            "a token and a key",
            vec![bearer(), api_key.clone()],
            400,
            None,
        ),
        (
            "a key where there are none",
            vec![api_key],
            401,
            Some(INVALID),
        ),
    ] {
        let refusal = world.ask(&fields).await?;
        assert_eq!(refusal.status, status, "{what}: {refusal:?}");
        assert_eq!(
            refusal.challenge.as_deref(),
            challenge,
            "{what}: {refusal:?}"
        );
        assert!(
            !refusal.problem.contains(&good[..20]),
            "{what}: {refusal:?}"
        );
    }
    assert_eq!(world.upstream.requests(), 0);
    Ok(())
}

/// The status of the answer to a request with this token, which is sent while the answer is read already.
async fn huge(address: SocketAddr, token: &str) -> Result<u16> {
    let request = format!(
        "GET /x/mine HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let (mut answers, mut requests) = TcpStream::connect(address).await?.into_split();
    let sending = tokio::spawn(async move {
        // The gateway need not read all of it.
        let _ = requests.write_all(request.as_bytes()).await;
        requests
    });
    let mut answer = Vec::new();
    timeout(PROMPTLY, async {
        while !answer.ends_with(b"\r\n") && answers.read_buf(&mut answer).await? > 0 {
            if answer.contains(&b'\n') {
                break;
            }
        }
        Ok::<_, std::io::Error>(())
    })
    .await
    .context("no answer in time")??;
    sending.abort();
    let text = String::from_utf8_lossy(&answer);
    let status = text.split(' ').nth(1).context("no answer")?;
    Ok(status.parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_token_is_refused_before_any_work_is_done_for_it() -> Result<()> {
    let world = World::start().await?;
    for (length, statuses) in [
        (8 * 1024, &[401][..]),
        (64 * 1024, &[401, 431]),
        (1024 * 1024, &[431]),
    ] {
        let mut claims = world.issuer.claims();
        claims["padding"] = "x".repeat(length).into();
        let token = world.issuer.token(&claims)?;
        let dots = ".".repeat(length);
        for token in [&token, &dots] {
            let began = Instant::now();
            let status = huge(world.address(), token).await?;
            assert!(statuses.contains(&status), "{length}: {status}");
            assert!(began.elapsed() < PROMPTLY, "{length}");
        }
    }
    assert_eq!(world.upstream.requests(), 0);
    let good = world.issuer.token(&world.issuer.claims())?;
    assert_eq!(world.bearer(&good).await?.status, 200);
    Ok(())
}
