//! HTML as text for fields that hold none, and as HTML without danger for those that do.

use std::collections::HashSet;

/// Wide enough that no paragraph is broken.
const WIDTH: usize = 1 << 20;

/// What rich text keeps: the marks that editors of CRMs make, no scripts, no styles, nothing that is fetched.
const TAGS: [&str; 15] =
    ["a", "b", "br", "div", "em", "i", "li", "ol", "p", "s", "span", "strike", "strong", "u", "ul"];

/// Returns the text of HTML, a line a paragraph. `None` if it cannot be read as HTML.
pub(super) fn text(html: &str) -> Option<String> {
    let plain = html2text::config::plain_no_decorate().allow_width_overflow().no_link_wrapping();
    Some(trimmed(&plain.string_from_read(html.as_bytes(), WIDTH).ok()?))
}

/// Returns lines without what is blank at their ends, and without blank ones before and after all others.
fn trimmed(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    while lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    lines.join("\n").trim_start_matches('\n').to_owned()
}

/// Returns the Markdown of HTML, a line a paragraph. `None` if it cannot be read as HTML.
pub(super) fn markdown(html: &str) -> Option<String> {
    let plain = html2text::config::plain().allow_width_overflow().no_link_wrapping();
    Some(trimmed(&plain.string_from_read(html.as_bytes(), WIDTH).ok()?))
}

/// Returns HTML that cannot run, fetch or imitate anything.
pub(super) fn safe(html: &str) -> String {
    let schemes: HashSet<&str> = ["http", "https", "mailto", "tel"].into();
    let safe = ammonia::Builder::default().tags(TAGS.into()).url_schemes(schemes).clean(html).to_string();
    // A line end in HTML is a space; some systems strip it, which would join two words.
    safe.split(['\r', '\n']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn html_becomes_the_text_that_people_see() {
        let html =
            "<html><body><p>Dear <b>Anna</b>,</p><p>two &lt; three<br>lines</p><ul><li>one</li></ul></body></html>";
        assert_eq!(text(html).unwrap(), "Dear Anna,\n\ntwo < three\nlines\n* one");
        assert_eq!(text("<script>alert(1)</script>").unwrap(), "");
        assert_eq!(text("مرحبا 👋").unwrap(), "مرحبا 👋");
        let marked = markdown("<h1>Plan</h1><p>Dear <b>Anna</b>, <em>soon</em></p><ul><li>one</li></ul>").unwrap();
        assert_eq!(marked, "# Plan\n\nDear **Anna**, *soon*\n* one");
    }

    #[test]
    fn nothing_that_runs_is_kept() {
        let html =
            "<p onclick=\"x()\">a<script>x()</script><a href=\"javascript:x()\">b</a> <img src=\"http://x/y.png\"></p>";
        let safe = safe(html);
        assert!(safe.starts_with("<p>a<a") && !safe.contains("x()") && !safe.contains("img"), "{safe}");
    }
}
