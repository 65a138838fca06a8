//! Multipart bodies. Source: RFC 7578, and "Insert or Update Blob Data" in the REST API Developer Guide.

/// One part of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part<'b> {
    /// The name of the form's field.
    pub(crate) name: String,
    /// The name of the file, if it is one.
    pub(crate) file: Option<String>,
    /// The content type, in lower case.
    pub(crate) kind: String,
    /// The content.
    pub(crate) body: &'b [u8],
}

/// Reads a body as its content type says; `None` if it is no multipart body.
pub(crate) fn parts<'b>(content_type: &str, body: &'b [u8]) -> Option<Vec<Part<'b>>> {
    if !content_type.to_ascii_lowercase().starts_with("multipart/") {
        return None;
    }
    let boundary = content_type.split_once("boundary=")?.1.split(';').next()?.trim().trim_matches('"');
    if boundary.is_empty() || boundary.len() > 70 {
        return None;
    }
    let mark = format!("--{boundary}");
    let mut found = Vec::new();
    let mut rest = &body[find(body, mark.as_bytes())? + mark.len()..];
    while !rest.starts_with(b"--") {
        let end = find(rest, format!("\r\n{mark}").as_bytes())?;
        found.push(part(rest.get(..end)?)?);
        rest = &rest[end + 2 + mark.len()..];
    }
    Some(found)
}

fn part(bytes: &[u8]) -> Option<Part<'_>> {
    let bytes = bytes.strip_prefix(b"\r\n")?;
    let at = find(bytes, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..at]);
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let disposition = header("Content-Disposition")?;
    let word = |name: &str| {
        disposition.split(';').find_map(|piece| {
            let (own, value) = piece.trim().split_once('=')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
        })
    };
    Some(Part {
        name: word("name")?,
        file: word("filename"),
        kind: header("Content-Type").unwrap_or_default().to_ascii_lowercase(),
        body: &bytes[at + 4..],
    })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    let first = *what.first()?;
    let mut from = 0;
    loop {
        let at = from + bytes.get(from..)?.iter().position(|byte| *byte == first)?;
        if bytes[at..].starts_with(what) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parts_keep_their_bytes_in_any_order() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"VersionData\"; filename=\"a.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n\x00\r\n--x\xff\r\n--b\r\nContent-Disposition: form-data; name=\"entity\"\r\nContent-Type: application/json\r\n\r\n{}\r\n--b--\r\n";
        let found = parts("multipart/form-data; boundary=\"b\"", body).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].body, found[0].file.as_deref()), (&b"\x00\r\n--x\xff"[..], Some("a.bin")));
        assert_eq!((found[1].body, found[1].kind.as_str()), (&b"{}"[..], "application/json"));
        assert!(parts("application/json", body).is_none());
        assert!(parts("multipart/form-data; boundary=c", body).is_none());
    }
}
