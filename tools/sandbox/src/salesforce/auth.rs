//! Sessions: who may call at all, and the OAuth grants that open one.
//!
//! Source: "OAuth Authorization Flows", "OAuth 2.0 Error Responses" and "Identity URLs" in the Salesforce Help.

use std::collections::BTreeMap;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::{
    faults::Mishap,
    org::{Org, Val},
    service::{Call, DAILY, Reply, Service, form, locked},
};

/// Seconds that a session is good for, as the login result tells; nothing here waits for them.
pub(crate) const SESSION_SECONDS: i64 = 7_200;
/// The grant of a signed assertion (RFC 7523).
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Credentials that are accepted.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    /// The login of the integration user.
    pub(crate) username: String,
    pub(crate) password: String,
    /// What may follow the password; this network is trusted, so it need not.
    pub(crate) security_token: String,
    pub(crate) refresh_token: String,
}

/// What was given out.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// Tokens that are accepted.
    live: Vec<String>,
    issued: u64,
    /// Codes of the web flow, each with its redirect and its challenge.
    codes: BTreeMap<String, (String, Option<String>)>,
    refresh_revoked: bool,
    /// The public key of the connected app's certificate, for signed assertions.
    key: Option<Vec<u8>>,
}

/// Why a call is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Session,
    Unavailable,
    Quota,
}

/// A call that was let in, or was not.
#[derive(Debug)]
pub(crate) struct Admission {
    /// `Sforce-Limit-Info`, once the call counts.
    pub(crate) info: Option<String>,
    pub(crate) refusal: Option<Refusal>,
    /// Whether its answer gets lost.
    pub(crate) lost: bool,
}

impl Service {
    /// Makes a token that is accepted from now on.
    pub(crate) fn issue(&self) -> String {
        let org = self.org().id.short();
        let mut sessions = locked(&self.sessions);
        let hash = blake3::hash(format!("{}/{}", self.seed, sessions.issued).as_bytes()).to_hex();
        let token = format!("{org}!AQ{}", &hash[..48]);
        sessions.issued += 1;
        sessions.live.push(token.clone());
        token
    }

    /// Forgets every session.
    pub(crate) fn expire(&self) {
        locked(&self.sessions).live.clear();
    }

    /// Ends one session, and says whether there was one.
    pub(crate) fn end_session(&self, token: &str) -> bool {
        let mut sessions = locked(&self.sessions);
        let before = sessions.live.len();
        sessions.live.retain(|known| known != token);
        sessions.live.len() < before
    }

    pub(crate) fn is_session(&self, token: &str) -> bool {
        locked(&self.sessions).live.iter().any(|known| known == token)
    }

    /// Takes the certificate, or the public key, that signed assertions are checked with.
    pub(crate) fn trust(&self, pem: &str) -> bool {
        let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
        let key = STANDARD.decode(base64).ok().and_then(|der| rsa_key(&der).map(<[u8]>::to_vec));
        let good = key.is_some();
        locked(&self.sessions).key = key;
        good
    }

    /// Lets a call pass if its session is good and the allowance is not used up; faults come here.
    pub(crate) fn admit(&self, token: Option<&str>, writes: bool) -> Admission {
        let Mishap { expired, unavailable, quota, lost, dropped } = locked(&self.faults).before(writes);
        if expired {
            self.expire();
        }
        if !token.is_some_and(|token| self.is_session(token)) {
            return Admission { info: None, refusal: Some(Refusal::Session), lost: false };
        }
        let used = self.count(1);
        let refusal = if unavailable || dropped {
            Some(Refusal::Unavailable)
        } else {
            (quota || (self.limited && used > DAILY)).then_some(Refusal::Quota)
        };
        Admission {
            info: Some(format!("api-usage={used}/{DAILY}")),
            refusal,
            lost: dropped || lost && refusal.is_none(),
        }
    }

    /// `/services/oauth2/…`
    pub(crate) fn oauth(&self, call: &Call, path: &[&str]) -> Reply {
        match (call.method.as_str(), path) {
            ("POST", ["token"]) => self.token(call),
            ("GET" | "POST", ["revoke"]) => self.revoke(call),
            ("POST", ["introspect"]) => self.introspect(call),
            ("GET", ["authorize"]) => self.authorize(call),
            ("GET" | "POST", ["userinfo"]) => self.guarded(call, |_| self.user_info(call)),
            _ => Reply::not_found(),
        }
    }

