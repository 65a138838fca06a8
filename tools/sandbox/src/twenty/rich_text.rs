//! Rich text: markdown and its blocks, each made from the other.
//!
//! The server keeps both representations. Given one, it derives the other; given both, it believes both.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value as Json, json};

use super::uuid::Uuid;

/// Makes the blocks of a markdown text, as the JSON text that is stored. Every block gets a fresh id.
pub(crate) fn blocks(markdown: &str, dice: &mut ChaCha8Rng) -> String {
    let mut writer =
        Writer { dice, blocks: Vec::new(), open: None, styles: Map::new(), lists: Vec::new(), link: None, table: None };
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH) {
        writer.event(event);
    }
    writer.close();
    Json::Array(writer.blocks).to_string()
}

struct Writer<'a> {
    dice: &'a mut ChaCha8Rng,
    blocks: Vec<Json>,
    open: Option<Block>,
    styles: Map<String, Json>,
    lists: Vec<bool>,
    link: Option<(String, Vec<Json>)>,
    table: Option<Vec<Vec<Vec<Json>>>>,
}

struct Block {
    kind: &'static str,
    props: Vec<(&'static str, Json)>,
    content: Vec<Json>,
}

impl Writer<'_> {
    fn start(&mut self, kind: &'static str, props: Vec<(&'static str, Json)>) {
        self.close();
        self.open = Some(Block { kind, props, content: Vec::new() });
    }

    fn close(&mut self) {
        if let Some(block) = self.open.take() {
            let mut props = json!({ "backgroundColor": "default", "textColor": "default", "textAlignment": "left" });
            if block.kind == "codeBlock" {
                props = json!({});
            }
            for (name, value) in block.props {
                props[name] = value;
            }
            let id = Uuid::random(self.dice).to_string();
            self.blocks.push(
                json!({ "id": id, "type": block.kind, "props": props, "content": block.content, "children": [] }),
            );
        }
    }

    fn put(&mut self, item: Json) {
        if let Some((_, content)) = &mut self.link {
            content.push(item);
        } else if let Some(cell) = self.table.as_mut().and_then(|rows| rows.last_mut()?.last_mut()) {
            cell.push(item);
        } else {
            if self.open.is_none() {
                self.start("paragraph", Vec::new());
            }
            if let Some(block) = &mut self.open {
                block.content.push(item);
            }
        }
    }

    fn text(&mut self, text: &str) {
        let styles = self.styles.clone();
        self.put(json!({ "type": "text", "text": text, "styles": styles }));
    }

    fn style(&mut self, name: &str, on: bool) {
        if on {
            self.styles.insert(name.into(), json!(true));
        } else {
            self.styles.remove(name);
        }
    }

    fn html(&mut self, html: &str) {
        // Of raw HTML, the styles are taken and the rest is dropped.
        match html.trim().to_ascii_lowercase().as_str() {
            "<b>" | "<strong>" => self.style("bold", true),
            "</b>" | "</strong>" => self.style("bold", false),
            "<i>" | "<em>" => self.style("italic", true),
            "</i>" | "</em>" => self.style("italic", false),
            "<script>" => self.style("script", true),
            "</script>" => self.style("script", false),
            _ => {}
        }
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.tag(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(_) if self.styles.contains_key("script") => {}
            Event::Text(text) => self.text(&text),
            Event::Code(text) => {
                self.style("code", true);
                self.text(&text);
                self.style("code", false);
            }
            Event::SoftBreak | Event::HardBreak => self.text("\n"),
            Event::InlineHtml(html) | Event::Html(html) => self.html(&html),
            _ => {}
        }
    }

    fn tag(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { level, .. } => {
                let level = match level {
                    HeadingLevel::H1 => 1,
                    HeadingLevel::H2 => 2,
                    HeadingLevel::H3 => 3,
                    HeadingLevel::H4 => 4,
                    HeadingLevel::H5 => 5,
                    HeadingLevel::H6 => 6,
                };
                self.start("heading", vec![("level", json!(level)), ("isToggleable", json!(false))]);
            }
            Tag::Paragraph if self.lists.is_empty() && self.open.is_none() => self.start("paragraph", Vec::new()),
            Tag::BlockQuote(_) => self.start("quote", Vec::new()),
            Tag::CodeBlock(_) => self.start("codeBlock", vec![("language", json!("text"))]),
            Tag::List(first) => self.lists.push(first.is_some()),
            Tag::Item => {
                let numbered = self.lists.last().copied().unwrap_or(false);
                self.start(if numbered { "numberedListItem" } else { "bulletListItem" }, Vec::new());
            }
            Tag::Strong => self.style("bold", true),
            Tag::Emphasis => self.style("italic", true),
            Tag::Strikethrough => self.style("strike", true),
            Tag::Link { dest_url, .. } => self.link = Some((dest_url.to_string(), Vec::new())),
            Tag::Table(_) => {
                self.close();
                self.table = Some(Vec::new());
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(rows) = &mut self.table {
                    rows.push(Vec::new());
                }
            }
            Tag::TableCell => {
                if let Some(row) = self.table.as_mut().and_then(|rows| rows.last_mut()) {
                    row.push(Vec::new());
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) | TagEnd::CodeBlock | TagEnd::Item | TagEnd::BlockQuote(_) => self.close(),
            TagEnd::Paragraph if self.open.as_ref().is_some_and(|block| block.kind == "paragraph") => self.close(),
            TagEnd::List(_) => {
                self.lists.pop();
            }
            TagEnd::Strong => self.style("bold", false),
            TagEnd::Emphasis => self.style("italic", false),
            TagEnd::Strikethrough => self.style("strike", false),
            TagEnd::Link => {
                if let Some((href, content)) = self.link.take() {
                    self.put(json!({ "type": "link", "href": href, "content": content }));
                }
            }
            TagEnd::Table => {
                if let Some(rows) = self.table.take() {
                    let id = Uuid::random(self.dice).to_string();
                    let rows: Vec<Json> = rows.into_iter().map(|cells| json!({ "cells": cells })).collect();
                    let content = json!({ "type": "tableContent", "columnWidths": [], "rows": rows });
                    self.blocks.push(json!({
                        "id": id, "type": "table", "props": { "textColor": "default" }, "content": content, "children": [],
                    }));
                }
            }
            _ => {}
        }
    }
}

