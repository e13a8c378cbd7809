//! Chromium without a window, told what to do over a pipe by its DevTools protocol.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
const FLAGS: &str = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
                     --disable-component-update --disable-sync --remote-debugging-pipe";

/// A browser with one page, gone when dropped.
pub(crate) struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: String,
    last: u64,
    complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// Or why there is none (`DML_CHROMIUM` names another).
    pub(crate) fn start() -> Result<Self, String> {
        let runs =
            |name: &String| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
        let names = std::env::var("DML_CHROMIUM").map_or_else(|_| NAMES.map(str::to_owned).to_vec(), |name| vec![name]);
        let Some(name) = names.iter().find(|name| runs(name)) else {
            return Err(format!("none of {names:?} runs here: name a Chromium by DML_CHROMIUM"));
        };
        let profile = tempfile::tempdir().unwrap();
        // It reads at descriptor 3 and writes at 4.
        let script =
            format!("exec \"$0\" {FLAGS} --user-data-dir=\"$1\" about:blank 3<&0 4>&1 </dev/null >/dev/null 2>&1");
        let mut child = Command::new("sh")
            .args(["-c", &script, name, profile.path().to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let (session, complaints) = (String::new(), vec![]);
        let mut browser = Self { child, to, from, session, last: 0, complaints, _profile: profile };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        browser.session = browser.call("Target.attachToTarget", attach)["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page.enable", "Log.enable", "Runtime.enable"] {
            browser.call(domain, json!({}));
        }
        Ok(browser)
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let mut answer = Vec::new();
            self.from.read_until(0, &mut answer).unwrap();
            assert_eq!(answer.pop(), Some(0), "Chromium has ended");
            let mut answer: Value = serde_json::from_slice(&answer).unwrap();
            if answer["method"] == "Log.entryAdded" && answer["params"]["entry"]["source"] != "network" {
                self.complaints.push(answer["params"]["entry"]["text"].to_string());
            }
            if answer["method"] == "Runtime.exceptionThrown" {
                self.complaints.push(answer["params"].to_string());
            }
            if answer["id"] == self.last {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].take();
            }
        }
    }

    /// What the policy or the script has complained of.
    pub(crate) fn complaints(&self) -> &[String] {
        &self.complaints
    }

    pub(crate) fn size(&mut self, width: u32, dark: bool) {
        let size = json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", features);
    }

    pub(crate) fn open(&mut self, address: &str) {
        self.call("Page.navigate", json!({"url": address}));
        self.wait_for("location.href !== 'about:blank' && document.readyState === 'complete'");
    }

    pub(crate) fn evaluate(&mut self, script: &str) -> Value {
        let wanted = json!({"expression": script, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.call("Runtime.evaluate", wanted);
        assert!(answer.get("exceptionDetails").is_none(), "{script}: {answer}");
        answer["result"]["value"].take()
    }

    #[track_caller]
    pub(crate) fn wait_for(&mut self, condition: &str) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.evaluate(condition) != true {
            let shown = self.evaluate("document.body.innerText");
            assert!(Instant::now() < until, "this did not come: {condition}\n{shown}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A picture of the page in the folder `DML_SCREENSHOTS`, if that is named.
    pub(crate) fn picture(&mut self, name: &str) {
        use base64::Engine;
        let Ok(folder) = std::env::var("DML_SCREENSHOTS") else { return };
        let png = self.call("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": false}));
        let png = base64::engine::general_purpose::STANDARD.decode(png["data"].as_str().unwrap()).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(std::path::Path::new(&folder).join(format!("{name}.png")), png).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
