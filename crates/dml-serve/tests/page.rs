//! The page in Chromium: a picture is dropped, and who it is stands there, wide and narrow, light and dark.

mod browser;
mod place;

use browser::Browser;
use place::{KEY, Place};
use serde_json::json;

/// Drops a picture that a canvas has drawn.
const DROP: &str = r#"(async () => {
    const canvas = new OffscreenCanvas(64, 64);
    const brush = canvas.getContext("2d");
    brush.fillStyle = "orange";
    brush.fillRect(0, 0, 64, 64);
    const blob = await canvas.convertToBlob({ type: "image/png" });
    const data = new DataTransfer();
    data.items.add(new File([blob], "door.png", { type: "image/png" }));
    document.getElementById("drop").dispatchEvent(
        new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
})()"#;

/// What stands on the page.
const SHOWN: &str = "document.body.innerText";

#[test]
fn a_dropped_picture_is_told_who_it_is() {
    let mut browser = match Browser::start() {
        Ok(browser) => browser,
        Err(why) => {
            eprintln!("skipped: {why}");
            return;
        }
    };
    let place = Place::new();
    // A name is text, whatever it looks like.
    let name =
        "<img src=x onerror=\"document.title='broken'\"> of a name so long that it needs more than one line of a phone";
    place.client.post("/v1/identities", &json!({"name": name, "embedding": [0, 0.5, 0.6]})).json(201);
    browser.size(1400, false);
    browser.open(&format!("http://{}/", place.client.address));

    // The key is asked for, and a wrong one refused.
    browser.wait_for("!document.getElementById('key-form').hidden");
    let key = |key: &str| {
        format!("document.getElementById('key').value = '{key}'; document.querySelector('#key-form button').click()")
    };
    browser.evaluate(&key("wrong-wrong-wrong"));
    browser.wait_for("document.getElementById('key-hint').innerText.includes('not right')");
    browser.picture("key");
    browser.evaluate(&key(KEY));
    browser.wait_for("!document.getElementById('asking').hidden");
    assert!(browser.evaluate(SHOWN).as_str().unwrap().contains("3 identities enrolled"));
    browser.picture("empty");

    // Not calibrated: scores and no decision.
    browser.evaluate(DROP);
    browser.wait_for("!document.getElementById('answer').hidden");
    let shown = browser.evaluate(SHOWN).as_str().unwrap().to_owned();
    assert!(shown.contains("Not decided") && shown.contains("Ada") && shown.contains("0.97"), "{shown}");
    assert!(shown.contains(name), "{shown}");

    // Calibrated: who it is, and nobody once they are forgotten.
    place.calibrate();
    browser.open(&format!("http://{}/", place.client.address));
    browser.wait_for("!document.getElementById('asking').hidden");
    for (who, decision) in [(Some("Ada"), "Ada"), (None, "Unknown")] {
        if who.is_none() {
            place.client.send("DELETE", "/v1/identities/Ada", &[], &[]);
        }
        browser.evaluate(DROP);
        browser.wait_for(&format!("document.getElementById('decision').innerText === '{decision}'"));
        for (width, dark) in [(1400, false), (1400, true), (360, false), (360, true)] {
            browser.size(width, dark);
            let wide = browser.evaluate("document.documentElement.scrollWidth").as_u64().unwrap();
            assert!(wide <= u64::from(width), "the page is {wide} wide at {width}");
            browser.picture(&format!("{decision}-{width}{}", if dark { "-dark" } else { "" }));
        }
        browser.size(1400, false);
    }
    // What is wrong is said.
    place.service.stop();
    browser.evaluate(DROP);
    browser.wait_for("!document.getElementById('problem').hidden");
    assert_eq!(browser.evaluate("document.title"), "Who is this?");
    assert_eq!(browser.evaluate("JSON.stringify(localStorage) + document.cookie"), "{}");
    // Nothing was loaded from elsewhere, and the policy refused nothing of the page's own.
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
}