/// Writes blocks as markdown; `None` if the text is not JSON of blocks.
pub(crate) fn markdown(blocknote: &str) -> Option<String> {
    let blocks: Vec<Json> = serde_json::from_str(blocknote).ok()?;
    let mut parts = Vec::new();
    for (number, block) in (1..).zip(&blocks) {
        let text = inline(&block["content"]);
        let line = match block["type"].as_str() {
            Some("heading") => {
                let level = block["props"]["level"].as_u64().unwrap_or(1).clamp(1, 6);
                format!("{} {text}", "#".repeat(usize::try_from(level).unwrap_or(1)))
            }
            Some("bulletListItem") => format!("* {text}"),
            Some("numberedListItem") => format!("{number}. {text}"),
            Some("quote") => format!("> {text}"),
            Some("codeBlock") => format!("```\n{text}\n```"),
            _ => text,
        };
        parts.push(line);
    }
    let mut written = parts.join("\n\n");
    written.push('\n');
    Some(written)
}

fn inline(content: &Json) -> String {
    if let Some(text) = content.as_str() {
        return text.to_owned();
    }
    let items = content.as_array().into_iter().flatten();
    items
        .map(|item| {
            let text = item["text"].as_str().unwrap_or_default();
            let on = |style: &str| item["styles"][style] == json!(true);
            match item["type"].as_str() {
                Some("link") => {
                    format!("[{}]({})", inline(&item["content"]), item["href"].as_str().unwrap_or_default())
                }
                _ if on("code") => format!("`{text}`"),
                _ if on("bold") => format!("**{text}**"),
                _ if on("italic") => format!("*{text}*"),
                _ => text.to_owned(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use serde_json::{Value as Json, json};

    use super::{blocks, markdown};

    fn made(text: &str) -> Vec<Json> {
        let mut dice = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        serde_json::from_str(&blocks(text, &mut dice)).expect("blocks")
    }

    #[test]
    fn headings_and_styles_become_blocks() {
        let blocks = made("# Hello\n\nSome **bold**");
        assert_eq!(blocks[0]["type"], "heading");
        assert_eq!(
            blocks[0]["props"],
            json!({ "backgroundColor": "default", "textColor": "default", "textAlignment": "left", "level": 1, "isToggleable": false })
        );
        assert_eq!(blocks[0]["content"], json!([{ "type": "text", "text": "Hello", "styles": {} }]));
        assert_eq!(
            blocks[1]["content"],
            json!([{ "type": "text", "text": "Some ", "styles": {} }, { "type": "text", "text": "bold", "styles": { "bold": true } }])
        );
    }

    #[test]
    fn scripts_are_dropped_and_tables_kept() {
        let blocks = made("a <b>x</b><script>1</script>\n\n| a | b |\n|---|---|\n| 1 | 2 |");
        assert_eq!(
            blocks[0]["content"],
            json!([{ "type": "text", "text": "a ", "styles": {} }, { "type": "text", "text": "x", "styles": { "bold": true } }])
        );
        assert_eq!(blocks[1]["type"], "table");
        assert_eq!(blocks[1]["content"]["rows"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn blocks_become_markdown() {
        let blocks = r#"[{"type":"paragraph","content":[{"type":"text","text":"zz","styles":{}}]}]"#;
        assert_eq!(markdown(blocks).as_deref(), Some("zz\n"));
        assert_eq!(markdown("{nope"), None);
    }
}
