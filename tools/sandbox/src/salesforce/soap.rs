//! The partner SOAP interface, as far as REST clients use it: sign in and out, who am I, rows, and the bin.
//!
//! Source: "login", "logout", "getUserInfo", "create", "update", "upsert", "delete", "undelete", "emptyRecycleBin" in the
//! SOAP API Developer Guide. Elements of answers have no prefix: clients look for them as text.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::{
    auth::{Refusal, SESSION_SECONDS, user_field},
    ids::Id,
    load::{Loaded, Task, load_record},
    org::{Org, RowError},
    service::{Call, Reply, Service},
    xml::{Element, escape},
};

/// The most rows of one call.
const ROWS: usize = 200;

/// A fault: its code, its text, and its kind.
struct Fault {
    code: &'static str,
    text: String,
    kind: &'static str,
    /// Whether the code stands behind the prefix of the platform.
    prefixed: bool,
}

impl Fault {
    fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), kind: "UnexpectedErrorFault", prefixed: true }
    }

    fn reply(&self) -> Reply {
        let (code, text, kind) = (self.code, escape(&self.text), self.kind);
        let prefix = if self.prefixed { "sf:" } else { "" };
        let inner = format!(
            "<soapenv:Fault><faultcode>{prefix}{code}</faultcode><faultstring>{code}: {text}</faultstring><detail><sf:{kind} xsi:type=\"sf:{kind}\"><sf:exceptionCode>{code}</sf:exceptionCode><sf:exceptionMessage>{text}</sf:exceptionMessage></sf:{kind}></detail></soapenv:Fault>"
        );
        Reply { status: 500, ..envelope("xmlns:sf=\"urn:fault.partner.soap.sforce.com\"", &inner) }
    }
}

fn envelope(namespace: &str, inner: &str) -> Reply {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" {namespace} xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>{inner}</soapenv:Body></soapenv:Envelope>"
    );
    Reply { kind: "text/xml;charset=UTF-8", ..Reply::csv(text.into_bytes()) }
}

impl Service {
    /// `POST /services/Soap/u/XX.0`
    pub(crate) fn soap(self: &Arc<Self>, call: &Call, version: &str) -> Reply {
        if call.method != "POST" || Self::offered(&format!("v{version}")).is_none() {
            return Reply::not_found();
        }
        let mut lost = false;
        let answer = self.soap_call(call, version, &mut lost);
        let mut reply = answer.unwrap_or_else(|fault| fault.reply());
        reply.lost = lost;
        reply
    }

    fn soap_call(self: &Arc<Self>, call: &Call, version: &str, lost: &mut bool) -> Result<Reply, Fault> {
        let client = |text: String| Fault { code: "Client", text, kind: "UnexpectedErrorFault", prefixed: false };
        let root = Element::parse(&String::from_utf8_lossy(&call.body)).map_err(client)?;
        let none = || client("there is no operation in the envelope".into());
        let operation = root.all("Body").next().and_then(|body| body.children.first()).ok_or_else(none)?;
        let name = operation.name.as_str();
        let respond = |result: &str| {
            Ok(envelope("xmlns=\"urn:partner.soap.sforce.com\"", &format!("<{name}Response>{result}</{name}Response>")))
        };
        if name == "login" {
            return respond(&self.soap_login(call, version, operation)?);
        }
        let session = root.all("Header").next().and_then(|header| header.all("SessionHeader").next());
        let token = session.and_then(|session| session.get("sessionId")).unwrap_or_default();
        let admission = self.admit(Some(token), !name.starts_with("get"));
        *lost = admission.lost;
        match admission.refusal {
            None => {}
            Some(Refusal::Session) => {
                let text = "Invalid Session ID found in SessionHeader: Illegal Session. Session not found, missing session hash";
                return Err(Fault::new("INVALID_SESSION_ID", text));
            }
            Some(Refusal::Unavailable) => {
                return Err(Fault::new("SERVER_UNAVAILABLE", "the server is temporarily unavailable"));
            }
            Some(Refusal::Quota) => return Err(Fault::new("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")),
        }
        let _shared = self.gate.read();
        match name {
            "logout" => {
                self.end_session(token);
                respond("")
            }
            "getUserInfo" => respond(&format!("<result>{}</result>", user_info(&self.org()))),
            "getServerTimestamp" => {
                let now = moment(self.org().clock());
                respond(&format!("<result><timestamp>{now}</timestamp></result>"))
            }
            "create" | "update" | "upsert" => respond(&self.soap_rows(name, operation)?),
            "delete" | "undelete" | "emptyRecycleBin" => respond(&self.soap_ids(name, operation)?),
            other => Err(client(format!("No operation available for request {{urn:partner.soap.sforce.com}}{other}"))),
        }
    }

    fn soap_login(&self, call: &Call, version: &str, login: &Element) -> Result<String, Fault> {
        let (username, password) =
            (login.get("username").unwrap_or_default(), login.get("password").unwrap_or_default());
        if !self.is_login(username, password) {
            let text = "Invalid username, password, security token; or user locked out.";
            return Err(Fault { code: "INVALID_LOGIN", text: text.into(), kind: "LoginFault", prefixed: false });
        }
        let token = self.issue();
        let org = self.org();
        let url = |kind: &str| format!("{}/services/Soap/{kind}/{version}/{}", call.base, org.id.short());
        Ok(format!(
            "<result><metadataServerUrl>{}</metadataServerUrl><passwordExpired>false</passwordExpired><sandbox>true</sandbox><serverUrl>{}</serverUrl><sessionId>{token}</sessionId><userId>{}</userId><userInfo>{}</userInfo></result>",
            escape(&url("m")),
            escape(&url("u")),
            org.integration,
            user_info(&org),
        ))
    }

