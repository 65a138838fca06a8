//! Addresses of links: what is stored, what is refused.

use url::{Host, Url};

use super::refusal::Refusal;

/// Returns the address as it is stored; `None` for an empty one.
///
/// An address with a scheme gets a small host, loses its default port and one slash at its end; one without is kept word for
/// word. `mailto:` is taken and mangled, as the server does.
pub(crate) fn normalise(text: &str) -> Result<Option<String>, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let refused = || Refusal::coded("INVALID_URL", "The URL of the link is not valid");
    if text.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
        return Err(refused());
    }
    match Url::parse(text) {
        Ok(url) if ["http", "https"].contains(&url.scheme()) => {
            let host = url.host().ok_or_else(refused)?;
            if let Host::Domain(name) = &host
                && !plausible(name)
            {
                return Err(refused());
            }
            let written = format!(
                "{}{}{}{}",
                url.origin().ascii_serialization(),
                url.path(),
                url.query().map(|query| format!("?{query}")).unwrap_or_default(),
                url.fragment().map(|part| format!("#{part}")).unwrap_or_default()
            );
            Ok(Some(written.strip_suffix('/').map_or(written.clone(), str::to_owned)))
        }
        // The origin of such an address is the text "null", which the server puts before the path.
        Ok(url) if url.scheme() == "mailto" => Ok(Some(format!("null{}", url.path()))),
        Ok(_) if text.contains("://") => Err(refused()),
        _ => {
            let host = text.split(['/', '?', '#']).next().unwrap_or_default();
            let host = host.split_once(':').map_or(host, |(host, _)| host);
            if plausible(host) { Ok(Some(text.to_owned())) } else { Err(refused()) }
        }
    }
}

/// Returns whether a host is a name with a dot, an address, or this machine.
fn plausible(host: &str) -> bool {
    host == "localhost"
        || (host.contains('.')
            && host.split('.').all(|part| {
                !part.is_empty() && part.chars().all(|letter| letter.is_alphanumeric() || "-_".contains(letter))
            }))
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[test]
    fn addresses_are_stored_as_the_server_stores_them() {
        for (given, stored) in [
            ("https://www.ACME.com/about/", "https://www.acme.com/about"),
            ("HTTPS://acme.com", "https://acme.com"),
            (" https://acme.com:443/ ", "https://acme.com"),
            ("http://acme.com:8080/A?b=C#d", "http://acme.com:8080/A?b=C#d"),
            ("https://exämple.com/ü", "https://xn--exmple-cua.com/%C3%BC"),
            ("Sub.Example.ORG/Path?x=1#f", "Sub.Example.ORG/Path?x=1#f"),
            ("acme.com", "acme.com"),
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
            ("mailto:a@b.co", "nulla@b.co"),
        ] {
            assert_eq!(normalise(given).ok().flatten().as_deref(), Some(stored), "{given}");
        }
        assert!(normalise("  ").is_ok_and(|url| url.is_none()));
        for refused in ["ftp://x.com", "acme", "hello world"] {
            assert_eq!(normalise(refused).expect_err(refused).code, Some("INVALID_URL"));
        }
    }
}