    /// Reads the client's name and secret, from the form or from a Basic header.
    fn client(call: &Call) -> (Option<String>, Option<String>) {
        let form = form(&call.body);
        let basic = call.headers.get("authorization").and_then(|value| {
            let text = String::from_utf8(STANDARD.decode(value.strip_prefix("Basic ")?).ok()?).ok()?;
            text.split_once(':').map(|(id, secret)| (id.to_owned(), secret.to_owned()))
        });
        match basic {
            Some((id, secret)) => (Some(id), Some(secret)),
            None => (form.get("client_id").cloned(), form.get("client_secret").cloned()),
        }
    }

    fn check_client(&self, call: &Call, secret_needed: bool) -> Result<(), Reply> {
        let (id, secret) = Self::client(call);
        if id.as_deref() != Some(&self.credentials.client_id) {
            return Err(refuse("invalid_client_id", "client identifier invalid"));
        }
        match secret {
            Some(secret) if secret == self.credentials.client_secret => Ok(()),
            None if !secret_needed => Ok(()),
            _ => Err(refuse("invalid_client", "invalid client credentials")),
        }
    }

    fn token(&self, call: &Call) -> Reply {
        let form = form(&call.body);
        let given = |name: &str| form.get(name).map_or("", String::as_str);
        let (checked, refreshes) = match given("grant_type") {
            "" => (Err(refuse("invalid_request", "must provide grant_type")), false),
            "client_credentials" => (self.check_client(call, true), false),
            "password" => (
                self.check_client(call, true).and_then(|()| {
                    let good = self.is_login(given("username"), given("password"));
                    if good { Ok(()) } else { Err(refuse("invalid_grant", "authentication failure")) }
                }),
                false,
            ),
            "refresh_token" => (
                self.check_client(call, false).and_then(|()| {
                    let good = given("refresh_token") == self.credentials.refresh_token
                        && !locked(&self.sessions).refresh_revoked;
                    if good { Ok(()) } else { Err(refuse("invalid_grant", "expired access/refresh token")) }
                }),
                false,
            ),
            "authorization_code" => (
                self.check_client(call, given("code_verifier").is_empty())
                    .and_then(|()| self.redeem(given("code"), given("redirect_uri"), given("code_verifier"))),
                true,
            ),
            JWT_BEARER => (self.check_assertion(call, given("assertion")), false),
            _ => (Err(refuse("unsupported_grant_type", "grant type not supported")), false),
        };
        if let Err(reply) = checked {
            return reply;
        }
        let token = self.issue();
        let org = self.org();
        let id = format!("{}/id/{}/{}", call.base, org.id, org.integration);
        let issued = org.clock().to_string();
        let mut mac = Sha256::new();
        mac.update(self.credentials.client_secret.as_bytes());
        mac.update(format!("{id}{issued}").as_bytes());
        let mut body = json!({
            "access_token": token, "signature": STANDARD.encode(mac.finalize()), "scope": "api refresh_token",
            "instance_url": call.base, "id": id, "token_type": "Bearer", "issued_at": issued,
        });
        if refreshes {
            body["refresh_token"] = json!(self.credentials.refresh_token);
        }
        Reply::json(200, &body)
    }

    /// Returns whether this is the integration user's name and password, with or without the security token.
    pub(crate) fn is_login(&self, username: &str, password: &str) -> bool {
        let Credentials { username: name, password: known, security_token, .. } = &self.credentials;
        username.eq_ignore_ascii_case(name)
            && (password == known || password.strip_prefix(known.as_str()) == Some(security_token))
    }

    /// The web flow of a person who has signed in before and approved the app: it returns with a code at once.
    fn authorize(&self, call: &Call) -> Reply {
        let given = |name: &str| call.query.get(name).map_or("", String::as_str);
        if given("client_id") != self.credentials.client_id {
            return refuse("invalid_client_id", "client identifier invalid");
        }
        if given("redirect_uri").is_empty() {
            return refuse("redirect_uri_missing", "redirect_uri not provided");
        }
        if given("response_type") != "code" {
            return refuse("unsupported_response_type", "response type not supported");
        }
        let code = {
            let mut sessions = locked(&self.sessions);
            sessions.issued += 1;
            let code = blake3::hash(format!("code {}/{}", self.seed, sessions.issued).as_bytes()).to_hex();
            let code = format!("aPrx{}==", &code[..40]);
            let challenge = call.query.get("code_challenge").cloned();
            sessions.codes.insert(code.clone(), (given("redirect_uri").to_owned(), challenge));
            code
        };
        let mark = if given("redirect_uri").contains('?') { '&' } else { '?' };
        let mut to = format!("{}{mark}code={}", given("redirect_uri"), code.replace('=', "%3D"));
        if let Some(state) = call.query.get("state") {
            to.push_str(&format!("&state={}", encode(state)));
        }
        Reply::empty(302).header("Location", to)
    }

