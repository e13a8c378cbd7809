//! Text made safe for the three forms of a report, and numbers as people read them.

use serde::Serialize;

/// Text for HTML content and for attributes in double quotes.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            // Control characters are not allowed in HTML; a page that holds one may not parse.
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// Text of unknown direction, set apart so that a right-to-left name does not reorder its neighbours.
pub(super) fn isolated(text: &str) -> String {
    format!("<bdi>{}</bdi>", escape(text))
}

/// A name on one line, cut with an ellipsis at the end of its own direction.
pub(super) fn name(text: &str) -> String {
    let text = escape(text);
    format!("<span class=\"name\" dir=\"auto\" title=\"{text}\">{text}</span>")
}

/// Text for one Markdown table cell or one Markdown line.
pub(super) fn markdown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '#' => safe.extend(['\\', c]),
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '&' => safe += "&amp;",
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// JSON that may stand inside `<script>`: no `<` means no `</script>` and no `<!--`.
pub(super) fn script_json(value: &impl Serialize) -> crate::Result<String> {
    let json = serde_json::to_string(value)
        .map_err(|e| crate::Error::Input(format!("the report's page data cannot be written as JSON: {e}")))?;
    Ok(json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029"))
}

/// A number in about four significant digits; "–" where there is none.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        "–".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "∞".to_owned() } else { "−∞".to_owned() }
    } else if value == 0.0 {
        "0".to_owned()
    } else if (size >= 1000.0 && value.fract() == 0.0 && size < 1e15) || (size < 1000.0 && value.fract() == 0.0) {
        minus(thousands(value))
    } else if !(1e-4..1e6).contains(&size) {
        minus(format!("{value:.2e}"))
    } else {
        let decimals = match size {
            s if s >= 1000.0 => 0,
            s if s >= 100.0 => 1,
            s if s >= 10.0 => 2,
            s if s >= 1.0 => 3,
            s if s >= 1e-3 => 4,
            _ => 6,
        };
        minus(format!("{value:.decimals$}"))
    }
}

/// A share of one as a percentage with two decimals.
pub(super) fn percent(share: f64) -> String {
    if share.is_finite() { minus(format!("{:.2} %", share * 100.0)).replace(' ', "\u{a0}") } else { number(share) }
}

/// A count with thin spaces between thousands.
pub(super) fn count(value: usize) -> String {
    grouped(&value.to_string())
}

fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    format!("{}{}", if value < 0.0 { "-" } else { "" }, grouped(&digits))
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) && digits.len() > 4 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

fn minus(text: String) -> String {
    text.replace('-', "−")
}
