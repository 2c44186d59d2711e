//! Markdown of agents and people as HTML. Raw HTML in it is shown as text, images become links,
//! links go only to `http`, `https` and `mailto` and carry no trust, and every character of text is
//! escaped and unmasked like any untrusted text.

use pulldown_cmark::{Alignment, CowStr, Event, Options, Parser, Tag, TagEnd};

use super::text::{Html, cut, push_escaped};

/// The longest text that is shown whole, in bytes.
const MAX: usize = 256 * 1024;

/// Renders Markdown.
pub(crate) fn render(markdown: &str) -> Html {
    let (markdown, left_out) = cut(markdown, MAX);
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut shown = Shown { refused: Vec::new() };
    let events = Parser::new_ext(markdown, options).map(|event| shown.event(event));
    let mut html = String::with_capacity(markdown.len() * 3 / 2);
    pulldown_cmark::html::push_html(&mut html, events);
    if left_out > 0 {
        html.push_str(&format!("<p class=\"left-out\">… {left_out} more bytes</p>"));
    }
    Html::finished(html)
}

/// Remembers for each open link or image whether its opening tag was refused, so that its closing
/// tag is too.
struct Shown {
    refused: Vec<bool>,
}

impl Shown {
    fn event<'a>(&mut self, event: Event<'a>) -> Event<'a> {
        match event {
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => escaped(&text),
            Event::Code(text) => {
                let mut html = String::from("<code>");
                push_escaped(&mut html, &text);
                html.push_str("</code>");
                Event::InlineHtml(html.into())
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                let is_refused = !is_followable(&dest_url);
                self.refused.push(is_refused);
                if is_refused { nothing() } else { link(&dest_url) }
            }
            Event::End(TagEnd::Link | TagEnd::Image) => match self.refused.pop() {
                Some(false) => Event::InlineHtml("</a>".into()),
                Some(true) | None => nothing(),
            },
            // An agent's headings must not outrank the page's own.
            Event::Start(Tag::Heading { .. }) => Event::InlineHtml("<p class=\"md-head\">".into()),
            Event::End(TagEnd::Heading(_)) => Event::InlineHtml("</p>\n".into()),
            Event::Start(Tag::CodeBlock(_)) => {
                Event::InlineHtml("<pre tabindex=\"0\"><code>".into())
            }
            Event::End(TagEnd::CodeBlock) => Event::InlineHtml("</code></pre>\n".into()),
            Event::Start(Tag::HtmlBlock) => Event::InlineHtml("<p>".into()),
            Event::End(TagEnd::HtmlBlock) => Event::InlineHtml("</p>\n".into()),
            Event::TaskListMarker(is_done) => Event::Text(if is_done { "☑ " } else { "☐ " }.into()),
            Event::SoftBreak => Event::SoftBreak,
            Event::HardBreak => Event::HardBreak,
            Event::Rule => Event::Rule,
            // Alignments would become inline styles, which our pages' policy forbids.
            Event::Start(Tag::Table(columns)) => {
                Event::Start(Tag::Table(vec![Alignment::None; columns.len()]))
            }
            Event::Start(
                tag @ (Tag::Paragraph
                | Tag::BlockQuote(_)
                | Tag::List(_)
                | Tag::Item
                | Tag::TableHead
                | Tag::TableRow
                | Tag::TableCell
                | Tag::Emphasis
                | Tag::Strong
                | Tag::Strikethrough),
            ) => Event::Start(tag),
            Event::End(
                end @ (TagEnd::Paragraph
                | TagEnd::BlockQuote(_)
                | TagEnd::List(_)
                | TagEnd::Item
                | TagEnd::Table
                | TagEnd::TableHead
                | TagEnd::TableRow
                | TagEnd::TableCell
                | TagEnd::Emphasis
                | TagEnd::Strong
                | TagEnd::Strikethrough),
            ) => Event::End(end),
            // Extensions that are not switched on.
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => {
                escaped(&text)
            }
            Event::Start(_) | Event::End(_) => nothing(),
        }
    }
}