    fn redeem(&self, code: &str, redirect: &str, verifier: &str) -> Result<(), Reply> {
        let Some((wanted, challenge)) = locked(&self.sessions).codes.remove(code) else {
            return Err(refuse("invalid_grant", "expired authorization code"));
        };
        if wanted != redirect {
            return Err(refuse("redirect_uri_mismatch", "redirect_uri must match configuration"));
        }
        let shown = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        match challenge {
            Some(challenge) if challenge.trim_end_matches('=') != shown => {
                Err(refuse("invalid_grant", "invalid code verifier"))
            }
            _ => Ok(()),
        }
    }

    /// Checks a signed assertion: its key, who it speaks for, to whom, and until when.
    fn check_assertion(&self, call: &Call, assertion: &str) -> Result<(), Reply> {
        let invalid = || refuse("invalid_grant", "invalid assertion");
        let parts: Vec<&str> = assertion.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else { return Err(invalid()) };
        let read = |part: &str| serde_json::from_slice::<Json>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        let (head, claims_json) = read(header).zip(read(claims)).ok_or_else(invalid)?;
        if claims_json["iss"].as_str() != Some(&self.credentials.client_id) {
            return Err(refuse("invalid_client_id", "client identifier invalid"));
        }
        let key = locked(&self.sessions).key.clone().ok_or_else(invalid)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| invalid())?;
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::RSA_PKCS1_2048_8192_SHA256, key);
        let signed = key.verify(format!("{header}.{claims}").as_bytes(), &signature).is_ok();
        if head["alg"] != "RS256" || !signed {
            return Err(invalid());
        }
        let aud = claims_json["aud"].as_str().unwrap_or_default().trim_end_matches('/');
        let known = ["https://login.salesforce.com", "https://test.salesforce.com", call.base.as_str()];
        if !known.contains(&aud) {
            return Err(refuse("invalid_grant", "audience is invalid"));
        }
        // Clients send the time as a number or as its text.
        let until = claims_json["exp"].as_i64().or_else(|| claims_json["exp"].as_str()?.parse().ok());
        if until.is_none_or(|until| until * 1_000 < self.org().clock()) {
            return Err(invalid());
        }
        let user = claims_json["sub"].as_str().unwrap_or_default();
        if user.eq_ignore_ascii_case(&self.credentials.username) {
            return Ok(());
        }
        Err(refuse("invalid_grant", "user hasn't approved this consumer"))
    }

    fn revoke(&self, call: &Call) -> Reply {
        let token = form(&call.body).get("token").or(call.query.get("token")).cloned().unwrap_or_default();
        if token == self.credentials.refresh_token {
            locked(&self.sessions).refresh_revoked = true;
            return Reply::empty(200);
        }
        if self.end_session(&token) {
            Reply::empty(200)
        } else {
            refuse("invalid_token", "invalid token: the token was invalid")
        }
    }

    /// Source: "OpenID Connect Token Introspection" in the Salesforce Help, and RFC 7662.
    fn introspect(&self, call: &Call) -> Reply {
        if let Err(reply) = self.check_client(call, true) {
            return reply;
        }
        let token = form(&call.body).get("token").cloned().unwrap_or_default();
        let refresh = token == self.credentials.refresh_token && !locked(&self.sessions).refresh_revoked;
        if !refresh && !self.is_session(&token) {
            return Reply::json(200, &json!({ "active": false }));
        }
        let org = self.org();
        let now = org.clock() / 1_000;
        Reply::json(
            200,
            &json!({
                "active": true, "scope": "api refresh_token", "client_id": self.credentials.client_id,
                "username": self.credentials.username,
                "sub": format!("{}/id/{}/{}", call.base, org.id, org.integration),
                "token_type": if refresh { "refresh_token" } else { "access_token" },
                "exp": now + SESSION_SECONDS, "iat": now, "nbf": now,
            }),
        )
    }

    /// What the identity URL and the userinfo endpoint tell.
    pub(crate) fn user_info(&self, call: &Call) -> Reply {
        let org = self.org();
        let of = |name: &str| user_field(&org, name);
        let id = format!("{}/id/{}/{}", call.base, org.id, org.integration);
        let rest = |path: &str| format!("{}/services/data/v{{version}}/{path}", call.base);
        let soap = |kind: &str| format!("{}/services/Soap/{kind}/{{version}}/{}", call.base, org.id.short());
        Reply::json(
            200,
            &json!({
                "id": id, "sub": id, "asserted_user": true, "user_id": org.integration.to_string(),
                "organization_id": org.id.to_string(), "username": of("Username"), "preferred_username": of("Username"),
                "nick_name": of("FirstName"), "nickname": of("FirstName"), "display_name": of("Name"), "name": of("Name"),
                "email": of("Email"), "email_verified": true, "first_name": of("FirstName"),
                "given_name": of("FirstName"), "last_name": of("LastName"), "family_name": of("LastName"),
                "timezone": of("TimeZoneSidKey"), "zoneinfo": of("TimeZoneSidKey"), "active": true,
                "is_active": true, "user_type": "STANDARD", "locale": "en_US", "language": "en_US", "utcOffset": 3_600_000,
                "urls": {
                    "enterprise": soap("c"), "metadata": soap("m"), "partner": soap("u"), "rest": rest(""),
                    "sobjects": rest("sobjects/"), "search": rest("search/"), "query": rest("query/"),
                    "recent": rest("recent/"), "tooling_rest": rest("tooling/"),
                    "profile": format!("{}/{}", call.base, org.integration),
                },
            }),
        )
    }

    /// `/id/ORG/USER`: the session may also stand in the address.
    pub(crate) fn identity(&self, call: &Call, org_id: &str, user_id: &str) -> Reply {
        let mut call = call.clone();
        if let Some(token) = call.query.get("oauth_token") {
            call.headers.insert("authorization".into(), format!("Bearer {token}"));
        }
        self.guarded(&call, |_| {
            let same = {
                let org = self.org();
                super::ids::Id::parse(org_id) == Some(org.id) && super::ids::Id::parse(user_id) == Some(org.integration)
            };
            if same { self.user_info(&call) } else { Reply::not_found() }
        })
    }
}

