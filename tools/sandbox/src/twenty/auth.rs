//! Keys: who may call.
//!
//! A key is a JSON Web Token that names its workspace and its own row. New keys of 2.21 are signed with ES256; the server still
//! takes those of older versions, signed with HS256, and that is the form here because it is the same for the same seed.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Value as Json, json};

use super::refusal::Refusal;

/// What signs tokens, and which keys are revoked.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    secret: [u8; 32],
    pub(crate) revoked: bool,
}

impl Keys {
    pub(crate) fn new(seed: u64) -> Self {
        Self { secret: *blake3::hash(format!("twenty signing key {seed}").as_bytes()).as_bytes(), revoked: false }
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.secret)
    }

    /// Writes a token.
    pub(crate) fn sign(&self, payload: &Json) -> String {
        let head = URL_SAFE_NO_PAD.encode(json!({ "alg": "HS256", "typ": "JWT" }).to_string());
        let text = format!("{head}.{}", URL_SAFE_NO_PAD.encode(payload.to_string()));
        let signature = hmac::sign(&self.key(), text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    /// Reads a token that we wrote.
    pub(crate) fn open(&self, token: &str) -> Option<Json> {
        let (text, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.key(), text.as_bytes(), &signature).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text.split_once('.')?.1).ok()?).ok()
    }

    /// Writes the token of a key of a workspace; times are in seconds since 1970.
    pub(crate) fn issue(&self, workspace: &str, key: &str, from: i64, until: i64) -> String {
        self.sign(&json!({
            "sub": workspace, "type": "API_KEY", "workspaceId": workspace, "iat": from, "exp": until, "jti": key,
        }))
    }

    /// Lets a call pass whose key is good. A missing key is answered with 403, a bad one with 401.
    pub(crate) fn admit(&self, header: Option<&str>, workspace: &str, now: i64) -> Result<(), Refusal> {
        let missing = || Refusal::guard(403, "Missing authentication token", "FORBIDDEN_EXCEPTION");
        let (scheme, token) = header.and_then(|header| header.split_once(' ')).ok_or_else(missing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(missing());
        }
        let invalid = || Refusal::guard(401, "Token invalid.", "UNAUTHENTICATED");
        let payload = self.open(token.trim()).ok_or_else(invalid)?;
        if payload["type"] != "API_KEY" || payload["workspaceId"] != workspace {
            return Err(invalid());
        }
        if payload["exp"].as_i64().is_none_or(|until| until * 1_000 <= now) {
            return Err(Refusal::guard(401, "Token has expired.", "UNAUTHENTICATED"));
        }
        if self.revoked {
            return Err(Refusal::guard(403, "This API Key is revoked", "FORBIDDEN_EXCEPTION"));
        }
        Ok(())
    }
}