fn escaped<'a>(text: &str) -> Event<'a> {
    let mut html = String::with_capacity(text.len() + 16);
    push_escaped(&mut html, text);
    Event::InlineHtml(html.into())
}

fn nothing<'a>() -> Event<'a> {
    Event::InlineHtml(CowStr::Borrowed(""))
}

fn link<'a>(address: &str) -> Event<'a> {
    let mut html = String::from("<a rel=\"nofollow noopener noreferrer\" href=\"");
    push_escaped(&mut html, address);
    html.push_str("\">");
    Event::InlineHtml(html.into())
}

/// True for an absolute address with a scheme that only leads somewhere.
fn is_followable(address: &str) -> bool {
    let is_plain = address.chars().all(|c| !c.is_control() && !super::text::is_hidden(c));
    let scheme = address.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    is_plain && matches!(scheme.as_deref(), Some("http" | "https" | "mailto"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(markdown: &str) -> String {
        render(markdown).as_str().to_owned()
    }

    #[test]
    fn ordinary_markdown_is_formatted() {
        assert_eq!(
            shown("# Head\n\nSome **bold** `a<b`\n\n- [x] one\n\n```rust\nfn <T>()\n```\n"),
            "<p class=\"md-head\">Head</p>\n<p>Some <strong>bold</strong> <code>a&lt;b</code></p>\n\
             <ul>\n<li>☑ one</li>\n</ul>\n<pre tabindex=\"0\"><code>fn &lt;T&gt;()\n</code></pre>\n"
        );
    }

    #[test]
    fn raw_html_is_shown_as_text() {
        let html = shown("a <img src=x onerror=alert(1)>\n\n<script>alert(1)</script>\n");
        assert!(!html.contains("<img") && !html.contains("<script"), "{html}");
        assert!(html.contains("&lt;script&gt;"), "{html}");
    }

    #[test]
    fn links_go_only_to_the_web_and_images_are_not_fetched() {
        assert_eq!(
            shown("[a](https://x.test/?a=\"b\")"),
            "<p><a rel=\"nofollow noopener noreferrer\" href=\"https://x.test/?a=&quot;b&quot;\">a</a></p>\n"
        );
        for refused in [
            "[a](javascript:alert)",
            "[a](data:text/html,x)",
            "[a](/sign-out)",
            "[a](JaVa\tScript:x)",
        ] {
            assert!(!shown(refused).contains("<a"), "{}", shown(refused));
        }
        assert_eq!(
            shown("![cat](https://x.test/c.png)"),
            "<p><a rel=\"nofollow noopener noreferrer\" href=\"https://x.test/c.png\">cat</a></p>\n"
        );
    }

    #[test]
    fn characters_that_hide_are_marked_in_text_and_code() {
        let html = shown("a\u{202e}b `c\u{200b}d`\n\n    \u{2066}x\n");
        for mark in ["U+202E", "U+200B", "U+2066"] {
            assert!(html.contains(mark), "{mark} in {html}");
        }
    }

    proptest! {
        #[test]
        fn only_tags_of_the_list_ever_come_out(text in "(\\PC|[<>\"'`*_#\\[\\]()!&\n|~-]|<[a-z]{1,8} |\\]\\(|javascript:|https:){0,120}") {
            let html = shown(&text);
            for (at, _) in html.match_indices('<') {
                let tag: String = html[at + 1..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '/').collect();
                let known = ["p", "a", "strong", "em", "del", "code", "pre", "ul", "ol", "li", "blockquote", "table",
                    "thead", "tbody", "tr", "th", "td", "hr", "br", "span"];
                let name = tag.trim_matches('/');
                prop_assert!(known.contains(&name), "{} in {}", tag, html);
            }
            prop_assert!(!html.contains("href=\"javascript"));
            prop_assert!(!html.contains("style="));
        }
    }
}
