"use strict";
// Addresses are relative: the page may be mounted under a prefix.
const at = (id) => document.getElementById(id);
const show = (id, visible) => { at(id).hidden = !visible; };
const KEY = "dml-api-key";
let gallery = null;
let asked = 0;

async function call(path, options = {}) {
  const headers = new Headers(options.headers);
  const key = sessionStorage.getItem(KEY);
  if (key) headers.set("Authorization", "Bearer " + key);
  const response = await fetch(path, { ...options, headers });
  const said = await response.json().catch(() => null);
  if (response.ok) return said;
  const error = new Error(said?.error?.message ?? "the server answered " + response.status);
  error.status = response.status;
  throw error;
}

function failed(error) {
  if (error.status === 401) return wantKey();
  at("problem").textContent = error.status ? error.message : "The server cannot be reached: " + error.message;
  show("empty", false);
  show("answer", false);
  show("problem", true);
}

function wantKey() {
  const wrong = sessionStorage.getItem(KEY) !== null;
  sessionStorage.removeItem(KEY);
  at("about").textContent = "This server wants its API key.";
  at("key-hint").textContent = wrong ? "That key is not right: try again." : "Kept in this tab until it is closed, and nowhere else.";
  show("asking", false);
  show("key-form", true);
  at("key").focus();
}

function takes(what) {
  return [what, "both"].includes(gallery?.encoder);
}

async function begin() {
  try {
    gallery = await call("v1/gallery");
  } catch (error) {
    if (error.status === 401) return wantKey();
    at("about").textContent = "The server does not answer: " + error.message;
    return;
  }
  const { count, calibrated, encoder, model } = gallery;
  const people = count.identities.toLocaleString("en") + (count.identities === 1 ? " identity" : " identities");
  at("about").textContent = `${people} enrolled, compared by ${model.metric}` +
    (calibrated ? "." : ". Not calibrated: scores are shown, but nothing is decided.");
  show("key-form", false);
  show("asking", true);
  show("drop", takes("image"));
  show("text-form", takes("text"));
  show("no-encoder", encoder === null);
}

async function identify(path, options) {
  const mine = ++asked;
  at("result").setAttribute("aria-busy", "true");
  try {
    const { answers } = await call(path, { method: "POST", ...options });
    // An answer that a later question has overtaken is not shown.
    if (mine === asked) answered(answers[0]);
  } catch (error) {
    if (mine === asked) failed(error);
  } finally {
    if (mine === asked) at("result").removeAttribute("aria-busy");
  }
}

function answered({ decision, candidates, threshold, probability, warnings }) {
  const best = candidates[0];
  const words = { accepted: best?.name, unknown: "Unknown", no_threshold: "Not decided" };
  at("decision").textContent = words[decision];
  at("decision").className = decision;
  const detail = [];
  if (decision === "unknown") detail.push(best ? "nobody who is enrolled is close enough" : "nobody is enrolled");
  if (decision === "no_threshold") detail.push("the gallery has no threshold: calibrate it");
  if (threshold !== null) detail.push("threshold " + threshold.toFixed(4));
  if (probability !== null) detail.push("probability " + (100 * probability).toFixed(1) + " %");
  at("detail").textContent = detail.join(" · ");
  const scores = candidates.map((candidate) => candidate.score);
  const similar = ["cosine", "dot"].includes(gallery.model.metric) || scores[0] > scores[scores.length - 1];
  const passes = (score) => threshold !== null && (similar ? score >= threshold : score <= threshold);
  // Of a cosine the score itself; of others, beside the best.
  const share = (score) => {
    if (gallery.model.metric === "cosine") return score;
    return similar ? score / scores[0] : (scores[0] + 1e-9) / (score + 1e-9);
  };
  at("candidates").replaceChildren(...candidates.map(({ name, score }) => {
    const [item, bar, who, value] = ["li", "span", "span", "span"].map((tag) => document.createElement(tag));
    [bar.className, who.className, value.className] = ["bar", "who", "score"];
    bar.style.width = 100 * Math.min(1, Math.max(0, share(score) || 0)) + "%";
    bar.setAttribute("aria-hidden", "true");
    who.textContent = name;
    value.textContent = score.toFixed(4);
    item.classList.toggle("passes", passes(score));
    item.append(bar, who, value);
    return item;
  }));
  at("warnings").replaceChildren(...warnings.map((warning) => {
    const item = document.createElement("li");
    item.textContent = warning;
    return item;
  }));
  show("empty", false);
  show("problem", false);
  show("answer", true);
}

function picture(file) {
  if (!file) return;
  URL.revokeObjectURL(at("preview").src);
  at("preview").src = URL.createObjectURL(file);
  show("preview", true);
  if (!file.type.startsWith("image/")) return failed({ status: 415, message: `${file.name} is no picture.` });
  if (file.size > gallery.max_body) {
    return failed({ status: 413, message: `${file.name} has ${file.size} bytes: this server takes ${gallery.max_body}.` });
  }
  identify("v1/identify?k=5", { headers: { "Content-Type": file.type }, body: file });
}

at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, at("key").value.trim());
  at("key").value = "";
  begin();
});
at("text-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const body = JSON.stringify({ text: at("text").value, k: 5 });
  identify("v1/identify", { headers: { "Content-Type": "application/json" }, body });
});
at("file").addEventListener("change", () => picture(at("file").files[0]));
// Anywhere on the page: a picture that misses must not replace it.
for (const kind of ["dragover", "dragleave", "drop"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && takes("image")) picture(event.dataTransfer.files[0]);
  });
}
addEventListener("paste", (event) => {
  if (takes("image")) picture(event.clipboardData.files[0]);
});
begin();