/// An OAuth error: one object, never a list.
fn refuse(error: &str, text: &str) -> Reply {
    Reply::json(400, &json!({ "error": error, "error_description": text }))
}

/// Returns a field of the integration user.
pub(crate) fn user_field(org: &Org, name: &str) -> Json {
    let Some(users) = org.find("User") else { return Json::Null };
    let field = org.objects[users].field(name);
    match field.and_then(|field| org.field_value(users, org.integration.number, field)) {
        Some(Val::Text(text)) => Json::String(text.to_string()),
        _ => Json::Null,
    }
}

/// Writes a text for the query of an address.
fn encode(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Finds the RSA public key in a certificate or in a public key file, both DER (RFC 5280, sections 4.1 and 4.1.2.7).
fn rsa_key(der: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const BITS: u8 = 0x03;
    const VERSION: u8 = 0xa0;
    let (tag, outer, _) = element(der)?;
    let (first, inner, rest) = element(outer)?;
    let spki = match (tag, first, element(rest)?) {
        (SEQUENCE, SEQUENCE, (BITS, bits, _)) => return bits.strip_prefix(&[0]),
        _ => inner,
    };
    // A certificate: version, serial, algorithm, issuer, validity, subject, then the key.
    let mut rest = spki;
    if element(rest)?.0 == VERSION {
        rest = element(rest)?.2;
    }
    for _ in 0..5 {
        rest = element(rest)?.2;
    }
    let (_, key, _) = element(rest)?;
    let (_, bits, _) = element(element(key)?.2)?;
    bits.strip_prefix(&[0])
}

/// Takes one DER element apart: its tag, what is in it, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        (bytes.iter().fold(0usize, |sum, byte| sum.saturating_mul(256).saturating_add(usize::from(*byte))), rest)
    };
    let (inner, rest) = rest.split_at_checked(length)?;
    Some((*tag, inner, rest))
}