    fn soap_rows(&self, name: &str, operation: &Element) -> Result<String, Fault> {
        let records: Vec<&Element> = operation.all("sObjects").collect();
        if records.len() > ROWS {
            let text = "record limit reached. cannot submit more than 200 records into this call";
            return Err(Fault::new("EXCEEDED_ID_LIMIT", text));
        }
        let operation_name = if name == "create" { "insert" } else { name };
        let external = operation.get("externalIDFieldName").map(str::to_owned);
        let mut org = self.org();
        let mut results = String::new();
        for record in records {
            let Some(object) = record.get("type").and_then(|name| org.find(name)) else {
                let text = format!("sObject type '{}' is not supported.", record.get("type").unwrap_or_default());
                return Err(Fault::new("INVALID_TYPE", text));
            };
            let task = Task {
                object: org.objects[object].name.clone(),
                operation: operation_name.to_owned(),
                external: external.clone(),
            };
            results.push_str(&row_result(&load_record(&mut org, &task, &record_of(record)), name == "upsert"));
        }
        Ok(results)
    }

    fn soap_ids(&self, name: &str, operation: &Element) -> Result<String, Fault> {
        let ids: Vec<&Element> = operation.all("ids").collect();
        if ids.len() > ROWS {
            return Err(Fault::new("EXCEEDED_ID_LIMIT", "cannot submit more than 200 records into this call"));
        }
        let mut org = self.org();
        let done = ids.into_iter().map(|element| {
            let text = element.text.trim();
            let id = Id::parse(text)
                .ok_or_else(|| (String::new(), vec![RowError::new("MALFORMED_ID", format!("malformed id {text}"))]))?;
            let done = match name {
                "delete" => org.delete(id),
                "undelete" => org.undelete(id),
                _ => org.empty_from_bin(id),
            };
            done.map(|()| (id, false)).map_err(|error| (id.to_string(), vec![error]))
        });
        Ok(done.map(|loaded: Loaded| row_result(&loaded, false)).collect())
    }
}

fn moment(millis: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(millis).unwrap_or_default();
    time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn user_info(org: &Org) -> String {
    let of = |name: &str| user_field(org, name).as_str().map(|text| escape(text).into_owned()).unwrap_or_default();
    let organization = org
        .find("Organization")
        .map(|object| org.name_of(object, org.id.number))
        .map(|name| escape(&name).into_owned())
        .unwrap_or_default();
    format!(
        "<organizationId>{}</organizationId><organizationName>{organization}</organizationName><sessionSecondsValid>{SESSION_SECONDS}</sessionSecondsValid><userEmail>{}</userEmail><userFullName>{}</userFullName><userId>{}</userId><userLanguage>en_US</userLanguage><userLocale>en_US</userLocale><userName>{}</userName><userTimeZone>{}</userTimeZone><userType>Standard</userType>",
        org.id,
        of("Email"),
        of("Name"),
        org.integration,
        of("Username"),
        of("TimeZoneSidKey"),
    )
}

/// Turns an sObject into a record: its type, its fields, and the fields that become empty.
fn record_of(element: &Element) -> Map<String, Json> {
    let mut record = Map::new();
    for child in &element.children {
        match child.name.as_str() {
            "type" => drop(record.insert("attributes".into(), json!({ "type": child.text.trim() }))),
            "fieldsToNull" => drop(record.insert(child.text.trim().to_owned(), Json::Null)),
            // Nothing said about a field is not the same as saying that it is empty.
            _ if child.nil => {}
            _ if child.children.is_empty() => drop(record.insert(child.name.clone(), json!(child.text))),
            _ => drop(record.insert(child.name.clone(), Json::Object(record_of(child)))),
        }
    }
    record
}

fn row_result(loaded: &Loaded, upsert: bool) -> String {
    match loaded {
        Ok((id, created)) => {
            let created = if upsert { format!("<created>{created}</created>") } else { String::new() };
            format!("<result>{created}<id>{id}</id><success>true</success></result>")
        }
        Err((_, errors)) => {
            let errors: String = errors
                .iter()
                .map(|error| {
                    let fields: String = error.fields.iter().map(|field| format!("<fields>{field}</fields>")).collect();
                    let message = escape(&error.message);
                    format!(
                        "<errors>{fields}<message>{message}</message><statusCode>{}</statusCode></errors>",
                        error.code
                    )
                })
                .collect();
            let created = if upsert { "<created>false</created>" } else { "" };
            format!("<result>{created}{errors}<id xsi:nil=\"true\"/><success>false</success></result>")
        }
    }
}

impl Org {
    /// Takes a row out of the bin, and with it what went there with it.
    fn undelete(&mut self, id: Id) -> Result<(), RowError> {
        let Some(object) = self.of_id(id) else {
            return Err(RowError::new("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id"));
        };
        match self.tables[object].rows.get(&id.number) {
            None => return Err(RowError::new("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")),
            Some(row) if !row.deleted => {
                return Err(RowError::new("UNDELETE_FAILED", "Entity is not in the recycle bin"));
            }
            Some(_) => {}
        }
        let rows = self.went_with(id);
        self.restore(&rows)
    }

    /// Removes a row from the bin for good.
    fn empty_from_bin(&mut self, id: Id) -> Result<(), RowError> {
        match self.row(id) {
            None => Err(RowError::new("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")),
            Some(row) if !row.deleted => Err(RowError::new("DELETE_FAILED", "Entity is not in the recycle bin")),
            Some(_) => {
                let rows = self.went_with(id);
                self.purge(&rows);
                Ok(())
            }
        }
    }
}
